"""Rows of which a cluster has one: its id, and the panel of its arbiters.

The rule: the panel only goes on, from level to level (`core.planner.panel`); whoever would store an earlier one gets
Conflict.
"""

from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store.tables import Cluster, PanelRow
from gapless.core.effects import StorePanel
from gapless.errors import Conflict
from gapless.model.host import HostName
from gapless.model.lease import Panel, PanelVersion


async def cluster_id(session: AsyncSession) -> str:
    """The cluster's id, made at the first start."""
    known = await session.scalar(select(Cluster.id))
    if known is None:
        known = str(uuid4())
        session.add(Cluster(id=known))
    return known


async def panel(session: AsyncSession) -> Panel | None:
    """The arbiters; None if there never were any."""
    row = await session.scalar(select(PanelRow))
    if row is None:
        return None
    sets = tuple(frozenset(HostName(name) for name in each) for each in row.sets)
    return Panel(version=PanelVersion(row.version), floor=PanelVersion(row.floor), sets=sets)


async def store_panel(session: AsyncSession, effect: StorePanel) -> None:
    """Store a level of the panel. Raises Conflict if a later one is stored."""
    row = await session.scalar(select(PanelRow))
    wanted = effect.panel
    if row is None:
        row = PanelRow(id=1)
        session.add(row)
    elif (row.version, row.floor) > (wanted.version, wanted.floor):
        raise Conflict(f"the stored panel is version {row.version}, floor {row.floor}: {wanted.version} is stale")
    row.version, row.floor, row.sets = wanted.version, wanted.floor, [sorted(each) for each in wanted.sets]
    await session.flush()
