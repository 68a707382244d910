"""Addresses, routes and routing rules in rtnetlink. Our routes carry our own protocol number, so that a foreign one is
never taken for ours; connected routes and the rules of a new namespace are the kernel's, and are put back as it makes
them. Formats: linux/if_addr.h, linux/rtnetlink.h, linux/fib_rules.h.
"""

import errno
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from gapless.kernel.netlink import (
    ALREADY_GONE,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Netlink,
    Request,
    as_u32,
    attribute,
    attributes,
    u8,
    u32,
)
from gapless.model.observed import Hop, KernelRoute, RoutingRule

PROTOCOL = 77
"""`proto 77` in `ip route`: installed by Gapless (numbers below 128 that no daemon of iproute2's list uses)."""

_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWRULE, _GETRULE = 32, 34
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_MULTIPATH = 1, 4, 5, 7, 9
_BY_KERNEL = 2
"""RTPROT_KERNEL, `proto kernel`: made by the kernel with an address."""
_MAIN_TABLE, _UNICAST = 254, 1
_TO_TABLE = 1
"""FR_ACT_TO_TBL: the rule says where to look."""
_FRA_PRIORITY, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_PROTOCOL = 6, 14, 15, 21
_OF_PLAIN_RULES = frozenset({_FRA_PRIORITY, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_PROTOCOL})
_SUPPRESSES_NOTHING = 0xFFFFFFFF
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_DEAD, _ON_LINK = 0x1, 0x4
_NO_TABLE = frozenset({errno.ENOENT})
"""The kernel makes the main table with its first route."""
_IFADDR = struct.Struct("=BBBBi")
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTNEXTHOP = struct.Struct("=HBBi")


def add_address(name: str, index: int, address: IPv4Interface) -> Request:
    """Put an address on a link."""
    body = _address(index, address)
    return Request(_NEWADDR, CREATE | EXCLUSIVE, body, f"add {address} to {name}", frozenset({errno.EEXIST}))


def remove_address(name: str, index: int, address: IPv4Interface) -> Request:
    """Take an address off a link; fine if it is gone."""
    return Request(_DELADDR, 0, _address(index, address), f"remove {address} from {name}", ALREADY_GONE)


def _address(index: int, address: IPv4Interface) -> bytes:
    length = address.network.prefixlen
    body = _IFADDR.pack(socket.AF_INET, length, 0, 0, index)
    body += attribute(_IFA_LOCAL, address.ip.packed) + attribute(_IFA_ADDRESS, address.ip.packed)
    if length < 31:
        body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    return body


def addresses_by_link(netlink: Netlink, index: int = 0) -> dict[int, list[IPv4Interface]]:
    """IPv4 addresses by link index, of one link or (0) of all; of a link in the kernel's order, its first one first."""
    found: dict[int, list[IPv4Interface]] = {}
    for message in netlink.dump(_GETADDR, _IFADDR.pack(socket.AF_INET, 0, 0, 0, index), "list addresses"):
        _, length, _, _, of_link = _IFADDR.unpack_from(message)
        held = attributes(message, _IFADDR.size)
        local = held.get(_IFA_LOCAL) or held.get(_IFA_ADDRESS)
        if local is not None:
            found.setdefault(of_link, []).append(IPv4Interface((local, length)))
    return found


def has_addresses(netlink: Netlink, index: int) -> bool:
    """Whether a link carries an address that a host would miss: any IPv4 one, or IPv6 beyond the link."""
    if addresses_by_link(netlink, index).get(index):
        return True
    for message in netlink.dump(_GETADDR, _IFADDR.pack(socket.AF_INET6, 0, 0, 0, index), "list IPv6 addresses"):
        _, _, _, scope, of_link = _IFADDR.unpack_from(message)
        if of_link == index and scope != _SCOPE_LINK:
            return True
    return False


def add_route(route: KernelRoute, index_of: Callable[[str], int]) -> Request:
    """Install a route, in place of any other to its destination."""
    return Request(_NEWROUTE, CREATE | REPLACE, _route(route) + _by(route, index_of), f"route {_words(route)}")


def restore_connected(link: str, index: int, subnet: IPv4Network, source: IPv4Address) -> Request:
    """Put back a connected route as the kernel makes it, in place of any other to the subnet; fine if it is there.

    With the kernel's own protocol and scope: it is removed with its address, as if it had never been gone.
    """
    header = _RTMSG.pack(socket.AF_INET, subnet.prefixlen, 0, 0, _MAIN_TABLE, _BY_KERNEL, _SCOPE_LINK, _UNICAST, 0)
    body = header + attribute(_RTA_DST, subnet.network_address.packed) + attribute(_RTA_PREFSRC, source.packed)
    about = f"restore the connected route to {subnet} on {link}"
    return Request(_NEWROUTE, CREATE | REPLACE, body + u32(_RTA_OIF, index), about, frozenset({errno.EEXIST}))


def remove_route(route: KernelRoute, index_of: Callable[[str], int]) -> Request:
    """Remove a route; fine if it is gone. One by several hops goes whatever is left of them."""
    by = _by(route, index_of) if len(route.hops) == 1 else b""
    return Request(_DELROUTE, 0, _route(route) + by, f"remove the route {_words(route)}", ALREADY_GONE)


def _words(route: KernelRoute) -> str:
    return f"to {route.destination} by {' and '.join(f'{hop.next_hop} on {hop.link}' for hop in route.hops)}"


