"""A guarded router whose host is over, and that nobody took over: it runs nowhere, and is made active anew.

The rule: as in `planner.standbys`, which asks, one look does at most one thing. In the order in which it looks for a
host:

    1. The first standby that has it built, once those before that one have lost their rights.
    2. The same host in its new incarnation, or one that has it built without a right: it came from there, or that was
       its standby and is back first.
    3. If it has a standby yet, that one is waited for until it has it built.
    4. When its host is dead, any other (RESCHEDULE); none while the brake is engaged.
    5. Where no host suits, the same host, if that is back. Else that one is waited for: until it is dead, or, if it is
       alive or the arbiters hear nothing of it, for a while (`CALM_S`), then any other.

All but the fourth is a RESTART.

The invariant: anybody but a standby gets the router only once nobody may succeed any more.
"""

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Standing
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right
from gapless.core.planner import readiness
from gapless.core.planner.leaseless import CALM_S
from gapless.core.planner.placement import misfit, objection
from gapless.core.planner.rebinding import Answer, Rebinding, bound_to
from gapless.core.planner.rights import Rights
from gapless.core.planner.wishes import Beliefs, Stay, Wish, homeless, is_doubted
from gapless.model.lease import Tenure
from gapless.model.plan import MoveKind

NEWS_S = 1.0
"""How much later than the news that a host is over the successor's own news may come, of what it took over: one host
has several successors, and each says so by itself."""


class Restarts:
    """Decides for guarded routers that run nowhere."""

    def __init__(self, ledger: Ledger, rights: Rights, rebinding: Rebinding) -> None:
        self._ledger = ledger
        self._rights = rights
        self._rebinding = rebinding

    def settle(self, router: RouterRecord, beliefs: Beliefs) -> Answer:
        """Look at a router whose host is over."""
        succession, home = router.succession, self._ledger.fleet.get(router.host)
        over = f"{bound_to(router)} is over and nobody is known to have taken over"
        wish = Wish(
            kind=MoveKind.RESTART,
            reason=f"Router {router.id} is made active anew, since {over}",
            reason_unmet=f"{router.host} restarted, and no host can take it",
            is_urgent=True,
        )
        if (right := readiness.first_ready(self._ledger, router)) is not None:
            return self._make_active(router, wish, right)
        if home is not None and not (readiness.hindrance(router, home) or misfit(home, router.needs)):
            # Even if it is out of service: it leaves from there as it would have.
            if succession.rights:
                return self._rights.take(router, *succession.rights)
            choice = f"{home.name} is back, and has it built or builds it"
            return self._rebinding.bind(router, wish, home, home.tenures.leased, choice)
        if (former := self._former(router, home)) is not None:
            if succession.rights:
                return self._rights.take(router, *succession.rights)
            return self._rebinding.bind(
                router, wish, former, former.tenures.leased, f"{former.name} has it built still"
            )
        if succession.rights:
            return self._wait_for_standby_to_build(router, succession.rights[0].tenure, beliefs)
        if home is not None and is_doubted(home, beliefs):
            return Stay(reason=f"{home.name} looks dead, but the brake is engaged: nothing moves for silence")
        if home is None or home.is_dead:
            return homeless(router, home, beliefs)
        if self._is_last_resort(router, home):
            choice = f"{home.name} had it, and no other host can take it"
            return self._rebinding.bind(router, wish, home, home.tenures.leased, choice)
        return self._wait_for_return(router, home, wish)

    def _make_active(self, router: RouterRecord, wish: Wish, right: Right) -> Answer:
        """Of those who may succeed, the first that is ready, once it is the first of all. That it is about to say so
        is not said: of all that a host had, it would be, and be false milliseconds later.
        """
        since = self._over_since(router)
        if self._ledger.now < since + NEWS_S:
            self._ledger.looks.later(router.id, since + NEWS_S)
            return Stay(reason=router.refused)
        if before := [each for each in router.succession.rights if each.epoch < right.epoch]:
            return self._rights.take(router, *before)
        return self._rebinding.bind_successor(router, wish, right)

    def _is_last_resort(self, router: RouterRecord, home: Host) -> bool:
        """Whether the router, which runs nowhere, had better stay on its host, although that suits it no more: it asks
        for another zone by now, or its host has lost a way out. There it was until its host was over.
        """
        if not (home.holds_lease and home.lease.is_held) or readiness.hindrance(router, home):
            return False
        others = (host for host in self._ledger.fleet if host is not home)
        return all(objection(host, router.needs, is_urgent=True) for host in others)

    def _former(self, router: RouterRecord, home: Host | None) -> Host | None:
        """A host that had it, or stood by for it, and has it built still, if that could have it active at once. Not
        while its own host had it and is back in a moment, by that one's word. It runs nowhere, so the former may be
        out of service: it leaves as it would have.
        """
        host = self._ledger.fleet.get(router.succession.former)
        is_coming = home is not None and home.is_between_leases and not home.is_missed
        if host is None or (is_coming and not router.open_move) or misfit(host, router.needs):
            return None
        return host if readiness.is_ready(router, host) else None

    def _wait_for_return(self, router: RouterRecord, home: Host, wish: Wish) -> Answer:
        """A host that is alive has the router built, so it gets a while to hold its lease again. So does one that the
        arbiters hear no more, however long it may count as alive here: it may have been cut off for a moment only.
        """
        now = self._ledger.now
        until = self._over_since(router) + CALM_S
        is_known = home.silence.standing is Standing.ALIVE or home.is_expired
        if is_known and now >= until and not home.is_between_leases:
            return wish
        if now < until:
            self._ledger.looks.later(router.id, until)
        return Stay(reason=f"{bound_to(router)} is over; waits for {home.name} to hold its lease again, or to be dead")

    def _over_since(self, router: RouterRecord) -> float:
        """When it was first seen that its host is over and nobody is known to have taken over."""
        if router.succession.lost_at is None:
            router.succession.lost_at = self._ledger.now
        return router.succession.lost_at

    def _wait_for_standby_to_build(self, router: RouterRecord, standby: Tenure, beliefs: Beliefs) -> Stay:
        host = self._ledger.fleet.get(standby.host)
        if host is None or host.may_be_over:
            self._rights.ask_whether_over(standby, router, beliefs)
        return Stay(reason=f"{router.host} is over; waits until {standby.host}, which stands by for it, has it built")
