"""Works that run beside each other until one ends."""

import asyncio

import pytest

from gapless.flows.session import first_to_end


async def test_who_is_cancelled_while_it_ends_the_others_is_cancelled() -> None:
    """A stream breaks, and a moment later nobody is to be followed there any more."""
    is_ending = asyncio.Event()

    async def ends() -> None:
        pass

    async def takes_a_moment_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await asyncio.Event().wait()

    both = asyncio.ensure_future(first_to_end(ends(), takes_a_moment_to_end()))
    async with asyncio.timeout(10):
        await is_ending.wait()
        both.cancel()
        with pytest.raises(asyncio.CancelledError):
            await both
    assert both.cancelled()
