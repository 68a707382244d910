"""One host in namespaces of its own: its routers, its wires, and its agent, kept running by the sentinel's supervisor.

The agent is the real one, as a process. Nobody else is there: no controller, no beat. In mode `standby` its routers are
guarded and active: the guard is the real one, and stands open for them (`open_guard`).
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from uuid import UUID

from gapless.agent.kernel import links, netns
from gapless.config import HostSettings
from gapless.core.dataplane.desired import bridge_name, tap_name
from gapless.core.hostplan import HostPlan
from gapless.kernel.netlink import Netlink
from gapless.lab.measuring.probes import Direction, Flow
from gapless.model.host import AgentState, Incarnation
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Revision, Role, RouterState
from gapless.model.router import (
    DEFAULT_FAILOVER_MODE,
    FailoverMode,
    FloatingIp,
    Gateway,
    Router,
    RouterId,
    RouterPort,
)
from gapless.sentinel.desired import Desired
from gapless.sentinel.supervise import Supervisor
from gapless.wire.local import AgentStart, encode_start
from gapless.wire.messages import AgentReport
from open_guard import OpenGuard

MODES = (FailoverMode.STANDBY, FailoverMode.RESCHEDULE)
"""In which a host's routers are guarded, and are not."""
INSIDE = "GAPLESS_BENCH_INSIDE"
AGENT_LOG = "GAPLESS_BENCH_AGENT_LOG"
"""A file for what the agent says; without it that is dropped."""
OUTSIDE = "10.0.0.1"
UPLINK = "ext0"
WITHIN_S = 300.0
QUIET_SHARE, QUIET_FOR_S, QUIET_WITHIN_S = 0.1, 1.5, 15.0
"""Quiet is who uses less than a tenth of a core for so long."""
BUSY = "GAPLESS_BENCH_BUSY"
"""Set where the machine has other work, too, as in tests: it is looked at once each time, and not waited for."""


def add_mode(parser: argparse.ArgumentParser) -> None:
    """The option that says of which mode a host's routers are, as `mode`."""
    words = f"failover mode of the routers (default: {DEFAULT_FAILOVER_MODE})"
    parser.add_argument("--mode", type=FailoverMode, choices=MODES, default=DEFAULT_FAILOVER_MODE, help=words)


def of_mode(mode: FailoverMode) -> str:
    """A line below a table."""
    return f"Routers of mode {mode}: {'behind an open guard' if is_guarded(mode) else 'there is no guard'}."


def is_guarded(mode: FailoverMode) -> bool:
    """Whether routers of this mode forward only while their host has a lease."""
    return mode is FailoverMode.STANDBY


def enter_namespaces() -> None:
    """Begin this program anew in namespaces of its own, unless it has: no root is needed and nothing left behind."""
    if INSIDE not in os.environ:
        unshare = "unshare --user --map-root-user --net --mount --pid --fork --kill-child --mount-proc"
        os.environ[INSIDE] = "1"
        os.execvp("unshare", [*unshare.split(), sys.executable, *sys.argv])


def router(number: int) -> Router:
    """The router of this number."""
    external = Network(id=NetworkId(_id(1, 0)), type=NetworkType.FLAT, mtu=1500, physical_network="external")
    tenant = Network(id=NetworkId(_id(2, number)), type=NetworkType.VXLAN, mtu=1450, segmentation_id=1000 + number)
    outside = IPv4Address("10.0.0.0") + 2 * number + 10
    inside = RouterPort(
        id=PortId(_id(3, number)),
        network=tenant,
        mac=_mac(3, number),
        addresses=(IPv4Interface("192.168.0.1/24"),),
    )
    gateway = RouterPort(
        id=PortId(_id(4, number)),
        network=external,
        mac=_mac(4, number),
        addresses=(IPv4Interface(f"{outside}/16"),),
    )
    return Router(
        id=RouterId(_id(5, number)),
        name=f"bench-{number}",
        ports=(inside,),
        gateway=Gateway(port=gateway, next_hop=IPv4Address("10.0.0.1"), snat=True),
        floating_ips=(FloatingIp(id=_id(6, number), address=outside + 1, fixed_address=IPv4Address("192.168.0.5")),),
    )


