"""Made-up hosts: the sentinel's own control link and reports, over a kernel and leases that cost nothing.

A router is built in the moment in which a plan asks for it, and what the guard should open is open. Arbiters know
who is off: who may succeed a host that is, takes its routers over at once, as the edge does 150 ms or so later. A host
that loses power goes on holding its TCP connection and says nothing more, as a machine does that is off.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gapless.config import Address
from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.errors import GaplessError
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import (
    BuildTimes,
    Burial,
    Epoch,
    PanelPlan,
    PlannedRouter,
    Revision,
    Role,
    RouterReport,
    RouterState,
    Takeover,
    TakeoverTimes,
)
from gapless.model.router import RouterId
from gapless.sentinel.levels import Done, Levels
from gapless.sentinel.link import Credentials, Link
from gapless.sentinel.reporting import Reporting
from gapless.wire.messages import AgentReport, Bury, Report

_AT_ONCE = BuildTimes(started_ms=0.0, built_ms=0.0, announced_ms=0.0, verified_ms=0.0)
_TOOK = TakeoverTimes(
    granted_ms=-50.0,
    silent_ms=155.0,
    claimed_ms=155.0,
    buried_ms=156.0,
    opened_ms=157.0,
    announced_ms=158.0,
    forwarded_ms=158.0,
    told_ms=160.0,
)


@dataclass(slots=True)
class Observed:
    """What all hosts were told, and said."""

    active: dict[RouterId, HostName] = field(default_factory=dict)
    """Where a plan says that a router is active."""
    successors: dict[RouterId, HostName] = field(default_factory=dict)
    """Who has the right to succeed, by its plan."""
    planned: set[HostName] = field(default_factory=set)
    """Hosts that have a plan of the present controller."""
    unanswered: int = 0
    """Takeovers of which no plan says that they were heard."""
    said_at: float = 0.0
    """When (wall clock, seconds) a host last reported that it had taken over, for the first time each."""
    plans: int = 0
    """How many were received."""


class MadeUpHost:
    """One host: the link's `Membership`, with an agent and a guard made up."""

    def __init__(self, facts: HostFacts, incarnation: Incarnation, key: bytes, server: Address, seen: Observed) -> None:
        self.name = facts.name
        self.is_off = False
        self._tenure = Tenure(facts.name, incarnation)
        self._seen = seen
        self._over: set[Tenure] = set()
        self._cluster: str | None = None
        self._link = Link(server, Credentials(facts=facts, incarnation=incarnation, key=key), self)
        self._reporting = Reporting()
        self._reporting.agent_is(AgentState.RUNNING, "", time.monotonic())
        self._levels = Levels(tenure=incarnation, leased=incarnation, reborn=incarnation)
        self._plan = EMPTY_PLAN
        self._after: dict[Tenure, set[RouterId]] = {}
        """Routers that it may take over once this tenure, and maybe others, are over."""
        self._version = 0
        self._unheard: dict[RouterId, int] = {}
        """Takeovers by number that no plan has answered."""
        self._has_news = False
        """Of takeovers that no report has told."""
        self._report_is_due = asyncio.Event()

    async def run(self) -> None:
        """Keep the control link, for ever."""
        await self._link.run()

    # What happens to it

    def lose_power(self) -> None:
        """Nothing is said or done from now on."""
        self.is_off = True

    def learn(self, over: Sequence[Tenure]) -> None:
        """The arbiters say that these are over: take over what may be taken over by that."""
        self._over.update(over)
        maybe = set().union(*(self._after.get(tenure, ()) for tenure in over))
        took = [each for each in map(self._plan.routers.__getitem__, sorted(maybe)) if self._may_take(each)]
        if self.is_off or not took:
            return
        now = time.monotonic()
        for each in took:
            assert each.guarded is not None
            self._levels.told_whole += 1
            of = each.guarded.after[0]
            takeover = Takeover(router_id=each.router.id, epoch=each.epoch, of=of, times=_TOOK)
            self._levels.takeovers[each.router.id] = Done(
                number=self._levels.told_whole, takeover=takeover, told_at=now
            )
            self._levels.open[each.router.id] = each.epoch
            self._unheard[each.router.id] = self._levels.told_whole
        self._seen.unanswered += len(took)
        self._has_news = True
        self._reporting.guard_is(self._levels, now)
        self._report_is_due.set()

    def _may_take(self, each: PlannedRouter) -> bool:
        guarded = each.guarded
        return (
            guarded is not None
            and guarded.incarnation == self._tenure.incarnation
            and bool(guarded.after)
            and self._over.issuperset(guarded.after)
            and each.router.id not in self._levels.open
        )

    # From the control link

    @property
    def cluster(self) -> str | None:
        """The one that welcomed it first."""
        return self._cluster

    def outlives(self, up_to: Incarnation) -> None:
        """No other machine ever has its name."""

    async def joined(self, cluster: str) -> None:
        """It belongs there from now on."""
        self._cluster = cluster

    def welcomed(self, report_interval_s: float) -> None:
        """A session began."""
        self._reporting.session_began(report_interval_s, time.monotonic())

    def planned(self, plan: HostPlan, *, heard: int, panel: PanelPlan | None) -> None:
        """What this host should run: it does, at once."""
        if self.is_off:
            return
        self._version += 1
        before, self._plan = self._plan, plan
        self._reporting.guard_planned(self._version, plan.revision)
        self._open(plan, self._reporting.heard(heard))
        self._reporting.planned(self._version, plan.revision, time.monotonic())
        self._build(before, plan)
        self._observe(before, plan)
        self._may_succeed(before, plan)
        self._report_is_due.set()

    def bury(self, asked: Bury) -> None:
        """The controller asks this host, as an arbiter, whether a tenure is over."""
        if not self.is_off:
            burial = Burial(tenure=asked.tenure, seq=asked.seq, is_buried=asked.tenure in self._over)
            self._reporting.buried(burial, time.monotonic())
            self._report_is_due.set()

    def parted(self, error: GaplessError) -> None:
        """There is no session; what runs goes on. A host without power does not come back."""
        if self.is_off and (link := asyncio.current_task()):
            link.cancel()
        self._reporting.session_ended()
        self._seen.planned.discard(self.name)

    async def next_report(self) -> Report:
        """The next report that is due."""
        while True:
            self._report_is_due.clear()
            now = time.monotonic()
            if not self.is_off and (report := self._reporting.on_deadline(now)):
                self._note_said(report)
                return report
            due_at = None if self.is_off else self._reporting.next_deadline()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due_at is None else due_at - now):
                    await self._report_is_due.wait()

    def _note_said(self, report: Report) -> None:
        if self._has_news and report.takeovers:
            self._has_news = False
            self._seen.said_at = time.time()

    # Guard and agent

    def _open(self, plan: HostPlan, heard: int) -> None:
        """What the plan says is active, and what was taken over and no plan has heard of."""
        answered = [router_id for router_id, number in self._unheard.items() if number <= heard]
        for router_id in answered:
            del self._unheard[router_id]
        self._seen.unanswered -= len(answered)
        is_open = {
            router_id: epoch for router_id, epoch in self._levels.open.items() if router_id in self._unheard
        } | _active(plan, self._tenure.incarnation)
        self._levels.open = is_open
        self._levels.settled = self._version
        self._reporting.guard_is(self._levels, time.monotonic())

    def _build(self, before: HostPlan, plan: HostPlan) -> None:
        """Say of what is new or other than before that it is built, and of what is gone that nothing is left."""
        is_first = self.name not in self._seen.planned
        known = before.routers
        news = [
            _built(each, times=None if router_id in known else _AT_ONCE)
            for router_id, each in plan.routers.items()
            if is_first or known.get(router_id) is not each
        ]
        gone = [
            RouterReport(router_id=router_id, epoch=each.epoch, state=RouterState.REMOVED)
            for router_id, each in known.items()
            if router_id not in plan.routers
        ]
        said = AgentReport(revision=Revision(self._version), routers=(*news, *gone), full=is_first)
        self._reporting.agent_said(said, time.monotonic())

    def _observe(self, before: HostPlan, plan: HostPlan) -> None:
        seen = self._seen
        for router_id in before.routers.keys() - plan.routers.keys():
            _forget(seen.active, router_id, self.name)
            _forget(seen.successors, router_id, self.name)
        for router_id, each in plan.routers.items():
            if before.routers.get(router_id) is each:
                continue
            _note(seen.active, router_id, self.name, is_so=_is_active(each))
            _note(seen.successors, router_id, self.name, is_so=each.guarded is not None and bool(each.guarded.after))
        seen.planned.add(self.name)
        seen.plans += 1

    def _may_succeed(self, before: HostPlan, plan: HostPlan) -> None:
        """Whom it may succeed is looked up now, so that a death, whose cost is measured, is no search."""
        for router_id, each in before.routers.items():
            if plan.routers.get(router_id) is not each:
                for tenure in _after(each):
                    self._after[tenure].discard(router_id)
        for router_id, each in plan.routers.items():
            if before.routers.get(router_id) is not each:
                for tenure in _after(each):
                    self._after.setdefault(tenure, set()).add(router_id)


