"""The second failure at the worst moment: whoever is about to take over dies of it."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable

from gapless.errors import InvalidRequest
from gapless.lab.faults.base import RESCHEDULED, in_mode
from gapless.lab.faults.machines import HostPower
from gapless.lab.findings.expect import Expected, Gap
from gapless.lab.lab import Lab
from gapless.lab.machines import wiring
from gapless.lab.machines.nodes import Host
from gapless.lab.measuring import claims
from gapless.lab.waiting import until
from gapless.model.lease import DatagramKind

CLAIMED_WITHIN_S = 20.0
ENDED = "the beat ended"
"""What a sentinel logs when its beat is gone, after all that the beat has said."""
NOTICED_WITHIN_S = 10.0


class SuccessorDies(HostPower):
    """A host loses power, and of the first standbys of its routers the one that claims it first loses its fast path at
    that moment. The machine's init system starts it again a moment later, as in `sentinel-kill`. Until it is dead the
    network loses what arbiters answer to claims: a takeover takes some milliseconds, and so does the killing.

    Of three arbiters two are away then, so all hosts stop until one of them is back.
    """

    name = "successor-dies"
    summary = "a host loses power, and the first standby that claims its routers is killed with -9 and started again"
    expected = in_mode(reschedule=RESCHEDULED, standby=Expected(gap=Gap.LASTS))
    heals = True

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        super().__init__(hosts)
        self.successor: Host | None = None
        """Who claimed, and died of it."""
        self.claimed_at = 0.0
        """When that was heard, in seconds of wall-clock time."""

    async def prepare(self, lab: Lab) -> None:
        """Raises InvalidRequest where nobody succeeds."""
        if not lab.settings.has_standbys:
            raise InvalidRequest(f"{self.name} needs hosts that take over by themselves: --mode standby")

    async def strike(self, lab: Lab) -> None:
        """Take the power, hear the first claim, kill whose it is: its beat first, for that is what takes over. It has
        claimed in vain.
        """
        firsts = [lab.host(name) for name in await self._first_standbys(lab)]
        beats = {host.name: host.beats() for host in firsts}
        said = {host.name: host.sentinel.count(ENDED) for host in firsts}
        ports = {host.place.data_cable.port: host.name for host in firsts}
        async with wiring.losing_datagrams(DatagramKind.BURIED):
            with claims.listening(ports) as heard:
                await super().strike(lab)
                name = await heard.first(CLAIMED_WITHIN_S)
            self.claimed_at = time.time()
            for beat in beats[name]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(beat.pid, signal.SIGKILL)
            self.successor = successor = lab.host(name)

        async def noticed() -> bool:
            return successor.sentinel.count(ENDED) > said[name]

        await until(noticed, f"{name} has noticed that its beat is gone", NOTICED_WITHIN_S)
        successor.signal_fast_path(signal.SIGKILL)

    async def _first_standbys(self, lab: Lab) -> set[str]:
        """Who would take over from the hosts struck; a second standby claims, too."""
        routers = [router for router in await lab.api.routers() if router["host"] in self.names]
        return {router["standbys"][0]["host"] for router in routers if router["standbys"]} - set(self.names)

    async def heal(self, lab: Lab) -> None:
        """Start the successor again; the host stays without power."""
        if self.successor is not None:
            await self.successor.sentinel.ended()
            await lab.start_hosts([self.successor])
        await lab.hosts_alive(*(host.name for host in lab.hosts.values() if host.machine.is_on))
