"""Keeps as many hosts as there should be ready to succeed a guarded router's: gives rights, takes them, sees them end.

The rule: one look does at most one thing, and what it begins leads to the next look, as in `planner.standbys`, which
asks. A right that was taken, or is over, is stored as nobody's before another is given; one that is given comes last in
rank. So while one successor is replaced, those behind it keep their rights, and wait for its tenure as before.

The invariant: `ledger.succession`. A right is over by its host's own word, or when its tenure is over, and never
before.
"""

from gapless.core.effects import StoreSuccession
from gapless.core.events import SuccessionFailed, SuccessionStored
from gapless.core.ledger import successors
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Standing
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import MAY_SUCCEED, Right, RightState, Trigger
from gapless.core.planner.binding import Binding
from gapless.core.planner.placement import StandbyPlacing, misfit, objection
from gapless.core.planner.wishes import Beliefs, Stay, why_left
from gapless.model.host import Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import RouterState

_CANNOT_BUILD = "cannot build it"


class Rights:
    """Who may succeed whom."""

    def __init__(self, ledger: Ledger, binding: Binding, most: int) -> None:
        """`most`: how many successors a router should have."""
        self._ledger = ledger
        self._binding = binding
        self._most = most
        self._placing: StandbyPlacing | None = None

    def begin_turn(self) -> None:
        """What hosts can do may have changed."""
        self._placing = None

    # As many as there should be

    def keep(self, router: RouterRecord, home: Host, beliefs: Beliefs, *, is_leaving: bool = False) -> Stay | None:
        """All rights are given, and its host is alive. None: something was begun, and says itself what. `is_leaving`:
        it cannot leave its host before somebody else has it built.
        """
        for right in router.succession.rights:
            if (answer := self._keep_one(router, right, home, beliefs)) is not None:
                return answer
        surplus = router.succession.rights[self._most :]
        if surplus:
            return self.take(router, *surplus)
        if len(router.succession.rights) == self._most:
            if router.succession.former is not None and not router.open_move:
                successors.drop_former(self._ledger, router)
            return Stay(reason=router.refused)
        return self._add(router, home, is_leaving=is_leaving)

    def are_full(self, router: RouterRecord) -> bool:
        """It has as many as it should."""
        return len(router.succession.rights) >= self._most

    def _keep_one(self, router: RouterRecord, right: Right, home: Host, beliefs: Beliefs) -> Stay | None:
        """What is to be done about this one; None: nothing, it suits."""
        host = self._ledger.fleet.get(right.tenure.host)
        if host is None or host.is_dead:
            is_asked = self.ask_whether_over(right.tenure, router, beliefs)
            return Stay(reason=f"its standby {right.tenure.host} is not heard; {asks('whether it is over', is_asked)}")
        if host.silence.standing is Standing.EXPECTED:
            return None  # This controller has just begun, and what that host can do is not known yet.
        why = self.why_unsuitable(router, host)
        if not why or (router.damping is not None and why == _CANNOT_BUILD):
            return None  # In the second case another one would hardly do better: its own host cannot run it, either.
        if self._is_other_suitable(router, right):
            return self.take(router, right)
        chosen, _, waits = self._next(router, home, instead_of=right)
        if chosen is not None:
            return self.take(router, right)
        self._look_again(router, waits=waits)
        return Stay(reason=f"its standby {host.name} {why}, and there is no other yet", is_stuck=not waits)

    def _is_other_suitable(self, router: RouterRecord, right: Right) -> bool:
        """Whether somebody else may succeed who suits: then one who does not is worse than none."""
        others = [each for each in router.succession.rights if each is not right]
        hosts = [self._ledger.fleet.get(each.tenure.host) for each in others]
        known = [host for host in hosts if host is not None]
        there = [host for host in known if not (host.is_dead or host.is_missed or host.is_between_leases)]
        return any(not self.why_unsuitable(router, host) for host in there)

    def _add(self, router: RouterRecord, home: Host, *, is_leaving: bool) -> Stay | None:
        succession = router.succession
        if home.absence:
            return Stay(reason=router.refused)
        what = "no other standby" if succession.rights else "no standby"
        former = self._former(router)
        if former is not None and not (is_leaving and former.is_missed):
            if former.is_between_leases:
                self._look_again(router, waits=False)
                return Stay(reason=f"{what}: waits for {former.name} to hold its lease again")
            return self.choose(router, former, f"{former.name} has it built")
        if self._ledger.now < succession.calm_until:
            self._ledger.looks.later(router.id, succession.calm_until)
            return Stay(reason=f"has {what} until things have been calm for a while after the takeover")
        chosen, why, waits = self._next(router, home)
        if chosen is not None:
            return self.choose(router, chosen, why)
        self._look_again(router, waits=waits)
        return Stay(reason=f"{what}: {why}", is_stuck=not waits)

    def _look_again(self, router: RouterRecord, *, waits: bool) -> None:
        """`waits`: for its turn; else for a host, maybe one that it keeps away from for a while."""
        if waits:
            self._ledger.looks.wait_for_a_turn(router.id)
            return
        self._ledger.looks.wait_for_a_standby(router.id)
        if avoided := router.hosts.waiting(self._ledger.now):
            self._ledger.looks.later(router.id, min(avoided.values()))

    def _former(self, router: RouterRecord) -> Host | None:
        """The host that has it built. It need not keep it if it cannot stand by, and lacks more than a lease, once its
        new host has it open: should that one be over before, this one is the quickest way back.
        """
        succession = router.succession
        host = self._ledger.fleet.get(succession.former)
        if host is None or host.name == router.host:
            if succession.former is not None:
                successors.drop_former(self._ledger, router)
            return None
        is_coming = host.is_between_leases and not host.unavailing
        if is_coming or not objection(host, router.needs, router.hosts.waiting(self._ledger.now)):
            return host
        if not (self._may_come_back_soon(router, host) or router.open_move):
            successors.drop_former(self._ledger, router)
        return None

    def _may_come_back_soon(self, router: RouterRecord, host: Host) -> bool:
        """A host that hangs, or was fenced unheard, may hold its lease again before anybody else has it built."""
        if host.unavailing:
            return False
        has_failed = host.name in router.hosts.waiting(self._ledger.now)
        lacks_a_lease = not (host.is_dead or host.is_leaseless or host.holds_lease)
        return (lacks_a_lease and not has_failed) or self._ledger.now < router.succession.calm_until

    def _next(
        self, router: RouterRecord, home: Host, *, instead_of: Right | None = None
    ) -> tuple[Host | None, str, bool]:
        """Who could stand by, after those that do, why (not), and whether it is a matter of waiting for a turn."""
        if not self._ledger.looks.take_turn():
            return None, "others get a standby first", True
        if self._placing is None:
            self._placing = StandbyPlacing(self._ledger.fleet, self._ledger.now)
        placement, waits = self._placing.place(
            router.needs,
            home,
            ranked=frozenset(right.tenure.host for right in router.succession.rights if right is not instead_of),
            instead_of=None if instead_of is None else instead_of.tenure.host,
            avoid=router.hosts.waiting(self._ledger.now),
        )
        return placement.host, placement.reason, waits

    def why_unsuitable(self, router: RouterRecord, host: Host) -> str:
        """Why a host should not go on standing by, as a clause that follows its name."""
        if why := why_left(host):
            return why
        if self._word(router, host) is RouterState.FAILED:
            if host.name not in router.hosts.waiting(self._ledger.now):
                router.hosts.failed(host.name, self._ledger.now)
            return _CANNOT_BUILD
        return "" if host.is_between_leases else misfit(host, router.needs)

    # Giving and taking

    def choose(self, router: RouterRecord, host: Host, why: str) -> Stay | None:
        """Have it stored that this host may succeed, after all that may already; it builds the router at once."""
        if (retry_at := router.store.waits_until("succession", self._ledger.now)) is not None:
            self._ledger.looks.later(router.id, retry_at)
            return None
        keep_former = router.open_move or len(router.succession.rights) + 1 < self._most
        successors.choose(self._ledger, router, host, keep_former=keep_former)
        self.store(router, router.succession.covered, f"{host.name} stands by: {why}")
        return None

    def take(self, router: RouterRecord, *rights: Right) -> Stay:
        """Plans give these rights no more; their hosts have to acknowledge that, or to be over. The next event or tick
        looks whether one is, or may have no word to say: a host that is missed is not waited for.
        """
        self._ledger.looks.at(router.id)
        for right in rights:
            successors.take(self._ledger, router, right)
            if host := self._ledger.fleet.get(right.tenure.host):
                host.guard.owing.add(router.id)
        return _waits_for(router, rights)

    def settle(self, router: RouterRecord, beliefs: Beliefs) -> Stay | None:
        """Wait for what was taken; have stored what has ended. None: nothing is under way, or it says itself what."""
        succession = router.succession
        if any(right.state is RightState.TAKEN for right in succession.rights):
            self.store(router, succession.covered, "its standby has lost the right to succeed")
            return None
        for right in succession.in_question:
            self.ask_if_not_heard(right.tenure, router, beliefs)
        return _waits_for(router, succession.in_question)

    def note_what_ended(self, router: RouterRecord) -> None:
        """See which hosts have lost their rights for certain."""
        if router.succession.took is not None:
            return
        for right in router.succession.rights:
            if right.state not in MAY_SUCCEED:
                continue
            host = self._ledger.fleet.get(right.tenure.host)
            is_closed = (
                right.state is RightState.TAKING
                and host is not None
                and self.has_closed(host, router, right.tenure.incarnation, right.taken_version)
            )
            if is_closed or (self.is_over(right.tenure) and not self._may_come_back(router, right, host)):
                successors.end(self._ledger, router, right)

    def _may_come_back(self, router: RouterRecord, right: Right, host: Host | None) -> bool:
        """Whether a right that is over is worth leaving as it is: a standby that was fenced, or hung and was buried, is
        back in a moment, with everything built. Not when the router waits for it. Those behind it wait for nothing more
        by that: it is over.
        """
        is_calm = right.state is RightState.GIVEN and not self._is_bound_over(router)
        return is_calm and host is not None and host.is_between_leases

    # The store

    def store(self, router: RouterRecord, incarnation: Incarnation | None, reason: str) -> None:
        """Have stored who may succeed, and at which incarnation of its host the router is guarded."""
        if (retry_at := router.store.waits_until("succession", self._ledger.now)) is not None:
            self._ledger.looks.later(router.id, retry_at)
            return
        rights = [right for right in router.succession.rights if right.state is not RightState.TAKEN]
        router.asked = StoreSuccession(
            router_id=router.id,
            epoch=router.epoch,
            incarnation=incarnation,
            successors=tuple(right.successor for right in rights),
            reason=reason,
            cause=self._ledger.cause,
        )
        self._ledger.emit(router.asked)

    def stored(self, event: SuccessionStored) -> None:
        """Now it is true, and plans may rely on it."""
        if (answered := self._binding.answered(event.router_id, event.epoch, StoreSuccession)) is None:
            return
        router, asked = answered
        router.store.forget("succession")
        if asked.incarnation != router.succession.covered:
            successors.cover(self._ledger, router, asked.incarnation)
        for right in list(router.succession.rights):
            is_stored = right.successor in asked.successors
            if is_stored and right.state is RightState.CHOSEN:
                successors.give(self._ledger, router, right)
            elif not is_stored:
                successors.drop(self._ledger, router, right, Trigger.ERASED)

    def failed(self, event: SuccessionFailed) -> None:
        """Whoever might succeed still may; tried again soon."""
        if (answered := self._binding.answered(event.router_id, event.epoch, StoreSuccession)) is None:
            return
        router, _ = answered
        router.store.failed("succession", self._ledger.now)
        if not router.is_guarded:  # Its host may hold another lease by now.
            self._ledger.sync(router, f"router {router.id} is guarded otherwise than before")
        for right in list(router.succession.rights):
            if right.state is RightState.CHOSEN:
                successors.drop(self._ledger, router, right, Trigger.NOT_STORED)
        what = f"who may succeed {router.host} could not be stored ({event.reason}); tried again soon"
        self._ledger.explain(router, what)

    # What is known

    def _is_bound_over(self, router: RouterRecord) -> bool:
        assert router.host is not None
        assert router.succession.covered is not None
        return self.is_over(Tenure(router.host, router.succession.covered))

    def is_over(self, tenure: Tenure) -> bool:
        """Whether that is known for certain."""
        host = self._ledger.fleet.get(tenure.host)
        has_said_so = host is not None and host.tenures.has_outlived(tenure.incarnation)
        return has_said_so or self._ledger.burials.is_over(tenure)

    def has_closed(self, host: Host, router: RouterRecord, incarnation: Incarnation, version: int) -> bool:
        """Whether the host's guard works from this version of its plan, or a later one, and the router is not open; at
        this incarnation or a later one of the same machine.
        """
        return host.tenures.is_of(incarnation) and host.guard.has_closed(router.id, version)

    def ask_whether_over(self, tenure: Tenure, router: RouterRecord, beliefs: Beliefs) -> bool:
        """Have the arbiters asked, as soon as the controller does not doubt its own eyes; whether they are, be it from
        before.
        """
        if beliefs.braked:
            self._ledger.looks.wait_for_the_brake(router.id)
        else:
            self._ledger.burials.want(tenure, router.id)
        return self._ledger.burials.is_wanted(tenure)

    def ask_if_not_heard(self, tenure: Tenure, router: RouterRecord, beliefs: Beliefs) -> None:
        """Somebody waits for this host's word, or for its end: if it may have none to say, the arbiters are asked."""
        host = self._ledger.fleet.get(tenure.host)
        if host is None or host.may_be_over or not host.silence.is_alive or host.tenure != tenure:
            self.ask_whether_over(tenure, router, beliefs)

    def _word(self, router: RouterRecord, host: Host) -> RouterState:
        """What it says of the router that it stands by for."""
        right = router.succession.right_of(host.name)
        return RouterState.REMOVED if right is None else router.succession.word_of(host.name, right.epoch)


def asks(what: str, is_asked: bool) -> str:
    """What is done to find that out, as a clause."""
    return f"asks the arbiters {what}" if is_asked else f"the brake is engaged, so nobody is asked {what}"


def _waits_for(router: RouterRecord, rights: tuple[Right, ...] | list[Right]) -> Stay:
    names = " and ".join(right.tenure.host for right in rights)
    what = "says that it" if len(rights) == 1 else "say that they"
    return Stay(reason=f"waits until {names} {what} will not succeed {router.host} any more")
