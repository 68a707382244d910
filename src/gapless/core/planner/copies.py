"""Whether a router that should leave its host waits until its connections are where it goes.

Theory: a standby has nearly always all connections of its routers. It has not while they are copied to it for the first
time, as when it has just built the router, or anew, because its stream was cut, or more happened than could be told;
that passes within seconds. What it has not when the router changes hosts is forgotten.

The rule: who can wait does, forwarding where it is, for `PATIENCE_S` at most since it could have gone to that tenure: a
router with more connections than are copied never has all of them elsewhere, and a drain has to come to its end. Who
cannot wait goes at once: what does not work where it is, or reaches nobody outside from there, and what leaves a host
that is about to stop. Nor is anything waited for that nobody copies, or says nothing of.

A host that copies, from one that does, and has not said anything of a router yet, has not all of it: it has heard a
moment ago that it is to follow it.

What happens between this and the move is the old host's to wait for (`sentinel.flushing`).
"""

from dataclasses import replace

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import Copying, RouterRecord
from gapless.core.ledger.succession import Right
from gapless.core.planner.wishes import Stay, Wish

PATIENCE_S = 30.0
"""Many times what one router's copy takes, and about what those of a host with many take that has just taken over. Who
moved routers to where they have to be built first waits thrice as long until they are there (`cli.rebalance`)."""


def waited_for(ledger: Ledger, router: RouterRecord, home: Host, right: Right, wish: Wish) -> Wish | Stay:
    """What becomes of a wish that could be granted by this right now."""
    host = ledger.fleet.get(right.tenure.host)
    if host is None or not _can_wait(router, home) or not _lacks_some(router, home, host):
        router.copying = None
        return wish
    if router.copying is None or router.copying.to != right.tenure:
        router.copying = Copying(right.tenure, ledger.now)
    until = router.copying.since + PATIENCE_S
    if ledger.now < until:
        ledger.looks.later(router.id, until)
        what = f"waits until {host.name} has all of its connections, {PATIENCE_S:g} s at most"
        return Stay(reason=f"{wish.reason}; {what}")
    what = f"{host.name} has not all of its connections after {PATIENCE_S:g} s, and some may break"
    return replace(wish, reason=f"{wish.reason}; {what}")


def _can_wait(router: RouterRecord, home: Host) -> bool:
    return router.state is AssignmentState.ACTIVE and not (home.is_stopping or home.ways.lost_of(router.needs))


def _lacks_some(router: RouterRecord, home: Host, host: Host) -> bool:
    """Whether a host that stands by has not all connections, as far as anybody is about to bring them."""
    copy = home.facts.copies_flows, host.facts.copies_flows
    if False in copy:
        return False
    is_copied = host.has_copied(router.id)
    return all(copy) if is_copied is None else not is_copied
