"""From any starting state: adopted, repaired, finished; foreign things left alone."""

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from kernel_fixtures import (
    BRIDGE_A,
    FLOATING_IP,
    GATEWAY_IP,
    NAMESPACE,
    OUTSIDE,
    PORT_A,
    PORT_OUT,
    QG,
    QR_A,
    ROUTER_ID,
    TAP_A,
    TAP_OUT,
    Wires,
    ip,
    ip_json,
    nft,
    router,
)

from gapless.agent.kernel import netns, ruleset
from gapless.agent.kernel.apply import RouterHands
from gapless.agent.kernel.observe import observe_router
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import SETTINGS, tap_name
from gapless.core.dataplane.diff import diff
from gapless.errors import Unavailable
from gapless.kernel.netlink import Netlink
from gapless.model.network import PortId
from gapless.model.observed import KernelRouter
from gapless.model.operation import Announce, Operation
from gapless.model.router import Gateway, Route, Router, RouterId

pytestmark = pytest.mark.isolated

WHOLE = router((FLOATING_IP, "10.0.0.5"))


def works(wires: Wires) -> bool:
    """Both directions through NAT, and between tenant networks."""
    return (
        wires.reaches("vm1", OUTSIDE)
        and wires.reaches("vm2", OUTSIDE)
        and wires.reaches("outside", FLOATING_IP)
        and wires.reaches("vm2", "10.0.0.5")
    )


def sysctl(key: str, value: str) -> None:
    command = ["ip", "netns", "exec", NAMESPACE, "sysctl", "-q", "-w", f"net.{key}={value}"]
    subprocess.run(command, check=True, timeout=10)


