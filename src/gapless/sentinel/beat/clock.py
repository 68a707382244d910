"""The beat's clock: seconds since this machine was started, those in which it was suspended included.

Theory: CLOCK_MONOTONIC stands still while a machine is suspended, and everybody else's goes on. When it wakes, a grant
that lay unread in its socket would make a lease that no arbiter knows any more, and a claim would count what an arbiter
said, and has forgotten since. By CLOCK_BOOTTIME both are too old (clock_gettime(2)). It is slewed as the other one is.

The rule: whatever the beat counts, it counts by this clock. Whoever else is told a moment is told it by
CLOCK_MONOTONIC, as everything else of a host is.
"""

import time


def now() -> float:
    """Seconds; never falls."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def as_monotonic(moment: float) -> float:
    """A moment of this clock as `time.monotonic` counts since this machine was suspended last."""
    return moment - now() + time.monotonic()
