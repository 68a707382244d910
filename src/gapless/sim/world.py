"""One fleet: hosts, routers, a controller that comes and goes, and the story of what happens to them all."""

from dataclasses import dataclass, replace
from random import Random

from gapless.core.effects import Effect
from gapless.core.events import Event, HostReported, RouterNeeds
from gapless.core.ledger.liveness import Standing
from gapless.core.ledger.plans import Duty
from gapless.core.ledger.views import StoredHost
from gapless.model.host import HostFacts, HostName, InstanceId
from gapless.model.lease import Tenure
from gapless.model.plan import Successor
from gapless.model.router import RouterId
from gapless.sim import telling
from gapless.sim.agenda import Agenda
from gapless.sim.controller import Controller
from gapless.sim.guard import Leases
from gapless.sim.machine import Machine
from gapless.sim.oracles.oracles import Oracles
from gapless.sim.oracles.scene import Violated
from gapless.sim.schedule import Schedule
from gapless.sim.session import Session
from gapless.sim.store import FakeStore

LOST = 0.3
"""Of what guards say to each other."""
SETTLED_WITHIN_S = 6000.0
"""Long enough for the longest back-offs; most fleets need a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The numbers of liveness; in the proportions of Neutron's defaults, but quicker."""

    report_interval_s: float
    agent_down_time_s: float
    brake_share: float = 0.5
    agent_patience_s: float = 25.0

    @property
    def dead_after_s(self) -> float:
        """Twice agent_down_time."""
        return 2 * self.agent_down_time_s


