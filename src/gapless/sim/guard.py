"""A lease layer, made up and correct by construction, and the guard of each machine, which relies on it.

`Leases` knows at every moment what real arbiters find out with datagrams: whose lease is alive. So a tenure is buried
here only when its lease is over, and what the real protocol may get wrong cannot go wrong. What is left to go wrong is
who may succeed whom, and that is the planner's.

A guard does what a sentinel does: it opens what its plan says, or what it may take over, and only while it holds its
lease; it closes what a plan takes away, later than the plan came, and only then acknowledges it, and releases it; a
takeover that a plan does not know of is not undone by it. What it is to release it may hold open for a while, as if its
connections were copied first, and all else of the plan is acknowledged; and it does not close it for a host that is
over, if it knows.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from random import Random
from typing import Protocol

from gapless.core.edge.arbiter import EXPIRED_S
from gapless.core.ledger.plans import Duty
from gapless.model.host import HostName, Incarnation, machine_of
from gapless.model.lease import NOBODY, Tenure
from gapless.model.plan import Epoch, Forwarding, Role, Successor, Takeover, TakeoverTimes
from gapless.model.router import RouterId
from gapless.sim.agenda import Agenda

LEASE_S = 0.2
HELD = 0.3
"""Of what is to be released, how much is held open first."""
HELD_S = 2.0
"""For so long at most."""
POLL_S = 0.3
"""How often a guard looks whether it may take over."""


class Leases:
    """Who holds a lease, and who is buried."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._held: dict[HostName, Incarnation] = {}
        """Renewed all the time."""
        self._ends: dict[Tenure, float] = {}
        """Not renewed any more."""
        self._over: dict[HostName, Incarnation] = {}

    def hold(self, tenure: Tenure) -> bool:
        """From now on it is renewed; false if it is buried or was replaced by a higher one."""
        known = max(self._over.get(tenure.host, 0), self._held.get(tenure.host, 0) - 1)
        if tenure.incarnation <= known or tenure in self._ends:
            return False
        self._held[tenure.host] = tenure.incarnation
        return True

    def has_to_wait(self, tenure: Tenure) -> bool:
        """Whether another machine of its name has a lease still. That one is not renewed any more: arbiters that have
        heard of the later machine drop what it says.
        """
        before = Tenure(tenure.host, self._held.get(tenure.host, NOBODY))
        if machine_of(tenure.incarnation) <= machine_of(before.incarnation):
            return False
        self.stop(before)
        return self.is_alive(before)

    def stop(self, tenure: Tenure) -> None:
        """It is not renewed any more: it lasts a lease, and never comes back."""
        if self._held.get(tenure.host) == tenure.incarnation and tenure not in self._ends:
            self._ends[tenure] = self._agenda.now + LEASE_S

    def is_alive(self, tenure: Tenure) -> bool:
        """Whether frames pass by it."""
        if tenure in self._ends:
            return self._agenda.now < self._ends[tenure]
        return self._held.get(tenure.host) == tenure.incarnation

    def bury(self, tenure: Tenure) -> bool:
        """A claim: granted if no lease at or below it is alive, and then for ever."""
        lower = [each for each in self._ends if each.host == tenure.host and each.incarnation <= tenure.incarnation]
        if self.is_alive(tenure) or any(map(self.is_alive, lower)):
            return False
        self._over[tenure.host] = max(self._over.get(tenure.host, NOBODY), tenure.incarnation)
        return True

    def is_buried(self, tenure: Tenure) -> bool:
        """Whether a claim was granted."""
        return tenure.incarnation <= self._over.get(tenure.host, 0)

    def expired(self, *, is_deaf: bool) -> tuple[Tenure, ...]:
        """Whose leases have been over for a second, as arbiters say; one that is deaf says so of everybody."""
        held = [Tenure(host, incarnation) for host, incarnation in sorted(self._held.items())]
        return tuple(each for each in held if is_deaf or self._agenda.now - self._ends.get(each, inf) >= EXPIRED_S)

    def is_silent(self, tenure: Tenure) -> bool:
        """Whether arbiters hint that it is over: nothing is heard of it, nor of a later one."""
        return not self.is_alive(tenure) and self._held.get(tenure.host, 0) <= tenure.incarnation


class Watcher(Protocol):
    """Looks at every guard."""

    def opened(self, tenure: Tenure, router_id: RouterId) -> None:
        """A router's frames pass on this host from now on."""

    def righted(self, name: HostName) -> None:
        """A host has other rights than before."""

    def released(self, by: Tenure, router_id: RouterId, to: Successor) -> None:
        """A datagram leaves: this router is closed here."""


