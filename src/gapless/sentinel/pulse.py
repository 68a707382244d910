"""Keeps one beat running: starts it, gives it the plan, and stores what must outlive it.

The beat is the host's fast path, a process of its own (`sentinel.beat`), so that nothing that this one does (decoding
a plan of 1,000 routers, waiting for a disk) can make it late. When a beat ends, the kernel lets the host's lease run
out, the successors take over, and the next beat begins at a higher incarnation with nothing open. One that hangs is
ended. What a beat says of itself becomes levels in `sentinel.hearing`.

The rule: what outlives a beat is stored before the beat hears of it: its incarnation, because no tenure may be used
twice, and the panel, because its floor is a promise of this host as an arbiter. Before the first beat of this process
and after each change of the timing, it waits until what was promised by any other timing is over.
"""

import asyncio
import contextlib
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from gapless.config import HostSettings
from gapless.core.backoff import Backoff, Pace
from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.errors import Conflict, GaplessError, Unavailable
from gapless.kernel import refusals
from gapless.kernel.refusals import Trying
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, NOBODY, TIMINGS
from gapless.model.plan import PanelPlan
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import Logger, get_logger
from gapless.sentinel import beatplan
from gapless.sentinel.figures import BeatFigures
from gapless.sentinel.firstpacket import Counting, read
from gapless.sentinel.hearing import Hearing, PulseListener
from gapless.sentinel.levels import Levels
from gapless.sentinel.outbox import Outbox
from gapless.sentinel.processes import how_it_ended
from gapless.wire import beat as wire
from gapless.wire.messages import Bury
from gapless.wire.packets import WaitingEnd, packet_pair

RESTART = Pace(first_s=0.05, most_s=5.0, settled_s=10.0)
READY_WITHIN_S = 30.0
RHYTHM_WITHIN_S = 5.0
"""A beat that says nothing of its rhythm for so long hangs."""
LOOKS = 5
"""How often it is looked for that in this time."""
LONGEST_QUIET_S = max(timing.quiet_s for timing in TIMINGS.values())
SHUT_AGAIN_S = 1.0
"""While there is no guard, taps that an agent set up which had looked just before are set down so soon."""
RETRY_S = 5.0
"""How long after a failed write the next one is tried."""
NO_INCARNATION = "no new incarnation can be kept on disk; this host asks for no lease until then"

Written = TypeVar("Written")


class Keeping(Protocol):
    """What outlives a beat: `identity.StateDirectory`. Each call blocks on the disk and raises Unavailable."""

    def next_incarnation(self, after: Incarnation = NOBODY) -> Incarnation:
        """One that is higher than every one before, and than `after`, durable."""

    def keep_panel(self, panel: PanelPlan) -> None:
        """Keep the panel."""


class Keeper(Protocol):
    """Who keeps the guard across beats: `keeper.GuardKeeper`."""

    def descriptor(self) -> int:
        """The guard's socket, for a beat to inherit."""

    def shut(self) -> None:
        """Shut the guarded taps and let go of the guard; waits for the kernel, raises Unavailable."""

    def shut_unguarded(self, must_be_shut: Callable[[str], bool]) -> int:
        """Shut those guarded taps that must be; how many were. Waits for the kernel, raises Unavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the beat should work from. `version` grows with each change, over all beats."""

    version: int = 0
    plan: HostPlan = EMPTY_PLAN
    heard: int = 0
    panel: PanelPlan | None = None


