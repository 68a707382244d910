"""When the agent leaves its host the machine: while that takes over. Pure: no clock.

Theory: building and removing hold RTNL and a processor for tens of milliseconds a router, and a takeover is over in as
many. What is built meanwhile comes late by that; what is taken over would too, and people notice that.

The rule: a hold lasts `MOST_S` at most, whatever is said or not said, and after it the agent works for as long as it
was held: a host whose arbiters call others silent all the time still builds.
"""

from collections.abc import Collection
from math import inf

from gapless.model.router import RouterId

MOST_S = 3.0


class Hold:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self.unbuilt: frozenset[RouterId] = frozenset()
        """Routers that are open here and may not be built: they wait for nothing."""
        self._is_said = False
        self._began = self._ends = -inf
        self._lasted_s = 0.0
        self._not_before = -inf

    def begin(self, now: float, unbuilt: Collection[RouterId]) -> None:
        """This host takes over, or still does."""
        if not self._is_said and now >= self._not_before:
            self._began, self._ends = now, now + MOST_S
        self._is_said, self.unbuilt = True, frozenset(unbuilt)

    def end(self, now: float) -> float:
        """It does not any more. Returns for how long work was held since the beginning."""
        if self.is_on(now):
            self._over(now)
        self._is_said, self.unbuilt = False, frozenset()
        lasted_s, self._lasted_s = self._lasted_s, 0.0
        return lasted_s

    def is_on(self, now: float) -> bool:
        """Whether work that can wait waits."""
        if self._began < self._ends <= now:
            self._over(self._ends)
        return now < self._ends

    def next_deadline(self) -> float | None:
        """When it ends by itself; None: it is over, or was found to be."""
        return self._ends if self._ends > -inf else None

    def _over(self, at: float) -> None:
        self._lasted_s = at - self._began
        self._not_before = at + self._lasted_s
        self._began = self._ends = -inf
