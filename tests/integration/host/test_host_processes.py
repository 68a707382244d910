"""A whole host with the real agent and the real kernel: adopted, killed in the middle of a build, broken by hand."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from itertools import groupby
from pathlib import Path
from uuid import UUID

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import disks
import little_memory
from gapless.model.host import AgentState, HostName
from gapless.model.lease import LeaseTiming, Panel, PanelVersion
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.plan import Epoch, LeaseAddress, PanelPlan, PlannedRouter, Revision, RouterReport, RouterState
from gapless.model.router import Gateway, Router, RouterId, RouterPort
from gapless.wire import messages, proof
from gapless.wire.messages import PROTOCOL, Challenge, Change, Hello, Report, Snapshot, Welcome
from namespaces import require

pytestmark = pytest.mark.isolated

PATIENCE_S = 60.0
KEY = bytes(range(32))
CLUSTER = "7ca70a8b-8011-4822-ace0-bf4650ef9db3"
EXTERNAL = Network(id=NetworkId(str(UUID(int=1))), type=NetworkType.FLAT, mtu=1500, physical_network="external")
ALONE = PanelPlan(
    timing=LeaseTiming(interval_s=0.25, lease_s=1.0),
    panel=Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset({HostName("h1")}),)),
    addresses=(LeaseAddress(host=HostName("h1"), address="10.0.0.1:9698"),),
)
"""The host is its own arbiter. Slower than any that operators give: a busy machine takes no lease away."""


def planned(number: int, epoch: int = 1, network: Network = EXTERNAL) -> PlannedRouter:
    """A router with a gateway and nothing inside: enough to have a namespace, a link, addresses and rules."""
    port = RouterPort(
        id=PortId(f"{number:08x}-0000-4000-8000-000000000000"),  # interface names carry the first eleven characters
        network=network,
        mac=f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
        addresses=(IPv4Interface(f"203.0.113.{number + 10}/24"),),
    )
    gateway = Gateway(port=port, next_hop=IPv4Address("203.0.113.1"), snat=True)
    return PlannedRouter(
        router=Router(id=RouterId(str(UUID(int=number + 100))), name=f"r{number}", gateway=gateway), epoch=Epoch(epoch)
    )


def namespaces() -> set[str]:
    return {path.name.removeprefix("qrouter-") for path in Path("/run/netns").glob("qrouter-*")}


def inodes() -> dict[str, tuple[int, int]]:
    """Which namespace is behind which name: a rebuilt one is another one. It may get the number of the one before, if
    the kernel was done with that by then, but is younger.
    """
    found = {path.name.removeprefix("qrouter-"): path.stat() for path in Path("/run/netns").iterdir()}
    return {name: (each.st_ino, each.st_mtime_ns) for name, each in found.items()}


def contents(directory: Path) -> dict[str, bytes]:
    """Every file in it."""
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout


def fails(command: list[str]) -> str:
    """What a command that fails says: exactly one line."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
    return ended.stderr


def ids(routers: list[PlannedRouter]) -> set[str]:
    return {each.router.id for each in routers}


