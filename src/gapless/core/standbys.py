"""What happens to a guarded router: who is active, who may succeed, and what that waits for.

The rule: as in `core.wishes`, everything follows from levels. One look at a router (`settle`) does at most one thing,
and what it begins leads to the next look. In the order in which it looks:

    1. A successor took over: that is true, so it is stored (TAKEOVER).
    2. It leaves a host: that has to close it, or to be over (`core.binding`).
    3. A right was taken: that it is nobody's is stored. A right is being taken: its holder has to acknowledge.
    4. It need not be guarded any more: first nobody may succeed, then the guard goes.
    5. Its host is over, and nobody took over: the standby that has it built, or the same host in its new incarnation
       (RESTART), or, when that host is dead, any other (RESCHEDULE).
    6. Its host is dead or leaseless, as far as the controller hears: whoever may succeed does so by itself. Until then
       the arbiters are asked whether that host is over.
    7. It should leave its host (MANUAL, RETRY, DRAIN): once a standby that suits has it built, and to that one.
    8. It should have a standby that suits: somebody else gets the right, after it was taken from the one before.

The invariant: `core.succession`. No host loses a router but by its own word or by being over, and nobody gets one
before; whatever is decided here, it is a matter of order only.
"""

from gapless.core import guards, reports
from gapless.core.binding import Binding
from gapless.core.effects import Bind, StoreSuccession
from gapless.core.events import SuccessionFailed, SuccessionStored
from gapless.core.fleet import Host
from gapless.core.ledger import Ledger
from gapless.core.liveness import Standing
from gapless.core.moves import LEAVING, AssignmentState
from gapless.core.placement import StandbyPlacing, misfit, objection
from gapless.core.routers import RouterRecord
from gapless.core.succession import RightState, TookOver, Trigger
from gapless.core.wishes import Beliefs, Stay, Wish, homeless, moving, stays_on_tour
from gapless.model.host import Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, MoveKind, RouterState
from gapless.model.router import FailoverMode

CALM_S = 10.0
"""After a takeover nothing is built for so long, neither on the host that took over nor for the router: a host whose
guard only hiccuped is back by then, with everything built."""
NEWS_S = 1.0
"""How much later than the news that a host is over the successor's own news may come, of what it took over: one host
has several successors, and each says so by itself."""
DRAINS_AT_ONCE = 4
"""Routers that may be on their way from one host out of service; an agent builds about as many in parallel."""

Answer = Stay | Wish | None
"""None: something is under way, and says itself what."""


