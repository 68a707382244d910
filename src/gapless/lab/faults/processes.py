"""Processes that are killed, or hang."""

import contextlib
import os
import signal

from gapless.config import Liveness
from gapless.lab.faults.base import MARGIN_S, Fault, Lasting, Reach
from gapless.lab.lab import Lab
from gapless.lab.nodes import Host
from gapless.lab.waiting import until

FOUND_WITHIN_S = 20.0


class AgentKill(Fault):
    """kill -9 of a host's agent. Its sentinel starts another one, which adopts what runs."""

    name = "agent-kill"
    summary = "a host's agent is killed with -9"
    harmless = True

    def hold_s(self, liveness: Liveness) -> float:
        """Longer than a silent host may live."""
        return liveness.dead_after_s + MARGIN_S

    async def strike(self, lab: Lab) -> None:
        """Kill it."""
        del lab
        for host in self.hosts:
            await _kill_agent(host)


async def _kill_agent(host: Host) -> None:
    """It may be between two lives just now: wait for the next one."""

    async def killed() -> bool:
        agent = host.agent()
        if agent is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent.pid, signal.SIGKILL)
        return agent is not None

    await until(killed, f"{host.name} has an agent to kill", FOUND_WITHIN_S, host.sentinel.last_words)


class SentinelKill(Fault):
    """kill -9 of `gapless host`, which the machine's init system starts again a moment later."""

    name = "sentinel-kill"
    summary = "a host's sentinel is killed with -9 and started again"
    harmless = True
    heals = True

    async def strike(self, lab: Lab) -> None:
        """Kill it."""
        del lab
        for host in self.hosts:
            host.sentinel.signal(signal.SIGKILL)

    async def heal(self, lab: Lab) -> None:
        """Start it again."""
        for host in self.hosts:
            await host.sentinel.ended()
        await lab.start_hosts(self.hosts)
        await lab.hosts_alive(*self.names)


class SentinelStop(Lasting):
    """SIGSTOP of `gapless host`: it says nothing, so its routers move, though the kernel there still forwards."""

    name = "sentinel-stop"
    summary = "a host's sentinel hangs"

    async def strike(self, lab: Lab) -> None:
        """Stop it."""
        del lab
        for host in self.hosts:
            host.sentinel.signal(signal.SIGSTOP)

    async def heal(self, lab: Lab) -> None:
        """Let it go on."""
        for host in self.hosts:
            host.sentinel.signal(signal.SIGCONT)
        await lab.hosts_alive(*self.names)


class ControllerKill(Fault):
    """kill -9 of `gapless server`, and a restart."""

    name = "controller-kill"
    summary = "the controller is killed with -9 and started again"
    reach = Reach.CONTROLLER
    harmless = True
    heals = True

    def hold_s(self, liveness: Liveness) -> float:
        """Away for long enough that every host would look dead to a controller that counted it."""
        return liveness.dead_after_s

    async def strike(self, lab: Lab) -> None:
        """Kill it."""
        lab.controller.server.signal(signal.SIGKILL)
        await lab.controller.server.ended()

    async def heal(self, lab: Lab) -> None:
        """Start it again."""
        await lab.start_controller()
        await lab.hosts_alive(*(host.name for host in lab.hosts.values() if host.machine.is_on))


class ControllerStop(Lasting):
    """SIGSTOP of `gapless server` for longer than hosts may be silent. It must not blame them for that."""

    name = "controller-stop"
    summary = "the controller hangs"
    reach = Reach.CONTROLLER
    harmless = True

    async def strike(self, lab: Lab) -> None:
        """Stop it."""
        lab.controller.server.signal(signal.SIGSTOP)

    async def heal(self, lab: Lab) -> None:
        """Let it go on."""
        lab.controller.server.signal(signal.SIGCONT)
        await lab.controller_answers()
