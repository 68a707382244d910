"""A planner with a store that answers at once and hosts that say what the test makes them say.

Every step is followed by `check()`. What the planner asked for since the last `forget` is in `said`.
"""

from collections.abc import Iterable
from typing import TypeVar

from gapless.config import Liveness
from gapless.core.effects import (
    Bind,
    Effect,
    ExplainRouter,
    RecordStep,
    ReportHost,
    StorePanel,
    StoreSuccession,
    StoreWithdrawal,
)
from gapless.core.events import (
    BindingFailed,
    BindingStored,
    Event,
    HostAdminChanged,
    HostConnected,
    HostReported,
    MoveRequested,
    RouterNeeds,
    RouterWanted,
    WithdrawalStored,
)
from gapless.core.ledger.views import StoredHost
from gapless.core.planner.planner import Planner
from gapless.errors import StoreUnavailable
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation, InstanceId
from gapless.model.plan import BuildTimes, Epoch, MoveStep, RouterReport, RouterState
from gapless.model.router import FailoverMode, RouterId
from gapless.sim.store import FakeStore

Kind = TypeVar("Kind")
Write = Bind | StoreWithdrawal | StoreSuccession | StorePanel
TIMING = Liveness(report_interval_s=30, agent_down_time_s=75)
ACTIVE, BUILDING, FAILED, REMOVED = (
    RouterState.ACTIVE,
    RouterState.BUILDING,
    RouterState.FAILED,
    RouterState.REMOVED,
)


def facts(name: str, **said: object) -> HostFacts:
    return HostFacts(name=HostName(name), instance=InstanceId(f"instance-of-{name}"), **said)  # type: ignore[arg-type]


def needs(router_id: str, mode: FailoverMode = FailoverMode.RESCHEDULE, **asked: object) -> RouterNeeds:
    return RouterNeeds(router_id=RouterId(router_id), mode=mode, **asked)  # type: ignore[arg-type]


