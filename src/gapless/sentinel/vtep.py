"""Neighbours are told where this host's data address is, the end of its VXLAN tunnels (VTEP).

Theory: a kernel believes a neighbour's MAC address for up to 45 s after it was confirmed last (base_reachable_time,
net/core/neighbour.c). A host that floods by multicast asks nobody for an address, so nobody hears of its own. When such
a host has another network card than before, or another machine has its address, it takes over routers and hears
nothing from machines that still send to the old card: half a minute's outage, while everything here looks right.

The rule: with each tenure that begins, the data address is announced by gratuitous ARP, and again: a frame may be lost.
That is before this host may forward anything, and changes nothing for those who know the address as it is.
"""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address

from gapless.errors import Unavailable
from gapless.kernel.neighbours import announce
from gapless.model.host import Incarnation
from gapless.model.lease import NOBODY
from gapless.observe.log import get_logger

AGAIN_S = (0.2, 1.0)


class Vtep:
    """Of one data interface. `tell` sends frames, and raises Unavailable."""

    def __init__(
        self,
        interface: str,
        address: IPv4Address,
        tell: Callable[[str, IPv4Address], None] = announce,
        again_s: tuple[float, ...] = AGAIN_S,
    ) -> None:
        self._interface, self._address, self._tell, self._again_s = interface, address, tell, again_s
        self._tenure = NOBODY
        self._has_begun = asyncio.Event()
        self._log = get_logger()

    def tenure_is(self, tenure: Incarnation) -> None:
        """At which this host holds its lease now; NOBODY: at none."""
        if tenure not in (NOBODY, self._tenure):
            self._has_begun.set()
        self._tenure = tenure

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._has_begun.wait()
            self._has_begun.clear()
            self._announce()
            for pause_s in self._again_s:
                await asyncio.sleep(pause_s)
                self._announce()

    def _announce(self) -> None:
        try:
            self._tell(self._interface, self._address)
        except Unavailable as error:
            what = "neighbours are not told where this host's data address is"
            self._log.warning(what, address=str(self._address), reason=str(error))
