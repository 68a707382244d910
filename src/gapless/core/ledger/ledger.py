"""What the planner holds, and the few ways to change it.

The rule: everything that concerns two records at once (a router and the hosts it is bound to, leaves, comes to) is
changed in this package and nowhere else, so that both sides always agree: here as far as hosts and routers come and go,
bindings by `ledger.bindings`, rights by `ledger.successors`, what hosts count of both by `ledger.counts`. Whatever
changes, `sync` brings every plan to it. `ledger.invariants` checks that all agree. What is to be looked at because of a
change is noted in `looks`.
"""

from collections.abc import Iterable

from gapless.core.effects import Effect, ExplainRouter, PublishPlan, RecordStep
from gapless.core.ledger.burials import Burials
from gapless.core.ledger.counts import Counts
from gapless.core.ledger.duties import duties
from gapless.core.ledger.fleet import Fleet, Host
from gapless.core.ledger.liveness import Silence
from gapless.core.ledger.looks import Looks
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right, RightState
from gapless.core.ledger.tenures import Tenures
from gapless.core.ledger.trials import Trials
from gapless.core.ledger.views import StoredHost, StoredRouter, StoredWord
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import MoveKind, MoveStep
from gapless.model.router import RouterId


class Ledger:
    """Hosts, routers, and the effects of the event that is being handled."""

    def __init__(
        self,
        now: float,
        hosts: Iterable[StoredHost],
        routers: Iterable[StoredRouter],
        burials: Burials | None = None,
        words: Iterable[StoredWord] = (),
    ) -> None:
        self.now = now
        self.cause = "start"
        self.effects: list[Effect] = []
        self.fleet = Fleet()
        self.burials = burials or Burials()
        self.routers: dict[RouterId, RouterRecord] = {}
        self.looks = Looks()
        self.counts = Counts(self.fleet, self.looks)
        self.trials = Trials()
        self.census_due = True
        """Who is heard may have changed, so the brake is to be judged."""
        self.off: set[HostName] = set()
        """Hosts that an operator confirmed to be off, and that were not heard since; also such as are not known."""
        self.is_panel_lost = False
        """It has to begin anew, or that is being stored: no lease counts that is heard of now."""
        for word in words:
            self.burials.bury(Tenure(word.host, word.up_to))
            if word.is_off:
                self.off.add(word.host)
        for stored in hosts:
            host = self.add_host(stored.facts, stored.incarnation, admin_up=stored.admin_up)
            if stored.drains_at_once is not None:
                host.drains_at_once = stored.drains_at_once
        for router in routers:
            self._resume(router)
        self.fleet.changed_plans.clear()  # Nobody is connected yet; whoever connects gets its whole plan.

    def _resume(self, stored: StoredRouter) -> None:
        """A router as the store has it: planned on its host, or still to be let go of by the one before."""
        router = RouterRecord(needs=stored.needs, host=stored.host, epoch=stored.epoch)
        self.routers[router.id] = router
        self.looks.at(router.id)
        if stored.host is None:
            return
        router.open_move, router.choice = stored.open_move is not None, stored.choice
        router.succession.covered = stored.incarnation
        self.counts.bound(router)
        for each in stored.successors:
            self.counts.add_right(router, Right(tenure=each.tenure, epoch=each.epoch, state=RightState.GIVEN))
        if stored.leaving_host is None:
            router.state = AssignmentState.PLANNED
        else:
            router.state = AssignmentState.WITHDRAWING
            router.succession.leaving = stored.leaving_incarnation
            router.leaving = stored.leaving_host
            if stored.leaving_incarnation is not None:
                router.succession.former = stored.leaving_host
            if stored.open_move is MoveKind.DRAIN and (old := self.fleet.get(stored.leaving_host)) is not None:
                self.counts.begin_drain(router, old)
        self.sync(router, "it is bound here")
        self.counts.expect_from(router)

    def add_host(self, facts: HostFacts, incarnation: Incarnation, *, admin_up: bool) -> Host:
        """A host is known from now on. What was bound to its name all along is bound to it."""
        silence, tenures = Silence(counted_from=self.now), Tenures(incarnation=incarnation)
        host = self.fleet.add(Host(facts=facts, tenures=tenures, admin_up=admin_up, silence=silence))
        host.tenures.bury(self.burials.up_to(host.name))
        host.lease.must_follow = self.is_panel_lost
        if host.name in self.off:
            self.confirm_off(host.name)
        for router in self.routers.values():
            if router.host == host.name:
                self.counts.bound(router)
            if router.succession.right_of(host.name) is not None:
                host.standbys.add(router.id)
            if host.name in (router.host, router.leaving, *router.planned_on):
                self.sync(router, f"router {router.id} stays here")
            if router.leaving == host.name:
                self.counts.expect_from(router)
        return host

    def confirm_off(self, name: HostName) -> None:
        """An operator has made sure that this machine is off; so it is until it is heard."""
        self.off.add(name)
        if host := self.fleet.get(name):
            host.is_off = True
            host.silence.confirm()
            self.fleet.changed_standings.add(name)
            self.looks.at(*host.concerned)
        self.census_due = True

    def is_back(self, host: Host) -> None:
        """A host is heard that was confirmed to be off."""
        self.off.discard(host.name)
        host.is_off = False

    def remove(self, router: RouterRecord) -> None:
        """The router does not exist any more."""
        for name in sorted(router.planned_on):
            self._unplan(router, name, f"router {router.id} was deleted")
        for right in list(router.succession.rights):
            self.counts.remove_right(router, right)
        self.counts.end_wait(router)
        self.counts.end_drain(router)
        self.counts.unbound(router)
        self.counts.end_coming(router)
        self.looks.forget(router.id)
        del self.routers[router.id]

    # What is to be looked at

    def take_unsettled(self) -> list[RouterRecord]:
        """The routers to look at, in the order of their ids."""
        return [self.routers[router_id] for router_id in self.looks.take() if router_id in self.routers]

    def waiting_for_a_host(self) -> list[RouterId]:
        """What waits for a host, and for nothing else, such as the store."""
        waiting = (self.routers[router_id] for router_id in self.looks.waiting_for_a_host())
        return [
            each.id
            for each in waiting
            if each.asked is None and each.state is not AssignmentState.WITHDRAWN and not each.store.waiting(self.now)
        ]

    # What is said

    def emit(self, effect: Effect) -> None:
        """Ask the shell for something."""
        self.effects.append(effect)

    def record(
        self,
        router: RouterRecord,
        step: MoveStep,
        *,
        ago_s: float = 0.0,
        reason: str = "",
        counts_from_plan: bool = False,
    ) -> None:
        """A step of the move that brought the router to its epoch is over."""
        self.emit(
            RecordStep(
                router_id=router.id,
                epoch=router.epoch,
                step=step,
                ago_s=ago_s,
                reason=reason,
                cause=router.cause or self.cause,
                counts_from_plan=counts_from_plan,
            )
        )

    def explain(self, router: RouterRecord, reason: str, *, waiting: bool = False) -> None:
        """What the router waits for; said once, until it changes. `waiting`: for a host that can take it."""
        self.looks.wait_for_a_host(router.id, waits=waiting)
        if reason != router.reason:
            router.reason = reason
            cause = router.cause if router.is_wishing else self.cause
            self.emit(ExplainRouter(router_id=router.id, reason=reason, is_stuck=waiting, cause=cause))

    def publish(self) -> None:
        """Send the plans that changed, and note which moves were sent with them."""
        changed, self.fleet.changed_plans = self.fleet.changed_plans, {}
        for name, reason in changed.items():
            host = self.fleet.get(name)
            if host is None or not host.link.is_open:
                continue
            self.emit(PublishPlan(host=name, reason=reason, cause=self.cause))
            for router_id in host.plan.take_unsent():
                router = self.routers[router_id]
                router.sent_at = self.now
                self.record(router, MoveStep.SENT, reason=f"the plan left for {name}")

    # Plans

    def sync(self, router: RouterRecord, gained: str, lost: str = "") -> None:
        """Bring every host's plan to the router's duties. `gained` and `lost`: why, for those whose plan changes."""
        wanted = duties(router, self.fleet)
        for name in sorted(router.planned_on - wanted.keys()):
            self._unplan(router, name, lost or gained)
        for name, duty in wanted.items():
            unsent = name == router.host and router.open_move and router.sent_at is None and not duty.is_standby
            if self.fleet.plan(name, router.id, duty, reason=gained, unsent=unsent) and name == router.host:
                router.planned_version = self.fleet.plan_version(name)
        router.planned_on = set(wanted)
        if router.host in wanted:
            router.removed_from = None

    def lease_changed(self, host: Host) -> None:
        """What the host may guard is otherwise than before."""
        for router_id in sorted(host.bound):
            router = self.routers[router_id]
            if not router.is_guarded:
                self.sync(router, f"router {router_id} is guarded otherwise than before")
        self.looks.at(*host.concerned)

    def panel_changed(self, reason: str) -> None:
        """Every host has to hear of the arbiters, or of where another host is reached."""
        for host in self.fleet:
            host.plan.change_panel()
            self.fleet.changed_plans.setdefault(host.name, reason)

    def panel_lost(self) -> None:
        """Nothing is planned for a lease before its host follows the panel that begins anew."""
        self.is_panel_lost = True
        for host in self.fleet:
            host.lease.must_follow = True
            self.lease_changed(host)

    def panel_found(self, *, begins_anew: bool) -> None:
        """It has begun anew; or it need not, since a host was heard that was confirmed to be off."""
        self.is_panel_lost = False
        for host in self.fleet:
            if not begins_anew:
                self.follows_anew(host)

    def follows_anew(self, host: Host) -> None:
        """A host's guard works from the panel that began anew: what lease it held by the one before is over."""
        host.lease.must_follow = False
        self.lease_changed(host)
        self.looks.again()

    def _unplan(self, router: RouterRecord, name: HostName, reason: str) -> None:
        succession, duty = router.succession, self.fleet.unplan(name, router.id, reason=reason)
        succession.said.pop(name, None)
        if duty is not None and duty.is_standby:
            succession.withdrawn = max(succession.withdrawn, duty.epoch)
        if name == router.host and (home := self.fleet.get(name)):
            router.dropped_version = home.plan.version