class Fleet:
    """All made-up hosts."""

    def __init__(self, facts: Sequence[HostFacts], incarnation: Incarnation, key: bytes, server: Address) -> None:
        self.seen = Observed()
        self.hosts = {each.name: MadeUpHost(each, incarnation, key, server, self.seen) for each in facts}
        self._incarnation = incarnation
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Have every host call the controller."""
        self._tasks = [asyncio.create_task(each.run(), name=each.name) for each in self.hosts.values()]

    async def end(self) -> None:
        """All links close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose_power(self, names: Iterable[HostName]) -> float:
        """These are off from now on, and whoever may, takes over from them. When that was, by the wall clock."""
        off = [self.hosts[name] for name in names]
        for host in off:
            host.lose_power()
        over = [Tenure(host.name, self._incarnation) for host in off]
        at = time.time()
        for host in self.hosts.values():
            host.learn(over)
        return at

    @property
    def living(self) -> set[HostName]:
        """Those with power."""
        return {name for name, host in self.hosts.items() if not host.is_off}


def _after(each: PlannedRouter) -> tuple[Tenure, ...]:
    return () if each.guarded is None else each.guarded.after


def _is_active(each: PlannedRouter) -> bool:
    return each.guarded is None or each.guarded.role is Role.ACTIVE


def _active(plan: HostPlan, incarnation: Incarnation) -> dict[RouterId, Epoch]:
    """What the guard lets pass by this plan."""
    return {
        router_id: each.epoch
        for router_id, each in plan.routers.items()
        if each.guarded is not None and each.guarded.role is Role.ACTIVE and each.guarded.incarnation == incarnation
    }


def _built(each: PlannedRouter, times: BuildTimes | None) -> RouterReport:
    return RouterReport(
        router_id=each.router.id,
        epoch=each.epoch,
        state=RouterState.ACTIVE,
        times=times,
        guarded=each.guarded is not None,
    )


def _note(where: dict[RouterId, HostName], router_id: RouterId, host: HostName, *, is_so: bool) -> None:
    if is_so:
        where[router_id] = host
    else:
        _forget(where, router_id, host)


def _forget(where: dict[RouterId, HostName], router_id: RouterId, host: HostName) -> None:
    """The host has it no more; another one may have it by now."""
    if where.get(router_id) == host:
        del where[router_id]
