"""What the planner holds, and the few ways to change it.

The rule: everything that concerns two records at once (a router and the hosts it is bound to, leaves, comes to) is
changed here and nowhere else, so that both sides always agree. `core.invariants` checks that they do.
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf

from gapless.core.effects import Bind, Effect, ExplainRouter, PublishPlan, RecordStep
from gapless.core.fleet import Fleet, Host
from gapless.core.liveness import Silence
from gapless.core.moves import IN_PLAN, AssignmentState, Trigger, after
from gapless.core.routers import RouterRecord
from gapless.core.views import StoredHost, StoredRouter
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.model.plan import Epoch, MoveStep
from gapless.model.router import RouterId


class Ledger:
    """Hosts, routers, and the effects of the event that is being handled."""

    def __init__(self, now: float, hosts: Iterable[StoredHost], routers: Iterable[StoredRouter]) -> None:
        self.now = now
        self.cause = "start"
        self.effects: list[Effect] = []
        self.fleet = Fleet()
        self.routers: dict[RouterId, RouterRecord] = {}
        self._unsettled: set[RouterId] = set()
        self._waiting: set[RouterId] = set()
        self._alarms: list[tuple[float, RouterId]] = []
        self._next_alarm: dict[RouterId, float] = {}
        self.census_due = True
        """Who is heard may have changed, so the brake is to be judged."""
        for host in hosts:
            self.add_host(host.facts, host.incarnation, admin_up=host.admin_up)
        for router in routers:
            self._resume(router)
        self.fleet.changed_plans.clear()  # Nobody is connected yet; whoever connects gets its whole plan.

    def _resume(self, stored: StoredRouter) -> None:
        """A router as the store has it: planned on its host, or still to be let go of by the one before."""
        router = RouterRecord(needs=stored.needs, host=stored.host, epoch=stored.epoch)
        self.routers[router.id] = router
        self.look_at(router.id)
        if stored.host is None:
            return
        router.open_move, router.choice = stored.open_move is not None, stored.choice
        if host := self.fleet.get(stored.host):
            host.bound.add(router.id)
        if stored.leaving_host is None:
            router.state = AssignmentState.PLANNED
            self._plan(router, "it is bound here")
        else:
            router.state = AssignmentState.WITHDRAWING
            self._wait_for(router, stored.leaving_host)

    def add_host(self, facts: HostFacts, incarnation: Incarnation, *, admin_up: bool) -> Host:
        """A host is known from now on. What was bound to its name all along is bound to it."""
        silence = Silence(counted_from=self.now)
        host = self.fleet.add(Host(facts=facts, incarnation=incarnation, admin_up=admin_up, silence=silence))
        for router in self.routers.values():
            if router.host == host.name:
                host.bound.add(router.id)
                self.give_back(router)
            if router.leaving == host.name:
                host.letting_go.add(router.id)
                router.leaving_version = host.plan_version
        return host

    # What is to be looked at

    def look_at(self, *router_ids: RouterId) -> None:
        """Something about these routers changed: see what they wish before the event is over."""
        self._unsettled.update(router_ids)

    def look_again(self) -> None:
        """A host can take more than before: see whether it can take what waits."""
        self._unsettled |= self._waiting

    def waiting_for_a_host(self) -> list[RouterId]:
        """What `look_again` would look at and that waits for nothing else."""
        waiting = (self.routers[router_id] for router_id in sorted(self._waiting))
        return [each.id for each in waiting if each.asked is None and each.state is not AssignmentState.WITHDRAWN]

    def look_later(self, router: RouterRecord, when: float) -> None:
        """Time is what the router waits for. At the first alarm it is looked at and may set the next."""
        if when < self._next_alarm.get(router.id, inf):
            self._next_alarm[router.id] = when
            heappush(self._alarms, (when, router.id))

    def look_at_what_is_due(self) -> None:
        """The time that has passed may be what a router waited for."""
        while self._alarms and self._alarms[0][0] <= self.now:
            when, router_id = heappop(self._alarms)
            if self._next_alarm.get(router_id) == when:
                del self._next_alarm[router_id]
                self.look_at(router_id)

    def take_unsettled(self) -> list[RouterRecord]:
        """The routers to look at, in the order of their ids."""
        ids, self._unsettled = sorted(self._unsettled), set()
        return [self.routers[router_id] for router_id in ids if router_id in self.routers]

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
        if waiting:
            self._waiting.add(router.id)
        else:
            self._waiting.discard(router.id)
        if reason != router.reason:
            router.reason = reason
            cause = router.cause if router.is_wishing else self.cause
            self.emit(ExplainRouter(router_id=router.id, reason=reason, is_stuck=waiting, cause=cause))

    def publish(self) -> None:
        """Send the plans that changed, and note which moves were sent with them."""
        changed, self.fleet.changed_plans = self.fleet.changed_plans, {}
        for name, reason in changed.items():
            host = self.fleet.get(name)
            if host is None or not host.connected:
                continue
            self.emit(PublishPlan(host=name, reason=reason, cause=self.cause))
            sent, host.unsent = sorted(host.unsent), set()
            for router_id in sent:
                router = self.routers[router_id]
                router.sent_at = self.now
                self.record(router, MoveStep.SENT, reason=f"the plan left for {name}")

    # What is bound where

    def bind(self, router: RouterRecord, host: HostName, epoch: Epoch, leaving: HostName | None) -> None:
        """A new binding is stored. `leaving`: a host that has to let go of the router first."""
        self._unplan(router, f"router {router.id} is bound to {host}")
        if old := self.fleet.get(router.host):
            self._unbind(router, old)
        router.host, router.epoch = host, epoch
        router.sent_at, router.fault = None, ""
        if router.state is not AssignmentState.WITHDRAWN:
            router.let_go_at = None
        router.open_move, router.failure_told = True, False
        if new := self.fleet.get(host):
            new.bound.add(router.id)
            self.fleet.changed_standings.add(host)
        if leaving is None:
            router.state = after(router.state, Trigger.BOUND)
            self._end_wait(router)
            self._plan(router, f"router {router.id} is bound here")
        else:
            router.state = after(router.state, Trigger.BOUND_AWAY)
            self._wait_for(router, leaving)
            if router.removed_from == leaving:
                self.let_go(router, confirmed=True)

    def withhold(self, router: RouterRecord) -> None:
        """It is being bound away from a dead host: should that one return now, it must not build it any more."""
        self._unplan(router, f"router {router.id} is being moved away")

    def give_back(self, router: RouterRecord) -> None:
        """What was asked could not be stored: the router is its host's as before."""
        if router.state in IN_PLAN and not router.is_withheld:
            host = self.fleet.get(router.host)
            if host is not None and router.id not in host.plan:
                self._plan(router, f"router {router.id} stays here")

    def let_go(self, router: RouterRecord, *, confirmed: bool) -> None:
        """The host that the router leaves has nothing left of it (`confirmed`), or is gone."""
        router.state = after(router.state, Trigger.LET_GO)
        router.let_go_at = self.now if confirmed else None
        self.look_at(router.id)

    def hand_over(self, router: RouterRecord) -> None:
        """It is stored that the old host has let go: the new one may have the router."""
        router.state = after(router.state, Trigger.WITHDRAWAL_STORED)
        self._end_wait(router)
        self._plan(router, f"router {router.id} has left its old host")

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
            self.look_at(*old.bound)

    def remove(self, router: RouterRecord) -> None:
        """The router does not exist any more."""
        self._unplan(router, f"router {router.id} was deleted")
        self._end_wait(router)
        self.end_drain(router)
        if host := self.fleet.get(router.host):
            self._unbind(router, host)
        self.end_coming(router)
        self._waiting.discard(router.id)
        del self.routers[router.id]

    def end_coming(self, router: RouterRecord) -> None:
        """It is known how the storing of its new binding went, or that does not matter any more."""
        if isinstance(router.asked, Bind) and (target := self.fleet.get(router.asked.host)):
            was_full = target.is_full
            target.coming.discard(router.id)
            self._freed(target, was_full)

    def _unbind(self, router: RouterRecord, host: Host) -> None:
        was_full = host.is_full
        host.bound.discard(router.id)
        self.fleet.changed_standings.add(host.name)
        self._freed(host, was_full)

    def _freed(self, host: Host, was_full: bool) -> None:
        """A host carries one less: if it was full, something that waits may fit now."""
        if was_full and not host.is_full:
            self.look_again()

    def _plan(self, router: RouterRecord, reason: str) -> None:
        assert router.host is not None
        router.removed_from = None
        unsent = router.open_move and router.sent_at is None
        self.fleet.plan(router.host, router.id, router.epoch, reason=reason, unsent=unsent)

    def _unplan(self, router: RouterRecord, reason: str) -> None:
        old = self.fleet.get(router.host)
        if old is not None and router.id in old.plan:
            self.fleet.unplan(router.host, router.id, reason=reason)
            router.dropped_version = old.plan_version

    def _wait_for(self, router: RouterRecord, leaving: HostName) -> None:
        if router.leaving == leaving:
            return  # It has been asked to let go already: what it says to that still counts.
        self._end_wait(router)
        router.leaving = leaving
        if old := self.fleet.get(leaving):
            old.letting_go.add(router.id)
            self.fleet.changed_standings.add(old.name)
            router.leaving_version = old.plan_version

    def _end_wait(self, router: RouterRecord) -> None:
        if old := self.fleet.get(router.leaving):
            old.letting_go.discard(router.id)
            self.fleet.changed_standings.add(old.name)
        router.leaving = None
