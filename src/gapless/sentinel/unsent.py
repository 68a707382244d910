"""What routers of this host have sent and the data network has not taken is forgotten when the lease ends.

The guard stands before a frame is put into VXLAN. Behind it, where the host itself sends, a frame may wait: for the
address of the host that it goes to, as long as the data cable is pulled (`kernel.neighbours`). Plugged in again within
three seconds, this host would send what its routers forwarded by a lease that is over, while another one forwards for
them; and every bridge that hears it would believe the routers to be here.

The rule: with the end of each tenure, nothing waits any more. It costs a look at all neighbours and a message for each
that did not answer, when nothing is urgent any more on this host. What it cannot help: a host whose processes are all
stopped while its cable is pulled.
"""

import asyncio
from collections.abc import Callable

from gapless.errors import Unavailable
from gapless.kernel.neighbours import forget_unresolved
from gapless.model.host import Incarnation
from gapless.model.lease import NOBODY
from gapless.observe.log import get_logger


class Unsent:
    """Of one data interface. `forget` blocks, and raises Unavailable."""

    def __init__(self, interface: str, forget: Callable[[str], int] = forget_unresolved) -> None:
        self._interface = interface
        self._forget = forget
        self._tenure = NOBODY
        self._is_over = asyncio.Event()
        self._log = get_logger()

    def tenure_is(self, tenure: Incarnation) -> None:
        """At which this host holds its lease now; NOBODY: at none."""
        if self._tenure not in (NOBODY, tenure):
            self._is_over.set()
        self._tenure = tenure

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._is_over.wait()
            self._is_over.clear()
            try:
                count = await asyncio.to_thread(self._forget, self._interface)
            except Unavailable as error:
                self._log.warning("what was not sent before the lease ended may leave later", reason=str(error))
                continue
            if count:
                self._log.info("what was not sent before the lease ended is forgotten", neighbours=count)