def _route(route: KernelRoute) -> bytes:
    flags = _flags(route.hops[0]) if len(route.hops) == 1 else 0
    length = route.destination.prefixlen
    body = _RTMSG.pack(socket.AF_INET, length, 0, 0, _MAIN_TABLE, PROTOCOL, _SCOPE_UNIVERSE, _UNICAST, flags)
    return body + (attribute(_RTA_DST, route.destination.network_address.packed) if length else b"")


def _by(route: KernelRoute, index_of: Callable[[str], int]) -> bytes:
    gateways = [(hop, attribute(_RTA_GATEWAY, hop.next_hop.packed)) for hop in route.hops]
    if len(gateways) == 1:
        return gateways[0][1] + u32(_RTA_OIF, index_of(route.hops[0].link))
    several = (
        _RTNEXTHOP.pack(_RTNEXTHOP.size + len(gateway), _flags(hop), 0, index_of(hop.link)) + gateway
        for hop, gateway in gateways
    )
    return attribute(_RTA_MULTIPATH, b"".join(several))


def _flags(hop: Hop) -> int:
    return _ON_LINK if hop.on_link else 0


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of a namespace's main table that matter to us."""

    ours: frozenset[KernelRoute]
    """Those that we installed."""
    connected: Mapping[str, frozenset[IPv4Network]]
    """Subnets that have their connected route, by link."""


def routes(netlink: Netlink, names: Mapping[int, str]) -> Routes:
    """The routes on the links of these indices."""
    # Not narrowed by protocol: in strict mode the kernel would leave out the others, and one dump answers both.
    header = _RTMSG.pack(socket.AF_INET, 0, 0, 0, _MAIN_TABLE, 0, 0, _UNICAST, 0)
    ours: set[KernelRoute] = set()
    connected: dict[str, set[IPv4Network]] = {}
    for message in netlink.dump(_GETROUTE, header, "list routes", empty=_NO_TABLE):
        _, length, _, _, table, protocol, _, kind, flags = _RTMSG.unpack_from(message)
        of_route = attributes(message, _RTMSG.size)
        if (table, kind) != (_MAIN_TABLE, _UNICAST):
            continue
        destination = IPv4Network((of_route.get(_RTA_DST, b"\0" * 4), length))
        hops = _hops(of_route, flags, names)
        link = names.get(as_u32(of_route.get(_RTA_OIF, b"")))
        if protocol == PROTOCOL and hops:
            ours.add(KernelRoute(destination=destination, hops=hops))
        elif protocol == _BY_KERNEL and not hops and link is not None:
            connected.setdefault(link, set()).add(destination)
    return Routes(frozenset(ours), {link: frozenset(subnets) for link, subnets in connected.items()})


def _hops(of_route: Mapping[int, bytes], flags: int, names: Mapping[int, str]) -> tuple[Hop, ...]:
    """By which neighbours a route goes; without those on links that are down, which the kernel passes over."""
    found = [(as_u32(of_route.get(_RTA_OIF, b"")), flags, of_route.get(_RTA_GATEWAY))]
    several = of_route.get(_RTA_MULTIPATH, b"")
    while len(several) >= _RTNEXTHOP.size:
        length, flags, _, index = _RTNEXTHOP.unpack_from(several)
        found.append((index, flags, attributes(several[:length], _RTNEXTHOP.size).get(_RTA_GATEWAY)))
        several = several[max(length, _RTNEXTHOP.size) :]
    hops = (
        Hop(next_hop=IPv4Address(gateway), link=names[index], on_link=bool(flags & _ON_LINK))
        for index, flags, gateway in found
        if gateway is not None and index in names and not flags & _DEAD
    )
    return tuple(sorted(hops))


def rules(netlink: Netlink) -> frozenset[RoutingRule]:
    """The routing rules for IPv4 that send every packet to a table, and nothing else."""
    header = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    return frozenset(filter(None, map(_rule, netlink.dump(_GETRULE, header, "list routing rules"))))


def restore_rule(rule: RoutingRule) -> Request:
    """Put back a routing rule of the kernel's; fine if it is there."""
    body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, min(rule.table, 255), 0, 0, _TO_TABLE, 0)
    body += u32(_FRA_PRIORITY, rule.priority) + u32(_FRA_TABLE, rule.table) + u8(_FRA_PROTOCOL, _BY_KERNEL)
    about = f"restore the routing rule for table {rule.table}"
    return Request(_NEWRULE, CREATE | EXCLUSIVE, body, about, frozenset({errno.EEXIST}))


def _rule(message: bytes) -> RoutingRule | None:
    """None for one that asks for anything, or does more or less than to look into a table."""
    _, to_length, from_length, tos, table, _, _, action, flags = _RTMSG.unpack_from(message)
    found = attributes(message, _RTMSG.size)
    suppressed = as_u32(found.get(_FRA_SUPPRESS_PREFIXLEN, b"\xff" * 4))
    if to_length or from_length or tos or flags or action != _TO_TABLE or suppressed != _SUPPRESSES_NOTHING:
        return None
    if not found.keys() <= _OF_PLAIN_RULES:
        return None
    table = as_u32(found[_FRA_TABLE]) if _FRA_TABLE in found else table
    return RoutingRule(priority=as_u32(found.get(_FRA_PRIORITY, b"")), table=table)
