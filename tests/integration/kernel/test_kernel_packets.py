"""What a router does to packets: real ones, between real namespaces."""

import contextlib
import socket
import struct
import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from kernel_fixtures import (
    FLOATING_IP,
    GATEWAY_IP,
    NAMESPACE,
    OUTSIDE,
    PORT_OUT,
    QG,
    QR_A,
    ROUTER_ID,
    Wires,
    arp,
    has_udp,
    ip,
    ip_json,
    ipv4,
    router,
    tcp_flags,
)

from gapless.agent.reconcile import Reconciler
from gapless.model.router import Gateway, Route, RouterId
from gapless.sentinel import firstpacket

pytestmark = pytest.mark.isolated


def ask(asking: socket.socket, where: tuple[str, int], answering: socket.socket) -> tuple[str, int]:
    """A datagram and its answer; returns who the answering side saw."""
    asking.sendto(b"question", where)
    said, seen = answering.recvfrom(100)
    assert said == b"question"
    answering.sendto(b"answer", seen)
    assert asking.recv(100) == b"answer"
    return seen


def test_a_tenant_leaves_with_the_gateways_address_and_keeps_its_port(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    inside, outside = wires.udp("vm1", port=40001), wires.udp("outside", port=7000)
    assert ask(inside, (OUTSIDE, 7000), outside) == (GATEWAY_IP, 40001)


def test_tcp_passes_snat_in_both_directions(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    server, client = wires.tcp_server("outside", 8000), wires.tcp_client("vm2")
    client.connect((OUTSIDE, 8000))
    accepted, seen = wires.accept(server)
    assert seen == GATEWAY_IP
    accepted.sendall(b"x" * 200_000)
    received = 0
    while received < 200_000:
        received += len(client.recv(65536))


def test_a_floating_ip_stands_for_its_machine_in_both_directions(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    inside, outside = wires.udp("vm1", port=40001), wires.udp("outside", port=7000)
    assert ask(inside, (OUTSIDE, 7000), outside) == (FLOATING_IP, 40001)
    assert ask(outside, (FLOATING_IP, 40001), inside) == (OUTSIDE, 7000)
    neighbour = wires.udp("vm1b", port=40002)
    assert ask(neighbour, (OUTSIDE, 7000), outside) == (GATEWAY_IP, 40002)


def test_the_first_packet_that_a_router_forwards_is_counted_and_what_is_for_itself_is_not(
    wires: Wires, host: Reconciler
) -> None:
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    nobody = RouterId("nobody")
    before = firstpacket.read([nobody, ROUTER_ID])
    assert set(before) == {ROUTER_ID}, "nobody's namespace is not there"
    assert wires.reaches("outside", GATEWAY_IP)
    assert firstpacket.read([ROUTER_ID])[ROUTER_ID].packets == before[ROUTER_ID].packets
    inside, outside = wires.udp("vm1", port=40001), wires.udp("outside", port=7000)
    ask(outside, (FLOATING_IP, 40001), inside)
    after = firstpacket.read([ROUTER_ID])[ROUTER_ID]
    assert after.packets == before[ROUTER_ID].packets + 2
    assert before[ROUTER_ID].at < after.at <= time.monotonic()


def test_a_floating_ip_is_reached_from_inside(wires: Wires, host: Reconciler) -> None:
    """From its own subnet, another one, the machine itself and the router: answers must not take a short cut."""
    host.reconcile(router((FLOATING_IP, "10.0.0.5"), ("203.0.113.21", "10.1.0.5")))
    server = wires.udp("vm1", port=7000)
    assert ask(wires.udp("vm1b", port=40001), (FLOATING_IP, 7000), server) == (GATEWAY_IP, 40001)
    assert ask(wires.udp("vm2", port=40002), (FLOATING_IP, 7000), server) == ("203.0.113.21", 40002)
    assert ask(wires.udp("vm1", port=40003), (FLOATING_IP, 7000), server) == (FLOATING_IP, 40003)
    assert ask(wires.udp(NAMESPACE, port=40004), (FLOATING_IP, 7000), server) == (GATEWAY_IP, 40004)


def test_floating_ips_work_without_snat_and_others_leave_as_they_are(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router((FLOATING_IP, "10.0.0.5"), snat=False))
    ip(f"route add 10.0.0.0/8 via {GATEWAY_IP}", inside="outside")
    inside, outside = wires.udp("vm1", port=40001), wires.udp("outside", port=7000)
    assert ask(inside, (OUTSIDE, 7000), outside) == (FLOATING_IP, 40001)
    assert ask(wires.udp("vm2", port=40002), (OUTSIDE, 7000), outside) == ("10.1.0.5", 40002)
    assert ask(wires.udp("vm1b", port=40003), (FLOATING_IP, 40001), inside) == (GATEWAY_IP, 40003)


def test_tenant_networks_reach_each_other_untranslated(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    assert ask(wires.udp("vm1", port=40001), ("10.1.0.5", 7000), wires.udp("vm2", port=7000)) == ("10.0.0.5", 40001)


def test_extra_routes_are_followed(wires: Wires, host: Reconciler) -> None:
    ip("address add 192.168.50.1/32 dev lo", inside="vm1")
    route = Route(destination=IPv4Network("192.168.50.0/24"), next_hop=IPv4Address("10.0.0.5"))
    host.reconcile(router(routes=(route,)))
    assert wires.reaches("vm2", "192.168.50.1")
    host.reconcile(router())
    assert wires.ping("vm2", "192.168.50.1").returncode != 0


def test_several_next_hops_to_one_destination_share_its_flows(wires: Wires, host: Reconciler) -> None:
    """ECMP, also where one of the links was down for a while."""
    both = ("10.0.0.5", "10.1.0.5")
    routes = tuple(
        Route(destination=IPv4Network("192.168.50.0/24"), next_hop=IPv4Address(next_hop)) for next_hop in both
    )

    def gateways() -> list[str]:
        found = ip_json("route", "show", "192.168.50.0/24", inside=NAMESPACE)
        return sorted(hop["gateway"] for route in found for hop in route.get("nexthops", (route,)))

    host.reconcile(router(routes=routes))
    assert gateways() == sorted(both)
    assert not host.reconcile(router(routes=routes)).changed
    ip(f"link set {QR_A} down", inside=NAMESPACE)
    host.reconcile(router(routes=routes))
    assert gateways() == sorted(both)
    host.reconcile(router(routes=routes[:1]))
    assert gateways() == ["10.0.0.5"]
    host.reconcile(router(routes=routes))
    host.reconcile(router())
    assert gateways() == []


def test_the_largest_packet_of_a_tenant_network_passes_whole(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    assert wires.reaches("vm1", "10.1.0.5", "-M", "do", "-s", str(1450 - 28))
    assert wires.reaches("vm1", OUTSIDE, "-M", "do", "-s", str(1450 - 28))
    assert wires.reaches("outside", FLOATING_IP, "-M", "do", "-s", str(1450 - 28))


def test_a_sender_outside_hears_that_its_packet_is_too_large(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    # A lost ARP request is asked again after a second.
    said = wires.ping("outside", FLOATING_IP, "-W5", "-M", "do", "-s", str(1500 - 28)).stdout
    assert "Frag needed" in said
    assert "mtu = 1450" in said


@pytest.mark.parametrize(
    ("sender", "target"),
    [("outside", GATEWAY_IP), ("vm1", "10.0.0.1"), ("vm1", GATEWAY_IP), ("vm2", "10.0.0.1")],
)
def test_the_router_answers_echo_and_is_silent_otherwise(
    wires: Wires, host: Reconciler, sender: str, target: str
) -> None:
    """An RST would end the flows of a router that has just moved; a port unreachable would, too."""
    host.reconcile(router())
    assert wires.reaches(sender, target)
    heard = wires.tap(sender, "ext0" if sender == "outside" else "net0")
    client = wires.tcp_client(sender)
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.connect((target, 22))
    wires.udp(sender).sendto(b"anybody?", (target, 9))
    wires.udp(sender, port=40001).sendto(b"the end", (OUTSIDE if sender != "outside" else "203.0.113.99", 9))
    assert wires.reaches(sender, target)
    frames = heard.until(lambda it: (found := ipv4(it)) is not None and found[2] == 1 and found[3][0] == 0)
    answers = [found for found in map(ipv4, frames) if found is not None and found[0] == target]
    assert [(protocol, payload[0]) for _, _, protocol, payload in answers] == [(socket.IPPROTO_ICMP, 0)]


def test_segments_of_unknown_connections_get_no_reset(wires: Wires, host: Reconciler) -> None:
    """What arrives for a flow that the router knew on its former host."""
    host.reconcile(router())
    assert wires.reaches("outside", GATEWAY_IP)
    heard = wires.tap("outside", "ext0")
    raw = wires.at("outside", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
    raw.sendto(_segment(OUTSIDE, GATEWAY_IP, 8000, 40001, 0x18), (GATEWAY_IP, 0))
    assert wires.reaches("outside", GATEWAY_IP)
    frames = heard.until(lambda it: (found := ipv4(it)) is not None and found[2] == 1 and found[3][0] == 0)
    from_router = [frame for frame in frames if (found := ipv4(frame)) is not None and found[0] == GATEWAY_IP]
    assert all(tcp_flags(frame) is None for frame in from_router)


def test_a_flow_is_picked_up_in_its_middle(wires: Wires, host: Reconciler) -> None:
    """A connection survives its router being built anew: same translation, no reset. The inside speaks first."""
    host.reconcile(router())
    server, client = wires.tcp_server("outside", 8000), wires.tcp_client("vm1", port=40001)
    client.connect((OUTSIDE, 8000))
    accepted, _ = wires.accept(server)
    host.remove(router().id)
    host.reconcile(router())
    client.sendall(b"still here")
    assert accepted.recv(100) == b"still here"
    accepted.sendall(b"so am I")
    assert client.recv(100) == b"so am I"


def test_invalid_segments_do_not_leak_out(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    assert wires.reaches("vm1", OUTSIDE)
    heard = wires.tap("outside", "ext0")
    raw = wires.at("vm1", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
    raw.sendto(_segment("10.0.0.5", OUTSIDE, 40001, 8000, 0x03), (OUTSIDE, 0))  # SYN and FIN: no such thing
    wires.udp("vm1").sendto(b"the end", (OUTSIDE, 9))
    frames = heard.until(lambda it: has_udp(it, b"the end"))
    assert all(tcp_flags(frame) is None for frame in frames)


def test_a_floating_ip_without_a_way_to_its_machine_leaks_nothing(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router((FLOATING_IP, "10.9.9.9")))
    assert wires.reaches("outside", GATEWAY_IP)
    heard = wires.tap("outside", "ext0")
    wires.udp("outside").sendto(b"from outside", (FLOATING_IP, 9))
    wires.udp("vm1").sendto(b"from inside", (FLOATING_IP, 9))
    wires.udp("vm1").sendto(b"the end", (OUTSIDE, 9))
    frames = heard.until(lambda it: has_udp(it, b"the end"))
    out = [frame for frame in frames if (found := ipv4(frame)) is not None and found[1] == "10.9.9.9"]
    assert out == []
    assert not any(has_udp(frame, b"from inside") for frame in frames)


def test_the_outside_cannot_send_through_the_router_to_the_outside(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    ip(f"route add 198.51.100.0/24 via {GATEWAY_IP}", inside="outside")
    heard = wires.tap("outside", "ext0")
    wires.udp("outside").sendto(b"transit", ("198.51.100.1", 9))
    wires.udp("vm1").sendto(b"the end", (OUTSIDE, 9))
    frames = heard.until(lambda it: has_udp(it, b"the end"))
    sent_on = [frame for frame in frames if has_udp(frame, b"transit") and frame[6:12] == bytes.fromhex("fa163e0e0001")]
    assert sent_on == []


def test_a_floating_ip_that_goes_takes_its_flows_with_it(wires: Wires, host: Reconciler) -> None:
    """Else two machines would speak under one address once it is given to another router."""
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    inside, outside = wires.udp("vm1", port=40001), wires.udp("outside", port=7000)
    assert ask(inside, (OUTSIDE, 7000), outside) == (FLOATING_IP, 40001)
    host.reconcile(router())
    assert ask(inside, (OUTSIDE, 7000), outside) == (GATEWAY_IP, 40001)


def test_a_floating_ip_that_moves_to_another_machine_leaves_the_first_at_once(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    first, second, outside = (
        wires.udp("vm1", port=40001),
        wires.udp("vm1b", port=40001),
        wires.udp("outside", port=7000),
    )
    assert ask(outside, (FLOATING_IP, 40001), first) == (OUTSIDE, 7000)
    host.reconcile(router((FLOATING_IP, "10.0.0.6")))
    assert ask(outside, (FLOATING_IP, 40001), second) == (OUTSIDE, 7000)
    assert ask(first, (OUTSIDE, 7000), outside) == (GATEWAY_IP, 40001)


def test_a_router_that_is_administratively_down_forwards_nothing(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    host.reconcile(router(admin_up=False))
    assert wires.ping("vm1", "10.1.0.5").returncode != 0
    assert [link["ifname"] for link in ip_json("link", inside=NAMESPACE)] == ["lo"]
    assert host.reconcile(router(admin_up=False)).changed is False
    host.reconcile(router())
    assert wires.reaches("vm1", "10.1.0.5")


def test_every_address_is_announced_both_ways_and_again(wires: Wires, host: Reconciler) -> None:
    heard = wires.tap("outside", "ext0")
    seen: dict[tuple[int, str], int] = {}

    def count(frame: bytes) -> bool:
        found = arp(frame)
        if found is not None and found[2] == found[3]:
            assert found[1] == "fa:16:3e:0e:00:01"
            seen[found[0], found[2]] = seen.get((found[0], found[2]), 0) + 1
        return len(seen) == 4 and all(times >= 3 for times in seen.values())

    outcome = host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    assert outcome.announced
    heard.until(count)
    assert set(seen) == {(operation, address) for operation in (1, 2) for address in (GATEWAY_IP, FLOATING_IP)}


def test_tenant_addresses_are_announced_to_the_other_machines(wires: Wires, host: Reconciler) -> None:
    heard = wires.tap("vm1", "net0")
    host.reconcile(router())
    heard.until(lambda it: (found := arp(it)) is not None and found[2] == found[3] == "10.0.0.1")


def test_nothing_is_announced_for_a_router_that_was_removed(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    host.remove(router().id)
    heard = wires.tap("outside", "ext0")
    other_port = replace(PORT_OUT, mac="fa:16:3e:0e:00:02", addresses=(IPv4Interface("203.0.113.11/24"),))
    other_gateway = Gateway(port=other_port, next_hop=IPv4Address(OUTSIDE), snat=True)
    host.reconcile(replace(router(), id=RouterId("2" * 8), ports=(), gateway=other_gateway))
    times: dict[str, int] = {}

    def is_third_burst_of_the_other(frame: bytes) -> bool:
        found = arp(frame)
        if found is not None and found[0] == 2 and found[2] == found[3]:
            times[found[2]] = times.get(found[2], 0) + 1
        return times.get("203.0.113.11") == 3

    heard.until(is_third_burst_of_the_other)
    assert GATEWAY_IP not in times, "the repeat after 1 s was due before the other router's"


def test_links_are_named_and_sized_as_neutron_has_them(host: Reconciler) -> None:
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    found = {link["ifname"]: link for link in ip_json("address", inside=NAMESPACE)}
    assert found[QR_A]["mtu"] == 1450
    assert found[QG]["mtu"] == 1500
    assert found[QG]["address"] == "fa:16:3e:0e:00:01"
    held = {(it["local"], it["prefixlen"]) for it in found[QG]["addr_info"]}
    assert held == {(GATEWAY_IP, 24), (FLOATING_IP, 32)}
    (default,) = [route for route in ip_json("route", inside=NAMESPACE) if route["dst"] == "default"]
    assert (default["gateway"], default["dev"]) == (OUTSIDE, QG)


def _segment(source: str, destination: str, source_port: int, port: int, flags: int) -> bytes:
    """A TCP segment with a right checksum."""
    head = struct.pack("!HHIIBBHHH", source_port, port, 1000, 2000, 5 << 4, flags, 512, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, 6, len(head))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(head)) // 2}H", pseudo + head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head[:16] + struct.pack("!H", ~total & 0xFFFF) + head[18:]
