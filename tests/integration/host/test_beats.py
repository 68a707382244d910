"""Three hosts with real beats, guards and datagrams, and packets that decide: who passes them, and that never two do.

            ┌─ h1: bridge ── tap ═ the router, which speaks all the time
     switch ┼─ h2: bridge ── tap ═ the same router, built and mute
            └─ h3: an arbiter

A host's one uplink carries its lease datagrams and its routers' frames. A frame says which host's router sent it, and
when (the machine's monotonic clock); the switch hears all of them.
"""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from gapless.config import HostSettings
from gapless.core.backoff import Backoff, Pace
from gapless.core.dataplane.desired import bridge_name, vxlan_name
from gapless.core.hostplan import HostPlan
from gapless.errors import GaplessError
from gapless.kernel import arp, netns
from gapless.kernel.transactions import Transactions
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import LeaseTiming, Panel, PanelVersion, Tenure
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.observed import GUARDED_GROUP
from gapless.model.plan import (
    Burial,
    Epoch,
    Guarded,
    LeaseAddress,
    PanelPlan,
    PlannedRouter,
    Revision,
    Role,
)
from gapless.model.router import Router, RouterId, RouterPort
from gapless.sentinel.beat import nftables
from gapless.sentinel.beat.guard import TABLE
from gapless.sentinel.beat.healed import ABSENT_LEASES
from gapless.sentinel.identity import StateDirectory
from gapless.sentinel.keeper import GuardKeeper
from gapless.sentinel.pulse import Pulse
from logged import kept
from namespaces import require

pytestmark = pytest.mark.isolated

PATIENCE_S = 40.0
ETHERTYPE = 0x88B6
WORD = struct.Struct("!Bd")
ROUTER = RouterId("11111111-1111-4111-8111-111111111111")
PORT = PortId("aaaaaaaa-bbbb-4aaa-8aaa-000000000001")
TAP = f"tap{PORT[:11]}"
MAC = "fa:16:3e:00:00:01"
SOURCE = bytes.fromhex(MAC.replace(":", ""))
NETWORK = Network(id=NetworkId("n"), type=NetworkType.VXLAN, mtu=1450, segmentation_id=1)
YARD, UPLINK = bridge_name(NETWORK.id), vxlan_name(1)
"""A host's bridge, and what leads away from it: announcements leave by that."""
NAMES = tuple(HostName(f"h{number}") for number in (1, 2, 3))
TIMING = LeaseTiming(interval_s=0.25, lease_s=1.0)
"""Slower than any that operators give: no plan is made anew here when a host loses its lease to a busy machine."""
UNOWNED = """
import sys
from gapless.sentinel.beat import __main__, nftables

nftables.PERSIST = 0x80  # The kernel knows no such flag.
sys.exit(__main__.main())
"""
"""A beat as on a kernel before 6.9."""


def panel(arbiters: Collection[HostName]) -> PanelPlan:
    return PanelPlan(
        timing=TIMING,
        panel=Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset(arbiters),)),
        addresses=tuple(LeaseAddress(host=name, address=f"10.0.0.{n}:9698") for n, name in enumerate(NAMES, 1)),
    )


def run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True, timeout=PATIENCE_S)


def packet_socket(link: str, ethertype: int = ETHERTYPE) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    made.bind((link, ethertype))
    made.setblocking(False)
    return made


async def until(is_so: Callable[[], bool], about: str) -> None:
    """Return once this is so: kernels and other processes tell nobody when they are done."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"it did not come about: {about}"
        await asyncio.sleep(0.005)


class KeeperThere(GuardKeeper):
    """The sentinels of all hosts are one process: what one does to its kernel, it does in its namespace."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place = place

    def descriptor(self) -> int:
        return netns.enter(self._place, super().descriptor)

    def shut(self) -> None:
        netns.enter(self._place, super().shut)

    def shut_unguarded(self, must_be_shut: Callable[[str], bool]) -> int:
        return netns.enter(self._place, lambda: GuardKeeper.shut_unguarded(self, must_be_shut))


@dataclass
class Host:
    """A host: its beats and their keeper, and the end of the router's wire."""

    name: HostName
    number: int
    pulse: Pulse = field(init=False)
    running: asyncio.Task[None] = field(init=False)
    speaks: socket.socket | None = None
    burials: list[Burial] = field(default_factory=list)

    def guard_changed(self) -> None:
        """Levels are looked at, not waited for."""

    def buried(self, burial: Burial) -> None:
        self.burials.append(burial)

    @property
    def tenure(self) -> Incarnation:
        return self.pulse.levels.tenure

    @property
    def is_open(self) -> bool:
        return ROUTER in self.pulse.levels.open

    def beat_pid(self) -> int:
        said = subprocess.check_output(["ip", "netns", "pids", self.name], text=True, timeout=PATIENCE_S)
        (pid,) = said.split()
        return int(pid)

    def plan(self, revision: int, role: Role, epoch: int, *after: Tenure) -> None:
        guarded = Guarded(role=role, incarnation=self.tenure, after=after)
        self.pulse.plan(
            HostPlan.of(Revision(revision), [PlannedRouter(router=router(), epoch=Epoch(epoch), guarded=guarded)]),
            heard=0,
            panel=None,
        )


