"""A small controller, made up, that keeps the rules which the real one must keep. It never dies: it has all stored.

Of each router it keeps the chain of its *actors*: tenures that may forward it, in order. The first is active by plan;
each other has the right to be once all before it are over. So any two wait for one another, and adding at the end is
always safe. An actor leaves the chain when it is over (buried by a claim, taken over from, or succeeded by a higher
incarnation of its host), or when its host acknowledged a plan without it, and does not forward. Until then everybody
after it waits for it: that is the change in two steps. The first of the chain, when it is to leave, is told to release
the router to the second, which need not be told anything: it says that it forwards what was released.

When an operator confirms that a quorum of the arbiters is off, the panel begins anew, as `core.planner.panel` says.

Rules for tenures: only one that was reported, and so has held a lease, is planned for. The controller claims those
whose control link is gone; arbiters deny it as long as the host renews.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from gapless.core.edge.beatevents import BurialAnswered, BurialAsked, GuardPlan, Planned, Right
from gapless.core.edge.claim import Claim
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import LeaseTiming, Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch, Revision, Successor
from gapless.model.router import RouterId
from gapless.sim.agenda import Agenda
from gapless.sim.lease.clock import Clock
from gapless.sim.lease.machine import Machine, Report
from gapless.sim.session import Session

UNBOUND = Epoch(0)
TICK_S = 0.15
CLAIMS_AFTER_S = 0.4
"""How long a control link is gone before the controller claims."""


@dataclass(slots=True)
class Actor:
    """A tenure that may forward a router at an epoch."""

    tenure: Tenure
    epoch: Epoch
    is_leaving: bool = False
    without: Revision | None = None
    """The first plan that was sent without it, in the present session."""


@dataclass(slots=True)
class Chain:
    """One router."""

    successors: int
    """How many it should have."""
    epoch: Epoch = UNBOUND
    actors: list[Actor] = field(default_factory=list)


@dataclass(slots=True)
class Link:
    """A control link that stands."""

    session: Session
    machine: Machine
    said: GuardPlan | None = None


class Controller:
    """Plans for every host that is linked."""

    def __init__(
        self, agenda: Agenda, timing: LeaseTiming, clock: Clock, panel: Panel, routers: Mapping[RouterId, int]
    ) -> None:
        self.panel = panel
        self.chains = {router_id: Chain(successors) for router_id, successors in routers.items()}
        self.heard: dict[Tenure, int] = {}
        """How many takeovers of each tenure are known."""
        self._agenda = agenda
        self._timing = timing
        self._clock = clock
        self._links: dict[HostName, Link] = {}
        self._tenures: dict[HostName, Tenure] = {}
        """The last one that each host reported, if it is not known to be over."""
        self._over: dict[HostName, Incarnation] = {}
        self._lost_at: dict[HostName, float] = {}
        self._follows: dict[HostName, Panel] = {}
        self._burying: dict[Tenure, Claim] = {}
        self._seq = 0
        self._revision = 0
        self._replacing: frozenset[HostName] | None = None
        self._quiet_at: float | None = None
        self._holding: dict[HostName, bool] = {}
        """Whether each host said last that it holds its lease."""
        self._anew = PanelVersion(0)
        """The panel of that version began anew, or will: whoever follows an earlier one may hold a lease by that."""
        agenda.after(TICK_S, self._tick)

    # Links

    def admit(self, session: Session, machine: Machine) -> None:
        """A host opens its control link."""
        self._links[machine.name] = Link(session, machine)
        self._lost_at.pop(machine.name, None)
        self._reset_acknowledgements(machine.name)
        self._publish()

    def lose(self, host: HostName, session: Session) -> None:
        """A control link is found to be gone."""
        if (link := self._links.get(host)) is not None and link.session is session:
            del self._links[host]
            self._holding.pop(host, None)
            self._lost_at[host] = self._agenda.now
            self._reset_acknowledgements(host)

    def _reset_acknowledgements(self, host: HostName) -> None:
        for actor in self._actors():
            if actor.tenure.host == host:
                actor.without = None

    def _actors(self) -> Iterable[Actor]:
        return (actor for chain in self.chains.values() for actor in chain.actors)

    def _publish(self) -> None:
        for chain in self.chains.values():
            self._fill(chain)
        for host, link in self._links.items():
            plan = self._plan_of(host)
            if link.said is None or plan != link.said:
                self._revision += 1
                link.said = plan
                self._send_plan(link, plan)

    def _send_plan(self, link: Link, plan: GuardPlan) -> None:
        revision = Revision(self._revision)
        numbered = replace(plan, revision=revision)
        for actor in self._actors():
            if actor.is_leaving and actor.without is None and actor.tenure.host == link.machine.name:
                actor.without = revision
        link.session.carry(partial(link.machine.hear, Planned(plan=numbered)))

    def _plan_of(self, host: HostName) -> GuardPlan:
        """As a level; the revision comes with the sending."""
        tenure = self._tenures.get(host)
        active: dict[RouterId, Epoch] = {}
        rights: dict[RouterId, Right] = {}
        releases: dict[RouterId, Successor] = {}
        for router_id, chain in self.chains.items():
            first, second = (*chain.actors, None, None)[:2]
            if first is not None and second is not None and first.is_leaving and first.tenure == tenure:
                releases[router_id] = Successor(tenure=second.tenure, epoch=second.epoch)
            for index, actor in enumerate(chain.actors):
                if actor.tenure != tenure or actor.is_leaving:
                    continue
                if after := tuple(each.tenure for each in chain.actors[:index]):
                    rights[router_id] = Right(epoch=actor.epoch, after=after)
                else:
                    active[router_id] = actor.epoch
        return GuardPlan(
            revision=Revision(0),
            incarnation=Incarnation(0) if tenure is None else tenure.incarnation,
            heard=0 if tenure is None else self.heard.get(tenure, 0),
            panel=self.panel,
            active=active,
            rights=rights,
            releases=releases,
        )

    # Chains

    def _fill(self, chain: Chain) -> None:
        """As many actors as there should be, of hosts that are linked and hold a lease."""
        staying = sum(not actor.is_leaving for actor in chain.actors)
        taken = {actor.tenure.host for actor in chain.actors}
        free = [self._tenures[host] for host in sorted(self._links) if self._can_take(host) and host not in taken]
        if not free:
            return
        first = chain.epoch % len(free)
        for tenure in (free[first:] + free[:first])[: 1 + chain.successors - staying]:
            chain.epoch = Epoch(chain.epoch + 1)
            chain.actors.append(Actor(tenure, chain.epoch))

    def _can_take(self, host: HostName) -> bool:
        return host in self._tenures and self._version_of(host) >= self._anew

    def take(self, router_id: RouterId, index: int) -> None:
        """An operator, or a better plan: the actor at that place is to leave."""
        chain = self.chains[router_id]
        if index < len(chain.actors):
            chain.actors[index].is_leaving = True
            self._publish()

    def take_from(self, router_id: RouterId, host: HostName) -> None:
        """As `take`, by the host's name."""
        for index, actor in enumerate(self.chains[router_id].actors):
            if actor.tenure.host == host:
                self.take(router_id, index)

    def _bury(self, tenure: Tenure) -> None:
        """It is over, and all lower incarnations of its host."""
        host, incarnation = tenure.host, tenure.incarnation
        self._over[host] = max(self._over.get(host, incarnation), incarnation)
        if (known := self._tenures.get(host)) is not None and known.incarnation <= incarnation:
            del self._tenures[host]
        for chain in self.chains.values():
            chain.actors = [
                each for each in chain.actors if each.tenure.host != host or each.tenure.incarnation > incarnation
            ]

    # Reports

    def hear(self, machine: Machine, session: Session, report: Report) -> None:
        """A host's report."""
        host, tenure = machine.name, report.tenure
        if (link := self._links.get(host)) is None or link.session is not session:
            return
        if report.panel is not None:
            self._follows[host] = report.panel
        self._holding[host] = tenure is not None
        if tenure is not None and tenure.incarnation > self._over.get(host, 0):
            self._bury(Tenure(host, Incarnation(tenure.incarnation - 1)))
            self._tenures[host] = tenure
            self.heard[tenure] = report.takeovers
            for router_id, chain in self.chains.items():
                self._hear_of(router_id, chain, tenure, report)
        self._publish()

    def _hear_of(self, router_id: RouterId, chain: Chain, tenure: Tenure, report: Report) -> None:
        """What is open by an earlier right, as a word that was under way may say, is open by no later one."""
        place = next((index for index, each in enumerate(chain.actors) if each.tenure == tenure), None)
        if place is None:
            return
        actor, epoch = chain.actors[place], report.forwarding.get(router_id)
        if epoch is not None and epoch >= actor.epoch and place > 0:
            self._succeeded(chain, place, is_released=router_id in report.released)
            actor.is_leaving, actor.without = False, None
        elif actor.is_leaving and epoch is None and self._has_acknowledged(actor, report):
            chain.actors.remove(actor)

    def _succeeded(self, chain: Chain, place: int, *, is_released: bool) -> None:
        """The actor at that place forwards: those before it are over, or the first of all has released the router."""
        if is_released:
            del chain.actors[0]
            place -= 1
        for each in chain.actors[:place]:
            self._bury(each.tenure)

    def _has_acknowledged(self, actor: Actor, report: Report) -> bool:
        return actor.without is not None and report.settled is not None and report.settled >= actor.without

    # Claims

    def _tick(self) -> None:
        now = self._agenda.now
        for host, tenure in list(self._tenures.items()):
            if host in self._lost_at and now - self._lost_at[host] > CLAIMS_AFTER_S:
                self._claim(tenure)
        self._replace()
        self._publish()
        self._agenda.after(TICK_S, self._tick)

    def _claim(self, tenure: Tenure) -> None:
        self._seq += 1
        burying = self._burying.setdefault(tenure, Claim(self._timing))
        burying.ask(self._seq, self._clock.local(self._agenda.now))
        question = BurialAsked(tenure=tenure, seq=self._seq, panel=self.panel.version)
        for arbiter in self.panel.arbiters:
            if (link := self._links.get(arbiter)) is not None:
                link.session.carry(partial(link.machine.hear, question))

    def hear_answer(self, arbiter: HostName, answer: BurialAnswered) -> None:
        """An arbiter answers a claim."""
        burying, now = self._burying.get(answer.tenure), self._clock.local(self._agenda.now)
        if burying is None or not answer.is_buried or not burying.has_asked(answer.seq, now):
            return
        if burying.bury(arbiter, answer.seq, self.panel, now):
            del self._burying[answer.tenure]
            self._bury(answer.tenure)
            self._publish()

    # The panel

    def replace_panel(self, arbiters: frozenset[HostName]) -> None:
        """Have other arbiters, in three levels."""
        if self._replacing is None and self.panel.sets != (arbiters,) and not self._is_lost():
            self._replacing = arbiters
            version = PanelVersion(self.panel.version + 1)
            self.panel = Panel(version=version, floor=self.panel.floor, sets=(*self.panel.sets, arbiters))
            self._publish()

    def confirm_off(self, hosts: Collection[HostName], late_s: float) -> None:
        """An operator has made sure that these are off: their tenures are over, and of the panel there is no quorum any
        more. So it begins anew, when all that they granted is over, and somewhat later.
        """
        for tenure in [self._tenures[host] for host in hosts if host in self._tenures]:
            self._bury(tenure)
        self.gate(PanelVersion(self.panel.version + 2))
        wait_s = 1.02 * self._timing.quiet_s + late_s
        self._agenda.after(wait_s, partial(self._begin_anew, frozenset(hosts), self.panel))

    def gate(self, version: PanelVersion) -> None:
        """From now on nothing is planned for a lease by an earlier panel."""
        self._anew = version

    def _begin_anew(self, off: frozenset[HostName], lost: Panel) -> None:
        """Out of a host that is linked; tried again until then, unless one of those that were off is heard."""
        if self.panel != lost:
            return
        if off & self._links.keys():
            self._anew = PanelVersion(0)
            return
        if not self._links or self.is_held():
            self._agenda.after(TICK_S, partial(self._begin_anew, off, lost))
            return
        self._anew = PanelVersion(lost.version + 2)
        self.panel = Panel(version=self._anew, floor=self._anew, sets=(frozenset({min(self._links)}),))
        self._replacing = self._quiet_at = None
        self._publish()

    def _is_lost(self) -> bool:
        return self._anew > self.panel.version

    def is_held(self) -> bool:
        """Whether a host that is linked says that it holds its lease."""
        return any(self._holding.values())

    def _replace(self) -> None:
        if self._replacing is None or self._is_lost():
            return
        version, arbiters = self.panel.version, self._replacing
        if self.panel.floor < version:
            if all(self._version_of(host) >= version for host in self._tenures):
                self.panel = Panel(version=version, floor=version, sets=self.panel.sets)
            return
        confirmed = [host for host, panel in self._follows.items() if panel.floor >= version]
        now = self._clock.local(self._agenda.now)
        if self._quiet_at is None and self.panel.is_quorum(confirmed):
            self._quiet_at = now + self._timing.quiet_s
        if self._quiet_at is not None and now >= self._quiet_at:
            self.panel = Panel(version=PanelVersion(version + 1), floor=version, sets=(arbiters,))
            self._replacing = self._quiet_at = None

    def _version_of(self, host: HostName) -> int:
        return self._follows[host].version if host in self._follows else 0
