"""The controller that is measured: `gapless server`, a process of its own, and what it costs and says of itself."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from gapless.config import Address
from gapless.controller.server import DATABASE
from gapless.errors import Unavailable
from idle import MIB, used_s

LISTENS_WITHIN_S = 300.0
ENDS_WITHIN_S = 60.0
LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """What the controller is told of silence."""

    report_interval_s: float
    agent_down_time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """How long the planner took to answer, from the receipt of an event; counts by upper bound in seconds."""

    counts: dict[float, float]
    sum_s: float

    def since(self, before: "Decisions") -> "Decisions":
        """Those after `before`."""
        counts = {bound: count - before.counts.get(bound, 0) for bound, count in self.counts.items()}
        return Decisions(counts=counts, sum_s=self.sum_s - before.sum_s)

    @property
    def count(self) -> int:
        """How many there were."""
        return round(max(self.counts.values(), default=0))

    def within_ms(self, share: float) -> float | None:
        """The bound that so many kept, in milliseconds; None without any decision, inf beyond the last bound."""
        bounds = [bound for bound, count in sorted(self.counts.items()) if count >= share * self.count]
        return 1000 * bounds[0] if self.count else None


class Server:
    """One life of the controller, on a state directory that outlives it."""

    def __init__(self, state: Path, liveness: Liveness) -> None:
        self._state = state
        self._liveness = liveness
        self._api, self.link = _free(), _free()
        self._process: subprocess.Popen[bytes] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """It runs until the block ends; what it logs goes to a file beside its state."""
        argv = [sys.executable, "-m", "gapless", "server", "--state-dir", str(self._state)]
        argv += ["--api", str(self._api), "--link", str(self.link)]
        argv += ["--report-interval", str(self._liveness.report_interval_s)]
        argv += ["--agent-down-time", str(self._liveness.agent_down_time_s)]
        process = self._process = _begun(argv, self._log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    async def listens(self) -> None:
        """Return once the control link can be opened. Raises Unavailable if the controller ended."""
        until = time.monotonic() + LISTENS_WITHIN_S
        while time.monotonic() < until:
            self.check()
            try:
                _, writer = await asyncio.open_connection(self.link.host, self.link.port)
            except OSError:
                await asyncio.sleep(LOOK_S)
                continue
            writer.close()
            return
        raise Unavailable(f"the controller does not listen after {LISTENS_WITHIN_S:.0f} s")

    def check(self) -> None:
        """Raises Unavailable if the controller ended."""
        if (status := self._running.poll()) is not None:
            raise Unavailable(f"the controller ended with {status}: {self._log.read_text(errors='replace')[-1000:]}")

    @property
    def _log(self) -> Path:
        return self._state / "server.log"

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    @property
    def database(self) -> Path:
        """The file."""
        return self._state / DATABASE

    def used_s(self) -> float:
        """Processor time so far."""
        return used_s(self._running.pid)

    def memory_mib(self) -> tuple[float, float]:
        """Resident now, and the most that ever was: proc_pid_status(5)."""
        status = Path(f"/proc/{self._running.pid}/status").read_text()
        found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
        return int(found["VmRSS"]) / MIB, int(found["VmHWM"]) / MIB

    async def ask(self, path: str) -> Any:
        """What the API answers."""
        return json.loads(await asyncio.to_thread(self._get, f"/v2.0/gapless/{path}"))

    async def decisions(self) -> Decisions:
        """All since its start."""
        page = (await asyncio.to_thread(self._get, "/metrics")).decode()
        name = "gapless_decide_seconds"
        found = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\S+)$', page, re.MULTILINE)
        (total,) = re.findall(rf"^{name}_sum (\S+)$", page, re.MULTILINE)
        return Decisions(counts={float(bound): float(count) for bound, count in found}, sum_s=float(total))

    async def active(self) -> int:
        """Routers that are active, as it says."""
        page = (await asyncio.to_thread(self._get, "/metrics")).decode()
        found = re.search(r'^gapless_routers{state="active"} (\S+)$', page, re.MULTILINE)
        return 0 if found is None else round(float(found[1]))

    def _get(self, path: str) -> bytes:
        with urlopen(f"http://{self._api}{path}", timeout=120) as answer:
            body: bytes = answer.read()
            return body


def _begun(argv: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as end:
        return subprocess.Popen(argv, stdout=end, stderr=end)


def _free() -> Address:
    """A port of loopback that nobody has at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return Address(host="127.0.0.1", port=found.getsockname()[1])


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))
