"""How a decision becomes a binding: it is asked for, stored, and only then true.

The rule: at most one write is under way for a router, and nothing else is decided for it until the answer is there
(`RouterRecord.asked`). A write that failed is made again after a while, from how things are then.

A living host that loses a router is waited for between the new binding and the new host's hearing of it: a classic
router's until nothing of it is left there, a guarded one's until it is closed there, or that host's tenure is over.
That the wait is over is stored, too.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from gapless.core.effects import Bind, StoreSuccession, StoreWithdrawal
from gapless.core.events import BindingFailed, BindingStored, WithdrawalFailed, WithdrawalStored
from gapless.core.ledger import bindings
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.planner import guards
from gapless.core.planner.wishes import Wish
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep
from gapless.model.router import FailoverMode, RouterId

Asked = TypeVar("Asked", Bind, StoreWithdrawal, StoreSuccession)


class Binding:
    """Asks the store for bindings, and takes in what it answers."""

    def __init__(self, ledger: Ledger, is_gone: Callable[[HostName], bool]) -> None:
        """`is_gone`: whether nothing is to be waited for from a host."""
        self._ledger = ledger
        self._is_gone = is_gone

    # Asking

    def ask(self, router: RouterRecord, wish: Wish, home: Host | None, target: Host, choice: str) -> None:
        """Ask for the next epoch on `target`. Until it is stored, the router stays bound to what it is bound to."""
        is_for_silence = home is not None and wish.kind is MoveKind.RESCHEDULE
        bind = Bind(
            router_id=router.id,
            host=target.name,
            epoch=Epoch(router.epoch + 1),
            previous_host=router.host,
            leaving_host=self.leaving(router, target.name),
            kind=wish.kind,
            silent_s=home.silence.heard_ago_s(self._ledger.now) if home is not None and is_for_silence else None,
            choice=choice,
            reason=wish.reason,
            cause=router.cause,
            incarnation=target.tenures.leased if router.needs.mode is FailoverMode.STANDBY else None,
        )
        if wish.kind is MoveKind.DRAIN and home is not None:
            self._ledger.counts.begin_drain(router, home)
        if wish.kind is MoveKind.RETRY:
            self._ledger.explain(router, f"{wish.reason}; {target.name} takes it")
        self.ask_for(router, bind)

    def ask_for(self, router: RouterRecord, bind: Bind) -> None:
        """Ask for this very binding."""
        router.asked = bind
        self._ledger.counts.begin_coming(router)
        if bind.kind is MoveKind.RETRY and router.state is AssignmentState.FAILED:
            self._ledger.trials.begins(router, self._ledger.now)
        if router.is_withheld:
            bindings.withhold(self._ledger, router)
        self._ledger.emit(bind)

    def leaving(self, router: RouterRecord, target: HostName) -> HostName | None:
        """The host that has to let go before `target` may have a classic router; None if there is none."""
        last = router.leaving or router.host
        if router.is_guarded and router.leaving is None:
            return None  # Its tenure is over, or the router would not be bound anew by its wish alone.
        if last is None or last == target or self._is_gone(last):
            return None
        return last

    def settle_withdrawal(self, router: RouterRecord) -> bool:
        """If the host that the router leaves has let go of it, or is gone: have that stored. Whether that is so."""
        is_waiting = router.state is AssignmentState.WITHDRAWING and router.succession.leaving is None
        if is_waiting and router.leaving is not None:
            old = self._ledger.fleet.get(router.leaving)
            if router.removed_from == router.leaving and (old is None or _is_closed(old, router)):
                bindings.let_go(self._ledger, router, confirmed=True)
            elif self._is_gone(router.leaving):
                bindings.let_go(self._ledger, router, confirmed=False)
        if router.state is not AssignmentState.WITHDRAWN:
            return False
        if (retry_at := router.store.waits_until("withdrawal", self._ledger.now)) is not None:
            self._ledger.looks.later(router.id, retry_at)
            return True
        assert router.leaving is not None
        how = "is gone"
        if router.let_go_at is not None:
            how = "has nothing left of it" if router.succession.leaving is None else "has closed it"
        router.asked = StoreWithdrawal(
            router_id=router.id,
            epoch=router.epoch,
            leaving_host=router.leaving,
            reason=f"{router.leaving} {how}",
            cause=router.cause or self._ledger.cause,
        )
        self._ledger.emit(router.asked)
        return True

    # What the store answers

    def stored(self, event: BindingStored) -> None:
        """Now it is true: the old host's plan loses the router; the new one's gains it, at once or when let go of."""
        if (answered := self.answered(event.router_id, event.epoch, Bind)) is None:
            return
        router, bind = answered
        # A host that was dead when this was decided may be back, and has to let go first after all. That is stored as
        # well before anything follows: a controller that starts now would tell the new host at once.
        leaving = bind.leaving_host
        if leaving is None and not router.is_guarded:
            leaving = self.leaving(router, bind.host)
        if leaving != bind.leaving_host:
            self._amend(router, replace(bind, leaving_host=leaving))
        else:
            self._bound(router, bind)

    def _amend(self, router: RouterRecord, bind: Bind) -> None:
        """Have the same binding stored once more, with the host that it has to leave first."""
        router.asked, router.is_amending = bind, True
        self._ledger.counts.begin_coming(router)
        self._ledger.emit(bind)

    def _bound(self, router: RouterRecord, bind: Bind) -> None:
        router.is_amending = False
        if router.open_move and not router.failure_told and router.epoch:
            self._ledger.record(router, MoveStep.SUPERSEDED, reason=f"epoch {bind.epoch} follows: {bind.reason}")
        took = router.succession.took
        if bind.kind is MoveKind.RETRY and self._ledger.trials.is_tried_on(router.id, bind.host):
            router.tour.moved(self._ledger.now)
        bindings.bind(self._ledger, router, bind)
        if took is not None and router.succession.took is None:
            guards.record(self._ledger, router, took, bind)
        if bind.kind is not MoveKind.DRAIN:
            self._ledger.counts.end_drain(router)
        router.store.forget("bind")
        router.choice, router.refused, router.is_wishing = bind.choice, "", False
        if router.wanted is not None and router.wanted.host in (None, bind.host):
            router.wanted = None  # Else an operator asked for another host while this was being stored.

    def failed(self, event: BindingFailed) -> None:
        """What was bound still is; the decision is made again after a while, from how things are then."""
        if (answered := self.answered(event.router_id, event.epoch, Bind)) is None:
            return
        router, bind = answered
        if router.is_amending:
            self._bound(router, bind)  # What was stored before is: only a restart would not know whom it leaves.
            return
        bindings.give_back(self._ledger, router)
        self._ledger.counts.end_drain(router)
        router.store.failed("bind", self._ledger.now)
        self._ledger.explain(router, f"its move to {bind.host} could not be stored ({event.reason}); tried again soon")

    def withdrawal_stored(self, event: WithdrawalStored) -> None:
        """The new host may have the router."""
        if (answered := self.answered(event.router_id, event.epoch, StoreWithdrawal)) is None:
            return
        router, asked = answered
        if router.let_go_at is not None:
            ago_s = self._ledger.now - router.let_go_at
            self._ledger.record(router, MoveStep.WITHDRAWN, ago_s=ago_s, reason=asked.reason)
        router.store.forget("withdrawal")
        bindings.hand_over(self._ledger, router)

    def withdrawal_failed(self, event: WithdrawalFailed) -> None:
        """Tried again soon."""
        if (answered := self.answered(event.router_id, event.epoch, StoreWithdrawal)) is None:
            return
        router, asked = answered
        router.store.failed("withdrawal", self._ledger.now)
        what = f"that {asked.leaving_host} has let go of it could not be stored ({event.reason}); tried again soon"
        self._ledger.explain(router, what)

    def answered(self, router_id: RouterId, epoch: Epoch, kind: type[Asked]) -> tuple[RouterRecord, Asked] | None:
        """The router, and what was asked of the store for it, if this is the answer; None if it was deleted since."""
        router = self._ledger.routers.get(router_id)
        if router is None or not isinstance(router.asked, kind) or router.asked.epoch != epoch:
            return None
        self._ledger.counts.end_coming(router)
        asked, router.asked = router.asked, None
        self._ledger.looks.at(router_id)
        return router, asked


def _is_closed(old: Host, router: RouterRecord) -> bool:
    """Whether a host on which nothing of a classic router is left would not let it pass either, were it built again.

    Only a host that had begun to guard it could.
    """
    has_closed = old.guard.version >= router.leaving_version and old.guard.open_at(router.id) is None
    if has_closed or not old.tenures.leased:
        return True
    old.guard.owing.add(router.id)
    return False
