"""The agent's shell: plans come in from the sentinel, jobs go out to worker threads, reports go back.

What is decided is decided in `worklist`; here is the loop that carries it out. A job is blocking kernel work and cannot
be interrupted: a newer plan waits for the jobs at hand. The agent may be killed at any line of this file; the next one
looks at the kernel and goes on. When the sentinel's end of the local link closes, the agent ends, and the routers stay.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from typing import Protocol, TypeVar, assert_never

from gapless.agent.hint import Hint
from gapless.agent.jobs import Done, Failed, Job, Reconcile, Remove, Removed, Result, Sweep
from gapless.agent.reconcile import Outcome
from gapless.agent.worklist import Worklist
from gapless.core.dataplane.conflicts import QUIET_S, Conflicts
from gapless.core.dataplane.gateways import BATCH_S, Gateways
from gapless.core.hostplan import EMPTY_PLAN, Difference, HostPlan
from gapless.errors import GaplessError, Unavailable
from gapless.kernel import threads
from gapless.model.neighbour import Neighbour, WayOut
from gapless.model.network import Network
from gapless.model.plan import BuildTimes
from gapless.model.router import Router, RouterId
from gapless.model.sender import Conflict, Sender
from gapless.observe.log import get_logger
from gapless.wire.local import LocalLink
from gapless.wire.messages import AgentAlive, AgentPlan, AgentUnable, Change, FromAgent, TakingOver, ToAgent

Answer = TypeVar("Answer")
LISTING_SHARE = 0.001
LISTING_MOST_S = 60.0
"""Between two listings (`Rhythm.listing_interval_s`): so much of a thread's time, or so long a pause, at most."""
FAREWELL_S = 3.0
"""How long jobs at hand get to end when the sentinel is gone. The next agent completes what they leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How much at once, and how often."""

    workers: int = 2
    """Jobs at once."""
    alone_s: float = 0.02
    """The next one is begun beside others only when these have taken so long, unless traffic waits for it. Two threads
    wait for each other, for the kernel's lock (RTNL) and for Python's: what takes some milliseconds is done sooner one
    by one. What takes longer waits for something else, and is to hold up nobody."""
    alive_interval_s: float = 1.0
    listing_interval_s: float = 10.0
    """How often to look which routers there are at all; a namespace that is gone is found by that at the latest. With
    many routers it is looked less often, so that it takes no more than `LISTING_SHARE` of a thread's time."""
    audit_period_s: float = 10.0
    gateways_interval_s: float = BATCH_S
    senders_interval_s: float = 1.0
    """How often it is read who spoke ARP on external networks."""


class Kernel(Protocol):
    """What is asked of `reconcile.Reconciler`. Every call blocks; those of different routers may overlap."""

    def running(self) -> frozenset[RouterId]:
        """Routers of ours that are present, half-built ones included."""

    def reconcile(self, router: Router, guarded: bool = False) -> Outcome:
        """Make the kernel match."""

    def remove_together(self, router_ids: Sequence[RouterId]) -> Mapping[RouterId, str]:
        """Remove every trace; of which routers something is left, and why."""

    def sweep(self, keep: Iterable[Network], *, most: int, is_first: bool) -> bool:
        """Remove so much of what serves none of these networks, and strays; whether more is left."""

    def gateways(self, ways: Sequence[WayOut]) -> Mapping[RouterId, Neighbour]:
        """What these routers know of their gateways."""

    def senders(self, watched: Mapping[Network, Collection[IPv4Address]]) -> Sequence[Sender]:
        """Who was heard to use these addresses since the last call."""

    def close(self) -> None:
        """Stop what runs in the background."""


class Hints(Protocol):
    """What is asked of `kernel.watch.DriftWatcher`."""

    def __aiter__(self) -> AsyncIterator[Hint]:
        """Where to look sooner."""

    def close(self) -> None:
        """Stop watching."""


class SentinelGone(Exception):
    """The other end of the local link closed: there is nobody left to work for."""


