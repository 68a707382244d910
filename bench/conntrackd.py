"""What conntrackd is told beside keepalived, one for each router, and what it says. Pure.

It runs in the router's namespace and speaks with the other host's by multicast on the router's network for VRRP, as
Neutron's L3 agent has it: mode FTFW, which sends again what was lost. What it hears is kept in its own memory (the
external cache), and put into the kernel when keepalived becomes master. keepalived tells the script here, by a FIFO: to
start scripts itself it needs the right to set groups, which nobody has in a lab.

As favourable to it as can be:

- Its buffer for the kernel's events is that of its manual, eight times Neutron's. (Buffers of the channel are the
  kernel's own: nobody may raise them in a lab.)
- conntrackd leaves the kernel's window tracking off for what it puts there; and the namespace is liberal with segments
  of connections that it knows (`nf_conntrack_tcp_be_liberal`).
- From when keepalived gives the router its addresses until the script has put the connections into the kernel, a
  segment from outside belongs to nothing: the router's own TCP would answer it with a RST, which ends the connection.
  A rule drops it instead, so that it is sent again. What comes from inside is picked up by the kernel by itself.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from gapless.lab.measuring import tracked

CONFIGURATION, SCRIPT, FIFO = "conntrackd.conf", "conntrackd-notify", "states"
"""Names of files, in a router's directory."""
RULES = """table ip early {
  chain input { type filter hook input priority 0;
    ct state invalid drop;
    ct state new tcp flags & (fin | syn | rst | ack) != syn drop; }
}"""
"""Of nftables: what the router's own TCP never sees."""
_GROUP = "225.0.0.50"
_ROUTER = "router "


def configuration(files: Path, interface: str, address: IPv4Address) -> str:
    """`files`: the router's directory; the interface and its address are those on the network for VRRP."""
    return f"""General {{
    HashSize 32768
    HashLimit 131072
    Syslog off
    LogFile {files}/conntrackd.log
    LockFile {files}/conntrackd.lock
    UNIX {{
        Path {files}/conntrackd.ctl
    }}
    Systemd off
    NetlinkBufferSize 2097152
    NetlinkBufferSizeMaxGrowth 8388608
    Filter From Kernelspace {{
        Protocol Accept {{
            TCP
            SCTP
            DCCP
            UDP
            ICMP
        }}
        Address Ignore {{
            IPv4_address 127.0.0.1
            IPv4_address {address}
            IPv4_address {_GROUP}
        }}
    }}
}}
Sync {{
    Mode FTFW {{
    }}
    Multicast Default {{
        IPv4_address {_GROUP}
        IPv4_interface {address}
        Group 3781
        Interface {interface}
        Checksum on
    }}
}}
"""


def script(files: Path) -> str:
    """What reads keepalived's states (`INSTANCE "VR_1" MASTER 50`) and tells conntrackd what follows.

    A new master puts what it was told into the kernel, forgets it, learns anew what the kernel has, and tells all.
    Who stands by asks for everything; who was active lets its own entries end soon.
    """
    return f"""#!/bin/sh
tell() {{
  for order; do conntrackd -C {files}/{CONFIGURATION} "$order" || echo "conntrackd $order: $?"; done
}}
while read -r kind name state rest; do
  case $state in
    MASTER) tell -c -f -R -B ;;
    BACKUP) tell -t -n ;;
    FAULT) tell -t ;;
  esac
done
"""


def start(files: Path) -> str:
    """Shell commands that start it, and who reads keepalived's states, in the router's namespace.

    What it says when it fails is what they say.
    """
    return f"""
cd {files}
conntrackd -C {files}/{CONFIGURATION} -d < /dev/null > started 2>&1 || {{ cat started conntrackd.log >&2; exit 1; }}
conntrackd -C {files}/{CONFIGURATION} -n
mkfifo {FIFO}
./{SCRIPT} < {FIFO} > {SCRIPT}.log 2>&1 &
"""


def ask(directory: Path) -> str:
    """Shell commands that list what each of a host's conntrackds was told: their files are in `directory`."""
    return f"""
for files in {directory}/*; do
  echo "{_ROUTER}$files"
  conntrackd -C "$files/{CONFIGURATION}" -e
done
"""


def told(listed: str) -> int:
    """How many of the lab's connections are established, in what `ask` listed."""
    return sum(len(tracked.established(section)) for section in _sections(listed))


def _sections(listed: str) -> Iterator[str]:
    """Of each router: tenants' addresses overlap."""
    lines: list[str] = []
    for line in listed.splitlines():
        if line.startswith(_ROUTER):
            yield "\n".join(lines)
            lines = []
        lines.append(line)
    yield "\n".join(lines)
