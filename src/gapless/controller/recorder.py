"""Puts into the store what the planner decided, and tells it how that went.

The rule: every Bind and StoreWithdrawal gets exactly one answer, whatever the database does; nobody waits for it. Many
are stored in one transaction. If one of them does not fit, each is tried alone, so that one router's error never stops
the others; if the database itself is away, all of them fail at once rather than one timeout after another.

Steps of moves are for people: they wait for a database that is away, up to a bound, and never hold up a binding.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store import records
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import utc_now
from gapless.core.effects import Bind, RecordStep, StoreWithdrawal
from gapless.errors import GaplessError, StoreUnavailable
from gapless.model.plan import Epoch, MoveStep
from gapless.model.router import RouterId
from gapless.observe.log import get_logger
from gapless.observe.metrics import Metrics

BATCH = 100
"""Effects in one transaction: enough that the disk's sync costs little, few enough that the first need not wait."""
RETRY_S = 1.0
MOST_STEPS = 100_000
_LONGEST_AGO_S = 30 * 86_400.0
"""A host's own times are believed up to a month: they are for people, and must not break a calendar."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    router_id: RouterId
    epoch: Epoch
    step: MoveStep
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Who is told how it went. Called from the recorder's task; must not wait."""

    bound: Callable[[Bind], None]
    not_bound: Callable[[Bind, str], None]
    withdrawn: Callable[[StoreWithdrawal], None]
    not_withdrawn: Callable[[StoreWithdrawal, str], None]


class Recorder:
    """Takes effects at once, stores them in its own task (`run`), answers."""

    def __init__(self, store: Store, metrics: Metrics, answers: Answers) -> None:
        self._store = store
        self._metrics = metrics
        self._answers = answers
        self._binds: deque[tuple[Bind, datetime]] = deque()
        self._withdrawals: deque[StoreWithdrawal] = deque()
        self._steps: deque[_Step] = deque(maxlen=MOST_STEPS)
        self._work = asyncio.Event()
        self._log = get_logger()

    def take(self, effect: Bind | StoreWithdrawal | RecordStep, at: datetime) -> None:
        """Store this soon; it was decided at `at`."""
        match effect:
            case Bind():
                self._binds.append((effect, at))
            case StoreWithdrawal():
                self._withdrawals.append(effect)
            case RecordStep():
                ago = timedelta(seconds=min(max(effect.ago_s, 0.0), _LONGEST_AGO_S))
                self.note(effect.router_id, effect.epoch, effect.step, at - ago, effect.reason)
        self._work.set()

    def note(self, router_id: RouterId, epoch: Epoch, step: MoveStep, at: datetime, reason: str = "") -> None:
        """Store soon that a step of a move was over at `at`."""
        self._steps.append(_Step(router_id=router_id, epoch=epoch, step=step, at=at, reason=reason))
        self._work.set()

    async def run(self) -> None:
        """Store what is taken, for ever."""
        while True:
            await self._work.wait()
            if not await self.flush():
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> bool:
        """Store all that was taken; false if steps are left because the database is away."""
        self._work.clear()
        while self._binds or self._withdrawals or self._steps:
            # Bindings before all else, whenever there are any: a router may be waiting for them.
            if self._binds:
                await self._store_binds(_taken(self._binds))
            elif self._withdrawals:
                await self._store_withdrawals(_taken(self._withdrawals))
            elif not await self._store_steps(_taken(self._steps)):
                self._work.set()
                return False
        return True

    async def _store_binds(self, batch: Sequence[tuple[Bind, datetime]]) -> None:
        async def work(session: AsyncSession, some: Sequence[tuple[Bind, datetime]]) -> None:
            await records.bind(session, some, utc_now())

        outcomes = await self._stored("bindings", batch, work)
        stored_at = utc_now()
        for (bind, _), error in zip(batch, outcomes, strict=True):
            if error is None:
                self._answers.bound(bind)
                self.note(bind.router_id, bind.epoch, MoveStep.BOUND, stored_at)
            else:
                self._answers.not_bound(bind, str(error))

    async def _store_withdrawals(self, batch: Sequence[StoreWithdrawal]) -> None:
        async def work(session: AsyncSession, some: Sequence[StoreWithdrawal]) -> None:
            for withdrawal in some:
                await records.store_withdrawal(session, withdrawal)

        outcomes = await self._stored("withdrawals", batch, work)
        for withdrawal, error in zip(batch, outcomes, strict=True):
            if error is None:
                self._answers.withdrawn(withdrawal)
            else:
                self._answers.not_withdrawn(withdrawal, str(error))

    async def _store_steps(self, batch: Sequence[_Step]) -> bool:
        """False if the database is away: then they are taken again, oldest first."""
        recorded: list[tuple[_Step, records.RecordedStep]] = []

        async def work(session: AsyncSession, some: Sequence[_Step]) -> None:
            recorded.clear()
            for step in some:
                known = await records.record_step(session, step.router_id, step.epoch, step.step, step.at, step.reason)
                if known is not None:
                    recorded.append((step, known))

        outcomes = await self._stored("steps of moves", batch, work)
        if any(isinstance(error, StoreUnavailable) for error in outcomes):
            # Where there is no room any more, the oldest are lost: a deque with a bound drops at its other end.
            self._steps = deque([*batch, *self._steps], maxlen=MOST_STEPS)
            return False
        for step, known in recorded:
            self._count(step.step, known)
        return True

    async def _stored(
        self, job: str, batch: Sequence[T], work: Callable[[AsyncSession, Sequence[T]], Awaitable[None]]
    ) -> list[Exception | None]:
        """Run `work` on the whole batch, or else on each alone; the error of each, in the batch's order."""
        try:
            async with self._store.transaction() as session:
                await work(session, batch)
        except (GaplessError, SQLAlchemyError) as error:
            if len(batch) > 1 and not isinstance(error, StoreUnavailable):
                return [outcome for each in batch for outcome in await self._stored(job, [each], work)]
            self._metrics.store_failures.labels(job=job).inc(len(batch))
            self._log.error(f"{len(batch)} {job} could not be stored", reason=str(error))
            return [error] * len(batch)
        return [None] * len(batch)

    def _count(self, step: MoveStep, known: records.RecordedStep) -> None:
        if known.ended:
            self._metrics.move_ended(known.kind, step)
        if step is MoveStep.BUILT and known.since_sent_s is not None:
            self._metrics.build.observe(max(known.since_sent_s, 0.0))


def _taken(queue: deque[T]) -> list[T]:
    """The next batch, taken off the queue."""
    return [queue.popleft() for _ in range(min(BATCH, len(queue)))]
