"""Turns at the kernel's table: one at a time, in the order of asking, whatever becomes of those before."""

import asyncio
import contextlib
from functools import partial

import pytest

from gapless.errors import Unavailable
from gapless.flows.turns import Turns


async def test_who_waits_first_is_first_and_gets_what_its_step_returns() -> None:
    turns, seen = Turns(rest=0.0), list[int]()

    def step(number: int) -> int:
        seen.append(number)
        return number

    done = await asyncio.gather(*(turns.take(partial(step, number)) for number in range(5)))
    assert (seen, done) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


async def test_a_step_that_fails_or_is_given_up_holds_up_nobody() -> None:
    turns = Turns(rest=0.0)

    def fail() -> None:
        raise Unavailable("no table")

    given_up = asyncio.create_task(turns.take(fail))
    failing, waiting = asyncio.create_task(turns.take(fail)), asyncio.create_task(turns.take(lambda: "listed"))
    await asyncio.sleep(0)
    given_up.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await given_up
    with pytest.raises(Unavailable, match="no table"):
        await failing
    assert await waiting == "listed"
