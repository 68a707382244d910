"""The recent story: the last events and effects in a ring, for `gapless` to show and for invariant errors to carry."""

from collections import deque

from gapless.core.effects import Effect
from gapless.core.events import Event

LENGTH = 300
"""A death of a host with a hundred routers, or some minutes of a quiet cluster."""


class Story:
    """Keeps objects and writes them down only when somebody reads."""

    def __init__(self) -> None:
        self._ring: deque[tuple[float, Event | Effect | str]] = deque(maxlen=LENGTH)

    def tell(self, now: float, what: Event | Effect | str) -> None:
        """Something happened or was asked for, at monotonic `now`."""
        self._ring.append((now, what))

    def lines(self) -> list[str]:
        """One line each, oldest first."""
        return [f"{now:12.3f} {'  ' if isinstance(what, Effect) else ''}{what}" for now, what in self._ring]
