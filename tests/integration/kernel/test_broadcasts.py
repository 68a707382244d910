"""Broadcasts on an external network, in the kernel: who sees them, with several routers on one bridge."""

import json
import socket
import struct
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
from kernel_fixtures import (
    BRIDGE_OUT,
    EXTERNAL,
    OUTSIDE,
    PORT_OUT,
    QG,
    TAP_OUT,
    Tapped,
    Wires,
    arp,
    forwards,
    ip,
    ip_json,
    router,
)

from gapless.agent.kernel import steeringtable
from gapless.agent.kernel.steering import FRESH_S, Steering
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.steering import steering_mac
from gapless.errors import Unavailable
from gapless.model.network import NetworkId, PortId
from gapless.model.router import Gateway, Router, RouterId, RouterPort
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.guard import Guard

pytestmark = pytest.mark.isolated

FLOATING = "203.0.113.20"
FIRST = router((FLOATING, "10.0.0.5"), ports=())
OTHER_PORT = RouterPort(
    id=PortId("e1000000-0000-4000-8000-000000000001"),
    network=EXTERNAL,
    mac="fa:16:3e:0e:00:02",
    addresses=(IPv4Interface("203.0.113.11/24"),),
)
SECOND = Router(
    id=RouterId("22222222-2222-4222-8222-222222222222"),
    name="second",
    gateway=Gateway(port=OTHER_PORT, next_hop=IPv4Address(OUTSIDE), snat=True),
)
TAP_SECOND, QG_SECOND = f"tap{OTHER_PORT.id[:11]}", f"qg-{OTHER_PORT.id[:11]}"
TABLE = "bridge gapless_arp"
NOISE = 0x88B5
"""The ethertype for experiments (IEEE 802)."""
END = 0x88B6
UDP_BROADCAST = (
    bytes.fromhex("020000000055") + b"\x08\x00"
    # IPv4, 46 bytes of UDP from 203.0.113.99 to 255.255.255.255
    + bytes.fromhex("4500002e000040004011") + bytes.fromhex("fe5b") + socket.inet_aton("203.0.113.99") + b"\xff" * 4
    + bytes.fromhex("00090009001a0000") + bytes(18)
)  # fmt: skip
NOWHERE = RouterPort(
    id=PortId("a9000000-0000-4000-8000-000000000001"),
    network=replace(EXTERNAL, id=NetworkId("e9999999-0000-4000-8000-000000000001"), physical_network="nowhere"),
    mac="fa:16:3e:0a:00:99",
    addresses=(IPv4Interface("192.0.2.1/24"),),
)
STRANGER = "02:00:00:00:00:55"


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def arp_frame(sender: str, address: str, target: str, to: str = "ff:ff:ff:ff:ff:ff", operation: int = 1) -> bytes:
    """An ARP packet in its frame."""
    fixed = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    words = packed(sender) + socket.inet_aton(address) + bytes(6) + socket.inet_aton(target)
    return packed(to) + packed(sender) + b"\x08\x06" + fixed + words


def broadcast(ethertype: int, sender: str = STRANGER) -> bytes:
    """A broadcast that is no ARP."""
    return b"\xff" * 6 + packed(sender) + struct.pack("!H", ethertype) + bytes(46)


