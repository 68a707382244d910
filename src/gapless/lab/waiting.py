"""Waiting until something holds: look, sleep a little, look again, and give up with words after a bounded time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from gapless.errors import Unavailable

LOOK_AGAIN_S = 0.1


async def until(
    holds: Callable[[], Awaitable[bool]],
    what: str,
    timeout_s: float,
    why_not: Callable[[], str] = lambda: "",
    *,
    each_s: float = 0.0,
) -> None:
    """Wait until `holds`, looking no more often than each `each_s`.

    Raises Unavailable with `what` was waited for and, if known, what is missing.
    """
    deadline = time.monotonic() + timeout_s
    while not await holds():
        if time.monotonic() > deadline:
            reason = why_not()
            raise Unavailable(f"not within {timeout_s:g} s: {what}" + (f" ({reason})" if reason else ""))
        await asyncio.sleep(max(each_s, LOOK_AGAIN_S))
