"""What must be true of the ledger after every event; each function raises InvariantError with what is not."""

from collections import Counter, deque
from collections.abc import Mapping
from itertools import combinations

from gapless.core.effects import Bind, StoreWithdrawal
from gapless.core.ledger.duties import duties
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import IN_PLAN, LEAVING, AssignmentState
from gapless.core.ledger.plans import Duty
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import RightState
from gapless.errors import InvariantError
from gapless.model.host import HostName
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId


class Invariants:
    """Checks a ledger again and again, as a whole or in slices; it remembers what may only grow."""

    def __init__(self) -> None:
        self._highest: dict[RouterId, tuple[RouterRecord, Epoch]] = {}
        self._routers_left: deque[RouterId] = deque()
        self._hosts_left: deque[HostName] = deque()
        """What the tour of slices has still to look at."""

    def check(self, ledger: Ledger) -> None:
        """Everything. Costs as much as there are routers and hosts."""
        for router in ledger.routers.values():
            self._check_one(ledger, router)
        self._forget_deleted(ledger)
        for host in ledger.fleet:
            _check_host(ledger, host)

    def check_slice(self, ledger: Ledger, most: int) -> bool:
        """Go on where the last slice ended, for as much as `most` routers cost; true at the end of a tour of all."""
        if not self._routers_left and not self._hosts_left:
            self._routers_left.extend(ledger.routers)
            self._hosts_left.extend(host.name for host in ledger.fleet)
        while self._routers_left and most > 0:
            most -= 1
            if router := ledger.routers.get(self._routers_left.popleft()):
                self._check_one(ledger, router)
        while self._hosts_left and most > 0:
            host = ledger.fleet.get(self._hosts_left.popleft())
            most -= 1
            if host is not None:
                most -= len(host.plan.duties)
                _check_host(ledger, host)
        if self._routers_left or self._hosts_left:
            return False
        self._forget_deleted(ledger)
        return True

    def _forget_deleted(self, ledger: Ledger) -> None:
        if len(self._highest) > len(ledger.routers):
            self._highest = {each: known for each, known in self._highest.items() if each in ledger.routers}

    def _check_one(self, ledger: Ledger, router: RouterRecord) -> None:
        self._check_growth(router)
        _check_router(ledger, router)
        self._highest[router.id] = router, router.epoch

    def _check_growth(self, router: RouterRecord) -> None:
        known, highest = self._highest.get(router.id, (None, 0))
        if known is not router:
            return  # It is new, maybe under the id of one that was deleted.
        if router.epoch < highest:
            raise InvariantError(f"router {router.id} fell from epoch {highest} to {router.epoch}")
        if highest and router.host is None:
            raise InvariantError(f"router {router.id} was bound at epoch {highest} and is bound to nobody now")


def _check_router(ledger: Ledger, router: RouterRecord) -> None:
    """A router is in plans exactly as `ledger.duties` says, and its hosts count it."""
    _expect((router.host is None) == (router.state is AssignmentState.UNBOUND), router, "bound, yet unbound")
    _expect((router.leaving is not None) == (router.state in LEAVING), router, "leaving nobody, or not leaving")
    _expect(router.leaving is None or router.leaving != router.host, router, "leaves the host it is bound to")
    _expect(not isinstance(router.asked, StoreWithdrawal) or router.state is AssignmentState.WITHDRAWN, router, "asked")
    if isinstance(router.asked, Bind):
        _expect(router.asked.replaces == router.epoch, router, "asks for an epoch that is not the next")
    home = ledger.fleet.get(router.host)
    if home is not None:
        _expect(router.id in home.bound, router, f"bound to {home.name}, which does not count it")
    wanted = duties(router, ledger.fleet)
    _expect(router.planned_on == wanted.keys(), router, f"planned on {sorted(router.planned_on)}")
    for name, duty in wanted.items():
        if host := ledger.fleet.get(name):
            _expect(
                host.plan.duties.get(router.id) == duty,
                router,
                f"in {name}'s plan as {host.plan.duties.get(router.id)}",
            )
    if not router.is_guarded:
        _expect(wanted.keys() <= {router.host}, router, "planned where it is not bound")
        _expect(router.state not in IN_PLAN or router.is_withheld or bool(wanted), router, "in nobody's plan")
    _check_succession(ledger, router, wanted)


