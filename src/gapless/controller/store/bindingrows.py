"""Rows of bindings: which host each router is bound to, which one it still has to leave, and who may succeed.

The rule: an epoch only grows. A binding is stored only over the epoch that it was decided on (`Bind.replaces`), in the
transaction that also begins the record of the move (`moverows.begun`); whoever is late gets Conflict and has changed
nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store import moverows
from gapless.controller.store.tables import BindingRow, MoveRow, RouterRow
from gapless.core.effects import Bind, StoreSuccession, StoreWithdrawal
from gapless.errors import Conflict, NotFound
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Assignment, Epoch, Successor
from gapless.model.router import RouterId

_Values = dict[str, Any]
"""Of one row, by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBinding:
    """A binding, the living host that its router still has to leave, and who may succeed its host, by rank."""

    assignment: Assignment
    leaving_host: HostName | None
    incarnation: Incarnation | None = None
    leaving_incarnation: Incarnation | None = None
    successors: tuple[Successor, ...] = ()


async def bindings(session: AsyncSession, ids: Collection[RouterId] | None = None) -> dict[RouterId, StoredBinding]:
    """Every binding, or those of these routers."""
    wanted = select(BindingRow)
    if ids is not None:
        wanted = wanted.where(BindingRow.router_id.in_(ids))
    rows = await session.scalars(wanted)
    return {RouterId(row.router_id): _binding(row) for row in rows}


def _binding(row: BindingRow) -> StoredBinding:
    assignment = Assignment(router_id=RouterId(row.router_id), host=HostName(row.host), epoch=Epoch(row.epoch))
    return StoredBinding(
        assignment=assignment,
        leaving_host=None if row.leaving_host is None else HostName(row.leaving_host),
        incarnation=None if row.incarnation is None else Incarnation(row.incarnation),
        leaving_incarnation=None if row.leaving_incarnation is None else Incarnation(row.leaving_incarnation),
        successors=tuple(_successor(each) for each in row.successors),
    )


def _successor(stored: Mapping[str, Any]) -> Successor:
    tenure = Tenure(HostName(stored["host"]), Incarnation(stored["incarnation"]))
    return Successor(tenure=tenure, epoch=Epoch(stored["epoch"]))


def _as_stored(successor: Successor) -> dict[str, Any]:
    return {"host": successor.tenure.host, "incarnation": successor.tenure.incarnation, "epoch": successor.epoch}


def has(stored: StoredBinding | None, effect: Bind | StoreWithdrawal | StoreSuccession) -> bool:
    """Whether what the effect was to bring about is so; `stored` is its router's binding."""
    if stored is None or stored.assignment.epoch != effect.epoch:
        return False
    match effect:
        case Bind():
            return (stored.assignment.host, stored.leaving_host) == (effect.host, effect.leaving_host)
        case StoreWithdrawal():
            return stored.leaving_host is None
        case StoreSuccession():
            return (stored.incarnation, stored.successors) == (effect.incarnation, effect.successors)


async def bind(session: AsyncSession, decided: Sequence[tuple[Bind, datetime]], at: datetime) -> None:
    """Store bindings, each of another router, and begin the records of their moves: all of them or, raising, none.

    `decided` holds each with the time of its effect; `at` is now. Storing the same again changes `leaving_host` at
    most: a transaction may be stored although its writer saw it fail. Raises NotFound, naming a router, if it is gone,
    Conflict if its stored epoch is not the one before, LostRace if its host is gone.
    """
    ids = [effect.router_id for effect, _ in decided]
    named = await session.execute(select(RouterRow.id, RouterRow.name).where(RouterRow.id.in_(ids)))
    names = {row.id: row.name for row in named}
    # FOR UPDATE where the database has it; a writer of SQLite holds the write lock from its beginning.
    known = select(BindingRow.router_id, BindingRow.host, BindingRow.epoch, BindingRow.successors)
    bound = await session.execute(known.where(BindingRow.router_id.in_(ids)).with_for_update())
    stored = {row.router_id: row for row in bound}
    first, anew, again, begun = list[_Values](), list[_Values](), list[_Values](), list[_Values]()
    for effect, decided_at in decided:
        row = stored.get(effect.router_id)
        if row is not None and (row.host, row.epoch) == (effect.host, effect.epoch):
            again.append({"router": effect.router_id, "leaving_host": effect.leaving_host})
            continue
        if effect.router_id not in names:
            raise NotFound(f"router {effect.router_id} was deleted before it was bound to {effect.host}")
        epoch = row.epoch if row is not None else 0
        if effect.replaces != epoch:
            raise Conflict(f"router {effect.router_id} is at epoch {epoch} in the store: epoch {effect.epoch} is stale")
        if row is None:
            first.append({"router_id": effect.router_id, **_values(effect, (), at)})
        else:
            anew.append({"router": effect.router_id, **_values(effect, row.successors, at)})
        begun.append(moverows.begun(effect, names[effect.router_id], decided_at, at))
    connection = await session.connection()  # The session itself would insist on a key for each.
    one = update(BindingRow).where(BindingRow.router_id == bindparam("router"))
    for statement, rows in ((insert(BindingRow), first), (one, anew), (one, again), (insert(MoveRow), begun)):
        if rows:
            await connection.execute(statement, rows)


