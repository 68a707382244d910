"""The sentinel's shell: ties the control link, the plan on disk and the agent's supervisor together.

Plans come down the link, become the desired level, and from there go to the agent and to the disk. The agent's words
come up, become levels in `reporting`, and from there go up the link. Nothing here waits for anything else: a disk that
is slow delays the file, an agent that hangs delays its routers, a controller that is away delays the news.
"""

import asyncio
import contextlib
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from gapless.config import HostSettings
from gapless.core.flows.duties import flow_duties
from gapless.core.hostplan import HostPlan
from gapless.errors import GaplessError, Refused
from gapless.kernel import threads, tracked
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation
from gapless.model.plan import Burial, PanelPlan, RouterState
from gapless.model.router import RouterId
from gapless.observe.log import get_logger
from gapless.observe.notify import Condition
from gapless.observe.words import counted
from gapless.sentinel import covering
from gapless.sentinel.commands import Commands
from gapless.sentinel.contact import Contact
from gapless.sentinel.desired import Desired, keep_on_disk, load_plan
from gapless.sentinel.figures import HostFigures, Page
from gapless.sentinel.flows import FlowKeeper
from gapless.sentinel.flushing import Flushing
from gapless.sentinel.hearing import PulseListener
from gapless.sentinel.identity import Identity, StateDirectory
from gapless.sentinel.keeper import GuardKeeper, muted_frames
from gapless.sentinel.leaving import Leaving
from gapless.sentinel.levels import Levels
from gapless.sentinel.link import Credentials, Link, Tempo
from gapless.sentinel.metrics import MetricsPage
from gapless.sentinel.pulse import Keeper, Pulse
from gapless.sentinel.reporting import Reporting
from gapless.sentinel.supervise import RESTART, Patience, Supervisor
from gapless.sentinel.tracking import Tracking
from gapless.sentinel.unsent import Unsent
from gapless.sentinel.vtep import Vtep
from gapless.sentinel.whole import keep_whole
from gapless.wire.flowlink import Asking, FlowsBegin, FlowsDuties
from gapless.wire.messages import AgentReport, Bury, Report, TakingOver

DOUBT_AFTER_INTERVALS = 1
"""Report intervals without a session until the plan is in doubt. The controller calls a host dead at the earliest four
intervals after its last report (agent_down_time is two or more of them, and dead is twice that). That report may be one
interval old when the link breaks, and the break is noticed up to one and a half later: doubt comes before any move."""

WORKERS = 8
"""Threads for what waits for a disk or for the kernel."""
GUARD_WITHIN_S = 5.0
"""Many times the longest lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What tests set and operators do not."""

    tempo: Tempo | None = None
    patience: Patience | None = None
    keeper: Callable[[], Keeper] = GuardKeeper
    tracked: Path = tracked.FILE


