"""What conntrackd is told beside keepalived, one for each router, and what it says. Pure.

It runs in the router's namespace and speaks with the other host's by multicast on the router's network for VRRP, as
Neutron's L3 agent has it: mode FTFW, which sends again what was lost. What it hears is kept in its own memory (the
external cache), and put into the kernel when keepalived becomes master and calls the script here.

As favourable to it as can be:

- Its buffers for the kernel's events are those of its manual, eight times Neutron's.
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

CONFIGURATION, SCRIPT = "conntrackd.conf", "conntrackd-notify"
"""Names of files, in a router's directory."""
RULES = """table ip early {
  chain input { type filter hook input priority 0;
    ct state invalid drop;
    ct state new tcp flags & (fin | syn | rst | ack) != syn drop; }
}"""
"""Of nftables: what the router's own TCP never sees."""
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
        }}
    }}
}}
Sync {{
    Mode FTFW {{
    }}
    Multicast Default {{
        IPv4_address 225.0.0.50
        IPv4_interface {address}
        Group 3781
        Interface {interface}
        SndSocketBuffer 1249280
        RcvSocketBuffer 1249280
        Checksum on
    }}
}}
"""


def script(files: Path) -> str:
    """What keepalived calls with `master`, `backup` or `fault`.

    A new master puts what it was told into the kernel, forgets it, learns anew what the kernel has, and tells all.
    Who stands by asks for everything; who was active lets its own entries end soon.
    """
    return f"""#!/bin/sh
tell() {{
  for order; do conntrackd -C {files}/{CONFIGURATION} "$order" || echo "conntrackd $order: $?"; done
}}
exec >> {files}/conntrackd-notify.log 2>&1
case $1 in
  master) tell -c -f -R -B ;;
  backup) tell -t -n ;;
  fault) tell -t ;;
esac
"""


def start(files: Path) -> str:
    """Shell commands that start it, in the router's namespace; what it says when it fails is what they say."""
    return f"""
cd {files}
conntrackd -C {files}/{CONFIGURATION} -d < /dev/null > conntrackd.said 2>&1 || {{ cat conntrackd.said >&2; exit 1; }}
conntrackd -C {files}/{CONFIGURATION} -n
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
