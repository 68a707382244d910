"""Followers that are behind: one takes over in the middle of a copy, one reads nothing, one is beside a storm."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from flow_kernel import Kernel, began, ended, flows, router
from flow_source import identity, listens

from gapless.core.backoff import Pace
from gapless.core.flows import feed
from gapless.core.flows.window import Window
from gapless.flows import session as session_module
from gapless.flows.figures import Figures
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.flows.turns import Turns
from gapless.model.flow import FlowPolicy
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire import flows as wire
from gapless.wire.flows import Kind, Part, Section, Stream
from gapless.wire.messages import encode

PATIENCE_S = 30.0
CALM, STORM, OTHER = router(1), router(2), router(3)


async def until(holds: Callable[[], bool]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(*works: Awaitable[object]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SlowSource:
    """The other end of a sink's stream, which says what it is told to, when it is told to."""

    def __init__(self) -> None:
        self._accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self._applied = asyncio.Event()
        self.applied = 0

    async def serve(self, port: int) -> None:
        async with await asyncio.start_server(self._connected, "127.0.0.1", port) as server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = await wire.accept(reader, writer, identity("a"))
        with contextlib.suppress(Exception):
            kind, body = await stream.receive(PATIENCE_S)
            assert (kind, wire.wanted.decode(body).add) == (Kind.WANTED, {0: CALM})
            self._accepted.set_result(stream)
            while True:
                kind, body = await stream.receive(PATIENCE_S)
                if kind is Kind.APPLIED:
                    self.applied = wire.unpack_number(body)
        writer.transport.abort()

    async def says(self, *sections: tuple[Part, bytes]) -> int:
        """In one frame of the router's channel; the frame's number."""
        stream = await self._accepted
        await stream.send(Kind.DATA, wire.pack(Section(0, part, said) for part, said in sections))
        return stream.sent


async def test_a_takeover_in_the_middle_of_a_copy_removes_nothing_and_what_still_comes_changes_nothing(
    kernel: Kernel, free_tcp_port: int
) -> None:
    """Two flows were there before; the copy has named one of them, and a new one."""
    table = kernel.table(CALM)
    await kernel.begins(CALM, [1, 2])
    source = SlowSource()
    sink = Sink(identity("b"), HostName("a"), Figures(), path_of=kernel.path_of, turns=Turns(rest=0.0))
    sink.follow(frozenset({CALM}), ("127.0.0.1", free_tcp_port))
    async with running(source.serve(free_tcp_port), sink.run()):
        said = await source.says((Part.BEGIN, b""), (Part.ENTRIES, began(1) + began(3)))
        await until(lambda: source.applied == said)
        assert set(table.there) == flows([1, 2, 3])
        sink.follow(frozenset(), ("127.0.0.1", free_tcp_port))  # it is active here now
        said = await source.says((Part.ENTRIES, began(4)), (Part.CHANGES, ended(1)), (Part.END, b""))
        await until(lambda: source.applied == said)
        assert set(table.there) == flows([1, 2, 3])
        assert sink.followed == 0


async def test_a_takeover_while_a_copy_waits_for_its_turn_is_as_if_it_had_never_begun(
    kernel: Kernel, free_tcp_port: int
) -> None:
    table, source, turns = kernel.table(CALM), SlowSource(), Turns(rest=0.0)
    await kernel.begins(CALM, [1, 2])
    sink = Sink(identity("b"), HostName("a"), Figures(), path_of=kernel.path_of, turns=turns)
    sink.follow(frozenset({CALM}), ("127.0.0.1", free_tcp_port))
    async with running(source.serve(free_tcp_port), sink.run()):
        async with turns._line:  # somebody else's turn
            said = await source.says((Part.BEGIN, b""), (Part.ENTRIES, began(3)), (Part.END, b""))
            await until(lambda: len(turns._line._waiters or ()) == 1)
            sink.follow(frozenset(), ("127.0.0.1", free_tcp_port))
        await until(lambda: source.applied == said)
        assert set(table.there) == flows([1, 2])


