"""The controller's shell, made up: hands events to the planner and carries effects out, one by one, with time between.

So it can be killed between any two of them, and stopped at any moment. It is the one part of the simulation that the
real `controller.driver` replaces; what it promises the planner is what that must promise, too:

- Effects are carried out in order. A Bind or StoreWithdrawal is answered exactly once.
- "Failed" means "not done". A write whose connection broke may have been done: read before answering.
- A plan is read and its version noted at the moment of sending.
- A stale epoch means that somebody else wrote: end, and begin again from what is stored.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gapless.core.effects import (
    AskArbiters,
    Bind,
    Effect,
    PublishPlan,
    RecordStep,
    StorePanel,
    StoreSuccession,
    StoreWithdrawal,
)
from gapless.core.events import (
    BindingFailed,
    BindingStored,
    Event,
    HostConfirmedOff,
    HostConnected,
    HostDisconnected,
    HostReported,
    PanelFailed,
    PanelStored,
    SuccessionFailed,
    SuccessionStored,
    WithdrawalFailed,
    WithdrawalStored,
)
from gapless.core.ledger.liveness import Timing
from gapless.core.ledger.plans import Duty
from gapless.core.ledger.views import StoredHost
from gapless.core.planner.planner import Planner
from gapless.errors import Conflict, NotFound, StoreUnavailable
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.sim.agenda import Agenda
from gapless.sim.machine import Machine
from gapless.sim.session import Session
from gapless.sim.store import FakeStore

NOTICE_S = 20.0
"""How long a broken session goes unnoticed by the controller's side."""
STEP_S = 0.001


class Watcher(Protocol):
    """Looks at everything that the controller does."""

    def emitted(self, effect: Effect) -> None:
        """The planner asked for something."""

    def heard(self, host: HostName) -> None:
        """A report or connection of a host is handled."""

    def resumed(self, away_s: float) -> None:
        """The controller was stopped for a while and goes on."""

    def told(self, event: Event) -> None:
        """An operator or the API says something."""

    def crashed(self) -> None:
        """The controller is gone."""

    def turned(self) -> None:
        """The planner has handled something."""

    def sending(self, host: HostName, plan: dict[RouterId, Duty]) -> None:
        """A plan leaves for a host."""


