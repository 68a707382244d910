"""The lab's end of the talker: starts it, waits until every connection is up, fetches what became of them."""

import asyncio
from collections.abc import Sequence
from math import lcm
from pathlib import Path

import msgspec

from gapless.errors import Unavailable
from gapless.lab.machines import layout
from gapless.lab.measuring import connections
from gapless.lab.measuring.connections import (
    MIX,
    Connection,
    Course,
    Courses,
    Endpoint,
    Kind,
    Kinds,
    Opened,
    Orders,
    Talk,
)
from gapless.lab.measuring.conversations import CONVERSATIONS, Way
from gapless.lab.measuring.measurer import Measurer
from gapless.lab.measuring.talker import LAST_WORDS_S
from gapless.lab.measuring.tracked import Flow, Wanted
from gapless.lab.tenants import Tenant

UP_WITHIN_S = 60.0
END_TIMEOUT_S = LAST_WORDS_S + 15.0


def spread(tenants: Sequence[Tenant], count: int, kinds: Kinds = MIX) -> list[Connection]:
    """So many connections through these tenants' routers by turns, and the kinds by turns: each as often as it is
    named, of all together and, where there are enough, of each router.
    """
    if not tenants:
        return []
    again = lcm(len(tenants), len(kinds))  # after so many a router would get the kinds that it has
    return [
        connection(tenants[number % len(tenants)], kinds[(number + number // again) % len(kinds)])
        for number in range(count)
    ]


def connection(tenant: Tenant, kind: Kind) -> Connection:
    """One through this tenant's router: by its floating IP, or from the address that has none."""
    with_floating, without = tenant.vm_addresses
    if CONVERSATIONS[kind].way is Way.FLOATING:
        address, target = with_floating, tenant.floating_address
    else:
        address, target = without, layout.FAR_OUTSIDE
    vm = Endpoint(netns=tenant.vm, address=str(address))
    return Connection(router_id=tenant.router_id, kind=kind, vm=vm, target=str(target))


class Talking(Measurer):
    """Connections through a set of routers, from `start` to `end`; none at all where there are none to make."""

    module, name, writes = "gapless.lab.measuring.talker", "the talker", "what became of its connections"

    def __init__(self, wanted: Sequence[Connection]) -> None:
        super().__init__()
        self.connections = tuple(wanted)
        self.flows: Wanted = ()
        """How the routers' kernels name them, when they are up."""

    async def start(self) -> None:
        """Connect all, and wait until each was heard. Raises Unavailable."""
        if not self.connections:
            return
        orders = Orders(
            connections=self.connections,
            outside=Endpoint(netns=layout.OUTSIDE, address=str(layout.FAR_OUTSIDE)),
            interval_ms=connections.interval_ms_for(len(self.connections)),
        )
        process = await self.launch(orders)
        assert process.stdout is not None
        heard = 0
        try:
            async with asyncio.timeout(UP_WITHIN_S):
                opened = msgspec.json.decode(await _said(process.stdout), type=Opened)
                while heard < len(self.connections):
                    heard = msgspec.json.decode(await _said(process.stdout), type=Talk).heard
        except TimeoutError:
            raise Unavailable(f"{heard} of {len(self.connections)} connections are up") from None
        self.flows = [
            _flow(one, port, orders.outside) for one, port in zip(self.connections, opened.ports, strict=True)
        ]
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


def _flow(one: Connection, port: int, outside: Endpoint) -> tuple[str, Flow]:
    conversation = CONVERSATIONS[one.kind]
    source = one.vm.address if conversation.way is Way.SNAT else outside.address
    return one.router_id, Flow(conversation.protocol.value, source, port)


async def _said(lines: asyncio.StreamReader) -> bytes:
    if line := await lines.readline():
        return line
    raise Unavailable("the talker ended on its own; its words are on standard error")


async def _drain(lines: asyncio.StreamReader) -> None:
    """So that the talker never waits for somebody to read."""
    while await lines.readline():
        pass