@dataclass
class Controller:
    """The controller's end of one host's link: a plan that a test changes, and everything that the host said."""

    plan: list[PlannedRouter]
    panel: PanelPlan | None = None
    port: int = 0
    said: list[RouterReport] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)
    _connection: ServerConnection | None = None
    _revision: int = 0

    async def accept(self, connection: ServerConnection) -> None:
        nonce = proof.fresh_nonce()
        with contextlib.suppress(ConnectionClosed):
            await connection.send(messages.encode(Challenge(protocol=PROTOCOL, cluster=CLUSTER, nonce=nonce)))
            hello = messages.from_host.decode(await connection.recv())
            assert isinstance(hello, Hello)
            answer = proof.server_proof(
                KEY,
                cluster=CLUSTER,
                server_nonce=nonce,
                host_nonce=hello.nonce,
                facts=hello.facts,
                incarnation=hello.incarnation,
            )
            await connection.send(messages.encode(Welcome(cluster=CLUSTER, proof=answer, report_interval_s=2.0)))
            self._connection, self._revision = connection, 1
            snapshot = Snapshot(revision=Revision(1), routers=tuple(self.plan), panel=self.panel)
            await connection.send(messages.encode(snapshot))
            async for message in connection:
                await self._hear(messages.from_host.decode(message))

    async def _hear(self, report: object) -> None:
        assert isinstance(report, Report)
        async with self._heard:
            self.reports.append(report)
            self.said += report.routers
            self._heard.notify_all()

    async def change(self, *routers: PlannedRouter, removed: tuple[RouterId, ...] = ()) -> None:
        self.plan = [each for each in self.plan if each.router.id not in (*removed, *ids(list(routers)))] + [*routers]
        self._revision += 1
        assert self._connection is not None
        change = Change(revision=Revision(self._revision), routers=routers, removed=removed)
        await self._connection.send(messages.encode(change))

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._heard:
            await self._heard.wait_for(is_so)

    def agents(self) -> list[AgentState]:
        """What the agent did, as reported: each state once."""
        return [state for state, _ in groupby(report.agent for report in self.reports)]

    def in_state(self, state: RouterState) -> set[str]:
        """Routers whose last word was this."""
        last = {each.router_id: each.state for each in self.said}
        return {router_id for router_id, its in last.items() if its is state}

    def gone(self, routers: set[str], reports: int) -> set[str]:
        """Which of these the host had said to be gone with its first reports: by name, or by a full report without."""
        there = set(routers)
        for report in self.reports[:reports]:
            named = {each.router_id for each in report.routers if each.state is not RouterState.REMOVED}
            there = there & named if report.full else there - ({each.router_id for each in report.routers} - named)
        return routers - there

    async def all_active(self) -> None:
        await self.until(lambda: self.in_state(RouterState.ACTIVE) >= ids(self.plan))


@contextlib.asynccontextmanager
async def controller(*plan: PlannedRouter, panel: PanelPlan | None = None) -> AsyncIterator[Controller]:
    it = Controller(plan=list(plan), panel=panel)
    async with serve(it.accept, "127.0.0.1", 0) as server:
        it.port = next(iter(server.sockets)).getsockname()[1]
        yield it


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with one uplink; returns where its host keeps its state."""
    require()
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "cable")
    run("ip", "link", "set", "up0", "up")
    run("ip", "link", "set", "cable", "up")
    key = tmp_path / "cluster.key"
    key.write_text(KEY.hex())
    key.chmod(0o600)
    return tmp_path


def command(machine: Path, port: int, *more: str) -> list[str]:
    flags = ["--name", "h1", "--state-dir", str(machine / "state"), "--key-file", str(machine / "cluster.key")]
    uplink = ["--physical-network", "external=up0"] if "--physical-network" not in more else []
    return [sys.executable, "-m", "gapless", "host", *flags, "--server", f"127.0.0.1:{port}", *uplink, *more]


@contextlib.asynccontextmanager
async def host(
    machine: Path, port: int, lines: list[str] | None = None, more: Sequence[str] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`gapless host` as a process; asked to end at the end, and then `lines` has what it logged."""
    with (machine / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command(machine, port, *more), stderr=log)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        sys.stderr.write("\n".join(logged(machine)) + "\n")
        if lines is not None:
            lines += logged(machine)


def logged(machine: Path) -> list[str]:
    """What the host has logged since it was started last."""
    return (machine / "log").read_text().splitlines()


def agent_of(sentinel: int) -> int | None:
    """The pid of the agent that runs now, if one does."""
    return child_of(sentinel, b"gapless.agent")


def child_of(sentinel: int, module: bytes) -> int | None:
    """The pid of its child that runs this module, if one does."""
    for child in Path(f"/proc/{sentinel}/task/{sentinel}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):
            if module in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
    return None


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.01)


async def test_an_agent_killed_in_the_middle_of_its_builds_is_completed_by_the_next(machine: Path) -> None:
    routers = [planned(number) for number in range(24)]
    async with controller(*routers) as it, host(machine, it.port) as sentinel:
        for killed_after in (1, 8, 16):
            await it.until(lambda enough=killed_after: len(it.in_state(RouterState.ACTIVE)) >= enough)
            agent = agent_of(sentinel.pid)
            if agent is not None:
                os.kill(agent, signal.SIGKILL)
            heard = len(it.reports)
        await it.all_active()
        await it.until(lambda: any(report.full for report in it.reports[heard:]))
        assert namespaces() == ids(routers)
    assert namespaces() == ids(routers), "SIGTERM ends the processes, not the routers"


