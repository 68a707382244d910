"""Routers as the model has them, made from rows: what hosts build, and what the planner needs to know to place them.

The number of queries does not depend on the number of routers. All is read by columns: a controller that starts reads
every router that there is, and rows as objects would cost several times as much. Whatever is read here must be marked
when it changes: see `operations/changes.py`.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from itertools import groupby
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store.tables import (
    AddressRow,
    FloatingIpRow,
    NetworkRow,
    PortRow,
    RouteRow,
    RouterPortRow,
    RouterRow,
    SubnetRow,
)
from gapless.core.events import RouterNeeds
from gapless.errors import InvariantError
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.router import FailoverMode, FloatingIp, Gateway, Route, Router, RouterId, RouterPort
from gapless.model.way import WayOut

Query = Select[*tuple[Any, ...]]
Answer = Row[*tuple[Any, ...]]
BATCH = 500
"""Routers read at once: more would exceed what some databases take in one IN list."""
_PORT = (
    PortRow.id.label("port_id"),
    PortRow.mac_address,
    PortRow.admin_state_up,
    NetworkRow.id.label("network_id"),
    NetworkRow.network_type,
    NetworkRow.mtu,
    NetworkRow.segmentation_id,
    NetworkRow.physical_network,
    AddressRow.address,
    SubnetRow.cidr,
    SubnetRow.gateway_ip,
)


@dataclass(frozen=True, slots=True)
class _Port:
    """A port with what the model does not know of it."""

    port: RouterPort
    admin_up: bool
    next_hop: IPv4Address | None
    """The gateway of the first of its subnets that has one."""


async def routers(session: AsyncSession, ids: Collection[RouterId] | None = None) -> dict[RouterId, Router]:
    """These routers (None: all) as they should run. One that does not exist is not in the answer."""
    projected: dict[RouterId, Router] = {}
    for wanted in _batches(ids):
        projected |= await _routers(session, wanted)
    return projected


async def names(session: AsyncSession) -> dict[RouterId, str]:
    """What each router is called, for people."""
    return {
        RouterId(router_id): name for router_id, name in await session.execute(select(RouterRow.id, RouterRow.name))
    }


async def _routers(session: AsyncSession, ids: Sequence[RouterId] | None) -> dict[RouterId, Router]:
    query = select(RouterRow.id, RouterRow.name, RouterRow.admin_state_up, RouterRow.enable_snat)
    rows = (await session.execute(_only(query, RouterRow.id, ids))).all()
    networks: dict[str, Network] = {}
    inside = await _ports(session, select(RouterPortRow.router_id, *_PORT).join(RouterPortRow.port), ids, networks)
    outside = await _ports(session, select(RouterRow.id, *_PORT).join(RouterRow.gateway_port), ids, networks)
    floating_ips = await _floating_ips(session, ids)
    routes = await _routes(session, ids)
    return {
        RouterId(row.id): Router(
            id=RouterId(row.id),
            name=row.name,
            admin_up=row.admin_state_up,
            # As in Neutron, an interface that is administratively down is not there.
            ports=tuple(each.port for each in inside.get(row.id, ()) if each.admin_up),
            gateway=_gateway(outside.get(row.id, ()), snat=row.enable_snat),
            floating_ips=tuple(floating_ips.get(row.id, ())),
            routes=tuple(routes.get(row.id, ())),
        )
        for row in rows
    }


def _only(query: Query, column: Any, ids: Sequence[RouterId] | None) -> Query:
    """Of these routers (None: all)."""
    return query if ids is None else query.where(column.in_(ids))


async def _ports(
    session: AsyncSession, ports: Query, ids: Sequence[RouterId] | None, networks: dict[str, Network]
) -> dict[str, list[_Port]]:
    """By router and in the order of their ids; `ports` selects a router's id and `_PORT`. `networks`: those made so
    far, which many ports share.
    """
    owner = ports.selected_columns[0]
    query = (
        _only(ports, owner, ids)
        .join(PortRow.network)
        .outerjoin(PortRow.addresses)
        .outerjoin(AddressRow.subnet)
        .order_by(PortRow.id, AddressRow.position, AddressRow.id)
    )
    found: dict[str, list[_Port]] = {}
    for _, rows in groupby(await session.execute(query), key=lambda row: row.port_id):
        addressed = list(rows)
        found.setdefault(addressed[0][0], []).append(_port(addressed, networks))
    return found


def _port(rows: Sequence[Answer], networks: dict[str, Network]) -> _Port:
    """One row an address; one without, where it has none."""
    first = rows[0]
    addressed = [row for row in rows if row.address is not None]
    return _Port(
        port=RouterPort(
            id=PortId(first.port_id),
            network=networks.get(first.network_id) or networks.setdefault(first.network_id, _network(first)),
            mac=first.mac_address,
            addresses=tuple(IPv4Interface((int(row.address), row.cidr.prefixlen)) for row in addressed),
        ),
        admin_up=first.admin_state_up,
        next_hop=next((row.gateway_ip for row in addressed if row.gateway_ip is not None), None),
    )


def _network(row: Answer) -> Network:
    return Network(
        id=NetworkId(row.network_id),
        type=NetworkType(row.network_type),
        mtu=row.mtu,
        segmentation_id=row.segmentation_id,
        physical_network=row.physical_network,
    )


def _gateway(ports: Sequence[_Port], *, snat: bool) -> Gateway | None:
    if not ports or not ports[0].port.addresses:
        return None  # an external network without subnets leads nowhere yet
    return Gateway(port=ports[0].port, next_hop=ports[0].next_hop, snat=snat)


async def _floating_ips(session: AsyncSession, ids: Sequence[RouterId] | None) -> dict[str, list[FloatingIp]]:
    """By router and in the order of their ids, each with the first address of its port."""
    query = (
        select(FloatingIpRow.router_id, FloatingIpRow.id, FloatingIpRow.fixed_address, AddressRow.address)
        .join(FloatingIpRow.floating_port)
        .join(PortRow.addresses)
        .where(FloatingIpRow.router_id.is_not(None))
        .order_by(FloatingIpRow.id, AddressRow.position, AddressRow.id)
    )
    found: dict[str, list[FloatingIp]] = {}
    rows = await session.execute(_only(query, FloatingIpRow.router_id, ids))
    for id_, addressed in groupby(rows, key=lambda row: row.id):
        router_id, _, fixed_address, address = next(addressed)
        if fixed_address is None:
            raise InvariantError(f"router {router_id} carries floating IP {id_}, which points at no address")
        found.setdefault(router_id, []).append(FloatingIp(id=id_, address=address, fixed_address=fixed_address))
    return found


async def _routes(session: AsyncSession, ids: Sequence[RouterId] | None) -> dict[str, list[Route]]:
    query = select(RouteRow.router_id, RouteRow.destination, RouteRow.nexthop).order_by(RouteRow.id)
    found: dict[str, list[Route]] = {}
    for router_id, destination, next_hop in await session.execute(_only(query, RouteRow.router_id, ids)):
        found.setdefault(router_id, []).append(Route(destination=destination, next_hop=next_hop))
    return found


async def needs(session: AsyncSession, ids: Collection[RouterId] | None = None) -> dict[RouterId, RouterNeeds]:
    """What these routers (None: all) ask of a host. One that does not exist is not in the answer."""
    found: dict[RouterId, RouterNeeds] = {}
    for wanted in _batches(ids):
        query = select(RouterRow.id, RouterRow.failover_mode, RouterRow.availability_zone_hints)
        rows = (await session.execute(_only(query, RouterRow.id, wanted))).all()
        networks = await _networks_by_router(session, wanted)
        found |= {
            RouterId(id_): _needs(RouterId(id_), FailoverMode(mode), hints, networks.get(id_, ()))
            for id_, mode, hints in rows
        }
    return found


async def needs_after(session: AsyncSession, last: str, most: int) -> dict[RouterId, RouterNeeds]:
    """What the next `most` routers ask of a host, in the order of their ids."""
    query = select(RouterRow.id).where(RouterRow.id > last).order_by(RouterRow.id).limit(most)
    return await needs(session, [RouterId(each) for each in await session.scalars(query)])


@dataclass(frozen=True, slots=True)
class _Reached:
    """A network that a router has a port in."""

    type: str
    physical_network: str | None
    gateway: IPv4Address | None = None
    """Of the external network: the next hop, if this row is of a subnet that has one."""


async def _networks_by_router(session: AsyncSession, ids: Sequence[RouterId] | None) -> dict[str, list[_Reached]]:
    """By router; the external network once for each address there, in the order of its model (`_Port`)."""
    network = (NetworkRow.network_type, NetworkRow.physical_network)
    inside = select(RouterPortRow.router_id, *network).join(RouterPortRow.port).join(PortRow.network)
    outside = select(RouterRow.id, *network, SubnetRow.gateway_ip).join(RouterRow.gateway_port).join(PortRow.network)
    outside = outside.outerjoin(PortRow.addresses).outerjoin(AddressRow.subnet)
    outside = outside.order_by(RouterRow.id, AddressRow.position, AddressRow.id)
    found: dict[str, list[_Reached]] = {}
    for query in (_only(inside, RouterPortRow.router_id, ids), _only(outside, RouterRow.id, ids)):
        for router_id, *reached in await session.execute(query):
            found.setdefault(router_id, []).append(_Reached(*reached))
    return found


def _needs(
    router_id: RouterId, mode: FailoverMode, hints: Iterable[str], networks: Collection[_Reached]
) -> RouterNeeds:
    ways = (
        WayOut(each.physical_network, each.gateway)
        for each in networks
        if each.physical_network is not None and each.gateway is not None
    )
    return RouterNeeds(
        router_id=router_id,
        mode=mode,
        availability_zone_hints=tuple(hints),
        physical_networks=frozenset(each.physical_network for each in networks if each.physical_network is not None),
        needs_vxlan=any(each.type == NetworkType.VXLAN for each in networks),
        gateway=next(ways, None),
    )


def _batches(ids: Collection[RouterId] | None) -> Iterator[Sequence[RouterId] | None]:
    if ids is None:
        yield None
        return
    ordered = sorted(ids)
    for at in range(0, len(ordered), BATCH):
        yield ordered[at : at + BATCH]
