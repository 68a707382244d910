"""Which of the hosts that have a guarded router built could have it active at once. Nothing is decided here.

The rule: where it is built, a guard does all that is to be done, and that takes no agent. A router that is dark goes to
whoever is ready. One that runs goes to the first, by rank, that could keep it as well: not to one that is being left
itself, or has lost a way out. Those before that one cannot take it now, so they are not waited for.
"""

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right, RightState
from gapless.core.planner.placement import misfit
from gapless.core.planner.wishes import why_left
from gapless.model.host import HostName
from gapless.model.plan import RouterState


def hindrance(router: RouterRecord, host: Host) -> str:
    """Why the router cannot be active there now, as a clause; "" if it can. What its guard has open is built there,
    even if there is no agent that could say so.
    """
    is_open = host.guard.open_at(router.id) is not None
    return host.absence if is_open or (_has_built(router, host) and host.link.has_told_all) else host.inability


def is_ready(router: RouterRecord, host: Host) -> bool:
    """Whether a host that has it built could have it active at once, as far as that host is concerned."""
    holds_lease = host.holds_lease and host.lease.is_held and not host.is_expired
    return _has_built(router, host) and holds_lease and not hindrance(router, host)


def ready(ledger: Ledger, router: RouterRecord, right: Right) -> Host | None:
    """The host of a right, if that can become active at once."""
    host = ledger.fleet.get(right.tenure.host)
    if right.state is not RightState.GIVEN or host is None or host.tenures.leased != right.tenure.incarnation:
        return None
    says_so = router.succession.word_of(host.name, right.epoch) is RouterState.ACTIVE
    return host if says_so and is_ready(router, host) else None


def first_ready(ledger: Ledger, router: RouterRecord) -> Right | None:
    """The first of those that could become active at once."""
    return next((right for right in router.succession.rights if ready(ledger, router, right) is not None), None)


def first_able(ledger: Ledger, router: RouterRecord, only: HostName | None = None) -> Right | None:
    """The first of those that could become active at once, and stay so; of `only` this host, if one is named."""
    for right in router.succession.rights:
        host = ready(ledger, router, right)
        if host is None or only not in (None, host.name):
            continue
        if not (why_left(host) or misfit(host, router.needs)):
            return right
    return None


def _has_built(router: RouterRecord, host: Host) -> bool:
    said = router.succession.said.get(host.name)
    return said is not None and said.state is RouterState.ACTIVE
