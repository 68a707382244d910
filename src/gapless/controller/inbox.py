"""The planner's one queue of events, in the order in which they happened.

Hosts' reports may have to wait for room (`put`), which slows down who talks too much; the controller's own answers,
operators' wishes, and the coming and going of hosts never do (`put_now`): there is at most one answer to each effect,
one wish to each request, and one arrival to each handshake.
"""

import asyncio
from collections import deque

from gapless.core.events import Event

LIMIT = 10_000
"""Some seconds of reports of hundreds of hosts; each is small, or is bounded by the link."""


class Inbox:
    """Events, each with the loop's time at which it became known."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._waiting: deque[tuple[Event, float]] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    async def put(self, event: Event, received_s: float) -> None:
        """Add an event; wait while there is no room."""
        while len(self._waiting) >= self._limit:
            self._room.clear()
            await self._room.wait()
        self.put_now(event, received_s)

    def put_now(self, event: Event, received_s: float) -> None:
        """Add an event at once."""
        self._waiting.append((event, received_s))
        self._arrived.set()

    def take_all(self) -> list[tuple[Event, float]]:
        """Everything that has arrived, oldest first."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._arrived.clear()
        self._room.set()
        return taken

    async def wait(self, timeout_s: float | None) -> None:
        """Until something is there, or `timeout_s` is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            return
