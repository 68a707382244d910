"""A machine with its clock, disk and kernel, and the sentinel's shell that runs a real beat on it.

The shell keeps the contract of `core.edge.beatevents`: it reads the clock after it has taken an event, carries effects
out in order, keeps panel and incarnation on the disk before anybody hears of them. It can be stopped anywhere, also
between a decision and the carrying out of its effects; the kernel and its lease run on meanwhile.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, assert_never

from gapless.core.edge.beat import Beat
from gapless.core.edge.beatevents import (
    Activate,
    Activated,
    Announce,
    BeatEffect,
    BeatEvent,
    BurialAnswered,
    Deactivate,
    Deactivated,
    Emptied,
    Fenced,
    GuardPlan,
    HoldFailed,
    HoldLease,
    NeedIncarnation,
    News,
    Planned,
    Reborn,
    Received,
    Send,
    Tell,
    TookOver,
    UplinksSeen,
    Withdraw,
    Withdrawn,
)
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Datagram, LeaseTiming, Panel, Tenure
from gapless.model.plan import Epoch, Revision
from gapless.model.router import RouterId
from gapless.sim.agenda import Agenda
from gapless.sim.lease.clock import Clock
from gapless.sim.lease.kernel import Kernel
from gapless.sim.lease.network import Network
from gapless.sim.session import Session

RECONNECT_S = 0.05
NO_MEMORY = "no memory"
NO_ANSWER = "the kernel's answer was lost"
NO_CARRIER = UplinksSeen(trouble="no carrier", carriers=frozenset({"external"}), used=frozenset({"external"}))
NO_GATEWAY = UplinksSeen(
    trouble="no answer from gateway",
    gateways=frozenset({"external 203.0.113.1"}),
    used=frozenset({"external", "external 203.0.113.1"}),
)
UNKNOWN_GATEWAY = UplinksSeen(trouble="", unsure=NO_GATEWAY.gateways, used=NO_GATEWAY.used)
"""A sentinel that starts after the loss never had an answer."""
WAKE_LATE_S = 1e-6
"""So that rounding never wakes a sentinel before its deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a host says of itself, as a level."""

    tenure: Tenure | None
    settled: Revision | None
    forwarding: Mapping[RouterId, Epoch]
    released: frozenset[RouterId]
    """Of that, what the host before released."""
    takeovers: int
    panel: Panel | None

    def __str__(self) -> str:
        """With what has no order in one, so that it reads alike in each process."""
        panel = "none"
        if self.panel is not None:
            sets = " and ".join("+".join(sorted(each)) for each in self.panel.sets)
            panel = f"{self.panel.version} (floor {self.panel.floor}) {sets}"
        return (
            f"tenure={self.tenure} settled={self.settled} forwarding={dict(self.forwarding)} "
            f"released={sorted(self.released)} takeovers={self.takeovers} panel={panel}"
        )


class Surroundings(Protocol):
    """What a machine finds around it."""

    agenda: Agenda
    network: Network

    def connect(self, machine: "Machine") -> Session | None:
        """Open a control link, if there is a way."""

    def lost(self, machine: "Machine", session: Session) -> None:
        """The sentinel's end of the control link is gone."""

    def report(self, machine: "Machine", report: Report) -> None:
        """Put a report on the control link."""

    def answered(self, machine: "Machine", answer: BurialAnswered) -> None:
        """Put an arbiter's answer to the controller on the control link."""

    def carried_out(self, machine: "Machine", effect: BeatEffect) -> None:
        """The kernel, or the log, has changed."""

    def loses_answer(self, machine: "Machine", effect: Activate) -> bool:
        """Whether nobody hears that the kernel has done that."""