DAMAGES: dict[str, Callable[[], object]] = {
    "link inside down": lambda: ip(f"link set {QG} down", inside=NAMESPACE),
    "link inside deleted": lambda: ip(f"link delete {QR_A}", inside=NAMESPACE),
    "link inside renamed": lambda: (
        ip(f"link set {QR_A} down", inside=NAMESPACE),
        ip(f"link set {QR_A} name mine", inside=NAMESPACE),
    ),
    "tap down": lambda: ip(f"link set {TAP_OUT} down"),
    "tap unplugged": lambda: ip(f"link set {TAP_A} nomaster"),
    "tap in the wrong network": lambda: ip(f"link set {TAP_OUT} master {BRIDGE_A}"),
    "tap deleted": lambda: ip(f"link delete {TAP_A}"),
    "address removed": lambda: ip(f"address delete {GATEWAY_IP}/24 dev {QG}", inside=NAMESPACE),
    "floating address removed": lambda: ip(f"address delete {FLOATING_IP}/32 dev {QG}", inside=NAMESPACE),
    "address added": lambda: ip(f"address add 203.0.113.66/24 dev {QG}", inside=NAMESPACE),
    "addresses flushed": lambda: ip(f"address flush dev {QR_A}", inside=NAMESPACE),
    "default route removed": lambda: ip("route delete default", inside=NAMESPACE),
    "default route replaced": lambda: ip("route replace default via 203.0.113.77", inside=NAMESPACE),
    "connected route removed": lambda: ip("route delete 10.0.0.0/24", inside=NAMESPACE),
    "connected route replaced": lambda: ip(f"route replace 10.0.0.0/24 via 10.0.0.77 dev {QR_A}", inside=NAMESPACE),
    "connected route on another link": lambda: ip(f"route replace 10.0.0.0/24 dev {QG}", inside=NAMESPACE),
    "connected route turned into a black hole": lambda: ip("route replace blackhole 10.0.0.0/24", inside=NAMESPACE),
    "all routes removed": lambda: ip("route flush table main", inside=NAMESPACE),
    "address without its route": lambda: (
        ip(f"address delete 10.0.0.1/24 dev {QR_A}", inside=NAMESPACE),
        ip(f"address add 10.0.0.1/24 dev {QR_A} noprefixroute", inside=NAMESPACE),
    ),
    "MTU": lambda: ip(f"link set {QR_A} mtu 1000", inside=NAMESPACE),
    "tap MTU": lambda: ip(f"link set {TAP_A} mtu 1000"),
    "MAC": lambda: ip(f"link set {QR_A} address 02:00:00:00:00:09", inside=NAMESPACE),
    "rules flushed": lambda: nft("flush ruleset"),
    "table dormant": lambda: nft("add table ip gapless { flags dormant; }"),
    "rule deleted": lambda: nft(f"delete rule ip gapless postrouting handle {handle('postrouting', -1)}"),
    "rule added": lambda: nft("insert rule ip gapless forward drop"),
    "rule replaced": lambda: nft(f"replace rule ip gapless forward handle {handle('forward', 0)} drop"),
    "rule replaced under its own comment": lambda: replace_under_its_comment("forward", 0, "accept"),
    "address translated to altered under its comment": lambda: replace_under_its_comment(
        "postrouting", -1, f'oifname "{QG}" snat to 203.0.113.77'
    ),
    "routing rules flushed": lambda: ip("rule flush", inside=NAMESPACE),
    "routing rule replaced": lambda: (
        ip("rule delete pref 32766", inside=NAMESPACE),
        ip(f"rule add pref 32766 iif {QR_A} lookup main", inside=NAMESPACE),
    ),
    "policy changed": lambda: nft("chain ip gapless forward { policy drop; }"),
    "map element deleted": lambda: nft(f"delete element ip gapless floating_to_fixed {{ {FLOATING_IP} }}"),
    "map element of one direction deleted": lambda: nft("delete element ip gapless fixed_to_floating { 10.0.0.5 }"),
    "map element with a comment": lambda: nft(
        'add element ip gapless floating_to_fixed { 203.0.113.66 comment "typed by hand" : 10.0.0.6 }'
    ),
    "map element with a comment in place of ours": lambda: (
        nft(f"delete element ip gapless floating_to_fixed {{ {FLOATING_IP} }}"),
        nft(f'add element ip gapless floating_to_fixed {{ {FLOATING_IP} comment "by hand" : 10.0.0.5 }}'),
    ),
    "map of another kind": lambda: nft(
        "add map ip gapless theirs { type inet_service : verdict; elements = { 22 : drop } }"
    ),
    "chain without a policy": lambda: nft("add chain ip gapless theirs { type filter hook input priority 5; }"),
    "forwarding off": lambda: sysctl("ipv4.ip_forward", "0"),
    "forwarding off on a link": lambda: sysctl(f"ipv4.conf.{QR_A}.forwarding", "0"),
    "bridge down": lambda: ip(f"link set {BRIDGE_A} down"),
    "bridge deleted": lambda: ip(f"link delete {BRIDGE_A}"),
    "VXLAN device deleted": lambda: ip("link delete vxlan-100"),
    "VXLAN device unplugged": lambda: ip("link set vxlan-100 nomaster"),
    "uplink taken out": lambda: ip("link set ext0 nomaster"),
    "name deleted": lambda: ip(f"netns delete {NAMESPACE}"),
}


def handle(chain: str, position: int) -> str:
    """The handle of a chain's rule, as an operator finds it."""
    command = ["ip", "netns", "exec", NAMESPACE, "nft", "-a", "list", "chain", "ip", "gapless", chain]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()
    return [line for line in lines if "handle" in line and "chain" not in line][position].split()[-1]


def replace_under_its_comment(chain: str, position: int, rule: str) -> None:
    """Another rule in the place of one, with the same comment."""
    shown = nft(f"list chain ip gapless {chain}").splitlines()
    comment = [line for line in shown if "comment" in line][position].partition("comment ")[2]
    nft(f"replace rule ip gapless {chain} handle {handle(chain, position)} {rule} comment {comment}")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_repaired(wires: Wires, host: Reconciler, damage: str) -> None:
    host.reconcile(WHOLE)
    DAMAGES[damage]()
    host.reconcile(WHOLE)
    assert works(wires)
    assert not host.reconcile(WHOLE).changed


