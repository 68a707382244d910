"""In which order the agent works on its routers. Pure: no clock.

The rule: traffic waits for routers that this host forwards for, so these go first, whatever is to be done with them,
and standbys after them; but one standby follows each `IN_A_ROW` of the others, so that a storm that does not end
starves nobody. Among either, what drifted and what a plan asks for take turns, so that neither a storm of hints nor a
large plan holds the other up. A repair that failed and whose time has come goes before those that were not tried yet
while the router is not given up: that takes few tries, and then it moves, for which nobody waits for what else broke.
Once it is given up there is no end of its tries, and it takes its turn with all that drifted. A build that failed comes
with the others that this host forwards for, or after all else. Otherwise the queues keep the order in which routers
were asked for.

The queues only say which router to look at sooner. What is to be done with it follows from what is wanted and known of
it when its turn comes (`agent.worklist`); that may be nothing.

The invariant: a router waits with those that forward here, or with the standbys, never with both. What cannot start
yet, since its router is at work, keeps its place. Removals are not among them (`agent.removals`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from gapless.agent.jobs import Job, Why
from gapless.model.router import RouterId

Start = Callable[[RouterId, Why], Job | None]
"""Begin what is to be done with a router; None: there is nothing to do."""
May = Callable[[RouterId, Why], bool]
"""Whether it may be begun now."""


IN_A_ROW: Final = 32
"""So many that this host forwards for, then one standby, if one waits."""


@dataclass(slots=True)
class _Lane:
    """Those that this host forwards for, or the others."""

    tried: dict[RouterId, None] = field(default_factory=dict)
    """Could not be repaired, is not given up for that yet, and is to be tried again now."""
    drifted: dict[RouterId, None] = field(default_factory=dict)
    planned: dict[RouterId, None] = field(default_factory=dict)
    """Asked for by a plan."""
    again: dict[RouterId, None] = field(default_factory=dict)
    """Failed at what a plan asks for, and to be tried again now."""
    was_drift: bool = False

    @property
    def queues(self) -> tuple[dict[RouterId, None], ...]:
        """In the order of their turns."""
        in_turn = (self.planned, self.drifted) if self.was_drift else (self.drifted, self.planned)
        return (self.tried, *in_turn, self.again)

    def next(self, start: Start, may: May) -> Job | None:
        """Of what is mended soon or given up; of what drifted and what is new, one each; of what could not be built."""
        for queue in self.queues:
            if (job := self.first(queue, start, may)) is not None:
                if queue is not self.tried:
                    self.was_drift = queue is self.drifted
                return job
        return None

    def first(self, queue: dict[RouterId, None], start: Start, may: May) -> Job | None:
        """Of one queue."""
        why = Why.DRIFT if queue is self.drifted or queue is self.tried else Why.PLAN
        for router_id in list(queue):
            if not may(router_id, why):
                continue
            job = start(router_id, why)
            del queue[router_id]
            if job is not None:
                return job
        return None

    def give(self, router_id: RouterId, other: "_Lane") -> None:
        """It waits in the other one from now on, for the same."""
        for mine, its in (
            (self.tried, other.tried),
            (self.drifted, other.drifted),
            (self.planned, other.planned),
            (self.again, other.planned),
        ):
            if router_id in mine:
                del mine[router_id]
                its[router_id] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timer:
    """What waits for its time before it waits for its turn."""

    at: float
    why: Why
    forwards: bool
    """This host forwards for it."""
    is_urgent: bool = False
    """A repair that failed, of a router that is given up after a few more."""


class Queues:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._forwarding, self._others = _Lane(), _Lane()
        self._in_a_row = 0
        """So many that this host forwards for, since a standby was begun."""
        self._timers: dict[RouterId, _Timer] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether anything waits for its turn."""
        return any(queue for lane in self._lanes for queue in lane.queues)

    @property
    def builds(self) -> int:
        """How many that a plan asks for wait for their turn."""
        return sum(len(lane.planned) + len(lane.again) for lane in self._lanes)

    @property
    def _lanes(self) -> tuple[_Lane, _Lane]:
        return self._forwarding, self._others

    def next_deadline(self) -> float | None:
        """When the first timer is over; None: there is none."""
        return min((timer.at for timer in self._timers.values()), default=None)

    # What comes in

    def role(self, router_id: RouterId, *, forwards: bool) -> None:
        """Whether this host forwards for it from now on: it waits for what it waited for, with its like."""
        mine, other = (self._forwarding, self._others) if forwards else (self._others, self._forwarding)
        other.give(router_id, mine)
        if (timer := self._timers.get(router_id)) is not None:
            self._timers[router_id] = replace(timer, forwards=forwards)

    def plan(self, router_id: RouterId, *, forwards: bool = False) -> None:
        """A plan asks for it; `forwards`: this host forwards for it."""
        self.role(router_id, forwards=forwards)
        self._lane(forwards).planned[router_id] = None

    def drift(self, router_id: RouterId, *, forwards: bool = False) -> None:
        """It may have drifted."""
        self.role(router_id, forwards=forwards)
        self._lane(forwards).drifted[router_id] = None

    def drift_at(self, router_id: RouterId, at: float, *, forwards: bool = False) -> None:
        """It may have drifted, and is to be left alone until then. A time that it waits for already stays."""
        self._timers.setdefault(router_id, _Timer(at=at, why=Why.DRIFT, forwards=forwards))

    def again_at(
        self, router_id: RouterId, at: float, why: Why, *, forwards: bool = False, is_urgent: bool = False
    ) -> None:
        """It failed, and is tried again then, for whatever it was tried. `is_urgent`: a repair that is one of the few
        until the router is given up.
        """
        self._timers[router_id] = _Timer(at=at, why=why, forwards=forwards, is_urgent=is_urgent)

    def _lane(self, forwards: bool) -> _Lane:
        return self._forwarding if forwards else self._others

    # What goes out

    def is_timed(self, router_id: RouterId) -> bool:
        """Whether it waits for its time."""
        return router_id in self._timers

    def untime(self, router_id: RouterId) -> None:
        """It does not wait for its time any more."""
        self._timers.pop(router_id, None)

    def unwant(self, router_id: RouterId) -> None:
        """Neither a plan nor a hint asks for it any more."""
        for lane in self._lanes:
            lane.planned.pop(router_id, None)
            lane.drifted.pop(router_id, None)
            lane.tried.pop(router_id, None)

    def forget(self, router_id: RouterId) -> None:
        """There is nothing of it any more that could be tried again."""
        for lane in self._lanes:
            lane.again.pop(router_id, None)

    def ripen(self, now: float) -> None:
        """What has waited for its time waits for its turn."""
        for router_id in [each for each, timer in self._timers.items() if timer.at <= now]:
            timer = self._timers.pop(router_id)
            if timer.why is Why.DRIFT and timer.is_urgent:
                self._lane(timer.forwards).tried[router_id] = None
            elif timer.why is Why.DRIFT:
                self.drift(router_id, forwards=timer.forwards)
            elif timer.forwards:
                self.plan(router_id, forwards=True)
            else:
                self._others.again[router_id] = None

    def next_in_turn(self, start: Start, may: May) -> Job | None:
        """Of what this host forwards for; then, and now and then before that, of the others."""
        is_others_turn = self._in_a_row >= IN_A_ROW
        for lane in reversed(self._lanes) if is_others_turn else self._lanes:
            if (job := lane.next(start, may)) is not None:
                self._in_a_row = self._in_a_row + 1 if lane is self._forwarding else 0
                return job
        return None

    def next_repair(self, start: Start, may: May) -> Job | None:
        """Of what drifted while this host forwards for it, alone."""
        mine = self._forwarding
        return mine.first(mine.tried, start, may) or mine.first(mine.drifted, start, may)
