"""Processes of hosts that are killed, or hang."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from gapless.config import Liveness
from gapless.lab.faults.base import HARMLESS, MARGIN_S, NOTHING, TAKEN_OVER, Fault, Lasting, Reach, in_mode
from gapless.lab.findings.expect import Expected, Gap, Moves
from gapless.lab.lab import Lab
from gapless.lab.machines.nodes import STATE, Host
from gapless.lab.machines.processes import Process
from gapless.lab.waiting import until
from gapless.sentinel.supervise import Patience

FOUND_WITHIN_S = 20.0


class AgentKill(Fault):
    """kill -9 of a host's agent. Its sentinel starts another one, which adopts what runs."""

    name = "agent-kill"
    summary = "a host's agent is killed with -9"
    expected = HARMLESS

    def hold_s(self, liveness: Liveness) -> float:
        """Longer than a silent host may live."""
        return liveness.dead_after_s + MARGIN_S

    async def strike(self, lab: Lab) -> None:
        """Kill it."""
        del lab
        for host in self.hosts:
            await signal_agent(host, signal.SIGKILL)


async def signal_agent(host: Host, number: signal.Signals) -> None:
    """Send it a signal. It may be between two lives just now: wait for the next one."""

    async def signalled() -> bool:
        agent = host.agent()
        if agent is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent.pid, number)
        return agent is not None

    await until(signalled, f"{host.name} has an agent", FOUND_WITHIN_S, host.sentinel.last_words)


class HostReload(AgentKill):
    """SIGHUP to `gapless host`, as `systemctl reload` does: its agent ends in order, and another adopts what runs."""

    name = "host-reload"
    summary = "`gapless host` is asked to start its agent anew, as after an upgrade"

    async def strike(self, lab: Lab) -> None:
        """Ask, and wait for another agent."""
        del lab
        for host in self.hosts:
            before = host.agent()
            host.sentinel.signal(signal.SIGHUP)

            async def is_another(host: Host = host, before: Process | None = before) -> bool:
                now = host.agent()
                return now is not None and (before is None or now.pid != before.pid)

            await until(is_another, f"{host.name} has another agent", FOUND_WITHIN_S, host.sentinel.last_words)


class AgentStop(Fault):
    """SIGSTOP of a host's agent. Its sentinel hears nothing from it, kills it, and starts another one."""

    name = "agent-stop"
    summary = "a host's agent hangs"
    expected = HARMLESS

    def hold_s(self, liveness: Liveness) -> float:
        """Until its sentinel has lost patience, and longer than a silent host may live."""
        return Patience().tick_s * Patience().silent_ticks + liveness.dead_after_s

    async def strike(self, lab: Lab) -> None:
        """Stop it."""
        del lab
        for host in self.hosts:
            await signal_agent(host, signal.SIGSTOP)


class StateGone(AgentKill):
    """A host's state directory is removed while it runs, and its agent killed: the next one must need nothing that was
    in there. The sentinel puts back what it has in memory.
    """

    name = "state-gone"
    summary = "a host's state directory is removed, and its agent killed with -9"
    heals = True

    async def strike(self, lab: Lab) -> None:
        """Remove it at once: half of it would be put back while the rest is removed."""
        for host in self.hosts:
            await asyncio.to_thread(_remove, host.machine.disk / STATE)
        await super().strike(lab)

    async def heal(self, lab: Lab) -> None:
        """It is back by itself, and all that was in it."""
        del lab
        for host in self.hosts:
            identity = host.machine.disk / STATE / "identity.json"

            async def is_back(identity: Path = identity) -> bool:
                return await asyncio.to_thread(identity.exists)

            await until(is_back, f"{host.name} has its identity on its disk again", FOUND_WITHIN_S)


def _remove(directory: Path) -> None:
    aside = directory.with_name(f"{directory.name}.removed")
    directory.rename(aside)
    shutil.rmtree(aside)


