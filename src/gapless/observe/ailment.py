"""Something that is wrong for a while and tried again and again: said when it begins, now and then, and when it ends.

A line a second for a disk that stays full would hide everything else that is said.
"""

import time
from collections.abc import Callable
from typing import Any

REMIND_S = 300.0
"""How often it is said again while it lasts: a log of the last ten minutes shows it."""


class Ailment:
    """One thing that may be wrong. Fields go into the line as with any logger."""

    def __init__(self, *, remind_s: float = REMIND_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._remind_s = remind_s
        self._clock = clock
        self._since_s: float | None = None
        self._said_s = 0.0

    def persists(self, say: Callable[..., Any], what: str, **fields: Any) -> None:
        """It is wrong (again): said if that is news or was not said for a while, then with how long it lasts."""
        now = self._clock()
        if self._since_s is None:
            self._since_s = now
        elif now < self._said_s + self._remind_s:
            return
        else:
            fields["for_s"] = round(now - self._since_s)
        self._said_s = now
        say(what, **fields)

    def ends(self, say: Callable[..., Any], what: str, **fields: Any) -> None:
        """It is right: said if it was wrong."""
        if self._since_s is not None:
            say(what, **fields, for_s=round(self._clock() - self._since_s))
            self._since_s = None
