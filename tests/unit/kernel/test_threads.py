"""A process that may start no thread any more: it is told so at its start, or it does not notice."""

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from gapless.errors import Unavailable
from gapless.kernel import threads
from gapless.sentinel.children import watch_children_without_threads
from limits_met import no_thread_more


@pytest.fixture
def without_threads() -> Iterator[None]:
    watch_children_without_threads()
    yield
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(None)


def test_all_threads_of_a_pool_are_there_from_the_beginning() -> None:
    names = set[str]()
    with threads.started(3, "start workers", "worker") as pool:
        names = {each.name for each in threading.enumerate() if each.name.startswith("worker")}
        with no_thread_more():
            assert pool.submit(lambda: 7).result() == 7
    assert len(names) == 3


def test_who_may_start_no_threads_is_told_so_and_has_none() -> None:
    before = threading.active_count()
    with (
        no_thread_more(),
        pytest.raises(Unavailable, match=r"^start workers: Resource temporarily unavailable: "),
    ):
        threads.started(3, "start workers")
    assert threading.active_count() == before


def test_children_are_started_and_seen_to_end_where_there_may_be_no_more_threads(without_threads: None) -> None:
    async def ends_with() -> int:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")
        return await child.wait()

    with no_thread_more():
        assert asyncio.run(ends_with()) == 3
