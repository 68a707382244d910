"""How a router's binding changes: what is stored of it, entered into the ledger, and brought to every plan.

What is asked for, and when, is decided by `planner.binding`.

The rule: each function is one step, and leaves records, counts and plans in agreement. Where a router is bound to one
host and another has still to let go of it, the table is in `ledger.moves`.
"""

from gapless.core.effects import Bind
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import AssignmentState, Trigger, after
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Trigger as RightTrigger
from gapless.model.host import HostName
from gapless.model.lease import NOBODY, Tenure
from gapless.model.plan import Epoch


def bind(ledger: Ledger, router: RouterRecord, bind: Bind) -> None:
    """A new binding is stored, maybe with a host that has to let go of the router first."""
    succession, came_from, lacked_since = router.succession, router.host, _lacked_since(ledger, router)
    had_stayed, has_it = succession.stays_at is not None, _has_it(router, bind)
    _use_rights(ledger, router, bind)
    ledger.counts.unbound(router)
    _enter(router, bind)
    _enter_guard(router, bind, came_from)
    ledger.counts.bound(router)
    if bind.leaving_host is None:
        router.state = after(router.state, Trigger.BOUND)
        ledger.counts.end_wait(router)
    else:
        router.state = after(router.state, Trigger.BOUND_AWAY)
        if router.leaving != bind.leaving_host:
            ledger.counts.end_wait(router)
            router.leaving = bind.leaving_host
        succession.leaving, succession.has_arrived = bind.leaving_incarnation, has_it
    ledger.sync(router, f"router {router.id} is bound here", f"router {router.id} is bound to {bind.host}")
    ledger.counts.expect_from(router, lacked_since if router.leaving == came_from else None)
    if had_stayed:  # Plans between gave it to the host that it leaves: not open by one of those, it may be yet.
        router.leaving_version = ledger.fleet.plan_version(router.leaving) if router.leaving is not None else 0


def _lacked_since(ledger: Ledger, router: RouterRecord) -> int | None:
    """The version of its host's plan that first lacked it, if that is known and still so."""
    old = ledger.fleet.get(router.host)
    return None if old is None or router.id in old.plan.duties else router.dropped_version


def _has_it(router: RouterRecord, bind: Bind) -> bool:
    """Whether the host that it is bound to now was heard to have it open."""
    took, bound = router.succession.took, Tenure(bind.host, bind.incarnation or NOBODY)
    return took is not None and (took.by, took.epoch) == (bound, bind.epoch)


def _use_rights(ledger: Ledger, router: RouterRecord, bind: Bind) -> None:
    """Whose right it was, has it no more, nor have those before, whose tenures are over. Those behind keep theirs: they
    wait for the new host as well, and did before.
    """
    for right in list(router.succession.rights):
        if right.tenure.host == bind.host:
            right.step(RightTrigger.PROMOTED)
        if right.epoch <= bind.epoch:
            ledger.counts.remove_right(router, right)


def _enter(router: RouterRecord, bind: Bind) -> None:
    if router.host != bind.host:
        router.dropped_version = None
    router.host, router.epoch = bind.host, bind.epoch
    router.sent_at, router.fault, router.copying = None, "", None
    if router.state is not AssignmentState.WITHDRAWN:
        router.let_go_at = None
    router.open_move, router.failure_told = True, False


def _enter_guard(router: RouterRecord, bind: Bind, came_from: HostName | None) -> None:
    succession = router.succession
    succession.lost, succession.lost_at, succession.stays_at = [], None, None
    was_guarded, succession.covered = succession.covered is not None, bind.incarnation
    succession.told, succession.opened_at = frozenset(), None
    if succession.took is not None and succession.took.epoch <= bind.epoch:
        succession.took = None
    if was_guarded and bind.incarnation is not None and came_from != bind.host:
        # It has the router built: that is worth keeping until a standby is there.
        succession.former = bind.leaving_host or came_from
    elif succession.former == bind.host or bind.incarnation is None:
        succession.former = None


def withhold(ledger: Ledger, router: RouterRecord) -> None:
    """It is being bound away from a dead host: should that one return now, it must not build it any more."""
    ledger.sync(router, "", f"router {router.id} is being moved away")


def give_back(ledger: Ledger, router: RouterRecord) -> None:
    """What was asked could not be stored: the router is its host's as before."""
    ledger.sync(router, f"router {router.id} stays here")


def let_go(ledger: Ledger, router: RouterRecord, *, confirmed: bool) -> None:
    """The host that the router leaves has nothing left of it (`confirmed`), or is gone."""
    router.state = after(router.state, Trigger.LET_GO)
    router.let_go_at = ledger.now if confirmed else None
    router.succession.stays_at = None
    ledger.sync(router, f"router {router.id} is closed here")
    ledger.looks.at(router.id)


def stay(ledger: Ledger, router: RouterRecord, epoch: Epoch) -> None:
    """The host that it goes to is over, and the one that it leaves has it open at this epoch: that one keeps it."""
    if router.succession.stays_at != epoch:
        router.succession.stays_at = epoch
        ledger.sync(router, f"router {router.id} stays here: {router.host} is over")


def arrived(ledger: Ledger, router: RouterRecord) -> None:
    """The new host has it open: the old one released it, or is over. That it has let go is still to be stored."""
    router.succession.has_arrived = True
    ledger.sync(router, f"it has router {router.id} open already")


def hand_over(ledger: Ledger, router: RouterRecord) -> None:
    """It is stored that the old host has let go: the new one may have the router."""
    router.state = after(router.state, Trigger.WITHDRAWAL_STORED)
    ledger.counts.end_wait(router)
    ledger.sync(router, f"router {router.id} has left its old host")