async def test_an_agent_that_the_kernel_ends_for_want_of_memory_in_mid_build_is_completed_by_the_next(
    machine: Path,
) -> None:
    old, new, lines = [planned(1), planned(2)], [planned(number) for number in range(3, 27)], list[str]()
    async with controller(*old) as it, host(machine, it.port, lines) as sentinel:
        await it.all_active()
        before, agent = inodes(), agent_of(sentinel.pid)
        assert agent is not None
        with little_memory.group("gapless-test", kilobytes=1024) as group:
            group.take(agent)
            await it.change(*new)
            await eventually(lambda: group.killed > 0 and agent_of(sentinel.pid) not in (None, agent))
            assert group.killed == 1
        await it.all_active()
        assert AgentState.RESTARTING in it.agents()
        assert before.items() <= inodes().items(), "what ran is untouched"
        assert namespaces() == ids(old + new)
    assert [line for line in lines if "agent ended (killed by SIGKILL" in line]


async def test_a_returning_host_removes_what_is_no_longer_its_own_before_it_builds(machine: Path) -> None:
    old, new = [planned(number) for number in range(6)], [planned(number) for number in range(6, 12)]
    async with controller(*old) as it, host(machine, it.port):
        await it.all_active()
    async with controller(old[0], *new) as it, host(machine, it.port):
        await it.all_active()
        await it.until(lambda: any(report.full for report in it.reports))
        first = next(
            number
            for number, report in enumerate(it.reports)
            if any(each.state is RouterState.BUILDING for each in report.routers)
        )
        assert it.gone(ids(old), reports=first + 1) == ids(old[1:]), "a build came before the last removal"
        assert namespaces() == ids([old[0], *new])


async def test_a_restarted_host_adopts_without_a_build(machine: Path) -> None:
    routers = [planned(number) for number in range(4)]
    async with controller(*routers) as it, host(machine, it.port):
        await it.all_active()
    before = inodes()
    async with controller(*routers) as it, host(machine, it.port):
        await it.until(lambda: any(report.full for report in it.reports))
        assert {(each.state, each.times) for each in it.said} == {(RouterState.ACTIVE, None)}
    assert inodes() == before


async def test_a_hosts_agent_is_renewed_and_adopts_without_a_build(machine: Path) -> None:
    """As `systemctl reload` has it."""
    routers, lines = [planned(number) for number in range(4)], list[str]()
    async with controller(*routers) as it, host(machine, it.port, lines) as sentinel:
        await it.all_active()
        before, first = inodes(), agent_of(sentinel.pid)
        sentinel.send_signal(signal.SIGHUP)
        await it.until(lambda: AgentState.RESTARTING in it.agents())
        heard = [report.agent for report in it.reports].index(AgentState.RESTARTING)
        await it.until(lambda: any(report.full and report.agent is AgentState.RUNNING for report in it.reports[heard:]))
        assert agent_of(sentinel.pid) not in (None, first)
        said = {(each.state, each.times) for report in it.reports[heard:] for each in report.routers}
        assert said == {(RouterState.ACTIVE, None)}
        assert (inodes(), sentinel.returncode) == (before, None)
    assert [line for line in lines if "agent is started anew, as it was asked for" in line]


async def test_without_its_controller_a_host_keeps_what_runs_and_builds_nothing_from_disk(machine: Path) -> None:
    kept, lost = planned(1), planned(2)
    async with controller(kept, lost) as it, host(machine, it.port):
        await it.all_active()
        state = machine / "state" / "plan.json"
        await eventually(lambda: state.exists() and lost.router.id in state.read_text())
    run("ip", "netns", "delete", f"qrouter-{lost.router.id}")
    route = ("ip", "-netns", f"qrouter-{kept.router.id}", "route")
    run(*route, "delete", "default")

    def has_route() -> bool:
        return "203.0.113.1" in run(*route, "show", "default")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with host(machine, silent.getsockname()[1]):
            await eventually(has_route)
            assert namespaces() == {kept.router.id}


