"""Who keeps the guard in tests that have none: a descriptor that is good for nothing, and a note of what was asked."""

import os

from gapless.errors import Unavailable


class StandInKeeper:
    """Of one pulse."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.shut_times = 0
        self._descriptor = os.open(os.devnull, os.O_RDONLY)

    def descriptor(self) -> int:
        return self._descriptor

    def shut(self) -> None:
        self.shut_times += 1
        if self.refuses:
            raise Unavailable(self.refuses)

    def close(self) -> None:
        os.close(self._descriptor)
