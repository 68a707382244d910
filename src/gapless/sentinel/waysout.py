"""What a host says of its ways out, made from what its beat found on its own interfaces."""

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

from gapless.model.way import WayOut, WaysSaid

NAMED_MOST = 500
"""Of each kind. A message of so many is some tens of KiB. Of gateways beyond that nothing is known, so routers stay
that might move."""

Found = Collection[tuple[str, IPv4Address | None]]
"""(interface, None) is a carrier, (interface, address) a gateway behind it."""


def said(networks: Mapping[str, str], *, watched: Found, lost: Found, unsure: Found) -> WaysSaid:
    """By the names that all hosts use; `networks`: the physical network of each interface."""
    answering = {way for way in watched if way[1] is not None} - {*lost, *unsure}
    return WaysSaid(lost=_named(networks, lost), unsure=_named(networks, unsure), there=_named(networks, answering))


def _named(networks: Mapping[str, str], found: Found) -> tuple[WayOut, ...]:
    ways = {WayOut(networks[link], gateway) for link, gateway in found if link in networks}
    return tuple(sorted(ways, key=_carriers_first)[:NAMED_MOST])


def _carriers_first(way: WayOut) -> tuple[bool, str, IPv4Address | None]:
    return way.gateway is not None, way.network, way.gateway
