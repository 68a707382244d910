"""The lab's nodes and the real processes on them: hosts, the controller, and plain places without processes."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Protocol

from gapless.config import API_PORT, LINK_PORT
from gapless.errors import Unavailable
from gapless.lab.machines import layout, netns, shell
from gapless.lab.machines.layout import Place
from gapless.lab.machines.machine import DISK, Machine, wake
from gapless.lab.machines.processes import Process
from gapless.lab.machines.wiring import Cable
from gapless.lab.settings import LabSettings

GAPLESS = (sys.executable, "-m", "gapless")
AGENT_MODULE = "gapless.agent"
BEAT_MODULE = "gapless.sentinel.beat"
FLOWS_MODULE = "gapless.flows"
AGENT_READY = "agent ready"
"""A line of a log that the lab waits for: a host is given no routers before its agent has said it."""
_ARBITERS = re.compile(r"Arbiters: .*(?= version=)")
_SETTLED = re.compile(r"Arbiters: (?:the first arbiters are (.*)|arbiters are (.*) from now on)")
"""The other: levels between two sets of arbiters are spoken of in other words."""
STATE = "state"
ARBITER_STATE = "arbiter"
"""Directories on a machine's disk."""
KEY = "cluster.key"
DATABASE = "gapless.db"
ENDED_WITHIN_S = 20.0


class Node(Protocol):
    """Somewhere a command can be run."""

    @property
    def name(self) -> str:
        """As in `gapless lab exec NAME`."""

    def inside(self) -> list[str]:
        """The command line that runs what follows it there. Raises Unavailable."""


class PlainNode:
    """A network namespace: the compute hosts, the outside world, a VM."""

    def __init__(self, name: str) -> None:
        self.name = name

    def inside(self) -> list[str]:
        """The command line that runs what follows it there."""
        return ["nsenter", f"--net={netns.path_of(self.name)}", "--"]


class Service:
    """One long-running process of a machine and the log that it writes; started, killed, stopped, started again."""

    def __init__(self, machine: Machine, role: str, argv: list[str]) -> None:
        self._machine = machine
        self.argv = argv
        self.role = role
        self.log = machine.disk / f"{role}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._log_begins = 0

    async def start(self) -> None:
        """Start it; it is not waited for."""
        self._log_begins = self.log.stat().st_size if self.log.exists() else 0
        self._process = await self._machine.start(self.argv, self.log)

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    def check(self) -> None:
        """Raise Unavailable with the end of its log if it has ended."""
        if not self.is_running:
            raise Unavailable(f"`gapless {self.role}` on {self._machine.name} ended. {self.last_words()}")

    def has_said(self, words: str) -> bool:
        """Whether its log has these words since its last start."""
        with self.log.open(errors="replace") as lines:
            lines.seek(self._log_begins)
            return words in lines.read()

    def count(self, words: str) -> int:
        """How many times its log has these words, over all its starts."""
        return self.log.read_text(errors="replace").count(words)

    def last_words(self, lines: int = 12) -> str:
        """The end of its log, for messages."""
        if not self.log.exists():
            return "It wrote no log."
        tail = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "Its log ends:\n  " + "\n  ".join(tail)

    def process(self) -> Process | None:
        """The process itself, not the nsenter that waits for it; None when it is not there."""
        wanted = set(self.argv)
        found = self._machine.find(*wanted)
        return found[0] if found else None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        process = self.process()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        if number is signal.SIGCONT and self._process is not None:
            wake(self._process)

    async def ended(self) -> int:
        """Wait until it has ended; its status. Raises Unavailable when it does not."""
        if self._process is None:
            return 0
        try:
            async with asyncio.timeout(ENDED_WITHIN_S):
                return await self._process.wait()
        except TimeoutError:
            raise Unavailable(f"`gapless {self.role}` on {self._machine.name} does not end") from None


