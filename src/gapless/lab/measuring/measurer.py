"""A process of the lab that measures: takes its orders, is told when the measurement begins, ends with a file."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import ClassVar

import msgspec

from gapless.errors import Unavailable
from gapless.lab.machines import shell

_SEE = "its words are on standard error"


class Measurer:
    """The lab's end of one, from `launch` to `finish` or `close`. Each call raises Unavailable when it is gone."""

    module: ClassVar[str]
    name: ClassVar[str]
    writes: ClassVar[str]
    """What it writes at its end, in words that follow "did not write"."""

    def __init__(self) -> None:
        self.process: Process | None = None

    async def launch(self, orders: msgspec.Struct) -> Process:
        """Start it."""
        self.process = await shell.spawn(sys.executable, "-m", self.module, stdin=PIPE, stdout=PIPE)
        await self._tell(msgspec.json.encode(orders) + b"\n")
        return self.process

    async def begin(self) -> None:
        """Forget what was measured so far: the measurement begins now."""
        await self._tell(b"begin\n")

    async def finish(self, path: Path, within_s: float) -> None:
        """Have it write what it measured to `path`, and end. It is over even when that fails."""
        await self._tell(f"end {path}\n".encode())
        assert self.process is not None
        try:
            async with asyncio.timeout(within_s):
                status = await self.process.wait()
        except TimeoutError:
            raise Unavailable(f"{self.name} did not write {self.writes} within {within_s:g} s") from None
        finally:
            await self.close()
        if status != 0:
            raise Unavailable(f"{self.name} ended with status {status}; {_SEE}")

    async def close(self) -> None:
        """End it, whatever it is doing. Safe to call twice."""
        process, self.process = self.process, None
        if process is not None:
            await shell.end(process)

    async def _tell(self, line: bytes) -> None:
        if self.process is None or self.process.stdin is None:
            raise Unavailable(f"{self.name} is not running")
        try:
            self.process.stdin.write(line)
            await self.process.stdin.drain()
        except OSError as error:
            raise Unavailable(f"{self.name} does not listen any more ({error.strerror}); {_SEE}") from error
