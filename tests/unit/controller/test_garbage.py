"""What is there when hosts have come back is not looked at for garbage; what comes later is."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from gapless.controller import garbage


class Loop:
    """It refers to itself, so only a look for garbage frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.callbacks[:] = [each for each in gc.callbacks if each is not garbage._keep]
    gc.enable()
    gc.unfreeze()


def dropped() -> "weakref.ref[Loop]":
    return weakref.ref(Loop())


async def test_nothing_is_looked_for_until_it_is_ready() -> None:
    garbage.begin()
    assert not gc.isenabled()
    garbage.ready(0.0)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


async def test_while_hosts_come_what_is_old_stays_and_after_that_it_is_looked_at() -> None:
    garbage.begin()
    garbage.ready(0.0)
    before, first = gc.get_freeze_count(), dropped()
    gc.collect()
    assert gc.get_freeze_count() > before
    assert first() is not None, "it was taken for what stays"

    over = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.0, over.set_result, None)
    await over
    second = dropped()
    gc.collect()
    assert second() is None
    assert garbage._keep not in gc.callbacks
