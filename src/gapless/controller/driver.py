"""The planner's shell: events go in, in the order of their arrival, and effects are carried out.

What happens when a host dies: `run` finds the planner's deadline due, the planner answers with a Bind for each router,
`_carry_out` logs it and hands it to the recorder; the recorder stores it and answers with BindingStored; the planner's
answer to that is PublishPlan, which wakes the new host's session, and the session sends what its host lacks.

The rule: `run` never waits for anything but the next event or deadline. The store has its own task and so has every
host, so a database that hangs or a host that takes nothing cannot keep the planner from hearing that another one lives.

Time is the loop's monotonic clock, read when a message arrived: how long it then waited here is not held against its
host. Everything that has arrived is read, and handled, before silence is judged: when a hundred hosts die at once, what
their successors say keeps the planner busy for longer than it waits for any of them.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import count
from secrets import token_hex
from typing import assert_never

from gapless.controller import wallclock
from gapless.controller.blueprints import Blueprints
from gapless.controller.inbox import Inbox
from gapless.controller.recorder import Recorder, Write
from gapless.controller.roster import Roster
from gapless.controller.session import Heard
from gapless.controller.sessions import Sessions
from gapless.controller.store.engine import Store
from gapless.core.effects import (
    AskArbiters,
    Bind,
    Effect,
    EngageBrake,
    ExplainRouter,
    PublishPlan,
    RecordStep,
    ReleaseBrake,
    ReportArbiters,
    ReportCommonCause,
    ReportHost,
    ReportPause,
    StorePanel,
    StoreSuccession,
    StoreWithdrawal,
)
from gapless.core.events import (
    BindingFailed,
    BindingStored,
    Event,
    HostConnected,
    HostDisconnected,
    HostReported,
    PanelFailed,
    PanelStored,
    RouterDeleted,
    SuccessionFailed,
    SuccessionStored,
    WithdrawalFailed,
    WithdrawalStored,
)
from gapless.core.ledger.liveness import Standing
from gapless.core.ledger.plans import Duty
from gapless.core.planner.planner import Planner
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.model.plan import Epoch, MoveKind, MoveStep, PanelPlan, PlannedRouter
from gapless.model.router import Router, RouterId
from gapless.observe.log import get_logger
from gapless.observe.metrics import Metrics
from gapless.wire.messages import Bury

_MOVES_FOR_HARM = (MoveKind.RESCHEDULE, MoveKind.RETRY, MoveKind.TAKEOVER, MoveKind.RESTART)
"""Moves that are logged as warnings: something broke."""
BUSY_S = 0.02
"""Events are handled for so long before others have the loop."""
LISTENED = 4
"""Turns of the loop in which what waits in a socket becomes an event: it is read, then decoded by its session."""
_WORRYING = (Standing.SILENT.value, Standing.DEAD.value)
"""Standings of a host that are logged as warnings."""


class Driver:
    """Feeds the planner and carries out what it asks for. It is the link's `Ears` and the sessions' `PlanSource`."""

    def __init__(
        self,
        planner: Planner,
        *,
        store: Store,
        roster: Roster,
        sessions: Sessions,
        metrics: Metrics,
        clock: Callable[[], float],
        keep_moves_days: float = 0.0,
    ) -> None:
        self.planner = planner
        self.recorder = Recorder(
            store,
            metrics,
            self._answered,
            clock=clock,
            keep_moves_days=keep_moves_days,
        )
        self.blueprints = Blueprints(store)
        self._roster = roster
        self._sessions = sessions
        self._metrics = metrics
        self._clock = clock
        self._inbox = Inbox()
        self._now = clock()
        self._ids = (f"{token_hex(3)}-{number}" for number in count(1))
        self._unsent: dict[RouterId, tuple[Epoch, float]] = {}
        """Moves whose plan the planner takes for sent, and since when (the loop's time)."""
        self._late: dict[RouterId, tuple[Epoch, float]] = {}
        """How much later, in seconds, the plan with a move really left."""
        self._told: dict[RouterId, Epoch] = {}
        self._awaited: dict[str, asyncio.Future[None]] = {}
        """By the id of an event: done when that is handled."""
        self._log = get_logger()

    async def run(self) -> None:
        """Drive the planner, for ever. Raises InvariantError for a bug: start again, from the store."""
        while True:
            await self.turn()
            deadline_s = self.planner.next_deadline()
            await self._inbox.wait(None if deadline_s is None else max(0.0, deadline_s - self._clock()))

    async def turn(self) -> None:
        """Handle all that has arrived, then judge silence if it is time, and carry out what follows."""
        await self._take_in()
        if self._is_due:
            for _ in range(LISTENED):
                await asyncio.sleep(0)
            await self._take_in()
            self._judge()

    async def _take_in(self) -> None:
        """Handle what has arrived by now. After a while, let others have the loop: hosts are read and written to, and
        what was decided is stored, while the rest waits here.
        """
        began_s = self._clock()
        for event, received_s in self._inbox.take_all():
            self._handle(event, received_s)
            if self._clock() - began_s >= BUSY_S:
                await asyncio.sleep(0)
                began_s = self._clock()

    def _handle(self, event: Event, received_s: float) -> None:
        self._advance(received_s)
        effects = self.planner.handle(event, self._now)
        self._metrics.decide.observe(self._clock() - received_s)
        self._carry_out(effects)
        if (awaited := self._awaited.pop(event.id, None)) is not None and not awaited.cancelled():
            awaited.set_result(None)
        if isinstance(event, HostConnected):
            self._sessions.wake(event.facts.name)  # its snapshot must leave even if it is empty
        elif isinstance(event, RouterDeleted):
            self._unsent.pop(event.router_id, None)
            self._late.pop(event.router_id, None)
            self._told.pop(event.router_id, None)

    @property
    def _is_due(self) -> bool:
        """It is time to judge."""
        deadline_s = self.planner.next_deadline()
        return deadline_s is not None and deadline_s <= self._clock()

    def _judge(self) -> None:
        deadline_s, now = self.planner.next_deadline(), self._clock()
        assert deadline_s is not None
        self._advance(now)
        self._metrics.loop_lag.set(now - deadline_s)
        effects = self.planner.on_deadline(self._now)
        self._metrics.decide.observe(self._clock() - deadline_s)
        self._carry_out(effects)

    def post(self, event: Event) -> None:
        """Something happened in the controller itself, now."""
        self._inbox.put_now(event, self._clock())

    def post_awaited(self, event: Event) -> asyncio.Future[None]:
        """The same; what is returned is done once the planner has taken it in, and what follows is under way."""
        handled = self._awaited[event.id] = asyncio.get_running_loop().create_future()
        self.post(event)
        return handled

    def fresh_id(self) -> str:
        """An id for an event, found again as `cause` in logs and records."""
        return next(self._ids)

    def _advance(self, seen_s: float) -> None:
        """The planner's time never falls: a message that waited behind a newer event counts as heard with that."""
        self._now = max(self._now, seen_s)

    # Effects

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        # One for all that follows from one event: when that arrived. What the planner says was ago counts from there.
        at = wallclock.date_of(self._now, self._clock())
        for effect in effects:
            match effect:
                case Bind():
                    self._tell_move(effect)
                    self.recorder.take(effect, at)
                case StoreWithdrawal():
                    self.recorder.take(effect, at)
                case StoreSuccession():
                    said = {"router": effect.router_id, "epoch": effect.epoch, "cause": effect.cause}
                    self._log.info(f"Router {effect.router_id}: {effect.reason}", **said)
                    self.recorder.take(effect, at)
                case StorePanel():
                    said = {"version": effect.panel.version, "floor": effect.panel.floor, "cause": effect.cause}
                    self._log.info(f"Arbiters: {effect.reason}", **said)
                    self.recorder.take(effect, at)
                case AskArbiters():
                    self._ask(effect)
                case RecordStep():
                    self._take_step(effect, at)
                case PublishPlan():
                    self._sessions.wake(effect.host)
                case ReportCommonCause():
                    self._log.error(effect.reason, cause=effect.cause)
                case ReportPause():
                    self._roster.excuse(effect.excused_s, self._now)
                    self._metrics.pauses.inc()
                    self._metrics.paused_s.inc(effect.pause_s)
                    self._log.warning(effect.reason, cause=effect.cause)
                case ExplainRouter():
                    self._tell_wait(effect)
                case ReportHost():
                    self._tell_host(effect)
                case ReportArbiters():
                    say = self._log.warning if effect.is_short else self._log.info
                    say(f"Arbiters: {effect.reason}", cause=effect.cause)
                case EngageBrake():
                    self._log.error(effect.line, hosts=",".join(effect.hosts), cause=effect.cause)
                case ReleaseBrake():
                    self._log.warning(effect.line, cause=effect.cause)
                case _:
                    assert_never(effect)

    def _ask(self, question: AskArbiters) -> None:
        """Claim a tenure at every arbiter that has a link; whoever has none is asked again later."""
        bury = Bury(tenure=question.tenure, seq=question.seq, panel=question.panel)
        self._log.info(question.reason, arbiters=",".join(question.arbiters) or "-", cause=question.cause)
        for arbiter in question.arbiters:
            self._sessions.ask(arbiter, bury)

    def _tell_move(self, bind: Bind) -> None:
        """One line and one count a move; a Bind that is asked for again, because it could not be stored, is none."""
        if self._told.get(bind.router_id) == bind.epoch:
            return
        self._told[bind.router_id] = bind.epoch
        self._metrics.move_begun(bind.kind, bind.silent_s)
        tell = self._log.warning if bind.kind in _MOVES_FOR_HARM else self._log.info
        between = {"from": bind.previous_host, "to": bind.host}
        tell(bind.reason, router=bind.router_id, **between, epoch=bind.epoch, choice=bind.choice, cause=bind.cause)

    def _tell_wait(self, wait: ExplainRouter) -> None:
        """What a router waits for; a warning when it waits because nobody can take it."""
        if wait.reason:
            tell = self._log.warning if wait.is_stuck else self._log.info
            tell(f"Router {wait.router_id}: {wait.reason}", router=wait.router_id, cause=wait.cause)

    def _tell_host(self, host: ReportHost) -> None:
        is_trouble = host.is_trouble or host.standing in _WORRYING
        tell = self._log.warning if is_trouble else self._log.info
        said = f"Host {host.host} is {host.standing}: {host.reason}"
        tell(said, host=host.host, standing=host.standing, cause=host.cause)

    def _tell_end(self, step: RecordStep) -> None:
        """The end of a move's story, beside its beginning."""
        ends = {MoveStep.CONFIRMED: self._log.info, MoveStep.FAILED: self._log.warning}
        if tell := ends.get(step.step):
            said = f"Move of router {step.router_id} {step.step}: {step.reason}"
            tell(said, router=step.router_id, epoch=step.epoch, cause=step.cause)

    def _take_step(self, step: RecordStep, at: datetime) -> None:
        """The planner takes a plan for sent when it asks for that, and counts a host's own times from there; when the
        plan has really left is known to the session (`plan_sent`)."""
        self._tell_end(step)
        if step.step is MoveStep.SENT:
            self._unsent[step.router_id] = (step.epoch, self._now)
            return
        epoch, late_s = self._late.get(step.router_id, (None, 0.0))
        if step.counts_from_plan and epoch == step.epoch:
            step = replace(step, ago_s=max(0.0, step.ago_s - late_s))
        self.recorder.take(step, at)

    # What the recorder answers

    def _answered(self, effect: Write, failure: str) -> None:
        """A write is stored, or not, and why."""
        self.post(_failed(effect, failure) if failure else _stored(effect))

    # What the link hears

    def host_connected(self, facts: HostFacts, incarnation: Incarnation, session: int, received_s: float) -> None:
        """A host's session is open."""
        event = HostConnected(
            id=self.fresh_id(),
            facts=facts,
            incarnation=incarnation,
            admin_up=self._roster.is_admin_up(facts.name),
            session=session,
        )
        self._inbox.put_now(event, received_s)

    async def host_reported(self, host: HostName, heard: Heard, received_s: float) -> None:
        """A host's report arrived."""
        report = heard.report
        event = HostReported(
            id=self.fresh_id(),
            host=host,
            agent=report.agent,
            agent_reason=report.agent_reason,
            routers=report.routers,
            full=report.full,
            plan_version=heard.plan_version,
            session=heard.session,
            number=heard.number,
            leased=report.leased,
            guard_version=heard.guard_version,
            forwarding=report.forwarding,
            takeovers=report.takeovers,
            buried=report.buried,
            uplink_trouble=report.uplink_trouble,
            ways=report.ways,
            is_held=report.is_held,
            reborn=report.reborn,
            is_stopping=report.is_stopping,
            tracked_most=report.tracked_most,
            copied=report.copied,
            expired=report.expired,
        )
        await self._inbox.put(event, received_s)

    def host_disconnected(self, host: HostName, received_s: float) -> None:
        """A host's last session is over."""
        self._inbox.put_now(HostDisconnected(id=self.fresh_id(), host=host), received_s)

    # What sessions ask

    def plan_of(self, host: HostName) -> Mapping[RouterId, Duty]:
        """What the planner wants on the host at this instant."""
        return self.planner.plan_of(host)

    def heard(self, host: HostName, session: int) -> int:
        """How many reports of this session it takes into account."""
        return self.planner.heard(host, session)

    def panel(self) -> PanelPlan | None:
        """The arbiters."""
        return self.planner.panel_plan()

    def plan_version(self, host: HostName) -> int:
        """Which plan that is."""
        return self.planner.plan_version(host)

    async def routers(self, ids: Collection[RouterId]) -> Mapping[RouterId, Router]:
        """The routers as they should be. Raises StoreUnavailable."""
        return await self.blueprints.of(ids)

    def plan_sent(self, host: HostName, routers: Iterable[PlannedRouter], sent_s: float) -> None:
        """Note when the moves that were waiting for it were sent."""
        for planned in routers:
            router_id = planned.router.id
            epoch, asked_s = self._unsent.get(router_id, (None, 0.0))
            if epoch == planned.epoch:
                del self._unsent[router_id]
                self._late[router_id] = (planned.epoch, sent_s - asked_s)
                at = wallclock.date_of(sent_s, self._clock())
                self.recorder.note(router_id, planned.epoch, MoveStep.SENT, at, f"the plan left for {host}")


def _stored(effect: Write) -> Event:
    match effect:
        case Bind():
            return BindingStored(id=effect.cause, router_id=effect.router_id, host=effect.host, epoch=effect.epoch)
        case StoreWithdrawal():
            return WithdrawalStored(id=effect.cause, router_id=effect.router_id, epoch=effect.epoch)
        case StoreSuccession():
            return SuccessionStored(id=effect.cause, router_id=effect.router_id, epoch=effect.epoch)
        case StorePanel():
            return PanelStored(id=effect.cause, panel=effect.panel)
    assert_never(effect)


def _failed(effect: Write, reason: str) -> Event:
    match effect:
        case Bind():
            return BindingFailed(id=effect.cause, router_id=effect.router_id, epoch=effect.epoch, reason=reason)
        case StoreWithdrawal():
            return WithdrawalFailed(id=effect.cause, router_id=effect.router_id, epoch=effect.epoch, reason=reason)
        case StoreSuccession():
            return SuccessionFailed(id=effect.cause, router_id=effect.router_id, epoch=effect.epoch, reason=reason)
        case StorePanel():
            return PanelFailed(id=effect.cause, panel=effect.panel, reason=reason)
    assert_never(effect)
