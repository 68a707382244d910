"""A machine that can lose power: its own network, mounts and processes.

Its pid namespace has a tiny pid 1. Losing power is then one signal: the kernel ends every process of the machine at
once, whatever they are and whatever they do. Its /run is its own, so the same `qrouter-<id>` can exist on two machines.
`/run/gapless` there is its disk, which outlives it.

**What a dead machine leaves stays in place until it is powered on again or the lab ends**: the lab holds its
namespaces open, unplugged. Taking a hundred routers apart holds the kernel's RTNL lock for seconds, and the survivors
on this kernel would feel what they never would feel from a real machine's death.
"""

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

from gapless.errors import Unavailable
from gapless.lab.machines import netns, processes, shell
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.machines.processes import Process

DISK = Path("/run/gapless")
"""The machine's disk as it sees it."""

# Runs as pid 1 of the machine. The first line reads its own number in the lab's /proc, before it has a /proc of its
# own. The lab's /run is out of sight under the machine's, so its disk is taken along through a descriptor. With
# SIGCHLD ignored the kernel reaps orphans by itself (proc_pid_status, POSIX sigaction).
_BOOT = """
set -e
read -r pid rest < /proc/self/stat
exec 9< "$0"
mount -t tmpfs -o mode=755 machine /run
mkdir /run/netns /run/gapless
mount --bind /proc/self/fd/9 /run/gapless
exec 9<&-
mount -t proc proc /proc 2> /dev/null || true
ip link set lo up
echo "$pid"
trap '' CHLD
exec sleep infinity > /dev/null
"""
_BOOT_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 20.0
_WAKE_AGAIN_S = 0.2


class Machine:
    """One machine, by name. It is off until `power_on`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.disk = LAB_DIR / "machines" / name
        """Its disk as the lab sees it."""
        self.console = self.disk.with_suffix(".console")
        """What its start had to say, if anything went wrong."""
        self.is_on = False
        self._started: list[asyncio.subprocess.Process] = []
        self._init: asyncio.subprocess.Process | None = None
        self._init_name = ""
        self._init_pid = 0
        self._held: dict[str, int] = {}

    async def power_on(self) -> None:
        """Start with fresh namespaces and the same disk. What an earlier life left is let go first."""
        await self.bury()
        self.disk.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(netns.create, self.name, plain=True)
        argv = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _BOOT, str(self.disk))
        with self.console.open("ab") as console:
            self._init = await shell.spawn(
                "nsenter", f"--net={netns.path_of(self.name)}", *argv, stdout=PIPE, stderr=console
            )
        assert self._init.stdout is not None
        try:
            async with asyncio.timeout(_BOOT_TIMEOUT_S):
                said = (await self._init.stdout.readline()).decode().strip()
        except TimeoutError:
            os.kill(self._init.pid, signal.SIGKILL)  # and with it all that it started
            raise Unavailable(f"machine {self.name} did not start within {_BOOT_TIMEOUT_S:g} s") from None
        if not said.isdecimal():
            raise Unavailable(f"machine {self.name} did not start: {self.console.read_text().strip()}")
        self._init_name = said
        self._init_pid = processes.pid_here(said)
        self._held = {kind: netns.hold(Path(f"/proc/{said}/ns/{kind}")) for kind in ("net", "mnt", "pid")}
        self.is_on = True

    def power_off(self) -> None:
        """End every process of the machine at once. Its namespaces stay, without life."""
        self.is_on = False
        if self._init is not None and self._init.returncode is None:
            # Before its pid 1 is known, by the process that waits for it, which takes it along.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init_pid or self._init.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """After `power_off`: wait until its last process is gone. Raises Unavailable when one stays."""
        for process in [*self._started, *([self._init] if self._init else [])]:
            await self._ended(process)
        self._started, self._init, self._init_pid = [], None, 0

    async def _ended(self, process: asyncio.subprocess.Process) -> None:
        waiting = asyncio.ensure_future(process.wait())
        deadline = time.monotonic() + _END_TIMEOUT_S
        while not waiting.done():
            wake(process)  # again and again: it may stop itself only after it has been woken
            await asyncio.wait([waiting], timeout=_WAKE_AGAIN_S)
            if time.monotonic() > deadline:
                waiting.cancel()
                raise Unavailable(f"process {process.pid} of machine {self.name} does not end")

    async def bury(self) -> None:
        """Let go of everything an earlier life of the machine left in the kernel."""
        self.power_off()
        await self.ended()
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held = {}
        await asyncio.to_thread(netns.delete, self.name)

    def inside(self) -> list[str]:
        """The command line that runs what follows it on this machine. Raises Unavailable when it is off."""
        if not self.is_on:
            raise Unavailable(f"machine {self.name} is off")
        base = f"/proc/{self._init_name}/ns"
        return ["nsenter", f"--net={base}/net", f"--mount={base}/mnt", f"--pid={base}/pid", "--"]

    async def start(self, argv: Sequence[str], log: Path) -> asyncio.subprocess.Process:
        """Start a process on the machine; what it says goes to the end of `log`. Power loss ends it."""
        with log.open("ab") as sink:
            process = await shell.spawn(*self.inside(), *argv, stdout=sink, stderr=sink)
        self._started.append(process)
        return process

    async def run(self, *argv: str, given: str = "") -> str:
        """Run a command on the machine to its end; what it printed. Raises Unavailable."""
        return await shell.run(*self.inside(), *argv, given=given)

    def processes(self) -> list[Process]:
        """Everything that runs on the machine, its pid 1 included; nothing when it is off."""
        return processes.in_pid_namespace(self._held["pid"]) if self.is_on else []

    def find(self, *words: str) -> list[Process]:
        """Its processes whose command line has all of these words as arguments of their own."""
        return [process for process in self.processes() if set(words) <= set(process.argv)]

    def root(self) -> Path:
        """Its file tree as the lab can reach it. Raises Unavailable when it is off."""
        if not self.is_on:
            raise Unavailable(f"machine {self.name} is off")
        return Path(f"/proc/{self._init_name}/root")

    def router_namespaces(self) -> dict[str, Path]:
        """Router id -> its namespace's path, as the lab can open it; nothing when the machine is off."""
        prefix = "qrouter-"
        if not self.is_on:
            return {}
        directory = self.root() / "run/netns"
        plain = directory.stat().st_dev
        # A plain file is what an agent leaves that was killed before it could mount the namespace on its name.
        found = (path for path in directory.glob(f"{prefix}*") if _device(path) not in (None, plain))
        return {path.name.removeprefix(prefix): path for path in found}


def _device(path: Path) -> int | None:
    """Of the filesystem that a file is in; None where there is no such file any more."""
    try:
        return path.stat().st_dev
    except FileNotFoundError:
        return None


def wake(process: asyncio.subprocess.Process) -> None:
    """Continue an nsenter: it stops itself when what it waits for is stopped, and would not see that end."""
    if process.returncode is None:
        # Not `send_signal`: it looks for the end of the process itself first, and asyncio would not hear of it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