class Standbys:
    """Decides for guarded routers, and begins what it decides."""

    def __init__(self, ledger: Ledger, binding: Binding) -> None:
        self._ledger = ledger
        self._binding = binding
        self._placing: StandbyPlacing | None = None

    def begin_turn(self) -> None:
        """What hosts can do may have changed."""
        self._placing = None

    def settle(self, router: RouterRecord, beliefs: Beliefs) -> Answer:
        """Look at a guarded router for which nothing is being stored."""
        reports.assess(self._ledger, router)
        self._note_what_ended(router)
        succession = router.succession
        if succession.took is not None:
            return self._store_takeover(router, succession.took)
        if router.state in LEAVING:
            return self._leave(router, beliefs)
        if succession.state is RightState.TAKEN:
            return self._store(router, succession.covered, None, "its standby has lost the right to succeed")
        if succession.state is RightState.TAKING:
            return self._wait_for_standby(router, beliefs)
        if router.needs.mode is not FailoverMode.STANDBY:
            return self._uncover(router, beliefs)
        if self._is_over(self._bound(router)):
            return self._replace(router, beliefs)
        home = self._ledger.fleet.get(router.host)
        if home is None or home.is_dead or home.is_leaseless or home.incarnation != succession.covered:
            return self._wait_for_successor(router, home, beliefs)
        if (wish := moving(router, home)) is not None:
            return self._move(router, home, wish, beliefs) if isinstance(wish, Wish) else wish
        return self._keep_standby(router, home, beliefs)

    def cover(self, router: RouterRecord) -> bool:
        """A classic router that is to be a guarded one: once its host guards it, that is stored. Whether it is."""
        home = self._ledger.fleet.get(router.host)
        if router.needs.mode is not FailoverMode.STANDBY or home is None or home.inability:
            return False
        duty = home.plan.get(router.id)
        if duty is None or duty.guarded is None:
            return False
        if home.guard_version < router.planned_version:
            home.owing.add(router.id)
            return False
        if not self._is_said_to_be_guarded(home, router):
            return False
        self._store(router, duty.guarded.incarnation, None, f"{home.name} guards it now")
        return True

    def _is_said_to_be_guarded(self, home: Host, router: RouterRecord) -> bool:
        """Before its host says so, its taps may pass frames without a lease: nobody may succeed it."""
        said = router.succession.said.get(home.name)
        return said is not None and said.epoch == router.epoch and said.guarded

    # 1 to 3. What is true already, and only has to be stored

    def _store_takeover(self, router: RouterRecord, took: TookOver) -> Answer:
        if (retry_at := router.store.waits_until("bind", self._ledger.now)) is not None:
            self._ledger.look_later(router, retry_at)
            return None
        target, home = self._ledger.fleet.get(took.by.host), self._ledger.fleet.get(router.host)
        if target is None:
            return Stay(reason=f"{took.by.host} took over, and was deleted by an operator")
        router.cause = self._ledger.cause
        router.succession.calm_until = target.calm_until = self._ledger.now + CALM_S
        decided_ms = 0.0 if took.times is None else (took.times.claimed_ms or took.times.buried_ms)
        bind = Bind(
            router_id=router.id,
            host=target.name,
            epoch=took.epoch,
            previous_host=router.host,
            leaving_host=None,
            kind=MoveKind.TAKEOVER,
            silent_s=None,
            choice=f"{target.name} stood by for it",
            reason=f"{target.name} took over router {router.id}: the lease of {self._bound(router)} is over",
            cause=router.cause,
            incarnation=took.by.incarnation,
            decided_ago_s=guards.ago_s(self._ledger, took, decided_ms),
        )
        if home is not None:
            self._ledger.end_drain(router)
        self._binding.ask_for(router, bind, target)
        return None

    def _leave(self, router: RouterRecord, beliefs: Beliefs) -> Answer:
        """Wait until the old host has closed it, or is over."""
        succession, leaving = router.succession, router.leaving
        assert leaving is not None
        old = self._ledger.fleet.get(leaving)
        if router.state is AssignmentState.WITHDRAWING and succession.leaving is not None:
            if self._is_over(Tenure(leaving, succession.leaving)):
                self._ledger.let_go(router, confirmed=False)
            elif old is not None and self._has_closed(old, router, succession.leaving, router.leaving_version):
                self._ledger.let_go(router, confirmed=True)
        if self._binding.settle_withdrawal(router):
            return None
        if succession.leaving is None:
            return Stay(reason=f"waits until {leaving} says that nothing of it is left there")
        if old is None or old.is_dead or old.is_leaseless or old.incarnation != succession.leaving:
            self._ask_whether_over(Tenure(leaving, succession.leaving), router, beliefs)
        elif self._is_over(self._bound(router)) and not old.inability:
            return self._go_back(router, old, succession.leaving)
        return Stay(reason=f"waits until {leaving} has closed it, or its lease is over")

    def _go_back(self, router: RouterRecord, old: Host, incarnation: Incarnation) -> Answer:
        """The host that it was going to is over; the one that it was leaving still has it."""
        wish = Wish(
            kind=MoveKind.RETRY,
            reason=f"Router {router.id} stays on {old.name}, since {router.host} restarted before it had it",
            lament="",
        )
        return self._bind(router, wish, old, incarnation, f"{old.name} still has it")

    def _note_what_ended(self, router: RouterRecord) -> None:
        """See whether the standby has lost its right for certain."""
        succession = router.succession
        standby = succession.standby
        if standby is None or succession.took is not None:
            return
        if succession.state not in (RightState.GIVEN, RightState.TAKING):
            return
        host = self._ledger.fleet.get(standby.host)
        is_closed = (
            succession.state is RightState.TAKING
            and host is not None
            and self._has_closed(host, router, standby.incarnation, succession.taken_version)
        )
        if is_closed or (self._is_over(standby) and not self._may_come_back(router, host)):
            self._ledger.end_right(router)

    def _may_come_back(self, router: RouterRecord, host: Host | None) -> bool:
        """Whether a right that is over is worth leaving as it is: a standby that was fenced is back in a moment, with
        everything built. Not when the router waits for it.
        """
        is_calm = router.succession.state is RightState.GIVEN and not self._is_over(self._bound(router))
        return is_calm and host is not None and host.is_between_leases

    def _wait_for_standby(self, router: RouterRecord, beliefs: Beliefs) -> Stay:
        standby = router.succession.standby
        assert standby is not None
        host = self._ledger.fleet.get(standby.host)
        if host is None or host.is_dead or host.is_leaseless or host.incarnation != standby.incarnation:
            self._ask_whether_over(standby, router, beliefs)
        return Stay(reason=f"waits until {standby.host} says that it will not succeed {router.host} any more")

    # 4. Back to a classic router

    def _uncover(self, router: RouterRecord, beliefs: Beliefs) -> Answer:
        succession, bound = router.succession, self._bound(router)
        if succession.state is RightState.GIVEN:
            return self._take(router)
        home = self._ledger.fleet.get(router.host)
        if self._is_over(bound) or (home is not None and not home.inability and home.is_of(bound.incarnation)):
            return self._store(router, None, None, "it need not be guarded any more")
        if home is None or home.is_dead:
            self._ask_whether_over(bound, router, beliefs)
        return Stay(reason=f"waits for {router.host}, which guards it still, or until that host's lease is over")

    # 5. Its host is over, and nobody took over

    def _replace(self, router: RouterRecord, beliefs: Beliefs) -> Answer:
        succession, home = router.succession, self._ledger.fleet.get(router.host)
        over = f"{self._bound(router)} is over and nobody is known to have taken over"
        wish = Wish(
            kind=MoveKind.RESTART,
            reason=f"Router {router.id} is made active anew, since {over}",
            lament=f"{router.host} restarted, and no host can take it",
            is_urgent=True,
        )
        if (standby := self._ready_standby(router)) is not None:
            since = self._over_since(router)
            if self._ledger.now < since + NEWS_S:
                self._ledger.look_later(router, since + NEWS_S)
                return Stay(
                    reason=f"{self._bound(router)} is over; {standby.name}, which may succeed it, is about to say"
                )
            return self._bind(router, wish, standby, standby.leased, f"{standby.name} stands by for it")
        if home is not None and not (home.inability or misfit(home, router.needs)):
            # Even if it is out of service: it leaves from there as it would have.
            if succession.state is RightState.GIVEN:
                return self._take(router)
            return self._bind(router, wish, home, home.leased, f"{home.name} is back, and has it built or builds it")
        if succession.standby is not None:
            return self._wait_for_standby_to_build(router, succession.standby, beliefs)
        if home is not None and home.is_dead and beliefs.braked:
            return Stay(reason=f"{home.name} looks dead, but the brake is engaged: nothing moves for silence")
        if home is None or home.is_dead:
            return homeless(router, home, beliefs)
        return self._wait_for_return(router, home, wish)

    def _wait_for_return(self, router: RouterRecord, home: Host, wish: Wish) -> Answer:
        """A host that is alive has the router built, so it gets a while to hold its lease again."""
        now = self._ledger.now
        until = self._over_since(router) + CALM_S
        if home.silence.standing is Standing.ALIVE and now >= until and not home.is_between_leases:
            return wish
        if now < until:
            self._ledger.look_later(router, until)
        return Stay(
            reason=f"{self._bound(router)} is over; waits for {home.name} to hold its lease again, or to be dead"
        )

    def _over_since(self, router: RouterRecord) -> float:
        """When it was first seen that its host is over and nobody is known to have taken over."""
        if router.succession.lost_at is None:
            router.succession.lost_at = self._ledger.now
        return router.succession.lost_at

    def _wait_for_standby_to_build(self, router: RouterRecord, standby: Tenure, beliefs: Beliefs) -> Stay:
        host = self._ledger.fleet.get(standby.host)
        if host is None or host.is_dead or host.is_leaseless:
            self._ask_whether_over(standby, router, beliefs)
        return Stay(reason=f"{router.host} is over; waits until {standby.host}, which stands by for it, has it built")

    # 6. Its host is not heard, or holds no lease

    def _wait_for_successor(self, router: RouterRecord, home: Host | None, beliefs: Beliefs) -> Stay:
        """It is moved by whoever may succeed, or, if nobody can, when it is known that its host is over."""
        standby = router.succession.standby
        successor = None if standby is None else self._ledger.fleet.get(standby.host)
        absent = f"{router.host} {'holds no lease' if home is not None and home.is_leaseless else 'is not heard'}"
        if successor is not None and successor.silence.is_alive:
            self._ask_whether_over(self._bound(router), router, beliefs)
            return Stay(
                reason=f"{absent}, and {successor.name}, which would succeed it, did not take over: "
                "it may still hold its lease; asks the arbiters whether it does"
            )
        if home is not None and home.is_dead and beliefs.braked:
            return Stay(reason=f"{home.name} looks dead, but the brake is engaged: nothing moves for silence")
        self._ask_whether_over(self._bound(router), router, beliefs)
        if standby is not None:
            self._ask_whether_over(standby, router, beliefs)
        return Stay(reason=f"{absent}, and nobody can succeed it; asks the arbiters whether it is over")

    # 7. It should leave its host

    def _move(self, router: RouterRecord, home: Host, wish: Wish, beliefs: Beliefs) -> Answer:
        """Have it built where it should go, then change hosts; a drain takes its turn."""
        succession = router.succession
        standby = succession.standby
        host = None if standby is None else self._ledger.fleet.get(standby.host)
        until = router.tour.stays_until(self._ledger.now)
        if wish.kind is MoveKind.RETRY and until is not None:
            self._ledger.look_later(router, until)
            return Stay(reason=stays_on_tour(router, home))
        if wish.kind is MoveKind.DRAIN and len(home.drains) >= DRAINS_AT_ONCE and router.id not in home.drains:
            return Stay(reason=f"{home.name} is taken out of service; {DRAINS_AT_ONCE} routers leave it at a time")
        if host is not None and wish.only in (None, host.name) and not self._why_unsuitable(router, host):
            if self._ready_standby(router) is None:
                return Stay(reason=f"{wish.reason}, as soon as {host.name} has it built")
            if wish.kind is MoveKind.DRAIN:
                self._ledger.begin_drain(router, home)
            return self._bind(router, wish, host, host.leased, f"{host.name} stands by for it", leaving=home)
        if wish.only is not None:
            named = self._ledger.fleet.get(wish.only)
            if named is None or (why := objection(named, router.needs)):
                said = f"no host {wish.only} is known" if named is None else f"{named.name} {why}"
                return self._refuse(router, f"{wish.lament}: {said}")
            if named is host and host is not None:
                return self._refuse(router, f"{wish.lament}: {self._why_unsuitable(router, host)}")
            return self._take(router) if standby is not None else self._choose(router, named, "an operator named it")
        answer = self._keep_standby(router, home, beliefs)
        if isinstance(answer, Stay) and wish.kind is MoveKind.MANUAL and answer.is_stuck:
            return self._refuse(router, f"{wish.lament}: {answer.reason}")
        if isinstance(answer, Stay):
            said = wish.lament if answer.is_stuck else wish.reason
            return Stay(reason=f"{said}: {answer.reason}" if answer.reason else said, is_stuck=answer.is_stuck)
        return answer

    def _refuse(self, router: RouterRecord, lament: str) -> Stay:
        router.wanted, router.refused = None, lament
        self._ledger.look_at(router.id)  # With the next event or tick: it may wish something else as well.
        return Stay(reason=lament)

    # 8. It should have a standby

    def _keep_standby(self, router: RouterRecord, home: Host, beliefs: Beliefs) -> Answer:
        succession, fleet = router.succession, self._ledger.fleet
        if (standby := succession.standby) is not None:
            host = fleet.get(standby.host)
            if host is None or host.is_dead:
                self._ask_whether_over(standby, router, beliefs)
                return Stay(reason=f"its standby {standby.host} is not heard; asks the arbiters whether it is over")
            why = self._why_unsuitable(router, host)
            if not why:
                return Stay(reason=router.refused)
            chosen, _, waits = self._next(router, home)
            if chosen is not None:
                return self._take(router)
            self._look_again(router, waits=waits)
            return Stay(reason=f"its standby {host.name} {why}, and there is no other yet", is_stuck=not waits)
        if home.inability:
            return Stay(reason=router.refused)
        if (former := self._former(router)) is not None:
            if former.is_between_leases:
                self._look_again(router, waits=False)
                return Stay(reason=f"no standby: waits for {former.name} to hold its lease again")
            return self._choose(router, former, f"{former.name} has it built")
        if self._ledger.now < succession.calm_until:
            self._ledger.look_later(router, succession.calm_until)
            return Stay(reason="has no standby until things have been calm for a while after the takeover")
        chosen, why, waits = self._next(router, home)
        if chosen is not None:
            return self._choose(router, chosen, why)
        self._look_again(router, waits=waits)
        return Stay(reason=f"no standby: {why}", is_stuck=not waits)

    def _look_again(self, router: RouterRecord, *, waits: bool) -> None:
        """`waits`: for its turn; else for a host, maybe one that it keeps away from for a while."""
        if waits:
            self._ledger.wait_for_a_turn(router)
            return
        self._ledger.wait_for_a_standby(router)
        if avoided := router.hosts.waiting(self._ledger.now):
            self._ledger.look_later(router, min(avoided.values()))

    def _former(self, router: RouterRecord) -> Host | None:
        """The host that has it built; it need not keep it if it cannot stand by."""
        succession = router.succession
        host = self._ledger.fleet.get(succession.former)
        if host is None or host.name == router.host:
            if succession.former is not None:
                self._ledger.drop_former(router)
            return None
        is_coming = host.is_between_leases and host.admin_up
        if is_coming or not objection(host, router.needs, router.hosts.waiting(self._ledger.now)):
            return host
        comes_back = self._ledger.now < succession.calm_until and host.admin_up
        if not comes_back:
            self._ledger.drop_former(router)
        return None

    def _next(self, router: RouterRecord, home: Host) -> tuple[Host | None, str, bool]:
        """Who could stand by instead, why (not), and whether it is a matter of waiting for a turn."""
        standby = router.succession.standby
        if not self._ledger.take_turn():
            return None, "others get a standby first", True
        if self._placing is None:
            self._placing = StandbyPlacing(self._ledger.fleet, self._ledger.now)
        placement, waits = self._placing.place(
            router.needs,
            home,
            instead_of=None if standby is None else standby.host,
            avoid=router.hosts.waiting(self._ledger.now),
        )
        return placement.host, placement.reason, waits

    def _why_unsuitable(self, router: RouterRecord, host: Host) -> str:
        """Why a host should not go on standing by, as a clause that follows its name."""
        if not host.admin_up:
            return "is taken out of service"
        if self._word(router, host) is RouterState.FAILED:
            if host.name not in router.hosts.waiting(self._ledger.now):
                router.hosts.failed(host.name, self._ledger.now)
            return "cannot build it"
        return "" if host.is_between_leases else misfit(host, router.needs)

    # Deeds

    def _choose(self, router: RouterRecord, host: Host, why: str) -> Answer:
        if (retry_at := router.store.waits_until("succession", self._ledger.now)) is not None:
            self._ledger.look_later(router, retry_at)
            return None
        self._ledger.choose_standby(router, host)
        return self._store(router, router.succession.covered, host.tenure, f"{host.name} stands by: {why}")

    def _take(self, router: RouterRecord) -> Stay:
        self._ledger.take_right(router)
        standby = router.succession.standby
        assert standby is not None
        if host := self._ledger.fleet.get(standby.host):
            host.owing.add(router.id)
        return Stay(reason=f"waits until {standby.host} says that it will not succeed {router.host} any more")

    def _bind(
        self,
        router: RouterRecord,
        wish: Wish,
        target: Host,
        incarnation: Incarnation,
        choice: str,
        *,
        leaving: Host | None = None,
    ) -> Answer:
        """Bind it anew. `leaving`: its present host, if that has to close it first."""
        if (retry_at := router.store.waits_until("bind", self._ledger.now)) is not None:
            self._ledger.look_later(router, retry_at)
            return None
        router.cause = self._ledger.cause
        bind = Bind(
            router_id=router.id,
            host=target.name,
            epoch=Epoch(router.epoch + 1),
            previous_host=router.host,
            leaving_host=None if leaving is None else leaving.name,
            kind=wish.kind,
            silent_s=None,
            choice=choice,
            reason=wish.reason,
            cause=router.cause,
            incarnation=incarnation,
            leaving_incarnation=None if leaving is None else router.succession.covered,
        )
        self._binding.ask_for(router, bind, target)
        return None

    def _store(
        self, router: RouterRecord, incarnation: Incarnation | None, standby: Tenure | None, reason: str
    ) -> Answer:
        if (retry_at := router.store.waits_until("succession", self._ledger.now)) is not None:
            self._ledger.look_later(router, retry_at)
            return None
        router.asked = StoreSuccession(
            router_id=router.id,
            epoch=router.epoch,
            incarnation=incarnation,
            standby=standby,
            reason=reason,
            cause=self._ledger.cause,
        )
        self._ledger.emit(router.asked)
        return None

    def _ask_whether_over(self, tenure: Tenure, router: RouterRecord, beliefs: Beliefs) -> None:
        if not beliefs.braked:
            self._ledger.burials.want(tenure, router.id)

    # What the store answers

    def stored(self, event: SuccessionStored) -> None:
        """Now it is true, and plans may rely on it."""
        if (answered := self._binding.answered(event.router_id, event.epoch, StoreSuccession)) is None:
            return
        router, asked = answered
        router.store.forget("succession")
        if asked.incarnation != router.succession.covered:
            self._ledger.cover(router, asked.incarnation)
        elif asked.standby is not None:
            self._ledger.give_right(router)
        else:
            self._ledger.drop_standby(router, Trigger.ERASED)

    def failed(self, event: SuccessionFailed) -> None:
        """Whoever might succeed still may; tried again soon."""
        if (answered := self._binding.answered(event.router_id, event.epoch, StoreSuccession)) is None:
            return
        router, asked = answered
        router.store.failed("succession", self._ledger.now)
        if asked.standby is not None:
            self._ledger.drop_standby(router, Trigger.NOT_STORED)
        what = f"who may succeed {router.host} could not be stored ({event.reason}); tried again soon"
        self._ledger.explain(router, what)

    # What is known

    def _bound(self, router: RouterRecord) -> Tenure:
        assert router.host is not None
        assert router.succession.covered is not None
        return Tenure(router.host, router.succession.covered)

    def _is_over(self, tenure: Tenure) -> bool:
        host = self._ledger.fleet.get(tenure.host)
        return (host is not None and host.has_outlived(tenure.incarnation)) or self._ledger.burials.is_over(tenure)

    def _has_closed(self, host: Host, router: RouterRecord, incarnation: Incarnation, version: int) -> bool:
        """Whether the host's guard works from this version of its plan, or a later one, and the router is not open; at
        this incarnation or a later one of the same machine.
        """
        if not host.is_of(incarnation):
            return False
        if host.guard_version >= version and host.forwarding is not None:
            return router.id not in host.forwarding
        host.owing.add(router.id)
        return False

    def _word(self, router: RouterRecord, host: Host) -> RouterState:
        """What it says of the router that it stands by for."""
        return router.succession.word_of(host.name, Epoch(router.epoch + 1))

    def _ready_standby(self, router: RouterRecord) -> Host | None:
        """The standby, if it can become active at once."""
        succession = router.succession
        if succession.state is not RightState.GIVEN or succession.standby is None:
            return None
        host = self._ledger.fleet.get(succession.standby.host)
        if host is None or host.inability or not (host.holds_lease and host.is_held):
            return None
        if host.leased != succession.standby.incarnation:
            return None
        return host if self._word(router, host) is RouterState.ACTIVE else None