def _id(kind: int, number: int) -> str:
    return str(UUID(int=kind << 120 | number << 96 | number))


def _mac(kind: int, number: int) -> str:
    return f"fa:16:3e:{kind:02x}:{number >> 8:02x}:{number & 255:02x}"


def prepare_host() -> HostSettings:
    """A data interface and an uplink, their other ends hanging loose."""
    for command in (
        "mount -t tmpfs none /run",
        "ip link set lo up",
        "ip link add data0 mtu 1500 type veth peer name data1",
        "ip address add 172.16.0.1/24 dev data0",
        "ip link set data0 up",
        "ip link set data1 up",
        f"ip link add {UPLINK} type veth peer name ext1",
        "ip link set ext1 up",
    ):
        subprocess.run(command.split(), check=True, timeout=10)
    return HostSettings(
        name="bench",
        state_dir=Path(tempfile.gettempdir()),
        key_file=Path("/nonexistent"),
        physical_networks=(("external", UPLINK),),
        data_interface="data0",
    )


def bridges_of(it: Router) -> dict[str, str]:
    """The bridge of each of a router's taps."""
    ports = [*it.ports, *([it.gateway.port] if it.gateway is not None else [])]
    return {tap_name(port.id): bridge_name(port.network.id) for port in ports}


def prepare_outside() -> HostSettings:
    """A host whose external network has somebody who answers."""
    settings = prepare_host()
    for command in (
        "ip netns add outside",
        "ip link set ext1 netns outside",
        f"ip -n outside address add {OUTSIDE}/16 dev ext1",
        "ip -n outside link set ext1 up",
    ):
        subprocess.run(command.split(), check=True, timeout=10)
    return settings


def plug_vm(number: int, it: Router) -> None:
    """A machine behind a router: the namespace `vm<number>`."""
    name, bridge = f"vm{number}", bridge_name(it.ports[0].network.id)
    batch = "\n".join(
        (
            f"netns add {name}",
            f"link add h{number} type veth peer name net0 netns {name}",
            f"link set h{number} master {bridge} up",
        )
    )
    subprocess.run(["ip", "-b", "-"], input=batch, text=True, check=True, timeout=10)
    inside = "\n".join(("address add 192.168.0.5/24 dev net0", "link set net0 up", "route add default via 192.168.0.1"))
    subprocess.run(["ip", "-n", name, "-b", "-"], input=inside, text=True, check=True, timeout=10)
    group = ("net", "ipv4", "ping_group_range")
    netns.enter(Path("/run/netns") / name, lambda: (Path("/proc/sys").joinpath(*group).write_text("0 0"), None)[1])


def probe(number: int, it: Router) -> Flow:
    """From the machine behind a router to the world outside."""
    return Flow(router_id=it.id, direction=Direction.OUT, netns=f"vm{number}", source="192.168.0.5", target=OUTSIDE)


def until_gone(names: list[str]) -> None:
    """Return when there is no link of these names on the host. Raises TimeoutError."""
    deadline = time.monotonic() + WITHIN_S
    with Netlink() as host:
        while left := links.find(host, names):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{', '.join(sorted(left))} did not go")
            time.sleep(0.002)


async def quiet() -> None:
    """Return when the machine has had nothing to do for a while, or will not stop to (see also `BUSY`).

    The kernel clears away namespaces behind everybody's back, and the agent announces for a second.
    """
    deadline = time.monotonic() + (QUIET_FOR_S if os.environ.get(BUSY) else QUIET_WITHIN_S)
    share = 1.0
    while share > QUIET_SHARE and time.monotonic() < deadline:
        before, began = _busy_s(), time.monotonic()
        await asyncio.sleep(QUIET_FOR_S)
        share = (_busy_s() - before) / (time.monotonic() - began)


def _busy_s() -> float:
    """Processor time of all cores that was not idle, since the start."""
    user, nice, system, _, _, interrupts, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


