"""Who connects for flows and finds no room: a few that prove nothing, and a fleet's hosts, one stream each. Those that
are turned away are counted and told so, it is said now and then, and they may come again."""

import asyncio
from dataclasses import replace

import pytest
from flow_kernel import Kernel, router
from flow_source import identity, serving
from test_flow_behind import running, until
from test_flow_behind import serving as telling
from test_flow_policy import following
from test_flow_versions import heard

from gapless.errors import Unavailable
from gapless.flows import session, source
from gapless.flows.figures import Figures
from gapless.flows.source import MOST_UNPROVEN_OF_ONE
from gapless.model.host import HostName
from gapless.wire import flows as wire


async def greeted(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that is heard, and says nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readexactly(2)
    return reader, writer


async def test_more_than_a_few_unproven_ones_of_an_address_are_closed_counted_and_said_once(
    free_tcp_port: int, log_lines: list[str]
) -> None:
    figures = Figures()
    async with asyncio.timeout(10), serving(figures, free_tcp_port):
        silent = [await greeted(free_tcp_port) for _ in range(MOST_UNPROVEN_OF_ONE)]
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", free_tcp_port)
            assert (await heard(reader))["is_full"] is True
            assert await reader.read() == b"", "closed"
            writer.close()
        assert figures.turned_away == 3
        for _, writer in silent:
            writer.close()
    assert len([line for line in log_lines if "too many connections for flows" in line]) == 1


async def test_who_has_proven_itself_does_not_count_among_them(free_tcp_port: int) -> None:
    figures = Figures()
    async with asyncio.timeout(10), serving(figures, free_tcp_port):
        hosts, source = [identity(f"b{number}") for number in range(MOST_UNPROVEN_OF_ONE + 2)], HostName("a")
        streams = [await wire.connect("127.0.0.1", free_tcp_port, source, each) for each in hosts]
        assert figures.turned_away == 0
        for stream in streams:
            stream.close()


def no_more_than(count: int, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, what, count)


async def test_a_host_that_finds_no_room_says_why_and_follows_as_soon_as_there_is(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    no_more_than(1, "MOST_FOLLOWERS", monkeypatch)
    figures, (sink, table) = Figures(), following(kernel, free_tcp_port)
    await kernel.begins(router(1), [1])
    async with telling(kernel, figures, free_tcp_port):
        first = await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity("c"))
        await until(lambda: figures.streams == 1)
        turned_away = figures.turned_away
        async with running(sink.run()):
            await until(lambda: figures.turned_away > turned_away)
            await until(lambda: any("it has all the connections for flows that it takes" in line for line in log_lines))
            first.close()
            await until(lambda: len(table.there) == 1)
    assert len([line for line in log_lines if "too many connections for flows" in line]) == 1


async def test_a_host_that_comes_back_takes_the_room_of_its_own_stream(
    free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before may be of a machine that has lost its power: nobody ends it."""
    no_more_than(1, "MOST_FOLLOWERS", monkeypatch)
    figures = Figures()
    async with asyncio.timeout(10), serving(figures, free_tcp_port):
        older, newer = [await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity("b")) for _ in range(2)]
        with pytest.raises(Unavailable, match="when there is room, it takes this host's"):
            await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity("c"))
        with pytest.raises(Unavailable, match="the stream ended"):
            await older.receive(10.0)
        await until(lambda: (figures.streams, figures.turned_away) == (1, 1))
        newer.close()
        older.close()


async def test_a_stranger_is_not_told_that_there_is_no_room(
    free_tcp_port: int, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    no_more_than(0, "MOST_FOLLOWERS", monkeypatch)
    async with asyncio.timeout(10), serving(Figures(), free_tcp_port):
        stranger = replace(identity("b"), key=b"?" * 32)
        with pytest.raises(Unavailable, match="it closed the stream"):
            await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), stranger)
    assert not [line for line in log_lines if "too many connections for flows" in line]


async def test_no_more_than_some_are_unproven_whatever_their_addresses(
    free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_more_than(2, "MOST_UNPROVEN", monkeypatch)
    async with asyncio.timeout(10), serving(Figures(), free_tcp_port):
        silent = [await greeted(free_tcp_port) for _ in range(2)]
        with pytest.raises(Unavailable, match="when there is room, it takes this host's"):
            await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity("b"))
        for _, writer in silent:
            writer.close()


async def test_a_host_has_one_stream_the_newest(free_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ALIVE_S", 0.05)
    figures = Figures()
    async with asyncio.timeout(10), serving(figures, free_tcp_port):
        older, newer = [await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity("b")) for _ in range(2)]
        with pytest.raises(Unavailable, match="the stream ended"):
            await older.receive(10.0)
        await until(lambda: figures.streams == 1)
        assert figures.turned_away == 0
        assert await newer.receive(10.0) == (wire.Kind.DATA, b""), "it lives"
        newer.close()
        older.close()
