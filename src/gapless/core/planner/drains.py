"""How far the routers of a host have left it, and where they could go: what an operator looks at, before and meanwhile.

A drain is a host out of service: its routers wish to leave (`planner.wishes`), some at a time, guarded ones to the
first standby that can take them now (`planner.readiness`). There is no other state of it, so whoever takes a host out
of service by Neutron's API drains it too, and whoever looks on may come and go.

The rule: nothing is decided here, and nothing is changed. A prospect is of one router, as if it were the only one to
leave: who goes first gets the room that there is.
"""

from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.views import DrainStatus, Prospect
from gapless.core.planner import readiness
from gapless.core.planner.placement import objection
from gapless.core.planner.wishes import hindrance
from gapless.model.host import HostName
from gapless.model.router import RouterId

_COPIED = {
    True: "with its connections",
    False: "and not all of its connections yet",
    None: "and does not say whether it has its connections",
}


def progress(ledger: Ledger, name: HostName) -> DrainStatus | None:
    """How far it is; None for a host that is not known."""
    host = ledger.fleet.get(name)
    if host is None:
        return None
    waiting = set(ledger.waiting_for_a_host()) & host.bound
    being_bound = host.drains & host.bound
    return DrainStatus(
        host=name,
        admin_up=host.admin_up,
        standing=host.standing,
        at_once=host.drains_at_once,
        routers=len(host.bound - being_bound),
        leaving=len(host.letting_go | being_bound),
        on_their_way=len(host.drains - host.letting_go - host.bound),
        stuck={router_id: ledger.routers[router_id].reason for router_id in sorted(waiting)},
    )


def prospects(ledger: Ledger, name: HostName) -> list[Prospect]:
    """Of each router that is bound to this host, by id."""
    host = ledger.fleet.get(name)
    bound: set[RouterId] = set() if host is None else host.bound
    return [_prospect(ledger, ledger.routers[router_id]) for router_id in sorted(bound)]


def switchover_to(ledger: Ledger, router: RouterRecord) -> HostName | None:
    """The standby that a guarded router could go to at once."""
    right = readiness.first_able(ledger, router) if router.is_guarded else None
    return None if right is None else right.tenure.host


def _prospect(ledger: Ledger, router: RouterRecord) -> Prospect:
    home = ledger.fleet.get(router.host)
    if home is not None and (why := hindrance(router, home)):
        return _stuck(router, f"{home.name} {why}, and has to be heard to let go of it")
    if router.is_guarded and (standby := _standby(ledger, router)) is not None:
        return standby
    objections = {
        host.name: objection(host, router.needs, router.hosts.waiting(ledger.now))
        for host in ledger.fleet
        if host.name != router.host
    }
    able = sorted(name for name, why in objections.items() if not why)
    if not able:
        why = "; ".join(f"{name} {why}" for name, why in sorted(objections.items()))
        return _stuck(router, why or "there is no other host")
    only = able[0] if len(able) == 1 else None
    what = "has to build it first" if len(able) == 1 else "can take it, and has to build it first"
    return Prospect(router_id=router.id, kind="build", host=only, reason=f"{' or '.join(able[:3])} {what}")


def _standby(ledger: Ledger, router: RouterRecord) -> Prospect | None:
    """Of a guarded router; None: nobody stands by who could go on doing so."""
    if (right := readiness.first_able(ledger, router)) is not None:
        to = right.tenure.host
        standby = ledger.fleet.get(to)
        copied = None if standby is None else standby.has_copied(router.id)
        what = f"{to} has it built, {_COPIED[copied]}"
        return Prospect(router_id=router.id, kind="switchover", host=to, reason=what, copied=copied)
    rights = router.succession.rights
    host = ledger.fleet.get(rights[0].tenure.host) if rights else None
    if host is None or objection(host, router.needs, has_it=True):
        return None
    what = f"{host.name} stands by for it, and builds it"
    return Prospect(router_id=router.id, kind="build", host=host.name, reason=what)


def _stuck(router: RouterRecord, why: str) -> Prospect:
    return Prospect(router_id=router.id, kind="stuck", host=None, reason=f"no host can take it: {why}")
