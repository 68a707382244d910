"""Whether the store can be written: only a write tells, and its answer stands for a while."""

from gapless.controller.store.health import STANDS_S, Health
from gapless.errors import StoreUnavailable

FULL = StoreUnavailable("the disk is full")


class Disk:
    """Something to write to, and a clock."""

    def __init__(self) -> None:
        self.error: StoreUnavailable | None = None
        self.writes = 0
        self.now_s = 100.0
        self.health = Health(lambda: self.now_s)

    async def write(self) -> None:
        self.writes += 1
        if self.error is not None:
            raise self.error

    async def ask(self) -> StoreUnavailable | None:
        return await self.health.ask(self.write)


async def test_asking_without_end_writes_now_and_then() -> None:
    disk = Disk()
    assert [await disk.ask() for _ in range(1000)] == [None] * 1000
    assert disk.writes == 1
    disk.now_s += STANDS_S
    assert await disk.ask() is None
    assert disk.writes == 2


async def test_a_write_that_fails_is_told_until_one_succeeds() -> None:
    disk = Disk()
    disk.error = FULL
    assert await disk.ask() is FULL
    disk.error = None
    assert await disk.ask() is FULL, "found a moment ago"
    disk.now_s += STANDS_S
    assert await disk.ask() is None


async def test_anybodys_failure_is_news() -> None:
    disk = Disk()
    assert await disk.ask() is None
    disk.health.failed(FULL)
    assert await disk.ask() is FULL
    assert disk.writes == 1
    disk.now_s += STANDS_S
    assert await disk.ask() is None