def _check_succession(ledger: Ledger, router: RouterRecord, wanted: Mapping[HostName, Duty]) -> None:
    """Of any two hosts that are active or may become so, one waits for the other; and hosts count whom they succeed."""
    _check_chain(router, wanted)
    rights = router.succession.rights
    epochs = [router.epoch, *(right.epoch for right in rights)]
    _expect(epochs == sorted(set(epochs)), router, f"rights at epochs {epochs[1:]}")
    _expect(len({right.tenure.host for right in rights}) == len(rights), router, "a host has two rights")
    _expect(not rights or router.is_guarded, router, "may be succeeded, but is not guarded")
    for right in rights:
        host = ledger.fleet.get(right.tenure.host)
        _expect(right.state is not RightState.NOBODY, router, "a right of nobody")
        _expect(right.tenure.host != router.host, router, "stands by for itself")
        _expect(host is None or router.id in host.standbys, router, f"unknown to its standby {right.tenure.host}")


def _check_chain(router: RouterRecord, wanted: Mapping[HostName, Duty]) -> None:
    active = [name for name, duty in wanted.items() if not duty.is_standby]
    _expect(len(active) <= 1, router, f"active on {active}")
    waits = {
        Tenure(name, guarded.incarnation): guarded.after
        for name, duty in wanted.items()
        if (guarded := duty.guarded) is not None and (guarded.after or not duty.is_standby)
    }
    for one, other in combinations(waits, 2):
        _expect(one in waits[other] or other in waits[one], router, f"{one} and {other} may both become active")


def _check_host(ledger: Ledger, host: Host) -> None:
    """What a host counts is what routers say, and nothing in its plan is another host's."""
    for router_id in host.bound:
        router = ledger.routers.get(router_id)
        if router is None or router.host != host.name:
            raise InvariantError(f"{host.name} counts router {router_id}, which is not bound to it")
    for router_id in host.plan.duties:
        router = ledger.routers.get(router_id)
        if router is None or host.name not in router.planned_on:
            raise InvariantError(f"{host.name} has router {router_id} in its plan, and no duty to it")
    for router_id in host.standbys | host.preparing:
        router = ledger.routers.get(router_id)
        if router is None or router.succession.right_of(host.name) is None:
            raise InvariantError(f"{host.name} counts router {router_id}, for which it does not stand by")
    if (
        Counter(share for router_id in host.bound for share in ledger.routers[router_id].succession.shares)
        != host.shares
    ):
        raise InvariantError(f"{host.name} counts wrong who takes its routers: {host.shares}")
    for router_id in host.coming:
        router = ledger.routers.get(router_id)
        if router is None or not isinstance(router.asked, Bind) or router.asked.host != host.name:
            raise InvariantError(f"{host.name} expects router {router_id}, for which no such binding is being stored")
    for router_id in host.letting_go:
        router = ledger.routers.get(router_id)
        if router is None or router.leaving != host.name:
            raise InvariantError(f"{host.name} is waited for by router {router_id}, which does not leave it")
    if not host.plan.unsent <= host.plan.duties.keys():
        raise InvariantError(f"{host.name} is to be sent routers that are not in its plan")
    if host.tenures.leased > host.tenures.incarnation:
        raise InvariantError(f"{host.name} held its lease at {host.tenures.leased}, and is at a lower incarnation")
    if host.lease.held_since is not None and host.lease.without_since is not None:
        raise InvariantError(f"{host.name} is at once with and without its lease")


def _expect(holds: bool, router: RouterRecord, what: str) -> None:
    if not holds:
        raise InvariantError(f"router {router.id} ({router.state}, epoch {router.epoch}, on {router.host}): {what}")