async def test_a_namespace_deleted_by_hand_is_repaired_in_place(machine: Path) -> None:
    router, lines = planned(1), list[str]()
    async with controller(router) as it, host(machine, it.port, lines):
        await it.all_active()
        before = inodes()
        run("ip", "netns", "delete", f"qrouter-{router.router.id}")
        await eventually(lambda: inodes() == before)
        await eventually(lambda: any("repaired in place" in line for line in logged(machine)))
    (line,) = [line for line in lines if "repaired in place" in line]
    assert "what=NameNamespace" in line
    # FAILED is told of the third failure only; each is told in the log.
    assert not [line for line in lines if "could not be brought to its plan" in line or "router failed" in line]


async def test_a_router_that_cannot_be_built_says_why_and_the_others_run(machine: Path) -> None:
    nowhere = Network(id=NetworkId(str(UUID(int=9))), type=NetworkType.FLAT, mtu=1500, physical_network="nowhere")
    bad, good = planned(1, network=nowhere), planned(2)
    async with controller(bad, good) as it, host(machine, it.port):
        await it.until(lambda: it.in_state(RouterState.ACTIVE) == {good.router.id})
        await it.until(lambda: it.in_state(RouterState.FAILED) == {bad.router.id})
        reason = next(each.reason for each in it.said if each.state is RouterState.FAILED)
        assert "nowhere" in reason
        await it.change(removed=(bad.router.id,))
        await it.until(lambda: it.in_state(RouterState.REMOVED) == {bad.router.id})


async def test_a_killed_sentinel_takes_its_agent_along_and_leaves_the_routers(machine: Path) -> None:
    router = planned(1)
    async with controller(router) as it, host(machine, it.port) as sentinel:
        await it.all_active()
        agent = agent_of(sentinel.pid)
        sentinel.kill()
        await sentinel.wait()
        await eventually(lambda: not Path(f"/proc/{agent}").exists() or is_zombie(agent))
        assert namespaces() == {router.router.id}


def is_zombie(pid: int | None) -> bool:
    """Nobody in this test's process namespace reaps orphans."""
    with contextlib.suppress(OSError):
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    return True


async def test_a_state_directory_that_is_removed_is_there_again_and_nothing_is_rebuilt(machine: Path) -> None:
    """Not for the agent either, which is killed a moment later; and the next start is the same host, one life on."""
    routers, lines, state = [planned(number) for number in range(3)], list[str](), machine / "state"
    async with controller(*routers) as it, host(machine, it.port, lines) as sentinel:
        await it.all_active()
        await eventually((state / "plan.json").exists)
        before, kept = inodes(), contents(state)
        state.rename(machine / "removed")
        agent = agent_of(sentinel.pid)
        assert agent is not None
        os.kill(agent, signal.SIGKILL)
        await it.until(lambda: it.agents()[-2:] == [AgentState.RESTARTING, AgentState.RUNNING])
        await eventually((state / "plan.json").exists)
        assert contents(state) == kept
        assert state.stat().st_mode & 0o777 == 0o700
        assert "another sentinel (process" in await asyncio.to_thread(fails, command(machine, it.port))
    (line,) = [line for line in lines if "were removed from the state directory" in line]
    assert "files='sentinel.lock, identity.json, plan.json'" in line
    async with controller(*routers) as it, host(machine, it.port):
        await it.until(lambda: any(report.full for report in it.reports))
        assert {(each.state, each.times) for each in it.said} == {(RouterState.ACTIVE, None)}
    first, second = (json.loads(each) for each in (kept["identity.json"], (state / "identity.json").read_bytes()))
    assert second == first | {"incarnation": first["incarnation"] + 1}
    assert inodes() == before


@pytest.fixture
def small_disk(machine: Path) -> Path:
    """The machine's state directory, on a disk of its own."""
    state = machine / "state"
    state.mkdir()
    return disks.mount(state, megabytes=1)