def router() -> Router:
    port = RouterPort(id=PORT, network=NETWORK, mac=MAC, addresses=(IPv4Interface("10.1.0.1/24"),))
    return Router(id=ROUTER, name="r", ports=(port,))


@dataclass
class Site:
    """The hosts, and every frame of their routers that the switch heard: (when it was sent, whose)."""

    hosts: tuple[Host, ...]
    switch: socket.socket
    frames: list[tuple[float, int]] = field(default_factory=list)

    async def speak(self) -> None:
        """Both routers speak all the time."""
        while True:
            self.speak_once()
            await asyncio.sleep(0.002)

    def speak_once(self) -> None:
        """Each router says a word; what the switch has heard is taken in."""
        for host in self.hosts:
            if host.speaks is not None:
                word = WORD.pack(host.number, time.monotonic())
                frame = b"\xff" * 6 + SOURCE + ETHERTYPE.to_bytes(2, "big") + word
                with suppress(OSError):  # Its tap is down.
                    host.speaks.send(frame.ljust(60, b"\0"))
        while True:
            try:
                number, sent_at = WORD.unpack_from(self.switch.recv(2048), 14)
            except BlockingIOError:
                return
            self.frames.append((sent_at, number))

    def last_of(self, host: Host) -> float:
        return max((at for at, number in self.frames if number == host.number), default=0.0)

    async def passes(self, host: Host) -> None:
        """Frames that are sent from now on pass."""
        now = time.monotonic()
        await until(lambda: self.last_of(host) > now, f"{host.name} passes frames")

    def check(self) -> None:
        """Each host's frames came in one piece: those of two were never mixed."""
        order = [number for _, number in sorted(self.frames)]
        changes = [number for place, number in enumerate(order) if not place or order[place - 1] != number]
        assert len(changes) == len(set(changes)), f"two hosts passed frames at one time: {changes}"


@asynccontextmanager
async def site(tmp_path: Path, arbiters: Collection[HostName] = NAMES) -> AsyncIterator[Site]:
    """Three hosts that hold their leases; the router is active on the first, and the second has the right."""
    with kept("sentinel") as lines:
        async with running(tmp_path, lines, arbiters=arbiters) as it:
            yield it
    it.check()


@asynccontextmanager
async def running(
    tmp_path: Path, lines: list[str], *beat: str, arbiters: Collection[HostName] = NAMES
) -> AsyncIterator[Site]:
    """`lines`: what their sentinels log; `beat`: what Python is to run in place of the beat."""
    require()
    netns.DIRECTORY.mkdir(parents=True, exist_ok=True)
    run("ip link set lo up")
    run("ip link add switch type bridge mcast_snooping 0")
    run("ip link set switch up")
    run("ip link add ear type veth peer name wall")
    run("ip link set wall master switch up")
    run("ip link set ear up")
    hosts = tuple(Host(name, number) for number, name in enumerate(NAMES, 1))
    for host in hosts:
        plug_in(host)
    it = Site(hosts, packet_socket("ear"))
    tasks = []
    states = [StateDirectory(tmp_path / host.name) for host in hosts]
    for host, state in zip(hosts, states, strict=True):
        state.begin_incarnation()
        host.pulse = Pulse(
            lambda fd, name=host.name: (  # type: ignore[misc] # mypy does not infer lambdas with defaults
                "ip",
                "netns",
                "exec",
                name,
                sys.executable,
                "-P",
                *(beat or ("-m", "gapless.sentinel.beat")),
                str(fd),
            ),
            HostSettings(name=host.name, state_dir=tmp_path, key_file=tmp_path),
            state,
            host,
            name=host.name,
            address=f"10.0.0.{host.number}:9698",
            key=b"k" * 32,
            keeper=KeeperThere(netns.DIRECTORY / host.name),
            panel=panel(arbiters),
            # The next beat begins when the lease of the one before is over, as it does where that lasts 200 ms.
            pace=Pace(first_s=TIMING.lease_s, most_s=TIMING.lease_s),
        )
        host.pulse.plan(HostPlan.of(Revision(1), ()), heard=0, panel=None)
        host.running = asyncio.create_task(host.pulse.run("cluster"))
        tasks.append(host.running)
    try:
        await until(lambda: all(host.tenure for host in hosts), "every host holds its lease")
        # An arbiter that has granted a host nothing yet could not say that it is silent.
        await until(lambda: grants(lines) == len(hosts) * len(arbiters), "every arbiter grants every host's lease")
        tasks.append(asyncio.create_task(it.speak()))  # Guarded routers are built once there is a guard.
        first, second, _ = hosts
        first.plan(2, Role.ACTIVE, 1)
        second.plan(2, Role.STANDBY, 2, Tenure(first.name, first.tenure))
        await until(lambda: first.is_open and second.pulse.levels.settled == 2, "the plans are in force")
        await it.passes(first)
        assert not it.last_of(second), "a standby is mute"
        yield it
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for open_socket in (it.switch, *(host.speaks for host in hosts)):
            if open_socket is not None:
                open_socket.close()


