"""Turns at having the kernel list a table, of all copies of a process: one step at a time, and a rest after each.

The rule: who waits first has the next turn, and a turn is over before anything is awaited. So a follower that takes
nothing more, or a table that is large, holds up nobody for longer than one step and its rest (`core.flows.rest`).
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from gapless.core.flows.rest import REST, Rest

T = TypeVar("T")


class Turns:
    """Of one process."""

    def __init__(self, rest: float = REST) -> None:
        self._rest = Rest(rest)
        self._line = asyncio.Lock()

    async def take(self, step: Callable[[], T]) -> T:
        """What `step` returns, when it is its turn. Raises what it raises."""
        async with self._line:
            await asyncio.sleep(self._rest.wait_s(time.monotonic()))
            # Of this thread alone: on a busy machine, time in which another one ran is no reason to rest.
            began_s = time.thread_time()
            try:
                return step()
            finally:
                self._rest.worked(time.thread_time() - began_s, time.monotonic())