class World:
    """Everything there is. Hosts and routers are put in first; `begin` starts it."""

    def __init__(self, random: Random, timing: Pace, *, standbys: int = 1) -> None:
        """`standbys`: how many a guarded router should have."""
        self.random = random
        self.standbys = standbys
        self.timing = timing
        self.agenda = Agenda()
        self.schedule = Schedule(self.agenda)
        self.store = FakeStore()
        self.leases = Leases(self.agenda)
        self.story: list[str] = []
        self.machines: dict[HostName, Machine] = {}
        self.ghosts: list[Machine] = []
        """Machines that run on although others have their names."""
        self.controller: Controller | None = None
        self._apart = Random("between guards")
        """So that it changes nothing else of a seed."""
        self.has_leases = False
        """Whether its hosts take part in leases, and routers may be guarded."""
        self.seed = 0
        self.is_ending = False
        """No new faults: whatever crashes now comes back."""
        self.oracles = Oracles(self.agenda, self.store, self.machines, self.timing, self.leases, self.ghosts, standbys)

    @property
    def has_arbiters(self) -> bool:
        """Whether a quorum of the arbiters that are stored is on, and on the data network."""
        panel = self.store.panel
        on = [name for name, each in self.machines.items() if each.is_on and each.is_on_data]
        return panel is not None and panel.is_quorum(on)

    def add_machine(self, facts: HostFacts) -> Machine:
        """A host that is switched off yet."""
        machine = self.machines[facts.name] = Machine(self, facts, self.timing.report_interval_s)
        return machine

    def replace_machine(self, name: HostName) -> Machine:
        """Another machine gets the name; it is switched off yet. The one before, if it runs, goes on by itself."""
        before = self.machines[name]
        before.is_replaced = True
        before.cut_link()
        if before.is_on:
            self.ghosts.append(before)
        instance = InstanceId(f"{before.facts.instance}'")
        machine = self.add_machine(replace(before.facts, instance=instance))
        machine.is_member = False
        machine.broken |= before.broken
        machine.says_ways, machine.has_way_out = before.says_ways, before.has_way_out
        return machine

    def want(self, needs: RouterNeeds) -> None:
        """A router, as the API creates it: first into the store."""
        self.store.needs[needs.router_id] = needs

    def begin(self) -> None:
        """Switch everything on."""
        self.start_controller()
        for machine in self.machines.values():
            machine.power_on()

    # The controller

    def start_controller(self) -> None:
        """A new controller begins from the store."""
        if self.controller is None:
            self.note("the controller starts")
            self.controller = Controller(self.agenda, self.store, self.timing, self, standbys=self.standbys)
            self.oracles.started(self.controller.planner)

    def crashed(self) -> None:
        """The controller is gone; somebody starts it again."""
        self.note("the controller is gone")
        self.controller = None
        self.agenda.after(self.restart_after_s(), self.start_controller)

    def restart_after_s(self) -> float:
        """How long it takes somebody to start the controller again."""
        return 1.0 if self.is_ending else self.random.choice([0.5, 3.0, 40.0])

    def tell(self, event: Event) -> None:
        """An operator says something, if there is somebody to say it to; what matters of it is in the store."""
        if self.controller is not None:
            self.controller.tell(event)

    def connect(self, machine: Machine, session: Session) -> bool:
        """A machine opens its control link."""
        if self.controller is None:
            return False
        stored = self.store.hosts.get(machine.facts.name)
        if stored is not None and stored.facts.instance != machine.facts.instance and not self._is_dead(stored):
            return False  # The name is another machine's.
        self.controller.admit(session, machine, admin_up=stored is None or stored.admin_up)
        return True

    def _is_dead(self, host: StoredHost) -> bool:
        assert self.controller is not None
        view = self.controller.planner.host_views(self.agenda.now).get(host.facts.name)
        return view is None or view.standing == Standing.DEAD

    def deliver(self, session: Session, report: HostReported) -> None:
        """A report arrives."""
        if self.controller is not None:
            self.controller.deliver(session, report)

    def lost(self, machine: Machine, session: Session) -> None:
        """A session is over; its other end finds out later."""
        if self.controller is not None:
            self.controller.notice_broken(session, machine.facts.name)

    # What is looked at

    def emitted(self, effect: Effect) -> None:
        """An effect of the planner."""
        self.note("  " + telling.line(effect))
        self.oracles.emitted(effect)

    def told(self, event: Event) -> None:
        """An operator's word."""
        self.strike(telling.news(event))
        self.oracles.told(event)

    def heard(self, host: HostName) -> None:
        """A host's word."""
        self.oracles.heard(host)

    def resumed(self, away_s: float) -> None:
        """The controller goes on."""
        self.note(f"the controller was stopped for {away_s:.1f} s")
        self.oracles.resumed(away_s)

    def turned(self) -> None:
        """The planner has handled something."""
        self.oracles.turned()

    def sending(self, host: HostName, plan: dict[RouterId, Duty]) -> None:
        """A plan leaves."""
        self.oracles.sending(host, plan)

    def planned(self, machine: Machine) -> None:
        """A plan arrives."""
        self.note(f"{machine.facts.name} is told to run {telling.plan(machine.plan)}")
        self.oracles.planned(machine)

    def appeared(self, machine: Machine, router_id: RouterId) -> None:
        """A build begins."""
        self.note(f"{machine.facts.name} begins to build {router_id}")
        if not machine.is_replaced:
            self.oracles.appeared(machine, router_id)

    def vanished(self, machine: Machine, router_id: RouterId) -> None:
        """A removal is over."""
        self.note(f"{machine.facts.name} has nothing left of {router_id}")
        if not machine.is_replaced:
            self.oracles.vanished(machine, router_id)

    def opened(self, tenure: Tenure, router_id: RouterId) -> None:
        """A guarded router is open."""
        self.note(f"{tenure} opens {router_id}")
        self.oracles.opened(tenure, router_id)

    def righted(self, name: HostName) -> None:
        """Rights changed."""
        self.oracles.righted(name)

    def released(self, by: Tenure, router_id: RouterId, to: Successor) -> None:
        """A datagram between guards; it may be late, or lost."""
        hears = self.machines[to.tenure.host]
        if self._apart.random() < LOST or not (self.machines[by.host].is_on_data and hears.is_on_data):
            return
        self.note(f"{by} releases {router_id} to {to.tenure} at {to.epoch}")
        delay_s = self._apart.choice([0.0002, 0.0002, 0.05, 3.0])
        self.agenda.after(delay_s, lambda: hears.guard.hear_release(by, router_id, to))

    def note(self, line: str) -> None:
        """A line of the story."""
        self.story.append(f"{self.agenda.now:9.3f} {line}")

    def strike(self, line: str) -> None:
        """A line of the story that says what a fault does; the schedule says it of that fault, too."""
        self.note(line)
        self.schedule.struck(line)

    # The end

    def settle(self) -> None:
        """Let time pass without faults until everything is as it should be, and stays so. Raises Violated if not."""
        quiet, deadline = 0, self.agenda.now + SETTLED_WITHIN_S
        while quiet < 3:
            self.agenda.run_until(self.agenda.now + 5)
            wrong = self.oracles.unsettled()
            quiet = 0 if wrong else quiet + 1
            if self.agenda.now > deadline:
                raise Violated(wrong or "oracle 4: it settles and unsettles for ever")
