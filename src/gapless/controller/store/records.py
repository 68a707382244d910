"""Rows of hosts, bindings and moves, and what the rest of the controller makes of them.

The rule: an epoch only grows. A binding is stored only over the epoch that it was decided on (`Bind.replaces`), in the
transaction that also begins the record of the move; whoever is late gets Conflict and has changed nothing.

Times are stored as wall-clock time for people; every decision is made from the monotonic clock, elsewhere.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import and_, bindparam, case, delete, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store.tables import BindingRow, Cluster, HostNameRow, HostRow, MoveRow, PanelRow, RouterRow
from gapless.core.effects import Bind, StorePanel, StoreSuccession, StoreWithdrawal
from gapless.errors import Conflict, NotFound
from gapless.model.host import HostFacts, HostName, Incarnation, InstanceId
from gapless.model.lease import NOBODY, Panel, PanelVersion, Tenure
from gapless.model.plan import Assignment, Epoch, MoveKind, MoveStep, Successor
from gapless.model.router import RouterId

_REASON_LENGTH = 1024
_ENDS = (MoveStep.CONFIRMED, MoveStep.FAILED, MoveStep.SUPERSEDED)
_TELLING = (MoveStep.FAILED, MoveStep.SUPERSEDED)
"""Ends whose reason says more of a move than why its host was chosen."""
_ORDER = {step: place for place, step in enumerate(MoveStep)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A host as the store knows it."""

    facts: HostFacts
    incarnation: Incarnation
    admin_up: bool
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRecord:
    """What is known of a host's name, whichever machines had it (`tables.HostNameRow`)."""

    instance: InstanceId
    started: Incarnation
    highest: Incarnation
    outlived: Incarnation
    confirmed: Incarnation = NOBODY

    @property
    def is_off(self) -> bool:
        """An operator confirmed that its machine is off, and it did not connect since."""
        return self.confirmed >= self.started


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBinding:
    """A binding, the living host that its router still has to leave, and who may succeed its host, by rank."""

    assignment: Assignment
    leaving_host: HostName | None
    incarnation: Incarnation | None = None
    leaving_incarnation: Incarnation | None = None
    successors: tuple[Successor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """A step of a move that is over, and is to be recorded."""

    router_id: RouterId
    epoch: Epoch
    step: MoveStep
    at: datetime
    reason: str = ""


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
    """Why this host was chosen; of a move that failed or was superseded, why that."""
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


async def save_host(session: AsyncSession, facts: HostFacts, incarnation: Incarnation, at: datetime) -> None:
    """Store what a host said when it connected. What operators set (admin_state_up, description) stays.

    Raises LostRace where another name already has this instance.
    """
    if not await save_known_host(session, facts, incarnation, at):
        row = HostRow(name=facts.name, admin_state_up=True, created_at=at, started_at=at, incarnation=incarnation)
        session.add(row)
        await _fill(session, row, facts, incarnation, at)


async def save_known_host(session: AsyncSession, facts: HostFacts, incarnation: Incarnation, at: datetime) -> bool:
    """As `save_host`, for a host that is stored already; false, and nothing is stored, if it was deleted."""
    row = await session.get(HostRow, facts.name)
    if row is None:
        return False
    await _fill(session, row, facts, incarnation, at)
    return True


async def _fill(session: AsyncSession, row: HostRow, facts: HostFacts, incarnation: Incarnation, at: datetime) -> None:
    if row.instance != facts.instance or row.incarnation != incarnation:
        row.started_at = at
    row.instance = facts.instance
    row.incarnation = incarnation
    row.facts = msgspec.to_builtins(facts)
    row.heartbeat_at = at
    await session.flush()


async def names(session: AsyncSession) -> dict[HostName, NameRecord]:
    """Every name that a host ever connected under."""
    return {
        HostName(row.name): NameRecord(
            instance=InstanceId(row.instance),
            started=Incarnation(row.started),
            highest=Incarnation(row.highest),
            outlived=Incarnation(row.outlived),
            confirmed=Incarnation(row.confirmed),
        )
        for row in await session.scalars(select(HostNameRow))
    }


async def save_names(session: AsyncSession, known: Mapping[HostName, NameRecord]) -> None:
    """Store what is known of these names. What an operator confirmed meanwhile stays."""
    for name, record in known.items():
        row = await session.get(HostNameRow, name)
        if row is None:
            row = HostNameRow(name=name, highest=0, outlived=0, confirmed=0)
            session.add(row)
        row.instance, row.started = record.instance, record.started
        row.highest, row.outlived = max(row.highest, record.highest), max(row.outlived, record.outlived)
        row.confirmed = max(row.confirmed, record.confirmed)
    await session.flush()


async def confirm_off(session: AsyncSession, words: Mapping[HostName, Incarnation]) -> None:
    """Store an operator's word that these machines are off, each up to an incarnation. Raises NotFound."""
    for name, up_to in words.items():
        row = await session.get(HostNameRow, name)
        if row is None:
            raise NotFound(f"no host {name} ever connected")
        row.highest, row.outlived, row.confirmed = (
            max(known, up_to) for known in (row.highest, row.outlived, row.confirmed)
        )
    await session.flush()


async def save_heartbeats(session: AsyncSession, heard: Mapping[HostName, datetime]) -> set[HostName]:
    """Store when hosts were last heard, for people. Of those that were deleted nothing is stored; returns them."""
    if heard:
        one = update(HostRow).where(HostRow.name == bindparam("host")).values(heartbeat_at=bindparam("at"))
        connection = await session.connection()  # The session itself would insist on a row for each.
        await connection.execute(one, [{"host": name, "at": at} for name, at in heard.items()])
    there = await session.scalars(select(HostRow.name).where(HostRow.name.in_(heard)))
    return heard.keys() - {HostName(name) for name in there}


# Bindings


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
    bound = await session.scalars(select(BindingRow).where(BindingRow.router_id.in_(ids)).with_for_update())
    stored = {row.router_id: row for row in bound}
    for effect, decided_at in decided:
        row = stored.get(effect.router_id)
        if row is not None and (row.host, row.epoch) == (effect.host, effect.epoch):
            row.leaving_host = effect.leaving_host
            continue
        if effect.router_id not in names:
            raise NotFound(f"router {effect.router_id} was deleted before it was bound to {effect.host}")
        epoch = row.epoch if row is not None else 0
        if effect.replaces != epoch:
            raise Conflict(f"router {effect.router_id} is at epoch {epoch} in the store: epoch {effect.epoch} is stale")
        if row is None:
            row = BindingRow(router_id=effect.router_id)
            session.add(row)
        row.host, row.epoch, row.leaving_host, row.bound_at = effect.host, effect.epoch, effect.leaving_host, at
        row.incarnation, row.leaving_incarnation = effect.incarnation, effect.leaving_incarnation
        row.successors = [each for each in row.successors or () if each["epoch"] > effect.epoch]
        session.add(_begun(effect, names[effect.router_id], decided_at, at))
    await session.flush()


def _begun(effect: Bind, router_name: str, taken_at: datetime, at: datetime) -> MoveRow:
    decided_at = taken_at - timedelta(seconds=effect.decided_ago_s)
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
        last_heard_at=None if effect.silent_s is None else taken_at - timedelta(seconds=effect.silent_s),
        decided_at=decided_at,
        bound_at=at,
    )


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


