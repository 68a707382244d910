"""What happens to a guarded router: who is active, and what that waits for. Who may succeed: `planner.rights`.

The rule: as in `planner.wishes`, everything follows from levels. One look at a router (`settle`) does at most one
thing, and what it begins leads to the next look. In the order in which it looks:

    1. A successor took over: that is true, so it is stored (TAKEOVER).
    2. It leaves a host: that has to close it, or to be over (`planner.binding`). If the one that it goes to is over
       first, it stays, or goes on to the next.
    3. A right has ended: that it is nobody's is stored. A right is being taken: its holder has to acknowledge.
    4. It need not be guarded any more: first nobody may succeed, then the guard goes.
    5. Its host is over, and nobody took over: it is made active anew (`planner.restarts`).
    6. Its host is dead, leaseless or expired, as far as the controller hears: whoever may succeed does so by itself.
       Until then the arbiters are asked whether that host is over.
    7. It should leave its host (MANUAL, RETRY, DRAIN): to the first standby that can take it now, once there is one,
       and has its connections (`planner.copies`). If its host has lost a way out: to the first that has that, or not at
       all (`planner.ways`).
    8. It should have standbys that suit, and as many as there should be.

So it is bound to the first who may succeed, or to anybody once nobody may; those behind keep their rights.

The invariant: `ledger.succession`. No host loses a router but by its own word or by being over, and nobody gets one
before; whatever is decided here, it is a matter of order only.
"""

from dataclasses import replace

from gapless.core.effects import Bind
from gapless.core.ledger import bindings, successors
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import LEAVING, AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right, RightState, TookOver
from gapless.core.planner import copies, guards, readiness, reports, ways
from gapless.core.planner.binding import Binding
from gapless.core.planner.leaseless import CALM_S
from gapless.core.planner.placement import objection
from gapless.core.planner.rebinding import Answer, Rebinding, bound_to
from gapless.core.planner.restarts import Restarts
from gapless.core.planner.rights import Rights, asks
from gapless.core.planner.wishes import (
    Beliefs,
    Stay,
    Wish,
    is_doubted,
    moving,
    removing,
    waits_for_its_turn,
    why_left,
)
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import MoveKind, RouterState
from gapless.model.router import FailoverMode
from gapless.model.way import WayOut

MUTE_S = 3.0
"""How long a host that was handed a router may take to say that its guard works from that plan."""


