"""How late a beat's deadlines were met: a histogram that grows for as long as the beat lives.

The rule: counting is all that is done on the beat's way, and it makes nothing that stays. Who wants to read it gets a
copy once a second, with what the beat says of its rhythm anyway.
"""

from bisect import bisect_left

from gapless.wire.beat import LATE_BOUNDS_S


class Lateness:
    """Of one beat, in seconds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(LATE_BOUNDS_S) + 1)
        self.sum_s = 0.0
        self._most_s = 0.0

    def met(self, late_s: float) -> None:
        """A deadline was met so late."""
        self._counts[bisect_left(LATE_BOUNDS_S, late_s)] += 1
        self.sum_s += late_s
        if late_s > self._most_s:
            self._most_s = late_s

    def counts(self) -> tuple[int, ...]:
        """How many were at most as late as each bound of `LATE_BOUNDS_S`, and later than the one before; the rest."""
        return tuple(self._counts)

    def take_most_s(self) -> float:
        """The latest since this was asked last."""
        most_s, self._most_s = self._most_s, 0.0
        return most_s