def test_a_connected_route_is_put_back_as_the_kernel_made_it(host: Reconciler) -> None:
    host.reconcile(WHOLE)
    before = ip_json("route show 10.0.0.0/24", inside=NAMESPACE)
    ip("route delete 10.0.0.0/24", inside=NAMESPACE)
    outcome = host.reconcile(WHOLE)
    assert outcome.what == f"RestoreConnected {QR_A}"
    assert ip_json("route show 10.0.0.0/24", inside=NAMESPACE) == before
    ip(f"address delete 10.0.0.1/24 dev {QR_A}", inside=NAMESPACE)
    assert ip_json("route show 10.0.0.0/24", inside=NAMESPACE) == [], "it goes with its address"


@pytest.mark.parametrize("next_hop", ["10.0.0.5", "10.1.0.5", OUTSIDE])
def test_an_extra_route_to_a_connected_subnet_never_takes_its_place(
    wires: Wires, host: Reconciler, next_hop: str
) -> None:
    route = Route(destination=IPv4Network("10.0.0.0/24"), next_hop=IPv4Address(next_hop))
    host.reconcile(replace(WHOLE, routes=(route,)))
    assert works(wires)
    assert not host.reconcile(replace(WHOLE, routes=(route,))).changed


def test_several_next_hops_of_one_destination_build_the_same_router_in_any_order(host: Reconciler) -> None:
    destination = IPv4Network("192.168.77.0/24")
    routes = [Route(destination=destination, next_hop=IPv4Address(it)) for it in ("10.0.0.6", "10.1.0.5", "10.0.0.5")]
    host.reconcile(replace(WHOLE, routes=tuple(routes)))
    (shown,) = ip_json(f"route show {destination}", inside=NAMESPACE)
    assert [hop["gateway"] for hop in shown["nexthops"]] == ["10.0.0.5", "10.0.0.6", "10.1.0.5"]
    assert not host.reconcile(replace(WHOLE, routes=(*reversed(routes), routes[0]))).changed


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("VXLAN device deleted", "CreateVxlan vxlan-100"),
        ("VXLAN device unplugged", "Plug vxlan-100"),
        ("uplink taken out", "Plug ext0"),
        ("bridge down", f"RaiseHostLink {BRIDGE_A}"),
    ],
)
def test_a_repair_of_a_shared_network_is_told(host: Reconciler, damage: str, what: str) -> None:
    host.reconcile(WHOLE)
    DAMAGES[damage]()
    outcome = host.reconcile(WHOLE)
    assert outcome.changed
    assert what in outcome.what.split(", ")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("rule replaced under its own comment", "LoadRules forward, ForgetUnansweredFlows"),
        ("policy changed", "LoadRules forward, ForgetUnansweredFlows"),
        ("routing rules flushed", "RestoreRoutingRules 32766 32767"),
    ],
)
def test_a_repair_of_rules_says_what_was_altered_also_by_an_agent_that_adopts(
    wires: Wires, host: Reconciler, damage: str, what: str
) -> None:
    """An agent that begins has seen nothing but the altered rules, and takes no word of theirs for it."""
    host.reconcile(WHOLE)
    DAMAGES[damage]()
    another = Reconciler(wires.settings)
    assert another.reconcile(WHOLE).what == what
    assert not another.reconcile(WHOLE).changed
    another.close()
    assert not host.reconcile(WHOLE).changed


def test_a_routing_rule_of_somebody_else_stays(host: Reconciler) -> None:
    host.reconcile(WHOLE)
    ip("rule add pref 100 from 10.0.0.77 lookup 100", inside=NAMESPACE)
    before = ip("rule", inside=NAMESPACE)
    assert not host.reconcile(WHOLE).changed
    ip("rule delete pref 32766", inside=NAMESPACE)
    assert host.reconcile(WHOLE).changed
    assert ip("rule", inside=NAMESPACE) == before


