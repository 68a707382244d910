"""Find rows by id, or say in Neutron's words that there is no such thing; and rows by simple equality."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, joinedload, selectinload
from sqlalchemy.orm.interfaces import ORMOption

from gapless.controller.operations import faults
from gapless.controller.store.tables import (
    AddressRow,
    FloatingIpRow,
    NetworkRow,
    PortRow,
    RouterPortRow,
    RouterRow,
    SubnetRow,
    Table,
)

R = TypeVar("R", bound=Table)
Filters = Mapping[str, Sequence[Any]]
"""By attribute: any of these values."""
Columns = Mapping[str, InstrumentedAttribute[Any]]

# What a row of each kind needs at hand to be shown or judged. Loaded in one go for many rows: never a query a row.
# What a row has one of comes with it (a join), what it has many of with a query for all rows together.
NETWORK = (selectinload(NetworkRow.subnets),)
SUBNET = (selectinload(SubnetRow.pools), joinedload(SubnetRow.network, innerjoin=True))
PORT = (
    selectinload(PortRow.addresses).joinedload(AddressRow.subnet, innerjoin=True),
    joinedload(PortRow.network, innerjoin=True),
)
CONNECTIONS = (
    joinedload(RouterRow.gateway_port).options(
        selectinload(PortRow.addresses).joinedload(AddressRow.subnet, innerjoin=True),
        joinedload(PortRow.network).selectinload(NetworkRow.subnets),
    ),
    selectinload(RouterRow.ports).joinedload(RouterPortRow.port, innerjoin=True).options(*PORT),
)
ROUTER = (
    *CONNECTIONS,
    selectinload(RouterRow.routes),
    selectinload(RouterRow.floating_ips),
    joinedload(RouterRow.binding),
)
ROUTER_VIEW = (
    joinedload(RouterRow.gateway_port).selectinload(PortRow.addresses),
    selectinload(RouterRow.routes),
    joinedload(RouterRow.binding),
)
FLOATING_IP = (
    joinedload(FloatingIpRow.floating_port, innerjoin=True).options(*PORT),
    joinedload(FloatingIpRow.port),
)
_ALLOCATING = (selectinload(NetworkRow.subnets).selectinload(SubnetRow.pools),)


async def network(session: AsyncSession, network_id: str) -> NetworkRow:
    """A network with its subnets and their pools. Raises NetworkNotFound."""
    row = await _one(session, select(NetworkRow).where(NetworkRow.id == network_id), _ALLOCATING)
    if row is None:
        raise faults.NetworkNotFound(network_id)
    return row


async def network_around(session: AsyncSession, subnet_id: str) -> tuple[NetworkRow, SubnetRow]:
    """The network of a subnet, as from `network`, and that one of its subnets. Raises SubnetNotFound."""
    named = select(SubnetRow.network_id).where(SubnetRow.id == subnet_id).scalar_subquery()
    row = await _one(session, select(NetworkRow).where(NetworkRow.id == named), _ALLOCATING)
    if row is None:
        raise faults.SubnetNotFound(subnet_id)
    return row, next(subnet for subnet in row.subnets if subnet.id == subnet_id)


async def subnet(session: AsyncSession, subnet_id: str) -> SubnetRow:
    """A subnet with its pools and network. Raises SubnetNotFound."""
    row = await _one(session, select(SubnetRow).where(SubnetRow.id == subnet_id), SUBNET)
    if row is None:
        raise faults.SubnetNotFound(subnet_id)
    return row


async def port(session: AsyncSession, port_id: str) -> PortRow:
    """A port with its addresses and network. Raises PortNotFound."""
    row = await _one(session, select(PortRow).where(PortRow.id == port_id), PORT)
    if row is None:
        raise faults.PortNotFound(port_id)
    return row


async def router(session: AsyncSession, router_id: str) -> RouterRow:
    """A router with everything that belongs to it. Raises RouterNotFound."""
    row = await _one(session, select(RouterRow).where(RouterRow.id == router_id), ROUTER)
    if row is None:
        raise faults.RouterNotFound(router_id)
    return row


async def connected_router(session: AsyncSession, router_id: str) -> RouterRow:
    """A router with what it is connected to, and nothing else. Raises RouterNotFound."""
    row = await _one(session, select(RouterRow).where(RouterRow.id == router_id), CONNECTIONS)
    if row is None:
        raise faults.RouterNotFound(router_id)
    return row


async def floating_ip(session: AsyncSession, floating_ip_id: str) -> FloatingIpRow:
    """A floating IP with both of its ports. Raises FloatingIPNotFound."""
    row = await _one(session, select(FloatingIpRow).where(FloatingIpRow.id == floating_ip_id), FLOATING_IP)
    if row is None:
        raise faults.FloatingIPNotFound(floating_ip_id)
    return row


async def _one(session: AsyncSession, query: Select[R], options: Iterable[ORMOption]) -> R | None:
    # What the session holds already is read anew, so that relations are what is stored by now.
    found = await session.scalars(query.options(*options).execution_options(populate_existing=True))
    return found.one_or_none()


async def matching(
    session: AsyncSession,
    query: Select[R],
    filters: Filters,
    columns: Columns,
    options: Iterable[ORMOption],
) -> Sequence[R]:
    """The rows of `query` that match those `filters` that are about `columns`; the caller looks at the others."""
    for attribute in filters.keys() & columns.keys():
        query = query.where(columns[attribute].in_([str(value) for value in filters[attribute]]))
    return (await session.scalars(query.options(*options))).all()


async def ids(session: AsyncSession, column: InstrumentedAttribute[str], *conditions: ColumnElement[bool]) -> list[str]:
    """One column of the rows that meet all conditions, in its own order."""
    return list(await session.scalars(select(column).where(*conditions).order_by(column)))
