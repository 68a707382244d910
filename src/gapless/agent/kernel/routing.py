"""Addresses and routes in rtnetlink. Our routes carry our own protocol number, so that a foreign one is never taken
for ours. Formats: linux/if_addr.h, linux/rtnetlink.h.
"""

import errno
import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from gapless.agent.kernel.netlink import (
    ALREADY_GONE,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Netlink,
    Request,
    as_u32,
    attribute,
    attributes,
    u32,
)
from gapless.model.observed import KernelRoute

PROTOCOL = 77
"""`proto 77` in `ip route`: installed by Gapless (numbers below 128 that no daemon of iproute2's list uses)."""

_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_MAIN_TABLE, _UNICAST = 254, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_ON_LINK = 0x4
_NO_TABLE = frozenset({errno.ENOENT})
"""The kernel makes the main table with its first route."""
_IFADDR = struct.Struct("=BBBBi")
_RTMSG = struct.Struct("=BBBBBBBBI")


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


def addresses_by_link(netlink: Netlink, index: int = 0) -> dict[int, set[IPv4Interface]]:
    """IPv4 addresses by link index, of one link or (0) of all."""
    found: dict[int, set[IPv4Interface]] = {}
    for message in netlink.dump(_GETADDR, _IFADDR.pack(socket.AF_INET, 0, 0, 0, index), "list addresses"):
        _, length, _, _, of_link = _IFADDR.unpack_from(message)
        held = attributes(message, _IFADDR.size)
        local = held.get(_IFA_LOCAL) or held.get(_IFA_ADDRESS)
        if local is not None:
            found.setdefault(of_link, set()).add(IPv4Interface((local, length)))
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


def add_route(route: KernelRoute, index: int) -> Request:
    """Install a route, in place of any other to its destination."""
    return Request(_NEWROUTE, CREATE | REPLACE, _route(route, index), f"route {_words(route)}")


def remove_route(route: KernelRoute, index: int) -> Request:
    """Remove a route; fine if it is gone."""
    return Request(_DELROUTE, 0, _route(route, index), f"remove the route {_words(route)}", ALREADY_GONE)


def _words(route: KernelRoute) -> str:
    return f"to {route.destination} by {route.next_hop} on {route.link}"


def _route(route: KernelRoute, index: int) -> bytes:
    flags = _ON_LINK if route.on_link else 0
    length = route.destination.prefixlen
    body = _RTMSG.pack(socket.AF_INET, length, 0, 0, _MAIN_TABLE, PROTOCOL, _SCOPE_UNIVERSE, _UNICAST, flags)
    if length:
        body += attribute(_RTA_DST, route.destination.network_address.packed)
    return body + attribute(_RTA_GATEWAY, route.next_hop.packed) + u32(_RTA_OIF, index)


def our_routes(netlink: Netlink, names: Mapping[int, str]) -> frozenset[KernelRoute]:
    """The routes that we installed, on the links of these indices."""
    header = _RTMSG.pack(socket.AF_INET, 0, 0, 0, _MAIN_TABLE, PROTOCOL, 0, _UNICAST, 0)
    found = set()
    for message in netlink.dump(_GETROUTE, header, "list routes", empty=_NO_TABLE):
        _, length, _, _, table, protocol, _, kind, flags = _RTMSG.unpack_from(message)
        of_route = attributes(message, _RTMSG.size)
        link = names.get(as_u32(of_route.get(_RTA_OIF, b"")))
        if (table, protocol, kind) != (_MAIN_TABLE, PROTOCOL, _UNICAST) or link is None:
            continue
        if _RTA_GATEWAY not in of_route:
            continue
        destination = IPv4Network((of_route.get(_RTA_DST, b"\0" * 4), length))
        found.add(
            KernelRoute(
                destination=destination,
                next_hop=IPv4Address(of_route[_RTA_GATEWAY]),
                link=link,
                on_link=bool(flags & _ON_LINK),
            )
        )
    return frozenset(found)
