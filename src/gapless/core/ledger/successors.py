"""How the rights to succeed a router's host change, each by the table in `ledger.succession`, and reach every plan.

Who is to have one, and when one is over, is decided by `planner.rights`.

The rule: a right is taken, ended and stored as nobody's before another host gets one; each function is one such step.
"""

from dataclasses import replace

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right, Trigger
from gapless.model.host import Incarnation


def choose(ledger: Ledger, router: RouterRecord, host: Host, *, keep_former: bool) -> None:
    """It is to be the router's last standby; that is being stored, and it may build already. `keep_former`: another
    that has it built may be the next one.
    """
    succession = router.succession
    right = Right(tenure=host.tenure, epoch=succession.next_epoch(router.epoch))
    right.step(Trigger.CHOSEN)
    if succession.former == host.name or not keep_former:
        succession.former = None
    ledger.counts.add_right(router, right)
    ledger.sync(router, f"it is to stand by for router {router.id}", f"router {router.id} has a standby elsewhere")


def give(ledger: Ledger, router: RouterRecord, right: Right) -> None:
    """It is stored that this host may succeed."""
    right.step(Trigger.STORED)
    ledger.sync(router, f"it may succeed {router.host} with router {router.id}")


def take(ledger: Ledger, router: RouterRecord, right: Right) -> None:
    """This host must not succeed any more; as soon as it says that it knows, somebody else may instead."""
    right.step(Trigger.TAKE)
    ledger.sync(router, f"it must not succeed {router.host} with router {router.id} any more")
    if host := ledger.fleet.get(right.tenure.host):
        right.taken_version = host.plan.version


def end(ledger: Ledger, router: RouterRecord, right: Right) -> None:
    """The host has lost the right for certain. It may keep the router built until there is another."""
    succession = router.succession
    others = [each for each in succession.lost if each.tenure.host != right.tenure.host]
    succession.lost = [*others, replace(right)]
    right.step(Trigger.ENDED)
    if len(succession.rights) > 1:
        succession.lost_at = None  # Those behind it may take over only now, and say so later.
    ledger.sync(router, f"it must not succeed {router.host} with router {router.id} any more")


def drop(ledger: Ledger, router: RouterRecord, right: Right, trigger: Trigger) -> None:
    """It is stored that this host may not succeed (any more)."""
    succession = router.succession
    former = ledger.fleet.get(succession.former)
    may_go_back = router.open_move and former is not None and former.silence.is_alive
    # The host that it leaves has it built, and has still to release it, or may have to have it back.
    if succession.leaving is None and not may_go_back:
        succession.former = right.tenure.host
    right.step(trigger)
    ledger.counts.remove_right(router, right)
    who = right.tenure.host if succession.rights else "nobody"
    how = "may not succeed" if succession.rights else "succeeds"
    ledger.sync(router, f"{who} {how} {router.host} with router {router.id}")


def forget_takeover(ledger: Ledger, router: RouterRecord) -> None:
    """Who took over is over before that could be stored: it has a right that has ended, as if nobody had heard."""
    router.succession.took = None
    ledger.sync(router, f"router {router.id} was taken over by a host that is over")


def cover(ledger: Ledger, router: RouterRecord, incarnation: Incarnation | None) -> None:
    """It is stored that the router is guarded on its host, or is not any more."""
    router.succession.covered = incarnation
    if incarnation is None:
        router.succession.former = None
    ledger.sync(router, f"router {router.id} is {'not ' if incarnation is None else ''}guarded")


def drop_former(ledger: Ledger, router: RouterRecord) -> None:
    """The former active host need not keep it built any more."""
    router.succession.former = None
    ledger.sync(router, "", f"router {router.id} needs no other host")
