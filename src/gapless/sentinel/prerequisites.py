"""What this machine must offer before it can carry routers, asked once at the start, without touching anything.

Each answer is one line that says what is missing and what to do about it.
"""

import ctypes
import fcntl
import os
import socket
import struct
from ipaddress import IPv4Address
from pathlib import Path

from gapless.config import NFTABLES_LIBRARY, NFTABLES_PACKAGE, HostSettings
from gapless.errors import InvalidRequest, Unavailable

SIOCGIFADDR = 0x8915  # linux/sockios.h
IFNAMSIZ = 16  # linux/if.h, the final zero included
NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
"""The most neighbours (ARP) that this machine remembers, in all namespaces together (arp(7)). Only the machine's own
network namespace has the file."""
BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""Whether what bridges carry meets the rules for IPv4 of their namespace, too; there with the module br_netfilter."""
NEIGHBOURS_A_ROUTER = 2
"""At least: the way out, and one VM."""
OTHER_NEIGHBOURS = 50
"""Of the machine itself: other hosts, its own gateways."""
CAPABILITIES = {11: "CAP_NET_BROADCAST", 12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW", 21: "CAP_SYS_ADMIN"}
"""linux/capability.h. The first is for hearing what happens in routers' namespaces."""


def check(settings: HostSettings) -> None:
    """Raise InvalidRequest or Unavailable if this machine cannot carry routers as `settings` say."""
    _check_privileges(Path("/proc/self/status").read_text())
    _check_nftables()
    for network, interface in settings.physical_networks:
        _check_interface(interface, f"--physical-network {network}={interface}")
    if settings.data_interface is not None:
        data_address(settings.data_interface)


def neighbours_short_of(capacity: int, limit_file: Path = NEIGHBOURS) -> str | None:
    """What is wrong with this machine's neighbour table for so many routers, and what helps; None: nothing is known."""
    needed = OTHER_NEIGHBOURS + NEIGHBOURS_A_ROUTER * capacity
    try:
        limit = int(limit_file.read_text())
    except (OSError, ValueError):
        return None
    if needed <= limit:
        return None
    return (
        f"{capacity} routers (--capacity) need a neighbour table of {needed} entries and one more for each further VM, "
        f"and this machine's has {limit}; beyond that routers stop answering:  sudo sysctl -w "
        f"net.ipv4.neigh.default.gc_thresh3={4 * needed} net.ipv4.neigh.default.gc_thresh2={2 * needed}"
    )


def tracking_short_of(flows_most: int, limit: int | None) -> str | None:
    """What is wrong with a table of so many connections for so many copies, and what helps; None: nothing is known."""
    if limit is None or limit >= flows_most:
        return None
    return (
        f"{flows_most} connections of a router may be copied here (--flows-most), and this machine's kernel tracks "
        f"{limit} of one at most; the others survive no takeover by this host:  sudo sysctl -w "
        f"net.netfilter.nf_conntrack_max={4 * flows_most}"
    )


def bridges_filtered(setting_file: Path = BRIDGED) -> str | None:
    """What this machine does with routers' frames besides what routers do, and what helps; None: nothing is known."""
    try:
        is_on = int(setting_file.read_text()) > 0
    except (OSError, ValueError):
        return None
    if not is_on:
        return None
    return (
        "what bridges of this machine carry meets its own rules for IPv4, too, and is tracked twice; a policy that "
        "drops what is forwarded, such as Docker sets, silences every router here:  sudo sysctl -w "
        "net.bridge.bridge-nf-call-iptables=0  (or let pass what comes from and goes to the bridges of routers)"
    )


def data_address(interface: str) -> IPv4Address:
    """The first IPv4 address of an interface: this host's tunnel endpoint. Raises InvalidRequest."""
    flag = f"--data-interface {interface}"
    _check_interface(interface, flag)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("40s", interface.encode()))
        except OSError as error:
            raise InvalidRequest(f"{flag}: the interface has no IPv4 address, and tunnels need one") from error
    return IPv4Address(answer[20:24])


def _check_interface(interface: str, flag: str) -> None:
    there = [name for _, name in socket.if_nameindex()]
    if interface not in there or len(interface.encode()) >= IFNAMSIZ:
        others = ", ".join(name for name in there if name != "lo") or "none but lo"
        raise InvalidRequest(f"{flag}: this machine has no interface '{interface}' (it has: {others})")


def _check_privileges(status: str) -> None:
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    effective = int(line.split()[1], 16)
    missing = [name for bit, name in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        raise Unavailable(
            f"a host needs the capabilities {', '.join(missing)} to build namespaces and this process (user id "
            f"{os.geteuid()}) does not have them: run it as root, or in a lab with `gapless lab`"
        )


def _check_nftables(library: str = NFTABLES_LIBRARY) -> None:
    try:
        ctypes.CDLL(library)
    except OSError as error:
        raise Unavailable(
            f"{library} cannot be loaded, and NAT needs it: install the package {NFTABLES_PACKAGE}"
        ) from error
