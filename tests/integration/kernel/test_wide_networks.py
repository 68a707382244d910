"""More routers on one network than one bridge has ports: a root and its leaves, here with room for very few.

outside ── ext0 ┐ root: 2 taps ├─ joint ── leaf a: 4 taps
                └──────────────┴─ joint ── leaf b: 2 taps
"""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from kernel_fixtures import (
    BRIDGE_OUT,
    EXTERNAL,
    OUTSIDE,
    TENANT_A,
    Tapped,
    Wires,
    arp,
    ip,
    ip_json,
)

from gapless.agent.driver import Driver, Rhythm
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import bridge_name, gateway_link, tap_name
from gapless.core.dataplane.leaves import ROOM, leaf_of
from gapless.errors import Unavailable
from gapless.model.leaf import Room
from gapless.model.network import PortId
from gapless.model.plan import Epoch, PlannedRouter, Revision, RouterState
from gapless.model.router import Gateway, Router, RouterId, RouterPort
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.announce import Announcer
from gapless.sentinel.beat.guard import Guard
from gapless.sentinel.beat.preparing import NUDGE_ETHERTYPE, ports_of
from gapless.wire.local import LocalLink
from gapless.wire.messages import AgentPlan, AgentReport, FromAgent, from_agent, to_agent

pytestmark = pytest.mark.isolated

SMALL = Room(ports=5, leaves=2)
"""Three ports for others than joints at the root, the uplink among them; four at each leaf."""
LEAF_A, LEAF_B = leaf_of(EXTERNAL.id, 1), leaf_of(EXTERNAL.id, 2)
STRANGER = "02:00:00:00:00:55"
NOISE, END = 0x88B5, 0x88B6
"""Ethertypes for experiments (IEEE 802)."""


def router(number: int) -> Router:
    """One with a gateway and nothing else."""
    port = RouterPort(
        id=PortId(f"e{number:07x}-0000-4000-8000-000000000001"),
        network=EXTERNAL,
        mac=f"fa:16:3e:0e:01:{number:02x}",
        addresses=(IPv4Interface(f"203.0.113.{100 + number}/24"),),
    )
    return Router(
        id=RouterId(f"{number:08x}-1111-4111-8111-111111111111"),
        name=f"r{number}",
        gateway=Gateway(port=port, next_hop=IPv4Address(OUTSIDE), snat=True),
    )


ROUTERS = [router(number) for number in range(8)]
AT_ROOT, ON_A, ON_B = ROUTERS[:2], ROUTERS[2:6], ROUTERS[6:]


def port_of(it: Router) -> RouterPort:
    assert it.gateway is not None
    return it.gateway.port


def tap(it: Router) -> str:
    return tap_name(port_of(it).id)


def address(it: Router) -> str:
    return str(port_of(it).addresses[0].ip)


def namespace(it: Router) -> str:
    return f"qrouter-{it.id}"


def bridge_of(it: Router) -> str | None:
    (found,) = ip_json(f"link show {tap(it)}")
    master: str | None = found.get("master")
    return master


def names() -> set[str]:
    return {link["ifname"] for link in ip_json("link")}


