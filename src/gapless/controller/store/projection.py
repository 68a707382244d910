"""Routers as the model has them, made from rows: what hosts build, and what the planner needs to know to place them.

The number of queries does not depend on the number of routers. Whatever is read here must be marked when it changes:
see `operations/changes.py`.
"""

from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload

from gapless.controller.store.tables import (
    AddressRow,
    FloatingIpRow,
    NetworkRow,
    PortRow,
    RouterPortRow,
    RouterRow,
)
from gapless.core.events import RouterNeeds
from gapless.errors import InvariantError
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.router import FailoverMode, FloatingIp, Gateway, Route, Router, RouterId, RouterPort

BATCH = 500
"""Routers read at once: more would exceed what some databases take in one IN list."""
_PORT = (
    joinedload(PortRow.network),
    selectinload(PortRow.addresses).joinedload(AddressRow.subnet, innerjoin=True),
)
_EVERYTHING = (
    joinedload(RouterRow.gateway_port).options(*_PORT),
    selectinload(RouterRow.ports).joinedload(RouterPortRow.port, innerjoin=True).options(*_PORT),
    selectinload(RouterRow.routes),
    selectinload(RouterRow.floating_ips)
    .joinedload(FloatingIpRow.floating_port, innerjoin=True)
    .selectinload(PortRow.addresses),
)
_NETWORKS = (
    joinedload(RouterRow.gateway_port).joinedload(PortRow.network),
    selectinload(RouterRow.ports).joinedload(RouterPortRow.port, innerjoin=True).joinedload(PortRow.network),
)


async def routers(session: AsyncSession, ids: Collection[RouterId] | None = None) -> dict[RouterId, Router]:
    """These routers (None: all) as they should run. One that does not exist is not in the answer."""
    projected: dict[RouterId, Router] = {}
    for wanted in _batches(ids):
        query = select(RouterRow).options(*_EVERYTHING)
        rows = await session.scalars(query if wanted is None else query.where(RouterRow.id.in_(wanted)))
        projected |= {RouterId(row.id): _router(row) for row in rows}
    return projected


async def needs(session: AsyncSession, ids: Collection[RouterId] | None = None) -> dict[RouterId, RouterNeeds]:
    """What these routers (None: all) ask of a host. One that does not exist is not in the answer."""
    found: dict[RouterId, RouterNeeds] = {}
    for wanted in _batches(ids):
        query = select(RouterRow).options(*_NETWORKS)
        rows = await session.scalars(query if wanted is None else query.where(RouterRow.id.in_(wanted)))
        found |= {RouterId(row.id): _needs(row) for row in rows}
    return found


def _batches(ids: Collection[RouterId] | None) -> Iterator[Sequence[RouterId] | None]:
    if ids is None:
        yield None
        return
    ordered = sorted(ids)
    for at in range(0, len(ordered), BATCH):
        yield ordered[at : at + BATCH]


def _router(row: RouterRow) -> Router:
    inside = sorted((interface.port for interface in row.ports), key=lambda port: port.id)
    return Router(
        id=RouterId(row.id),
        name=row.name,
        admin_up=row.admin_state_up,
        # As in Neutron, an interface that is administratively down is not there.
        ports=tuple(_port(port) for port in inside if port.admin_state_up),
        gateway=_gateway(row),
        floating_ips=tuple(sorted(map(_floating_ip, row.floating_ips), key=lambda each: each.id)),
        routes=tuple(Route(destination=route.destination, next_hop=route.nexthop) for route in row.routes),
    )


def _port(row: PortRow) -> RouterPort:
    return RouterPort(
        id=PortId(row.id),
        network=_network(row.network),
        mac=row.mac_address,
        addresses=tuple(IPv4Interface((each.address, each.subnet.cidr.prefixlen)) for each in row.addresses),
    )


def _network(row: NetworkRow) -> Network:
    return Network(
        id=NetworkId(row.id),
        type=NetworkType(row.network_type),
        mtu=row.mtu,
        segmentation_id=row.segmentation_id,
        physical_network=row.physical_network,
    )


def _gateway(row: RouterRow) -> Gateway | None:
    port = row.gateway_port
    if port is None or not port.addresses:
        return None  # an external network without subnets leads nowhere yet
    return Gateway(port=_port(port), next_hop=_next_hop(port), snat=row.enable_snat)


def _next_hop(port: PortRow) -> IPv4Address | None:
    """The gateway of the first of the port's subnets that has one."""
    return next((each.subnet.gateway_ip for each in port.addresses if each.subnet.gateway_ip is not None), None)


def _floating_ip(row: FloatingIpRow) -> FloatingIp:
    if row.fixed_address is None:
        raise InvariantError(f"router {row.router_id} carries floating IP {row.id}, which points at no address")
    return FloatingIp(id=row.id, address=row.floating_port.addresses[0].address, fixed_address=row.fixed_address)


def _needs(row: RouterRow) -> RouterNeeds:
    ports = [interface.port for interface in row.ports]
    if row.gateway_port is not None:
        ports.append(row.gateway_port)
    networks = [port.network for port in ports]
    return RouterNeeds(
        router_id=RouterId(row.id),
        mode=FailoverMode(row.failover_mode),
        availability_zone_hints=tuple(row.availability_zone_hints),
        physical_networks=frozenset(each.physical_network for each in networks if each.physical_network is not None),
        needs_vxlan=any(network.network_type == NetworkType.VXLAN for network in networks),
    )