def grants(lines: list[str]) -> int:
    """How many pairs of an arbiter and a host that it grants there are: those that were told of, less those that were
    told to be over, as on a machine that stood still for a lease.
    """

    def named(words: str) -> int:
        return sum(line.count("h", line.index("arbiters=")) for line in lines if words in line)

    return named("arbiters grant this host's lease") - named("arbiters do not grant this host's lease any more")


def plug_in(host: Host) -> None:
    """A host with an uplink in its bridge, and a router on it, of which it knows only the tap."""
    name, number = host.name, host.number
    run(f"ip netns add {name}")
    run(f"ip netns add r-{name}")
    run(f"ip link add port{number} type veth peer name {UPLINK} netns {name}")
    run(f"ip link set port{number} master switch up")
    for command in (
        f"link add {YARD} type bridge mcast_snooping 0",
        f"link set {UPLINK} master {YARD} up",
        f"addr add 10.0.0.{number}/24 dev {YARD}",
        f"link set {YARD} up",
        "link set lo up",
    ):
        run(f"ip -n {name} {command}")
    if number < 3:
        run(f"ip -n {name} link add {TAP} group {GUARDED_GROUP} type veth peer name inside netns r-{name}")
        run(f"ip -n {name} link set {TAP} master {YARD} up")
        run(f"ip -n r-{name} link set inside up")
        host.speaks = netns.enter(netns.DIRECTORY / f"r-{name}", lambda: packet_socket("inside"))


async def taken_over(it: Site) -> None:
    """The second host has it, and the first one passes nothing that was sent since."""
    first, second, _ = it.hosts
    await until(lambda: second.is_open, "the successor takes over")
    await it.passes(second)
    await until(lambda: bool(second.pulse.levels.takeovers), "the takeover is told")
    (done,) = second.pulse.levels.takeovers.values()
    assert (done.takeover.router_id, done.takeover.epoch, done.takeover.of.host) == (ROUTER, 2, first.name)
    began = min(at for at, number in it.frames if number == second.number)
    assert it.last_of(first) < began


