"""Puts into the store what the planner decided, and tells it how that went.

The rule: every write, which is all but the steps of moves, gets exactly one answer, and "failed" means "not done". Many
are stored in one transaction. If one of them does not fit, each is tried alone, so that one router's error never stops
the others; if the database itself is away, all of them fail at once rather than one timeout after another.

A transaction that failed may be stored all the same: the disk's error or the broken connection came after the commit.
So a write that the database failed is in doubt, and is answered only when reading has told what is so. As long as
nothing can be read, nothing is answered, however long that takes: the router stays what it was, and nothing else is
decided for it. That is the safest there is. To answer "failed" by guess would have the planner decide an epoch anew
that is stored already; to end and start again from the store needs a store that can be read, and would cost every host
its control link meanwhile.

An epoch that is stale although this is the only writer means that planner and store have parted: that is a bug, or
somebody changed the database. It cannot be answered, only ended (InvariantError): what is stored is what counts.

Steps of moves are for people: they wait for a database that is away, up to a bound, and never hold up a binding. How
many are lost beyond that is said. Moves older than is wanted are deleted now and then, a few at a time.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller import wallclock
from gapless.controller.store import bindingrows, clusterrows, moverows, thread
from gapless.controller.store.engine import Store
from gapless.controller.store.moverows import StepTaken
from gapless.core.backoff import Backoff, Pace
from gapless.core.effects import Bind, RecordStep, StorePanel, StoreSuccession, StoreWithdrawal
from gapless.errors import Conflict, GaplessError, InvariantError, LostRace, StoreUnavailable
from gapless.model.plan import Epoch, MoveStep
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger
from gapless.observe.metrics import Metrics
from gapless.observe.words import counted

BATCH = 100
"""Effects in one transaction: enough that the disk's sync costs little, few enough that the first need not wait."""
RETRY = Pace(first_s=1.0, most_s=10.0)
MOST_STEPS = 100_000
"""That wait while the store is away: three or so a move. Beyond that the oldest are lost, and that is said; bindings
never are."""
PRUNE_S = 3600.0
"""How often moves that are too old are looked for."""
PRUNED_AT_ONCE = 500
"""In one transaction, for which others that write wait."""
PRUNE_AGAIN_S = 1.0
"""How soon after a batch that was full."""

T = TypeVar("T")
R = TypeVar("R")


Write = Bind | StoreWithdrawal | StoreSuccession | StorePanel
"""What gets an answer."""
Answer = Callable[[Write, str], None]
"""Told how a write went: why it is not stored, "" if it is. Called from the recorder's task; must not wait."""


