"""When the log tells how far a host is with many routers. Pure: no clock.

The rule: one line each `EVERY_S` while more than `MANY` routers wait for their turn, none otherwise: of a few, the line
that each gets when it is built says enough. What failed and waits for its next try is not waiting for its turn.
"""

MANY = 20
EVERY_S = 5.0


class Progress:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._next_at: float | None = None

    def is_due(self, waiting: int, now: float) -> bool:
        """Whether to tell it now, when so many wait."""
        if waiting <= MANY:
            self._next_at = None
            return False
        is_due = self._next_at is not None and now >= self._next_at
        if self._next_at is None or is_due:
            self._next_at = now + EVERY_S
        return is_due
