"""Hosts that the controller hears and that hold no lease."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable

from gapless.config import Liveness
from gapless.errors import InvalidRequest
from gapless.lab.faults.base import NOTHING, RESCHEDULED, TAKEN_OVER, Fault, in_mode
from gapless.lab.faults.machines import HostPower
from gapless.lab.findings.expect import Expected, Gap, Moves
from gapless.lab.lab import Lab
from gapless.lab.machines import wiring
from gapless.lab.machines.nodes import STATE, Host
from gapless.lab.machines.processes import Process
from gapless.lab.waiting import until

REPLACED_WITHIN_S = 60.0
FENCED_WITHIN_S = 20.0
FENCED = "this host is fenced"
HOLDS = "this host holds its lease"
TIMES = 2
STOPPED_S = 0.5
"""Longer than a lease, shorter than what a sentinel takes for a beat that hangs."""


def _only_with_standbys(fault: Fault, lab: Lab) -> None:
    if not lab.settings.has_standbys:
        raise InvalidRequest(f"{fault.name} needs hosts that take over by themselves: --mode standby")


class StandbyCutThenPower(HostPower):
    """First a standby that is an arbiter too is cut off from the data network, while the controller goes on hearing it.
    Others have to replace it as both. Then the active host loses power.
    """

    name = "standby-cut-then-power"
    summary = "a standby's data cable is cut; when it is replaced, a host loses power"
    expected = in_mode(reschedule=RESCHEDULED, standby=TAKEN_OVER)
    heals = True

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        super().__init__(hosts)
        self.cut: Host | None = None
        """Whose data cable is cut."""

    async def prepare(self, lab: Lab) -> None:
        """Cut it, and wait until nothing depends on it. Raises InvalidRequest where no other host is left for that."""
        _only_with_standbys(self, lab)
        if len(lab.hosts) < 4:
            raise InvalidRequest(f"{self.name} needs four hosts: three that are left can be arbiters")
        said = await lab.api.hosts()
        (chosen, *_) = [host["name"] for host in said if host["arbiter"] and host["name"] not in self.names]
        self.cut = lab.host(chosen)
        await wiring.cut([self.cut.place.data_cable])

        async def replaced() -> bool:
            hosts = {host["name"]: host for host in await lab.api.hosts()}
            routers = await lab.api.routers()
            mine = hosts[chosen]
            is_out = not mine["arbiter"] and mine["without_lease_s"] is not None
            return is_out and all(chosen not in (each["host"], each["standby"]) for each in routers)

        await until(replaced, f"{chosen} is replaced", REPLACED_WITHIN_S, lab.controller.server.last_words)
        await lab.routers_active()
        await lab.standbys_ready()

    async def heal(self, lab: Lab) -> None:
        """Plug the cable in again; the other host stays without power."""
        await self.let_go(lab)
        await lab.hosts_alive(*(host.name for host in lab.hosts.values() if host.machine.is_on))

    async def let_go(self, lab: Lab) -> None:
        """Plug it in, if that is not done."""
        del lab
        cut, self.cut = self.cut, None
        if cut is not None:
            await wiring.mend([cut.place.data_cable])


class OldDisk(Fault):
    """What a host keeps on its disk is restored from an old copy: it begins at an incarnation that it has used, and
    arbiters have heard of higher ones.
    """

    name = "old-disk"
    summary = "a host is fenced several times, then started again with a copy of its identity from before that"
    expected = in_mode(reschedule=NOTHING, standby=Expected(gap=Gap.TAKEOVER, moves=Moves.ANY))
    heals = True

    async def prepare(self, lab: Lab) -> None:
        """Raises InvalidRequest where there are no leases."""
        _only_with_standbys(self, lab)

    def hold_s(self, liveness: Liveness) -> float:
        """It is started again at once."""
        del liveness
        return 0.0

    async def strike(self, lab: Lab) -> None:
        """Copy, be fenced, and put the copy back while nothing runs."""
        del lab
        for host in self.hosts:
            identity = host.machine.disk / STATE / "identity.json"
            copy = await asyncio.to_thread(identity.read_bytes)
            for _ in range(TIMES):
                await _fence(host)
            host.signal_fast_path(signal.SIGKILL)
            await host.sentinel.ended()
            await asyncio.to_thread(identity.write_bytes, copy)

    async def heal(self, lab: Lab) -> None:
        """Start it; it holds its lease in the end."""
        await lab.start_hosts(self.hosts)
        await lab.hosts_alive(*self.names)


async def _fence(host: Host) -> None:
    """Stop its beat until the lease has lapsed, and let it find out and hold another."""
    fenced, held = host.sentinel.count(FENCED), host.sentinel.count(HOLDS)
    beats = host.beats()
    _signal(beats, signal.SIGSTOP)
    await asyncio.sleep(STOPPED_S)
    _signal(beats, signal.SIGCONT)

    async def is_back() -> bool:
        return host.sentinel.count(FENCED) > fenced and host.sentinel.count(HOLDS) > held

    await until(is_back, f"{host.name} was fenced and holds its lease again", FENCED_WITHIN_S)


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
