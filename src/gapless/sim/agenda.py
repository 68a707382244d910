"""Virtual time: what is to happen next, and when. Nothing here waits."""

from collections.abc import Callable
from heapq import heappop, heappush


class Agenda:
    """Things to do, by time; those of one moment in the order in which they were put down."""

    def __init__(self) -> None:
        self.now = 0.0
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do `what` at `when`, or now if that is over."""
        self._count += 1
        heappush(self._entries, (max(when, self.now), self._count, what))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        """Do `what` in a while."""
        self.at(self.now + delay_s, what)

    def run_until(self, end: float) -> None:
        """Do everything up to `end`, which is then the time."""
        while self._entries and self._entries[0][0] <= end:
            self.now, _, what = heappop(self._entries)
            what()
        self.now = end