class Street:
    """The external network: who is plugged into its bridge, and what each of them sees."""

    def __init__(self, wires: Wires, bridge: str) -> None:
        self.wires = wires
        self.bridge = bridge
        ip("netns add beside")
        ip("link add beside type veth peer name net0 netns beside")
        ip(f"link set beside master {bridge} up")
        ip("link set net0 up", inside="beside")
        ip("address add 203.0.113.50/24 dev net0", inside="beside")
        wires.eventually(lambda: forwards("beside"))
        self._watched: dict[str, Tapped] = {}

    def watch(self) -> None:
        """Listen from now on: at both routers' taps, at the port of another machine, and on the wire."""
        for name in (TAP_OUT, TAP_SECOND):
            self._watched[name] = self.wires.hear(name)
        self._watched["beside"] = self.wires.tap("beside", "net0")
        self._watched["outside"] = self.wires.tap("outside", "ext0")

    def seen(self, at: str) -> list[bytes]:
        """What was seen there until now. A last unicast to each of them, sent after everything else, tells when."""
        there = {TAP_OUT: PORT_OUT.mac, TAP_SECOND: OTHER_PORT.mac}
        target = there.get(at) or (ip_json("link show net0", inside="beside")[0]["address"] if at == "beside" else "")
        assert target, "nobody sends to the wire from the wire"
        last = packed(target) + packed(STRANGER) + struct.pack("!H", END) + bytes(46)
        self.send(last)
        return self._watched[at].until(lambda frame: frame[12:14] == last[12:14])[:-1]

    def send(self, frame: bytes, by: str = "outside", interface: str = "ext0") -> None:
        """A frame from outside, or from another namespace."""
        self.wires.at(by, lambda: self.wires.packets(interface)).send(frame)


@pytest.fixture
def street(wires: Wires, host: Reconciler) -> Street:
    """Two routers and another machine on one external network."""
    host.reconcile(FIRST)
    host.reconcile(SECOND)
    made = Street(wires, BRIDGE_OUT)
    made.watch()
    return made


def questions(frames: list[bytes], target: str) -> list[bytes]:
    """ARP requests for an address, but for those by which it is announced."""
    return [it for it in frames if (found := arp(it)) and found[0] == 1 and found[3] == target != found[2]]


def announcements(frames: list[bytes], address: str, mac: str) -> list[bytes]:
    """Gratuitous ARP that says that an address is at `mac`."""
    return [it for it in frames if (found := arp(it)) and found[1:] == (mac, address, address)]


def entries() -> dict[str, list[object]]:
    """What the steering table holds, by set."""
    shown = subprocess.run(["nft", "-j", "list", "table", *TABLE.split()], capture_output=True, check=False).stdout
    listed = json.loads(shown)["nftables"] if shown else []
    return {name: it[name] for each in listed for it in map(_set, each.values()) for name in it}


def _set(thing: dict[str, Any]) -> dict[str, list[object]]:
    """A set or map of a listing; nothing for anything else."""
    return {thing["name"]: thing.get("elem", [])} if "type" in thing and "hook" not in thing else {}


def host_nft(commands: str) -> None:
    """Run `nft` on the host, as an operator would."""
    subprocess.run(["nft", commands], check=True, capture_output=True, timeout=10)


def neighbour(namespace: str, device: str, address: str = OUTSIDE) -> str | None:
    """The MAC address that a namespace knows for an address."""
    known = ip_json(f"neighbour show {address} dev {device}", inside=namespace)
    return known[0].get("lladdr") if known else None


def learned(wires: Wires, address: str) -> str | None:
    """The MAC address that the outside learns when it asks for an address; a lost question is asked again."""
    wires.ping("outside", address)
    wires.eventually(lambda: neighbour("outside", "ext0", address) is not None)
    return neighbour("outside", "ext0", address)


@pytest.mark.parametrize("address", ["203.0.113.10", FLOATING])
def test_a_request_goes_to_the_router_that_it_asks_for_and_to_nobody_else(
    street: Street, wires: Wires, address: str
) -> None:
    assert learned(wires, address) == PORT_OUT.mac
    asked = questions(street.seen(TAP_OUT), address)
    assert asked
    assert all(it[:6] == b"\xff" * 6 for it in asked), "the router gets what was sent"
    assert not questions(street.seen(TAP_SECOND), address)
    assert not questions(street.seen("beside"), address)


def test_other_broadcasts_reach_every_port_but_routers_and_are_broadcasts_there(street: Street) -> None:
    street.send(broadcast(NOISE))
    street.send(arp_frame(STRANGER, "203.0.113.99", "203.0.113.98"))
    for at in (TAP_OUT, TAP_SECOND):
        frames = street.seen(at)
        assert not [it for it in frames if it[12:14] == struct.pack("!H", NOISE)]
        assert not questions(frames, "203.0.113.98")
    beside = street.seen("beside")
    assert [it[:6] for it in beside if it[12:14] == struct.pack("!H", NOISE)] == [b"\xff" * 6]
    assert [it[:6] for it in questions(beside, "203.0.113.98")] == [b"\xff" * 6]


