"""What each host counts of the routers that it carries, comes to carry, or is left by.

The rule: whoever changes where a router is bound, who may succeed it, or whom it leaves says so here, so that no host
has to look at every router. A host that was full and carries one less has room for what waits.

The invariant: a host's counts are what routers say (`ledger.invariants`).
"""

from gapless.core.effects import Bind
from gapless.core.ledger.fleet import Fleet, Host
from gapless.core.ledger.looks import Looks
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right


class Counts:
    """Of all hosts that are known."""

    def __init__(self, fleet: Fleet, looks: Looks) -> None:
        self._fleet = fleet
        self._looks = looks

    # What is bound to it

    def bound(self, router: RouterRecord) -> None:
        """It is bound to its host from now on."""
        if host := self._fleet.get(router.host):
            host.bound.add(router.id)
            self._fleet.changed_standings.add(host.name)
        self._count_shares(router, 1)

    def unbound(self, router: RouterRecord) -> None:
        """It is not bound to its host any more."""
        self._count_shares(router, -1)
        if host := self._fleet.get(router.host):
            was_full = host.is_full
            host.bound.discard(router.id)
            self._fleet.changed_standings.add(host.name)
            self._freed(host, was_full)

    def begin_coming(self, router: RouterRecord) -> None:
        """A new binding of it is being stored."""
        if isinstance(router.asked, Bind) and (target := self._fleet.get(router.asked.host)):
            target.coming.add(router.id)

    def end_coming(self, router: RouterRecord) -> None:
        """It is known how the storing of its new binding went, or that does not matter any more."""
        if isinstance(router.asked, Bind) and (target := self._fleet.get(router.asked.host)):
            was_full = target.is_full
            target.coming.discard(router.id)
            self._freed(target, was_full)

    # What it may succeed with

    def add_right(self, router: RouterRecord, right: Right) -> None:
        """The last in rank."""
        self._count_shares(router, -1)
        router.succession.rights.append(right)
        self._count_shares(router, 1)
        if host := self._fleet.get(right.tenure.host):
            host.standbys.add(router.id)
            host.preparing.add(router.id)

    def remove_right(self, router: RouterRecord, right: Right) -> None:
        """Those behind it move up."""
        self._count_shares(router, -1)
        router.succession.rights.remove(right)
        self._count_shares(router, 1)
        if host := self._fleet.get(right.tenure.host):
            was_full = host.is_full
            host.standbys.discard(router.id)
            host.preparing.discard(router.id)
            self._freed(host, was_full)

    def _count_shares(self, router: RouterRecord, by: int) -> None:
        """To whom the router falls, should its host die, and standbys with it."""
        if home := self._fleet.get(router.host):
            for share in router.succession.shares:
                home.shares[share] += by

    # What leaves it

    def expect_from(self, router: RouterRecord, lacked_since: int | None = None) -> None:
        """The host that the router leaves is asked to let go: by its newest plan, or, where the router was withheld
        from that host, by the first one without it.
        """
        old = self._fleet.get(router.leaving)
        if old is not None and router.id not in old.letting_go:  # Else what it says to that plan still counts.
            old.letting_go.add(router.id)
            self._fleet.changed_standings.add(old.name)
            router.leaving_version = lacked_since or old.plan.version

    def end_wait(self, router: RouterRecord) -> None:
        """No host has to let go of it any more."""
        if old := self._fleet.get(router.leaving):
            old.letting_go.discard(router.id)
            self._fleet.changed_standings.add(old.name)
        router.leaving, router.succession.leaving, router.succession.has_arrived = None, None, False
        router.why_not_removed = ""

    def begin_drain(self, router: RouterRecord, old: Host) -> None:
        """It is leaving a host out of service: one of the few at a time that may."""
        router.drained_from = old.name
        old.drains.add(router.id)

    def end_drain(self, router: RouterRecord) -> None:
        """How the router's leaving of a host out of service went is known: the next one may leave."""
        old = self._fleet.get(router.drained_from)
        router.drained_from = None
        if old is not None:
            old.drains.discard(router.id)
            self._looks.at(*old.bound)

    def _freed(self, host: Host, was_full: bool) -> None:
        """A host carries one less: if it was full, something that waits may fit now."""
        if was_full and not host.is_full:
            self._looks.again()
