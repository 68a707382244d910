"""The lab's end of the sniffer: starts it, tells it when to begin, fetches what it saw."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import msgspec

from gapless.errors import Unavailable
from gapless.lab import shell, sniffer
from gapless.lab.sniffer import Orders, Seen

READY_TIMEOUT_S = 20.0
END_TIMEOUT_S = 30.0


class Capture:
    """The frames of all routers at all hosts' cables, from `start` to `end`."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begin to look; returns when it does. Raises Unavailable."""
        self.process = await shell.spawn(sys.executable, "-m", "gapless.lab.sniffer", stdin=PIPE, stdout=PIPE)
        await self._tell(msgspec.json.encode(self._orders) + b"\n")
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                said = await self.process.stdout.readline()
        except TimeoutError:
            raise Unavailable(f"the sniffer does not begin within {READY_TIMEOUT_S:g} s") from None
        if said != sniffer.READY:
            raise Unavailable("the sniffer did not start; its words are on standard error")

    async def begin(self) -> None:
        """Forget what was seen so far."""
        await self._tell(b"begin\n")

    async def _tell(self, line: bytes) -> None:
        if self.process is None or self.process.stdin is None:
            raise Unavailable("the sniffer is not running")
        try:
            self.process.stdin.write(line)
            await self.process.stdin.drain()
        except OSError as error:
            raise Unavailable(f"the sniffer does not listen any more ({error.strerror})") from error

    async def end(self, path: Path) -> Seen:
        """Stop and fetch what was seen, through the file `path`. Raises Unavailable; it is over even so."""
        await self._tell(f"end {path}\n".encode())
        assert self.process is not None
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                status = await self.process.wait()
        except TimeoutError:
            raise Unavailable(f"the sniffer did not write what it saw within {END_TIMEOUT_S:g} s") from None
        finally:
            await self.close()
        if status != 0:
            raise Unavailable(f"the sniffer ended with status {status}")
        return msgspec.json.decode(await asyncio.to_thread(path.read_bytes), type=Seen)

    async def close(self) -> None:
        """End it, whatever it is doing. Safe to call twice."""
        process, self.process = self.process, None
        if process is not None:
            await shell.end(process)
