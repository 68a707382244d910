"""Rows of moves: why each was decided, when each of its steps was over, and how it ended.

The record is for people: nothing is decided by it. Of one thing the planner is told when it starts: which bindings' own
moves have not ended (`open_moves`).

The rule: the first time of a step counts, and so does the first end. A move that begins is recorded with its binding,
in one transaction (`bindingrows.bind`); its other steps are recorded when somebody has time.

Times are dates for people (`controller.wallclock`); every decision is made from the monotonic clock, elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import and_, case, delete, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, load_only

from gapless.controller.store.tables import BindingRow, MoveRow
from gapless.core.effects import Bind
from gapless.errors import NotFound
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep
from gapless.model.router import RouterId

_REASON_LENGTH = 1024
_ENDS = (MoveStep.CONFIRMED, MoveStep.FAILED, MoveStep.SUPERSEDED)
_TELLING = (MoveStep.FAILED, MoveStep.SUPERSEDED)
"""Ends whose reason says more of a move than why its host was chosen."""
_NEXT = timedelta(microseconds=1)
_LONGEST_AGO_S = 30 * 86_400.0
_ORDER = {step: place for place, step in enumerate(MoveStep)}
_WHEN_OPEN = (MoveStep.ANNOUNCED, MoveStep.FORWARDED)
"""Steps of what is open; there are others of what is built."""


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
    """One step of a move: when it was over, how long after the step before it (None: the first), and how long after the
    first beat that was missed; where none was, after the first step.
    """

    step: MoveStep
    at: datetime
    after_ms: float | None
    since_ms: float


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
    """From the first beat that was missed, or else its first step, to its last step so far."""
    timeline: tuple[Step, ...]

    def as_json(self) -> dict[str, Any]:
        """As the API shows it: plain values, times in ISO 8601 with zone."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def begun(effect: Bind, router_name: str, taken_at: datetime, at: datetime) -> dict[str, Any]:
    """The row of a move that begins: its binding's effect was taken from the planner then, and is stored now."""
    values: dict[str, Any] = {f"{step.value}_at": None for step in MoveStep}
    return values | {
        "router_id": effect.router_id,
        "epoch": effect.epoch,
        "router_name": router_name,
        "from_host": effect.previous_host,
        "to_host": effect.host,
        "kind": effect.kind.value,
        "cause": effect.cause,
        "reason": effect.reason[:_REASON_LENGTH],
        "detail": effect.choice[:_REASON_LENGTH],
        "last_heard_at": None if effect.silent_s is None else taken_at - timedelta(seconds=effect.silent_s),
        "decided_at": taken_at,
        "bound_at": at,
        **{f"{step.value}_at": before(taken_at, ago_s) for step, ago_s in effect.over},
    }


def before(at: datetime, seconds: float) -> datetime:
    """So long before. What a host says of its own times is believed up to a month, and breaks no calendar."""
    return at - timedelta(seconds=min(max(seconds, 0.0), _LONGEST_AGO_S))


async def record_steps(session: AsyncSession, taken: Sequence[StepTaken]) -> list[RecordedStep | None]:
    """Store that steps of moves are over, of many moves with one read and few writes; what that means for each.

    The first time of a step counts: None if it was recorded before, or for no move. What `begun` has to guess is put
    right: BOUND, since nobody knows inside a transaction when it will be on the disk; and of a takeover DECIDED, as
    long as the controller has heard only that the router is open, and nothing of how that came.
    """
    # Of pairs, SQLite would look at every move that there ever was; so it finds a few more moves than are named.
    routers, epochs = {each.router_id for each in taken}, {each.epoch for each in taken}
    columns = map(_column, {each.step for each in taken} | {MoveStep.SENT, MoveStep.OPENED, *_ENDS})
    named = select(MoveRow).where(MoveRow.router_id.in_(routers), MoveRow.epoch.in_(epochs))
    rows = await session.scalars(named.options(load_only(MoveRow.kind, *columns)))
    moves_by_key = {(row.router_id, row.epoch): row for row in rows}
    recorded = [_recorded(moves_by_key.get((each.router_id, each.epoch)), each) for each in taken]
    await session.flush()
    return recorded


def _column(step: MoveStep) -> InstrumentedAttribute[datetime | None]:
    column: InstrumentedAttribute[datetime | None] = getattr(MoveRow, f"{step.value}_at")
    return column


def _recorded(row: MoveRow | None, taken: StepTaken) -> RecordedStep | None:
    step = taken.step
    if row is None or (getattr(row, f"{step.value}_at") is not None and not _is_guessed(row, step)):
        return None
    first_end, at = min(_ends(row), default=None), taken.at
    # The wall clock may have been set back meanwhile: what a move came to first stays its first end, and nothing was
    # announced or forwarded before the router was open.
    if first_end is not None and step in _ENDS:
        at = max(at, first_end[0] + _NEXT)
    if row.opened_at is not None and step in _WHEN_OPEN:
        at = max(at, row.opened_at)
    setattr(row, f"{step.value}_at", at)
    if taken.reason and step in _TELLING:
        row.detail = taken.reason[:_REASON_LENGTH]
    return RecordedStep(
        kind=MoveKind(row.kind),
        ended=first_end is None and step in _ENDS,
        since_sent_s=_seconds_since(row.sent_at, taken.at),
    )


def _is_guessed(row: MoveRow, step: MoveStep) -> bool:
    return step is MoveStep.BOUND or (
        step is MoveStep.DECIDED and row.kind == MoveKind.TAKEOVER and row.opened_at is None
    )


async def prune_moves(session: AsyncSession, before: datetime, most: int) -> int:
    """Delete the oldest moves that were decided `before` then, `most` of them at most; how many. Of a router that there
    is, the move to its present epoch stays, and so does one that has not ended.
    """
    has_ended = or_(*(_column(step).is_not(None) for step in _ENDS))
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
        total_ms=timeline[-1].since_ms,
        timeline=timeline,
    )


def _timeline(row: MoveRow) -> tuple[Step, ...]:
    """The steps that are over, in time order; steps of one instant in the order of the story."""
    times: list[tuple[datetime, MoveStep]] = [
        (at, step) for step in MoveStep if (at := getattr(row, f"{step.value}_at")) is not None
    ]
    times.sort(key=lambda timed: (timed[0], _ORDER[timed[1]]))
    before: Iterable[datetime | None] = [None, *(at for at, _ in times)]
    since = row.missed_at or times[0][0]
    return tuple(
        Step(
            step=step,
            at=at,
            after_ms=None if earlier is None else _ms_between(earlier, at),
            since_ms=_ms_between(since, at),
        )
        for (at, step), earlier in zip(times, before, strict=False)
    )


def _outcome(row: MoveRow) -> str:
    """The first end that a move came to."""
    ends = _ends(row)
    return min(ends)[1] if ends else "running"


def _ends(row: MoveRow) -> list[tuple[datetime, str]]:
    return [(at, step.value) for step in _ENDS if (at := getattr(row, f"{step.value}_at")) is not None]


def _seconds_since(earlier: datetime | None, later: datetime) -> float | None:
    return None if earlier is None else (later - earlier).total_seconds()


def _ms_between(earlier: datetime, later: datetime) -> float:
    return (later - earlier) / timedelta(milliseconds=1)