def test_routers_of_every_kind_are_listed_as_their_stand_ins_say_and_traffic_alters_nothing(
    wires: Wires, host: Reconciler
) -> None:
    assert WHOLE.gateway is not None
    bare = replace(WHOLE.gateway, port=replace(PORT_OUT, addresses=()), next_hop=None)
    for kind in (
        replace(WHOLE, admin_up=False),
        replace(WHOLE, gateway=None, floating_ips=()),
        replace(WHOLE, gateway=bare, floating_ips=()),
        router((FLOATING_IP, "10.0.0.5"), snat=False),
        WHOLE,
    ):
        host.reconcile(kind)
        with Netlink() as netlink:
            desired, _ = host._desired(netlink, kind, guarded=False)
            with RouterHands(netlink, netns.path_of(ROUTER_ID), ROUTER_ID, _close, host._steer, lambda: None) as hands:
                observed = observe_router(netlink, hands.inside, desired)
        assert desired.ruleset is not None
        assert observed.ruleset is not None
        assert desired.ruleset.listed == observed.ruleset.listed != {}
    assert works(wires)
    another = Reconciler(wires.settings)
    assert not another.reconcile(WHOLE).changed
    another.close()


def test_a_flow_that_began_while_rules_were_broken_is_translated_after_the_repair(
    wires: Wires, host: Reconciler
) -> None:
    """It would keep the lack of a translation of its first packet for as long as it sends."""
    host.reconcile(WHOLE)
    nft(f"delete rule ip gapless postrouting handle {handle('postrouting', -1)}")
    asking, answering = wires.udp("vm2", port=40001), wires.udp("outside", port=7000)
    asking.sendto(b"untranslated", (OUTSIDE, 7000))
    assert answering.recvfrom(100) == (b"untranslated", ("10.1.0.5", 40001))
    host.reconcile(WHOLE)
    asking.sendto(b"translated", (OUTSIDE, 7000))
    assert answering.recvfrom(100) == (b"translated", (GATEWAY_IP, 40001))


