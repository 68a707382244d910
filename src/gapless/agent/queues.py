"""In which order the agent works on its routers. Pure: no clock.

The rule: what drifted and what a plan asks for take turns, so that neither a storm of hints nor a large plan holds the
other up; then comes what failed and is tried again, when its time has come. Removals are a queue of their own, since
`agent.worklist` has them come before all else but repairs of what forwards, or wait.

Of what a plan asks for, routers that this host forwards for overtake standbys, and so do their retries: traffic waits
for them. Otherwise the queues keep the order in which routers were asked for.

The queues only say which router to look at sooner. What is to be done with it follows from what is wanted and known of
it when its turn comes (`agent.worklist`); that may be nothing.

The invariant: a removal stays in its queue until it was tried, all else leaves with its turn. What cannot start yet,
since its router is at work, keeps its place.
"""

from collections.abc import Callable
from itertools import islice

from gapless.agent.jobs import Job, Why
from gapless.model.router import RouterId

Start = Callable[[RouterId, Why], Job | None]
"""Begin what is to be done with a router; None: there is nothing to do."""
May = Callable[[RouterId, Why], bool]
"""Whether it may be begun now."""


class Queues:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._removals: dict[RouterId, None] = {}
        self._drifted: dict[RouterId, None] = {}
        self._urgent: dict[RouterId, None] = {}
        """Asked for by a plan, and this host forwards for it; new or tried again."""
        self._planned: dict[RouterId, None] = {}
        self._again: dict[RouterId, None] = {}
        self._timers: dict[RouterId, tuple[float, Why, bool]] = {}
        """What waits for its time before it waits for its turn, and whether this host forwards for it."""
        self._was_drift = False

    @property
    def has_removals(self) -> bool:
        """Whether something that is to be removed was not tried yet."""
        return bool(self._removals)

    @property
    def is_waiting(self) -> bool:
        """Whether anything waits for its turn."""
        return any((self._removals, self._drifted, self._urgent, self._planned, self._again))

    @property
    def builds(self) -> int:
        """How many that a plan asks for wait for their turn."""
        return len(self._urgent) + len(self._planned) + len(self._again)

    def next_deadline(self) -> float | None:
        """When the first timer is over; None: there is none."""
        return min((at for at, *_ in self._timers.values()), default=None)

    # What comes in

    def remove(self, router_id: RouterId) -> None:
        """It is no longer this host's."""
        self._removals[router_id] = None

    def removal_was_tried(self, router_id: RouterId) -> None:
        """Whether it worked or not: it holds nobody up any more."""
        self._removals.pop(router_id, None)

    def forget_removals(self) -> None:
        """Another plan says anew what is to go."""
        self._removals.clear()

    def plan(self, router_id: RouterId, *, forwards: bool = False) -> None:
        """A plan asks for it; `forwards`: this host is to forward for it."""
        mine, others = (self._urgent, self._planned) if forwards else (self._planned, self._urgent)
        others.pop(router_id, None)
        mine[router_id] = None

    def drift(self, router_id: RouterId) -> None:
        """It may have drifted."""
        self._drifted[router_id] = None

    def drift_at(self, router_id: RouterId, at: float) -> None:
        """It may have drifted, and is to be left alone until then. A time that it waits for already stays."""
        self._timers.setdefault(router_id, (at, Why.DRIFT, False))

    def again_at(self, router_id: RouterId, at: float, why: Why, *, forwards: bool = False) -> None:
        """It failed, and is tried again then, for whatever it was tried."""
        self._timers[router_id] = (at, why, forwards)

    # What goes out

    def is_timed(self, router_id: RouterId) -> bool:
        """Whether it waits for its time."""
        return router_id in self._timers

    def untime(self, router_id: RouterId) -> None:
        """It does not wait for its time any more."""
        self._timers.pop(router_id, None)

    def unwant(self, router_id: RouterId) -> None:
        """Neither a plan nor a hint asks for it any more."""
        self._urgent.pop(router_id, None)
        self._planned.pop(router_id, None)
        self._drifted.pop(router_id, None)

    def forget(self, router_id: RouterId) -> None:
        """There is nothing of it any more that could be tried again."""
        self._again.pop(router_id, None)

    def ripen(self, now: float) -> None:
        """What has waited for its time waits for its turn."""
        for router_id in [each for each, (at, *_) in self._timers.items() if at <= now]:
            _, why, forwards = self._timers.pop(router_id)
            queue = self._drifted if why is Why.DRIFT else self._urgent if forwards else self._again
            queue[router_id] = None

    def next_removals(self, may: May, most: int) -> tuple[RouterId, ...]:
        """The first that may be begun, so many at most."""
        return tuple(islice((it for it in self._removals if may(it, Why.PLAN)), most))

    def next_in_turn(self, start: Start, may: May) -> Job | None:
        """Of what drifted and what is new, one each; then of what is tried again."""
        plans, drift = (self._urgent, self._planned), (self._drifted,)
        for queue in plans + drift if self._was_drift else drift + plans:
            if (job := self._first(queue, start, may)) is not None:
                self._was_drift = queue is self._drifted
                return job
        return self._first(self._again, start, may)

    def next_drifted(self, start: Start, may: May) -> Job | None:
        """Of what drifted alone."""
        return self._first(self._drifted, start, may)

    def _first(self, queue: dict[RouterId, None], start: Start, may: May) -> Job | None:
        why = Why.DRIFT if queue is self._drifted else Why.PLAN
        for router_id in list(queue):
            if not may(router_id, why):
                continue
            job = start(router_id, why)
            del queue[router_id]
            if job is not None:
                return job
        return None