# Arbiters


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


# Moves


async def record_steps(session: AsyncSession, taken: Sequence[StepTaken]) -> list[RecordedStep | None]:
    """Store that steps of moves are over, of many moves with one read and few writes; what that means for each.

    The first time of a step counts: None if it was recorded before, or for no move. Only BOUND is put right: `bind` has
    to guess, since nobody knows inside a transaction when it will be on the disk.
    """
    named = {(each.router_id, each.epoch) for each in taken}
    rows = await session.scalars(select(MoveRow).where(tuple_(MoveRow.router_id, MoveRow.epoch).in_(named)))
    moves_by_key = {(row.router_id, row.epoch): row for row in rows}
    recorded = [_recorded(moves_by_key.get((each.router_id, each.epoch)), each) for each in taken]
    await session.flush()
    return recorded


def _recorded(row: MoveRow | None, taken: StepTaken) -> RecordedStep | None:
    step = taken.step
    if row is None or (getattr(row, f"{step.value}_at") is not None and step is not MoveStep.BOUND):
        return None
    was_running = _outcome(row) == "running"
    setattr(row, f"{step.value}_at", taken.at)
    if taken.reason and step in _TELLING:
        row.detail = taken.reason[:_REASON_LENGTH]
    return RecordedStep(
        kind=MoveKind(row.kind), ended=was_running and step in _ENDS, since_sent_s=_seconds_since(row.sent_at, taken.at)
    )


async def prune_moves(session: AsyncSession, before: datetime, most: int) -> int:
    """Delete the oldest moves that were decided `before` then, `most` of them at most; how many. Of a router that there
    is, the move to its present epoch stays, and so does one that has not ended.
    """
    has_ended = or_(*(getattr(MoveRow, f"{step.value}_at").is_not(None) for step in _ENDS))
    is_past = and_(BindingRow.epoch != MoveRow.epoch, has_ended)
    old = await session.execute(
        select(MoveRow.router_id, MoveRow.epoch)
        .outerjoin(BindingRow, BindingRow.router_id == MoveRow.router_id)
        .where(MoveRow.decided_at < before, or_(BindingRow.router_id.is_(None), is_past))
        .order_by(MoveRow.decided_at)
        .limit(most)
    )
    keys = [(row.router_id, row.epoch) for row in old]
    if keys:
        await session.execute(delete(MoveRow).where(tuple_(MoveRow.router_id, MoveRow.epoch).in_(keys)))
    return len(keys)


async def open_moves(session: AsyncSession) -> dict[RouterId, MoveKind]:
    """The kind of each binding's own move, where that is neither confirmed nor superseded."""
    here = (MoveRow.router_id == BindingRow.router_id) & (MoveRow.epoch == BindingRow.epoch)
    rows = await session.execute(
        select(MoveRow.router_id, MoveRow.kind)
        .join(BindingRow, here)
        .where(MoveRow.confirmed_at.is_(None), MoveRow.superseded_at.is_(None))
    )
    return {RouterId(router_id): MoveKind(kind) for router_id, kind in rows}


async def choices(session: AsyncSession) -> dict[RouterId, str]:
    """Why each router was bound to the host that it is bound to; of one that failed there, why it was moved."""
    here = (MoveRow.router_id == BindingRow.router_id) & (MoveRow.epoch == BindingRow.epoch)
    why = case((MoveRow.failed_at.is_(None) & MoveRow.superseded_at.is_(None), MoveRow.detail), else_=MoveRow.reason)
    rows = await session.execute(select(MoveRow.router_id, why).join(BindingRow, here))
    return {RouterId(router_id): choice for router_id, choice in rows}


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
