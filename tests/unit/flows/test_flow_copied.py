"""Whether a follower has all of a router's flows: said by the source as it changes, and known at the follower."""

import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from flow_kernel import Kernel, SmallTable, began, picked_up, router
from flow_source import identity
from test_flow_behind import Reader, SlowSource, running, serving, until
from test_flow_policy import following

from gapless.core.backoff import Pace
from gapless.core.flows import feed
from gapless.core.flows.feed import BEHIND_S
from gapless.flows import session as session_module
from gapless.flows import sink as sinks
from gapless.flows import telling as telling_module
from gapless.flows.driver import Driver
from gapless.flows.figures import Figures
from gapless.flows.session import Session
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.flows.turns import Turns
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire import flows as wire
from gapless.wire.flows import Part, Stream

ROUTER = router(1)


def copied_to(sink: Sink) -> Callable[[], bool | None]:
    return lambda: sink.copied(time.monotonic())[ROUTER]


def telling_of(source: Source):  # type: ignore[no-untyped-def]
    (session,) = source._sessions
    (telling,) = session._channels.values()
    return telling


async def test_a_router_is_copied_once_its_copy_is_told_and_while_nothing_was_lost(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAUSE", Pace(first_s=0.2, most_s=0.2))
    await kernel.begins(ROUTER, range(1, 10))
    sink, table = following(kernel, free_tcp_port)
    is_copied = copied_to(sink)
    assert is_copied() is False, "nobody is reached yet"
    async with serving(kernel, Figures(), free_tcp_port) as source, running(sink.run()):
        await until(lambda: is_copied() is True)
        assert len(table.there) == 9
        telling_of(source).give_up(time.monotonic())
        await until(lambda: is_copied() is False)
        await kernel.begins(ROUTER, [20])  # nobody hears it
        await until(lambda: is_copied() is True)
        assert len(table.there) == 10
    assert is_copied() is False, "the stream is cut"


async def test_a_router_that_is_closed_there_is_not_copied_from_there(kernel: Kernel, free_tcp_port: int) -> None:
    sink, _ = following(kernel, free_tcp_port)
    is_copied, is_open = copied_to(sink), True
    source = Source(identity("a"), Figures(), lambda _: is_open, most=9, path_of=kernel.path_of, turns=Turns(rest=0.0))
    async with running(source.serve("127.0.0.1", free_tcp_port), sink.run()):
        await until(lambda: is_copied() is True)
        is_open = False
        source.look(time.monotonic())
        await until(lambda: is_copied() is False)


async def test_a_router_of_which_flows_are_left_out_or_wait_for_long_is_not_copied(
    kernel: Kernel, free_tcp_port: int
) -> None:
    sink, table = following(kernel, free_tcp_port)
    is_copied = copied_to(sink)
    source = Source(identity("a"), Figures(), lambda _: True, most=3, path_of=kernel.path_of, turns=Turns(rest=0.0))
    async with running(source.serve("127.0.0.1", free_tcp_port), sink.run()):
        await until(lambda: is_copied() is True)
        await kernel.begins(ROUTER, range(1, 4))
        await until(lambda: len(table.there) == 3)
        assert is_copied()
        telling, now = telling_of(source), time.monotonic()
        telling._feed.oldest_at = now - BEHIND_S
        assert not telling.is_whole(now)
        telling._feed.oldest_at = None
        await kernel.begins(ROUTER, [4])
        await until(lambda: telling._leaves_out)
        source.look(time.monotonic())
        await until(lambda: is_copied() is False)


async def test_a_router_that_falls_behind_while_a_frame_is_made_holds_up_no_other(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has something to tell, that it is whole, and a moment later that is not so."""
    source = Source(identity("a"), Figures(), lambda _: False, most=9, path_of=kernel.path_of)
    stream = cast(Stream, SimpleNamespace(peer=HostName("b"), sent=0))
    session = Session(stream, source._telling, lambda _: False, Figures(), Turns())
    session._want(wire.Wanted(add={0: ROUTER, 1: router(2)}, hears_whole=True))
    falls_behind, other = session._channels.values()
    falls_behind._feed.begin(0.0)
    falls_behind._feed.copied()
    falls_behind._told_whole = False
    falls_behind._partial[b"a flow"] = 100.0 + 1.5 - BEHIND_S, b"its name"
    other._ready.append(wire.Section(1, Part.BEGIN))
    busy = SimpleNamespace(monotonic=partial(next, count(100.0)))  # each look at the clock is a second later
    for module in (session_module, telling_module):
        monkeypatch.setattr(module, "time", busy)
    told = list(wire.unpack(session._frame()[0]))
    assert [(each.channel, each.part) for each in told] == [(0, Part.WHOLE), (1, Part.BEGIN), (1, Part.BEHIND)]


@pytest.fixture
def table(kernel: Kernel) -> SmallTable:
    return kernel.table(ROUTER)


async def test_what_the_follower_could_not_take_in_is_not_copied_whatever_the_source_says(
    kernel: Kernel, table: SmallTable, free_tcp_port: int
) -> None:
    source = SlowSource()
    sink = Sink(identity("b"), HostName("a"), Figures(), path_of=kernel.path_of, turns=Turns(rest=0.0))
    sink.follow(frozenset({ROUTER}), ("127.0.0.1", free_tcp_port))
    is_copied = copied_to(sink)
    copy = (Part.BEGIN, b""), (Part.ENTRIES, began(1)), (Part.END, b"")

    async def is_copied_after(*sections: tuple[Part, bytes]) -> bool | None:
        said = await source.says(*sections)
        await until(lambda: source.applied == said)
        return is_copied()

    async with running(source.serve(free_tcp_port), sink.run()):
        assert await is_copied_after(*copy) is None, "an older source says nothing of it"
        assert await is_copied_after((Part.WHOLE, b"")) is True
        assert sink.copied(time.monotonic() + BEHIND_S)[ROUTER] is False, "nothing was heard for a while"
        assert await is_copied_after((Part.CHANGES, picked_up(2))) is False
        assert await is_copied_after(*copy) is True, "the next copy names all"
        table.room = 1
        assert await is_copied_after((Part.CHANGES, began(3))) is False
        table.room = 2
        sink.look()
        assert is_copied() is True
        assert await is_copied_after((Part.BEHIND, b"")) is False


SAID = ("not all flows are copied", "flows are copied again")


def said_in(lines: list[str]) -> list[str]:
    return [each for line in lines for each in SAID if each in line]


class Clock:
    """The sink's, which stands still unless it is set."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(sinks, "time", made)
    return made


async def test_that_all_is_copied_again_is_said_when_no_routers_kernel_lacks_any(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str], clock: Clock
) -> None:
    """Routers are copied one after another: the second one's copy, which finds room, says nothing of the first. And a
    table that is nearly full has room now and then.
    """
    sink, table = following(kernel, free_tcp_port)
    table.room, other = 1, router(2)
    sink.follow(frozenset({ROUTER, other}), sink.address)
    await kernel.begins(ROUTER, [1, 2])
    await kernel.begins(other, [3])
    async with serving(kernel, Figures(), free_tcp_port), running(sink.run()):
        await until(lambda: sink.copied(clock.now_s)[other] is True)
        await until(lambda: bool(said_in(log_lines)))
        assert sink.copied(clock.now_s)[ROUTER] is False
        assert [line for line in log_lines if "did not take 1 of them" in line]
        clock.now_s += 60.0
        sink.look()
        table.room = 2
        clock.now_s += sinks.CALM_S - 1.0
        sink.look()
        assert len(table.there) == 2
        assert said_in(log_lines) == [SAID[0]], "some was lacking just now"
        clock.now_s += 1.0
        sink.look()
        assert said_in(log_lines) == [*SAID]


async def test_routers_of_which_nothing_was_refused_do_not_keep_it_from_being_said(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str], clock: Clock, tmp_path: Path
) -> None:
    """One that is not active at that source, as a second standby knows it of the first, and one that is not built."""
    closed, unbuilt = router(2), router(3)

    def path_of(router_id: RouterId) -> Path:
        return tmp_path / "nothing" if router_id == unbuilt else kernel.path_of(RouterId(f"{router_id} on b"))

    source = Source(
        identity("a"), Figures(), lambda each: each != closed, most=9, path_of=kernel.path_of, turns=Turns(rest=0.0)
    )
    sink = Sink(identity("b"), HostName("a"), Figures(), path_of=path_of, turns=Turns(rest=0.0))
    sink.follow(frozenset({ROUTER, closed, unbuilt}), ("127.0.0.1", free_tcp_port))
    table = kernel.tables[path_of(ROUTER)]
    table.room = 0
    await kernel.begins(ROUTER, [1])
    async with running(source.serve("127.0.0.1", free_tcp_port), sink.run()):
        await until(lambda: bool(said_in(log_lines)))
        table.room = 1
        sink.look()
        clock.now_s += sinks.CALM_S
        sink.look()
        assert said_in(log_lines) == [*SAID]


