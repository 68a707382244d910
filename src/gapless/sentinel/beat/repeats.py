"""When announcements are sent again: any single frame may be lost. Pure: no clock, nothing is sent from here.

The rule: a router is announced again `REPEATS_S` after its burst; a new burst begins anew, and a forgotten router is
never due. Those of one burst are due together and in its order.
"""

import heapq
from collections.abc import Iterable
from itertools import count
from typing import Final

from gapless.model.router import RouterId

REPEATS_S: Final = (0.1, 1.0)
"""In seconds after the first time."""


class Repeats:
    """What is to be announced again, and when. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._bursts: list[tuple[float, int, int, tuple[RouterId, ...]]] = []
        self._newest: dict[RouterId, int] = {}
        self._left: dict[RouterId, int] = {}
        self._numbers = count()

    def begin(self, routers: Iterable[RouterId], now: float) -> None:
        """These routers were announced at `now`, for the first time."""
        burst = tuple(routers)
        number = next(self._numbers)
        for router_id in burst:
            self._newest[router_id], self._left[router_id] = number, len(REPEATS_S)
        for place, after_s in enumerate(REPEATS_S):
            if burst:
                heapq.heappush(self._bursts, (now + after_s, number, place, burst))

    def forget(self, router_id: RouterId) -> None:
        """Announce a router no more."""
        self._newest.pop(router_id, None)
        self._left.pop(router_id, None)

    def next_deadline(self) -> float | None:
        """When something is due next, at the earliest; None: nothing is."""
        return self._bursts[0][0] if self._bursts else None

    def due(self, now: float) -> dict[RouterId, int]:
        """The routers to announce again by `now`, each with the number of its latest repeat that is due (from 1)."""
        routers: dict[RouterId, int] = {}
        while self._bursts and self._bursts[0][0] <= now:
            _, number, place, burst = heapq.heappop(self._bursts)
            for router_id in burst:
                if self._newest.get(router_id) == number:
                    routers[router_id] = place + 1
                    self._left[router_id] -= 1
                    if not self._left[router_id]:
                        self.forget(router_id)
        return routers
