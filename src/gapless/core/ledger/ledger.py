"""What the planner holds, and the few ways to change it.

The rule: everything that concerns two records at once (a router and the hosts it is bound to, leaves, comes to) is
changed here and nowhere else, so that both sides always agree. `ledger.invariants` checks that they do. What is to be
looked at because of a change is noted in `looks`.
"""

from collections.abc import Iterable
from dataclasses import replace

from gapless.core.effects import Bind, Effect, ExplainRouter, PublishPlan, RecordStep
from gapless.core.ledger.burials import Burials
from gapless.core.ledger.duties import duties
from gapless.core.ledger.fleet import Fleet, Host
from gapless.core.ledger.liveness import Silence
from gapless.core.ledger.looks import Looks
from gapless.core.ledger.moves import AssignmentState, Trigger, after
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right, RightState
from gapless.core.ledger.succession import Trigger as RightTrigger
from gapless.core.ledger.tenures import Tenures
from gapless.core.ledger.trials import Trials
from gapless.core.ledger.views import StoredHost, StoredRouter, StoredWord
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.model.lease import NOBODY, Tenure
from gapless.model.plan import Epoch, MoveKind, MoveStep
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
        if host := self.fleet.get(stored.host):
            host.bound.add(router.id)
        for each in stored.successors:
            self._add_right(router, Right(tenure=each.tenure, epoch=each.epoch, state=RightState.GIVEN))
        if stored.leaving_host is None:
            router.state = AssignmentState.PLANNED
        else:
            router.state = AssignmentState.WITHDRAWING
            router.succession.leaving = stored.leaving_incarnation
            router.leaving = stored.leaving_host
            if stored.leaving_incarnation is not None:
                router.succession.former = stored.leaving_host
            if stored.open_move is MoveKind.DRAIN and (old := self.fleet.get(stored.leaving_host)) is not None:
                self.begin_drain(router, old)
        self.sync(router, "it is bound here")
        self._expect_from(router)

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
                host.bound.add(router.id)
                self._count_shares(router, 1)
            if router.succession.right_of(host.name) is not None:
                host.standbys.add(router.id)
            if host.name in (router.host, router.leaving, *router.planned_on):
                self.sync(router, f"router {router.id} stays here")
            if router.leaving == host.name:
                self._expect_from(router)
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

    def record(self, router: RouterRecord, step: MoveStep, *, ago_s: float = 0.0, reason: str = "") -> None:
        """A step of the move that brought the router to its epoch is over."""
        self.emit(
            RecordStep(
                router_id=router.id,
                epoch=router.epoch,
                step=step,
                ago_s=ago_s,
                reason=reason,
                cause=router.cause or self.cause,
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

    # What is bound where

    def bind(self, router: RouterRecord, bind: Bind) -> None:
        """A new binding is stored, maybe with a host that has to let go of the router first."""
        succession, came_from, had_stayed = router.succession, router.host, router.succession.stays_at is not None
        succession.lost = []
        self._use_rights(router, bind)
        self._count_shares(router, -1)
        lacked_since = None
        if old := self.fleet.get(router.host):
            self._unbind(router, old)
            lacked_since = router.dropped_version if router.id not in old.plan.duties else None
        if came_from != bind.host:
            router.dropped_version = None
        router.host, router.epoch = bind.host, bind.epoch
        router.sent_at, router.fault, succession.lost_at, succession.stays_at = None, "", None, None
        if router.state is not AssignmentState.WITHDRAWN:
            router.let_go_at = None
        router.open_move, router.failure_told = True, False
        was_guarded, succession.covered = succession.covered is not None, bind.incarnation
        succession.told = frozenset()
        took, bound = succession.took, Tenure(bind.host, bind.incarnation or NOBODY)
        has_it = took is not None and (took.by, took.epoch) == (bound, bind.epoch)
        if took is not None and took.epoch <= bind.epoch:
            succession.took = None
        if new := self.fleet.get(bind.host):
            new.bound.add(router.id)
            self.fleet.changed_standings.add(bind.host)
        self._count_shares(router, 1)
        if was_guarded and bind.incarnation is not None and came_from != bind.host:
            # It has the router built: that is worth keeping until a standby is there.
            succession.former = bind.leaving_host or came_from
        elif succession.former == bind.host or bind.incarnation is None:
            succession.former = None
        if bind.leaving_host is None:
            router.state = after(router.state, Trigger.BOUND)
            self._end_wait(router)
        else:
            router.state = after(router.state, Trigger.BOUND_AWAY)
            if router.leaving != bind.leaving_host:
                self._end_wait(router)
                router.leaving = bind.leaving_host
            succession.leaving, succession.has_arrived = bind.leaving_incarnation, has_it
        here = f"router {router.id} is bound here"
        self.sync(router, here, f"router {router.id} is bound to {bind.host}")
        self._expect_from(router, lacked_since if router.leaving == came_from else None)
        if had_stayed:  # Plans between gave it to the host that it leaves: not open by one of those, it may be yet.
            router.leaving_version = self.fleet.plan_version(router.leaving) if router.leaving is not None else 0

    def withhold(self, router: RouterRecord) -> None:
        """It is being bound away from a dead host: should that one return now, it must not build it any more."""
        self.sync(router, "", f"router {router.id} is being moved away")

    def give_back(self, router: RouterRecord) -> None:
        """What was asked could not be stored: the router is its host's as before."""
        self.sync(router, f"router {router.id} stays here")

    def let_go(self, router: RouterRecord, *, confirmed: bool) -> None:
        """The host that the router leaves has nothing left of it (`confirmed`), or is gone."""
        router.state = after(router.state, Trigger.LET_GO)
        router.let_go_at = self.now if confirmed else None
        router.succession.stays_at = None
        self.sync(router, f"router {router.id} is closed here")
        self.looks.at(router.id)

    def stay(self, router: RouterRecord, epoch: Epoch) -> None:
        """The host that it goes to is over, and the one that it leaves has it open at this epoch: that one keeps it."""
        if router.succession.stays_at != epoch:
            router.succession.stays_at = epoch
            self.sync(router, f"router {router.id} stays here: {router.host} is over")

    def arrived(self, router: RouterRecord) -> None:
        """The new host has it open: the old one released it, or is over. That it has let go is still to be stored."""
        router.succession.has_arrived = True
        self.sync(router, f"it has router {router.id} open already")

    def hand_over(self, router: RouterRecord) -> None:
        """It is stored that the old host has let go: the new one may have the router."""
        router.state = after(router.state, Trigger.WITHDRAWAL_STORED)
        self._end_wait(router)
        self.sync(router, f"router {router.id} has left its old host")

    def see(self, router: RouterRecord, trigger: Trigger) -> bool:
        """Its host says how it is; whether that is news."""
        before, router.state = router.state, after(router.state, trigger)
        return router.state is not before

    def begin_drain(self, router: RouterRecord, old: Host) -> None:
        """It is leaving a host out of service: one of the few at a time that may."""
        router.drained_from = old.name
        old.drains.add(router.id)

    def end_drain(self, router: RouterRecord) -> None:
        """How the router's leaving of a host out of service went is known: the next one may leave."""
        old = self.fleet.get(router.drained_from)
        router.drained_from = None
        if old is not None:
            old.drains.discard(router.id)
            self.looks.at(*old.bound)

    def remove(self, router: RouterRecord) -> None:
        """The router does not exist any more."""
        for name in sorted(router.planned_on):
            self._unplan(router, name, f"router {router.id} was deleted")
        for right in list(router.succession.rights):
            self._remove_right(router, right)
        self._end_wait(router)
        self.end_drain(router)
        if host := self.fleet.get(router.host):
            self._unbind(router, host)
        self.end_coming(router)
        self.looks.forget(router.id)
        del self.routers[router.id]

    def end_coming(self, router: RouterRecord) -> None:
        """It is known how the storing of its new binding went, or that does not matter any more."""
        if isinstance(router.asked, Bind) and (target := self.fleet.get(router.asked.host)):
            was_full = target.is_full
            target.coming.discard(router.id)
            self._freed(target, was_full)

    # Who may succeed

    def choose_standby(self, router: RouterRecord, host: Host, *, keep_former: bool) -> None:
        """It is to be the router's last standby; that is being stored, and it may build already. `keep_former`: another
        that has it built may be the next one.
        """
        succession = router.succession
        right = Right(tenure=host.tenure, epoch=succession.next_epoch(router.epoch))
        right.step(RightTrigger.CHOSEN)
        if succession.former == host.name or not keep_former:
            succession.former = None
        self._add_right(router, right)
        self.sync(router, f"it is to stand by for router {router.id}", f"router {router.id} has a standby elsewhere")

    def give_right(self, router: RouterRecord, right: Right) -> None:
        """It is stored that this host may succeed."""
        right.step(RightTrigger.STORED)
        self.sync(router, f"it may succeed {router.host} with router {router.id}")

    def take_right(self, router: RouterRecord, right: Right) -> None:
        """This host must not succeed any more; as soon as it says that it knows, somebody else may instead."""
        right.step(RightTrigger.TAKE)
        self.sync(router, f"it must not succeed {router.host} with router {router.id} any more")
        if host := self.fleet.get(right.tenure.host):
            right.taken_version = host.plan.version

    def end_right(self, router: RouterRecord, right: Right) -> None:
        """The host has lost the right for certain. It may keep the router built until there is another."""
        succession = router.succession
        others = [each for each in succession.lost if each.tenure.host != right.tenure.host]
        succession.lost = [*others, replace(right)]
        right.step(RightTrigger.ENDED)
        if len(succession.rights) > 1:
            succession.lost_at = None  # Those behind it may take over only now, and say so later.
        self.sync(router, f"it must not succeed {router.host} with router {router.id} any more")

    def drop_right(self, router: RouterRecord, right: Right, trigger: RightTrigger) -> None:
        """It is stored that this host may not succeed (any more)."""
        succession = router.succession
        former = self.fleet.get(succession.former)
        may_go_back = router.open_move and former is not None and former.silence.is_alive
        # The host that it leaves has it built, and has still to release it, or may have to have it back.
        if succession.leaving is None and not may_go_back:
            succession.former = right.tenure.host
        right.step(trigger)
        self._remove_right(router, right)
        who = right.tenure.host if succession.rights else "nobody"
        how = "may not succeed" if succession.rights else "succeeds"
        self.sync(router, f"{who} {how} {router.host} with router {router.id}")

    def forget_takeover(self, router: RouterRecord) -> None:
        """Who took over is over before that could be stored: it has a right that has ended, as if nobody had heard."""
        router.succession.took = None
        self.sync(router, f"router {router.id} was taken over by a host that is over")

    def cover(self, router: RouterRecord, incarnation: Incarnation | None) -> None:
        """It is stored that the router is guarded on its host, or is not any more."""
        router.succession.covered = incarnation
        if incarnation is None:
            router.succession.former = None
        self.sync(router, f"router {router.id} is {'not ' if incarnation is None else ''}guarded")

    def drop_former(self, router: RouterRecord) -> None:
        """The former active host need not keep it built any more."""
        router.succession.former = None
        self.sync(router, "", f"router {router.id} needs no other host")

    def _use_rights(self, router: RouterRecord, bind: Bind) -> None:
        """Whose right it was, has it no more, nor have those before, whose tenures are over. Those behind keep theirs:
        they wait for the new host as well, and did before.
        """
        for right in list(router.succession.rights):
            if right.tenure.host == bind.host:
                right.step(RightTrigger.PROMOTED)
            if right.epoch <= bind.epoch:
                self._remove_right(router, right)

    def _add_right(self, router: RouterRecord, right: Right) -> None:
        """The last in rank. Keep every host's counts right."""
        self._count_shares(router, -1)
        router.succession.rights.append(right)
        self._count_shares(router, 1)
        if host := self.fleet.get(right.tenure.host):
            host.standbys.add(router.id)
            host.preparing.add(router.id)

    def _remove_right(self, router: RouterRecord, right: Right) -> None:
        """Those behind it move up. Keep every host's counts right."""
        self._count_shares(router, -1)
        router.succession.rights.remove(right)
        self._count_shares(router, 1)
        if host := self.fleet.get(right.tenure.host):
            was_full = host.is_full
            host.standbys.discard(router.id)
            host.preparing.discard(router.id)
            self._freed(host, was_full)

    def _count_shares(self, router: RouterRecord, by: int) -> None:
        """To whom the router falls, should its host die, and standbys with it."""
        if home := self.fleet.get(router.host):
            for share in router.succession.shares:
                home.shares[share] += by

    def _unbind(self, router: RouterRecord, host: Host) -> None:
        was_full = host.is_full
        host.bound.discard(router.id)
        self.fleet.changed_standings.add(host.name)
        self._freed(host, was_full)

    def _freed(self, host: Host, was_full: bool) -> None:
        """A host carries one less: if it was full, something that waits may fit now."""
        if was_full and not host.is_full:
            self.looks.again()

    def _expect_from(self, router: RouterRecord, lacked_since: int | None = None) -> None:
        """The host that the router leaves is asked to let go: by its newest plan, or, where the router was withheld
        from that host, by the first one without it.
        """
        old = self.fleet.get(router.leaving)
        if old is not None and router.id not in old.letting_go:  # Else what it says to that plan still counts.
            old.letting_go.add(router.id)
            self.fleet.changed_standings.add(old.name)
            router.leaving_version = lacked_since or old.plan.version

    def _end_wait(self, router: RouterRecord) -> None:
        if old := self.fleet.get(router.leaving):
            old.letting_go.discard(router.id)
            self.fleet.changed_standings.add(old.name)
        router.leaving, router.succession.leaving, router.succession.has_arrived = None, None, False
