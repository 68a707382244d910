"""How long to wait before trying again: twice as long each time, up to a bound, and from the start after success.

Jitter keeps a hundred hosts that lost one controller from coming back in one millisecond (AWS Architecture Blog,
"Exponential Backoff and Jitter"); the random numbers are handed in, so that a test or a simulation can repeat them.
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The numbers of a back-off. `jitter` is the share of a delay that is left to chance (0: none)."""

    first_s: float
    most_s: float
    settled_s: float = 0.0
    """An attempt that held for this long counts as a success: the next delay is the first one again."""
    jitter: float = 0.0


class Backoff:
    """The delays of one thing that is tried again and again."""

    def __init__(self, pace: Pace, random: Random | None = None) -> None:
        self._pace = pace
        self._random = random or Random()
        self._delay_s = pace.first_s

    def reset(self) -> None:
        """The next delay is the first one again."""
        self._delay_s = self._pace.first_s

    def after(self, held_s: float = 0.0) -> float:
        """Seconds to wait now that an attempt, which held for `held_s` seconds, is over."""
        if held_s >= self._pace.settled_s > 0:
            self.reset()
        delay_s = self._delay_s
        self._delay_s = min(2 * delay_s, self._pace.most_s)
        return delay_s * (1 - self._pace.jitter * self._random.random())
