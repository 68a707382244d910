"""A host, made up: a machine with a kernel that holds namespaces, an agent that builds, a sentinel that reports.

It keeps the rules that a real host keeps, since the planner relies on them:

- What a new plan does not hold is removed before anything is built; REMOVED is reported when nothing is left, and
  also for a router of which there was nothing to begin with.
- A full report names everything that is there, half-built included, and says from which plan it was made. Each session
  gets one, and each new agent makes one; after that only news is said, once, and what is there of what a plan brings
  back.
- A router that forwards unguarded and is to be guarded is opened by the guard first, then put under it by the agent,
  and said to be guarded after that.
- A plan from disk is not confirmed: what runs is kept, nothing absent is built, until the controller has spoken.
- The agent's death leaves the kernel as it is, and its sentinel knows what it said; that is from no plan of a session
  that began later. A power failure leaves nothing.

Where leases are made up as well (`sim.guard`), it has a guard, which says which of its guarded routers are open.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from gapless.core.events import HostReported
from gapless.core.ledger.agents import STEADY_S
from gapless.core.ledger.plans import Duty
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation
from gapless.model.lease import NOBODY, Tenure
from gapless.model.plan import BuildTimes, Burial, Epoch, RouterReport, RouterState, Successor
from gapless.model.router import RouterId
from gapless.model.way import WayOut, WaysSaid
from gapless.sim.agenda import Agenda
from gapless.sim.copies import Copies
from gapless.sim.guard import POLL_S, Guard, Leases
from gapless.sim.session import Session

EXTERNAL = "external"
"""The one physical network that there is."""
RETRY_S = 5.0
RECONNECT_S = 2.0
LINK_DELAY_S = 0.02


class Surroundings(Protocol):
    """What a machine finds around it."""

    agenda: Agenda
    random: Random
    leases: Leases

    @property
    def has_arbiters(self) -> bool:
        """Whether a quorum of arbiters is there to grant leases."""

    def connect(self, machine: "Machine", session: Session) -> bool:
        """Open a control link; whether a controller answered."""

    def deliver(self, session: Session, report: HostReported) -> None:
        """A report arrives at the controller."""

    def lost(self, machine: "Machine", session: Session) -> None:
        """The machine's session is over."""

    def planned(self, machine: "Machine") -> None:
        """The machine has a new plan."""

    def appeared(self, machine: "Machine", router_id: RouterId) -> None:
        """Something of a router is in the machine's kernel now."""

    def vanished(self, machine: "Machine", router_id: RouterId) -> None:
        """Nothing of it is left there."""

    def opened(self, tenure: Tenure, router_id: RouterId) -> None:
        """A guarded router's frames pass on this host from now on."""

    def righted(self, name: HostName) -> None:
        """A host has other rights to succeed than before."""

    def released(self, by: Tenure, router_id: RouterId, to: Successor) -> None:
        """A host says to another one that it has closed a router."""


@dataclass(slots=True)
class Presence:
    """A router in a kernel."""

    epoch: Epoch
    is_built: bool
    is_guarded: bool = False