def _values(effect: Bind, successors: Sequence[Mapping[str, Any]], at: datetime) -> _Values:
    """Of those who might succeed the host before, whoever is at a higher epoch still may."""
    return {
        "host": effect.host,
        "epoch": effect.epoch,
        "leaving_host": effect.leaving_host,
        "bound_at": at,
        "incarnation": effect.incarnation,
        "leaving_incarnation": effect.leaving_incarnation,
        "successors": [each for each in successors if each["epoch"] > effect.epoch],
    }


async def store_withdrawal(session: AsyncSession, effect: StoreWithdrawal) -> None:
    """Store that nothing of the router is left on the host that it leaves.

    Raises NotFound if the router was deleted, Conflict if its stored epoch is another.
    """
    values = {"leaving_host": None, "leaving_incarnation": None}
    await _amend(session, effect, values, f"had left {effect.leaving_host}")


async def store_succession(session: AsyncSession, effect: StoreSuccession) -> None:
    """Store who may succeed the router's host, and at which incarnation that host guards it.

    Raises NotFound if the router was deleted, Conflict if its stored epoch is another.
    """
    values = {
        "incarnation": effect.incarnation,
        "successors": [_as_stored(each) for each in effect.successors],
    }
    await _amend(session, effect, values, "had other standbys")


async def store_successions(session: AsyncSession, effects: Sequence[StoreSuccession]) -> None:
    """As `store_succession`, of many routers by one statement. Raises Conflict if one of them does not fit: which of
    them, is said where each is stored alone.
    """
    if len(effects) == 1:
        await store_succession(session, effects[0])
        return
    one = (
        update(BindingRow)
        .where(BindingRow.router_id == bindparam("router"), BindingRow.epoch == bindparam("at_epoch"))
        .values(incarnation=bindparam("guarded_at"), successors=bindparam("ranked"))
    )
    rows = [
        {
            "router": each.router_id,
            "at_epoch": each.epoch,
            "guarded_at": each.incarnation,
            "ranked": [_as_stored(successor) for successor in each.successors],
        }
        for each in effects
    ]
    connection = await session.connection()  # The session itself would insist on a key for each.
    if rows and (changed := (await connection.execute(one, rows)).rowcount) != len(rows):
        raise Conflict(f"of {len(rows)} routers {len(rows) - changed} were deleted, or are at another epoch")


async def _amend(
    session: AsyncSession, effect: StoreWithdrawal | StoreSuccession, values: Mapping[str, Any], what: str
) -> None:
    """Change the binding, if it is still at the effect's epoch."""
    changed = await session.execute(
        update(BindingRow)
        .where(BindingRow.router_id == effect.router_id, BindingRow.epoch == effect.epoch)
        .values(values)
        .returning(BindingRow.router_id)
    )
    if changed.one_or_none() is not None:
        return
    stored = await session.scalar(select(BindingRow.epoch).where(BindingRow.router_id == effect.router_id))
    if stored is None:
        raise NotFound(f"router {effect.router_id} was deleted before it {what}")
    raise Conflict(f"router {effect.router_id} is at epoch {stored} in the store: epoch {effect.epoch} is stale")