async def test_a_full_disk_stops_no_router_and_what_could_not_be_kept_is_kept_when_there_is_room(
    machine: Path, small_disk: Path
) -> None:
    old, new, lines = planned(1), planned(2), list[str]()
    async with controller(old) as it, host(machine, it.port, lines) as sentinel:
        await it.all_active()
        plan = small_disk / "plan.json"
        await eventually(plan.exists)
        kept, before = plan.read_bytes(), inodes()
        ballast = disks.fill(small_disk)
        await it.change(new)
        await it.all_active()
        await eventually(lambda: any("the plan cannot be kept on disk" in line for line in logged(machine)))
        agent = agent_of(sentinel.pid)
        assert agent is not None
        os.kill(agent, signal.SIGKILL)
        await it.until(lambda: it.agents()[-2:] == [AgentState.RESTARTING, AgentState.RUNNING])
        assert before.items() <= inodes().items()
        assert namespaces() == ids([old, new])
        whole = {"sentinel.lock", "identity.json", "plan.json", "ballast"}
        # Nothing half-written stays: what is being tried again is there for a moment.
        await eventually(lambda: {file.name for file in small_disk.iterdir()} == whole)
        assert plan.read_bytes() == kept
        ballast.unlink()
        await eventually(lambda: new.router.id in plan.read_text())
        # It is said a moment later than it is so.
        await eventually(lambda: any("the plan is kept on disk again" in line for line in logged(machine)))
    (line,) = [line for line in lines if "the plan cannot be kept on disk" in line]
    assert "No space left on device" in line
    assert len([line for line in lines if "the plan is kept on disk again" in line]) == 1


async def test_an_incarnation_that_a_full_disk_does_not_take_is_not_used(machine: Path, small_disk: Path) -> None:
    run("ip", "address", "add", "10.0.0.1/24", "dev", "cable")
    identity, lines, router = small_disk / "identity.json", list[str](), planned(1)
    async with (
        controller(router, panel=ALONE) as it,
        host(machine, it.port, lines, ["--data-interface", "cable"]) as sentinel,
    ):
        await it.all_active()
        await it.until(lambda: it.reports[-1].is_held)
        before, kept = it.reports[-1].leased, identity.read_bytes()
        ballast = disks.fill(small_disk)
        beat = child_of(sentinel.pid, b"gapless.sentinel.beat")
        assert beat is not None
        os.kill(beat, signal.SIGKILL)
        await eventually(lambda: any("no new incarnation can be kept" in line for line in logged(machine)))
        await it.until(lambda: not it.reports[-1].is_held)
        assert child_of(sentinel.pid, b"gapless.sentinel.beat") is None
        assert identity.read_bytes() == kept
        assert namespaces() == {router.router.id}
        ballast.unlink()
        await it.until(lambda: it.reports[-1].is_held)
        assert it.reports[-1].leased == json.loads(identity.read_bytes())["incarnation"] == before + 1
    (line,) = [line for line in lines if "no new incarnation can be kept on disk" in line]
    assert "No space left on device" in line
    assert len([line for line in lines if "the disk takes what it did not" in line]) == 1


async def test_a_host_that_starts_on_a_full_disk_says_so_in_one_line(machine: Path, small_disk: Path) -> None:
    disks.fill(small_disk)
    said = await asyncio.to_thread(fails, command(machine, 1))
    assert "identity.json cannot be written: No space left on device" in said


async def test_two_hosts_with_one_state_directory(machine: Path) -> None:
    async with controller(planned(1)) as it, host(machine, it.port):
        await it.all_active()
        assert "another sentinel (process" in await asyncio.to_thread(fails, command(machine, it.port))


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--physical-network", "external=eth9"], "no interface 'eth9' (it has: "),
        (["--physical-network", "external"], "write NAME=INTERFACE"),
        (["--physical-network", "x=up0", "--physical-network", "x=cable"], "named twice"),
        (["--data-interface", "eth9"], "no interface 'eth9'"),
        (["--data-interface", "cable"], "has no IPv4 address"),
        (["--vxlan-group", "10.0.0.1"], "no multicast group"),
        (["--vxlan-peer", "10.0.0"], "no IPv4 address"),
        (["--vxlan-peer", "239.0.0.1"], "no host's address"),
        (["--flows-protocol", "icmp"], "name tcp, udp or sctp"),
        (["--flows-udp-age", "1"], "from 2 seconds on"),
        (["--server", "127.0.0.1:port"], "is not an address"),
        (["--name", "a b"], "letters, digits"),
        (["--key-file", "/nonexistent"], "cannot be read"),
    ],
)
def test_wrong_flags_are_one_clear_line(machine: Path, flags: list[str], complaint: str) -> None:
    assert complaint in fails(command(machine, 1, *flags))
    assert not (machine / "state").exists(), "nothing was touched"
