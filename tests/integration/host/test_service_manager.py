"""Both daemons as processes under a manager that listens: ready when they are, watched, and silent children; and what
is left of a host that the watchdog has ended.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_host_processes import ALONE, command, controller, eventually, machine, planned, run

from gapless.config import API_PORT, LINK_PORT
from gapless.model.observed import GUARD_TABLE
from gapless.model.plan import Guarded, Role
from gapless.sentinel.driver import WORKERS

__all__ = ["machine"]

PATIENCE_S = 60.0
DEPLOY = Path(__file__).parents[3] / "deploy"


@dataclass
class Manager:
    """Everything that a daemon said, line by line."""

    listening: socket.socket
    said: list[str] = field(default_factory=list)
    log: str = ""
    """What it wrote to its log, once it has ended."""

    async def hears(self, beginning: str) -> str:
        """The next line that begins so."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await asyncio.get_running_loop().sock_recv(self.listening, 4096)
                self.said += (lines := message.decode().splitlines())
                for line in lines:
                    if line.startswith(beginning):
                        return line

    def catch_up(self) -> None:
        """Hear what was said until now. Behind ten words that wait the kernel takes no other; it is not said again."""
        with suppress(BlockingIOError):
            while True:
                self.said += self.listening.recv(4096).decode().splitlines()


@asynccontextmanager
async def under_a_manager(
    place: Path, argv: list[str], *, ends: int = 0
) -> AsyncIterator[tuple[Manager, asyncio.subprocess.Process]]:
    """A daemon, which has ended when the block is over: in order, or in it, and with this status."""
    (address := place / "notify").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        listening.setblocking(False)
        environment = os.environ | {"NOTIFY_SOCKET": listening.getsockname(), "WATCHDOG_USEC": "300000"}
        with (place / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*argv, env=environment, stderr=log)
        manager = Manager(listening)
        try:
            yield manager, process
            manager.catch_up()
            if process.returncode is None:
                process.terminate()
                await manager.hears("STOPPING=1")
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            manager.log = (place / "log").read_text()
            sys.stderr.write(manager.log)
        assert process.returncode == ends


def environment_of(pid: int) -> set[str]:
    return {each.partition("=")[0] for each in Path(f"/proc/{pid}/environ").read_text().split("\0")}


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.isolated
async def test_the_server_is_ready_when_the_api_listens_and_tells_that_its_loop_turns(machine: Path) -> None:
    """Where nobody else could have its ports."""
    api, link = API_PORT, LINK_PORT
    argv = [sys.executable, "-m", "gapless", "server", "--state-dir", str(machine / "server")]
    async with under_a_manager(machine, argv) as (manager, _):
        await manager.hears("READY=1")
        for port in (api, link):
            socket.create_connection(("127.0.0.1", port)).close()
        assert f"STATUS=API on 127.0.0.1:{api}, control link on 127.0.0.1:{link}; hosts: none" in manager.said
        await manager.hears("WATCHDOG=1")


def state_of(pid: int) -> str:
    """Its letter in /proc: Z of a process that has ended, "" where nothing is left of it."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def in_the_unit(setting: str) -> list[str]:
    """The words of a setting in the host's unit file."""
    lines = (DEPLOY / "gapless-host.service").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{setting}=")]
    return line.partition("=")[2].split()


def as_the_unit_runs_it(argv: list[str]) -> list[str]:
    """With the environment that the unit file gives a host, and the capabilities that it leaves it."""
    names = [f"+{name.removeprefix('CAP_').lower()}" for name in in_the_unit("CapabilityBoundingSet")]
    limits = ["setpriv", f"--bounding-set={','.join(['-all', *names])}", "--no-new-privs"]
    return ["env", *in_the_unit("Environment"), *limits, *argv]


def in_the_guard(name: str) -> bool:
    """Whether this set of the guard, which stands, has any element."""
    return "elements" in run("nft", "list", "set", "bridge", GUARD_TABLE, name)


def threads_of(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


@pytest.mark.isolated
async def test_a_host_is_ready_when_its_guard_stands_and_its_children_speak_for_nobody(machine: Path) -> None:
    run("ip", "address", "add", "10.0.0.1/24", "dev", "cable")
    async with controller(planned(1)) as it:
        argv = as_the_unit_runs_it(command(machine, it.port, "--data-interface", "cable"))
        async with under_a_manager(machine, argv) as (manager, process):
            await manager.hears("READY=1")
            assert "table bridge gapless" in run("nft", "list", "tables")
            assert "controller connected; agent running" in manager.said[-1]
            await it.all_active()
            await manager.hears("WATCHDOG=1")
            children = children_of(process.pid)
            assert len(children) == 3, "beat, agent and flows"
            assert threads_of(process.pid) == 1 + WORKERS, "all from the beginning: no limit can refuse one later"
            for child in children:
                assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & environment_of(child)


@pytest.mark.isolated
async def test_a_host_that_its_watchdog_ends_says_where_it_hung_stays_shut_and_begins_anew(machine: Path) -> None:
    """By SIGABRT, as systemd does. The unit's environment is what has Python say where."""
    run("ip", "address", "add", "10.0.0.1/24", "dev", "cable")
    async with controller(planned(1), panel=ALONE) as it:
        argv = as_the_unit_runs_it(command(machine, it.port, "--data-interface", "cable"))
        without_core = ["prlimit", "--core=0", *argv]
        async with under_a_manager(machine, without_core, ends=-signal.SIGABRT) as (manager, process):
            await manager.hears("READY=1")
            await it.all_active()
            await it.until(lambda: it.reports[-1].is_held)
            before = it.reports[-1].leased
            await it.change(replace(planned(1), guarded=Guarded(role=Role.ACTIVE, incarnation=before)))
            await eventually(lambda: in_the_guard("active") and in_the_guard("lease"))
            children = children_of(process.pid)
            process.send_signal(signal.SIGABRT)
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()
            assert len(children) == 3, "beat, agent and flows"
            await eventually(lambda: {state_of(child) for child in children} <= {"", "Z"})
            await eventually(lambda: not in_the_guard("lease"))
        stack = manager.log.partition("Fatal Python error: Aborted")[2]
        assert "gapless/cli/host.py" in stack
        async with under_a_manager(machine, argv) as (manager, _):
            await manager.hears("READY=1")
            await it.until(lambda: it.reports[-1].is_held and it.reports[-1].leased > before)
            assert not in_the_guard("active"), "what was planned for before is not for this one"


@pytest.mark.isolated
async def test_a_host_that_cannot_reach_its_controller_is_ready_and_says_so(machine: Path) -> None:
    async with under_a_manager(machine, command(machine, 1)) as (manager, _):
        await manager.hears("READY=1")
        assert "controller not reached" in manager.said[-1]
