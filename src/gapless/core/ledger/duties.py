"""What each host has to do with a router, as a function of what is stored and under way.

The rule: plans are levels. Nobody adds a router to a host's plan or takes it out; the state changes, and every plan
becomes what this function says (`Ledger.sync`).

    binding, state                     its host              its standbys, by rank            the host that it leaves
    classic, in plan                   runs it               -                                -
    classic, withheld or waiting       -                     -                                (not in its plan)
    guarded, in plan                   active                each may succeed all before it   -
    guarded, waits for the old host    may succeed the old   each may succeed all before it   keeps it built,
                                                                                              releases it to its host
    the same, and has arrived          active                each may succeed all before it   the same
    the same, and its host is over     may succeed the old   each may succeed all before it   active, where it is open
    taken over, not stored yet         keeps it built        active; those before it built;   -
                                                             those behind it as before

A standby's epoch is the one that it would be active at: above all before it. Keeping a router built gives no right at
all; it is what the former active host does until another standby is there, since building anew is dear.
"""

from gapless.core.effects import StoreSuccession
from gapless.core.ledger.fleet import Fleet, Host
from gapless.core.ledger.moves import IN_PLAN
from gapless.core.ledger.plans import Duty
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right, RightState
from gapless.model.host import HostName
from gapless.model.lease import NOBODY, Tenure
from gapless.model.plan import Epoch, Guarded, Role, Successor
from gapless.model.router import FailoverMode


def duties(router: RouterRecord, fleet: Fleet) -> dict[HostName, Duty]:
    """The duty of each host that has one."""
    if router.host is None:
        return {}
    if router.succession.covered is None:
        return _classic(router, router.host, fleet)
    return _guarded(router, router.host)


def _classic(router: RouterRecord, host: HostName, fleet: Fleet) -> dict[HostName, Duty]:
    if router.state not in IN_PLAN or router.is_withheld:
        return {}
    return {host: Duty(epoch=router.epoch, guarded=_cover(router, fleet.get(host)))}


def _cover(router: RouterRecord, home: Host | None) -> Guarded | None:
    """A classic router that is to be a guarded one is guarded first; nobody may succeed before that is known.

    While it is being stored that it is guarded, its host is told the same, whatever becomes of that host's lease: the
    store may know already, and by what it knows another host may be next as soon as that tenure is over.
    """
    if isinstance(router.asked, StoreSuccession) and router.asked.incarnation is not None:
        return Guarded(role=Role.ACTIVE, incarnation=router.asked.incarnation)
    if router.needs.mode is not FailoverMode.STANDBY or home is None or not home.holds_lease:
        return None
    return Guarded(role=Role.ACTIVE, incarnation=home.tenures.leased)


def ahead_of(router: RouterRecord, right: Right) -> tuple[Tenure, ...]:
    """Whose tenures have to be over before this right may be used: those of all who forward it, or may begin to before.

    It never grows: rights are added behind it, and a planned move goes to the first.
    """
    succession = router.succession
    assert router.host is not None
    assert succession.covered is not None
    bound = [Tenure(router.host, succession.covered)]
    if succession.leaving is not None:
        assert router.leaving is not None
        bound.insert(0, Tenure(router.leaving, succession.leaving))
    return (*bound, *succession.before(right))


def _guarded(router: RouterRecord, host: HostName) -> dict[HostName, Duty]:
    given: dict[HostName, Duty] = {}
    succession, following = router.succession, Epoch(router.epoch + 1)
    assert succession.covered is not None
    if succession.former is not None:
        given[succession.former] = _built(following)
    for right in succession.rights:
        after = ahead_of(router, right) if right.state is RightState.GIVEN else ()
        given[right.tenure.host] = _standby(right.tenure, right.epoch, after)
    bound = Tenure(host, succession.covered)
    if router.state in IN_PLAN:
        given[host] = _active(bound, router.epoch)
    elif succession.leaving is not None:
        assert router.leaving is not None
        leaving = Tenure(router.leaving, succession.leaving)
        arriving = _active(bound, router.epoch) if succession.has_arrived else None
        given[host] = arriving or _standby(bound, router.epoch, (leaving,))
        if router.stays:
            assert succession.stays_at is not None
            given[router.leaving] = _active(leaving, succession.stays_at)
        elif succession.former == router.leaving:
            given[router.leaving] = _releasing(leaving, following, Successor(tenure=bound, epoch=router.epoch))
    if (took := succession.took) is not None:
        given[host] = _built(Epoch(took.epoch + 1))
        for right in succession.rights:
            if right.epoch < took.epoch:
                given[right.tenure.host] = _standby(right.tenure, right.epoch, ())
        given[took.by.host] = _active(took.by, took.epoch)
    return given


def _active(tenure: Tenure, epoch: Epoch) -> Duty:
    return Duty(epoch=epoch, guarded=Guarded(role=Role.ACTIVE, incarnation=tenure.incarnation))


def _standby(tenure: Tenure, epoch: Epoch, after: tuple[Tenure, ...]) -> Duty:
    return Duty(epoch=epoch, guarded=Guarded(role=Role.STANDBY, incarnation=tenure.incarnation, after=after))


def _releasing(tenure: Tenure, epoch: Epoch, to: Successor) -> Duty:
    guarded = Guarded(role=Role.STANDBY, incarnation=tenure.incarnation, release=to)
    return Duty(epoch=epoch, guarded=guarded)


def _built(epoch: Epoch) -> Duty:
    return Duty(epoch=epoch, guarded=Guarded(role=Role.STANDBY, incarnation=NOBODY))
