"""What is not done while nothing happens, by counting: a thousand routers that nobody uses cost a host very little."""

import errno
import os
import struct
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from flow_kernel import Kernel, began, router
from flow_source import identity, listens
from test_flow_behind import Reader, running, until
from test_flow_policy import following

from gapless.flows import sink as sink_module
from gapless.flows import table as table_module
from gapless.flows import telling as telling_module
from gapless.flows.entries import GET, GET_STATS, NEW, NFGEN
from gapless.flows.figures import Figures
from gapless.flows.names import SURE_S, Names
from gapless.flows.source import Source
from gapless.flows.table import Table, namespace_of
from gapless.flows.telling import Telling
from gapless.flows.turns import Turns
from gapless.kernel.netlink import attribute
from gapless.model.router import RouterId

HEADER = struct.Struct("=IHHII")
ERROR, DONE = 2, 3
ROUTERS = [router(number) for number in range(1, 21)]
CHANGED = ROUTERS[7]


class Tracking:
    """A socket to a kernel that tracks so many connections in this namespace; None: it does not tell how many."""

    def __init__(self, count: int | None, listed: bytes = b"") -> None:
        self._count, self._listed = count, listed
        self._answers = deque[bytes]()
        self.lists = 0
        """How often it was asked for a list."""

    def send(self, packed: bytes) -> None:
        _, kind, _, sequence, _ = HEADER.unpack_from(packed)
        if kind == GET:
            self.lists += 1
            self._answer(DONE, sequence, struct.pack("=i", 0), before=self._listed)
        elif self._count is None:
            self._answer(ERROR, sequence, struct.pack("=i", -errno.EOPNOTSUPP) + packed[:16])
        else:
            self._answer(GET_STATS, sequence, NFGEN + attribute(1, struct.pack(">I", self._count)))

    def recv(self, _: int) -> bytes:
        return self._answers.popleft()

    def close(self) -> None:
        assert not self._answers, "all was read"

    def _answer(self, kind: int, sequence: int, body: bytes, before: bytes = b"") -> None:
        self._answers.append(before + HEADER.pack(HEADER.size + len(body), kind, 0, sequence, 0) + body)


def listed(monkeypatch: pytest.MonkeyPatch, kernel: Tracking) -> list[bytes]:
    monkeypatch.setattr(table_module, "enter", lambda *_: kernel)
    with Table(Path("anywhere")) as table:
        return [message for step in table.assured() for message in step]


def test_the_kernel_lists_nothing_where_it_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Tracking(0)
    assert (listed(monkeypatch, kernel), kernel.lists) == ([], 0)


@pytest.mark.parametrize("count", [1, 256, None], ids=["one", "256", "a kernel that does not tell"])
def test_it_lists_what_there_is_where_it_counts_any_or_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, count: int | None
) -> None:
    said = began(1)
    assert said[4:6] == struct.pack("=H", NEW)
    kernel = Tracking(count, listed=said)
    assert (listed(monkeypatch, kernel), kernel.lists) == ([said], 1)


def test_names_are_looked_at_while_their_directory_changes_and_once_more_and_now_and_then(tmp_path: Path) -> None:
    names = Names(tmp_path)

    def looks(*moments: float) -> list[bool]:
        return [names.may_differ(now) for now in moments]

    assert looks(0, 1, 2, 3) == [True, True, False, False]
    os.utime(tmp_path, ns=(1, 1))
    assert looks(4, 5, 6) == [True, True, False]
    assert looks(5 + SURE_S, 6 + SURE_S) == [True, False]
    os.utime(tmp_path, ns=(2, 2))
    assert looks(20) == [True]
    os.utime(tmp_path, ns=(3, 3))
    assert looks(21, 22, 23) == [True, True, False]


def test_a_name_that_comes_or_goes_is_news(tmp_path: Path) -> None:
    names = Names(tmp_path)
    name = tmp_path / "qrouter-1"
    changes: list[Callable[[], None]] = [name.touch, name.unlink]
    for change in changes:
        os.utime(tmp_path, ns=(1, 1))
        assert [names.may_differ(0) for _ in range(3)] == [True, True, False]
        change()
        assert names.may_differ(0)