@dataclass(slots=True)
class _Taken:
    takeover: Takeover
    told_in: int | None = None
    """The number of the first report of this session that told it."""
    is_answered: bool = False


class Guard:
    """The guard of one machine, in one incarnation after another."""

    def __init__(self, agenda: Agenda, random: Random, leases: Leases, watcher: Watcher, name: HostName) -> None:
        self._agenda = agenda
        self._random = random
        self._leases = leases
        self._watcher = watcher
        self._name = name
        self.tenure = Tenure(name, NOBODY)
        self.leased = NOBODY
        self.active: dict[RouterId, Epoch] = {}
        self.rights: dict[RouterId, tuple[Epoch, tuple[Tenure, ...]]] = {}
        self.releases: dict[RouterId, Successor] = {}
        self._promised: dict[RouterId, Epoch] = {}
        """The epoch at which each was released last: up to there it is not opened here any more."""
        self._waited: dict[RouterId, Successor] = {}
        """Releases that were waited for, or are."""
        self._held: set[RouterId] = set()
        self._apart = Random(f"guard {name}")
        """So that it changes nothing else of a seed."""
        self.version = 0
        self.number = 0
        self._taken: list[_Taken] = []
        self._pending: tuple[Mapping[RouterId, Duty], int, int] | None = None
        self._session = 0
        self.report: Callable[[], None] = lambda: None

    # What happens to it

    def reborn(self, incarnation: Incarnation) -> None:
        """A new incarnation, with nothing open and no rights, and no lease yet."""
        self._leases.stop(self.tenure)
        self.tenure = Tenure(self._name, incarnation)
        self.active.clear()
        self.rights.clear()
        self.releases.clear()
        self._waited.clear()
        self._held.clear()
        self._promised.clear()
        self._taken.clear()

    def has_to_wait(self) -> bool:
        """Whether the machine that had this name before has a lease still."""
        return self._leases.has_to_wait(self.tenure)

    def hold(self) -> bool:
        """The arbiters grant it its lease; false if they never will at this incarnation."""
        if not self._leases.hold(self.tenure):
            return False
        self.leased = self.tenure.incarnation
        self._apply()
        self.report()
        return True

    def session_began(self) -> None:
        """Nothing said so far is known to the controller at the other end."""
        self._session += 1
        self.version = self.number = 0
        self._pending = None
        for each in self._taken:
            each.told_in, each.is_answered = None, False

    def plan(self, duties: Mapping[RouterId, Duty], version: int, heard: int) -> None:
        """A plan arrives; it is worked on a little later."""
        self._pending = duties, version, heard
        session = self._session
        delay_s = self._random.choice([0.0, 0.001, 0.05, 1.5])
        self._agenda.after(delay_s, lambda: self._apply() if session == self._session else None)

    def _apply(self) -> None:
        if self._pending is None:
            return
        duties, version, heard = self._pending
        for each in self._taken:
            each.is_answered |= each.told_in is not None and heard >= each.told_in
        mine = {
            router_id: duty
            for router_id, duty in duties.items()
            if duty.guarded is not None and duty.guarded.incarnation == self.tenure.incarnation
        }
        kept = {
            each.takeover.router_id
            for each in self._taken
            if not each.is_answered or _gives_still(mine.get(each.takeover.router_id), each.takeover)
        }
        kept |= self._stays_open(mine)
        should = {
            router_id: duty.epoch
            for router_id, duty in mine.items()
            if not duty.is_standby and duty.epoch > self._promised.get(router_id, 0)
        }
        self.releases = {
            router_id: to
            for router_id, duty in mine.items()
            if (to := _release_of(duty)) is not None and router_id not in kept
        }
        self._close(self.active.keys() - should.keys() - kept)
        self._taken = [each for each in self._taken if each.takeover.router_id in self.active]
        if self.is_alive:
            for router_id, epoch in should.items():
                self._open(router_id, max(epoch, self.active.get(router_id, epoch)))
        self.rights = {
            router_id: (duty.epoch, duty.guarded.after)
            for router_id, duty in mine.items()
            if duty.guarded is not None and duty.guarded.role is Role.STANDBY and duty.guarded.after
            if router_id not in self.active
        }
        self._watcher.righted(self._name)
        if self.version != version:
            self.version = version
            self.report()

    def _stays_open(self, mine: Mapping[RouterId, Duty]) -> set[RouterId]:
        """What is open and to be released, but not yet; or to a host that this one knows to be over."""
        asked = {router_id: to for router_id, duty in mine.items() if (to := _release_of(duty)) is not None}
        self._waited = {router_id: to for router_id, to in self._waited.items() if asked.get(router_id) == to}
        self._held &= self._waited.keys()
        over = set()
        for router_id in sorted(self.active.keys() & asked.keys()):
            to = asked[router_id]
            if self._leases.is_buried(to.tenure) and self._apart.random() < 0.5:
                over.add(router_id)
            elif router_id not in self._waited and self._apart.random() < HELD:
                self._held.add(router_id)
                wait_s = self._apart.uniform(0.0, HELD_S)
                self._agenda.after(wait_s, partial(self._hold_no_more, router_id, to))
            self._waited[router_id] = to
        return over | self._held

    def _hold_no_more(self, router_id: RouterId, to: Successor) -> None:
        if router_id in self._held and self._waited[router_id] == to:
            self._held.discard(router_id)
            self._apply()
            self.report()

    def _close(self, routers: Collection[RouterId]) -> None:
        for router_id in sorted(routers):
            del self.active[router_id]
        self._release()

    def _release(self) -> None:
        for router_id, to in sorted(self.releases.items()):
            self._promised[router_id] = to.epoch
            self._watcher.released(self.tenure, router_id, to)

    def hear_release(self, by: Tenure, router_id: RouterId, to: Successor) -> None:
        """Another guard says that it has closed a router."""
        epoch, after = self.rights.get(router_id, (Epoch(0), ()))
        if not self.is_alive or router_id in self.active or to != Successor(tenure=self.tenure, epoch=epoch):
            return
        if by in after and all(tenure == by or self._leases.is_buried(tenure) for tenure in after):
            times = TakeoverTimes(buried_ms=0.0, opened_ms=0.5, told_ms=3.0)
            took = Takeover(router_id=router_id, epoch=epoch, of=by, times=times, is_released=True)
            self._use(took)
            self.report()

    def poll(self) -> None:
        """Take over what it may, from whom the arbiters bury; say again what was released."""
        self._release()
        silent = {tenure for _, after in self.rights.values() for tenure in after if self._may_claim(tenure)}
        for tenure in sorted(silent):
            if self.is_alive and self._leases.bury(tenure):
                self._succeed(tenure)

    def _may_claim(self, tenure: Tenure) -> bool:
        return self._leases.is_buried(tenure) or self._leases.is_silent(tenure) or self._random.random() < 0.05

    def _succeed(self, tenure: Tenure) -> None:
        for router_id, (epoch, after) in sorted(self.rights.items()):
            is_ripe = tenure in after and all(map(self._leases.is_buried, after))
            if is_ripe and router_id not in self.active:
                times = TakeoverTimes(
                    granted_ms=-50.0, silent_ms=200.0, claimed_ms=200.5, buried_ms=201.5, opened_ms=202.0, told_ms=205.0
                )
                self._use(Takeover(router_id=router_id, epoch=epoch, of=tenure, times=times))
        self.report()

    def _use(self, took: Takeover) -> None:
        """A right is used up."""
        del self.rights[took.router_id]
        self._taken.append(_Taken(took))
        self._open(took.router_id, took.epoch)

    def _open(self, router_id: RouterId, epoch: Epoch) -> None:
        is_new = router_id not in self.active
        self.active[router_id] = epoch
        if is_new:
            self._watcher.opened(self.tenure, router_id)

    # What it says

    @property
    def is_alive(self) -> bool:
        """It holds its lease."""
        return self._leases.is_alive(self.tenure)

    def forwards(self, router_id: RouterId) -> bool:
        """The kernel's view."""
        return router_id in self.active and self.is_alive

    def next_number(self) -> int:
        """Of the report that is made now."""
        self.number += 1
        return self.number

    def takeovers(self) -> tuple[Takeover, ...]:
        """Those that no plan has answered, told in the report that is made now."""
        unanswered = [each for each in self._taken if not each.is_answered]
        for each in unanswered:
            if each.told_in is None:
                each.told_in = self.number
        return tuple(each.takeover for each in unanswered)

    def forwarding(self) -> tuple[Forwarding, ...]:
        """All that is open."""
        released = {each.takeover.router_id for each in self._taken if each.takeover.is_released}
        return tuple(
            Forwarding(router_id=router_id, epoch=epoch, is_released=router_id in released)
            for router_id, epoch in sorted(self.active.items())
        )


def _release_of(duty: Duty) -> Successor | None:
    return None if duty.guarded is None else duty.guarded.release


def _gives_still(duty: Duty | None, took: Takeover) -> bool:
    """Whether a plan gives the right that was used, as one does whose controller waits for the store."""
    return duty is not None and duty.is_standby and duty.epoch == took.epoch