async def test_what_is_not_followed_yet_after_a_stream_broke_is_not_said_to_be_copied_again(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "CALM_S", 0.0)
    source, copy = SlowSource(), ((Part.BEGIN, b""), (Part.ENTRIES, began(1)), (Part.END, b""))
    sink, table = following(kernel, free_tcp_port)
    table.room = 0

    def said() -> list[str]:
        return [line for line in log_lines if "flows are copied again" in line]

    async with running(source.serve(free_tcp_port), sink.run()):
        refused = await source.says(*copy)
        await until(lambda: source.applied == refused)
    table.room = 1
    again = SlowSource()
    async with running(again.serve(free_tcp_port), sink.run()):
        await until(lambda: sink.followed == 1)
        sink.look()
        assert said() == [], "no copy has come yet"
        whole = await again.says(*copy)
        await until(lambda: again.applied == whole)
        sink.look()
        assert len(said()) == 1


async def test_a_follower_that_does_not_ask_is_told_nothing_of_it(kernel: Kernel, free_tcp_port: int) -> None:
    figures, parts = Figures(), set[Part]()
    async with serving(kernel, figures, free_tcp_port), Reader.of(free_tcp_port, ROUTER) as follower:
        while Part.END not in parts:
            parts |= {each.part for each in wire.unpack((await follower._stream.receive(10.0))[1])}
        await kernel.begins(ROUTER, [1])
        await follower.reads(lambda: follower.has(range(1, 2)))
        assert not parts & {Part.WHOLE, Part.BEHIND}


def test_a_router_that_may_be_active_on_several_hosts_is_copied_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what a host of an older release does not say is not known."""

    class Says:
        def __init__(self, *said: bool | None) -> None:
            self._said = dict(zip(map(router, range(9)), said, strict=False))

        def copied(self, now: float) -> dict[RouterId, bool | None]:
            return self._said

    driver = Driver.__new__(Driver)
    sinks = {"a": Says(True, False, None, False, True), "b": Says(False, False, False, None, None)}
    driver._sinks = {HostName(name): (said, None) for name, said in sinks.items()}  # type: ignore[misc]
    assert driver._copied() == {router(0): True, router(1): False, router(4): True}
