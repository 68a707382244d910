"""A source of flow streams that listens, and has nothing to tell."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gapless.flows.figures import Figures
from gapless.flows.source import Source
from gapless.model.host import HostName
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
