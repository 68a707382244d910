"""That a fault does what it says: seen at the cables and in /proc, without asking who made it."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from lab_cables import carrying, shows

from gapless.errors import InvalidRequest, Unavailable
from gapless.lab.faults import FAULTS, choose
from gapless.lab.lab import Lab
from gapless.lab.machines import layout, linux, netns, shell
from gapless.lab.machines.layout import Place
from gapless.lab.machines.nodes import Host, Service
from gapless.lab.machines.wiring import Cable
from gapless.lab.measuring import claims
from gapless.lab.settings import LabSettings
from gapless.lab.waiting import until
from gapless.model.lease import DatagramKind
from gapless.model.router import FailoverMode
from gapless.wire import lease

pytestmark = pytest.mark.lab

ETHERTYPE = 0x88B5
"""For local experiments (IEEE 802)."""
PATIENCE_S = 10


class Plug:
    """A node's end of the data network: broadcasts its name, and hears whose arrive."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._socket = linux.in_netns(netns.path_of(node), self._open)

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        opened.bind((layout.DATA.interface, ETHERTYPE))
        opened.settimeout(PATIENCE_S)
        return opened

    def say(self) -> None:
        own: bytes = self._socket.getsockname()[-1]
        self._socket.send(b"\xff" * 6 + own + struct.pack("!H", ETHERTYPE) + self.node.encode().ljust(50))

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def heard(self, last: str) -> set[str]:
        """Whose words arrived, until those of `last` did."""
        names: set[str] = set()
        while last not in names:
            names.add(self._next())
        return names

    def heard_nothing(self) -> bool:
        """Whether nothing has arrived by now."""
        self._socket.setblocking(False)
        try:
            self._next()
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(PATIENCE_S)
        return False

    def _next(self) -> str:
        return self._socket.recv(100)[14:].decode().strip()

    def close(self) -> None:
        self._socket.close()


def without_controller(hosts: int = 1) -> Lab:
    """A lab that is not built, and asks no controller when a fault is healed."""
    lab = Lab(LabSettings(hosts=hosts, routers=0))

    async def not_asked(*_: str) -> None:
        return

    lab.hosts_alive = not_asked  # type: ignore[method-assign]
    return lab


Plugs = dict[str, Plug]


@pytest.fixture
async def wired() -> AsyncIterator[tuple[Lab, Plugs]]:
    """Three hosts and the compute node on the data network; nothing runs on them, and the controller is not asked."""
    lab = without_controller(hosts=3)
    await lab.build_nodes()
    await carrying(*(Cable(layout.DATA, node) for node in (*lab.hosts, layout.COMPUTE)))
    plugs = {name: Plug(name) for name in (*lab.hosts, layout.COMPUTE)}
    yield lab, plugs
    for plug in plugs.values():
        plug.close()


async def carriers(lab: Lab) -> list[bool]:
    shown = [
        await shell.run(*host.inside(), "ip", "link", "show", layout.DATA.interface) for host in lab.hosts.values()
    ]
    return ["LOWER_UP" in one for one in shown]


def everybody_hears_everybody(plugs: Plugs) -> None:
    for speaker in plugs.values():
        speaker.say()
        for other in plugs.values():
            if other is not speaker:
                other.heard(speaker.node)


async def test_a_cable_that_loses_what_is_sent_still_brings_what_others_send(wired: tuple[Lab, Plugs]) -> None:
    lab, plugs = wired
    fault = FAULTS["data-link-out"]([lab.host("host-1")])
    await fault.strike(lab)
    plugs["host-1"].say()
    plugs["host-2"].say()
    assert plugs["compute"].heard("host-2") == {"host-2"}
    assert plugs["host-1"].heard("host-2") == {"host-2"}
    assert await carriers(lab) == [True] * 3
    await fault.heal(lab)
    everybody_hears_everybody(plugs)


async def test_a_cable_that_loses_what_arrives_still_takes_what_is_sent(wired: tuple[Lab, Plugs]) -> None:
    lab, plugs = wired
    fault = FAULTS["data-link-in"]([lab.host("host-1")])
    await fault.strike(lab)
    plugs["compute"].say()
    assert plugs["host-2"].heard("compute") == {"compute"}
    assert plugs["host-1"].heard_nothing()
    plugs["host-1"].say()
    assert plugs["compute"].heard("host-1") == {"host-1"}
    assert await carriers(lab) == [True] * 3
    await fault.heal(lab)
    everybody_hears_everybody(plugs)