class Machine:
    """One host. Everything that a fault can do to it is a method."""

    def __init__(
        self,
        name: HostName,
        timing: LeaseTiming,
        rate: float,
        panel: Panel,
        world: Surroundings,
        *,
        is_deadline_first: bool,
    ) -> None:
        self.name = name
        self.rate = rate
        self.world = world
        self.timing = timing
        self.is_deadline_first = is_deadline_first
        """What its sentinel does first when it wakes with both: as the real one does, or in the other order."""
        self.clock = Clock(rate, began=0.0, shows=1000.0)
        self.kernel = Kernel()
        self.incarnation = Incarnation(0)
        """On disk."""
        self.panel = panel
        """On disk."""
        self.is_on = True
        self.is_linked = True
        self.sentinel: Sentinel | None = None
        self.activations_to_fail = 0
        self.has_uplinks = True
        """Whether its routers reach anybody. Its datagrams go another way."""
        self.has_gateway = True
        world.network.attach(name, self._receive)

    @property
    def now(self) -> float:
        """What its clock shows."""
        return self.clock.local(self.world.agenda.now)

    def forwards(self, router_id: RouterId) -> bool:
        """Whether a frame of that router passes now."""
        return self.is_on and router_id in self.kernel.active and self.kernel.is_alive(self.now)

    def start(self) -> None:
        """A sentinel starts, if there is none."""
        if self.is_on and self.sentinel is None:
            self.incarnation = Incarnation(self.incarnation + 1)
            self.sentinel = Sentinel(self)
            self.sentinel.run()
            if not self.has_uplinks:
                self.see_uplinks(are_there=False)
            if not self.has_gateway:
                self.hear(UNKNOWN_GATEWAY)
            self.sentinel.connect()

    def kill(self) -> None:
        """The sentinel dies at once; the kernel stays as it is."""
        if self.sentinel is not None:
            self.sentinel.end()
            self.sentinel = None

    def power_off(self) -> None:
        """Everything but the disk is gone."""
        self.kill()
        self.is_on = False
        self.kernel = Kernel()

    def power_on(self) -> None:
        """The machine boots: its clock begins anew."""
        if not self.is_on:
            self.is_on = True
            self.clock = Clock(self.rate, began=self.world.agenda.now, shows=1.0)
        self.start()

    def see_uplinks(self, *, are_there: bool) -> None:
        """The uplinks are lost, or back."""
        self.has_uplinks = are_there
        self.hear(UplinksSeen(trouble="") if are_there else NO_CARRIER)

    def see_gateway(self, *, is_there: bool) -> None:
        """The gateway is found lost, or back. Its loss is everybody's."""
        self.has_gateway = is_there
        self.hear(UplinksSeen(trouble="") if is_there else NO_GATEWAY)

    def refuse(self, *, is_refusing: bool) -> None:
        """The kernel takes nothing any more, or takes all again."""
        self.kernel.refuses = is_refusing
        if self.sentinel is not None and not is_refusing:
            self.sentinel.try_again()

    def _receive(self, datagram: Datagram) -> None:
        self.hear(Received(datagram=datagram))

    def hear(self, event: BeatEvent) -> None:
        """Something arrives for its sentinel, if there is one."""
        if self.sentinel is not None:
            self.sentinel.take(event)


