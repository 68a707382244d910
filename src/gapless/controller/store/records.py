"""Rows of hosts, bindings and moves, and what the rest of the controller makes of them.

The rule: an epoch only grows, by one. A binding is stored only over the epoch right before it, in the transaction that
also begins the record of the move; whoever is late gets Conflict and has changed nothing.

Times are stored as wall-clock time for people; every decision is made from the monotonic clock, elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store.tables import BindingRow, Cluster, HostRow, MoveRow, RouterRow
from gapless.core.effects import Bind, StoreWithdrawal
from gapless.errors import Conflict, NotFound
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.model.plan import Assignment, Epoch, MoveKind, MoveStep
from gapless.model.router import RouterId

_REASON_LENGTH = 1024
_ENDS = (MoveStep.CONFIRMED, MoveStep.FAILED, MoveStep.SUPERSEDED)
_ORDER = {step: place for place, step in enumerate(MoveStep)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A host as the store knows it."""

    facts: HostFacts
    incarnation: Incarnation
    admin_up: bool
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBinding:
    """A binding, and the living host that its router still has to leave."""

    assignment: Assignment
    leaving_host: HostName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """What the record says of a move once a step is stored."""

    kind: MoveKind
    ended: bool
    """Whether this step is what the move came to."""
    since_sent_s: float | None
    """From the sending of the plan to this step; None if it was not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a move: when it was over, and how long after the step before it (None: the first)."""

    step: MoveStep
    at: datetime
    after_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The record of one move."""

    router_id: RouterId
    router_name: str
    epoch: Epoch
    from_host: HostName | None
    to_host: HostName
    kind: MoveKind
    outcome: str
    """running, confirmed, failed or superseded."""
    cause: str
    """The id of the event that led to it, as in the log."""
    reason: str
    detail: str
    """What the last step that had something to say said."""
    total_ms: float
    """From its first step to its last so far."""
    timeline: tuple[Step, ...]

    def as_json(self) -> dict[str, Any]:
        """As the API shows it: plain values, times in ISO 8601 with zone."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


async def cluster_id(session: AsyncSession) -> str:
    """The cluster's id, made at the first start."""
    known = await session.scalar(select(Cluster.id))
    if known is None:
        known = str(uuid4())
        session.add(Cluster(id=known))
    return known


# Hosts


async def hosts(session: AsyncSession) -> dict[HostName, HostRecord]:
    """Every host that has connected at least once and was not deleted."""
    rows = await session.scalars(select(HostRow))
    return {HostName(row.name): _host(row) for row in rows}


def _host(row: HostRow) -> HostRecord:
    said = {**row.facts, "name": row.name, "instance": row.instance}
    return HostRecord(
        facts=msgspec.convert(said, HostFacts),
        incarnation=Incarnation(row.incarnation),
        admin_up=row.admin_state_up,
        heartbeat_at=row.heartbeat_at,
    )


async def save_host(session: AsyncSession, facts: HostFacts, incarnation: Incarnation, at: datetime) -> HostRecord:
    """Store what a host said when it connected. What operators set (admin_state_up, description) stays.

    Raises LostRace where another name already has this instance.
    """
    row = await session.get(HostRow, facts.name)
    if row is None:
        row = HostRow(name=facts.name, admin_state_up=True, created_at=at, started_at=at, incarnation=incarnation)
        session.add(row)
    if row.instance != facts.instance or row.incarnation != incarnation:
        row.started_at = at
    row.instance = facts.instance
    row.incarnation = incarnation
    row.facts = msgspec.to_builtins(facts)
    row.heartbeat_at = at
    await session.flush()
    return _host(row)


async def save_heartbeats(session: AsyncSession, heard: Mapping[HostName, datetime]) -> None:
    """Store when hosts were last heard, for people."""
    for name, at in heard.items():
        await session.execute(update(HostRow).where(HostRow.name == name).values(heartbeat_at=at))


# Bindings


async def bindings(session: AsyncSession) -> dict[RouterId, StoredBinding]:
    """Every binding."""
    rows = await session.scalars(select(BindingRow))
    return {RouterId(row.router_id): _binding(row) for row in rows}


def _binding(row: BindingRow) -> StoredBinding:
    assignment = Assignment(router_id=RouterId(row.router_id), host=HostName(row.host), epoch=Epoch(row.epoch))
    return StoredBinding(
        assignment=assignment, leaving_host=None if row.leaving_host is None else HostName(row.leaving_host)
    )


async def bind(session: AsyncSession, decided: Sequence[tuple[Bind, datetime]], at: datetime) -> None:
    """Store bindings, each of another router, and begin the records of their moves: all of them or, raising, none.

    `decided` holds each with the time of its decision; `at` is now. Storing the very same again changes nothing: a
    transaction may be stored although its writer saw it fail. Raises Conflict, naming a router, if it is gone or its
    stored epoch is not the one before.
    """
    ids = [effect.router_id for effect, _ in decided]
    named = await session.execute(select(RouterRow.id, RouterRow.name).where(RouterRow.id.in_(ids)))
    names = {row.id: row.name for row in named}
    # FOR UPDATE where the database has it; a writer of SQLite holds the write lock from its beginning.
    bound = await session.scalars(select(BindingRow).where(BindingRow.router_id.in_(ids)).with_for_update())
    stored = {row.router_id: row for row in bound}
    for effect, decided_at in decided:
        row = stored.get(effect.router_id)
        if row is not None and (row.host, row.epoch) == (effect.host, effect.epoch):
            continue
        if effect.router_id not in names:
            raise Conflict(f"router {effect.router_id} was deleted before it was bound to {effect.host}")
        epoch = row.epoch if row is not None else 0
        if effect.epoch != epoch + 1:
            raise Conflict(f"router {effect.router_id} is at epoch {epoch} in the store: epoch {effect.epoch} is stale")
        if row is None:
            row = BindingRow(router_id=effect.router_id)
            session.add(row)
        row.host, row.epoch, row.leaving_host, row.bound_at = effect.host, effect.epoch, effect.leaving_host, at
        session.add(_begun(effect, names[effect.router_id], decided_at, at))
    await session.flush()


