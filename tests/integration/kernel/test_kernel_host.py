"""The host's side: uplinks, bridges, VXLAN devices, what is refused, what is swept."""

import contextlib
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kernel_fixtures import (
    BRIDGE_A,
    BRIDGE_OUT,
    EXTERNAL,
    FLOATING_IP,
    NAMESPACE,
    OUTSIDE,
    PORT_A,
    ROUTER_ID,
    TAP_A,
    TENANT_A,
    TENANT_B,
    Wires,
    ip,
    ip_json,
    router,
)

from gapless.agent import reconcile
from gapless.agent.kernel import nft as nft_library
from gapless.agent.kernel import sysctls
from gapless.agent.kernel.links import OUR_MARK
from gapless.agent.reconcile import Reconciler
from gapless.config import HostSettings
from gapless.errors import InvalidRequest, Unavailable
from gapless.kernel.netlink import Netlink, Request
from gapless.sentinel.prerequisites import data_address

pytestmark = pytest.mark.isolated


def names() -> set[str]:
    return {link["ifname"] for link in ip_json("link")}


def master_of(name: str) -> str | None:
    (found,) = ip_json(f"link show {name}")
    master: str | None = found.get("master")
    return master


def test_an_uplink_with_addresses_is_refused_and_keeps_them(host: Reconciler) -> None:
    ip("address add 203.0.113.40/24 dev ext0")
    with pytest.raises(Unavailable, match="ext0 carries addresses of this host"):
        host.reconcile(router())
    assert master_of("ext0") is None
    assert host.running() == frozenset()
    ip("address delete 203.0.113.40/24 dev ext0")
    host.reconcile(router())
    assert master_of("ext0") == BRIDGE_OUT


def test_an_uplink_with_another_master_is_refused(host: Reconciler) -> None:
    ip("link add theirs type bridge")
    ip("link set ext0 master theirs")
    with pytest.raises(Unavailable, match="ext0 belongs to theirs, which was not made by Gapless"):
        host.reconcile(router())
    assert master_of("ext0") == "theirs"


def test_an_uplink_that_is_not_there_is_named(wires: Wires) -> None:
    host = Reconciler(replace(wires.settings, physical_networks=(("external", "eth9"),)))
    with pytest.raises(Unavailable, match="there is no interface eth9"):
        host.reconcile(router())
    host.close()


def test_a_physical_network_that_the_host_is_not_in_is_named(wires: Wires) -> None:
    host = Reconciler(replace(wires.settings, physical_networks=()))
    with pytest.raises(Unavailable, match="not plugged into physical network 'external'"):
        host.reconcile(router())
    host.close()


def test_an_operators_bridge_is_used_as_it_is(wires: Wires) -> None:
    ip("link add br-ex type bridge")
    ip("link set ext0 master br-ex up")
    ip("link set br-ex up")
    before = ip("-d link show br-ex")
    host = Reconciler(replace(wires.settings, physical_networks=(("external", "br-ex"),)))
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    assert wires.reaches("outside", FLOATING_IP)
    host.remove(ROUTER_ID)
    host.sweep(())
    host.close()
    assert master_of("ext0") == "br-ex"
    assert _settled(ip("-d link show br-ex")) == _settled(before)


def _settled(shown: str) -> str:
    """Without what a bridge counts and chooses by itself."""
    return re.sub(r"(timer|link/ether|bridge_id|designated_root)\s+\S+|state \S+|<.*>", "", shown)


def test_a_host_without_data_interface_says_so(wires: Wires) -> None:
    host = Reconciler(replace(wires.settings, data_interface=None))
    with pytest.raises(Unavailable, match="no data interface"):
        host.reconcile(router())
    host.close()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("link set data0 mtu 1400", "data0 has MTU 1400; a network of MTU 1450 needs 1500"),
        ("address flush dev data0", "data0 has no IPv4 address"),
        ("link delete data0", "data0 does not exist"),
    ],
)
def test_a_data_interface_that_will_not_do_says_why(host: Reconciler, damage: str, reason: str) -> None:
    ip(damage)
    with pytest.raises(Unavailable, match=reason):
        host.reconcile(router())