def test_a_host_without_routers_has_no_directory_of_their_names(tmp_path: Path) -> None:
    names = Names(tmp_path / "netns")
    assert [names.may_differ(0), names.may_differ(0)] == [True, False]
    (tmp_path / "netns").mkdir()
    assert names.may_differ(0)


@asynccontextmanager
async def copied(kernel: Kernel, port: int) -> AsyncIterator[tuple[Source, Reader]]:
    """A source whose follower has been told of all routers; it looks at nothing by itself."""
    figures = Figures()
    source = Source(identity("a"), figures, lambda _: True, most=9, path_of=kernel.path_of, turns=Turns(rest=0.0))
    async with running(source.serve("127.0.0.1", port)):
        await listens(port)
        async with Reader.of(port, *ROUTERS) as follower, running(follower.reads(lambda: False)):
            await until(lambda: figures.copies == len(ROUTERS) and is_quiet(source))
            yield source, follower


def is_quiet(source: Source) -> bool:
    """Its follower has dealt with all, and it knows of no copy that is due."""
    (session,) = source._sessions
    return session._window.dealt_with == session._stream.sent and not session._may_be_due


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Names of namespaces that were looked at."""
    found = list[Path]()

    def look(path: Path) -> tuple[int, int] | None:
        found.append(path)
        return namespace_of(path)

    for module in (sink_module, telling_module):
        monkeypatch.setattr(module, "namespace_of", look)
    return found


async def test_a_source_looks_for_no_namespace_while_names_stay(
    kernel: Kernel, free_tcp_port: int, asked: list[Path]
) -> None:
    async with copied(kernel, free_tcp_port) as (source, _):
        asked.clear()
        source.look(time.monotonic(), names=False)
        assert asked == []
        source.look(time.monotonic())
        assert asked == [kernel.path_of(each) for each in ROUTERS]


async def test_of_who_has_nothing_to_tell_nothing_is_asked(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither whether there is something, nor whether a copy is due: that is looked for now and then."""
    asked, is_due = Counter[str](), Telling.is_due

    def has_something(it: Telling, _: float) -> bool:
        asked[f"{it.router_id} has something"] += 1
        return it.has_copy_untold or it._feed.waiting > 0

    def due(it: Telling, now: float) -> bool:
        asked[f"{it.router_id} is due"] += 1
        return is_due(it, now)

    async with copied(kernel, free_tcp_port) as (source, follower):
        monkeypatch.setattr(Telling, "has_something", has_something)
        monkeypatch.setattr(Telling, "is_due", due)
        await kernel.begins(CHANGED, [1])
        await until(lambda: follower.has(range(1, 2)) and is_quiet(source))
        assert set(asked) == {f"{CHANGED} has something"}
        source.look(time.monotonic())
        await until(lambda: is_quiet(source))
        assert {each for each in asked if each.endswith("due")} == {f"{each} is due" for each in ROUTERS}


async def test_a_copy_that_is_due_begins_with_the_next_look(kernel: Kernel, free_tcp_port: int) -> None:
    async with copied(kernel, free_tcp_port) as (source, _):
        (session,) = source._sessions
        for telling in session._channels.values():
            telling._feed._due_at = 0.0
        source.look(time.monotonic(), names=False)
        await until(lambda: source._figures.copies == 2 * len(ROUTERS))


async def test_a_follower_looks_for_no_namespace_while_names_stay_and_all_are_there(
    kernel: Kernel, free_tcp_port: int, asked: list[Path]
) -> None:
    figures = Figures()
    sink, _ = following(kernel, free_tcp_port)
    source = Source(identity("a"), figures, lambda _: True, most=9, path_of=kernel.path_of, turns=Turns(rest=0.0))
    async with running(source.serve("127.0.0.1", free_tcp_port), sink.run()):
        await until(lambda: sink.followed == 1 and figures.copies == 1)
        asked.clear()
        sink.look(names=False)
        assert asked == []
        missing = RouterId("one that is not built yet")
        sink._wanted[missing] = kernel.path_of(missing).with_name("nowhere")
        sink.look(names=False)
        assert len(asked) == 2
        assert sink.followed == 1
