"""Whether the store can be written, for whoever asks often: load balancers, monitoring.

The rule: only a write tells. A disk that is full lets transactions begin and read, so the answer is a little write of
its own, or what became of the newest write, whichever is newer. An answer stands for a while, so that asking without
end costs the disk next to nothing. A failure of anybody's write counts at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from gapless.errors import StoreUnavailable

STANDS_S = 5.0
"""How long an answer stands."""


class Health:
    """The newest answer, and when it was found."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._error: StoreUnavailable | None = None
        self._until_s = clock()
        self._turn = asyncio.Lock()

    def failed(self, error: StoreUnavailable) -> None:
        """A write failed, whoever wrote."""
        self._stands(error)

    async def ask(self, write: Callable[[], Awaitable[None]]) -> StoreUnavailable | None:
        """Why the store cannot be written; None: it can. `write` is called where that is not known any more."""
        async with self._turn:
            if self._clock() >= self._until_s:
                try:
                    await write()
                except StoreUnavailable as error:
                    self._stands(error)
                else:
                    self._stands(None)
        return self._error

    def _stands(self, error: StoreUnavailable | None) -> None:
        self._error, self._until_s = error, self._clock() + STANDS_S
