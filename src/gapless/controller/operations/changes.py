"""Which routers an operation changed: what hosts must build anew or the planner must place anew.

The rule: whoever changes a row that a router is projected from (`store/projection.py`) marks the router, in the same
transaction. The API tells the planner after the commit. Too many marks cost a comparison; a missing one costs a router
that is not what its owner thinks it is.
"""

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store.tables import AddressRow, PortRow, RouterPortRow, RouterRow
from gapless.model.router import RouterId


def mark_changed(session: AsyncSession, *router_ids: str | None) -> None:
    """These routers are not what they were; None is skipped."""
    changed: set[RouterId] = session.info.setdefault("routers_changed", set())
    changed.update(RouterId(each) for each in router_ids if each is not None)


def mark_deleted(session: AsyncSession, router_id: str) -> None:
    """This router is gone; a change of it no longer matters."""
    deleted: set[RouterId] = session.info.setdefault("routers_deleted", set())
    deleted.add(RouterId(router_id))
    changed: set[RouterId] = session.info.setdefault("routers_changed", set())
    changed.discard(RouterId(router_id))


async def mark_network(session: AsyncSession, network_id: str) -> None:
    """Every router with a port on this network."""
    await _mark_owners(session, select(PortRow.id).where(PortRow.network_id == network_id))


async def mark_subnet(session: AsyncSession, subnet_id: str) -> None:
    """Every router with an address of this subnet."""
    await _mark_owners(session, select(AddressRow.port_id).where(AddressRow.subnet_id == subnet_id))


async def owner_of(session: AsyncSession, port_id: str) -> str | None:
    """The router that a port is an interface or the gateway of."""
    inside = await session.scalar(select(RouterPortRow.router_id).where(RouterPortRow.port_id == port_id))
    return inside or await session.scalar(select(RouterRow.id).where(RouterRow.gateway_port_id == port_id))


async def _mark_owners(session: AsyncSession, port_ids: Select[str]) -> None:
    inside = select(RouterPortRow.router_id).where(RouterPortRow.port_id.in_(port_ids))
    outside = select(RouterRow.id).where(RouterRow.gateway_port_id.in_(port_ids))
    mark_changed(session, *await session.scalars(inside), *await session.scalars(outside))