class Sentinel:
    """One host. It is the link's `Membership`, the supervisor's `AgentListener` and the pulse's `PulseListener`."""

    def __init__(
        self,
        settings: HostSettings,
        state: StateDirectory,
        identity: Identity,
        facts: HostFacts,
        key: bytes,
        *,
        commands: Commands,
        knobs: Knobs | None = None,
    ) -> None:
        knobs = knobs or Knobs()
        self._metrics_address = settings.metrics
        self._state = state
        self._identity = identity
        self._facts = facts
        self._desired = Desired(load_plan(state.plan))
        self._reporting = Reporting()
        self._tracking = (
            Tracking(settings.flows_most, facts.tracked_most, knobs.tracked) if settings.sync_flows else None
        )
        self._report_is_sooner = asyncio.Event()
        self._report_interval_s = 0.0
        self._doubt: asyncio.TimerHandle | None = None
        credentials = Credentials(facts=facts, incarnation=identity.incarnation, key=key)
        self._link = Link(settings.server, credentials, self, knobs.tempo)
        self._supervisor = Supervisor(commands.agent, self._desired, self, pace=RESTART, patience=knobs.patience)
        self._pulse = (
            None
            if facts.lease_address is None
            else _pulse(settings, state, facts, key, commands.beat, self, knobs.keeper)
        )
        self._on_data = _on_data(settings, facts)
        self._addresses: dict[HostName, str] = _addresses(None if self._pulse is None else state.load_panel())
        self._flows = (
            None
            if self._pulse is None or commands.flows is None
            else FlowKeeper(
                commands.flows,
                _flows_begin(settings, facts, key),
                self._flow_duties,
                self._flows_flushed,
                self._flows_copied,
            )
        )
        self._contact = Contact()
        self._leaving = Leaving(self._is_being_left, self._contact)
        self._flushing = Flushing()
        self._flushing_alarm: asyncio.TimerHandle | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._is_beating = False
        self._plan: HostPlan | None = None
        """As the controller said it; None before that, and as long as it is in doubt."""
        self._is_of_session = False
        """It was said in this session: what earlier ones said had revisions of their own."""
        self._followed: HostPlan | None = None
        self._agent_is = ""
        self._log = get_logger()

    async def run(self) -> None:
        """Until cancelled. Then the agent is ended; classic routers stay as they are, guarded ones are shut. Raises
        Unavailable where this process may not have its threads.
        """
        self._log.info(
            "sentinel started",
            instance=self._identity.instance,
            incarnation=self._identity.incarnation,
            cluster=self._identity.cluster,
            routers_on_disk=len(self._desired.plan.routers),
        )
        workers = threads.started(WORKERS, "start the sentinel's workers", "sentinel")
        asyncio.get_running_loop().set_default_executor(workers)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                if self._identity.cluster is not None:
                    self._begin_to_beat(self._identity.cluster)
                self._tasks.create_task(self._supervise_once_guarded())
                self._tasks.create_task(self._link_once_withdrawn())
                self._tasks.create_task(keep_on_disk(self._desired, self._state.plan, kept=self._plan_is_kept))
                self._tasks.create_task(keep_whole(self._state.restore))
                if self._metrics_address is not None:
                    page = MetricsPage(self._metrics_address, Page(self.figures, muted_frames))
                    self._tasks.create_task(page.run())
        finally:
            if self._pulse is not None:  # The agent is gone by now: it would set the taps up again.
                await self._pulse.shut()

    def renew_agent(self) -> None:
        """Have another agent started in place of the one that runs, from what is installed now."""
        self._supervisor.renew()

    async def leave(self, within_s: float) -> None:
        """Say that this host is about to stop, and return once nothing guarded is open here and what it released has
        arrived, the controller cannot be told, or the time is over. Guarded routers that are left go on until the lease
        ends, and are taken over.
        """
        if self._pulse is None or not self._is_being_left() or self._contact.is_lost(time.monotonic()):
            return
        self._reporting.stop(time.monotonic())
        self._report_is_sooner.set()
        before = len(self._pulse.levels.open)
        await self._leaving.wait(within_s)
        left = len(self._pulse.levels.open)
        what = "guarded routers have left before this host stops"
        self._log.info(what, left=before - left, stay=left)

    def _is_being_left(self) -> bool:
        """What is closed and not open elsewhere yet may still wait for this host's word: a datagram may be lost."""
        assert self._pulse is not None
        planned = () if self._plan is None else self._plan.routers.values()
        releases = any(each.guarded is not None and each.guarded.release is not None for each in planned)
        return releases or bool(self._pulse.levels.open)

    async def _supervise_once_guarded(self) -> None:
        """An agent adopts what is there, and sets its taps up. Where some are guarded, the guard comes first."""
        if any(each.guarded is not None for each in self._desired.plan.routers.values()):
            await self._guard_stands()
        await self._supervisor.run()

    async def _link_once_withdrawn(self) -> None:
        """Who says hello at a higher incarnation says that the lower ones are over. So first the guard is made anew;
        and where that cannot be, the longest lease is over by the time.
        """
        await self._guard_stands()
        await self._link.run()

    async def _guard_stands(self) -> None:
        """Return once it does, or after a while; at once on a host without one."""
        if self._pulse is not None and self._is_beating:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GUARD_WITHIN_S):
                    await self._pulse.ready()

    def _begin_to_beat(self, cluster: str) -> None:
        if self._pulse is not None and self._tasks is not None and not self._is_beating:
            self._is_beating = True
            self._tasks.create_task(self._pulse.run(cluster))
            for each in self._on_data:
                self._tasks.create_task(each.run())
            if self._flows is not None:
                self._tasks.create_task(self._flows.run(cluster))

    def condition(self) -> Condition:
        """Ready: the guard stands where this host beats, an agent has the plan from the disk, and the controller was
        called once. An agent or a controller that cannot be had was tried, and is tried again: that is no reason to
        start this process anew.
        """
        is_guarded = self._pulse is None or not self._is_beating or self._pulse.has_been_ready
        return Condition(
            is_ready=is_guarded and bool(self._contact.words and self._agent_is),
            status="; ".join(
                (
                    self._lease_in_words(),
                    f"{counted(len(self._desired.plan.routers), 'router')} in its plan",
                    f"controller {self._contact.words or 'not called yet'}",
                    f"agent {self._agent_is or 'starting'}",
                )
            ),
        )

    def figures(self) -> HostFigures:
        """Of this moment: nothing that is handed out changes any more."""
        pulse, planned = self._pulse, self._desired.plan.routers
        return HostFigures(
            beat=None if pulse is None else replace(pulse.figures),
            levels=Levels() if pulse is None else replace(pulse.levels, open=dict(pulse.levels.open)),
            lease_s=0.0 if pulse is None else pulse.lease_s,
            routers=len(planned),
            built=self._reporting.count(planned, RouterState.ACTIVE),
            failed=self._reporting.count(planned, RouterState.FAILED),
            agent_restarts=self._supervisor.restarts,
            agent_is_running=self._agent_is == AgentState.RUNNING,
            link_is_up=self._contact.is_there,
            flows=None if self._flows is None else self._flows.figures,
        )

    def _lease_in_words(self) -> str:
        if self._pulse is None:
            return "no part in leases (--data-interface)"
        if not self._is_beating:
            return "no lease before the controller has welcomed this host"
        if not self._pulse.has_been_ready:
            return "the guard does not stand yet"
        levels = self._pulse.levels
        if not levels.tenure:
            return "holds no lease, no guarded router is active"
        return f"holds its lease at incarnation {levels.tenure}, {len(levels.open)} guarded routers active"

    # --- from the control link

    @property
    def cluster(self) -> str | None:
        """The cluster that this host belongs to."""
        return self._identity.cluster

    def outlives(self, up_to: Incarnation) -> None:
        """Other machines had this host's name: what arbiters know of them must not be taken for this one's."""
        if self._pulse is not None:
            self._pulse.outlive(up_to)

    async def joined(self, cluster: str) -> None:
        """First welcome ever: from now on this host belongs to that cluster."""
        self._identity = await asyncio.to_thread(self._state.join, cluster)
        self._begin_to_beat(cluster)

    def welcomed(self, report_interval_s: float) -> None:
        """A session began. The doubt about the plan, if any, stays until the controller has said it."""
        self._contact.began()
        self._is_of_session = False
        self._report_interval_s = report_interval_s
        self._reporting.session_began(report_interval_s, time.monotonic())

    def planned(self, plan: HostPlan, *, heard: int, panel: PanelPlan | None) -> None:
        """The controller said what this host should run."""
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None
        self._plan, self._is_of_session = plan, True
        self._leaving.changed()
        if panel is not None:
            self._addresses = _addresses(panel)
        if self._pulse is not None:
            if self._flows is not None:
                works = self._pulse.levels.open.keys() - set(self._reporting.unbuilt(self._pulse.levels.open))
                self._flushing.planned(plan, self._pulse.planned, works, time.monotonic())
            self._give_to_beat(plan, heard=self._reporting.heard(heard), panel=panel)
        self._follow(plan)

    def _give_to_beat(self, plan: HostPlan, *, heard: int | None = None, panel: PanelPlan | None = None) -> None:
        """All of the plan, but for what has to be flushed first, and stays open meanwhile."""
        assert self._pulse is not None
        held = self._flushing.held(plan)
        version = self._pulse.plan(held, heard=heard, panel=panel)
        if self._is_of_session:
            self._reporting.guard_planned(version, plan.revision, self._flushing.wanted.keys())
        if self._flushing_alarm is not None:
            self._flushing_alarm.cancel()
        if (until := self._flushing.next_deadline()) is not None:
            wait_s = max(0.0, until - time.monotonic())
            self._flushing_alarm = asyncio.get_running_loop().call_later(wait_s, self._flush_no_more)

    def _flows_flushed(self, answers: Mapping[RouterId, Asking]) -> None:
        """These hosts have these routers' connections."""
        if self._flushing.flushed(answers) and self._plan is not None:
            self._give_to_beat(self._plan)
        self._flows_changed()

    def _flows_copied(self, copied: Mapping[RouterId, bool]) -> None:
        self._reporting.copied_are(copied, time.monotonic())
        self._report_is_sooner.set()

    def _flush_no_more(self) -> None:
        late = self._flushing.overdue(time.monotonic())
        for router_id, host in late.items():
            what = "not all connections of a router could be copied in time; it moves all the same, and some may break"
            self._log.warning(what, router=router_id, to=host)
        if self._plan is not None:
            self._give_to_beat(self._plan)
        self._flows_changed()

    def _follow(self, plan: HostPlan) -> None:
        """Let the agent follow: once there is a guard for what needs one, and with what the guard still lets pass."""
        if self._pulse is not None and not self._pulse.has_been_ready:
            self._give(self._without_guard(plan))
            self._flows_changed()
            return  # `guard_changed` follows all of it then; until then, no report is made from this plan.
        self._followed = plan
        self._give(self._with_what_is_open(plan))
        if self._is_of_session:
            self._reporting.planned(self._desired.version, plan.revision, time.monotonic())
        self._report_is_sooner.set()
        self._flows_changed()

    def _flows_changed(self) -> None:
        if self._flows is not None:
            self._flows.look()

    def _flow_duties(self) -> FlowsDuties:
        """From what this host has built and what is open; a plan that is in doubt included."""
        assert self._pulse is not None
        levels = self._pulse.levels
        duties = flow_duties(self._desired.plan, levels.open, self._facts.name, is_leased=bool(levels.tenure))
        return FlowsDuties(
            told=tuple(sorted(duties.told)),
            opening=tuple(sorted(duties.opening)),
            followed=dict(duties.followed),
            addresses=self._addresses,
            flush={each: asking.to for each, asking in self._flushing.wanted.items()},
            numbers={each: asking.number for each, asking in self._flushing.wanted.items()},
        )

    def _give(self, plan: HostPlan) -> None:
        before = self._desired.plan
        self._desired.follow(plan)
        self._reporting.regroup(covering.regrouped(before, plan), self._desired.version)
        self._reporting.depart(covering.departed(before, plan))
        self._reporting.arrive(covering.arrived(before, plan), self._desired.version)

    def _plan_is_kept(self, version: int) -> None:
        self._reporting.kept(version, time.monotonic())
        self._report_is_sooner.set()

    def _without_guard(self, plan: HostPlan) -> HostPlan:
        """What may be done while there is no guard yet: nothing is built that needs one."""
        known = self._desired.plan.routers
        return HostPlan.of(
            plan.revision,
            [
                covering.as_the_agent_may_have_it(each, known.get(each.router.id), ())
                for each in plan.routers.values()
                if each.guarded is None or each.router.id in known
            ],
        )

    def _with_what_is_open(self, plan: HostPlan) -> HostPlan:
        """A plan may lack a router that this host has just taken over, or has not closed yet: it is not torn down. One
        that forwards and is to be guarded is opened first.
        """
        levels = Levels() if self._pulse is None else self._pulse.levels
        known = self._desired.plan.routers
        kept = [known[router_id] for router_id in levels.open if router_id in known and router_id not in plan.routers]
        given = [
            covering.as_the_agent_may_have_it(each, known.get(router_id), levels.passing)
            for router_id, each in plan.routers.items()
        ]
        is_as_planned = not kept and all(map(operator.is_, given, plan.routers.values()))
        return plan if is_as_planned else HostPlan.of(plan.revision, [*given, *kept])

    def bury(self, asked: Bury) -> None:
        """The controller claims a tenure at this host, as an arbiter."""
        if self._pulse is not None:
            self._pulse.bury(asked)

    def parted(self, error: GaplessError) -> None:
        """There is no session. After a while, or at once when refused, the plan is no longer to be trusted."""
        self._contact.ended(time.monotonic(), is_refused=isinstance(error, Refused))
        self._reporting.session_ended()
        if not self._desired.is_confirmed and self._plan is None:
            return
        if isinstance(error, Refused):
            self._fall_into_doubt()
        elif self._doubt is None:
            wait_s = DOUBT_AFTER_INTERVALS * self._report_interval_s
            self._doubt = asyncio.get_running_loop().call_later(wait_s, self._fall_into_doubt)

    def _fall_into_doubt(self) -> None:
        self._plan = None
        if not self._desired.is_confirmed:
            return
        self._desired.doubt()
        self._log.warning(
            "the controller may give this host's routers away by now: those that run go on and are kept right, nothing "
            "is built anew or removed until it speaks"
        )

    async def next_report(self) -> Report:
        """The next report that is due."""
        while True:
            self._report_is_sooner.clear()
            now = time.monotonic()
            if report := self._reporting.on_deadline(now):
                most = None if self._tracking is None else self._tracking.look()
                return msgspec.structs.replace(report, tracked_most=most)
            due_at = self._reporting.next_deadline()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due_at is None else due_at - now):
                    await self._report_is_sooner.wait()

    # --- from the beat

    def guard_changed(self) -> None:
        """What the beat says changed."""
        assert self._pulse is not None
        self._leaving.changed()
        self._reporting.guard_is(self._pulse.levels, time.monotonic())
        for each in self._on_data:
            each.tenure_is(self._pulse.levels.tenure)
        self._flows_changed()
        self._report_is_sooner.set()
        self._hold_the_agent(self._pulse.levels)
        if self._flushing.shut(self._pulse.levels.open) and self._plan is not None:
            self._give_to_beat(self._plan)
        if self._plan is None or not self._pulse.has_been_ready:
            return
        if (
            self._plan is not self._followed
            or self._with_what_is_open(self._plan).routers != self._desired.plan.routers
        ):
            self._follow(self._plan)

    def _hold_the_agent(self, levels: Levels) -> None:
        """While this host takes over, its agent works on nothing but what traffic waits for."""
        is_on = levels.is_taking_over
        self._supervisor.hold(TakingOver(is_on=is_on, unbuilt=self._reporting.unbuilt(levels.open) if is_on else ()))

    def buried(self, burial: Burial) -> None:
        """This host answered the controller's claim."""
        self._reporting.buried(burial, time.monotonic())
        self._report_is_sooner.set()

    # --- from the agent

    def agent_is(self, state: AgentState, reason: str) -> None:
        """The agent's state changed."""
        self._agent_is = state.value
        self._reporting.agent_is(state, reason, time.monotonic())
        self._report_is_sooner.set()

    def agent_said(self, report: AgentReport) -> None:
        """The agent reported on routers."""
        self._reporting.agent_said(report, time.monotonic())
        self._report_is_sooner.set()
        if self._pulse is not None:
            active = [each.router_id for each in report.routers if each.state is RouterState.ACTIVE]
            self._pulse.built(list(dict.fromkeys((*active, *report.unannounced))), frozenset(report.unannounced))
            self._hold_the_agent(self._pulse.levels)