class Machine:
    """One host. Everything that a fault can do to it is a method."""

    def __init__(self, world: Surroundings, facts: HostFacts, report_interval_s: float) -> None:
        self.facts = facts
        self.incarnation = Incarnation(0)
        self.is_on = False
        self.is_linked = True
        self.is_member = True
        """It knows what its incarnations have to be above. A machine that was installed anew does not."""
        self.is_replaced = False
        """Another machine has its name: nobody will mend it."""
        self.agent_runs = False
        self.agent_is_broken = False
        """No agent can be started here."""
        self.is_known = False
        """An agent has said, in this life of the sentinel, all that is there."""
        self.agent_began_at = 0.0
        self.agent_worked_at = 0.0
        """When an agent ended last that had run steadily."""
        self.connected_at = 0.0
        self.broken: set[RouterId] = set()
        """Routers that cannot be built here."""
        self.kernel: dict[RouterId, Presence] = {}
        self.plan: dict[RouterId, Duty] = {}
        """On disk."""
        self.guard = Guard(world.agenda, world.random, world.leases, world, facts.name)
        self.guard.report = self._report
        self.copies = Copies(world.agenda, facts.name, self._report)
        self.is_on_data = True
        """Its lease datagrams arrive."""
        self.says_ways = True
        """It is of a release that says which ways out it has lost, and not only in words."""
        self.has_way_out = True
        self.way_changed_at = 0.0
        """When that was last otherwise."""
        self.is_confirmed = False
        self.plan_version = 0
        self.session: Session | None = None
        self._world = world
        self._report_interval_s = report_interval_s
        self._told_expired: tuple[Tenure, ...] = ()
        """What it says as an arbiter of whose leases are over."""
        self._planned_at = 0.0
        self._retry_at: dict[RouterId, float] = {}
        self._life = 0
        """Grows with each death of agent or machine: what an earlier life had under way is void."""
        self._is_busy = False
        self._boot = 0
        """How often it was switched on."""

    # What can be done to it

    def power_on(self) -> None:
        """Nothing runs; the plan of before is on the disk."""
        if self.is_replaced:
            return
        self.is_on = True
        self._told_expired = ()
        self.incarnation = Incarnation(self.incarnation + 1)
        self._boot += 1
        self.is_confirmed = False
        self.guard.leased = NOBODY
        self.guard.reborn(self.incarnation)
        self.start_agent()
        self._later(self._world.random.uniform(0, 1), self._connect)
        self._heartbeat()
        if self.facts.lease_address is not None:
            self._renew()

    def power_off(self) -> None:
        """Everything in memory is gone, the namespaces first of all. Nobody is told."""
        self.is_on = self.is_known = False
        self.guard.reborn(NOBODY)
        self.copies.lost()
        for router_id in list(self.kernel):
            del self.kernel[router_id]
            self._world.vanished(self, router_id)
        self.stop_agent()
        self._lose_session()

    def stop_agent(self) -> None:
        """The agent dies; what it built stays."""
        if self.agent_runs and self._world.agenda.now - self.agent_began_at >= STEADY_S:
            self.agent_worked_at = self._world.agenda.now
        self.agent_runs = False
        self._life += 1
        self._is_busy = False
        self._retry_at.clear()

    def start_agent(self) -> None:
        """A new agent looks at the kernel and at the plan."""
        if self.is_on and not (self.agent_runs or self.agent_is_broken):
            self.agent_runs, self.agent_began_at = True, self._world.agenda.now
            self.is_known = True
            if self.is_confirmed:
                self._adopt()
            self._report(full=True)
            self._work()

    def hang_agent(self) -> None:
        """The agent runs, and does nothing any more, until it is stopped."""
        self._life += 1
        self._is_busy = True

    def break_agent(self) -> None:
        """The agent dies, and no other one can be started."""
        self.agent_is_broken = True
        self.stop_agent()
        self._report()

    def mend_agent(self) -> None:
        """Agents can be started again."""
        self.agent_is_broken = False
        self.start_agent()

    def fail(self, router_id: RouterId) -> None:
        """A router that runs here breaks, and the agent sees it and cannot repair it."""
        there = self.kernel.get(router_id)
        duty = self.plan.get(router_id)
        if there is None or not there.is_built or duty is None:
            return
        there.is_built = False
        self._retry_at[router_id] = self._world.agenda.now + RETRY_S
        self._later(RETRY_S, self._work)
        self._report(RouterReport(router_id=router_id, epoch=duty.epoch, state=RouterState.FAILED, reason="it broke"))

    def restart_sentinel(self) -> None:
        """The lease is not renewed for a moment; what was open closes with it, and the host comes back anew."""
        if self.is_on:
            self.is_known = self.agent_runs
            self._lose_session()
            self._fence()

    def cut_data(self) -> None:
        """The data network is cut: no lease."""
        self.is_on_data = False

    def mend_data(self) -> None:
        """The data network is back."""
        self.is_on_data = True

    def lose_way_out(self) -> None:
        """Its uplink to the outside is cut, or what is behind that."""
        self._set_way_out(is_there=False)

    def mend_way_out(self) -> None:
        """It has its way out again."""
        self._set_way_out(is_there=True)

    def _set_way_out(self, *, is_there: bool) -> None:
        if self.has_way_out is not is_there and EXTERNAL in self.facts.physical_networks:
            self.has_way_out, self.way_changed_at = is_there, self._world.agenda.now
            self._report()

    def _ways(self) -> WaysSaid | None:
        if not self.says_ways:
            return None
        return WaysSaid(lost=() if self.has_way_out else (WayOut(EXTERNAL),))

    def _fence(self) -> None:
        """Its lease is over. It goes on as another, with nothing open; its machine goes on running."""
        self.incarnation = Incarnation(self.incarnation + 1)
        self.guard.reborn(self.incarnation)
        self._report()

    def _renew(self) -> None:
        """The sentinel's beat: hold the lease, or be fenced; take over what may be."""
        guard = self.guard
        if guard.is_alive:
            if not (self.is_on_data and self._world.has_arbiters):
                self._world.leases.stop(guard.tenure)
        elif guard.leased == guard.tenure.incarnation or (self._may_ask() and not guard.hold()):
            self._fence()
        guard.poll()
        self._look_who_expired()
        self._work()
        self._later(POLL_S * self._world.random.uniform(0.3, 1.5), self._renew)

    def _look_who_expired(self) -> None:
        """As an arbiter; everybody says it, and the controller counts whom it should."""
        expired = self._world.leases.expired(is_deaf=not self.is_on_data)
        if expired != self._told_expired:
            self._told_expired = expired
            self._report()

    def _may_ask(self) -> bool:
        return self.is_member and self.is_on_data and self._world.has_arbiters and not self.guard.has_to_wait()

    def bury(self, tenure: Tenure, seq: int) -> None:
        """The controller claims a tenure at this arbiter."""
        if self.is_on and self.is_on_data:
            answer = Burial(tenure=tenure, seq=seq, is_buried=self._world.leases.bury(tenure))
            self._report(buried=(answer,))

    def cut_link(self) -> None:
        """The management network is cut: neither side hears the other, nor that the session is over."""
        self.is_linked = False
        self._lose_session()

    def mend_link(self) -> None:
        """The management network is back."""
        self.is_linked = not self.is_replaced

    def lose_controller(self) -> None:
        """The session is over: the controller went away."""
        self._lose_session()

    # The control link

    def welcome(self, outlived: Incarnation) -> None:
        """The controller says what its incarnations have to be above."""
        self.is_member = True
        if self.incarnation <= outlived:
            self.incarnation = Incarnation(outlived + 1)
            self.guard.reborn(self.incarnation)

    def _connect(self) -> None:
        if self.session is None and self.is_linked:
            session = Session(self._world.agenda, LINK_DELAY_S * self._world.random.uniform(0.5, 1.5))
            if self._world.connect(self, session):
                self.session, self.connected_at = session, self._world.agenda.now
                self.plan_version = 0
                self.guard.session_began()
                self.copies.session_began()
                return
        if self.session is None:
            self._later(RECONNECT_S * self._world.random.uniform(0.5, 1.5), self._connect)

    def _lose_session(self) -> None:
        if self.session is not None:
            session, self.session = self.session, None
            session.break_off()
            self._world.lost(self, session)
            if self.is_on:
                self._later(RECONNECT_S * self._world.random.uniform(0.5, 1.5), self._connect)

    def take_plan(self, plan: dict[RouterId, Duty], version: int, heard: int) -> None:
        """The controller has spoken: this, and nothing else, should run here."""
        is_first = self.plan_version == 0
        gone = self.plan.keys() - plan.keys() - self.kernel.keys()
        dropped = {router_id: self.plan[router_id].epoch for router_id in gone}
        back = (plan.keys() - self.plan.keys()) & self.kernel.keys()
        self.plan, self.plan_version, self.is_confirmed = plan, version, True
        self._planned_at = self._world.agenda.now
        self._world.planned(self)
        if self.facts.lease_address is not None:
            self.guard.plan(plan, version, heard)
        if self.agent_runs:
            self._adopt()
            self._report(
                *(self._removed(router_id, dropped[router_id]) for router_id in sorted(dropped)),
                *(self._state_of(router_id, self.kernel[router_id]) for router_id in sorted(back)),
            )
            self._report(full=is_first)
            self._work()
        else:
            self._report(full=is_first)

    # The sentinel

    def _heartbeat(self) -> None:
        self._report()  # What is news was said when it was; all of it is said once to each session.
        self._later(self._report_interval_s, self._heartbeat)

    def _report(self, *routers: RouterReport, full: bool = False, buried: tuple[Burial, ...] = ()) -> None:
        if self.session is None or not self.is_on:
            return
        full = full and self.is_known
        event = HostReported(
            id=f"report-{self.facts.name}-{self._world.agenda.now:.3f}",
            host=self.facts.name,
            agent=AgentState.RUNNING if self.agent_runs else AgentState.RESTARTING,
            routers=self._everything() if full else routers,
            full=full,
            plan_version=self.plan_version if self.agent_runs else 0,
            session=self.session.number,
            number=self.guard.next_number(),
            leased=self.guard.leased,
            guard_version=self.guard.version,
            forwarding=self.guard.forwarding(),
            takeovers=self.guard.takeovers(),
            buried=buried,
            is_held=self.guard.is_alive,
            reborn=self.guard.tenure.incarnation,
            uplink_trouble="" if self.has_way_out else "no carrier",
            ways=self._ways(),
            expired=self._told_expired,
            copied=self.copies.news(self.guard.rights) if self.facts.copies_flows else {},
        )
        session = self.session
        session.carry(lambda: self._world.deliver(session, event))

    def _everything(self) -> tuple[RouterReport, ...]:
        there = [self._state_of(router_id, presence) for router_id, presence in self.kernel.items()]
        failed = [
            RouterReport(
                router_id=router_id, epoch=self.plan[router_id].epoch, state=RouterState.FAILED, reason="it broke"
            )
            for router_id in self._retry_at
            if router_id in self.plan and router_id not in self.kernel
        ]
        return (*there, *failed)

    def _state_of(self, router_id: RouterId, presence: Presence) -> RouterReport:
        if router_id in self._retry_at and router_id in self.plan:
            return RouterReport(
                router_id=router_id, epoch=self.plan[router_id].epoch, state=RouterState.FAILED, reason="it broke"
            )
        if not presence.is_built:
            return RouterReport(router_id=router_id, epoch=presence.epoch, state=RouterState.BUILDING)
        return RouterReport(
            router_id=router_id, epoch=presence.epoch, state=RouterState.ACTIVE, guarded=presence.is_guarded
        )

    # The agent

    def _adopt(self) -> None:
        """What runs and is in the plan is right, whatever epoch it was built at."""
        for router_id, presence in self.kernel.items():
            duty = self.plan.get(router_id)
            if duty is None or not presence.is_built:
                continue
            if presence.is_guarded and duty.guarded is None:
                presence.is_guarded = False
                self._world.appeared(self, router_id)
            if not self._is_to_be_guarded(router_id):
                presence.is_guarded = duty.guarded is not None
            if duty.epoch != presence.epoch:
                presence.epoch = duty.epoch
                self._report(self._state_of(router_id, presence))

    def _is_to_be_guarded(self, router_id: RouterId) -> bool:
        """It forwards unguarded by this very binding, and is to go on behind the guard."""
        there, duty = self.kernel[router_id], self.plan[router_id]
        forwards = there.is_built and not there.is_guarded and there.epoch == duty.epoch
        return forwards and duty.guarded is not None and not duty.is_standby

    def _put_under_guard(self, router_id: RouterId) -> None:
        if router_id not in self.plan or not self._is_to_be_guarded(router_id):
            return  # It is to be otherwise by now.
        self.kernel[router_id].is_guarded = True
        self._report(self._state_of(router_id, self.kernel[router_id]))

    def _work(self) -> None:
        """Begin the next piece of work; removing comes first."""
        if not self.agent_runs or self._is_busy or not self.is_confirmed:
            return
        now = self._world.agenda.now
        stale = sorted(self.kernel.keys() - self.plan.keys())
        if stale:
            self._begin(0.02, lambda: self._remove(stale[0]))
            return
        for router_id in sorted(self.plan):
            there = self.kernel.get(router_id)
            if (there is None or not there.is_built) and self._retry_at.get(router_id, 0) <= now:
                self._build(router_id, self.plan[router_id].epoch)
                return
            if there is not None and router_id in self.guard.active and self._is_to_be_guarded(router_id):
                self._begin(0.5, lambda router_id=router_id: self._put_under_guard(router_id))  # type: ignore[misc]
                return

    def _remove(self, router_id: RouterId) -> None:
        presence = self.kernel.pop(router_id)
        self._world.vanished(self, router_id)
        if router_id in self.plan:
            return  # It was planned again meanwhile, and will be built.
        self._report(self._removed(router_id, presence.epoch))

    def _removed(self, router_id: RouterId, epoch: Epoch) -> RouterReport:
        return RouterReport(router_id=router_id, epoch=epoch, state=RouterState.REMOVED)

    def _build(self, router_id: RouterId, epoch: Epoch) -> None:
        started_at, planned_at = self._world.agenda.now, self._planned_at
        self.kernel[router_id] = Presence(epoch, is_built=False, is_guarded=self.plan[router_id].guarded is not None)
        self._world.appeared(self, router_id)
        self._report(RouterReport(router_id=router_id, epoch=epoch, state=RouterState.BUILDING))

        def finish() -> None:
            if router_id in self.broken:
                del self.kernel[router_id]
                self._world.vanished(self, router_id)
                if router_id not in self.plan:
                    self._report(self._removed(router_id, epoch))
                    return
                self._retry_at[router_id] = self._world.agenda.now + RETRY_S
                self._later(RETRY_S, self._work)
                report = RouterReport(router_id=router_id, epoch=epoch, state=RouterState.FAILED, reason="it broke")
            else:
                self.kernel[router_id].is_built = True
                self._retry_at.pop(router_id, None)
                built_ms = 1000 * (self._world.agenda.now - planned_at)
                times = BuildTimes(
                    started_ms=1000 * (started_at - planned_at),
                    built_ms=built_ms,
                    announced_ms=built_ms,
                    verified_ms=built_ms,
                )
                report = replace(self._state_of(router_id, self.kernel[router_id]), times=times)
            self._report(report)

        self._begin(0.1, finish)

    def _begin(self, takes_s: float, finish: Callable[[], None]) -> None:
        self._is_busy = True

        def over() -> None:
            self._is_busy = False
            finish()
            self._adopt()
            self._work()

        self._later(takes_s * self._world.random.uniform(0.2, 3), over, of_agent=True)

    def _later(self, delay_s: float, what: Callable[[], None], *, of_agent: bool = False) -> None:
        """Do something unless this life is over by then. The sentinel outlives its agent, not its machine."""
        life, boot = self._life, self._boot

        def if_still_there() -> None:
            if self.is_on and self._boot == boot and (not of_agent or self._life == life):
                what()

        self._world.agenda.after(delay_s, if_still_there)
