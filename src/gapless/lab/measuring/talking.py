"""The lab's end of the talker: starts it, waits until every connection is up, fetches what became of them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gapless.errors import Unavailable
from gapless.lab.machines import layout
from gapless.lab.measuring import connections
from gapless.lab.measuring.connections import MIX, Connection, Course, Courses, Orders, Talk
from gapless.lab.measuring.measurer import Measurer
from gapless.lab.measuring.talker import LAST_WORDS_S
from gapless.lab.tenants import Tenant

UP_WITHIN_S = 60.0
END_TIMEOUT_S = LAST_WORDS_S + 15.0


def spread(tenants: Sequence[Tenant], count: int) -> list[Connection]:
    """So many connections through these tenants' routers by turns, the kinds mixed on each."""
    return [
        Connection(
            router_id=tenant.router_id,
            kind=MIX[(number // len(tenants) + number % len(tenants)) % len(MIX)],
            netns=tenant.vm,
            source=str(tenant.vm_addresses[1]),
        )
        for number in range(count if tenants else 0)
        for tenant in (tenants[number % len(tenants)],)
    ]


class Talking(Measurer):
    """Connections through a set of routers, from `start` to `end`; none at all where there are none to make."""

    module, name, writes = "gapless.lab.measuring.talker", "the talker", "what became of its connections"

    def __init__(self, wanted: Sequence[Connection]) -> None:
        super().__init__()
        self.connections = tuple(wanted)

    async def start(self) -> None:
        """Connect all, and wait until each was heard. Raises Unavailable."""
        if not self.connections:
            return
        orders = Orders(
            connections=self.connections,
            netns=layout.OUTSIDE,
            target=str(layout.FAR_OUTSIDE),
            interval_ms=connections.interval_ms_for(len(self.connections)),
        )
        process = await self.launch(orders)
        assert process.stdout is not None
        heard = 0
        try:
            async with asyncio.timeout(UP_WITHIN_S):
                while heard < len(self.connections):
                    line = await process.stdout.readline()
                    if not line:
                        raise Unavailable("the talker ended on its own; its words are on standard error")
                    heard = msgspec.json.decode(line, type=Talk).heard
        except TimeoutError:
            raise Unavailable(f"{heard} of {len(self.connections)} connections are up") from None
        self._drain = asyncio.create_task(_drain(process.stdout))

    async def begin(self) -> None:
        """Forget the stalls so far: the measurement begins now."""
        if self.connections:
            await super().begin()

    async def end(self, path: Path) -> Sequence[Course]:
        """What became of them; waits for those that are silent."""
        if not self.connections:
            return ()
        await self.finish(path, END_TIMEOUT_S)
        return msgspec.json.decode(await asyncio.to_thread(path.read_bytes), type=Courses).courses


async def _drain(lines: asyncio.StreamReader) -> None:
    """So that the talker never waits for somebody to read."""
    while await lines.readline():
        pass
