"""Machines that lose power, and come back."""

import asyncio
from collections.abc import Sequence

from gapless.config import Liveness
from gapless.errors import InvalidRequest
from gapless.lab.faults.base import HARMLESS, RESCHEDULED, TAKEN_OVER, Fault, Reach, in_mode
from gapless.lab.faults.processes import AgentKill
from gapless.lab.findings.expect import Expected, Gap
from gapless.lab.lab import Lab
from gapless.lab.machines import wiring
from gapless.lab.machines.nodes import Host

MOMENT_S = 0.2


class HostPower(Fault):
    """All cables of a host are cut at the switch, then every process of the machine ends at once: 5 ms altogether."""

    name = "host-power"
    summary = "a host loses power"
    expected = in_mode(reschedule=RESCHEDULED, standby=TAKEN_OVER)

    async def strike(self, lab: Lab) -> None:
        """Cables first: not a frame may leave a machine that has no power."""
        del lab
        await wiring.cut(cable for host in self.hosts for cable in host.place.cables)
        for host in self.hosts:
            host.machine.power_off()


class TwoHostsPower(HostPower):
    """The host that is struck and the first that would succeed it lose power at once: the second standby takes over.

    Without a second one the routers that they had in common wait until the arbiters have buried both, and are built
    elsewhere.
    """

    name = "two-hosts-power"
    summary = "a host and the first standby of most of its routers lose power at once"
    reach = Reach.FATAL_PAIR

    async def prepare(self, lab: Lab) -> None:
        """Raises InvalidRequest where there is no second standby, or no quorum would be left."""
        await two_standbys(lab, self.name)


async def two_standbys(lab: Lab, name: str) -> None:
    """Raises InvalidRequest where nobody could succeed two hosts that die at once."""
    settings = lab.settings
    if settings.has_standbys and (settings.standbys < 2 or settings.hosts < 5):
        raise InvalidRequest(f"{name} needs a second standby and five arbiters: --standbys 2 --hosts 5")


class AgentThenPower(HostPower):
    """The story that operators tell: the agent dies, and a moment later its machine does."""

    name = "agent-then-power"
    summary = "a host's agent is killed with -9, then its machine loses power"

    async def strike(self, lab: Lab) -> None:
        """One, a moment, the other."""
        await AgentKill(self.hosts).strike(lab)
        await asyncio.sleep(MOMENT_S)
        await super().strike(lab)


class HostReturn(Fault):
    """A host that lost power, and its routers with it, starts again: fresh kernel, old disk."""

    name = "host-return"
    summary = "a host comes back after its routers have moved"
    expected = HARMLESS

    def hold_s(self, liveness: Liveness) -> float:
        """It has been back for as long as would have killed it."""
        return liveness.dead_after_s

    async def prepare(self, lab: Lab) -> None:
        """Take its power, unless it is off already, and wait until its routers run elsewhere."""
        await HostPower(host for host in self.hosts if host.machine.is_on).strike(lab)
        await lab.routers_active(on=lambda name: name not in self.names)

    async def strike(self, lab: Lab) -> None:
        """All that it takes until it is heard."""
        await _started(lab, self.hosts)


class RebootAll(HostPower):
    """The power fails everywhere, and is back a moment later. Nothing is left in any kernel: no router, no guard, no
    lease, and no arbiter that remembers what it granted. All that hosts know is on their disks.
    """

    name = "reboot-all"
    summary = "all hosts lose power and start again, all at once"
    reach = Reach.ALL_HOSTS
    expected = in_mode(reschedule=Expected(gap=Gap.LASTS), standby=Expected(gap=Gap.LASTS))
    heals = True

    async def heal(self, lab: Lab) -> None:
        """The power is back."""
        await _started(lab, self.hosts)


async def _started(lab: Lab, hosts: Sequence[Host]) -> None:
    """Power on, boot, start `gapless host`, and be heard."""
    for host in hosts:
        await host.power_on()
    await lab.start_hosts(hosts)
    await lab.hosts_alive(*(host.name for host in hosts))