def test_foreign_interfaces_under_our_names_are_refused_and_untouched(host: Reconciler) -> None:
    ip(f"link add {TAP_A} type veth peer name elsewhere")
    with pytest.raises(Unavailable, match=f"{TAP_A} exists on this host and was not made by Gapless"):
        host.reconcile(router())
    assert TAP_A in names()
    ip(f"link delete {TAP_A}")
    host.reconcile(router())
    host.remove(ROUTER_ID)
    host.sweep(())
    ip(f"link add {BRIDGE_A} type bridge")
    with pytest.raises(Unavailable, match=f"{BRIDGE_A} exists on this host and was not made by Gapless"):
        host.reconcile(router())


def test_a_sweep_removes_what_no_network_needs_and_releases_the_uplink(host: Reconciler) -> None:
    before = names()
    host.reconcile(router())
    host.remove(ROUTER_ID)
    host.sweep((TENANT_A,))
    assert names() == before | {BRIDGE_A, "vxlan-100"}
    assert master_of("ext0") is None
    host.sweep(())
    assert names() == before


def test_a_sweep_leaves_what_is_in_use_and_what_is_not_ours(host: Reconciler) -> None:
    host.reconcile(router())
    ip("link add theirs0 type veth peer name theirs1")
    ip(f"link set theirs0 master {BRIDGE_A}")
    ip("link add brq-theirs type bridge")
    ip("link add vxlan-9 type vxlan id 9 dev data0 dstport 4789")
    host.remove(ROUTER_ID)
    host.sweep((EXTERNAL, TENANT_B))
    assert {BRIDGE_A, "vxlan-100", "theirs0", "brq-theirs", "vxlan-9", BRIDGE_OUT, "vxlan-101"} <= names()
    ip("link set theirs0 nomaster")
    host.sweep((EXTERNAL, TENANT_B))
    assert not {BRIDGE_A, "vxlan-100"} & names()