async def test_a_killed_beat_is_succeeded_and_its_host_returns_fenced(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        first, second, _ = it.hosts
        before = first.tenure
        os.kill(first.beat_pid(), signal.SIGKILL)
        await taken_over(it)
        await until(lambda: first.tenure > before, "the first host holds a lease again")
        assert not first.is_open
        await it.passes(second)


async def test_a_flush_before_the_next_beat_opens_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        first, second, _ = it.hosts
        first.pulse._backoff = Backoff(Pace(first_s=3600.0, most_s=3600.0))
        os.kill(first.beat_pid(), signal.SIGKILL)
        await taken_over(it)
        run(f"ip netns exec {first.name} nft flush ruleset")
        run(f"ip netns exec {first.name} nft list table bridge gapless")
        await it.passes(second)
        assert it.last_of(first) < min(at for at, number in it.frames if number == second.number)


async def test_a_flush_after_an_orderly_stop_opens_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        first, second, _ = it.hosts
        first.running.cancel()
        await asyncio.wait([first.running])
        await first.pulse.shut()
        await taken_over(it)
        run(f"ip netns exec {first.name} nft flush ruleset")
        await it.passes(second)
        assert it.last_of(first) < min(at for at, number in it.frames if number == second.number)


async def test_without_a_guard_a_standby_is_shut_until_there_is_one_and_then_takes_over(tmp_path: Path) -> None:
    """On a kernel that keeps no tables for one process. Here somebody else's table stands where the guard should."""
    with kept("sentinel") as lines:
        async with running(tmp_path, lines, "-c", UNOWNED) as it:
            first, second, _ = it.hosts
            place = netns.DIRECTORY / second.name
            with netns.enter(place, Transactions) as other:
                run(f"ip netns exec {second.name} nft flush ruleset")
                await until(lambda: takes(other), "somebody takes the guard's place")
                await until(lambda: second.pulse.levels.is_unguarded, "its beat says so")
                await until(lambda: not is_up(second), "the tap of what stands by is set down")
                shut_at = time.monotonic()
                await it.passes(first)
                assert is_up(first), "it has its guard"
            await until(lambda: not second.pulse.levels.is_unguarded, "the guard is back")
            run(f"ip -n {second.name} link set {TAP} up")  # As the agent does.
            await it.passes(first)
            assert it.last_of(second) < shut_at
            os.kill(first.beat_pid(), signal.SIGKILL)
            await until(lambda: second.is_open, "the successor takes over")
            await it.passes(second)


def takes(other: Transactions) -> bool:
    """Whether a table of the guard's name is another socket's now: the beat may have put the guard back in between."""
    table = [nftables.new_table(TABLE, None), nftables.delete_table(TABLE), nftables.new_table(TABLE, nftables.OWNER)]
    with suppress(GaplessError):
        other.commit(table, None, "take the guard's place")
        return True
    return False


def is_up(host: Host) -> bool:
    said = subprocess.check_output(["ip", "-n", host.name, "link", "show", TAP], text=True, timeout=PATIENCE_S)
    return ",UP" in said


async def test_a_beat_that_was_stopped_passes_nothing_when_it_goes_on(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        first, second, _ = it.hosts
        before, pid = first.tenure, first.beat_pid()
        os.kill(pid, signal.SIGSTOP)
        await taken_over(it)
        os.kill(pid, signal.SIGCONT)
        await until(lambda: first.tenure > before, "it holds a lease again, at a higher incarnation")
        assert first.beat_pid() == pid, "by itself: nobody had to end it"
        assert not first.is_open
        await it.passes(second)


async def test_a_host_that_is_cut_off_closes_by_itself_and_returns_fenced(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        first, second, _ = it.hosts
        before = first.tenure
        run("ip link set port1 down")
        await until(lambda: not first.tenure and not first.is_open, "it knows by itself that its lease is over")
        await taken_over(it)
        run("ip link set port1 up")
        await until(lambda: first.tenure > before, "it holds a lease again, at a higher incarnation")
        await it.passes(second)
        first.plan(3, Role.STANDBY, 3, Tenure(second.name, second.tenure))
        await until(lambda: first.pulse.levels.settled == 3, "it may succeed in its turn")
        assert not first.is_open


def announcements(ear: socket.socket) -> list[int]:
    """Of each announcement of the router that has arrived since: whether it is a request or a reply."""
    kinds = []
    with suppress(BlockingIOError):
        while True:
            frame = ear.recv(2048)
            if frame[6:12] == SOURCE:
                kinds.append(int.from_bytes(frame[20:22], "big"))
    return kinds


@pytest.mark.parametrize("arbiters", [NAMES, NAMES[2:]], ids=["heard by its successor", "heard by an arbiter alone"])
async def test_what_was_taken_over_from_a_host_is_announced_once_more_when_that_is_on_the_network_again(
    tmp_path: Path, arbiters: tuple[HostName, ...]
) -> None:
    heard: list[int] = []

    def hear() -> list[int]:
        heard.extend(announcements(ear))
        return heard

    async with site(tmp_path, arbiters) as it:
        run("ip link set port1 down")
        with packet_socket("ear", arp.ETHERTYPE) as ear:  # From now on it hears the second host alone.
            await taken_over(it)
            await until(lambda: arp.REPLY in hear(), "the last repeat, in which alone there are replies")
            before = len(heard)
            long = time.monotonic() + (ABSENT_LEASES + 1) * TIMING.lease_s
            await until(lambda: time.monotonic() > long, "it is away for longer than repeats go on")
            assert len(hear()) == before, "a host that stays away has nothing announced"
            run("ip link set port1 up")
            await until(lambda: len(hear()) > before, "what is open is announced once more")


async def test_nothing_moves_while_only_the_sentinel_is_away(tmp_path: Path) -> None:
    """The beats go on when nobody reads what they say: here the sentinel of all three stands still for a while."""
    async with site(tmp_path) as it:
        first, second, _ = it.hosts
        before = first.tenure
        began = time.monotonic()
        while time.monotonic() < began + 6 * TIMING.lease_s:
            it.speak_once()
            time.sleep(0.002)  # noqa: ASYNC251 - no event loop, so no sentinel
        await it.passes(first)
        assert (first.tenure, second.is_open) == (before, False)