def test_routers_are_built_side_by_side(wires: Wires, host: Reconciler) -> None:
    """On one external network, by several threads at once, its bridge not there yet."""
    routers = [numbered(number) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert all(outcome.changed and outcome.announced for outcome in pool.map(host.reconcile, routers))
        assert not any(outcome.changed for outcome in pool.map(host.reconcile, routers))
        assert all(wires.reaches("outside", f"203.0.113.{100 + number}") for number in range(12))
        assert host.running() == {it.id for it in routers}
        list(pool.map(host.remove, [it.id for it in routers]))
    assert host.running() == frozenset()


def numbered(number: int) -> Router:
    """One of many routers: a gateway on the shared external network and a tenant port."""
    outside = replace(
        PORT_OUT,
        id=PortId(f"e{number:07x}-0000-4000-8000-000000000002"),
        mac=f"fa:16:3e:0e:01:{number:02x}",
        addresses=(IPv4Interface(f"203.0.113.{100 + number}/24"),),
    )
    inside = replace(
        PORT_A,
        id=PortId(f"a{number:07x}-0000-4000-8000-000000000002"),
        mac=f"fa:16:3e:0a:01:{number:02x}",
        addresses=(IPv4Interface(f"10.0.0.{100 + number}/24"),),
    )
    return router(
        id=RouterId(f"{number:08x}-2222-4222-8222-222222222222"),
        ports=(inside,),
        gateway=Gateway(port=outside, next_hop=IPv4Address(OUTSIDE), snat=True),
    )


def test_what_cannot_be_brought_about_is_told(host: Reconciler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody changes the rules as fast as we load them: no success is claimed that was not seen."""
    host.reconcile(WHOLE)
    load = ruleset.load

    def load_and_lose(*arguments: Any, **options: Any) -> None:
        load(*arguments, **options)
        nft("flush chain ip gapless forward")

    monkeypatch.setattr(ruleset, "load", load_and_lose)
    nft("flush ruleset")
    with pytest.raises(Unavailable, match="not as it should be after building: LoadRules"):
        host.reconcile(WHOLE)


def test_a_setting_that_the_kernel_did_not_take_is_told(host: Reconciler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Success is claimed for what was read back, not for what was written."""
    host.reconcile(WHOLE)
    sysctl("ipv4.ip_forward", "0")
    monkeypatch.setattr(netns, "write_settings", lambda settings: None)
    with pytest.raises(Unavailable, match="not as it should be after building: ChangeSettings"):
        host.reconcile(WHOLE)
    monkeypatch.undo()
    assert host.reconcile(WHOLE).changed
    assert not host.reconcile(WHOLE).changed


def test_a_name_that_is_no_network_namespace_hides_no_router(
    wires: Wires, host: Reconciler, capsys: pytest.CaptureFixture[str]
) -> None:
    host.reconcile(WHOLE)
    odd = Path("/run/netns/qrouter-odd")
    odd.touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/uts", odd], check=True, timeout=10)
    for _ in range(3):
        assert host.running() == {ROUTER_ID}
    said = capsys.readouterr()
    assert (said.out + said.err).count("a namespace is left alone") == 1
    with pytest.raises(Unavailable, match="enter namespace qrouter-odd"):
        host.remove(RouterId("odd"))
    assert host.running() == {ROUTER_ID}
    assert works(wires)


def test_an_operation_that_the_kernel_refuses_is_told_and_the_next_call_finishes(
    wires: Wires, host: Reconciler
) -> None:
    impossible = Route(destination=IPv4Network("192.168.50.0/24"), next_hop=IPv4Address("10.0.0.255"))
    with pytest.raises(Unavailable, match=r"route to 192\.168\.50\.0/24 by 10\.0\.0\.255 on qr-.*invalid gateway"):
        host.reconcile(replace(WHOLE, routes=(impossible,)))
    host.reconcile(WHOLE)
    assert works(wires)


def test_a_router_that_is_right_is_adopted_without_an_operation(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    before = (ip_json("address", inside=NAMESPACE), ip_json("route", inside=NAMESPACE), nft("list ruleset"))
    another = Reconciler(wires.settings)
    outcome = another.reconcile(WHOLE)
    another.close()
    assert not outcome.changed
    assert not outcome.announced
    assert before == (ip_json("address", inside=NAMESPACE), ip_json("route", inside=NAMESPACE), nft("list ruleset"))


def test_not_one_packet_is_lost_while_a_router_is_adopted_and_floating_ips_come_and_go(
    wires: Wires, host: Reconciler
) -> None:
    host.reconcile(WHOLE)
    assert works(wires)
    asking, answering = wires.udp("vm2", port=40001), wires.udp("outside", port=7000)
    done = threading.Event()
    failures: list[BaseException] = []

    def change() -> None:
        try:
            for number in range(20):
                host.reconcile(WHOLE if number % 2 else router((FLOATING_IP, "10.0.0.5"), ("203.0.113.21", "10.0.0.6")))
        except BaseException as error:  # noqa: BLE001 - shown by the test below
            failures.append(error)
        finally:
            done.set()

    changing = threading.Thread(target=change)
    changing.start()
    sent = 0
    while not done.is_set():
        asking.sendto(sent.to_bytes(4, "big"), (OUTSIDE, 7000))
        said, seen = answering.recvfrom(100)
        assert (said, seen) == (sent.to_bytes(4, "big"), (GATEWAY_IP, 40001))
        answering.sendto(said, seen)
        assert asking.recv(100) == said
        sent += 1
    changing.join()
    assert failures == []
    assert sent > 20


def full_plan(host: Reconciler, wanted: Router) -> tuple[KernelRouter, tuple[Operation, ...]]:
    """What a router should look like, and the plan from what is there."""
    with Netlink() as netlink:
        desired, _ = host._desired(netlink, wanted, guarded=False)
        host._steering.want(ROUTER_ID, desired.steering)
        steering = host._steering.observe(ROUTER_ID)
        with RouterHands(netlink, netns.path_of(ROUTER_ID), ROUTER_ID, _close, host._steer, lambda: None) as hands:
            return desired, diff(desired, replace(observe_router(netlink, hands.inside, desired), steering=steering))


def _close(by: "object", _: list[Announce]) -> None:
    by.close()  # type: ignore[attr-defined]


def apply_prefix(host: Reconciler, wanted: Router, length: int) -> None:
    """What an agent did that was killed after so many operations."""
    _, plan = full_plan(host, wanted)
    path = netns.path_of(ROUTER_ID)
    with Netlink() as netlink, RouterHands(netlink, path, ROUTER_ID, _close, host._steer, lambda: None) as hands:
        hands.carry_out(plan[:length])


def test_an_agent_killed_after_any_operation_of_a_build_leaves_nothing_to_clear_up(
    wires: Wires, host: Reconciler
) -> None:
    _, plan = full_plan(host, WHOLE)
    assert len(plan) > 10
    for length in range(len(plan)):
        apply_prefix(host, WHOLE, length)
        assert (ROUTER_ID in host.running()) == (length > 0)
        host.reconcile(WHOLE)
        assert not host.reconcile(WHOLE).changed, f"after {length} operations"
        host.remove(ROUTER_ID)
        assert host.running() == frozenset()
    host.reconcile(WHOLE)
    assert works(wires)


def test_an_agent_killed_after_any_operation_of_a_change_is_taken_up(wires: Wires, host: Reconciler) -> None:
    changed = router(("203.0.113.21", "10.0.0.6"), ports=(replace(PORT_A, mac="fa:16:3e:0a:00:99"),))
    host.reconcile(WHOLE)
    _, plan = full_plan(host, changed)
    for length in range(len(plan) + 1):
        apply_prefix(host, changed, length)
        host.reconcile(changed)
        assert not host.reconcile(changed).changed, f"after {length} operations"
        host.reconcile(WHOLE)
    assert works(wires)


def test_a_namespace_whose_name_was_taken_while_it_lives_on_makes_way(wires: Wires, host: Reconciler) -> None:
    """`ip netns delete` while a process is in it: the old one would go on answering ARP."""
    host.reconcile(WHOLE)
    process = subprocess.Popen(["ip", "netns", "exec", NAMESPACE, "sleep", "60"])
    try:
        while not is_inside(process.pid):
            assert process.poll() is None
        ip(f"netns delete {NAMESPACE}")
        assert host.running() == {ROUTER_ID}
        host.reconcile(WHOLE)
        assert works(wires)
        inside = subprocess.run(
            ["nsenter", "-t", str(process.pid), "-n", "ip", "-br", "link"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
        assert [line.split()[0] for line in inside.stdout.splitlines()] == ["lo"]
    finally:
        process.kill()
        process.wait()


def is_inside(pid: int) -> bool:
    there, here = (os.stat(f"/proc/{who}/ns/net").st_ino for who in (pid, "self"))  # noqa: PTH116 - not a path
    return there != here


def test_what_is_left_of_a_router_without_a_name_is_removed(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    holding = wires.udp(NAMESPACE)  # keeps the namespace alive
    ip(f"netns delete {NAMESPACE}")
    assert host.running() == {ROUTER_ID}
    host.remove(ROUTER_ID)
    assert host.running() == frozenset()
    assert not [link for link in ip_json("link") if link["ifname"].startswith("tap")]
    holding.close()


def test_an_empty_file_of_the_name_is_in_nobodys_way(wires: Wires, host: Reconciler) -> None:
    Path("/run/netns", NAMESPACE).touch()
    assert host.running() == frozenset()
    host.reconcile(WHOLE)
    assert works(wires)


def test_an_empty_namespace_of_the_name_is_taken_over(wires: Wires, host: Reconciler) -> None:
    ip(f"netns add {NAMESPACE}")
    assert host.running() == frozenset()
    host.reconcile(WHOLE)
    assert works(wires)
    assert host.running() == {ROUTER_ID}


def test_a_foreign_namespace_of_the_name_is_refused_and_untouched(wires: Wires, host: Reconciler) -> None:
    ip(f"netns add {NAMESPACE}")
    ip("link add theirs0 type veth peer name theirs1", inside=NAMESPACE)
    before = ip("-d address", inside=NAMESPACE)
    with pytest.raises(Unavailable, match="was not made by Gapless and is in use"):
        host.reconcile(WHOLE)
    host.remove(ROUTER_ID)
    assert ip("-d address", inside=NAMESPACE) == before


def test_foreign_things_inside_a_router_stay(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    ip("link add theirs0 type veth peer name theirs1", inside=NAMESPACE)
    ip("link set theirs0 up", inside=NAMESPACE)
    ip("route add 198.18.0.0/15 dev theirs0", inside=NAMESPACE)
    nft("add table ip theirs { chain c { } ; }")
    assert not host.reconcile(WHOLE).changed
    ip(f"link delete {QR_A}", inside=NAMESPACE)
    nft("delete table ip gapless")
    host.reconcile(WHOLE)
    assert works(wires)
    assert "theirs0" in ip("link", inside=NAMESPACE)
    assert "198.18.0.0/15" in ip("route", inside=NAMESPACE)
    assert "table ip theirs" in nft("list ruleset")


def test_a_port_that_is_no_longer_wanted_goes(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    host.reconcile(replace(WHOLE, ports=(PORT_A,)))
    assert {link["ifname"] for link in ip_json("link", inside=NAMESPACE)} == {"lo", QR_A, QG}
    assert wires.reaches("vm1", OUTSIDE)


def test_removing_a_router_leaves_nothing_of_it(wires: Wires, host: Reconciler) -> None:
    before = sorted(link["ifname"] for link in ip_json("link"))
    host.reconcile(WHOLE)
    host.remove(ROUTER_ID)
    host.sweep(())
    assert sorted(link["ifname"] for link in ip_json("link")) == before
    assert NAMESPACE not in ip("netns list")
    assert host.running() == frozenset()
    host.remove(ROUTER_ID)


def test_routers_are_removed_together_and_one_that_cannot_be_holds_up_no_other(host: Reconciler) -> None:
    """One whole, one whose tap has another name, one without a namespace's name; and a name that is no namespace."""
    before = sorted(link["ifname"] for link in ip_json("link"))
    routers = [numbered(number) for number in range(3)]
    for it in routers:
        host.reconcile(it)
    tap = tap_name(routers[1].ports[0].id)
    ip(f"link set {tap} down")
    ip(f"link set {tap} name elsewhere")
    ip(f"netns delete qrouter-{routers[2].id}")
    odd = RouterId("odd")
    Path(f"/run/netns/qrouter-{odd}").touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/uts", f"/run/netns/qrouter-{odd}"], check=True, timeout=10)
    left = host.remove_together([routers[0].id, odd, *(it.id for it in routers[1:])])
    assert left.keys() == {odd}
    assert "enter namespace qrouter-odd" in left[odd]
    assert host.running() == frozenset()
    host.sweep(())
    assert sorted(link["ifname"] for link in ip_json("link")) == before
    assert host.remove_together([it.id for it in routers]) == {}


def test_iproute2_finds_its_way_in(host: Reconciler) -> None:
    host.reconcile(WHOLE)
    assert NAMESPACE in ip("netns list")
    said = subprocess.run(
        ["ip", "netns", "exec", NAMESPACE, "ip", "-br", "link"], capture_output=True, text=True, check=True, timeout=10
    )
    assert QG in said.stdout


def test_settings_that_come_with_the_rules_are_written_after_them(
    host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that tracks no connection yet, the first router's rules make the kernel load what does."""
    written, suffix = netns.written_settings, ".not_there_yet"
    asked: list[Mapping[str, str]] = []

    def before_tracking(settings: Mapping[str, str]) -> dict[str, str]:
        asked.append(settings)
        missing = {key + suffix if key.startswith("netfilter/") else key: it for key, it in settings.items()}
        return {key.removesuffix(suffix): it for key, it in written(missing).items()}

    monkeypatch.setattr("gapless.agent.kernel.netns.written_settings", before_tracking)
    host.reconcile(router())
    assert asked
    found = netns.enter(netns.path_of(ROUTER_ID), lambda: netns.read_settings(SETTINGS))
    assert found == SETTINGS
    assert not host.reconcile(router()).changed