class Driver:
    """Runs one agent over its local link, which it owns. `open_kernel` blocks; `open_hints` needs the running loop."""

    def __init__(
        self,
        link: LocalLink[ToAgent],
        open_kernel: Callable[[], Kernel],
        open_hints: Callable[[], Hints],
        rhythm: Rhythm | None = None,
    ) -> None:
        self._link = link
        self._open_kernel = open_kernel
        self._open_hints = open_hints
        self._rhythm = rhythm or Rhythm()
        self._worklist = Worklist(audit_period_s=self._rhythm.audit_period_s)
        self._plan = EMPTY_PLAN
        self._is_confirmed = False
        self._at_work: dict[asyncio.Future[Result], float] = {}
        self._removals_ended = 0
        self._work_is_due = asyncio.Event()
        self._news_is_due = asyncio.Event()
        self._log = get_logger()
        self._pool: ThreadPoolExecutor | None = None
        """Has one thread more than jobs: the listing never waits for one."""

    async def run(self) -> None:
        """Work until the sentinel is gone. Raises a group with InvalidRequest or Unavailable if this host cannot."""
        with contextlib.ExitStack() as opened:  # What jobs work with is closed last, when they have ended.
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._stay_alive())
                    tasks.create_task(self._serve(opened))
            except* SentinelGone:
                if self._at_work:
                    await asyncio.wait(self._at_work, timeout=FAREWELL_S)
                self._write_lines()
            finally:
                if self._pool is not None:
                    self._pool.shutdown(wait=False, cancel_futures=True)
                await self._link.close()

    async def _serve(self, opened: contextlib.ExitStack) -> None:
        async with self._telling_why_not():
            self._pool = threads.started(self._rhythm.workers + 1, "start the agent's workers", "job")
            kernel = opened.enter_context(contextlib.closing(await self._blocking(self._open_kernel)))
            hints = opened.enter_context(contextlib.closing(self._open_hints()))
            self._worklist.take_running(await self._blocking(kernel.running))
        self._log.info("agent ready")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_plans())
            tasks.create_task(self._give_work(kernel))
            tasks.create_task(self._tell())
            tasks.create_task(self._list_now_and_then(kernel))
            tasks.create_task(self._follow_hints(hints))
            tasks.create_task(self._look_at_gateways(kernel))
            tasks.create_task(self._hear_senders(kernel))

    @contextlib.asynccontextmanager
    async def _telling_why_not(self) -> AsyncIterator[None]:
        """The sentinel hears why this host cannot do the job; it starts a new agent after a while."""
        try:
            yield
        except GaplessError as error:
            await self._send(AgentUnable(reason=str(error)))
            raise

    # --- plans in, reports out

    async def _follow_plans(self) -> None:
        while True:
            message = await self._link.receive()
            now = time.monotonic()
            match message:
                case None:
                    raise SentinelGone
                case AgentPlan():
                    self._plan, self._is_confirmed = HostPlan.of(message.revision, message.routers), message.confirmed
                case Change():
                    step = Difference(routers=message.routers, removed=message.removed)
                    self._plan = self._plan.brought_to(message.revision, step)
                case TakingOver():
                    self._worklist.hold(now, unbuilt=message.unbuilt if message.is_on else None)
                case _:
                    assert_never(message)
            if not isinstance(message, TakingOver):
                self._worklist.take_plan(self._plan, confirmed=self._is_confirmed, now=now)
            self._look_again()

    async def _tell(self) -> None:
        """Apart from giving work: a sentinel that does not read holds up its reports, not the routers."""
        while True:
            await self._news_is_due.wait()
            self._news_is_due.clear()
            report = self._worklist.take_report()
            self._write_lines()
            if report is not None:
                await self._send(report)

    def _write_lines(self) -> None:
        for line in self._worklist.take_lines():
            (self._log.warning if line.is_warning else self._log.info)(line.text, **line.fields)

    async def _stay_alive(self) -> None:
        while True:
            now = time.monotonic()
            await self._send(AgentAlive(busy_s=now - min(self._at_work.values(), default=now)))
            await asyncio.sleep(self._rhythm.alive_interval_s)

    async def _send(self, message: FromAgent) -> None:
        try:
            await self._link.send(message)
        except Unavailable as gone:
            raise SentinelGone from gone

    # --- work

    async def _give_work(self, kernel: Kernel) -> None:
        while True:
            self._work_is_due.clear()
            while (begins_in := self._begins_in()) is not None:
                job = self._worklist.next_job(time.monotonic(), urgent_only=begins_in > 0.0)
                if job is None:
                    break
                self._start(kernel, job)
            self._news_is_due.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._asks_in()):
                    await self._work_is_due.wait()

    def _begins_in(self) -> float | None:
        """Seconds until any other job may be begun, and not just urgent ones; None: none before one ends."""
        if len(self._at_work) >= self._rhythm.workers:
            return None
        if not self._at_work:
            return 0.0
        return max(0.0, max(self._at_work.values()) + self._rhythm.alone_s - time.monotonic())

    def _asks_in(self) -> float | None:
        """Seconds until there may be a job that can be begun, if nothing happens before; None: never."""
        begins_in, deadline = self._begins_in(), self._worklist.next_deadline()
        if begins_in is None:
            return None
        if begins_in > 0.0:  # what is due until then waits
            return begins_in
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def _start(self, kernel: Kernel, job: Job) -> None:
        began_at = time.monotonic()
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._carry_out, kernel, job)
        self._at_work[work] = began_at
        work.add_done_callback(lambda done: self._ended(job, done))

    def _ended(self, job: Job, work: "asyncio.Future[Result]") -> None:
        del self._at_work[work]
        self._removals_ended += isinstance(job, Remove)
        self._worklist.ended(job, work.result(), time.monotonic())
        self._look_again()

    def _carry_out(self, kernel: Kernel, job: Job) -> Result:
        """One job, in a worker thread. Supervisor of one router's work: its error never stops the others."""
        try:
            match job:
                case Reconcile():
                    return _done(job, kernel.reconcile(job.planned.router, guarded=job.planned.guarded is not None))
                case Remove():
                    return Removed(left=kernel.remove_together(job.router_ids))
                case Sweep():
                    return Done(changed=True, more_is_left=kernel.sweep(job.keep, most=job.most, is_first=job.is_first))
                case _:
                    assert_never(job)
        except GaplessError as error:
            return Failed(reason=str(error))
        except Exception as error:  # noqa: BLE001 - a bug met by one router, told with its story and tried again
            self._log.exception("a bug in Gapless stopped the work on one router", job=job)
            return Failed(reason=f"a bug in Gapless: {type(error).__name__}: {error}")
        return Done(changed=True)

    def _look_again(self) -> None:
        self._work_is_due.set()
        self._news_is_due.set()

    # --- looking for drift

    async def _list_now_and_then(self, kernel: Kernel) -> None:
        took_s = 0.0
        while True:
            await asyncio.sleep(max(self._rhythm.listing_interval_s, min(took_s / LISTING_SHARE, LISTING_MOST_S)))
            removals_before, began_at = self._removals_ended, time.monotonic()
            try:
                running = await self._blocking(kernel.running)
            except GaplessError as error:
                self._log.warning("the routers of this host cannot be listed", reason=str(error))
                continue
            finally:
                took_s = time.monotonic() - began_at
            # A list begun before a removal ended may still name what is gone: the next one tells.
            if removals_before == self._removals_ended:
                self._worklist.take_running(running)
                self._look_again()

    async def _follow_hints(self, hints: Hints) -> None:
        async for hint in hints:
            self._worklist.take_hint(hint, time.monotonic())
            self._look_again()

    async def _look_at_gateways(self, kernel: Kernel) -> None:
        """Whether routers get out, a few at a time; never while this host takes over."""
        gateways = Gateways()
        while True:
            await asyncio.sleep(self._rhythm.gateways_interval_s)
            now = time.monotonic()
            batch = [] if self._worklist.is_held(now) else gateways.next_batch(now, self._worklist.ways_out)
            if not batch:
                continue
            try:
                found = await self._blocking(partial(kernel.gateways, batch))
            except GaplessError as error:
                self._log.warning("the gateways of routers cannot be looked at", reason=str(error))
                continue
            now = time.monotonic()
            self._worklist.take_deafness(gateways.take(found, now), now)
            for line in gateways.take_lines():
                self._log.warning(line)
            self._news_is_due.set()

    async def _hear_senders(self, kernel: Kernel) -> None:
        """Whether others use routers' addresses; never while this host takes over."""
        conflicts, plan, trouble = Conflicts(), EMPTY_PLAN, ""
        while True:
            await asyncio.sleep(self._rhythm.senders_interval_s)
            if self._worklist.is_held(time.monotonic()):
                continue
            if plan is not self._plan:
                plan = self._plan
                conflicts.take_plan(plan.routers.values())
            try:
                senders = await self._blocking(partial(kernel.senders, conflicts.watched))
            except GaplessError as error:
                if str(error) != trouble:
                    self._log.warning("it cannot be heard whether others use routers' addresses", reason=str(error))
                trouble = str(error)
                continue
            now, trouble = time.monotonic(), ""
            if self._worklist.take_conflicts(conflicts.take(senders, now), now):
                self._news_is_due.set()
            for conflict in conflicts.take_news():
                self._tell_of(conflict)

    def _tell_of(self, conflict: Conflict) -> None:
        about: dict[str, object] = {"router": conflict.router_id, "address": str(conflict.address), "mac": conflict.mac}
        if not conflict.is_over:
            self._log.warning("another machine uses an address of a router", **about)
            return
        about |= {"frames": conflict.frames, "with_other_macs": conflict.by_others}
        self._log.info(f"that machine was not heard to use the router's address for {QUIET_S / 60:g} min", **about)

    async def _blocking(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


def _done(job: Reconcile, outcome: Outcome) -> Done:
    """What a reconcile did, its times counted from the moment when the plan reached this host."""

    def after_plan_ms(at: float) -> float:
        return round((at - job.asked_at) * 1000, 3)

    times = BuildTimes(
        started_ms=after_plan_ms(outcome.started_s),
        built_ms=after_plan_ms(outcome.built_s),
        announced_ms=after_plan_ms(outcome.announced_s),
        verified_ms=after_plan_ms(outcome.verified_s),
    )
    return Done(
        changed=outcome.changed,
        times=times if outcome.announced else None,
        what=outcome.what,
        looked_at=outcome.looked_s,
    )
