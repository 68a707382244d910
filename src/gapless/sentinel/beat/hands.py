"""Carries out what a beat asks of this machine: the guard's lease and active set, and announcements.

The rule: effects on the kernel are carried out in their order. One that fails holds back those after it and is tried
again, with four exceptions: an Activate is answered as failed, and the core asks again; so is a HoldLease, which waits
for nothing, since the other routers need their lease whatever holds up one, and is out of date by the next beat; a
Withdraw makes moot what waits before it; and closings come after all else, since a router that waits to be closed
forwards, and one that waits to be opened or announced is dark. (The core asks for nothing else of a router that is
being closed.) A guard that somebody else changed is put back before anything else, and said (`mended`).

The second rule: one turn is short. Routers are closed some at a time, since each name costs, and what is to be said of
some is said before the next are closed; to withdraw is one transaction however many there are, as is to open, because a
takeover is one.

Invariant: what the sentinel was told to be open (`open_routers`, and what may be open though that failed) covers what
the kernel's active set lets pass: it is told before the set grows, and taken back after it has shrunk.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from math import inf
from typing import Protocol

from gapless.core.edge.beatevents import (
    Activate,
    Activated,
    Announce,
    BeatEvent,
    Deactivate,
    Deactivated,
    HoldFailed,
    HoldLease,
    Tell,
    Withdraw,
    Withdrawn,
)
from gapless.errors import GaplessError, InvalidRequest
from gapless.model.plan import Epoch
from gapless.model.router import RouterId
from gapless.sentinel.beat.mended import Guarding, MendedGuard, Told
from gapless.sentinel.beat.ways import Way, used_by
from gapless.wire.beat import BeatRouter

ROUTERS_AT_ONCE = 100
"""How many are closed in one turn: a fraction of a millisecond."""

KernelEffect = HoldLease | Withdraw | Activate | Deactivate | Announce | Tell
"""Those whose order matters: an announcement follows its opening, and news what they tell of."""


@dataclass(frozen=True, slots=True)
class _Closing:
    """A part of a Deactivate; the last one has the answer to all of it."""

    routers: tuple[RouterId, ...]
    answer: Deactivated | None


_Waiting = Withdraw | Activate | Announce | Tell


class Announcing(Protocol):
    """`sentinel.beat.announcements.Announcements`, as far as it is used here. Nothing here raises or waits."""

    def prepare(self, router: BeatRouter) -> None:
        """Have what there is to announce of this router ready: its ports are planned otherwise, or are new."""

    def forget(self, router_id: RouterId) -> None:
        """It is not planned here any more."""

    def announce(self, routers: Iterable[RouterId]) -> None:
        """Announce these, in turn, and again after a while."""

    def announce_whole(self, routers: Iterable[RouterId]) -> None:
        """Announce every address of these, after those whose ports alone are urgent, and again after a while."""

    def announce_again(self, routers: Iterable[RouterId]) -> None:
        """Announce these once more, after all that is announced for the first time."""

    def silence(self, routers: Iterable[RouterId]) -> None:
        """Announce these no more."""


class Witness(Told, Protocol):
    """Who is told what was done."""

    def opened(self, routers: Mapping[RouterId, Epoch]) -> None:
        """These are about to pass."""

    def passing(self, routers: Collection[RouterId]) -> None:
        """These pass, by a plan: it is done."""

    def closed(self, routers: Iterable[RouterId]) -> None:
        """These pass no more."""

    def tell(self, news: Tell) -> None:
        """All that came before this news is done."""


_RENEW = "renew the lease in the kernel"
_OPEN, _CLOSE, _FIT = "open routers", "close routers", "open or close ports of open routers"


class Hands:
    """One beat's."""

    def __init__(self, guard: Guarding, announcer: Announcing, witness: Witness) -> None:
        self._guard = MendedGuard(guard, witness)
        self._announcer = announcer
        self._witness = witness
        self._queue: deque[_Waiting] = deque()
        self._closings: deque[_Closing] = deque()
        self._routers: dict[RouterId, BeatRouter] = {}
        self._open: dict[RouterId, frozenset[str]] = {}
        """Tap names that are, or may be, open for a router."""
        self._unsure: dict[RouterId, frozenset[str]] = {}
        """Of routers that failed to open, and may be open all the same: the taps that were to pass."""
        self._unfit: set[RouterId] = set()
        """Open routers whose ports are not those that are open."""
        self._ways_used: frozenset[Way] | None = None
        """By what is open; None: to be found out."""
        self._until = -inf
        self._is_renewal_due = False
        self.has_more = False
        """There is something to close, after the beat if that is due."""

    @property
    def is_unguarded(self) -> bool:
        """Somebody else may have removed the guard, and it is not put back: every guarded tap may pass frames. A host
        that is succeeded then would forward beside its successor.
        """
        return self._guard.is_away

    @property
    def open_routers(self) -> frozenset[RouterId]:
        """Routers that were opened, and not closed since: the guard may let them pass."""
        return frozenset(self._open)

    @property
    def known(self) -> frozenset[RouterId]:
        """Routers of the plan, as far as it has arrived."""
        return frozenset(self._routers)

    def gateways(self) -> set[tuple[str, IPv4Address]]:
        """Uplinks and next hops of the routers that are known."""
        return {router.gateway for router in self._routers.values() if router.gateway is not None}

    def ways_used(self) -> frozenset[Way]:
        """Whatever the open routers leave this host by; to be asked for while some way out is lost, and not before: a
        thousand routers take a fraction of a millisecond, if they changed since.
        """
        if self._ways_used is None:
            routers = [self._routers[each] for each in self._open if each in self._routers]
            self._ways_used = frozenset(way for router in routers for way in used_by(router))
        return self._ways_used

    def plan(self, routers: Iterable[BeatRouter], removed: Iterable[RouterId]) -> None:
        """What is known of routers changed: ports that an open router gained are opened, lost ones are closed."""
        self._ways_used = None
        for router in routers:
            known = self._routers.get(router.router_id)
            self._routers[router.router_id] = router
            if known is None or known.ports != router.ports:
                self._announcer.prepare(router)
            if self._open.get(router.router_id, _taps(router)) != _taps(router):
                self._unfit.add(router.router_id)
        for router_id in removed:
            if self._routers.pop(router_id, None) is not None and router_id not in self._open:
                self._announcer.forget(router_id)  # One that is open is announced until it is closed.
        self._fit()

    def built(self, routers: Iterable[RouterId], given_more: Collection[RouterId] = ()) -> None:
        """The interfaces of these are there; of those that are `given_more`, some of them, or addresses, are new. What
        is open is announced.
        """
        for router_id in routers:
            if router := self._routers.get(router_id):
                self._announcer.prepare(router)
                if router_id in self._open:
                    announce = self._announcer.announce_whole if router_id in given_more else self._announcer.announce
                    announce([router_id])

    def look_after(self) -> None:
        """Now and then: a guard that nobody used since is used, which shows whether somebody else changed it. It holds
        no lease then: one that is held was renewed since.
        """
        if not self._guard.was_used:
            self._try(_RENEW, lambda: self._guard.extend(self._until))
        self._guard.was_used = False

    def carry_out(self, effects: Iterable[KernelEffect]) -> Iterator[BeatEvent]:
        """Carry out these after what is held up, as far as possible; yields the answers. What is to be closed waits for
        `close_some`.
        """
        for effect in effects:
            self._take_in(effect)
        self.has_more = bool(self._closings)
        self._guard.begin_turn()
        if self._is_renewal_due:
            self._is_renewal_due = False
            if (failed := self._renew()) is not None:
                yield failed
        self._fit()
        while self._queue:
            first = self._queue[0]
            try:
                answer = self._do(first)
            except GaplessError as error:
                self._witness.trouble(_what(first), str(error))
                return
            self._witness.trouble(_what(first), "")
            self._queue.popleft()
            if answer is not None:
                yield answer

    def close_some(self) -> Iterator[BeatEvent]:
        """Close the next part of what is to be closed; yields the answer. What fails is tried again after the next
        effects, or the next beat.
        """
        self.has_more = False
        if self._closings and self._close(self._closings[0].routers):
            closed = self._closings.popleft()
            self.has_more = bool(self._closings)
            if closed.answer is not None:
                yield closed.answer

    def _take_in(self, effect: KernelEffect) -> None:
        match effect:
            case HoldLease():
                self._until, self._is_renewal_due = effect.until, True
            case Withdraw():
                self._until, self._is_renewal_due = -inf, False
                self._unfit.clear()
                self._announcer.silence(self._open)  # Whatever the kernel does: no announcement passes the guard.
                self._queue = deque(waiting for waiting in self._queue if isinstance(waiting, Tell))
                self._queue.append(effect)
                self._closings.clear()
            case Deactivate():
                self._closings += _parts(effect)
            case _:
                self._queue.append(effect)

    def _renew(self) -> HoldFailed | None:
        """The answer if the lease could not be written, and nothing passes without one."""
        if reason := self._try(_RENEW, lambda: self._guard.extend(self._until)):
            return HoldFailed(ends=self._guard.taken_until_s, reason=reason) if not self.is_unguarded else None
        return None

    def _do(self, effect: _Waiting) -> BeatEvent | None:
        match effect:
            case Withdraw():
                self._guard.withdraw()
                self._closed((*self._open, *self._unsure))
                return Withdrawn()
            case Activate():
                return self._activate(effect)
            case Announce():
                self._announcer.announce(effect.routers)
                return None
            case Tell():
                self._witness.tell(effect)
                return None

    def _activate(self, effect: Activate) -> Activated:
        routers = effect.routers
        taps = {router_id: self._wanted(router_id) for router_id in routers}
        self._witness.opened(routers)
        try:
            self._guard.activate(_all(taps))
        except GaplessError as error:
            return self._not_activated(taps, error)
        self._witness.trouble(_OPEN, "")
        self._open |= taps
        self._are_known(routers)
        self._ways_used = None
        if effect.cause is None:  # In a takeover nobody waits for that word.
            self._witness.passing([each for each in routers if each in self._routers])
        return Activated(routers=tuple(routers))

    def _not_activated(self, taps: Mapping[RouterId, frozenset[str]], error: GaplessError) -> Activated:
        """The answer. Of what may be open all the same the sentinel is not told that it is closed."""
        unsure = {router_id: names | self._unsure.get(router_id, frozenset()) for router_id, names in taps.items()}
        if is_unsure := self._guard.may_pass(_all(unsure)):
            self._unsure |= unsure
        else:
            self._are_known(taps)
            self._witness.closed([router_id for router_id in taps if router_id not in self._open])
        self._witness.trouble(_OPEN, str(error))
        is_refused = not self.is_unguarded and not isinstance(error, InvalidRequest)
        return Activated(routers=tuple(taps), reason=str(error), is_unsure=is_unsure, is_refused=is_refused)

    def _are_known(self, routers: Iterable[RouterId]) -> None:
        for router_id in routers:
            self._unsure.pop(router_id, None)

    def _close(self, routers: tuple[RouterId, ...]) -> bool:
        """Whether they are closed; if not, that is said."""
        taps = self._taps_of(routers)
        if self._try(_CLOSE, lambda: self._guard.deactivate(taps)):
            return False
        self._closed(routers)
        return True

    def _fit(self) -> None:
        """Open the ports that open routers gained, close those that they lost: each in one transaction."""
        if not self._unfit:
            return  # as in nearly each turn
        unfit = [router_id for router_id in self._unfit if router_id in self._open]
        if not unfit:
            self._unfit.clear()
            return
        wanted = {router_id: self._wanted(router_id) for router_id in unfit}
        there = self._taps_of(unfit)
        needed = _all(wanted)
        for router_id in unfit:  # They are closed with their router also when one of these fails.
            self._open[router_id] |= wanted[router_id]
        if self._try(_FIT, lambda: self._guard.activate(needed)):
            return
        if not self._try(_FIT, lambda: self._guard.deactivate(there - needed)):
            self._open |= wanted
            self._unfit.clear()

    def _closed(self, routers: Collection[RouterId]) -> None:
        self._announcer.silence(routers)
        self._ways_used = None
        self._are_known(routers)
        for router_id in routers:
            self._open.pop(router_id, None)
            if router_id not in self._routers:
                self._announcer.forget(router_id)
        self._witness.closed(routers)

    def _wanted(self, router_id: RouterId) -> frozenset[str]:
        router = self._routers.get(router_id)
        return self._open.get(router_id, frozenset()) if router is None else _taps(router)

    def _taps_of(self, routers: Iterable[RouterId]) -> frozenset[str]:
        return frozenset().union(*(self._open.get(router_id, frozenset()) for router_id in routers))

    def _try(self, what: str, action: Callable[[], None]) -> str:
        """Why it could not be done, which is said; "" if it could."""
        try:
            action()
        except GaplessError as error:
            self._witness.trouble(what, str(error))
            return str(error)
        self._witness.trouble(what, "")
        return ""


def _taps(router: BeatRouter) -> frozenset[str]:
    return frozenset(router.taps)


def _all(taps: Mapping[RouterId, frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*taps.values())


def _parts(asked: Deactivate) -> Iterator[_Closing]:
    count = max(len(asked.routers), 1)
    for start in range(0, count, ROUTERS_AT_ONCE):
        end = start + ROUTERS_AT_ONCE
        answer = Deactivated(routers=asked.routers) if end >= count else None
        yield _Closing(asked.routers[start:end], answer)


def _what(effect: _Waiting) -> str:
    match effect:
        case Withdraw():
            return "withdraw every router"
        case _:
            return "change the guard"