class Agent:
    """An agent, and what it says. An `AgentListener`."""

    def __init__(self, settings: HostSettings, guard: OpenGuard | None = None) -> None:
        """`guard`: what its routers are behind; None: they are classic."""
        self._settings = settings
        self._guard = guard
        self._desired = Desired()
        self._supervisor = Supervisor(self._command, self._desired, self)
        self._missing: set[RouterId] = set()
        self._awaited = RouterState.ACTIVE
        self._needs_all = False
        self._reached = asyncio.Event()
        self._supervision: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin as a host's sentinel does."""
        self._supervision = asyncio.create_task(self._supervisor.run())

    async def stop(self) -> None:
        """End as with the sentinel: the agent hears that it is alone, and ends."""
        assert self._supervision is not None
        self._supervision.cancel()
        await asyncio.wait([self._supervision])

    def renew(self) -> None:
        """As `systemctl reload` of its host does."""
        self._supervisor.renew()

    def kill(self) -> None:
        """As `kill -9` does."""
        os.kill(self.pid, signal.SIGKILL)

    @property
    def pid(self) -> int:
        """Of the agent that runs now."""
        (found,) = (it for it in Path("/proc").glob("[0-9]*/cmdline") if b"\0gapless.agent\0" in it.read_bytes())
        return int(found.parent.name)

    @property
    def peak_mb(self) -> float:
        """The most memory that it had at once since it was started (VmHWM), in MiB."""
        return memory_mb(self.pid, "VmHWM")

    def plan(self, routers: Iterable[Router]) -> None:
        """These, and no others, from now on."""
        wanted = list(routers)
        guarded = None
        if self._guard is not None:
            guarded = Guarded(role=Role.ACTIVE, incarnation=Incarnation(1))
            self._guard.open_only(tap for it in wanted for tap in bridges_of(it))
        planned = [PlannedRouter(router=it, epoch=Epoch(1), guarded=guarded) for it in wanted]
        self._desired.follow(HostPlan.of(Revision(self._desired.version + 1), planned))

    async def says(self, state: RouterState, of: Iterable[Router], *, all_anew: bool = False) -> float:
        """The moment, in monotonic seconds, when it has said this of all these routers from now on; with `all_anew`, in
        a report that tells of everything that is there.
        """
        self._awaited, self._missing, self._needs_all = state, {it.id for it in of}, all_anew
        self._reached.clear()
        async with asyncio.timeout(WITHIN_S):
            await self._reached.wait()
        return time.monotonic()

    def agent_is(self, state: AgentState, reason: str) -> None:
        """Its supervisor knows what to do."""

    def agent_said(self, report: AgentReport) -> None:
        """Whether that was all that was waited for."""
        self._missing -= {each.router_id for each in report.routers if each.state is self._awaited}
        self._needs_all &= not report.full
        if not self._missing and not self._needs_all:
            self._reached.set()

    def _command(self, descriptor: int) -> list[str]:
        start = encode_start(AgentStart(fd=descriptor, settings=self._settings))
        log = os.environ.get(AGENT_LOG, os.devnull)
        return ["sh", "-c", 'exec "$@" 2>> "$0"', log, sys.executable, "-m", "gapless.agent", start]


def memory_mb(pid: int, what: str) -> float:
    """Of a process, in MiB: VmRSS, what it has; VmHWM, the most that it ever had (proc_pid_status(5))."""
    words = Path(f"/proc/{pid}/status").read_text().partition(f"{what}:")[2].split()
    return round(int(words[0]) / 1024, 1)


@asynccontextmanager
async def agent_of(settings: HostSettings, mode: FailoverMode) -> AsyncIterator[Agent]:
    """A host's agent, for as long as the block lasts, and the guard that its routers of this mode are behind. Raises
    GaplessError when the block ends where that guard did not stand open all the time.
    """
    with ExitStack() as held:
        agent = Agent(settings, held.enter_context(OpenGuard()) if is_guarded(mode) else None)
        agent.start()
        try:
            yield agent
        finally:
            await agent.stop()
