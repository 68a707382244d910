"""Extra routes of routers: each next hop is a neighbour of the router, on a subnet that it has an address of, and not
the router itself; no destination is a subnet that the router is connected to.

The rule holds after every change of a router, not only of its routes: a change of its gateway, or of the addresses of
its gateway's port, ends with `check`, and an interface that a route needs is not removed. A new interface breaks no
route, since its subnet overlaps with no other. Where that subnet is a route's destination the interface wins: the route
waits until the interface is gone.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import faults
from gapless.controller.operations.ipam import parse_address
from gapless.controller.store.tables import AddressRow, RouteRow, RouterRow
from gapless.core import addressing

Routes = Sequence[Mapping[str, Any]]
"""Neutron's `routes`: dicts with `destination` and `nexthop`."""
Key = tuple[IPv4Network, IPv4Address]
MAX_ROUTES = 30
"""Neutron's `max_routes`, by default."""


async def replace(session: AsyncSession, router: RouterRow, routes: Routes) -> None:
    """Give a router exactly these routes.

    Raises InvalidRoutes, RoutesExhausted, and InvalidInput for one that is there twice.
    """
    wanted = [_key(route) for route in routes]
    for at, key in enumerate(wanted):
        if key in wanted[:at]:
            raise faults.InvalidInput(f"Duplicate hostroute '{dict(routes[at])}'")
    await _store(session, router, wanted)


async def add(session: AsyncSession, router: RouterRow, routes: Routes) -> None:
    """Give a router these routes too; those that it has already are no error. Raises as `replace` does."""
    await _store(session, router, [*_stored(router), *(_key(route) for route in routes)])


async def remove(session: AsyncSession, router: RouterRow, routes: Routes) -> None:
    """Take these routes from a router; those that it does not have are no error."""
    unwanted = {_key(route) for route in routes}
    await _store(session, router, [key for key in _stored(router) if key not in unwanted])


def check(router: RouterRow) -> None:
    """Raises InvalidRoutes if a next hop is no neighbour on one of the router's subnets, or is the router."""
    connected = _connected(router)
    own = {held.address for held in _held(router)}
    for route in router.routes:
        if not any(route.nexthop in cidr for cidr in connected):
            raise faults.InvalidRoutes(_shown(router), "the nexthop is not connected with router")
        if not any(route.nexthop in addressing.usable(cidr) for cidr in connected):
            raise faults.InvalidRoutes(_shown(router), "the nexthop is the network or broadcast address of a subnet")
        if route.nexthop in own:
            raise faults.InvalidRoutes(_shown(router), "the nexthop is used by router")


async def _store(session: AsyncSession, router: RouterRow, wanted: Sequence[Key]) -> None:
    wanted = tuple(dict.fromkeys(wanted))
    kept = {(route.destination, route.nexthop): route for route in router.routes}
    if len(wanted) > max(MAX_ROUTES, len(kept)):  # a router that has more from earlier may lose some
        raise faults.RoutesExhausted(router.id, MAX_ROUTES)
    connected = _connected(router)
    refused = [key for key in wanted if key not in kept and key[0] in connected]
    if refused:
        shown = [{"destination": str(destination), "nexthop": str(nexthop)} for destination, nexthop in refused]
        raise faults.InvalidRoutes(shown, "the destination is a subnet connected with router")
    router.routes[:] = [kept.get(key) or RouteRow(destination=key[0], nexthop=key[1]) for key in wanted]
    check(router)
    router.touch()
    await session.flush()


def _connected(router: RouterRow) -> set[IPv4Network]:
    """The subnets in which the router has an address. A route to one would replace the way to the neighbours there."""
    return {held.subnet.cidr for held in _held(router)}


def _held(router: RouterRow) -> list[AddressRow]:
    """The addresses of the router, inside and outside."""
    ports = [each.port for each in router.ports]
    if router.gateway_port is not None:
        ports.append(router.gateway_port)
    return [address for port in ports for address in port.addresses]


def _stored(router: RouterRow) -> list[Key]:
    return [(route.destination, route.nexthop) for route in router.routes]


def _key(route: Mapping[str, Any]) -> Key:
    try:
        destination = ip_network(route["destination"])
    except ValueError as error:
        raise faults.InvalidInput(f"'{route['destination']}' is not a valid IP subnet") from error
    if not isinstance(destination, IPv4Network):
        raise faults.InvalidInput(f"destination '{destination}' is not an IPv4 network, and IPv6 is not supported")
    return destination, parse_address(route["nexthop"])


def _shown(router: RouterRow) -> list[dict[str, str]]:
    return [{"destination": str(route.destination), "nexthop": str(route.nexthop)} for route in router.routes]