async def test_each_direction_of_two_cables_is_lost_and_healed_by_itself(wired: tuple[Lab, Plugs]) -> None:
    lab, plugs = wired
    out, into = FAULTS["data-link-out"]([lab.host("host-1")]), FAULTS["data-link-in"]([lab.host("host-2")])
    await out.strike(lab)
    await into.strike(lab)
    await out.heal(lab)
    plugs["host-1"].say()
    assert plugs["compute"].heard("host-1") == {"host-1"}
    assert plugs["host-2"].heard_nothing()
    await into.heal(lab)
    everybody_hears_everybody(plugs)


async def test_a_partition_leaves_two_halves_that_hear_each_their_own(wired: tuple[Lab, Plugs]) -> None:
    lab, plugs = wired
    fault = FAULTS["partition"]([lab.host("host-1"), lab.host("host-2")])
    await fault.strike(lab)
    for plug in plugs.values():
        plug.say()
    assert plugs["host-1"].heard("host-2") == {"host-2"}
    assert plugs["host-2"].heard("host-1") == {"host-1"}
    assert plugs["host-3"].heard("compute") == {"compute"}
    assert plugs["compute"].heard("host-3") == {"host-3"}
    assert await carriers(lab) == [True] * 3
    assert all(plug.heard_nothing() for plug in plugs.values())
    await fault.heal(lab)
    everybody_hears_everybody(plugs)


async def test_uplinks_lost_are_those_of_all_hosts_and_no_other_cables(wired: tuple[Lab, Plugs]) -> None:
    lab, plugs = wired
    fault = await choose(lab, "uplinks-lost")
    await fault.strike(lab)
    for host in lab.hosts.values():
        # The kernel's worker takes note of it, a little after the command has returned.
        without = partial(shows, "NO-CARRIER", host.place.ext_cable)
        await until(without, f"{host.name} is without carrier", PATIENCE_S)
    everybody_hears_everybody(plugs)
    await fault.heal(lab)
    for host in lab.hosts.values():
        assert "LOWER_UP" in await shell.run(*host.inside(), "ip", "link", "show", layout.EXT.interface)


async def test_a_silent_gateway_is_heard_by_nobody_and_no_host_s_cable_is_touched(wired: tuple[Lab, Plugs]) -> None:
    lab, plugs = wired
    fault = await choose(lab, "gateway-silent")
    gateway = str(layout.EXTERNAL_GATEWAY.ip)
    cables = (lab.host("host-1").place.ext_cable, Cable(layout.EXT, layout.OUTSIDE))
    await carrying(*cables)
    inside = lab.host("host-1").inside()
    await shell.ip([f"address add {layout.EXTERNAL_NET[77]}/16 dev {layout.EXT.interface}"], inside=inside)
    ask = ("ping", "-q", "-c", "1", "-W", "2", gateway)
    await shell.run(*inside, *ask)
    await fault.strike(lab)
    with pytest.raises(Unavailable):
        await shell.run(*inside, *ask)
    for host in lab.hosts.values():
        assert "LOWER_UP" in await shell.run(*host.inside(), "ip", "link", "show", layout.EXT.interface)
    everybody_hears_everybody(plugs)
    await fault.heal(lab)
    await carrying(*cables)
    await shell.run(*inside, *ask)


def lease_datagram(kind: DatagramKind) -> bytes:
    """A frame with the beginning of a datagram of the lease: all that is in the clear."""
    ethernet = b"\xff" * 6 + bytes(6) + struct.pack("!H", 0x0800)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 200, 0, 0, 64, socket.IPPROTO_UDP, 0, bytes(4), bytes(4))
    return ethernet + ip + bytes(8) + lease.MAGIC + bytes((lease.VERSION, kind)) + bytes(140)


async def test_the_first_claim_is_heard_with_whose_it_is_and_nothing_else_is_one(wired: tuple[Lab, Plugs]) -> None:
    lab, plugs = wired
    with claims.listening({host.place.data_cable.port: name for name, host in lab.hosts.items()}) as heard:
        plugs["host-1"].say()
        plugs["host-1"].send(lease_datagram(DatagramKind.RENEW))
        plugs["compute"].send(lease_datagram(DatagramKind.CLAIM))  # of no host
        with pytest.raises(Unavailable, match="no host has claimed"):
            await heard.first(0.2)
        plugs["host-1"].send(lease_datagram(DatagramKind.SILENT))
        plugs["host-3"].send(lease_datagram(DatagramKind.CLAIM))
        plugs["host-2"].send(lease_datagram(DatagramKind.CLAIM))
        assert await heard.first(PATIENCE_S) == "host-3"
        assert await heard.first(PATIENCE_S) == "host-2"


