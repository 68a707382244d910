"""Find rows by id, or say in Neutron's words that there is no such thing; and rows for lists."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, joinedload, selectinload
from sqlalchemy.orm.interfaces import ORMOption

from gapless.controller.operations import faults, pages
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
from gapless.errors import NotFound

R = TypeVar("R", bound=Table)

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
    missing = faults.NetworkNotFound(network_id)
    return await _required(session, NetworkRow, NetworkRow.id == network_id, _ALLOCATING, missing)


async def network_around(session: AsyncSession, subnet_id: str) -> tuple[NetworkRow, SubnetRow]:
    """The network of a subnet, as from `network`, and that one of its subnets. Raises SubnetNotFound."""
    named = select(SubnetRow.network_id).where(SubnetRow.id == subnet_id).scalar_subquery()
    missing = faults.SubnetNotFound(subnet_id)
    row = await _required(session, NetworkRow, NetworkRow.id == named, _ALLOCATING, missing)
    return row, next(subnet for subnet in row.subnets if subnet.id == subnet_id)


async def subnet(session: AsyncSession, subnet_id: str) -> SubnetRow:
    """A subnet with its pools and network. Raises SubnetNotFound."""
    return await _required(session, SubnetRow, SubnetRow.id == subnet_id, SUBNET, faults.SubnetNotFound(subnet_id))


async def port(session: AsyncSession, port_id: str) -> PortRow:
    """A port with its addresses and network. Raises PortNotFound."""
    return await _required(session, PortRow, PortRow.id == port_id, PORT, faults.PortNotFound(port_id))


async def router(session: AsyncSession, router_id: str) -> RouterRow:
    """A router with everything that belongs to it. Raises RouterNotFound."""
    return await _required(session, RouterRow, RouterRow.id == router_id, ROUTER, faults.RouterNotFound(router_id))


async def connected_router(session: AsyncSession, router_id: str) -> RouterRow:
    """A router with what it is connected to, and nothing else. Raises RouterNotFound."""
    return await _required(session, RouterRow, RouterRow.id == router_id, CONNECTIONS, faults.RouterNotFound(router_id))


async def floating_ip(session: AsyncSession, floating_ip_id: str) -> FloatingIpRow:
    """A floating IP with both of its ports. Raises FloatingIPNotFound."""
    missing = faults.FloatingIPNotFound(floating_ip_id)
    return await _required(session, FloatingIpRow, FloatingIpRow.id == floating_ip_id, FLOATING_IP, missing)


async def _required(
    session: AsyncSession, kind: type[R], which: ColumnElement[bool], options: Iterable[ORMOption], missing: NotFound
) -> R:
    # What the session holds already is read anew, so that relations are what is stored by now.
    query = select(kind).where(which).options(*options).execution_options(populate_existing=True)
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise missing
    return row


async def matching(
    session: AsyncSession,
    query: Select[R],
    columns: pages.Columns,
    filters: pages.Filters,
    page: pages.Page | None,
    options: Iterable[ORMOption],
) -> Sequence[R]:
    """The rows of `query` that may be asked for, by `filters` and `page` (see `pages`); the rest is the caller's."""
    narrowed: Select[R] = pages.narrowed(query, columns, filters, page)
    return (await session.scalars(narrowed.options(*options))).all()


async def ids(session: AsyncSession, column: InstrumentedAttribute[str], *conditions: ColumnElement[bool]) -> list[str]:
    """One column of the rows that meet all conditions, in its own order."""
    return list(await session.scalars(select(column).where(*conditions).order_by(column)))