def _pulse(
    settings: HostSettings,
    state: StateDirectory,
    facts: HostFacts,
    key: bytes,
    command: Callable[[int], Sequence[str]],
    listener: PulseListener,
    keeper: Callable[[], Keeper],
) -> Pulse:
    assert facts.lease_address is not None
    return Pulse(
        command,
        settings,
        state,
        listener,
        name=facts.name,
        address=facts.lease_address,
        key=key,
        keeper=keeper(),
        panel=state.load_panel(),
    )


def _addresses(panel: PanelPlan | None) -> dict[HostName, str]:
    """Where the cluster's hosts are on the data network."""
    return {} if panel is None else {each.host: each.address.rpartition(":")[0] for each in panel.addresses}


def _on_data(settings: HostSettings, facts: HostFacts) -> tuple[Unsent | Vtep, ...]:
    """What is done on the data interface when a tenure begins or ends; nothing on a host without one."""
    interface, address = settings.data_interface, facts.data_address
    if interface is None or address is None:
        return ()
    return Unsent(interface), Vtep(interface, IPv4Address(address))


def _flows_begin(settings: HostSettings, facts: HostFacts, key: bytes) -> FlowsBegin:
    assert facts.data_address is not None
    return FlowsBegin(
        key=key.hex(),
        cluster="",
        name=facts.name,
        address=facts.data_address,
        port=settings.flows_port,
        most=settings.flows_most,
        policy=settings.flows_policy,
        raises_most=settings.raise_conntrack_max,
    )