class AgentUnable(Fault):
    """A host's agent ends, and none can be started: the library that it needs is not to be read. It is as if a package
    were missing after an upgrade. Its guarded routers leave, its classic ones stay; both forward all the while.
    """

    name = "agent-unable"
    summary = "a host's agent ends, and no other one can work there"
    expected = in_mode(reschedule=NOTHING, standby=Expected(gap=Gap.SWITCHOVER, moves=Moves.STRUCK))
    heals = True

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        super().__init__(hosts)
        self._hidden: list[tuple[Host, str]] = []

    def hold_s(self, liveness: Liveness) -> float:
        """Longer than the controller has patience: what stays, stays then, too."""
        return liveness.agent_patience_s + 5 * MARGIN_S

    async def strike(self, lab: Lab) -> None:
        """Put nothing in the library's place, on this machine only; then end the agent that has it loaded, and wait
        until all have left that should.
        """
        for host in self.hosts:
            path = await _nftables(host)
            await host.machine.run("mount", "--bind", "/dev/null", path)
            self._hidden.append((host, path))
            await signal_agent(host, signal.SIGKILL)
        await self.routers_left(lab)

    async def heal(self, lab: Lab) -> None:
        """The library is back."""
        del lab
        while self._hidden:
            host, path = self._hidden.pop()
            await host.machine.run("umount", "--lazy", path)


async def _nftables(host: Host) -> str:
    """Where the library is that its agent has loaded. An agent that has just started has not loaded it yet."""
    found: list[str] = []

    async def loaded() -> bool:
        agent = host.agent()
        if agent is not None:
            found.extend(path for path in _loaded(agent.pid) if "/libnftables.so" in path)
        return bool(found)

    await until(loaded, f"the agent of {host.name} has loaded libnftables", FOUND_WITHIN_S, host.sentinel.last_words)
    return found[0]


def _loaded(pid: int) -> list[str]:
    """The files that a process has mapped; none, when it has ended."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return [line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return []


class SentinelKill(Fault):
    """kill -9 of `gapless host` and its fast path, which the machine's init system starts again a moment later."""

    name: ClassVar[str] = "sentinel-kill"
    summary = "a host's sentinel is killed with -9 and started again"
    expected = in_mode(reschedule=NOTHING, standby=TAKEN_OVER)
    heals = True

    async def strike(self, lab: Lab) -> None:
        """Kill it."""
        del lab
        for host in self.hosts:
            host.signal_fast_path(signal.SIGKILL)

    async def heal(self, lab: Lab) -> None:
        """Start it again."""
        for host in self.hosts:
            await host.sentinel.ended()
        await lab.start_hosts(self.hosts)
        await lab.hosts_alive(*self.names)


class ArbiterKill(SentinelKill):
    """One arbiter of three is away: everybody else goes on. Its own routers share its sentinel's fate."""

    name: ClassVar[str] = "arbiter-kill"
    summary = "the sentinel of a host other than the busiest is killed with -9 and started again"
    reach = Reach.ANOTHER


class TwoArbitersKill(SentinelKill):
    """Two arbiters of three are away: no lease can be renewed, and nobody can be buried, until one of them is back."""

    name: ClassVar[str] = "two-arbiters-kill"
    summary = "the sentinels of two hosts other than the busiest are killed with -9 and started again"
    reach = Reach.TWO_OTHERS
    expected = in_mode(reschedule=NOTHING, standby=Expected(gap=Gap.LASTS))


class RestartAll(SentinelKill):
    """A careless upgrade: every host's processes are restarted at once."""

    name: ClassVar[str] = "restart-all"
    summary = "the sentinels and agents of all hosts are killed with -9 and started again, all at once"
    reach = Reach.ALL_HOSTS
    expected = in_mode(reschedule=NOTHING, standby=Expected(gap=Gap.LASTS))

    async def strike(self, lab: Lab) -> None:
        """Kill them all."""
        await super().strike(lab)
        for host in self.hosts:
            agent = host.agent()
            if agent is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(agent.pid, signal.SIGKILL)


class SentinelStop(Lasting):
    """SIGSTOP of `gapless host` and its fast path: it says nothing, though the kernel there still forwards. In the mode
    `reschedule` its routers move, and run twice until it goes on: that mode has no fence against it.
    """

    name = "sentinel-stop"
    summary = "a host's sentinel hangs"
    expected = in_mode(reschedule=Expected(gap=Gap.RESCHEDULE, moves=Moves.STRUCK, two_active=True), standby=TAKEN_OVER)

    def hold_s(self, liveness: Liveness) -> float:
        """Five seconds, or longer where hosts may be silent for longer."""
        return max(5.0, super().hold_s(liveness))

    async def strike(self, lab: Lab) -> None:
        """Stop it."""
        del lab
        for host in self.hosts:
            host.signal_fast_path(signal.SIGSTOP)

    async def heal(self, lab: Lab) -> None:
        """Let it go on."""
        for host in self.hosts:
            host.signal_fast_path(signal.SIGCONT)
        await lab.hosts_alive(*self.names)