def tables() -> str:
    """The host's nftables tables of bridges."""
    command = ["nft", "list", "tables", "bridge"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout


def found_at(bridge: str, mac: str) -> str | None:
    """The port at which a bridge looks for an address."""
    entries = subprocess.run(["bridge", "fdb", "show", "br", bridge], capture_output=True, text=True, check=True)
    ports = [it.split()[2] for it in entries.stdout.splitlines() if it.startswith(mac) and " self" not in it]
    return ports[0] if ports else None


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def request(sender: str, source: str, target: str) -> bytes:
    """A broadcast ARP request."""
    fixed = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    words = packed(sender) + socket.inet_aton(source) + bytes(6) + socket.inet_aton(target)
    return b"\xff" * 6 + packed(sender) + b"\x08\x06" + fixed + words


def noise(sender: str, to: str = "ff:ff:ff:ff:ff:ff", ethertype: int = NOISE) -> bytes:
    return packed(to) + packed(sender) + struct.pack("!H", ethertype) + bytes(46)


class Street:
    """Somebody outside, and what comes out at routers' taps of what is sent from there."""

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self._sending = wires.at("outside", lambda: wires.packets("ext0"))
        self._taps: dict[str, Tapped] = {}

    def listen(self) -> None:
        for it in ROUTERS:
            self._taps[tap(it)] = self.wires.hear(tap(it))

    def send(self, frame: bytes) -> None:
        self._sending.send(frame)

    def seen(self, it: Router) -> list[bytes]:
        """What came to this router until now: a last frame, for it alone, tells when."""
        self.send(noise(STRANGER, port_of(it).mac, END))
        return self._taps[tap(it)].until(lambda frame: frame[12:14] == struct.pack("!H", END))

    def hearers(self, of: bytes) -> set[str]:
        """Whose taps a frame, just like that, came out at."""
        return {it.name for it in ROUTERS if of in self.seen(it)}


@pytest.fixture
def host(wires: Wires) -> Iterator[Reconciler]:
    """A host whose bridges have room for very few ports."""
    reconciler = Reconciler(wires.settings, room=SMALL)
    yield reconciler
    reconciler.close()


@pytest.fixture
def street(wires: Wires, host: Reconciler) -> Street:
    """Eight routers, on three bridges, each of which was heard outside."""
    for it in ROUTERS:
        host.reconcile(it)
    made = Street(wires)
    for it in ROUTERS:
        assert wires.reaches("outside", address(it))
    made.listen()
    return made


def test_every_router_talks_to_the_outside_and_to_every_other_bridge(street: Street, wires: Wires) -> None:
    assert [bridge_of(it) for it in ROUTERS] == [BRIDGE_OUT] * 2 + [LEAF_A.bridge] * 4 + [LEAF_B.bridge] * 2
    for it in ROUTERS:
        assert wires.reaches(namespace(it), OUTSIDE)
    for asking in (AT_ROOT[0], ON_A[0], ON_B[0]):
        for other in (AT_ROOT[1], ON_A[1], ON_B[1]):
            assert wires.reaches(namespace(asking), address(other))


def test_whole_frames_pass(street: Street, wires: Wires) -> None:
    for it in (AT_ROOT[0], ON_A[0]):
        assert wires.reaches("outside", address(it), "-s", "1472", "-M", "do")


def test_an_agent_that_begins_finds_everything_right_and_moves_nothing(street: Street, wires: Wires) -> None:
    before = [bridge_of(it) for it in ROUTERS]
    for room in (SMALL, ROOM, Room(ports=3, leaves=1)):
        another = Reconciler(wires.settings, room=room)
        assert [another.reconcile(it).what for it in reversed(ROUTERS)] == [""] * len(ROUTERS)
        another.close()
    assert [bridge_of(it) for it in ROUTERS] == before


def test_a_root_that_an_earlier_build_filled_stays_as_it_is(wires: Wires) -> None:
    earlier = Reconciler(wires.settings)
    for it in ROUTERS[:3]:
        earlier.reconcile(it)
    earlier.close()
    agent = Reconciler(wires.settings, room=SMALL)
    assert not agent.reconcile(ROUTERS[0]).changed
    agent.reconcile(ROUTERS[3])
    assert not any(agent.reconcile(it).changed for it in ROUTERS[:4])
    assert [bridge_of(it) for it in ROUTERS[:4]] == [BRIDGE_OUT] * 3 + [LEAF_A.bridge]
    agent.close()


@pytest.mark.parametrize("asked", [AT_ROOT[1], ON_A[1], ON_B[1]], ids=["root", "leaf a", "leaf b"])
def test_a_request_goes_to_the_router_that_it_asks_for_and_to_nobody_else(street: Street, asked: Router) -> None:
    frame = request(STRANGER, "203.0.113.55", address(asked))
    street.send(frame)
    assert street.hearers(frame) == {asked.name}


def test_other_broadcasts_reach_no_router(street: Street) -> None:
    for frame in (
        request(STRANGER, "203.0.113.55", "203.0.113.77"),
        request(STRANGER, "203.0.113.77", "203.0.113.77"),
        noise(STRANGER),
    ):
        street.send(frame)
        assert street.hearers(frame) == set()


def test_a_next_hop_that_announces_itself_is_heard_by_every_router(street: Street) -> None:
    frame = request(STRANGER, OUTSIDE, OUTSIDE)
    street.send(frame)
    assert street.hearers(frame) == {it.name for it in ROUTERS}


def test_the_next_machine_hears_what_a_router_on_a_leaf_announces(
    street: Street, wires: Wires, host: Reconciler
) -> None:
    outside = wires.tap("outside", "ext0")
    moved = replace(ON_B[0], gateway=replace_address(ON_B[0], "203.0.113.200/24"))
    host.reconcile(moved)
    outside.until(lambda frame: (said := arp(frame)) is not None and said[2] == said[3] == "203.0.113.200")
    assert wires.reaches("outside", "203.0.113.200")


def replace_address(it: Router, held: str) -> Gateway:
    assert it.gateway is not None
    return replace(it.gateway, port=replace(it.gateway.port, addresses=(IPv4Interface(held),)))


def test_the_guard_stands_at_taps_of_leaves_as_anywhere(street: Street, wires: Wires, host: Reconciler) -> None:
    guarded, classic = ON_A[0], ON_A[1]
    host.reconcile(guarded, guarded=True)
    with Guard() as guard:
        guard.install()
        assert not wires.reaches("outside", address(guarded))
        passed = wires.hear(LEAF_A.leaf_end)
        street.send(request(STRANGER, "203.0.113.55", address(guarded)))
        inside = wires.at(namespace(guarded), lambda: wires.packets(gateway_link(port_of(guarded).id)))
        inside.send(noise(port_of(guarded).mac))
        street.send(noise(STRANGER, port_of(classic).mac, END))
        frames = passed.until(lambda frame: frame[12:14] == struct.pack("!H", END))
        assert not [it for it in frames if it[6:12] == packed(port_of(guarded).mac)], "a standby says nothing"
        assert wires.reaches("outside", address(classic))
        guard.activate([tap(guarded)])
        guard.extend(clock.now() + 60.0)
        assert wires.reaches("outside", address(guarded))
        guard.withdraw()
        assert not wires.reaches("outside", address(guarded))


def test_a_takeover_teaches_the_leaf_and_the_root(street: Street, wires: Wires, host: Reconciler) -> None:
    taken = ON_A[0]
    mac = port_of(taken).mac
    host.reconcile(taken, guarded=True)
    announcer = Announcer()
    announcer.prepare(taken.id, ports_of(taken, {"external": "ext0"}))
    announcer.settle()
    assert announcer.is_ready(taken.id)
    with Guard() as guard:
        guard.install()
        guard.extend(clock.now() + 60.0)
        street.send(request(mac, address(taken), address(taken)))  # It is active on another host.
        wires.eventually(lambda: at(mac) == ("ext0", LEAF_A.leaf_end))
        announcer.burst([taken.id], lambda: True)
        assert at(mac) == ("ext0", LEAF_A.leaf_end), "a standby's frames teach nothing"
        guard.activate([tap(taken)])
        neighbour, root = wires.hear(tap(ON_A[1])), wires.hear(tap(AT_ROOT[0]))
        burst = announcer.burst([taken.id], lambda: True)
        assert (burst.lost, burst.unready) == (0, [])
        wires.eventually(lambda: at(mac) == (LEAF_A.root_end, tap(taken)))
        for heard, it in ((neighbour, ON_A[1]), (root, AT_ROOT[0])):
            street.send(noise(STRANGER, port_of(it).mac, END))
            frames = heard.until(lambda frame: frame[12:14] == struct.pack("!H", END))
            assert not [each for each in frames if each[12:14] == struct.pack("!H", NUDGE_ETHERTYPE)]
        assert wires.reaches("outside", address(taken))
        guard.deactivate([tap(taken)])
        street.send(request(mac, address(taken), address(taken)))
        wires.eventually(lambda: at(mac) == ("ext0", LEAF_A.leaf_end))
    announcer.close()


def at(mac: str) -> tuple[str | None, str | None]:
    """Where the root and the first leaf look for an address."""
    return found_at(BRIDGE_OUT, mac), found_at(LEAF_A.bridge, mac)


DAMAGE = {
    "root's end deleted": f"link delete {LEAF_A.root_end}",
    "leaf's end deleted": f"link delete {LEAF_A.leaf_end}",
    "root's end down": f"link set {LEAF_A.root_end} down",
    "leaf's end down": f"link set {LEAF_A.leaf_end} down",
    "root's end unplugged": f"link set {LEAF_A.root_end} nomaster",
    "leaf's end unplugged": f"link set {LEAF_A.leaf_end} nomaster",
    "leaf down": f"link set {LEAF_A.bridge} down",
    "joint too narrow": f"link set {LEAF_A.root_end} mtu 1000",
}


@pytest.mark.parametrize("damage", list(DAMAGE.values()), ids=list(DAMAGE))
async def test_a_joint_that_breaks_is_heard_of_and_mended_by_any_router_of_the_network(
    street: Street, wires: Wires, host: Reconciler, damage: str
) -> None:
    watcher = DriftWatcher(RouterEvents())
    ip(damage)
    hint = await anext(aiter(watcher))
    assert (hint.router_id, hint.network_id) == (None, EXTERNAL.id)
    watcher.close()
    assert host.reconcile(AT_ROOT[0]).changed
    assert not host.reconcile(AT_ROOT[0]).changed
    assert not host.reconcile(ON_A[0]).changed
    assert wires.reaches("outside", address(ON_A[0]), "-s", "1472", "-M", "do")
    frame = request(STRANGER, "203.0.113.55", address(ON_A[1]))
    street.send(frame)
    assert street.hearers(frame) == {ON_A[1].name}


@pytest.mark.parametrize("end", [LEAF_A.root_end, LEAF_A.leaf_end])
def test_without_its_static_addresses_a_joint_still_carries_everything(
    street: Street, wires: Wires, host: Reconciler, end: str
) -> None:
    other = LEAF_A.leaf_end_mac if end == LEAF_A.root_end else LEAF_A.root_end_mac
    subprocess.run(["bridge", "fdb", "del", other, "dev", end, "master", "static"], check=True, timeout=10)
    assert wires.reaches("outside", address(ON_A[0]))
    assert host.reconcile(ON_B[0]).what == f"AttachJoint {end}"


def test_a_leaf_that_is_deleted_comes_back_with_its_routers(street: Street, wires: Wires, host: Reconciler) -> None:
    ip(f"link delete {LEAF_A.bridge}")
    for it in ON_A:
        assert host.reconcile(it).changed
    assert [bridge_of(it) for it in ON_A] == [LEAF_A.bridge] * 4
    for it in ON_A:
        assert wires.reaches("outside", address(it))


@pytest.mark.parametrize("first", [AT_ROOT[0], ON_A[0], ON_B[0]], ids=["root", "leaf a", "leaf b"])
def test_a_root_that_is_deleted_comes_back_and_an_agent_that_begins_moves_no_router(
    street: Street, wires: Wires, first: Router
) -> None:
    before = [bridge_of(it) for it in ROUTERS]
    ip(f"link delete {BRIDGE_OUT}")
    another = Reconciler(wires.settings, room=SMALL)
    for it in (first, *ROUTERS):
        another.reconcile(it)
    another.close()
    assert [bridge_of(it) for it in ROUTERS] == before
    for it in ROUTERS:
        assert wires.reaches("outside", address(it))


def test_a_tap_that_is_lost_comes_back_where_it_was(street: Street, wires: Wires, host: Reconciler) -> None:
    host.remove(AT_ROOT[0].id)
    ip(f"link delete {tap(ON_B[0])}")
    host.reconcile(ON_B[0])
    assert bridge_of(ON_B[0]) == LEAF_B.bridge
    assert wires.reaches("outside", address(ON_B[0]))


def test_a_leaf_that_cannot_be_mended_is_the_business_of_its_own_routers(street: Street, host: Reconciler) -> None:
    ip(f"link delete {LEAF_B.bridge}")
    ip(f"link add {LEAF_B.bridge} type bridge")
    assert not host.reconcile(AT_ROOT[0]).changed
    assert not host.reconcile(ON_A[0]).changed
    with pytest.raises(Unavailable, match=f"{LEAF_B.bridge} exists on this host and was not made by Gapless"):
        host.reconcile(ON_B[0])
    ip(f"link delete {LEAF_B.bridge}")
    host.reconcile(ON_B[0])


def test_a_leaf_is_made_where_all_its_names_are_free(wires: Wires, host: Reconciler) -> None:
    ip(f"link add {LEAF_A.leaf_end} type bridge")
    for it in ROUTERS[:3]:
        host.reconcile(it)
    assert bridge_of(ROUTERS[2]) == LEAF_B.bridge
    assert wires.reaches("outside", address(ROUTERS[2]))


def test_more_than_all_bridges_have_room_for_is_refused_until_there_is_room(wires: Wires) -> None:
    agent = Reconciler(wires.settings, room=Room(ports=3, leaves=1))
    for it in ROUTERS[:3]:
        agent.reconcile(it)
    with pytest.raises(Unavailable, match="the network has no room left on this host"):
        agent.reconcile(ROUTERS[3])
    agent.remove(ROUTERS[1].id)
    agent.reconcile(ROUTERS[3])
    assert bridge_of(ROUTERS[3]) == LEAF_A.bridge
    assert wires.reaches("outside", address(ROUTERS[3]))
    agent.close()


def test_a_port_that_went_leaves_its_room_to_the_next_one_and_no_leaf_is_made(host: Reconciler) -> None:
    for it in ROUTERS[:2]:
        host.reconcile(it)
    for gone, come in zip(ROUTERS[:4], ROUTERS[2:6], strict=True):
        host.remove(gone.id)
        host.reconcile(come)
        assert bridge_of(come) == BRIDGE_OUT


def test_leaves_go_with_their_last_port_and_nothing_is_left(wires: Wires, host: Reconciler) -> None:
    before = names()
    for it in ROUTERS:
        host.reconcile(it)
    host.sweep([EXTERNAL])
    assert {LEAF_A.bridge, LEAF_A.root_end, LEAF_A.leaf_end, LEAF_B.bridge} <= names()
    assert host.remove_together([it.id for it in ON_A]) == {}
    assert not host.sweep([EXTERNAL])
    assert not {LEAF_A.bridge, LEAF_A.root_end, LEAF_A.leaf_end} & names()
    assert not any(host.reconcile(it).changed for it in (*AT_ROOT, *ON_B))
    for it in (*AT_ROOT, *ON_B):
        assert wires.reaches("outside", address(it))
    host.remove_together([it.id for it in (*AT_ROOT, *ON_B)])
    while host.sweep([]):
        pass
    assert names() == before


def test_a_leaf_that_somebody_else_uses_too_stays_with_its_root(host: Reconciler) -> None:
    for it in ROUTERS[:3]:
        host.reconcile(it)
    ip("link add theirs0 type veth peer name theirs1")
    ip(f"link set theirs0 master {LEAF_A.bridge}")
    host.remove_together([it.id for it in ROUTERS[:3]])
    host.sweep([])
    assert {LEAF_A.bridge, LEAF_A.root_end, BRIDGE_OUT} <= names()
    ip("link delete theirs0")
    host.sweep([])
    assert not {LEAF_A.bridge, LEAF_A.root_end, BRIDGE_OUT} & names()


def test_leaves_of_an_operators_bridge_leave_it_as_it_was(wires: Wires) -> None:
    ip("link add br-ex type bridge mcast_snooping 1")
    ip("link set br-ex up")
    ip("link set ext0 master br-ex up")
    agent = Reconciler(wires.with_physical({"external": "br-ex"}), room=SMALL)
    before = names()
    for it in ROUTERS[:4]:
        agent.reconcile(it)
    assert [bridge_of(it) for it in ROUTERS[:4]] == ["br-ex"] * 2 + [LEAF_A.bridge] * 2
    for it in ROUTERS[:4]:
        assert wires.reaches("outside", address(it))
    agent._ports.clear()
    assert not any(agent.reconcile(it).changed for it in ROUTERS[:4]), "a joint is no way out"
    agent.remove_together([it.id for it in ROUTERS[:4]])
    agent.sweep([])
    assert names() == before
    agent.close()


def test_tenant_networks_have_leaves_too(wires: Wires, host: Reconciler) -> None:
    inside = [
        replace(
            it,
            gateway=None,
            ports=(replace(port_of(it), network=TENANT_A, addresses=(IPv4Interface(f"10.0.0.{10 + place}/24"),)),),
        )
        for place, it in enumerate(ROUTERS)
    ]
    for it in inside:
        host.reconcile(it)
    leaf = leaf_of(TENANT_A.id, 1).bridge
    masters = [ip_json(f"link show {tap(it)}")[0]["master"] for it in ROUTERS[:3]]
    assert masters == [bridge_name(TENANT_A.id)] * 2 + [leaf]
    for place, _ in enumerate(inside):
        assert wires.reaches("vm1", f"10.0.0.{10 + place}")


async def test_an_agent_builds_several_at_once_mends_a_joint_and_leaves_nothing(wires: Wires) -> None:
    """Its audits are an hour away: what is mended is mended because the kernel told of it."""
    before = names()
    ours, its = socket.socketpair()
    events, link = RouterEvents(), await LocalLink.over(ours, from_agent)
    driver = Driver(
        await LocalLink.over(its, to_agent),
        lambda: Reconciler(wires.settings, events, SMALL),
        lambda: DriftWatcher(events, uplinks=["ext0"]),
        Rhythm(workers=4, listing_interval_s=3600, audit_period_s=3600),
    )
    running = asyncio.create_task(driver.run())
    await plan(link, ROUTERS, Revision(1))
    await reported(link, RouterState.ACTIVE)
    assert Counter(map(bridge_of, ROUTERS)) == {BRIDGE_OUT: 2, LEAF_A.bridge: 4, LEAF_B.bridge: 2}
    ip(f"link delete {LEAF_A.root_end}")
    await until(lambda: LEAF_A.root_end in names())
    for it in ROUTERS:
        await until(lambda it=it: wires.reaches("outside", address(it)))  # type: ignore[misc]
    await plan(link, [], Revision(2))
    await reported(link, RouterState.REMOVED)
    await until(lambda: names() == before and "gapless_arp" not in tables())
    await link.close()
    await running


async def plan(link: LocalLink[FromAgent], routers: list[Router], revision: Revision) -> None:
    planned = tuple(PlannedRouter(router=it, epoch=Epoch(1)) for it in routers)
    await link.send(AgentPlan(confirmed=True, revision=revision, routers=planned))


async def reported(link: LocalLink[FromAgent], state: RouterState) -> None:
    """Wait until the agent has said that of all routers."""
    missing = {it.id for it in ROUTERS}
    async with asyncio.timeout(20):
        while missing:
            word = await link.receive()
            assert word is not None, "the agent ended"
            if isinstance(word, AgentReport):
                missing -= {it.router_id for it in word.routers if it.state is state}


async def until(holds: Callable[[], bool]) -> None:
    """Look, beside the agent, until it holds."""
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(holds):
            pass


def test_the_kernels_own_limit(wires: Wires, tmp_path: Path) -> None:
    """As many ports as one bridge takes, and then some."""
    agent = Reconciler(wires.settings)
    agent.reconcile(ROUTERS[0])
    lines = []
    for number in range((ROOM.ports - ROOM.leaves - 2) // 2):
        lines.append(f"link add p{number} master {BRIDGE_OUT} type veth peer name q{number}")
        lines.append(f"link set q{number} master {BRIDGE_OUT}")
    batch = tmp_path / "ports"
    batch.write_text("\n".join(lines))
    ip(f"-batch {batch}")
    agent._places.doubt()
    for it in ROUTERS[1:4]:
        agent.reconcile(it)
    assert {bridge_of(it) for it in ROUTERS[1:4]} == {LEAF_A.bridge}
    for it in ROUTERS[:4]:
        assert wires.reaches("outside", address(it))
    agent.close()


def test_the_benchmark_in_short() -> None:
    """In namespaces of its own already."""
    program = Path(__file__).parents[3] / "bench" / "wide.py"
    command = [sys.executable, str(program), "--routers", "3"]
    inside = os.environ | {"GAPLESS_BENCH_INSIDE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=inside)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 answered; adopting changed 0; moved: False; left: []" in done.stdout
