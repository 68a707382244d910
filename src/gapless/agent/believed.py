"""What was looked at a moment ago, and is believed for a while: things that seldom change, and that every router of a
host asks for.
"""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar, overload

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Believed(Generic[Key, Value]):
    """Values that are believed for `for_s` seconds. Thread-safe: of two who look at once, each has what it found."""

    def __init__(self, for_s: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._for_s = for_s
        self._now = now
        self._held: dict[Key, tuple[float, Value]] = {}

    def doubt(self) -> None:
        """Something was otherwise than it was believed to be: all is looked at anew."""
        self._held.clear()

    @overload
    def of(self, key: Key, look: Callable[[], Value]) -> Value: ...
    @overload
    def of(self, key: Key, look: Callable[[], Value | None]) -> Value | None: ...
    def of(self, key: Key, look: Callable[[], Value | None]) -> Value | None:
        """What is believed, or what `look` finds now. None is not believed: what is not there is looked for anew."""
        now = self._now()
        looked_at, value = self._held.get(key, (now, None))
        if value is not None and now - looked_at < self._for_s:
            return value
        found = look()
        if found is not None:
            self._held[key] = now, found
        return found