class Pulse:
    """Runs beats, one after another, until cancelled."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        settings: HostSettings,
        keeping: Keeping,
        listener: PulseListener,
        *,
        name: HostName,
        address: str,
        key: bytes,
        keeper: Keeper,
        panel: PanelPlan | None = None,
        pace: Pace = RESTART,
        retry_s: float = RETRY_S,
        ready_within_s: float = READY_WITHIN_S,
        rhythm_within_s: float = RHYTHM_WITHIN_S,
        counting: Counting = read,
    ) -> None:
        self._command = command
        self._settings = settings
        self._keeping = keeping
        self._listener = listener
        self._keeper = keeper
        self._name, self._address, self._key = name, address, key
        self._wanted = Wanted(panel=panel)
        self._kept = panel
        """The panel on the disk."""
        self._timing = DEFAULT if panel is None else panel.timing
        """What the beat counts by."""
        self._changed = asyncio.Event()
        self._backoff = Backoff(pace)
        self._retry_s, self._ready_within_s = retry_s, ready_within_s
        self._rhythm_within_s = rhythm_within_s
        self._rhythms = 0
        self._ready = asyncio.Event()
        self._outbox = Outbox()
        self._needed: asyncio.Queue[Incarnation] = asyncio.Queue()
        """A beat asks for one incarnation, and waits."""
        self._hearing = Hearing(listener, self._hear_anew, counting)
        self._unguarded = asyncio.Event()
        """The guard is away, or is still, and something else has changed since."""
        self._outlived = NOBODY
        """Incarnations up to this one are of other machines that had this name, or over by an operator's word."""
        self.has_been_ready = False
        """The guard stands, and stays even if the beat ends: guarded routers may be built."""
        self._log = get_logger()

    @property
    def levels(self) -> Levels:
        """What the beat said last."""
        return self._hearing.levels

    @property
    def figures(self) -> BeatFigures:
        """What all beats counted."""
        return self._hearing.figures

    @property
    def lease_s(self) -> float:
        """How long the leases last that the beat asks for."""
        return self._timing.lease_s

    async def ready(self) -> None:
        """Return once the guard stands, with nothing open."""
        await self._ready.wait()

    @property
    def planned(self) -> HostPlan:
        """What the beat has to work from."""
        return self._wanted.plan

    def plan(self, plan: HostPlan, *, heard: int | None, panel: PanelPlan | None) -> int:
        """What to work from now; `heard` as in `PlanPart`, it and `panel` None: as before. Returns its version."""
        now = self._wanted
        self._wanted = Wanted(
            version=now.version + 1,
            plan=plan,
            heard=now.heard if heard is None else heard,
            panel=_latest(now.panel, panel, self._log),
        )
        self._hearing.first_packets.keep(plan.routers)
        self._changed.set()
        return self._wanted.version

    def built(self, routers: Sequence[RouterId], given_more: Collection[RouterId] = ()) -> None:
        """The agent has made the interfaces of these; of those that are `given_more`, some or their addresses anew."""
        self._outbox.built(routers, given_more)
        self._hearing.first_packets.rest(router_id for router_id in routers if router_id not in self.levels.open)

    def bury(self, asked: Bury) -> None:
        """The controller claims a tenure."""
        self._outbox.ask(wire.BurialQuestion(tenure=asked.tenure, seq=asked.seq, panel=asked.panel))

    def outlive(self, up_to: Incarnation) -> None:
        """Incarnations up to this one are over: the beat, and each one after it, has a higher one."""
        if up_to > self._outlived:
            self._outlived = up_to
            self._outbox.outlive(up_to)

    async def run(self, cluster: str) -> None:
        """Until cancelled: one beat after another."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._shut_unguarded())
            await self._live(cluster)

    async def _live(self, cluster: str) -> None:
        if self._kept is not None:
            # What is on the disk may be a timing that no beat has followed yet: an earlier life of this process was
            # killed while it waited, and had promised by another one.
            await asyncio.sleep(LONGEST_QUIET_S - self._timing.quiet_s)
        while True:
            began_at = time.monotonic()
            how = await self._one_life(cluster)
            wait_s = self._backoff.after(time.monotonic() - began_at)
            self._log.error(
                f"the beat ended ({how}); starting it again in {wait_s * 1000:.0f} ms; guarded routers stop here when "
                "the lease ends, and their successors take over"
            )
            self._hearing.tenure_is(NOBODY)
            self._look_whether_unguarded()
            self._listener.guard_changed()
            await asyncio.sleep(wait_s)
            if self._kept is not None and self._kept.timing != self._timing:
                # As an arbiter, this host has promised what is counted by the old timing.
                await asyncio.sleep(self._timing.quiet_s)
                self._timing = self._kept.timing

    async def shut(self) -> None:
        """After `run`, for good: nobody will keep the guard. So guarded taps are shut, once the last lease is over:
        until then they may pass frames, and nobody else does yet.
        """
        await asyncio.sleep(self._timing.lease_s)
        try:
            await asyncio.to_thread(self._keeper.shut)
        except GaplessError as error:
            what = "guarded taps cannot be set down; from now on they are mute as long as nobody flushes nftables"
            self._log.error(what, reason=str(error))

    # Without a guard

    def _look_whether_unguarded(self) -> None:
        if self.levels.is_unguarded:
            self._unguarded.set()

    async def _shut_unguarded(self) -> None:
        """As long as the guard is away: set down what it would hold back."""
        trouble = Ailment()
        while True:
            if not self.levels.is_unguarded:
                await self._unguarded.wait()
            self._unguarded.clear()
            try:
                count = await asyncio.to_thread(self._keeper.shut_unguarded, self._unguarded_taps())
            except GaplessError as error:
                what = "there is no guard, and guarded taps cannot be set down: standbys may pass frames; trying again"
                trouble.persists(self._log.error, what, reason=str(error))
            else:
                trouble.ends(self._log.info, "guarded taps can be set down again")
                if count:
                    self._log.error("there is no guard, so taps that it would hold back are set down", taps=count)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUT_AGAIN_S):
                    await self._unguarded.wait()

    def _unguarded_taps(self) -> Callable[[str], bool]:
        """Whether the guard would hold back a tap's frames, for another thread to ask: it is away, and what the tap
        belongs to is not open here, or the lease is over.
        """
        routers = self._wanted.plan.routers
        owners = {tap: router_id for router_id, each in routers.items() for tap in beatplan.taps_of(each.router)}

        def must_be_shut(tap: str) -> bool:
            levels = self.levels
            return levels.is_unguarded and not (levels.tenure and owners.get(tap) in levels.open)

        return must_be_shut

    async def _one_life(self, cluster: str) -> str:
        incarnation = await self._insist(lambda: self._keeping.next_incarnation(self._outlived), NO_INCARNATION)
        try:
            process, link = await self._start()
        except OSError as error:
            return f"it cannot be started: {refusals.why(error, Trying.START)}"
        try:
            return await self._accompany(process, link, cluster, incarnation)
        finally:
            link.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> tuple[Process, WaitingEnd[wire.FromBeat]]:
        ours, its = packet_pair()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(its.fileno()),
                pass_fds=(its.fileno(), self._keeper.descriptor()),
                stdin=DEVNULL,
                process_group=0,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()
        return process, WaitingEnd(ours, wire.from_beat)

    async def _accompany(
        self, process: Process, link: WaitingEnd[wire.FromBeat], cluster: str, incarnation: Incarnation
    ) -> str:
        """Stay with a beat until it is gone; returns how it ended."""
        self._outbox, self._needed = Outbox(), asyncio.Queue()
        self.figures.begins(incarnation)
        if incarnation <= self._outlived:  # It was said while the beat was being started.
            self._outbox.outlive(self._outlived)
        begin = wire.Begin(
            key=self._key.hex(),
            cluster=cluster,
            zone="",
            name=self._name,
            incarnation=incarnation,
            address=self._address,
            interval_s=self._timing.interval_s,
            lease_s=self._timing.lease_s,
            panel=self._kept,
            uplinks=tuple(interface for _, interface in self._settings.physical_networks),
            networks=tuple(network for network, _ in self._settings.physical_networks),
            guard=self._keeper.descriptor(),
        )
        work = [
            asyncio.create_task(self._listen(link, process)),
            asyncio.create_task(self._feed(link, begin)),
            asyncio.create_task(self._answer(link)),
            asyncio.create_task(self._bear()),
            asyncio.create_task(self._hearing.first_packets.run()),
            asyncio.create_task(self._watch()),
        ]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            if not {work[0], work[-1]} & done:  # Its last words say more than a send that failed.
                await asyncio.wait(work[:1], timeout=1.0)
        finally:
            for task in work:
                task.cancel()
            results = await asyncio.gather(*work, return_exceptions=True)
        ended = [result for result in results if isinstance(result, Exception)]
        ended.sort(key=lambda error: not isinstance(error, GaplessError))
        return next((str(error) if isinstance(error, GaplessError) else repr(error) for error in ended), "")

    # To the beat

    async def _feed(self, link: WaitingEnd[wire.FromBeat], begin: wire.Begin) -> None:
        """Bring the beat to the newest plan, and keep it there."""
        await link.send(begin)
        await self._ready.wait()
        sent: Wanted | None = None
        tenure = NOBODY
        while True:
            self._changed.clear()
            wanted, leased = self._wanted, self.levels.tenure
            # A host without a lease has closed all there is, and needs to hear nothing until it holds one.
            begins = leased not in (NOBODY, tenure)
            if wanted.version and (begins or sent is None or wanted.version != sent.version):
                await self._send_plan(link, None if begins else sent, wanted, leased)
                sent, tenure = wanted, leased
            await self._changed.wait()

    async def _send_plan(
        self, link: WaitingEnd[wire.FromBeat], sent: Wanted | None, wanted: Wanted, incarnation: Incarnation
    ) -> None:
        panel = wanted.panel
        if panel is not None and panel != self._kept:
            await self._keep(panel)
            if panel.timing != self._timing:
                raise Conflict("the controller names another timing of the lease")
        for part in beatplan.parts(
            sent.plan if sent is not None else None,
            wanted.plan,
            self._settings,
            version=wanted.version,
            incarnation=incarnation,
            heard=wanted.heard,
            panel=panel if sent is None or sent.panel != panel else None,
        ):
            await link.send(part)

    async def _keep(self, panel: PanelPlan) -> None:
        """On the disk before anybody acts on it. As long as that fails, the plan waits."""
        what = "the arbiters cannot be kept on disk; the new plan waits"
        await self._insist(partial(self._keeping.keep_panel, panel), what)
        self._kept = panel

    async def _bear(self) -> None:
        """A higher incarnation when one is needed. As long as there is none, this host is no holder, but an arbiter."""
        while True:
            higher = partial(self._keeping.next_incarnation, await self._needed.get())
            incarnation = await self._insist(higher, NO_INCARNATION)
            self.figures.incarnation = incarnation
            self._outbox.bear(incarnation)

    async def _insist(self, write: Callable[[], Written], what: str) -> Written:
        """Write, and as long as that fails try again; said when it begins, now and then, and when it is over."""
        trouble = Ailment()
        while True:
            try:
                written = await asyncio.to_thread(write)
            except GaplessError as error:
                trouble.persists(self._log.error, what, reason=str(error))
                await asyncio.sleep(self._retry_s)
                continue
            trouble.ends(self._log.info, "the disk takes what it did not")
            return written

    async def _answer(self, link: WaitingEnd[wire.FromBeat]) -> None:
        await self._ready.wait()
        while True:
            await link.send(await self._outbox.next())

    # From the beat

    async def _listen(self, link: WaitingEnd[wire.FromBeat], process: Process) -> None:
        """Until the beat is gone. Raises Unavailable with the reason."""
        self._ready.clear()
        try:
            async with asyncio.timeout(self._ready_within_s) as patience:
                while (message := await link.receive()) is not None:
                    if isinstance(message, wire.Ready):
                        patience.reschedule(None)
                    self._take_in(message, process.pid)
        except TimeoutError:
            raise Unavailable(f"it was not ready within {self._ready_within_s:g} s") from None
        finally:
            self._ready.clear()
        raise Unavailable(how_it_ended(await process.wait()))

    async def _watch(self) -> None:
        """Raises Unavailable when the beat hangs. Looks are counted, not time: after this process was stopped itself,
        what the beat said meanwhile is read first.
        """
        await self._ready.wait()
        missed = 0
        while missed < LOOKS:
            before = self._rhythms
            await asyncio.sleep(self._rhythm_within_s / LOOKS)
            missed = 0 if self._rhythms > before else missed + 1
        raise Unavailable(f"it hangs: it said nothing of its rhythm for {self._rhythm_within_s:g} s")

    def _take_in(self, message: wire.FromBeat, pid: int) -> None:
        match message:
            case wire.IncarnationNeeded():
                self._needed.put_nowait(message.after)
            case wire.Ready():
                self._begin_anew(message, pid)
            case wire.Unable():
                reason, _, story = message.reason.partition("\n")
                if story:
                    self._log.error("what the beat heard and did before it ended", exception=story)
                raise Unavailable(reason)
            case _:
                if isinstance(message, wire.Rhythm):
                    self._rhythms += 1
                self._hearing.take_in(message, self._timing.lease_s)
                if isinstance(message, wire.Level):
                    self._look_whether_unguarded()

    def _begin_anew(self, ready: wire.Ready, pid: int) -> None:
        self._hearing.begin_anew()
        self._log.info("the guard stands; the beat goes", pid=pid, terms=ready.terms, lease_s=self._timing.lease_s)
        self._ready.set()
        self.has_been_ready = True
        self._listener.guard_changed()

    def _hear_anew(self) -> None:
        """Each tenure counts its takeovers anew: what was heard is of the one before."""
        self._wanted = replace(self._wanted, heard=0)
        self._changed.set()


def _latest(known: PanelPlan | None, said: PanelPlan | None, log: Logger) -> PanelPlan | None:
    """What to follow. A panel is never replaced by an earlier one: its floor was promised."""
    if known is None or said is None:
        return said or known
    if not known.panel.follows(said.panel):
        return said
    what = "the controller names arbiters of an earlier version than this host has promised to follow; they stay"
    log.error(what, version=known.panel.version, said=said.panel.version)
    return replace(said, panel=known.panel)
