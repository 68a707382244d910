"""How a host that is about to stop waits until it is left.

The rule: it waits for as long as there is something to leave and somebody to tell. A controller that is away for a
moment is waited for: it may only be started anew (`contact`).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from gapless.sentinel.contact import Contact

LOOK_S = 0.25
"""How often it looks where nobody says that something changed."""


class Leaving:
    """Of one sentinel. `is_being_left`: something is on its way from here still."""

    def __init__(self, is_being_left: Callable[[], bool], contact: Contact) -> None:
        self._is_being_left = is_being_left
        self._contact = contact
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """What is open here changed, or what the plan says."""
        self._changed.set()

    async def wait(self, within_s: float) -> None:
        """Return once it is left, the controller cannot be told, or the time is over."""
        end = time.monotonic() + within_s
        while self._is_being_left() and time.monotonic() < min(end, self._contact.heard_until):
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_S, max(0.0, end - time.monotonic()))):
                    await self._changed.wait()