class Rig:
    """`Rig("h1", "h2")` has two hosts that are connected and heard at 0 s."""

    def __init__(self, *hosts: str | HostFacts, timing: Liveness = TIMING, standbys: int = 1) -> None:
        self.timing = timing
        self.standbys = standbys
        self.now = 0.0
        self.store = FakeStore()
        self.answers = True
        """Whether the store answers at once; otherwise see `answer`."""
        self.unanswered: list[Write] = []
        self.said: list[Effect] = []
        self.planner = Planner(timing, now=0.0, standbys=standbys)
        for host in hosts:
            self.join(host)

    # What happens

    def handle(self, event: Event) -> None:
        self.follow(self.planner.handle(event, self.now))

    def follow(self, effects: Iterable[Effect]) -> None:
        self.planner.check()
        for effect in effects:
            self.said.append(effect)
            if isinstance(effect, Write):
                self.unanswered.append(effect)
            elif isinstance(effect, RecordStep):
                self.store.record(effect, self.now)
        while self.answers and self.unanswered:
            self.answer(self.unanswered[0])

    def answer(self, effect: Write) -> None:
        assert isinstance(effect, Bind | StoreWithdrawal)
        self.unanswered.remove(effect)
        event: Event
        try:
            if isinstance(effect, Bind):
                self.store.bind(effect, self.now)
                event = BindingStored(id="stored", router_id=effect.router_id, host=effect.host, epoch=effect.epoch)
            else:
                self.store.withdraw(effect)
                event = WithdrawalStored(id="stored", router_id=effect.router_id, epoch=effect.epoch)
        except StoreUnavailable as error:
            assert isinstance(effect, Bind)
            event = BindingFailed(id="lost", router_id=effect.router_id, epoch=effect.epoch, reason=str(error))
        self.handle(event)

    def join(self, host: str | HostFacts) -> None:
        """Connect, and report an agent that runs."""
        said = facts(host) if isinstance(host, str) else host
        self.store.hosts[said.name] = StoredHost(facts=said, incarnation=Incarnation(1), admin_up=True)
        self.handle(HostConnected(id="connect", facts=said, incarnation=Incarnation(1), admin_up=True))
        self.report(said.name)

    def report(
        self,
        host: str,
        *routers: RouterReport,
        full: bool = False,
        agent: AgentState = AgentState.RUNNING,
        plan_version: int | None = None,
    ) -> None:
        """A report made from the newest plan, unless another version is given."""
        version = self.planner.plan_version(HostName(host)) if plan_version is None else plan_version
        self.handle(
            HostReported(
                id=f"report-of-{host}",
                host=HostName(host),
                agent=agent,
                routers=routers,
                full=full,
                plan_version=version,
            )
        )

    def say(self, host: str, router_id: str, state: RouterState, reason: str = "", ms: float | None = None) -> None:
        """A host says how a router of its plan is, at the epoch of the plan (or the last one that it had)."""
        epoch = self.plan(host).get(router_id) or self.epoch(router_id) - 1
        times = None if ms is None else BuildTimes(started_ms=0, built_ms=ms, announced_ms=ms, verified_ms=ms)
        self.report(
            host,
            RouterReport(router_id=RouterId(router_id), epoch=Epoch(epoch), state=state, reason=reason, times=times),
        )

    def want(self, *router_ids: str | RouterNeeds) -> None:
        """Create routers; each is placed, and active at once if it has a host."""
        for each in router_ids:
            asked = needs(each) if isinstance(each, str) else each
            self.store.needs[asked.router_id] = asked
            self.handle(RouterWanted(id=f"want-{asked.router_id}", needs=asked))
            if (host := self.host(asked.router_id)) is not None:
                self.say(host, asked.router_id, ACTIVE)

    def set_admin_up(self, host: str, admin_up: bool) -> None:
        self.handle(HostAdminChanged(id=f"admin-{host}", host=HostName(host), admin_up=admin_up))

    def move(self, router_id: str, host: str | None) -> None:
        wanted = None if host is None else HostName(host)
        self.handle(MoveRequested(id="move", router_id=RouterId(router_id), host=wanted))

    def pass_time(self, seconds: float, *, heard: Iterable[str] = ()) -> None:
        """Tick by tick; `heard` report each ten seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1)
            self.follow(self.planner.on_deadline(self.now))
            if self.now % 10 == 0:
                for host in heard:
                    self.report(host)

    def restart(self) -> None:
        """The planner is lost; another one begins from the store."""
        self.unanswered.clear()
        self.planner = Planner(
            self.timing,
            now=self.now,
            hosts=self.store.hosts.values(),
            routers=self.store.routers(),
            panel=self.store.panel,
            words=self.store.words(),
            standbys=self.standbys,
        )
        self.follow(self.planner.on_deadline(self.now))

    # What can be seen

    def host(self, router_id: str) -> HostName | None:
        return self.planner.router_views()[RouterId(router_id)].host

    def epoch(self, router_id: str) -> int:
        return self.planner.router_views()[RouterId(router_id)].epoch

    def state(self, router_id: str) -> str:
        return self.planner.router_views()[RouterId(router_id)].state

    def reason(self, router_id: str) -> str:
        return self.planner.router_views()[RouterId(router_id)].reason

    def plan(self, host: str) -> dict[str, int]:
        return {str(router_id): int(duty.epoch) for router_id, duty in self.planner.plan_of(HostName(host)).items()}

    def all_said(self, kind: type[Kind]) -> list[Kind]:
        return [effect for effect in self.said if isinstance(effect, kind)]

    def forget(self) -> None:
        self.said.clear()

    def explanations(self, router_id: str) -> list[str]:
        return [each.reason for each in self.all_said(ExplainRouter) if each.router_id == router_id]

    def standings(self, host: str) -> list[str]:
        return [each.standing for each in self.all_said(ReportHost) if each.host == host]

    def steps(self, router_id: str, epoch: int) -> dict[MoveStep, float]:
        """The steps of a move, with its binding or after it, and how long before they were told they were over."""
        told = [pair for each in self.all_said(Bind) if _is_of(each, router_id, epoch) for pair in each.over]
        later = [each for each in self.all_said(RecordStep) if _is_of(each, router_id, epoch)]
        return dict(told) | {each.step: each.ago_s for each in later}


def _is_of(effect: Bind | RecordStep, router_id: str, epoch: int) -> bool:
    return (effect.router_id, effect.epoch) == (router_id, epoch)
