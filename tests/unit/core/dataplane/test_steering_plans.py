"""What belongs into a host's steering table for a router, and when it is put there and taken out."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from gapless.core.dataplane.desired import desired_router
from gapless.core.dataplane.diff import diff
from gapless.core.dataplane.leaves import leaf_of
from gapless.core.dataplane.steering import steering_mac
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.observed import ABSENT, KernelRouter, Ruleset
from gapless.model.operation import AttachSteering, CreatePair, Plug, RaiseHostLink, Steer, Unsteer
from gapless.model.router import FloatingIp, Gateway, Route, Router, RouterId, RouterPort
from gapless.model.steering import Entry, Kind, Outside

EXTERNAL = Network(id=NetworkId("external"), type=NetworkType.FLAT, mtu=1500, physical_network="external")
PORT = RouterPort(
    id=PortId("outside"), network=EXTERNAL, mac="fa:16:3e:00:00:02", addresses=(IPv4Interface("203.0.113.10/24"),)
)
ROUTER = Router(
    id=RouterId("r"),
    name="r",
    gateway=Gateway(port=PORT, next_hop=IPv4Address("203.0.113.1"), snat=True),
    floating_ips=(FloatingIp(id="f", address=IPv4Address("203.0.113.20"), fixed_address=IPv4Address("10.0.0.5")),),
)
WIRE = Outside(uplink="eth1", inlets=frozenset({"eth1"}))
MAC = "be:16:3e:00:00:02"


def desired(router: Router, outside: Outside | None = WIRE, bridge: str = "brqexternal") -> KernelRouter:
    return desired_router(router, Ruleset(fingerprint="rules"), {"tapoutside": bridge}, outside=outside)


def keys(state: KernelRouter, kind: Kind) -> set[tuple[str, ...]]:
    return {entry.key for entry in state.steering if entry.kind is kind}


def test_every_address_is_asked_by_the_uplink_and_every_next_hop_is_heard() -> None:
    more = replace(ROUTER, routes=(Route(destination=IPv4Network("10.9.0.0/16"), next_hop=IPv4Address("203.0.113.2")),))
    state = desired(more)
    assert {it for it in state.steering if it.kind is Kind.ASKED} == {
        Entry(Kind.ASKED, ("eth1", "203.0.113.10"), MAC),
        Entry(Kind.ASKED, ("eth1", "203.0.113.20"), MAC),
    }
    assert keys(state, Kind.ADDRESSES) == {("203.0.113.10",), ("203.0.113.20",)}
    assert keys(state, Kind.ANNOUNCED) == {("203.0.113.10",) * 2, ("203.0.113.20",) * 2}
    assert keys(state, Kind.NEXT_HOPS) == {("203.0.113.1",) * 2, ("203.0.113.2",) * 2}
    assert keys(state, Kind.INLETS) == {("eth1",), ("tapoutside",)}
    assert keys(state, Kind.ONLY_ARP) == set()
    assert keys(state, Kind.STEERED) == {(MAC,)}


def test_where_there_may_be_several_ways_out_nobody_is_asked_by_one() -> None:
    state = desired(ROUTER, Outside(uplink=None, inlets=frozenset({"eth1", "vm1"}), only_arp=True))
    assert keys(state, Kind.ASKED) == set()
    assert keys(state, Kind.INLETS) == keys(state, Kind.ONLY_ARP) == {("eth1",), ("vm1",), ("tapoutside",)}


def test_at_each_bridge_a_request_for_a_router_on_a_leaf_is_sent_one_step_further() -> None:
    leaf = leaf_of(EXTERNAL.id, 2)
    state = desired(ROUTER, replace(WIRE, leaf=leaf), bridge=leaf.bridge)
    assert {it for it in state.steering if it.kind is Kind.ASKED and "203.0.113.10" in it.key} == {
        Entry(Kind.ASKED, ("eth1", "203.0.113.10"), leaf.leaf_end_mac),
        Entry(Kind.ASKED, (leaf.leaf_end, "203.0.113.10"), MAC),
    }
    assert keys(state, Kind.INLETS) == {("eth1",), ("tapoutside",), (leaf.root_end,), (leaf.leaf_end,)}
    assert keys(state, Kind.STEERED) == {(MAC,), (leaf.leaf_end_mac,)}
    at_root = desired(ROUTER)
    common = (Kind.ADDRESSES, Kind.ANNOUNCED, Kind.NEXT_HOPS)
    assert {it for it in state.steering if it.kind in common} == {it for it in at_root.steering if it.kind in common}


def test_on_a_leaf_requests_find_their_router_though_there_are_several_ways_to_its_root() -> None:
    leaf = leaf_of(EXTERNAL.id, 1)
    outside = Outside(uplink=None, inlets=frozenset({"eth1", "vm1"}), only_arp=True, leaf=leaf)
    assert keys(desired(ROUTER, outside), Kind.ASKED) == {
        (leaf.leaf_end, "203.0.113.10"),
        (leaf.leaf_end, "203.0.113.20"),
    }


def test_it_is_the_same_for_an_active_router_and_a_standby() -> None:
    bridges = {"tapoutside": "brqexternal"}
    rules = Ruleset(fingerprint="rules")
    classic, guarded = (desired_router(ROUTER, rules, bridges, is_guarded, WIRE) for is_guarded in (False, True))
    assert classic.steering == guarded.steering


def test_nothing_is_steered_to_a_router_without_a_way_out_or_switched_off() -> None:
    assert desired(replace(ROUTER, gateway=None)).steering == frozenset()
    assert desired(replace(ROUTER, admin_up=False)).steering == frozenset()
    assert desired(ROUTER, None).steering == frozenset()
    assert desired(ROUTER, None).taps["tapoutside"].steering_mac is None


def test_different_ports_have_different_steering_addresses_which_are_unicast() -> None:
    macs = [f"{first:02x}:16:3e:00:00:01" for first in range(0, 256, 2)]
    steered = [steering_mac(mac) for mac in macs]
    assert len(set(steered)) == len(macs)
    assert all(int(mac[:2], 16) % 2 == 0 for mac in steered)
    assert all(mac != other for mac, other in zip(macs, steered, strict=True))


def steps(wanted: KernelRouter, observed: KernelRouter) -> list[object]:
    about = (Steer, Unsteer, CreatePair, AttachSteering, Plug, RaiseHostLink)
    return [type(it) for it in diff(wanted, observed) if isinstance(it, about)]


def test_the_table_knows_a_router_before_its_tap_is_taken_out_of_floods() -> None:
    assert steps(desired(ROUTER), ABSENT) == [Steer, CreatePair, AttachSteering, RaiseHostLink]


def test_an_older_builds_router_gets_entries_and_then_its_tap_is_taken_out() -> None:
    assert steps(desired(ROUTER), desired(ROUTER, None)) == [Steer, AttachSteering]


def test_only_what_changes_is_put_in_and_taken_out() -> None:
    plan = diff(desired(replace(ROUTER, floating_ips=())), desired(ROUTER))
    gone = next(it for it in plan if isinstance(it, Unsteer)).entries
    assert {it.kind for it in gone} == {Kind.ASKED, Kind.ADDRESSES, Kind.ANNOUNCED}
    assert all("203.0.113.20" in it.key for it in gone)
    assert not any(isinstance(it, Steer) for it in plan)


def test_a_tap_that_is_plugged_elsewhere_is_attached_again() -> None:
    assert steps(desired(ROUTER), desired(ROUTER, bridge="brqother")) == [Plug, AttachSteering]