def _begun(effect: Bind, router_name: str, decided_at: datetime, at: datetime) -> MoveRow:
    return MoveRow(
        router_id=effect.router_id,
        epoch=effect.epoch,
        router_name=router_name,
        from_host=effect.previous_host,
        to_host=effect.host,
        kind=effect.kind.value,
        cause=effect.cause,
        reason=effect.reason[:_REASON_LENGTH],
        detail=effect.choice[:_REASON_LENGTH],
        last_heard_at=None if effect.silent_s is None else decided_at - timedelta(seconds=effect.silent_s),
        decided_at=decided_at,
        bound_at=at,
    )


async def store_withdrawal(session: AsyncSession, effect: StoreWithdrawal) -> None:
    """Store that nothing of the router is left on the host that it leaves. Raises Conflict if the epoch is another."""
    changed = await session.execute(
        update(BindingRow)
        .where(BindingRow.router_id == effect.router_id, BindingRow.epoch == effect.epoch)
        .values(leaving_host=None)
        .returning(BindingRow.router_id)
    )
    if changed.one_or_none() is None:
        raise Conflict(f"router {effect.router_id} is not bound at epoch {effect.epoch} any more")


# Moves


async def record_step(
    session: AsyncSession, router_id: RouterId, epoch: Epoch, step: MoveStep, at: datetime, reason: str = ""
) -> RecordedStep | None:
    """Store that a step of a move is over. The first time counts: None if it was recorded before, or for no move.

    Only BOUND is put right: `bind` has to guess, since nobody knows inside a transaction when it will be on the disk.
    """
    row = await session.get(MoveRow, (router_id, epoch))
    if row is None or (getattr(row, f"{step.value}_at") is not None and step is not MoveStep.BOUND):
        return None
    was_running = _outcome(row) == "running"
    setattr(row, f"{step.value}_at", at)
    if reason:
        row.detail = reason[:_REASON_LENGTH]
    return RecordedStep(
        kind=MoveKind(row.kind), ended=was_running and step in _ENDS, since_sent_s=_seconds_since(row.sent_at, at)
    )


async def open_moves(session: AsyncSession) -> dict[RouterId, MoveKind]:
    """The kind of each binding's own move, where that is neither confirmed nor superseded."""
    here = (MoveRow.router_id == BindingRow.router_id) & (MoveRow.epoch == BindingRow.epoch)
    rows = await session.execute(
        select(MoveRow.router_id, MoveRow.kind)
        .join(BindingRow, here)
        .where(MoveRow.confirmed_at.is_(None), MoveRow.superseded_at.is_(None))
    )
    return {RouterId(router_id): MoveKind(kind) for router_id, kind in rows}


async def moves(
    session: AsyncSession, *, router_id: str | None = None, host: str | None = None, limit: int = 100
) -> list[Move]:
    """The newest `limit` moves, newest first; only those of a router, or those from or to a host, where asked."""
    wanted = select(MoveRow).order_by(MoveRow.decided_at.desc(), MoveRow.epoch.desc(), MoveRow.router_id).limit(limit)
    if router_id is not None:
        wanted = wanted.where(MoveRow.router_id == router_id)
    if host is not None:
        wanted = wanted.where(or_(MoveRow.from_host == host, MoveRow.to_host == host))
    return [_move(row) for row in await session.scalars(wanted)]


async def move(session: AsyncSession, router_id: str, epoch: int) -> Move:
    """One move. Raises NotFound."""
    row = await session.get(MoveRow, (router_id, epoch))
    if row is None:
        raise NotFound(f"there is no move of router {router_id} to epoch {epoch}")
    return _move(row)


def _move(row: MoveRow) -> Move:
    timeline = _timeline(row)
    return Move(
        router_id=RouterId(row.router_id),
        router_name=row.router_name,
        epoch=Epoch(row.epoch),
        from_host=None if row.from_host is None else HostName(row.from_host),
        to_host=HostName(row.to_host),
        kind=MoveKind(row.kind),
        outcome=_outcome(row),
        cause=row.cause,
        reason=row.reason,
        detail=row.detail,
        total_ms=_ms_between(timeline[0].at, timeline[-1].at),
        timeline=timeline,
    )


def _timeline(row: MoveRow) -> tuple[Step, ...]:
    """The steps that are over, in time order; steps of one instant in the order of the story."""
    times: list[tuple[datetime, MoveStep]] = [
        (at, step) for step in MoveStep if (at := getattr(row, f"{step.value}_at")) is not None
    ]
    times.sort(key=lambda timed: (timed[0], _ORDER[timed[1]]))
    before: Iterable[datetime | None] = [None, *(at for at, _ in times)]
    return tuple(
        Step(step=step, at=at, after_ms=None if earlier is None else _ms_between(earlier, at))
        for (at, step), earlier in zip(times, before, strict=False)
    )


def _outcome(row: MoveRow) -> str:
    """The first end that a move came to."""
    ends = [(at, step.value) for step in _ENDS if (at := getattr(row, f"{step.value}_at")) is not None]
    return min(ends)[1] if ends else "running"


def _seconds_since(earlier: datetime | None, later: datetime) -> float | None:
    return None if earlier is None else (later - earlier).total_seconds()


def _ms_between(earlier: datetime, later: datetime) -> float:
    return (later - earlier) / timedelta(milliseconds=1)
