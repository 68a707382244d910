"""Who connects for flows and proves nothing: a few at a time, counted, and said now and then."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gapless.flows.figures import Figures
from gapless.flows.source import MOST_UNPROVEN, Source
from gapless.model.host import HostName
from gapless.wire import flows as wire
from gapless.wire.flows import Identity


def identity(name: str) -> Identity:
    return Identity(name=HostName(name), cluster="lab", key=b"k" * 32)


@contextlib.asynccontextmanager
async def serving(figures: Figures, port: int) -> AsyncIterator[None]:
    source = Source(identity("a"), figures, lambda _: False, most=9)
    running = asyncio.create_task(source.serve("127.0.0.1", port))
    try:
        await listens(port)
        assert figures.turned_away == 1, "the one that only looked"
        figures.turned_away = 0
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def listens(port: int) -> None:
    """Return when it does, and has let go of the one that looked."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            await asyncio.sleep(0.01)
            continue
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        return


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
        silent = [await greeted(free_tcp_port) for _ in range(MOST_UNPROVEN)]
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", free_tcp_port)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        assert figures.turned_away == 3
        for _, writer in silent:
            writer.close()
    assert len([line for line in log_lines if "too many connections for flows" in line]) == 1


async def test_who_has_proven_itself_does_not_count_among_them(free_tcp_port: int) -> None:
    figures = Figures()
    async with asyncio.timeout(10), serving(figures, free_tcp_port):
        me, source = identity("b"), HostName("a")
        streams = [await wire.connect("127.0.0.1", free_tcp_port, source, me) for _ in range(MOST_UNPROVEN + 2)]
        assert figures.turned_away == 0
        for stream in streams:
            stream.close()