def test_a_next_hop_that_announces_itself_is_heard_by_every_router(street: Street, wires: Wires) -> None:
    namespaces = {f"qrouter-{FIRST.id}": QG, f"qrouter-{SECOND.id}": QG_SECOND, "beside": "net0"}
    for name in namespaces:
        assert wires.reaches(name, OUTSIDE)
        assert neighbour(name, namespaces[name]) != STRANGER
    # Linux takes no second word about a neighbour within a second (locktime), but for gratuitous ARP.
    street.send(arp_frame(STRANGER, OUTSIDE, OUTSIDE))
    for at in (TAP_OUT, TAP_SECOND, "beside"):
        assert [it[:6] for it in announcements(street.seen(at), OUTSIDE, STRANGER)] == [b"\xff" * 6]
    for name, device in namespaces.items():
        wires.eventually(lambda name=name, device=device: neighbour(name, device) == STRANGER)


def test_what_a_router_on_another_host_announces_is_no_business_of_routers_here(street: Street) -> None:
    """A takeover elsewhere: the standby's own addresses, and those of a router that is not here at all."""
    for address, mac in ((FLOATING, PORT_OUT.mac), ("203.0.113.77", "fa:16:3e:0e:00:77")):
        street.send(arp_frame(mac, address, address))
        assert {it[:6] for it in announcements(street.seen("beside"), address, mac)} == {b"\xff" * 6}
        assert not announcements(street.seen(TAP_SECOND), address, mac)


def test_routers_and_machines_on_one_host_reach_each_other(street: Street, wires: Wires) -> None:
    assert wires.reaches(f"qrouter-{SECOND.id}", "203.0.113.10")
    assert wires.reaches("beside", "203.0.113.11")
    assert wires.reaches(f"qrouter-{FIRST.id}", "203.0.113.50")


def test_a_router_here_finds_one_that_is_active_elsewhere_and_stands_by_here(
    street: Street, wires: Wires, host: Reconciler
) -> None:
    """The request leaves by the uplink too: its router stands by at this host's tap, and says nothing there."""
    host.reconcile(FIRST, guarded=True)
    heard = wires.tap("outside", "ext0")
    asking = arp_frame(OTHER_PORT.mac, "203.0.113.11", "203.0.113.10")
    with Guard() as guard:
        guard.install()
        street.send(asking, by=f"qrouter-{SECOND.id}", interface=QG_SECOND)
        assert heard.until(lambda frame: bool(questions([frame], "203.0.113.10")))[-1] == asking


def test_a_standby_does_not_answer_and_the_active_one_does(street: Street, wires: Wires, host: Reconciler) -> None:
    host.reconcile(FIRST, guarded=True)
    with Guard() as guard:
        guard.install()
        guard.activate([TAP_OUT])
        assert not wires.reaches("outside", "203.0.113.10")
        assert neighbour("outside", "ext0", "203.0.113.10") is None
        guard.extend(clock.now() + 60.0)
        assert wires.reaches("outside", "203.0.113.10")
        assert neighbour("outside", "ext0", "203.0.113.10") == PORT_OUT.mac


def test_the_table_holds_what_routers_need_and_no_more(street: Street, host: Reconciler) -> None:
    both = entries()
    assert len(both["asked"]) == len(both["addresses"]) == 3
    assert both["next_hops"] == [{"concat": [OUTSIDE, OUTSIDE]}]
    assert sorted(both["inlets"]) == sorted(["ext0", TAP_OUT, TAP_SECOND])
    host.reconcile(replace(FIRST, floating_ips=()))
    assert sorted(entries()["addresses"]) == ["203.0.113.10", "203.0.113.11"]
    host.remove(FIRST.id)
    left = entries()
    assert left["addresses"] == ["203.0.113.11"]
    assert sorted(left["inlets"]) == sorted(["ext0", TAP_SECOND])
    assert len(left["next_hops"]) == len(left["asked"]) == len(left["steered"]) == 1
    host.remove(SECOND.id)
    assert not any(entries().values())
    host.sweep([])
    assert entries() == {}


