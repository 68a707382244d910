"""Hosts that are emptied on purpose: taken out of service, or stopped in order."""

import signal

from gapless.config import Liveness
from gapless.lab.faults.base import Fault, in_mode
from gapless.lab.findings.expect import Expected, Gap, Moves
from gapless.lab.lab import Lab
from gapless.model.router import FailoverMode

DRAINED = in_mode(
    reschedule=Expected(gap=Gap.REBUILD, moves=Moves.STRUCK), standby=Expected(gap=Gap.DRAIN, moves=Moves.STRUCK)
)


class Drain(Fault):
    """As `gapless drain` does, and, when all has left, `gapless undrain`."""

    name = "drain"
    summary = "a host is taken out of service, and put back when its routers have left it"
    expected = DRAINED
    heals = True

    def hold_s(self, liveness: Liveness) -> float:
        """It is over when it has struck."""
        del liveness
        return 0.5

    @classmethod
    def expects(cls, mode: FailoverMode) -> Expected:
        """An operator's word moves routers in any mode."""
        return cls.expected[FailoverMode.RESCHEDULE if mode is FailoverMode.OFF else mode]

    async def strike(self, lab: Lab) -> None:
        """Begin, and wait for its end."""
        for host in self.hosts:
            await lab.api.set_drain(host.name, wanted=True, at_once=lab.settings.at_once or None)
        await lab.drained(self.names)

    async def heal(self, lab: Lab) -> None:
        """Nothing moves back by that."""
        for host in self.hosts:
            await lab.api.set_drain(host.name, wanted=False)


class HostStop(Fault):
    """SIGTERM to `gapless host`, as `systemctl stop` and a reboot do; what is guarded leaves before it ends."""

    name = "host-stop"
    summary = "`gapless host` is stopped in order, and started again"
    expected = in_mode(
        reschedule=Expected(gap=Gap.NONE, moves=Moves.NONE), standby=Expected(gap=Gap.DRAIN, moves=Moves.STRUCK)
    )
    heals = True

    def hold_s(self, liveness: Liveness) -> float:
        """It is over when it has struck; and back before it looks dead."""
        return min(0.5, liveness.agent_down_time_s / 2)

    async def strike(self, lab: Lab) -> None:
        """Stop it, and wait until it has ended."""
        del lab
        for host in self.hosts:
            host.sentinel.signal(signal.SIGTERM)
        for host in self.hosts:
            await host.sentinel.ended()

    async def heal(self, lab: Lab) -> None:
        """Start it again, and have it heard."""
        for host in self.hosts:
            await host.sentinel.ended()
        await lab.start_hosts(self.hosts)
        await lab.hosts_alive(*self.names)
