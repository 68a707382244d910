"""Who keeps the guard in tests that have none: a descriptor that is good for nothing, and a note of what was asked."""

import os
from collections.abc import Callable

from gapless.errors import Unavailable


class StandInKeeper:
    """Of one pulse."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.shut_times = 0
        self.up: tuple[str, ...] = ()
        """Guarded taps that are set up."""
        self._descriptor = os.open(os.devnull, os.O_RDONLY)

    def descriptor(self) -> int:
        return self._descriptor

    def shut(self) -> None:
        self.shut_times += 1
        if self.refuses:
            raise Unavailable(self.refuses)

    def shut_unguarded(self, must_be_shut: Callable[[str], bool]) -> int:
        if self.refuses:
            raise Unavailable(self.refuses)
        before, self.up = self.up, tuple(tap for tap in self.up if not must_be_shut(tap))
        return len(before) - len(self.up)

    def close(self) -> None:
        os.close(self._descriptor)
