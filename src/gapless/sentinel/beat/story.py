"""The last events and effects of a beat, for whoever asks why it died. They are kept as they are, and only put into
words when somebody reads them: the beat has no time for that.
"""

from collections import deque
from collections.abc import Sequence

MOMENTS = 64
CHARACTERS = 240
"""Of one moment: a plan of a thousand routers is told by its beginning."""


class Story:
    """A ring of what happened, each with its time in monotonic seconds."""

    def __init__(self) -> None:
        self._moments: deque[tuple[float, str, object]] = deque(maxlen=MOMENTS)

    def heard(self, event: object, now: float) -> None:
        """Something came in."""
        self._moments.append((now, "<-", event))

    def did(self, effects: Sequence[object], now: float) -> None:
        """... and this is what it led to."""
        self._moments.extend((now, "->", effect) for effect in effects)

    def __str__(self) -> str:
        """A line for each, the oldest first."""
        return "\n".join(f"{now:.6f} {way} {_short(what)}" for now, way, what in self._moments)


def _short(what: object) -> str:
    told = str(what)
    return told if len(told) <= CHARACTERS else f"{told[: CHARACTERS - 3]}..."