class Reader:
    """A follower that reads as long as it is told to."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.changes = b""

    @classmethod
    @asynccontextmanager
    async def of(cls, port: int, *routers: RouterId) -> "AsyncIterator[Reader]":
        stream = await wire.connect("127.0.0.1", port, HostName("a"), identity("b"))
        try:
            await stream.send(Kind.WANTED, encode(wire.Wanted(add=dict(enumerate(routers)))))
            yield cls(stream)
        finally:
            stream.close()

    async def reads(self, holds: Callable[[], bool]) -> None:
        """Until it holds, acknowledging all."""
        while not holds():
            _, body = await self._stream.receive(PATIENCE_S)
            self.changes += b"".join(each.messages for each in wire.unpack(body) if each.part is not Part.BEGIN)
            await self._stream.send(Kind.APPLIED, wire.pack_number(self._stream.received))

    def has(self, ports: range) -> bool:
        return all(began(port) in self.changes for port in ports)


@asynccontextmanager
async def serving(
    kernel: Kernel, figures: Figures, port: int, policy: FlowPolicy | None = None
) -> AsyncIterator[Source]:
    source = Source(
        identity("a"),
        figures,
        lambda _: True,
        most=10_000,
        policy=policy,
        path_of=kernel.path_of,
        turns=Turns(rest=0.0),
    )

    async def look() -> None:
        while True:
            source.look(time.monotonic())
            await asyncio.sleep(0.005)

    async with running(source.serve("127.0.0.1", port), look()):
        await listens(port)
        yield source


async def test_who_reads_nothing_loses_the_most_that_waits_and_nothing_else_and_has_it_again_when_it_reads(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MOST_WAITING", 500)
    monkeypatch.setattr(session_module, "Window", partial(Window, 10_000))
    monkeypatch.setattr(feed, "PAUSE", Pace(first_s=0.2, most_s=0.2))
    figures = Figures()
    async with (
        serving(kernel, figures, free_tcp_port) as source,
        Reader.of(free_tcp_port, CALM, STORM, OTHER) as follower,
    ):
        await follower.reads(lambda: figures.copies == 3)
        (session,) = source._sessions
        tellings = {each.router_id: each for each in session._channels.values()}
        await kernel.begins(OTHER, range(1, 100))  # fills what may be under way
        await until(lambda: not session._window.has_room)
        await kernel.begins(CALM, range(100, 200))
        await kernel.begins(STORM, range(200, 2200))
        await until(lambda: figures.overruns > 0)
        assert sum(each.waiting for each in tellings.values()) <= 500
        assert [tellings[each]._feed.is_whole for each in (CALM, STORM, OTHER)] == [True, False, True]
        assert (tellings[STORM].waiting, tellings[CALM].waiting) == (0, 100)
        await follower.reads(lambda: figures.copies == 4 and follower.has(range(1, 2200)))
        assert figures.overruns == 1


async def test_one_routers_storm_holds_up_anothers_change_by_a_frame_at_most(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "Window", partial(Window, 1))
    figures = Figures()
    async with serving(kernel, figures, free_tcp_port) as source, Reader.of(free_tcp_port, STORM, CALM) as follower:
        await follower.reads(lambda: figures.copies == 2)
        (session,) = source._sessions
        await kernel.begins(CALM, [1])
        await until(lambda: not session._window.has_room)  # from here on all waits
        await kernel.begins(STORM, range(1000, 2500))
        await kernel.begins(CALM, [2])
        await until(lambda: figures.heard == 1502)
        session._window = Window()
        frames = [session._frame()[0] for _ in range(3)]
        assert all(len(frame) > session_module.FRAME_BYTES / 2 for frame in frames), "the storm goes on"
        assert any(began(2) in frame for frame in frames[:2])
