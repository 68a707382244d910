"""One fleet, from a seed: machines, the networks between them, a controller, the oracles, and the story."""

from dataclasses import dataclass
from functools import partial
from random import Random

from gapless.core.edge.beatevents import Activate, BeatEffect, BurialAnswered, HoldLease, Tell, TookOver
from gapless.model.host import HostName
from gapless.model.lease import DEFAULT, FAST, LeaseTiming, Panel, PanelVersion
from gapless.model.router import RouterId
from gapless.sim.agenda import Agenda
from gapless.sim.lease.clock import Clock
from gapless.sim.lease.controller import Controller
from gapless.sim.lease.machine import Machine, Report
from gapless.sim.lease.network import Network
from gapless.sim.lease.oracles import Oracles, Violated, bound_s
from gapless.sim.schedule import Schedule
from gapless.sim.session import Session

NOTICE_S = 0.2
"""How long a broken control link goes unnoticed by the controller's side."""
SETTLED_WITHIN_S = 12.0
LOOK_S = 0.05

FAST_SHARE = 0.3
"""Of fleets, that have the fast timing."""
FIVE_SHARE = 0.25
"""Of fleets of five hosts, that have five arbiters, as with two standbys a router; and as many more get five when their
panel is replaced. None that is replaced shrinks (`core.planner.panel`).
"""

DELAYS = ((0.00005, 0.0002), (0.0002, 0.003), (0.005, 0.025), (0.01, 0.09))
"""Of datagrams in good weather: a rack, a room, a city, and what no zone should span; for the fast timing a quarter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What a seed is about."""

    seed: int
    timing: LeaseTiming
    rates: tuple[float, ...]
    """Of each host's clock; the last one is the controller's."""
    arbiters: frozenset[HostName]
    is_replaced_by_five: bool
    """Whether a panel that replaces another one is all five hosts."""
    routers: dict[RouterId, int]
    """How many successors each has."""
    delay_s: tuple[float, float]
    deadlines_first: bool
    """Whether a sentinel that wakes late looks at its deadlines before what waits in its socket."""

    @property
    def hosts(self) -> list[HostName]:
        """Their names."""
        return [HostName(f"host{number}") for number in range(1, len(self.rates))]


def fleet(random: Random, seed: int) -> Fleet:
    """Three to five hosts, three of which are arbiters, or all five."""
    count = random.randint(3, 5)
    hosts = [HostName(f"host{number}") for number in range(1, count + 1)]
    apart = Random(f"shell {seed}")  # So that it changes nothing else of a seed.
    deadlines_first, is_fast, drawn = apart.random() < 0.5, apart.random() < FAST_SHARE, apart.random()
    rates = tuple(random.choice([0.99, 1.01]) for _ in range(count + 1))
    timing = LeaseTiming(interval_s=random.choice([DEFAULT.interval_s, 0.066]), lease_s=DEFAULT.lease_s)
    three = frozenset(random.sample(hosts, 3))
    routers = {RouterId(f"r{number}"): random.randint(1, 2) for number in range(1, random.randint(2, 4))}
    shortest_s, longest_s = random.choice(DELAYS)
    pace = FAST.lease_s / DEFAULT.lease_s if is_fast else 1.0
    return Fleet(
        seed=seed,
        timing=FAST if is_fast else timing,
        rates=rates,
        arbiters=frozenset(hosts) if count == 5 and drawn < FIVE_SHARE else three,
        is_replaced_by_five=count == 5 and drawn < 2 * FIVE_SHARE,
        routers=routers,
        delay_s=(shortest_s * pace, longest_s * pace),
        deadlines_first=deadlines_first,
    )