def test_a_sweep_takes_a_few_networks_at_a_time(host: Reconciler, tmp_path: Path) -> None:
    before = names()
    lines = []
    for number in range(50):
        lines.append(f"link add brq{number:011} type bridge")
        lines.append(f"link set brq{number:011} alias gapless:{number}")
        lines.append(f"link add vxlan-{number} master brq{number:011} type vxlan id {number} dev data0 dstport 4789")
        lines.append(f"link set vxlan-{number} alias gapless:{number}")
    batch = tmp_path / "networks"
    batch.write_text("\n".join(lines))
    ip(f"-batch {batch}")
    left = []
    is_first = True
    while host.sweep((), is_first=is_first):
        is_first = False
        left.append(len(names() - before) // 2)
    assert left == [42, 34, 26, 18, 10, 2]
    assert names() == before


def test_a_portion_is_as_large_as_it_is_told_and_an_uplink_is_released_first(host: Reconciler) -> None:
    host.reconcile(router())
    host.remove(ROUTER_ID)
    assert host.sweep((), most=1)
    assert BRIDGE_OUT not in names()
    assert [host.sweep((), most=1) for _ in range(2)] == [True, False]


def test_what_is_needed_or_used_since_the_first_portion_of_a_sweep_stays(host: Reconciler) -> None:
    host.reconcile(router())
    host.remove(ROUTER_ID)
    assert host.sweep((), most=0)
    assert {BRIDGE_A, BRIDGE_OUT} <= names()
    ip(f"link add theirs0 master {BRIDGE_A} type veth peer name theirs1")
    assert not host.sweep((EXTERNAL,), most=100, is_first=False)
    assert {BRIDGE_A, BRIDGE_OUT, "theirs0"} <= names()
    ip("link delete theirs0")
    host.sweep(())
    assert not {BRIDGE_A, BRIDGE_OUT} & names()


def test_a_sweep_has_nothing_more_to_do_where_somebody_else_was_quicker(host: Reconciler) -> None:
    host.reconcile(router())
    host.remove(ROUTER_ID)
    host.sweep((), most=0)
    ip(f"link delete {BRIDGE_A}")
    assert not host.sweep((), most=100, is_first=False)
    assert BRIDGE_OUT not in names()


def test_stray_ends_are_looked_for_where_that_is_asked_for(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    holding = wires.udp(NAMESPACE)  # keeps the namespace alive
    ip(f"netns delete {NAMESPACE}")
    ip(f"netns add {NAMESPACE}")
    host.sweep((), is_first=False)
    assert TAP_A in names()
    host.sweep((), is_first=True)
    assert TAP_A not in names()
    holding.close()


def test_a_sweep_does_not_hurt_routers_that_run(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    host.sweep(())
    assert wires.reaches("vm1", OUTSIDE)
    assert not host.reconcile(router()).changed


def test_an_address_beside_the_hosts_own_moves_no_tunnel(wires: Wires, host: Reconciler) -> None:
    """One that moves between machines, say, and that is lower."""
    host.reconcile(router())
    ip("address add 10.9.9.9/32 dev data0")
    assert not host.reconcile(router()).changed
    assert str(data_address("data0")) == "172.16.0.1"
    (vxlan,) = ip_json("-d link show vxlan-100")
    assert vxlan["linkinfo"]["info_data"]["local"] == "172.16.0.1"


def flooded_to(device: str) -> set[str]:
    command = ["bridge", "-json", "fdb", "show", "dev", device]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    return {it["dst"] for it in json.loads(shown) if it["mac"] == "00:00:00:00:00:00"}


def test_a_network_is_flooded_to_its_peers_without_multicast(wires: Wires) -> None:
    ip("link delete net0", inside="vm1")
    ip("link add net0 mtu 1450 type vxlan id 100 local 172.16.0.5 remote 172.16.0.1 dstport 4789", inside="vm1")
    ip("address add 10.0.0.5/24 dev net0", inside="vm1")
    ip("link set net0 up", inside="vm1")
    everyone = ("172.16.0.5", "172.16.0.99", "172.16.0.1")
    unicast = replace(wires.settings, vxlan_group="", vxlan_peers=everyone)
    host = Reconciler(unicast)
    host.reconcile(router(ports=(PORT_A,)))
    assert flooded_to("vxlan-100") == {"172.16.0.5", "172.16.0.99"}, "and not to this host itself"
    assert wires.reaches("vm1", "10.0.0.1")
    assert not host.reconcile(router(ports=(PORT_A,))).changed
    host.close()
    fewer = Reconciler(replace(unicast, vxlan_peers=("172.16.0.5",)))
    fewer.reconcile(router(ports=(PORT_A,)))
    (vxlan,) = ip_json("-d link show vxlan-100")
    assert vxlan["linkinfo"]["info_kind"] == "vxlan"
    assert wires.reaches("vm1", "10.0.0.1")
    fewer.close()


def test_a_host_answers_for_none_of_its_addresses_on_tenants_networks(wires: Wires, host: Reconciler) -> None:
    """Which tenants may use as well: its routers would send to the host what is for a VM."""
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    ip("address add 10.0.0.77/32 dev lo")
    wires.ping("vm1", "10.0.0.77")
    assert not [it for it in ip_json("neigh show to 10.0.0.77", inside="vm1") if "lladdr" in it]
    ip(f"link set {BRIDGE_A} arp on")
    assert f"RaiseHostLink {BRIDGE_A}" in host.reconcile(router((FLOATING_IP, "10.0.0.5"))).what
    ip("neigh flush to 10.0.0.77", inside="vm1")  # It may have asked once more while the bridge answered.
    wires.ping("vm1", "10.0.0.77")
    assert not [it for it in ip_json("neigh show to 10.0.0.77", inside="vm1") if "lladdr" in it]


def test_a_bridge_and_its_ports_keep_quiet(host: Reconciler) -> None:
    """No spanning tree, no snooping, no IPv6 addresses of their own on tenants' networks."""
    host.reconcile(router())
    (bridge,) = ip_json(f"-d address show {BRIDGE_A}")
    assert bridge["linkinfo"]["info_data"]["stp_state"] == 0
    assert bridge["linkinfo"]["info_data"]["forward_delay"] == 0
    assert bridge["linkinfo"]["info_data"]["mcast_snooping"] == 0
    assert "NOARP" in bridge["flags"]
    for name in (BRIDGE_A, TAP_A, "vxlan-100"):
        (found,) = ip_json(f"address show {name}")
        assert found["addr_info"] == []
        assert Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text().strip() == "1"
    assert bridge["ifalias"] == f"gapless:{TENANT_A.id}"


class Killed(BaseException):
    """Nothing in an agent catches it."""


def test_wherever_an_agent_is_killed_no_link_of_ours_speaks_for_the_host(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPv6 is turned off by a file of each link, which can only be written when the link is there."""
    write, killed_after = sysctls.write, 0

    def write_some(settings: dict[str, str]) -> None:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        write(settings)

    while True:
        left = killed_after
        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            patched.setattr(sysctls, "write", write_some)
            host.reconcile(router())
            break
        assert not [it for it in ours() if it["operstate"] != "DOWN" and speaks_ipv6(it["ifname"])], killed_after
        host.reconcile(router())
        assert not [it["ifname"] for it in ours() if speaks_ipv6(it["ifname"])], killed_after
        host.remove(ROUTER_ID)
        host.sweep(())
        killed_after += 1
    assert killed_after > 3


def ours() -> list[dict[str, Any]]:
    return [it for it in ip_json("link") if it.get("ifalias", "").startswith(OUR_MARK)]


def speaks_ipv6(name: str) -> bool:
    return Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text().strip() == "0"


def test_a_missing_library_is_named_with_its_package(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> object:
        return nft_library_load("libnftables.so.0")

    nft_library_load = nft_library.load
    monkeypatch.setattr(reconcile.nft, "load", lambda: missing())
    with pytest.raises(Unavailable, match="install the package libnftables1"):
        Reconciler(wires.settings)


@pytest.mark.parametrize(
    ("field", "value"), [("vxlan_group", "10.0.0.1"), ("vxlan_group", "x"), ("vxlan_peers", ("y",))]
)
def test_settings_that_cannot_be_are_refused(wires: Wires, field: str, value: object) -> None:
    settings: HostSettings = replace(wires.settings, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=field.removesuffix("s")):
        Reconciler(settings)


def test_a_machine_that_keeps_no_namespaces_is_refused_at_the_start(wires: Wires) -> None:
    """As for an ordinary user without a user namespace: /run belongs to somebody else."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/run"], check=True, timeout=10)
    with pytest.raises(Unavailable, match=r"cannot keep network namespaces in /run/netns .*needs root"):
        Reconciler(wires.settings)


def test_a_refused_request_is_told_by_what_it_was_about() -> None:
    with Netlink() as netlink:
        requests = [Request(16, 0, b"\0" * 16, "do nothing"), Request(17, 0, b"\0" * 4, "delete too little")]
        answers = netlink.ask(requests)
        assert [bool(answer.error) for answer in answers] == [True, True]
        with pytest.raises(Unavailable, match="delete too little: Invalid argument"):
            netlink.carry_out(requests[1:])


def test_rules_that_are_refused_are_told_in_one_line(host: Reconciler) -> None:
    with (
        nft_library.Nft() as nft,
        pytest.raises(Unavailable, match=r"^load: syntax error, unexpected") as told,
    ):
        nft.transact("add nonsense", "load")
    assert "\n" not in str(told.value)
