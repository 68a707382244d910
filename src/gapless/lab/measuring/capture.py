"""The lab's end of the sniffer: starts it, and fetches what it saw."""

import asyncio
from pathlib import Path

import msgspec

from gapless.errors import Unavailable
from gapless.lab.measuring import sniffer
from gapless.lab.measuring.measurer import Measurer
from gapless.lab.measuring.sniffer import Orders, Seen

READY_TIMEOUT_S = 20.0
END_TIMEOUT_S = 30.0


class Capture(Measurer):
    """The frames of all routers at all hosts' cables, from `start` to `end`."""

    module, name, writes = "gapless.lab.measuring.sniffer", "the sniffer", "what it saw"

    def __init__(self, orders: Orders) -> None:
        super().__init__()
        self._orders = orders

    async def start(self) -> None:
        """Begin to look; returns when it does. Raises Unavailable."""
        await self.launch(self._orders)
        await self._ready()

    async def begin(self) -> None:
        """Forget what was seen so far; returns when that is done. Raises Unavailable."""
        await super().begin()
        await self._ready()

    async def _ready(self) -> None:
        """Whatever crosses a cable after this is seen."""
        assert self.process is not None
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                said = await self.process.stdout.readline()
        except TimeoutError:
            raise Unavailable(f"the sniffer does not begin within {READY_TIMEOUT_S:g} s") from None
        if said != sniffer.READY:
            raise Unavailable("the sniffer did not start; its words are on standard error")

    async def end(self, path: Path) -> Seen:
        """Stop and fetch what was seen, through the file `path`. Raises Unavailable; it is over even so."""
        await self.finish(path, END_TIMEOUT_S)
        return msgspec.json.decode(await asyncio.to_thread(path.read_bytes), type=Seen)
