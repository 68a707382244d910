"""When what was not sent is forgotten."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from fake_controller import eventually

from gapless.errors import Unavailable
from gapless.model.host import Incarnation
from gapless.model.lease import NOBODY
from gapless.sentinel.unsent import Unsent


class Kernel:
    """Counts how often it was asked; refuses the first `refusals` times."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.asked: list[str] = []
        self.changed = threading.Event()

    def forget(self, interface: str) -> int:
        self.asked.append(interface)
        self.changed.set()
        if len(self.asked) <= self.refusals:
            raise Unavailable("list neighbours: it is busy")
        return 1


async def after(kernel: Kernel, say: Callable[[Unsent], None]) -> None:
    """Say something, and wait until the kernel was asked."""
    unsent = Unsent("data0", kernel.forget)
    task = asyncio.create_task(unsent.run())
    kernel.changed.clear()
    say(unsent)
    await asyncio.to_thread(kernel.changed.wait, 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("following", [NOBODY, Incarnation(4)])
async def test_with_the_end_of_a_tenure(following: Incarnation) -> None:
    kernel = Kernel()

    def say(unsent: Unsent) -> None:
        unsent.tenure_is(Incarnation(3))
        unsent.tenure_is(following)

    await after(kernel, say)
    assert kernel.asked == ["data0"]


async def test_not_before() -> None:
    kernel = Kernel()

    def say(unsent: Unsent) -> None:
        for _ in range(2):
            unsent.tenure_is(NOBODY)
        for _ in range(2):
            unsent.tenure_is(Incarnation(3))
        assert kernel.asked == []
        unsent.tenure_is(NOBODY)

    await after(kernel, say)
    assert kernel.asked == ["data0"]


async def test_a_kernel_that_refuses_is_said_and_asked_again_the_next_time(log_lines: list[str]) -> None:
    kernel = Kernel(refusals=1)
    unsent = Unsent("data0", kernel.forget)
    task = asyncio.create_task(unsent.run())
    unsent.tenure_is(Incarnation(3))
    unsent.tenure_is(Incarnation(4))
    await eventually(lambda: len(log_lines) == 1)
    unsent.tenure_is(Incarnation(5))
    await eventually(lambda: len(log_lines) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert kernel.asked == ["data0", "data0"]
    refused, forgotten = log_lines
    assert "what was not sent before the lease ended may leave later" in refused
    assert "list neighbours: it is busy" in refused
    assert "what was not sent before the lease ended is forgotten" in forgotten