class Sentinel:
    """One life of the process."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._world = machine.world
        self._agenda = machine.world.agenda
        self.beat = Beat(machine.name, machine.incarnation, machine.timing, now=machine.now, panel=machine.panel)
        self.session: Session | None = None
        self.plan: GuardPlan | None = None
        """The last one that the beat was handed."""
        self.paused_until = 0.0
        self.stall: tuple[str, float] | None = None
        """Stop, for so long, before the next effect of that kind."""
        self._is_over = False
        self._is_running = False
        self._is_first = True
        self._inbox: deque[BeatEvent] = deque()
        self._effects: deque[tuple[float, BeatEffect]] = deque()
        self._held_up: list[tuple[float, BeatEffect]] = []
        """What the kernel refused, and has to take before it is answered."""
        self._unsure: set[RouterId] = set()
        """What the kernel may have opened: it goes with the next thing that the kernel takes."""
        self._wakes_at = 0.0
        self._told: Report | None = None
        self._takeovers = 0
        """The highest number of a takeover of this tenure that was told."""

    @property
    def is_paused(self) -> bool:
        """Whether it does nothing now."""
        return self._agenda.now < self.paused_until

    def end(self) -> None:
        """Nothing of this life happens any more."""
        self._is_over = True
        self.disconnect()

    def pause(self, for_s: float) -> None:
        """SIGSTOP for a while."""
        self.paused_until = max(self.paused_until, self._agenda.now + for_s)
        self._agenda.at(self.paused_until, self.run)

    def take(self, event: BeatEvent) -> None:
        """Something happened; if the process is stopped, it waits in a socket."""
        self._inbox.append(event)
        if not self._is_running:
            self.run()

    def try_again(self) -> None:
        """The kernel takes again what it refused."""
        held_up, self._held_up = self._held_up, []
        self._effects.extendleft(reversed(held_up))
        self.run()

    def run(self) -> None:
        """Do everything that there is to do."""
        if self._is_over or self._is_running:
            return
        self._is_running = True
        while not self._is_over and not self.is_paused and self._step():
            pass
        self._is_running = False
        if not self._is_over and not self.is_paused:
            self._report()
            self._set_alarm()

    def _step(self) -> bool:
        """One effect, or else the deadline and the events in either order; whether there was anything to do."""
        machine, beat = self.machine, self.beat
        if self._effects:
            if self.stall is not None and self.stall[0] == type(self._effects[0][1]).__name__:
                for_s, self.stall = self.stall[1], None
                self.pause(for_s)
                return False
            decided_at, effect = self._effects.popleft()
            self._carry_out(effect, decided_at)
            return True
        now = machine.now
        is_due = beat.next_deadline() <= now
        if is_due and (machine.is_deadline_first or not self._inbox):
            effects = beat.on_deadline(now)
        elif self._inbox:
            event = self._inbox.popleft()
            if isinstance(event, Planned):
                self.plan = event.plan
                if self.plan.panel is not None and self.plan.panel.follows(machine.panel):
                    machine.panel = self.plan.panel
            effects = beat.handle(event, now)
        elif beat.is_listening:
            effects = beat.handle(Emptied(at=now), now)
        else:
            return False
        beat.check()
        self._effects.extend((now, effect) for effect in effects)
        return True

    def _carry_out(self, effect: BeatEffect, decided_at: float) -> None:
        machine, kernel = self.machine, self.machine.kernel
        if isinstance(effect, HoldLease | Withdraw | Activate | Deactivate):
            if kernel.refuses:
                self._refuse(effect, decided_at)
                return
            self._put_back()
        match effect:
            case Send():
                self._world.network.send(machine.name, effect.to, effect.datagram)
                return
            case HoldLease():
                kernel.hold(effect.until, machine.now, decided_at=decided_at)
            case Withdraw():
                kernel.withdraw(is_first=self._is_first)
                self._is_first = False
                self._inbox.append(Withdrawn())
            case NeedIncarnation():
                machine.incarnation = Incarnation(max(machine.incarnation, effect.after) + 1)
                self._inbox.append(Reborn(incarnation=machine.incarnation))
            case Activate():
                self._activate(effect)
            case Deactivate():
                for router_id in effect.routers:
                    kernel.active.pop(router_id, None)
                self._inbox.append(Deactivated(routers=effect.routers))
            case Tell():
                self._tell(effect.news)
            case Announce():
                pass
            case _:
                assert_never(effect)
        self._world.carried_out(machine, effect)

    def _activate(self, effect: Activate) -> None:
        machine, routers = self.machine, tuple(effect.routers)
        if machine.activations_to_fail > 0:
            machine.activations_to_fail -= 1
            self._inbox.append(Activated(routers=routers, reason=NO_MEMORY))
            return
        machine.kernel.active.update(effect.routers)
        if self._world.loses_answer(machine, effect):
            self._unsure.update(routers)
            self._inbox.append(Activated(routers=routers, reason=NO_ANSWER, is_unsure=True, is_refused=True))
        else:
            self._inbox.append(Activated(routers=routers))

    def _put_back(self) -> None:
        for router_id in self._unsure:
            self.machine.kernel.active.pop(router_id, None)
        self._unsure.clear()

    def _refuse(self, effect: HoldLease | Withdraw | Activate | Deactivate, decided_at: float) -> None:
        match effect:
            case HoldLease():
                self._inbox.append(HoldFailed(ends=self.machine.kernel.ends, reason=NO_MEMORY))
            case Activate():
                routers, is_unsure = tuple(effect.routers), not self._unsure.isdisjoint(effect.routers)
                refused = Activated(routers=routers, reason=NO_MEMORY, is_unsure=is_unsure, is_refused=True)
                self._inbox.append(refused)
            case _:
                self._held_up.append((decided_at, effect))

    def _tell(self, news: News) -> None:
        match news:
            case BurialAnswered():
                self._world.answered(self.machine, news)
            case TookOver(number=number):
                self._takeovers = max(self._takeovers, number)
            case Fenced():
                self._takeovers = 0  # A new tenure counts its takeovers anew.
            case _:
                pass

    def _set_alarm(self) -> None:
        wakes_at = self.machine.clock.real(self.beat.next_deadline()) + WAKE_LATE_S
        if not self._agenda.now < self._wakes_at <= wakes_at:
            self._wakes_at = wakes_at
            self._agenda.at(wakes_at, self.run)

    # The control link

    def connect(self) -> None:
        """Try until there is one."""
        if self._is_over or self.session is not None:
            return
        self.session = self._world.connect(self.machine)
        if self.session is None:
            self._agenda.after(RECONNECT_S, self.connect)
            return
        self._told = None
        self.run()

    def disconnect(self) -> None:
        """This end of the link is gone."""
        if self.session is not None:
            session, self.session = self.session, None
            session.break_off()
            self._world.lost(self.machine, session)
            if not self._is_over:
                self._agenda.after(RECONNECT_S, self.connect)

    def _report(self) -> None:
        if self.session is None:
            return
        beat = self.beat
        # What the kernel has, as a sentinel tells it: an opening that failed is wanted by the beat still, and not here.
        is_open = {each: at for each, at in beat.forwarding.items() if each in self.machine.kernel.active}
        report = Report(
            tenure=beat.tenure,
            settled=beat.settled,
            forwarding=is_open,
            released=frozenset(beat.released),
            takeovers=self._takeovers,
            panel=beat.panel,
        )
        if report != self._told:
            self._told = report
            self._world.report(self.machine, report)