def test_a_floating_ip_that_changes_routers_is_asked_of_the_new_one(
    street: Street, wires: Wires, host: Reconciler
) -> None:
    taking = replace(SECOND, floating_ips=FIRST.floating_ips)
    host.reconcile(taking)
    host.reconcile(replace(FIRST, floating_ips=()))
    assert len(entries()["asked"]) == 3
    assert learned(wires, FLOATING) == OTHER_PORT.mac


def test_a_router_that_gives_up_what_another_took_gives_it_back(host: Reconciler, street: Street) -> None:
    """The older plan of the one was carried out after the newer plan of the other."""
    host.reconcile(replace(SECOND, floating_ips=FIRST.floating_ips))
    host.reconcile(FIRST)
    host.reconcile(replace(FIRST, floating_ips=()))
    macs = {it[0]["concat"][1]: it[1] for it in entries()["asked"]}  # type: ignore[index]
    assert macs[FLOATING] == steering_mac(OTHER_PORT.mac)


UNDER_OUR_COMMENTS = "; ".join(
    (
        "flush chain bridge gapless_arp leaving",
        *(f'add rule bridge gapless_arp leaving accept comment "{comment}"' for _, comment in steeringtable._RESTORED),
    )
)


@pytest.mark.parametrize(
    "harm",
    [
        UNDER_OUR_COMMENTS,
        "delete table bridge gapless_arp",
        "flush chain bridge gapless_arp questions",
        "delete element bridge gapless_arp addresses { 203.0.113.10 }",
        "flush ruleset",
    ],
)
def test_harm_is_found_by_the_look_after_next_and_repaired(street: Street, wires: Wires, harm: str) -> None:
    clock = [0.0]
    agent = Reconciler(wires.settings)
    agent._steering.close()
    agent._steering = Steering(now=lambda: clock[0])
    agent.reconcile(FIRST)
    agent.reconcile(SECOND)
    before = entries()
    host_nft(harm)
    clock[0] += FRESH_S
    assert agent.reconcile(FIRST).changed
    agent.reconcile(SECOND)
    assert entries() == before
    assert not agent.reconcile(FIRST).changed
    agent.close()


@pytest.mark.parametrize(
    "harm",
    [
        "flush ruleset",
        'add element bridge gapless_arp inlets { "tapa1000000-00" }',
        "flush chain bridge gapless_arp arriving",
    ],
)
def test_a_change_is_made_to_the_table_as_it_is_by_then(wires: Wires, host: Reconciler, harm: str) -> None:
    """Somebody else changed it after it was looked at."""
    host.reconcile(FIRST)
    host_nft(harm)
    host.reconcile(SECOND)
    host.reconcile(replace(FIRST, floating_ips=()))
    assert sorted(map(str, entries()["addresses"])) == ["203.0.113.10", "203.0.113.11"]
    assert wires.reaches("outside", "203.0.113.10")
    assert wires.reaches("outside", "203.0.113.11")


def test_without_the_table_frames_are_flooded_as_on_any_bridge(street: Street, wires: Wires) -> None:
    host_nft(f"delete table {TABLE}")
    assert wires.reaches("outside", "203.0.113.10")
    assert wires.reaches("outside", "203.0.113.11")
    assert questions(street.seen(TAP_SECOND), "203.0.113.10")


def test_without_its_static_address_a_tap_is_still_reached(street: Street, wires: Wires, host: Reconciler) -> None:
    harm = f"fdb del {steering_mac(PORT_OUT.mac)} dev {TAP_OUT} master static"
    subprocess.run(["bridge", *harm.split()], check=True, timeout=10)
    assert wires.reaches("outside", "203.0.113.10")
    assert host.reconcile(FIRST).what == f"AttachSteering {TAP_OUT}"
    assert not host.reconcile(FIRST).changed