class Standbys:
    """Decides for guarded routers, and begins what it decides."""

    def __init__(self, ledger: Ledger, binding: Binding, most: int) -> None:
        """`most`: how many standbys a router should have."""
        self._ledger = ledger
        self._binding = binding
        self._rights = Rights(ledger, binding, most)
        self._rebinding = Rebinding(ledger, binding)
        self._restarts = Restarts(ledger, self._rights, self._rebinding)
        self.begin_turn = self._rights.begin_turn
        self.stored, self.failed = self._rights.stored, self._rights.failed

    def settle(self, router: RouterRecord, beliefs: Beliefs) -> Answer:
        """Look at a guarded router for which nothing is being stored."""
        reports.assess(self._ledger, router)
        self._rights.note_what_ended(router)
        succession = router.succession
        if succession.took is not None:
            return self._store_takeover(router, succession.took, beliefs)
        if router.state in LEAVING:
            return self._leave(router, beliefs)
        if any(right.state is not RightState.GIVEN for right in succession.rights):
            return self._rights.settle(router, beliefs)
        if router.needs.mode is not FailoverMode.STANDBY:
            return self._uncover(router, beliefs)
        if self._is_over(bound_to(router)):
            return self._restarts.settle(router, beliefs)
        home = self._ledger.fleet.get(router.host)
        if home is None or home.may_be_over or home.tenures.incarnation != succession.covered:
            return self._wait_for_successor(router, home, beliefs)
        answer = moving(router, home, beliefs)
        if isinstance(answer, Wish):
            return self._move(router, home, answer, beliefs)
        router.copying = None
        if isinstance(answer, Stay):
            return self._stay(router, home, answer, beliefs)
        self._ask_if_mute(router, home, beliefs)
        if lost := ways.lost(self._ledger, router, home, beliefs):
            return self._leave_for_a_way_out(router, home, lost, beliefs)
        return self._rights.keep(router, home, beliefs)

    def cover(self, router: RouterRecord) -> bool:
        """A classic router that is to be a guarded one: once its host guards it, that is stored. Whether it is."""
        home = self._ledger.fleet.get(router.host)
        if router.needs.mode is not FailoverMode.STANDBY or home is None or home.inability:
            return False
        duty = home.plan.duties.get(router.id)
        if duty is None or duty.guarded is None:
            return False
        if home.guard.version < router.planned_version:
            home.guard.owing.add(router.id)
            return False
        if not self._is_said_to_be_guarded(home, router):
            return False
        self._rights.store(router, duty.guarded.incarnation, f"{home.name} guards it now")
        return True

    def _is_said_to_be_guarded(self, home: Host, router: RouterRecord) -> bool:
        """Before its host says so, its taps may pass frames without a lease: nobody may succeed it."""
        said = router.succession.said.get(home.name)
        return said is not None and said.epoch == router.epoch and said.guarded

    # 1 to 3. What is true already, and only has to be stored

    def _store_takeover(self, router: RouterRecord, took: TookOver, beliefs: Beliefs) -> Answer:
        if (retry_at := router.store.waits_until("bind", self._ledger.now)) is not None:
            self._ledger.looks.later(router.id, retry_at)
            return None
        target, home = self._ledger.fleet.get(took.by.host), self._ledger.fleet.get(router.host)
        if target is None:
            return self._miss_successor(router, took.by, beliefs)
        router.cause = self._ledger.cause
        router.succession.calm_until = target.calm_until = self._ledger.now + CALM_S
        bind = Bind(
            router_id=router.id,
            host=target.name,
            epoch=took.epoch,
            skipped=took.epoch - router.epoch - 1,
            previous_host=router.host,
            leaving_host=None,
            kind=MoveKind.TAKEOVER,
            silent_s=None,
            choice=f"{target.name} stood by for it",
            reason=f"{target.name} took over router {router.id}: {self._what_is_over(router, took)}",
            cause=router.cause,
            incarnation=took.by.incarnation,
            over=guards.over(self._ledger, took),
        )
        if home is not None:
            self._ledger.counts.end_drain(router)
        self._binding.ask_for(router, bind)
        return None

    def _miss_successor(self, router: RouterRecord, by: Tenure, beliefs: Beliefs) -> Answer:
        """Who took over was deleted before that was stored: nothing can be bound to it, and it may forward still."""
        if self._is_over(by):
            successors.forget_takeover(self._ledger, router)
            return self.settle(router, beliefs)
        is_asked = self._rights.ask_whether_over(by, router, beliefs)
        clause = asks("whether it is over", is_asked)
        return Stay(reason=f"{by.host} took over, and was deleted by an operator; {clause}")

    def _what_is_over(self, router: RouterRecord, took: TookOver) -> str:
        before = [each.tenure for each in router.succession.rights if each.epoch < took.epoch]
        if took.is_released:
            return f"{bound_to(router)} released it"
        over = [str(each) for each in (bound_to(router), *before)]
        return f"the lease of {over[0]} is over" if len(over) == 1 else f"the leases of {' and '.join(over)} are over"

    def _leave(self, router: RouterRecord, beliefs: Beliefs) -> Answer:
        """Wait until the old host has closed it, or is over."""
        succession, leaving = router.succession, router.leaving
        assert leaving is not None
        old = self._ledger.fleet.get(leaving)
        if router.state is AssignmentState.WITHDRAWING and succession.leaving is not None:
            if self._is_over(Tenure(leaving, succession.leaving)):
                bindings.let_go(self._ledger, router, confirmed=False)
            elif old is not None and not router.stays and self._has_closed(old, router, succession.leaving):
                bindings.let_go(self._ledger, router, confirmed=True)
        if self._binding.settle_withdrawal(router):
            return None
        is_turning_back = succession.leaving is not None and self._is_over(bound_to(router))
        if is_turning_back and old is not None and (at := old.guard.open_at(router.id)) is not None:
            bindings.stay(self._ledger, router, at)
        if any(right.state is not RightState.GIVEN for right in succession.rights):
            return self._rights.settle(router, beliefs)
        if succession.leaving is None:
            return Stay(reason=removing(router))
        if old is None or old.may_be_over or old.tenures.incarnation != succession.leaving:
            self._rights.ask_whether_over(Tenure(leaving, succession.leaving), router, beliefs)
        elif is_turning_back and not readiness.hindrance(router, old):
            return self._turn_back(router, old, succession.leaving)
        if router.stays:
            return Stay(reason=f"stays on {leaving}, since {router.host} is over before it had it")
        self._rights.ask_if_not_heard(bound_to(router), router, beliefs)
        return Stay(reason=f"waits until {leaving} has closed it, or its lease is over")

    def _has_closed(self, old: Host, router: RouterRecord, incarnation: Incarnation) -> bool:
        return self._rights.has_closed(old, router, incarnation, router.leaving_version)

    def _turn_back(self, router: RouterRecord, old: Host, incarnation: Incarnation) -> Answer:
        """The host that it was going to is over, and the one that it leaves did not say that it has closed it. If that
        one is to be left and somebody else can take it now, it goes there; else it stays, once nobody may succeed.
        """
        over = f"{router.host} is over before it had it"
        said, right = router.succession.said.get(old.name), readiness.first_able(self._ledger, router)
        is_to_leave = why_left(old) or (said is not None and said.state is RouterState.FAILED)
        if right is not None and is_to_leave:
            wish = Wish(
                kind=MoveKind.DRAIN if why_left(old) else MoveKind.RETRY,
                reason=f"Router {router.id} goes on to {right.tenure.host}, since {over}",
                reason_unmet="",
            )
            if before := [each for each in router.succession.rights if each.epoch < right.epoch]:
                return self._rights.take(router, *before)
            return self._rebinding.bind_successor(router, wish, right, leaving=old)
        if rights := router.succession.rights:
            return self._rights.take(router, *rights)
        wish = Wish(
            kind=MoveKind.RETRY,
            reason=f"Router {router.id} stays on {old.name}, since {over}",
            reason_unmet="",
        )
        return self._rebinding.bind(router, wish, old, incarnation, f"{old.name} still has it")

    # 4. Back to a classic router

    def _uncover(self, router: RouterRecord, beliefs: Beliefs) -> Answer:
        if rights := router.succession.rights:
            return self._rights.take(router, *rights)
        bound = bound_to(router)
        home = self._ledger.fleet.get(router.host)
        if self._is_over(bound) or (home is not None and not home.inability and home.tenures.is_of(bound.incarnation)):
            self._rights.store(router, None, "it need not be guarded any more")
            return None
        if home is None or home.is_dead:
            self._rights.ask_whether_over(bound, router, beliefs)
        return Stay(reason=f"waits for {router.host}, which guards it still, or until that host's lease is over")

    # 6. Its host is not heard, or holds no lease

    def _wait_for_successor(self, router: RouterRecord, home: Host | None, beliefs: Beliefs) -> Stay:
        """It is moved by whoever may succeed, or, if nobody can, when it is known that its host is over."""
        rights, fleet = router.succession.rights, self._ledger.fleet
        hosts = [(right, fleet.get(right.tenure.host)) for right in rights]
        there = (host for _, host in hosts if host is not None and not host.is_expired)
        successor = next((host for host in there if host.silence.is_alive), None)
        is_known_without = home is not None and (home.is_leaseless or home.is_expired)
        absent = f"{router.host} {'holds no lease' if is_known_without else 'is not heard'}"
        if successor is not None:
            is_asked = self._rights.ask_whether_over(bound_to(router), router, beliefs)
            for right, host in hosts:
                # Not safety: those behind it claim it themselves, while that is new.
                if host is None or host.may_be_over:
                    self._rights.ask_whether_over(right.tenure, router, beliefs)
            return Stay(
                reason=f"{absent}, and {successor.name}, which would succeed it, did not take over: "
                f"it may still hold its lease; {asks('whether it does', is_asked)}"
            )
        if home is not None and is_doubted(home, beliefs):
            return Stay(reason=f"{home.name} looks dead, but the brake is engaged: nothing moves for silence")
        is_asked = self._rights.ask_whether_over(bound_to(router), router, beliefs)
        for right in rights:
            self._rights.ask_whether_over(right.tenure, router, beliefs)
        return Stay(reason=f"{absent}, and nobody can succeed it; {asks('whether it is over', is_asked)}")

    def _ask_if_mute(self, router: RouterRecord, home: Host, beliefs: Beliefs) -> None:
        """A host that was handed the router by one that lives, and does not answer: should it be over, nobody may be
        there who would find out by himself.
        """
        handed_at = router.let_go_at
        if handed_at is None or not router.open_move or home.guard.version >= router.planned_version:
            return
        if self._ledger.now < handed_at + MUTE_S:
            self._ledger.looks.later(router.id, handed_at + MUTE_S)
        else:
            self._rights.ask_whether_over(bound_to(router), router, beliefs)

    # 7. It should leave its host

    def _stay(self, router: RouterRecord, home: Host, stay: Stay, beliefs: Beliefs) -> Answer:
        """It cannot leave, or should not yet. Where that may take long, who stands by is replaced if need be."""
        if stay.damping is None:
            return stay
        router.damping = stay.damping
        if (kept := self._rights.keep(router, home, beliefs)) is None:
            return None
        return replace(stay, is_stuck=kept.is_stuck)

    def _move(self, router: RouterRecord, home: Host, wish: Wish, beliefs: Beliefs) -> Answer:
        """Have it built where it should go, and its connections copied there, then change hosts; a drain takes its
        turn. A standby that is missed is not waited for: what leaves may have seconds, or be dark.
        """
        if (right := readiness.first_able(self._ledger, router, wish.only)) is not None:
            waits = copies.waited_for(self._ledger, router, home, right, wish)
            if isinstance(waits, Stay):
                return waits
            wish = waits
        if wish.kind is MoveKind.DRAIN and router.id not in home.drains and (turn := waits_for_its_turn(home)):
            return Stay(reason=turn)
        if right is not None:
            return self._move_now(router, home, wish, right)
        first = next(iter(router.succession.rights), None)
        host = None if first is None else self._ledger.fleet.get(first.tenure.host)
        if first is not None and host is not None and host.is_missed:
            return self._rights.take(router, first)
        suits = host is not None and not (host.is_dead or self._rights.why_unsuitable(router, host))
        if host is not None and wish.only in (None, host.name) and suits:
            if self._rights.keep(router, home, beliefs) is None:
                return None
            return Stay(reason=f"{wish.reason}, as soon as {host.name} has it built")
        if wish.only is not None:
            return self._move_to(router, wish, wish.only)
        answer = self._rights.keep(router, home, beliefs, is_leaving=True)
        if isinstance(answer, Stay) and wish.kind is MoveKind.MANUAL and answer.is_stuck:
            return self._refuse(router, f"{wish.reason_unmet}: {answer.reason}")
        if isinstance(answer, Stay):
            said = wish.reason_unmet if answer.is_stuck else wish.reason
            return Stay(reason=f"{said}: {answer.reason}" if answer.reason else said, is_stuck=answer.is_stuck)
        return answer

    def _leave_for_a_way_out(self, router: RouterRecord, home: Host, lost: list[WayOut], beliefs: Beliefs) -> Answer:
        """It is dark towards the outside."""
        to = ways.of_guarded(self._ledger, self._rights, router, home, lost, beliefs)
        return self._move_now(router, home, ways.wish(router, home, lost), to) if isinstance(to, Right) else to

    def _move_now(self, router: RouterRecord, home: Host, wish: Wish, right: Right) -> Answer:
        """Somebody can take it at once. Those before that one cannot, and lose their rights first."""
        if before := [each for each in router.succession.rights if each.epoch < right.epoch]:
            return self._rights.take(router, *before)
        if wish.kind is MoveKind.DRAIN:
            self._ledger.counts.begin_drain(router, home)
        return self._rebinding.bind_successor(router, wish, right, leaving=home)

    def _move_to(self, router: RouterRecord, wish: Wish, name: HostName) -> Answer:
        """A host that is not the first who may succeed is to be that: those before it lose their rights, or all."""
        named, right = self._ledger.fleet.get(name), router.succession.right_of(name)
        if named is None:
            return self._refuse(router, f"{wish.reason_unmet}: no host {name} is known")
        if why := objection(named, router.needs, has_it=right is not None):
            return self._refuse(router, f"{wish.reason_unmet}: {named.name} {why}")
        if right is not None and (why := self._rights.why_unsuitable(router, named)):
            return self._refuse(router, f"{wish.reason_unmet}: {why}")
        rights = router.succession.rights
        if before := [each for each in rights if right is None or each.epoch < right.epoch]:
            return self._rights.take(router, *before)
        return self._rights.choose(router, named, "an operator named it")

    def _refuse(self, router: RouterRecord, reason: str) -> Stay:
        router.wanted, router.refused = None, reason
        self._ledger.looks.at(router.id)  # With the next event or tick: it may wish something else as well.
        return Stay(reason=reason)

    # What is known

    def _is_over(self, tenure: Tenure) -> bool:
        return self._rights.is_over(tenure)
