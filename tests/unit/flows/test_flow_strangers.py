"""Who connects for flows and proves nothing: a few at a time, counted, and said now and then."""

import asyncio
import contextlib

from flow_source import identity, serving

from gapless.flows.figures import Figures
from gapless.flows.source import MOST_UNPROVEN
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