class Controller:
    """One life of a controller, from its start to its crash."""

    def __init__(
        self, agenda: Agenda, store: FakeStore, timing: Timing, watcher: Watcher, *, standbys: int = 1
    ) -> None:
        self._agenda = agenda
        self._store = store
        self._watcher = watcher
        self.planner = Planner(
            timing,
            now=agenda.now,
            hosts=store.hosts.values(),
            routers=store.routers(),
            panel=store.panel,
            words=store.words(),
            standbys=standbys,
        )
        self.is_alive = True
        self.crash_after: int | None = None
        """Die after this many more effects."""
        self._stopped_at: float | None = None
        self._inbox: deque[Callable[[], None]] = deque()
        self._effects: deque[Effect] = deque()
        self._is_pumping = False
        self._sessions: dict[HostName, tuple[Session, Machine]] = {}
        self._opened: list[tuple[Session, Machine]] = []
        """Every session ever, those included that wait in a socket while this controller is stopped."""
        self._count = 0
        self._set_alarm()

    def name_event(self) -> str:
        """A fresh id for an event."""
        self._count += 1
        return f"event-{self._count}"

    # Coming and going

    def crash(self) -> None:
        """Everything that is not stored is lost."""
        self.is_alive = False
        for session, machine in self._opened:
            session.break_off()
            if machine.session is session:
                machine.lose_controller()
        self._watcher.crashed()

    def stop(self) -> None:
        """SIGSTOP: nothing is done, what arrives waits."""
        self._stopped_at = self._agenda.now

    @property
    def is_stopped(self) -> bool:
        """Whether it does nothing now."""
        return self._stopped_at is not None

    def go_on(self, *, timer_first: bool) -> None:
        """SIGCONT: the timer and what waited in sockets are served, in either order."""
        if self._stopped_at is None or not self.is_alive:
            return
        away_s, self._stopped_at = self._agenda.now - self._stopped_at, None
        self._watcher.resumed(away_s)
        if timer_first:
            self._tick()
        while self._inbox and self.is_alive:
            self._inbox.popleft()()
        if not timer_first:
            self._tick()
        self._pump()

    def admit(self, session: Session, machine: Machine, *, admin_up: bool) -> None:
        """A host opens its control link."""
        facts = machine.facts
        machine.welcome(self._store.name(facts, machine.incarnation))
        incarnation = machine.incarnation
        self._opened.append((session, machine))
        self._store.hosts[facts.name] = StoredHost(facts=facts, incarnation=incarnation, admin_up=admin_up)

        def connect() -> None:
            self._sessions[facts.name] = (session, machine)
            self._watcher.heard(facts.name)
            self._take(
                HostConnected(
                    id=self.name_event(),
                    facts=facts,
                    incarnation=incarnation,
                    admin_up=admin_up,
                    session=session.number,
                )
            )

        self._receive(connect)

    def deliver(self, session: Session, report: HostReported) -> None:
        """A report arrives."""

        def take() -> None:
            if self._is_current(session, report.host):
                self._watcher.heard(report.host)
                self._take(report)

        self._receive(take)

    def notice_broken(self, session: Session, host: HostName) -> None:
        """After a while the controller's side finds out that a session is over."""

        def take() -> None:
            if self._is_current(session, host):
                del self._sessions[host]
                self._take(HostDisconnected(id=self.name_event(), host=host))

        self._agenda.after(NOTICE_S, partial(self._receive, take))

    def tell(self, event: Event) -> None:
        """An operator or the API says something."""

        def take() -> None:
            self._watcher.told(event)
            self._take(event)

        self._receive(take)

    def confirm_off(self, name: HostName) -> str:
        """An operator says that a machine is off, through the API: why that is not taken, "" if it is."""
        if self.is_stopped or name not in self._store.names:
            return "nobody answers"
        if refused := self.planner.objections_to_off([name], self._agenda.now):
            return refused[name]
        if name in self._sessions:
            self._sessions.pop(name)[0].break_off()
            self._take(HostDisconnected(id=self.name_event(), host=name))
        up_to = max(self._store.names[name].highest, self.planner.highest(name))
        try:
            self._store.confirm_off(name, up_to)
        except StoreUnavailable as error:
            return str(error)
        word = HostConfirmedOff(id="operator", host=name, incarnation=up_to)
        self._agenda.after(self._store.answers_after_s, lambda: self.tell(word))
        return ""

    # The loop

    def _is_current(self, session: Session, host: HostName) -> bool:
        return host in self._sessions and self._sessions[host][0] is session

    def _receive(self, take: Callable[[], None]) -> None:
        if not self.is_alive:
            return
        if self._stopped_at is not None:
            self._inbox.append(take)
        else:
            take()

    def _take(self, event: Event) -> None:
        self._follow(self.planner.handle(event, self._agenda.now))

    def _set_alarm(self) -> None:
        deadline = self.planner.next_deadline()
        if deadline is not None:
            self._agenda.at(deadline, self._alarm)

    def _alarm(self) -> None:
        if self.is_alive and self._stopped_at is None:
            self._tick()

    def _tick(self) -> None:
        self._follow(self.planner.on_deadline(self._agenda.now))
        self._set_alarm()

    def _follow(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._watcher.emitted(effect)
        self._watcher.turned()
        self._effects.extend(effects)
        self._pump()

    def _pump(self) -> None:
        if self._effects and not self._is_pumping:
            self._is_pumping = True
            self._agenda.after(STEP_S, self._carry_out_next)

    def _carry_out_next(self) -> None:
        self._is_pumping = False
        if not self.is_alive or self._stopped_at is not None:
            return
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crash()
                return
        self._carry_out(self._effects.popleft())
        self._pump()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Bind():
                self._write(effect, lambda: self._store.bind(effect, self._agenda.now), partial(self._bound, effect))
            case StoreWithdrawal():
                self._write(effect, lambda: self._store.withdraw(effect), partial(self._withdrawn, effect))
            case StoreSuccession():
                self._write(effect, lambda: self._store.succeed(effect), partial(self._succeeded, effect))
            case StorePanel():
                self._write(effect, lambda: self._store.appoint(effect), partial(self._appointed, effect))
            case AskArbiters():
                self._ask(effect)
            case RecordStep():
                self._store.record(effect, self._agenda.now)
            case PublishPlan():
                self._publish(effect.host)
            case _:
                pass  # Lines of the log.

    def _write(
        self,
        effect: Bind | StoreWithdrawal | StoreSuccession | StorePanel,
        write: Callable[[], None],
        answer: Callable[[str], Event],
    ) -> None:
        failure = ""
        try:
            write()
        except NotFound as error:
            failure = str(error)
        except Conflict:
            self.crash()
            return
        except StoreUnavailable as error:
            failure = "" if self._store.has(effect) else str(error)
        self._agenda.after(self._store.answers_after_s, lambda: self._receive(lambda: self._take(answer(failure))))

    def _bound(self, effect: Bind, failure: str) -> Event:
        name = self.name_event()
        if failure:
            return BindingFailed(id=name, router_id=effect.router_id, epoch=effect.epoch, reason=failure)
        return BindingStored(id=name, router_id=effect.router_id, host=effect.host, epoch=effect.epoch)

    def _withdrawn(self, effect: StoreWithdrawal, failure: str) -> Event:
        name = self.name_event()
        if failure:
            return WithdrawalFailed(id=name, router_id=effect.router_id, epoch=effect.epoch, reason=failure)
        return WithdrawalStored(id=name, router_id=effect.router_id, epoch=effect.epoch)

    def _succeeded(self, effect: StoreSuccession, failure: str) -> Event:
        name = self.name_event()
        if failure:
            return SuccessionFailed(id=name, router_id=effect.router_id, epoch=effect.epoch, reason=failure)
        return SuccessionStored(id=name, router_id=effect.router_id, epoch=effect.epoch)

    def _appointed(self, effect: StorePanel, failure: str) -> Event:
        name = self.name_event()
        if failure:
            return PanelFailed(id=name, panel=effect.panel, reason=failure)
        return PanelStored(id=name, panel=effect.panel)

    def _ask(self, question: AskArbiters) -> None:
        for host in question.arbiters:
            if host in self._sessions:
                session, machine = self._sessions[host]
                session.carry(partial(machine.bury, question.tenure, question.seq))

    def _publish(self, host: HostName) -> None:
        if host not in self._sessions:
            return
        session, machine = self._sessions[host]
        plan, version = dict(self.planner.plan_of(host)), self.planner.plan_version(host)
        heard = self.planner.heard(host, session.number)
        self._watcher.sending(host, plan)
        session.carry(lambda: machine.take_plan(plan, version, heard))