async def test_nobody_dies_of_a_claim_where_nobody_claims() -> None:
    lab = Lab(LabSettings(hosts=2, routers=0, mode=FailoverMode.RESCHEDULE))
    with pytest.raises(InvalidRequest, match="--mode standby"):
        await FAULTS["successor-dies"]([lab.host("host-1")]).prepare(lab)


@pytest.mark.parametrize("name", ["two-hosts-power", "controller-then-two-hosts"])
async def test_two_hosts_do_not_die_where_nobody_could_succeed_both(name: str) -> None:
    for few in (LabSettings(hosts=5, routers=0), LabSettings(hosts=4, standbys=2, routers=0)):
        lab = Lab(few)
        with pytest.raises(InvalidRequest, match="--standbys 2 --hosts 5"):
            await FAULTS[name]([lab.host("host-1"), lab.host("host-2")]).prepare(lab)
    for enough in (LabSettings(hosts=5, standbys=2, routers=0), LabSettings(hosts=2, mode=FailoverMode.RESCHEDULE)):
        lab = Lab(enough)
        await FAULTS[name]([lab.host("host-1"), lab.host("host-2")]).prepare(lab)


async def test_what_a_cable_never_lost_can_be_healed_as_well(wired: tuple[Lab, Plugs]) -> None:
    lab, plugs = wired
    await FAULTS["data-link-out"]([lab.host("host-1")]).heal(lab)
    everybody_hears_everybody(plugs)


