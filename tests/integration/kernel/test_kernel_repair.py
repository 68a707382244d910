"""Whatever is damaged is found, repaired and told; what somebody else added stays."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kernel_fixtures import (
    BRIDGE_A,
    FLOATING_IP,
    GATEWAY_IP,
    NAMESPACE,
    OUTSIDE,
    QG,
    QR_A,
    ROUTER_ID,
    TAP_A,
    TAP_OUT,
    Wires,
    await_aftermath,
    ip,
    nft,
)
from whole_router import WHOLE, sysctl, works

from gapless.agent.kernel import conntrack, netns, rulecopies
from gapless.agent.reconcile import Reconciler
from gapless.errors import Unavailable
from gapless.kernel.netlink import NETFILTER, Netlink
from gapless.model.observed import DOOMED_GROUP
from logged import kept

pytestmark = pytest.mark.isolated

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
    "tap left by an agent that was about to delete it": lambda: ip(f"link set {TAP_A} group {DOOMED_GROUP}"),
    "tap with IPv6": lambda: allow_ipv6(TAP_A),
    "bridge with IPv6": lambda: allow_ipv6(BRIDGE_A),
    "VXLAN device with IPv6": lambda: allow_ipv6("vxlan-100"),
    "IPv6 allowed everywhere on the host": lambda: allow_ipv6("all"),
    "mark altered": lambda: ip("link set lo alias theirs", inside=NAMESPACE),
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
    "named counter": lambda: nft("add counter ip gapless theirs"),
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


def allow_ipv6(link: str) -> None:
    """On a link of the host, or on "all" of them."""
    Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6").write_text("0")


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
    assert host.reconcile(WHOLE).changed
    assert works(wires)
    assert not host.reconcile(WHOLE).changed


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
    await_aftermath(host)
    asking.sendto(b"translated", (OUTSIDE, 7000))
    assert answering.recvfrom(100) == (b"translated", (GATEWAY_IP, 40001))


def test_flows_that_cannot_be_forgotten_are_told_of_and_the_router_is_mended_all_the_same(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Netlink] = []

    def refused(tracking: Netlink) -> int:
        asked.append(tracking)
        raise Unavailable("list tracked connections: no")

    host.reconcile(WHOLE)
    nft("insert rule ip gapless forward drop")
    monkeypatch.setattr(conntrack, "forget_unanswered", refused)
    with kept("agent") as lines:
        assert host.reconcile(WHOLE).changed
        await_aftermath(host)
    (told,) = [line for line in lines if "list tracked connections: no" in line]
    assert ROUTER_ID in told
    assert [it._socket.fileno() for it in asked] == [-1], "it is closed"
    assert works(wires)


def test_flows_are_forgotten_too_where_rules_vanish_while_the_router_is_built(
    host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its namespace is new, and yet packets may have passed without rules."""
    load, flushed, forgotten = rulecopies.load, list[str](), list[Netlink]()

    def load_and_lose(*arguments: Any, **options: Any) -> None:
        load(*arguments, **options)
        if not flushed:
            flushed.append(nft("flush ruleset"))

    host.reconcile(WHOLE)  # from here on it is known how its rules are made
    host.remove(ROUTER_ID)
    monkeypatch.setattr(rulecopies, "load", load_and_lose)
    monkeypatch.setattr(conntrack, "forget_unanswered", lambda tracking: forgotten.append(tracking) or 0)
    assert host.reconcile(WHOLE).announced
    await_aftermath(host)
    assert len(flushed) == len(forgotten) == 1


def test_of_a_router_without_connections_none_are_looked_for(host: Reconciler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would go through those of the whole machine."""
    host.reconcile(WHOLE)

    def forgotten() -> int:
        with Netlink(NETFILTER) as tracking:
            return conntrack.forget_unanswered(tracking)

    with monkeypatch.context() as patched:
        patched.setattr(Netlink, "dump", lambda *_, **__: pytest.fail("a list was asked for"))
        assert netns.enter(netns.path_of(ROUTER_ID), forgotten) == 0