class Host:
    """A host: a machine on all three switches that runs `gapless host`."""

    def __init__(self, place: Place, settings: LabSettings, *, says_it_is: str | None = None) -> None:
        """`says_it_is`: the name it tells the controller, when that is not its own."""
        self.place = place
        self.machine = Machine(place.name)
        argv = [*GAPLESS, "host", "--name", says_it_is or place.name, "--server"]
        argv += [f"{layout.CONTROLLER_ADDRESS}:{LINK_PORT}"]
        argv += ["--state-dir", str(DISK / STATE), "--key-file", str(DISK / KEY)]
        argv += ["--physical-network", f"{layout.PHYSICAL_NETWORK}={layout.EXT.interface}"]
        argv += ["--data-interface", layout.DATA.interface]
        argv += [] if settings.flow_sync else ["--no-sync-flows"]
        self.sentinel = Service(self.machine, "host", argv)

    @property
    def name(self) -> str:
        """host-1, host-2, ..."""
        return self.place.name

    def inside(self) -> list[str]:
        """The command line that runs what follows it there. Raises Unavailable when it has no power."""
        return self.machine.inside()

    async def power_on(self) -> None:
        """A fresh machine with the same disk, its cables plugged in; nothing runs on it yet."""
        for cable in self.place.cables:
            with contextlib.suppress(Unavailable):  # no such cable: its first start
                await shell.ip(cable.unplug())
        await self.machine.power_on()
        await shell.ip([line for cable in self.place.cables for line in cable.plug()])
        lines = layout.addressed(layout.MGMT.interface, self.place.mgmt_address)
        lines += layout.addressed(layout.DATA.interface, self.place.data_address)
        lines += layout.addressed(layout.EXT.interface, None)
        await shell.ip(lines, inside=self.inside())

    async def start(self, key: Path) -> None:
        """Give it the cluster's key, as an operator would, and start `gapless host`."""
        copy = self.machine.disk / KEY
        shutil.copyfile(key, copy)
        copy.chmod(0o600)
        await self.sentinel.start()

    def fast_path(self) -> list[Process]:
        """`gapless host`, and the process of its that keeps the lease, where it has one; nothing when neither runs."""
        own = self.sentinel.process()
        return [*([own] if own else []), *self.beats()]

    def beats(self) -> list[Process]:
        """The process that keeps the lease; nothing when it does not run."""
        return [process for process in self.machine.processes() if any(BEAT_MODULE in word for word in process.argv)]

    def flows(self) -> list[Process]:
        """The process that copies connections; nothing when it does not run."""
        return [process for process in self.machine.processes() if FLOWS_MODULE in process.argv]

    def signal_fast_path(self, number: signal.Signals) -> None:
        """Send all of it a signal; nothing happens to what has ended."""
        for process in self.fast_path():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        if number is signal.SIGCONT:
            self.sentinel.signal(number)  # and to who waits for it

    def agent(self) -> Process | None:
        """Its agent's process; None when there is none now."""
        found = self.machine.find(AGENT_MODULE)
        return found[0] if found else None


class Controller:
    """The controller: a machine on the management switch that runs `gapless server`."""

    def __init__(self, settings: LabSettings) -> None:
        self.name = layout.CONTROLLER
        self.machine = Machine(self.name)
        argv = [*GAPLESS, "server", "--state-dir", str(DISK / STATE)]
        # All addresses of this machine: hosts and lab come over the management switch, people on it use loopback.
        argv += ["--api", f"0.0.0.0:{API_PORT}", "--link", f"{layout.CONTROLLER_ADDRESS}:{LINK_PORT}"]
        argv += [*settings.server_options, "--report-interval", f"{settings.report_interval_s:g}"]
        argv += ["--agent-down-time", f"{settings.agent_down_time_s:g}"]
        argv += ["--agent-patience", f"{settings.agent_patience_s:g}"]
        argv += ["--brake-share", f"{settings.brake_share:g}", "--physical-mtu", str(layout.PHYSICAL_MTU)]
        self.server = Service(self.machine, "server", argv)
        self.arbiter = Service(self.machine, "host", _arbiter()) if settings.has_arbiter else None
        """A sentinel without routers."""

    @property
    def database(self) -> Path:
        """SQLite's file, as the lab reaches it."""
        return self.machine.disk / STATE / DATABASE

    @property
    def key(self) -> Path:
        """The cluster's key, as the lab reaches it; there once the server has started."""
        return self.machine.disk / STATE / KEY

    def inside(self) -> list[str]:
        """The command line that runs what follows it there."""
        return self.machine.inside()

    async def power_on(self) -> None:
        """The machine and its cables; nothing runs on it yet."""
        await self.machine.power_on()
        await shell.ip(Cable(layout.MGMT, self.name).plug())
        address = f"{layout.CONTROLLER_ADDRESS}/{layout.MGMT_NET.prefixlen}"
        lines = [f"address add {address} dev {layout.MGMT.interface}", f"link set {layout.MGMT.interface} up"]
        if self.arbiter is not None:
            await shell.ip(Cable(layout.DATA, self.name).plug())
            lines += layout.addressed(layout.DATA.interface, layout.ARBITER_ADDRESS)
        await shell.ip(lines, inside=self.inside())


def settled_arbiters(log: str) -> frozenset[str]:
    """The arbiters by the server's log; empty while one set of them replaces another, or before there are any."""
    said = _SETTLED.fullmatch((_ARBITERS.findall(log) or [""])[-1])
    return frozenset((said[1] or said[2]).split(", ")) if said else frozenset()


def _arbiter() -> list[str]:
    argv = [*GAPLESS, "host", "--name", layout.CONTROLLER, "--server", f"{layout.CONTROLLER_ADDRESS}:{LINK_PORT}"]
    argv += ["--state-dir", str(DISK / ARBITER_STATE), "--key-file", str(DISK / STATE / KEY), "--capacity", "0"]
    return [*argv, "--data-interface", layout.DATA.interface]


def client_environment() -> dict[str, str]:
    """What the unmodified `openstack` client needs in the controller's node."""
    endpoint = f"http://{layout.CONTROLLER_ADDRESS}:{API_PORT}"
    return {
        "OS_AUTH_TYPE": "none",
        "OS_ENDPOINT": endpoint,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