async def test_a_flapping_link_goes_and_comes_as_often_as_it_says(
    wired: tuple[Lab, Plugs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen at the switch's end, of which the kernel tells each change before the command returns. That the host's end
    lost its carrier is told by a worker of the kernel, which passes over what was undone meanwhile.
    """
    lab, plugs = wired
    watched = lab.host("host-1")
    port = watched.place.data_cable.port
    log = watched.machine.disk / "links"
    with log.open("wb") as out:
        monitor = await asyncio.create_subprocess_exec("ip", "monitor", "link", stdout=out)

    async def watches() -> bool:
        await shell.ip(["link set lo mtu 60000", "link set lo mtu 65536"])
        return bool(log.read_text())

    def changes() -> list[bool]:
        """Whether it was up, each time that this changed."""
        lines = [line for line in log.read_text().splitlines() if f" {port}@" in line]
        states = ["UP" in line.split("<")[1].split(">")[0].split(",") for line in lines]
        return [now for before, now in zip([True, *states], states, strict=False) if now is not before]

    async def all_seen() -> bool:
        return len(changes()) >= 20

    try:
        await until(watches, "changes of links are watched", PATIENCE_S)
        monkeypatch.setattr("gapless.lab.faults.links.FLAP_S", 0.02)
        await FAULTS["host-flap"]([watched]).strike(lab)
        await carrying(watched.place.data_cable)
        everybody_hears_everybody(plugs)
        await until(all_seen, "ten times down and ten times up", PATIENCE_S, lambda: str(changes()))
    finally:
        monitor.terminate()
        await monitor.wait()
    assert changes() == [False, True] * 10


def state_of(pid: int) -> str:
    """R, S, D, T (stopped), Z; empty when it is gone (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


STAND_IN = "import sys, time; time.sleep(1000)"


@pytest.fixture
async def sentinel() -> AsyncIterator[Host]:
    """A host whose `gapless host` and fast path are stand-ins: two processes that last, one the child of the other."""
    host = Host(Place(1), LabSettings(hosts=1, routers=0))
    await layout.MGMT.install()
    await layout.DATA.install()
    await layout.EXT.install()
    await host.power_on()
    child = f'"{sys.executable}" -c "{STAND_IN}" gapless.sentinel.beat'
    bystander = f'"{sys.executable}" -c "{STAND_IN}" gapless.agent'
    await host.machine.run("sh", "-c", "cat > /run/gapless/parent", given=f"{child} & {bystander} & wait")
    host.sentinel = Service(host.machine, "host", ["sh", "/run/gapless/parent"])
    await host.sentinel.start()

    async def runs() -> bool:
        return len(host.fast_path()) == 2 and host.agent() is not None

    await until(runs, "it runs", PATIENCE_S)
    yield host
    host.machine.power_off()
    await host.machine.ended()


async def all_are(pids: list[int], *states: str) -> None:
    async def are() -> bool:
        return all(state_of(pid) in states for pid in pids)

    await until(are, f"processes {pids} are {states}", PATIENCE_S, lambda: str([state_of(pid) for pid in pids]))


async def test_a_sentinel_hangs_with_all_of_its_fast_path_and_nothing_else(sentinel: Host) -> None:
    lab = without_controller()
    pids = [process.pid for process in sentinel.fast_path()]
    agent = sentinel.agent()
    assert agent is not None
    fault = FAULTS["sentinel-stop"]([sentinel])
    await fault.strike(lab)
    await all_are(pids, "T")
    await all_are([agent.pid], "S")
    await fault.heal(lab)
    await all_are(pids, "S", "R")


async def test_a_sentinel_is_killed_with_its_fast_path(sentinel: Host) -> None:
    assert len(sentinel.fast_path()) == 2
    await FAULTS["sentinel-kill"]([sentinel]).strike(without_controller())
    await sentinel.sentinel.ended()

    async def gone() -> bool:
        return sentinel.fast_path() == []

    await until(gone, "both are gone", PATIENCE_S)


async def test_an_agent_that_is_stopped_hangs(sentinel: Host) -> None:
    agent = sentinel.agent()
    assert agent is not None
    await FAULTS["agent-stop"]([sentinel]).strike(without_controller())
    await all_are([agent.pid], "T")


async def test_a_restart_of_all_ends_sentinels_and_agents(sentinel: Host) -> None:
    agent = sentinel.agent()
    assert agent is not None
    pids = [process.pid for process in sentinel.fast_path()] + [agent.pid]
    await FAULTS["restart-all"]([sentinel]).strike(without_controller())
    await sentinel.sentinel.ended()
    await all_are(pids, "", "Z")


async def test_a_reboot_of_all_begins_again_with_fresh_kernels_and_the_old_disks(sentinel: Host) -> None:
    lab = without_controller()
    lab.controller.key.parent.mkdir(parents=True)
    lab.controller.key.write_text("key")
    await sentinel.machine.run("ip", "link", "add", "left", "type", "bridge")
    pids = [process.pid for process in sentinel.machine.processes()]
    assert len(pids) >= 4
    fault = FAULTS["reboot-all"]([sentinel])
    await fault.strike(lab)
    await all_are(pids, "", "Z")
    for cable in sentinel.place.cables:
        await until(partial(shows, "NO-CARRIER", cable), f"{cable.port} is cut", PATIENCE_S)
    await fault.heal(lab)
    await carrying(*sentinel.place.cables)
    assert "left" not in await sentinel.machine.run("ip", "link")

    async def runs() -> bool:
        return len(sentinel.fast_path()) == 2 and sentinel.agent() is not None

    await until(runs, "what is on its disk runs again", PATIENCE_S, sentinel.sentinel.last_words)


@pytest.mark.parametrize(
    ("name", "struck"),
    [
        ("host-power", ("host-2",)),
        ("arbiter-kill", ("host-1",)),
        ("two-arbiters-kill", ("host-1", "host-3")),
        ("partition", ("host-3", "host-4")),
        ("half-hosts", ("host-1", "host-2", "host-3")),
        ("restart-all", ("host-1", "host-2", "host-3", "host-4")),
        ("reboot-all", ("host-1", "host-2", "host-3", "host-4")),
    ],
)
async def test_a_fault_takes_its_hosts_by_itself(name: str, struck: tuple[str, ...]) -> None:
    lab = without_controller(hosts=4)
    with powered(lab, busiest="host-2"):
        assert (await choose(lab, name)).names == struck


async def test_a_fault_that_takes_more_hosts_than_there_are_is_refused_in_words() -> None:
    lab = without_controller(hosts=2)
    with powered(lab, busiest="host-1"):
        assert (await choose(lab, "arbiter-kill")).names == ("host-2",)
        with pytest.raises(InvalidRequest, match="two-arbiters-kill needs more hosts than these: host-1, host-2"):
            await choose(lab, "two-arbiters-kill")
    lab = without_controller(hosts=1)
    with powered(lab, busiest="host-1"), pytest.raises(InvalidRequest, match="partition needs more hosts"):
        await choose(lab, "partition")


@contextmanager
def powered(lab: Lab, *, busiest: str) -> Iterator[None]:
    """As if its hosts had power, and one of them the most routers."""

    async def the_busiest() -> Host:
        return lab.host(busiest)

    lab.busiest_host = the_busiest  # type: ignore[method-assign]
    for host in lab.hosts.values():
        host.machine.is_on = True
    yield
