"""What belongs into a host's steering table for one router, and by which MAC address frames are steered to it.

Everything here follows from the plan alone, whether the router is active here or stands by: a takeover changes nothing.

Invariant: a broadcast that may concern a router is steered to it or flooded; only what certainly does not is kept away.
An ARP request is certain where it comes in by the only way out: who is asked is either here, or reached by none of this
bridge's other ports. From anywhere else (a router here, a machine on this host) it is flooded, because the router that
is asked may just as well be active on another host.

Where a router's tap is on a leaf, its joint is that leaf's only way out, and the root sends requests for the router to
the joint: as if they were for the address of its end in the leaf. They are broadcasts again when they cross it.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from gapless.model.router import RouterPort
from gapless.model.steering import Entry, Kind, Outside

_STEERING_BIT = 0x44
"""Turned round in the first byte of a port's address: unicast stays unicast, and different ports stay different."""


def steering_mac(mac: str) -> str:
    """The address that stands for a port between a bridge's ports; no frame carries it on a wire."""
    return f"{int(mac[:2], 16) ^ _STEERING_BIT:02x}{mac[2:]}"


def entries_of(
    port: RouterPort, tap: str, addresses: Iterable[IPv4Address], next_hops: Iterable[IPv4Address], outside: Outside
) -> frozenset[Entry]:
    """The entries of a router with this gateway port: `addresses` are its own, `next_hops` who it sends to there."""
    return frozenset((*_inlets(tap, outside), *_addresses(port, addresses, outside), *_announcements(next_hops)))


def _inlets(tap: str, outside: Outside) -> Iterator[Entry]:
    joint = (outside.leaf.root_end, outside.leaf.leaf_end) if outside.leaf is not None else ()
    for name in (tap, *outside.inlets, *joint):
        yield Entry(Kind.INLETS, (name,))
        if outside.only_arp:
            yield Entry(Kind.ONLY_ARP, (name,))


def _addresses(port: RouterPort, addresses: Iterable[IPv4Address], outside: Outside) -> Iterator[Entry]:
    steps = list(_steps(steering_mac(port.mac), outside))
    for _, mac in steps:
        yield Entry(Kind.STEERED, (mac,))
    for address in addresses:
        yield Entry(Kind.ADDRESSES, (str(address),))
        yield Entry(Kind.ANNOUNCED, (str(address), str(address)))
        for way_in, mac in steps:
            if way_in is not None:
                yield Entry(Kind.ASKED, (way_in, str(address)), mac)


def _steps(mac: str, outside: Outside) -> Iterator[tuple[str | None, str]]:
    """From bridge to bridge: the only way into it, if it is known, and where requests for the router are sent to."""
    if outside.leaf is None:
        yield outside.uplink, mac
    else:
        yield outside.uplink, outside.leaf.leaf_end_mac
        yield outside.leaf.leaf_end, mac


def _announcements(next_hops: Iterable[IPv4Address]) -> Iterator[Entry]:
    for address in next_hops:
        yield Entry(Kind.NEXT_HOPS, (str(address), str(address)))
