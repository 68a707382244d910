"""Whether it helps to move what breaks for one cause is tried with a few routers, before the others follow.

Theory: of many routers that cannot be repaired, their hosts' reasons do not tell whether these lie in a host, which has
to be left then, or in what hosts have in common: a plan that no kernel takes, a limit that all of them meet. Moving
tells. What is moved and well elsewhere proves that the rest had better follow; what breaks there as well has lost what
still worked, for nothing. So a few go first, as a sender begins with a small window in a network that it does not know
(slow start, RFC 5681).

The rule: of the routers that fail for one cause (`tours.cause_of`), on whichever hosts, `FEW` may move. Each that was
active for a moment on its new host makes room for as many more. Who finds no room stays, says so, and is looked at when
there is some. When the last move is a pause ago, it begins anew; a pause in vain makes the next one longer.

The invariant: within a pause no more routers are moved for a cause than `FEW` for each that was well elsewhere, and
`FEW`. So what is common to all hosts moves `FEW` of a thousand, and a host with a thousand broken routers is left in
five steps.

A failure without a reason has no cause that could be common, and waits for nothing. Nor does what is no repair: a dead
host's routers (see `planner.brake`), an operator's moves, a drain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.tours import MOST_S, NEW_HOST_S, PAUSE_S, cause_of
from gapless.model.host import HostName
from gapless.model.router import RouterId

FEW = 4
WELL_S = 1.0
"""Active for so long on its new host, a router is well there: a guarded one is said to be at once, by what is known of
a standby, and its agent may be about to say otherwise."""


@dataclass(frozen=True, slots=True)
class _Trial:
    cause: str
    leaves: HostName | None


@dataclass(slots=True, kw_only=True)
class _Cause:
    """One cause for which routers were moved lately."""

    room: int = FEW
    """So many more may be moved."""
    pause_s: float = PAUSE_S
    ends_at: float = 0.0
    """It begins anew then."""
    moved: int = 0
    """Since the last that was well."""
    in_vain: set[HostName] = field(default_factory=set)
    """Where they broke as well."""
    waiting: dict[RouterId, None] = field(default_factory=dict)
    is_told: bool = False


class Trials:
    """Of one planner. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._causes: dict[str, _Cause] = {}
        self._under_way: dict[RouterId, _Trial] = {}

    # Asked by whoever decides

    def waits_until(self, router: RouterRecord) -> float | None:
        """The moment until which a router that failed finds no room, at most; None: it may move."""
        cause = self._causes.get(cause_of(router.fault))
        return None if cause is None or cause.room else cause.ends_at

    def pause_of(self, router: RouterRecord) -> float:
        """How long that is, all in all."""
        return self._causes[cause_of(router.fault)].pause_s

    def in_vain(self, router: RouterRecord) -> frozenset[HostName]:
        """Hosts on which others broke as well that were moved for the same cause."""
        cause = self._causes.get(cause_of(router.fault))
        return frozenset(() if cause is None else cause.in_vain)

    # What happens

    def waits(self, router: RouterRecord) -> None:
        """It finds no room."""
        if cause := self._causes.get(cause_of(router.fault)):
            cause.waiting[router.id] = None

    def begins(self, router: RouterRecord, now: float) -> None:
        """It is being moved, because its host cannot run it."""
        name, before = cause_of(router.fault), self._under_way.get(router.id)
        self._under_way[router.id] = _Trial(name, router.host)
        if not name:
            return
        cause = self._causes.setdefault(name, _Cause())
        if before is not None and before.cause == name and router.host is not None:
            if before.leaves == router.host:
                cause.room += 1  # That could not be stored, and was no try.
            else:
                cause.in_vain.add(router.host)
        cause.room, cause.moved, cause.ends_at = max(0, cause.room - 1), cause.moved + 1, now + cause.pause_s

    def is_tried_on(self, router_id: RouterId, host: HostName) -> bool:
        """Whether it is moved there for that, and does not only go back."""
        trial = self._under_way.get(router_id)
        return trial is not None and trial.leaves != host

    def new_host(self, now: float) -> None:
        """There is a host that was never there before: it may be another matter there."""
        for cause in self._causes.values():
            if not cause.room:
                cause.ends_at = min(cause.ends_at, now + NEW_HOST_S)

    def judge(self, routers: Mapping[RouterId, RouterRecord], now: float) -> Iterable[RouterId]:
        """With each tick: see how moves went, and whom there is room for now."""
        for router_id, trial in list(self._under_way.items()):
            if self._is_over(routers.get(router_id), trial, now):
                del self._under_way[router_id]
        for name, cause in list(self._causes.items()):
            if now >= cause.ends_at:
                self._begin_anew(name, cause)
        woken = [_next_of(cause) for cause in self._causes.values() if cause.room and cause.waiting]
        return [router_id for ids in woken for router_id in ids]

    def take_common(self, routers: Mapping[RouterId, RouterRecord]) -> list[str]:
        """Against which causes no move helped, as is known since the last call, while others wait; a sentence each."""
        said = []
        busy = {trial.cause for trial in self._under_way.values()}
        for name, cause in self._causes.items():
            is_common = not cause.room and bool(cause.waiting) and name not in busy
            if is_common and not cause.is_told:
                waiting = [it for it in map(routers.get, cause.waiting) if it is not None and it.fault]
                if is_common := bool(waiting):
                    said.append(_sentence(cause, waiting[0].fault, len(waiting)))
            cause.is_told = is_common
        return said

    def _is_over(self, router: RouterRecord | None, trial: _Trial, now: float) -> bool:
        """Whether it is known how a move went; if so, what follows."""
        cause = self._causes.get(trial.cause, _Cause())
        if router is None or (router.host == trial.leaves and router.asked is None):
            cause.room += 1  # It was deleted, or is where it was: that says nothing.
            return True
        if router.host == trial.leaves:
            return False
        if router.state is AssignmentState.FAILED:
            if cause_of(router.fault) != trial.cause:
                cause.room += 1
            elif router.host is not None:
                cause.in_vain.add(router.host)
            return True
        since = router.tour.active_since
        if router.state is not AssignmentState.ACTIVE or since is None or now - since < WELL_S:
            return False
        cause.room, cause.moved, cause.pause_s = cause.room + FEW, 0, PAUSE_S
        cause.in_vain -= {router.host}
        return True

    def _begin_anew(self, name: str, cause: _Cause) -> None:
        """The pause is over. Where nobody waits, there is nothing to be remembered."""
        if not cause.waiting and cause.room:
            del self._causes[name]
            return
        pause_s = cause.pause_s if cause.room else min(2 * cause.pause_s, MOST_S)
        self._causes[name] = replace(cause, room=FEW, pause_s=pause_s, ends_at=cause.ends_at + pause_s, moved=0)


def _sentence(cause: _Cause, reason: str, waiting: int) -> str:
    return (
        f"{cause.moved} routers were moved because their hosts could not run them ({reason}), and none of them is well "
        f"elsewhere: the cause may be a common one, so {waiting} more stay, for {cause.pause_s / 60:g} minutes at most"
    )


def _next_of(cause: _Cause) -> list[RouterId]:
    """Those who waited longest, as many as there is room for."""
    woken = list(cause.waiting)[: cause.room]
    for router_id in woken:
        del cause.waiting[router_id]
    return woken