def test_an_older_builds_router_is_adopted_with_its_tap(street: Street, wires: Wires, host: Reconciler) -> None:
    ip(f"link set {TAP_OUT} type bridge_slave mcast_flood on")
    host_nft(f"delete table {TABLE}")
    another = Reconciler(wires.settings)
    assert another.reconcile(FIRST).what == f"Steer, AttachSteering {TAP_OUT}"
    another.reconcile(SECOND)
    street.send(broadcast(NOISE))
    assert not [it for it in street.seen(TAP_OUT) if it[12:14] == struct.pack("!H", NOISE)]
    another.close()


def test_the_next_agent_takes_out_what_the_last_one_left_once_it_knows_all_routers(
    street: Street, wires: Wires
) -> None:
    another = Reconciler(wires.settings)
    assert not another.reconcile(SECOND).changed
    with pytest.raises(Unavailable):
        another.reconcile(replace(FIRST, ports=(NOWHERE,)))
    another.sweep([EXTERNAL])
    assert len(entries()["asked"]) == 3, "it is not known what the first one needs"
    another.remove(FIRST.id)
    another.sweep([EXTERNAL])
    assert len(entries()["asked"]) == 1
    another.close()


def test_an_operators_bridge_is_left_as_it_is_and_serves_routers(wires: Wires) -> None:
    ip("link add br-ex type bridge mcast_snooping 1 mcast_querier 1")
    ip("link set br-ex up")
    ip("link set ext0 master br-ex up")
    agent = Reconciler(wires.with_physical({"external": "br-ex"}))
    agent.reconcile(FIRST)
    agent.reconcile(SECOND)
    street = Street(wires, "br-ex")
    street.watch()
    assert learned(wires, "203.0.113.10") == PORT_OUT.mac
    assert not questions(street.seen(TAP_SECOND), "203.0.113.10"), "ext0 was the only port that leads away"
    street.send(arp_frame(STRANGER, "203.0.113.99", "203.0.113.98"))
    assert not questions(street.seen(TAP_SECOND), "203.0.113.98")
    assert len(questions(street.seen("beside"), "203.0.113.98")) == 1
    street.send(b"\xff" * 6 + UDP_BROADCAST)
    assert [it[:6] for it in street.seen("beside") if it[14:] == UDP_BROADCAST[8:]] == [b"\xff" * 6]
    agent._networks.ports.doubt()
    agent.reconcile(FIRST)
    agent.reconcile(SECOND)
    assert entries()["asked"] == [], "there are two ways out now, and the router may be behind the other one"
    assert wires.reaches("beside", "203.0.113.10")
    assert learned(wires, FLOATING) == PORT_OUT.mac
    agent.close()


def test_networks_with_the_same_addresses_do_not_mix(wires: Wires) -> None:
    ip("netns add outside2")
    ip("link add ext1 type veth peer name ext0 netns outside2")
    ip(f"address add {OUTSIDE}/24 dev ext0", inside="outside2")
    ip("link set ext0 up", inside="outside2")
    other = replace(EXTERNAL, id=NetworkId("e2222222-0000-4000-8000-000000000001"), physical_network="second")
    port = replace(OTHER_PORT, network=other, addresses=PORT_OUT.addresses)
    agent = Reconciler(wires.with_physical({"external": "ext0", "second": "ext1"}))
    agent.reconcile(FIRST)
    agent.reconcile(replace(SECOND, gateway=Gateway(port=port, next_hop=IPv4Address(OUTSIDE), snat=True)))
    for name, mac in (("outside", PORT_OUT.mac), ("outside2", OTHER_PORT.mac)):
        assert wires.reaches(name, "203.0.113.10")
        assert neighbour(name, "ext0", "203.0.113.10") == mac
    agent.close()