class Recorder:
    """Takes effects at once, stores them in its own task (`run`), answers."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        answer: Answer,
        *,
        clock: Callable[[], float] = time.monotonic,
        keep_moves_days: float = 0.0,
    ) -> None:
        """`keep_moves_days`: how long the records of moves are kept; 0: for ever."""
        self._keep_moves = timedelta(days=keep_moves_days)
        self._calendar = wallclock.Calendar(clock)
        self._store = store
        self._metrics = metrics
        self._answer = answer
        self._binds: deque[tuple[Bind, datetime]] = deque()
        self._amendments: deque[StoreWithdrawal | StoreSuccession] = deque()
        self._panels: deque[StorePanel] = deque()
        self._doubts: list[tuple[Write, str]] = []
        """Writes that the database failed, with its reason: whether they are stored is to be read."""
        self._steps: deque[StepTaken] = deque()
        self._lost, self._losing = 0, Ailment()
        self._work = asyncio.Event()
        self._log = get_logger()

    def take(self, effect: Write | RecordStep, at: datetime) -> None:
        """Store this soon; it was decided at `at`."""
        match effect:
            case Bind():
                self._binds.append((effect, at))
            case StoreWithdrawal() | StoreSuccession():
                self._amendments.append(effect)
            case StorePanel():
                self._panels.append(effect)
            case RecordStep():
                over_at = moverows.before(at, effect.ago_s)
                self.note(effect.router_id, effect.epoch, effect.step, over_at, effect.reason)
        self._work.set()

    def note(self, router_id: RouterId, epoch: Epoch, step: MoveStep, at: datetime, reason: str = "") -> None:
        """Store soon that a step of a move was over at `at`."""
        self._steps.append(StepTaken(router_id=router_id, epoch=epoch, step=step, at=at, reason=reason))
        self._keep_within_bound()
        self._work.set()

    async def run(self) -> None:
        """Store what is taken, for ever."""
        backoff, loop = Backoff(RETRY), asyncio.get_running_loop()
        prune_s = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(max(prune_s, loop.time()) if self._keep_moves else None):
                    await self._work.wait()
            if self._work.is_set():
                if await self.flush():
                    backoff.reset()
                else:
                    await asyncio.sleep(backoff.after())
            if self._keep_moves and loop.time() >= prune_s:
                prune_s = loop.time() + (PRUNE_AGAIN_S if await self.prune() else PRUNE_S)

    async def prune(self) -> bool:
        """Delete moves that are too old; whether there may be more of them."""
        before = self._calendar.surely_past(self._keep_moves)
        try:
            async with self._store.transaction() as session:
                pruned = await moverows.prune_moves(session, before, PRUNED_AT_ONCE)
        except StoreUnavailable as error:
            self._metrics.store_failures.labels(job="pruning").inc()
            self._log.warning("Old moves cannot be deleted; tried again in an hour", reason=str(error))
            return False
        if pruned:
            self._log.info(
                f"Deleted the records of {counted(pruned, 'move')}, older than {counted(self._keep_moves.days, 'day')}"
            )
        return pruned == PRUNED_AT_ONCE

    async def flush(self) -> bool:
        """Store all that was taken; false if something is left because the database is away.

        Raises InvariantError if the store has another epoch than the planner.
        """
        self._work.clear()
        while self._doubts or self._binds or self._amendments or self._panels or self._steps:
            # Bindings before all else, whenever there are any: a router may be waiting for them.
            if self._doubts:
                is_done = await self._settle_doubts()
            elif self._binds:
                is_done = await self._store_binds(_taken(self._binds))
            elif self._amendments:
                is_done = await self._store_amendments(_taken(self._amendments))
            elif self._panels:
                is_done = await self._store_panels(_taken(self._panels))
            else:
                is_done = await self._store_steps(_taken(self._steps))
            if not is_done:
                self._work.set()
                return False
        self._tell_lost()
        return True

    async def _store_binds(self, batch: Sequence[tuple[Bind, datetime]]) -> bool:
        async def work(session: AsyncSession, some: Sequence[tuple[Bind, datetime]]) -> list[None]:
            await bindingrows.bind(session, some, wallclock.utc_now())
            return [None] * len(some)

        outcomes = await self._stored("bindings", batch, work)
        stored_at = wallclock.utc_now()
        for (bind, _), error in zip(batch, outcomes, strict=True):
            if error is None:
                self.note(bind.router_id, bind.epoch, MoveStep.BOUND, stored_at)
            self._conclude(bind, error)
        return True

    async def _store_amendments(self, batch: Sequence[StoreWithdrawal | StoreSuccession]) -> bool:
        async def work(session: AsyncSession, some: Sequence[StoreWithdrawal | StoreSuccession]) -> list[None]:
            await bindingrows.store_successions(session, [each for each in some if isinstance(each, StoreSuccession)])
            for each in some:
                if isinstance(each, StoreWithdrawal):
                    await bindingrows.store_withdrawal(session, each)
            return [None] * len(some)

        outcomes = await self._stored("changes of bindings", batch, work)
        for each, error in zip(batch, outcomes, strict=True):
            self._conclude(each, error)
        return True

    async def _store_panels(self, batch: Sequence[StorePanel]) -> bool:
        async def work(session: AsyncSession, some: Sequence[StorePanel]) -> list[None]:
            for each in some:
                await clusterrows.store_panel(session, each)
            return [None] * len(some)

        outcomes = await self._stored("panels", batch, work)
        for each, error in zip(batch, outcomes, strict=True):
            self._conclude(each, error)
        return True

    def _conclude(self, effect: Write, error: Exception | None) -> None:
        """Answer, unless only reading can tell what the answer is."""
        if isinstance(error, StoreUnavailable):
            self._doubts.append((effect, str(error)))
        elif isinstance(error, Conflict) and not isinstance(error, LostRace):
            raise InvariantError(f"the store is not as this controller left it: {error}") from error
        else:
            self._answer(effect, "" if error is None else str(error))

    async def _settle_doubts(self) -> bool:
        """Read whether the writes that failed are stored nevertheless; false if that cannot be read yet."""
        try:
            async with self._store.reading(ahead=True) as session:
                named = {effect.router_id for effect, _ in self._doubts if not isinstance(effect, StorePanel)}
                stored, panel = await bindingrows.bindings(session, named), await clusterrows.panel(session)
        except StoreUnavailable as error:
            count = len(self._doubts)
            self._log.error(
                f"Whether {counted(count, 'write')} reached the disk cannot be read; asked again soon",
                reason=str(error),
            )
            return False
        doubts, self._doubts = self._doubts, []
        for effect, reason in doubts:
            if isinstance(effect, StorePanel):
                is_stored = panel == effect.panel
            else:
                is_stored = bindingrows.has(stored.get(effect.router_id), effect)
            self._answer(effect, "" if is_stored else reason)
        return True

    async def _store_steps(self, batch: Sequence[StepTaken]) -> bool:
        """False if the database is away: then they are taken again, oldest first."""
        outcomes = await self._stored("steps of moves", batch, moverows.record_steps)
        left: list[StepTaken] = []
        for step, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, moverows.RecordedStep):
                self._count(step.step, outcome)
            elif isinstance(outcome, StoreUnavailable):
                left.append(step)
        if left:
            self._steps.extendleft(reversed(left))
            self._keep_within_bound()
        return not left

    def _keep_within_bound(self) -> None:
        """Where there is no room for a step, the oldest is lost."""
        while len(self._steps) > MOST_STEPS:
            self._steps.popleft()
            self._lost += 1
            self._losing.persists(
                self._log.warning, f"More than {MOST_STEPS:,} steps of moves wait to be stored: the oldest are lost"
            )

    def _tell_lost(self) -> None:
        """Nothing waits any more: how many steps were lost until then."""
        self._losing.ends(self._log.warning, f"The records of moves lack {counted(self._lost, 'step')}")
        self._lost = 0

    async def _stored(
        self,
        job: str,
        batch: Sequence[T],
        work: Callable[[AsyncSession, Sequence[T]], Coroutine[Any, Any, Sequence[R]]],
    ) -> list[R | Exception]:
        """Run `work` on the whole batch, or else on each alone; what it says of each, or the error, in their order."""
        try:
            async with self._store.transaction(ahead=True) as session:
                done = await thread.run(session, work(session, batch))
        except (GaplessError, SQLAlchemyError) as error:
            if len(batch) > 1 and not isinstance(error, StoreUnavailable):
                return [outcome for each in batch for outcome in await self._stored(job, [each], work)]
            self._metrics.store_failures.labels(job=job).inc(len(batch))
            self._log.error(f"{len(batch)} {job} could not be stored", reason=str(error))
            return [error] * len(batch)
        return list(done)

    def _count(self, step: MoveStep, known: moverows.RecordedStep) -> None:
        if known.ended:
            self._metrics.move_ended(known.kind, step)
        if step is MoveStep.BUILT and known.since_sent_s is not None:
            self._metrics.build.observe(max(known.since_sent_s, 0.0))


def _taken(queue: deque[T]) -> list[T]:
    """The next batch, taken off the queue."""
    return [queue.popleft() for _ in range(min(BATCH, len(queue)))]