class World:
    """Everything there is."""

    def __init__(self, fleet: Fleet, *, is_telling: bool) -> None:
        self.fleet = fleet
        self.random = Random(f"network {fleet.seed}")
        self.agenda = Agenda()
        self.schedule = Schedule(self.agenda)
        self.network = Network(self.agenda, self.random, fleet.delay_s)
        self.story: list[str] = []
        self.is_telling = is_telling
        self.snatched: set[RouterId] = set()
        """Routers that the controller takes from their successor at the very moment at which it takes them over."""
        self.unanswered: dict[RouterId, float] = {}
        """Routers that the next kernel opens unheard, and for how long it takes nothing then."""
        *rates, controllers_rate = fleet.rates
        panel = Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(fleet.arbiters,))
        self.machines = {
            name: Machine(name, fleet.timing, rate, panel, self, is_deadline_first=fleet.deadlines_first)
            for name, rate in zip(fleet.hosts, rates, strict=True)
        }
        clock = Clock(controllers_rate, began=0.0, shows=0.0)
        self.controller = Controller(self.agenda, fleet.timing, clock, panel, fleet.routers)
        bound = bound_s(fleet.timing, fleet.delay_s[1])
        self.oracles = Oracles(self.agenda, self.machines, self.network, self.controller, bound)

    def begin(self) -> None:
        """Switch everything on."""
        for machine in self.machines.values():
            machine.start()
        self._look()

    def _look(self) -> None:
        self.oracles.look()
        self.agenda.after(LOOK_S, self._look)

    # What machines find around them

    def connect(self, machine: Machine) -> Session | None:
        """A control link opens."""
        if not machine.is_linked:
            return None
        session = Session(self.agenda, self.random.uniform(0.002, 0.02))
        session.carry(partial(self.controller.admit, session, machine))
        return session

    def lost(self, machine: Machine, session: Session) -> None:
        """A control link is gone; the other end finds out later."""
        self.agenda.after(NOTICE_S, partial(self.controller.lose, machine.name, session))

    def report(self, machine: Machine, report: Report) -> None:
        """A report leaves."""
        if self.is_telling:
            self.note(f"{machine.name} reports {report}")
        assert machine.sentinel is not None
        if (session := machine.sentinel.session) is not None:
            session.carry(partial(self.controller.hear, machine, session, report))

    def answered(self, machine: Machine, answer: BurialAnswered) -> None:
        """An arbiter's answer to the controller leaves."""
        assert machine.sentinel is not None
        if (session := machine.sentinel.session) is not None:
            session.carry(partial(self.controller.hear_answer, machine.name, answer))

    def carried_out(self, machine: Machine, effect: BeatEffect) -> None:
        """A kernel was written to, or something told."""
        if self.is_telling and not isinstance(effect, HoldLease):
            self.note(f"{machine.name}  {effect.news if isinstance(effect, Tell) else effect}")
        self.oracles.carried_out(machine, effect)
        if isinstance(effect, Tell) and isinstance(effect.news, TookOver):
            for router_id in self.snatched & effect.news.routers.keys():
                self.snatched.discard(router_id)
                self.controller.take_from(router_id, machine.name)

    def loses_answer(self, machine: Machine, effect: Activate) -> bool:
        """A kernel has opened routers. If that is lost for one, the controller takes it back at that very moment."""
        lost = [each for each in effect.routers if each in self.unanswered]
        for router_id in lost:
            self.note(f"{machine.name} has {router_id} open, and the answer is lost")
            machine.refuse(is_refusing=True)
            self.agenda.after(self.unanswered.pop(router_id), partial(machine.refuse, is_refusing=False))
            self.controller.take_from(router_id, machine.name)
        return bool(lost)

    def note(self, line: str) -> None:
        """A line of the story."""
        if self.is_telling:
            self.story.append(f"{self.agenda.now:8.4f} {line}")

    def strike(self, line: str) -> None:
        """A line of the story that says whom a fault strikes; the schedule says it of that fault, too."""
        self.note(line)
        self.schedule.struck(line)

    # The end

    def settle(self) -> None:
        """Let time pass without faults until every router is active once, and stays so. Raises Violated if not."""
        quiet, deadline = 0, self.agenda.now + SETTLED_WITHIN_S
        while quiet < 3:
            self.agenda.run_until(self.agenda.now + 0.2)
            wrong = self.oracles.unsettled()
            quiet = 0 if wrong else quiet + 1
            if self.agenda.now > deadline:
                raise Violated(wrong or "oracle 4: it settles and unsettles for ever")
