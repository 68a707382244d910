"""Plans for one network on a host, and what is refused."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from gapless.core.dataplane.leaves import leaf_of
from gapless.core.dataplane.segments import diff_segment
from gapless.errors import Unavailable
from gapless.model.network import NetworkId
from gapless.model.observed import HostLink, ObservedLeaf, ObservedSegment, Segment, Vxlan
from gapless.model.operation import AttachJoint, CreateJoint

VXLAN = Vxlan(
    name="vxlan-7",
    vni=7,
    local=IPv4Address("172.16.0.1"),
    port=4789,
    device="data0",
    group=IPv4Address("239.77.0.1"),
)
TENANT = Segment(network_id=NetworkId("tenant"), bridge="brqtenant", mtu=1450, vxlan=VXLAN)
FLAT = Segment(network_id=NetworkId("external"), bridge="brqexternal", mtu=1500, uplink="eth2")
OPERATORS = Segment(network_id=NetworkId("external"), bridge="br-ex", mtu=1500)


def link(name: str, kind: str = "bridge", **fields: object) -> HostLink:
    whole = HostLink(name=name, kind=kind, mtu=1500, up=True, bridge=None, ours=True)
    return replace(whole, **fields)  # type: ignore[arg-type]


BRIDGE = link("brqtenant", mtu=1450)
DEVICE = link("vxlan-7", "vxlan", mtu=1450, bridge="brqtenant", vxlan=VXLAN)
WHOLE = ObservedSegment(bridge=BRIDGE, vxlan=DEVICE, data_mtu=1500)
LEAF = leaf_of(TENANT.network_id, 1)
WIDE = replace(TENANT, leaves=(LEAF,))
JOINED = ObservedLeaf(
    bridge=link("brqtenanta", mtu=1450),
    root_end=link("jnrtenanta", "veth", mtu=1450, bridge="brqtenant"),
    leaf_end=link("jnltenanta", "veth", mtu=1450, bridge="brqtenanta"),
    is_joint=True,
    root_sends=True,
    leaf_sends=True,
)
WIDE_AND_WHOLE = replace(WHOLE, leaves={"brqtenanta": JOINED})
FREE_UPLINK = link("eth2", "", ours=False)


def plan(segment: Segment, observed: ObservedSegment) -> list[str]:
    names = []
    for operation in diff_segment(segment, observed):
        name = getattr(operation, "name", None) or getattr(operation, "vxlan", "")
        names.append(f"{type(operation).__name__} {getattr(name, 'name', name)}")
    return names


def test_a_network_over_vxlan() -> None:
    assert plan(TENANT, ObservedSegment(data_mtu=1500)) == [
        "CreateBridge brqtenant",
        "CreateVxlan vxlan-7",
        "RaiseHostLink vxlan-7",
        "RaiseHostLink brqtenant",
    ]
    assert plan(TENANT, WHOLE) == []


def test_a_vxlan_device_with_other_parameters_is_made_anew() -> None:
    moved = replace(DEVICE, vxlan=replace(VXLAN, local=IPv4Address("172.16.0.9")))
    assert plan(TENANT, replace(WHOLE, vxlan=moved)) == [
        "DeleteHostLink vxlan-7",
        "CreateVxlan vxlan-7",
        "RaiseHostLink vxlan-7",
    ]


def test_what_drifted_is_put_right_in_place() -> None:
    drifted = ObservedSegment(
        bridge=replace(BRIDGE, mtu=1400, up=False),
        vxlan=replace(DEVICE, mtu=1400, bridge=None, up=False),
        data_mtu=1500,
    )
    assert plan(TENANT, drifted) == [
        "ChangeHostMtu brqtenant",
        "ChangeHostMtu vxlan-7",
        "Plug vxlan-7",
        "RaiseHostLink vxlan-7",
        "RaiseHostLink brqtenant",
    ]


def test_a_link_of_ours_has_no_ipv6_before_it_comes_up_and_an_operators_is_left_alone() -> None:
    loud = replace(WHOLE, bridge=replace(BRIDGE, speaks_ipv6=True), vxlan=replace(DEVICE, speaks_ipv6=True, up=False))
    assert plan(TENANT, loud) == ["TurnOffIpv6 brqtenant", "TurnOffIpv6 vxlan-7", "RaiseHostLink vxlan-7"]
    theirs = ObservedSegment(bridge=link("br-ex", ours=False, speaks_ipv6=True))
    assert plan(OPERATORS, theirs) == []
    uplink = replace(FREE_UPLINK, speaks_ipv6=True)
    assert "TurnOffIpv6 eth2" not in plan(FLAT, ObservedSegment(uplink=uplink))


def test_peers_take_the_place_of_a_group() -> None:
    peers = frozenset({IPv4Address("172.16.0.2"), IPv4Address("172.16.0.3")})
    unicast = replace(TENANT, vxlan=replace(VXLAN, group=None, peers=peers))
    assert "ChangePeers vxlan-7" in plan(unicast, ObservedSegment(data_mtu=1500))
    one = replace(VXLAN, group=None, peers=frozenset({IPv4Address("172.16.0.2"), IPv4Address("172.16.0.9")}))
    (change,) = diff_segment(unicast, replace(WHOLE, vxlan=replace(DEVICE, vxlan=one)))
    assert getattr(change, "add", None) == {IPv4Address("172.16.0.3")}
    assert getattr(change, "remove", None) == {IPv4Address("172.16.0.9")}


def test_an_uplink_becomes_a_port_of_our_bridge() -> None:
    assert plan(FLAT, ObservedSegment(uplink=replace(FREE_UPLINK, up=False))) == [
        "CreateBridge brqexternal",
        "Plug eth2",
        "RaiseHostLink eth2",
        "RaiseHostLink brqexternal",
    ]


def test_an_operators_bridge_is_used_as_it_is() -> None:
    assert plan(OPERATORS, ObservedSegment(bridge=link("br-ex", ours=False, mtu=9000))) == []


def test_a_leaf_is_joined_to_its_root_before_anything_passes() -> None:
    new_leaf = [
        "CreateBridge brqtenanta",
        "CreateJoint jnrtenanta",
        "AttachJoint jnltenanta",
        "AttachJoint jnrtenanta",
        "RaiseHostLink jnltenanta",
        "RaiseHostLink jnrtenanta",
        "RaiseHostLink brqtenanta",
    ]
    assert plan(WIDE, WHOLE) == new_leaf
    assert plan(WIDE, ObservedSegment(data_mtu=1500)) == [*plan(TENANT, ObservedSegment(data_mtu=1500)), *new_leaf]
    assert plan(WIDE, WIDE_AND_WHOLE) == []


def test_each_end_of_a_joint_is_where_the_other_bridge_sends_what_is_for_it() -> None:
    attached = {it.name: it.mac for it in diff_segment(WIDE, WHOLE) if isinstance(it, AttachJoint)}
    assert attached == {"jnrtenanta": LEAF.leaf_end_mac, "jnltenanta": LEAF.root_end_mac}


@pytest.mark.parametrize(
    ("drifted", "steps"),
    [
        ({"bridge": link("brqtenanta", mtu=1450, up=False)}, ["RaiseHostLink brqtenanta"]),
        (
            {"root_end": link("jnrtenanta", "veth", mtu=1450, bridge="brqtenant", up=False)},
            ["RaiseHostLink jnrtenanta"],
        ),
        ({"leaf_end": link("jnltenanta", "veth", mtu=900, bridge="brqtenanta")}, ["ChangeHostMtu jnltenanta"]),
        (
            {"leaf_end": link("jnltenanta", "veth", mtu=1450, bridge="brqtenanta", speaks_ipv6=True)},
            ["TurnOffIpv6 jnltenanta"],
        ),
        ({"root_end": link("jnrtenanta", "veth", mtu=1450)}, ["Plug jnrtenanta", "AttachJoint jnrtenanta"]),
        ({"leaf_sends": False}, ["AttachJoint jnltenanta"]),
        ({"root_sends": False}, ["AttachJoint jnrtenanta"]),
    ],
)
def test_what_drifted_of_a_leaf_is_put_right_in_place(drifted: dict[str, object], steps: list[str]) -> None:
    observed = replace(WIDE_AND_WHOLE, leaves={"brqtenanta": replace(JOINED, **drifted)})  # type: ignore[arg-type]
    assert plan(WIDE, observed) == steps


def test_a_joint_of_which_an_end_is_another_ones_is_made_anew() -> None:
    halved = replace(JOINED, leaf_end=None, is_joint=False, leaf_sends=False)
    steps = plan(WIDE, replace(WIDE_AND_WHOLE, leaves={"brqtenanta": halved}))
    assert steps[:2] == ["DeleteHostLink jnrtenanta", "CreateJoint jnrtenanta"]
    assert "CreateBridge brqtenanta" not in steps


def test_an_operators_bridge_gets_leaves_too() -> None:
    leaf = leaf_of(OPERATORS.network_id, 1)
    observed = ObservedSegment(bridge=link("br-ex", ours=False, mtu=9000))
    joints = [it for it in diff_segment(replace(OPERATORS, leaves=(leaf,)), observed) if isinstance(it, CreateJoint)]
    assert [(it.root, it.leaf, it.mtu) for it in joints] == [("br-ex", "brqexternala", 1500)]


@pytest.mark.parametrize(
    ("segment", "observed", "reason"),
    [
        (OPERATORS, ObservedSegment(), "there is no bridge br-ex"),
        (OPERATORS, ObservedSegment(bridge=link("br-ex", up=False, ours=False)), "br-ex is down"),
        (TENANT, ObservedSegment(), "data interface data0 does not exist"),
        (TENANT, ObservedSegment(data_mtu=1450), "has MTU 1450; a network of MTU 1450 needs 1500"),
        (TENANT, replace(WHOLE, bridge=replace(BRIDGE, ours=False)), "brqtenant exists on this host and was not made"),
        (TENANT, replace(WHOLE, vxlan=replace(DEVICE, ours=False)), "vxlan-7 exists on this host and was not made"),
        (
            WIDE,
            replace(WHOLE, leaves={"brqtenanta": replace(JOINED, bridge=link("brqtenanta", ours=False))}),
            "brqtenanta exists on this host and was not made",
        ),
        (
            WIDE,
            replace(WHOLE, leaves={"brqtenanta": ObservedLeaf(leaf_end=link("jnltenanta", "dummy", ours=False))}),
            "jnltenanta exists on this host and was not made",
        ),
        (FLAT, ObservedSegment(), "there is no interface eth2"),
        (FLAT, ObservedSegment(uplink=replace(FREE_UPLINK, mtu=1400)), "eth2 has MTU 1400; the network needs 1500"),
        (FLAT, ObservedSegment(uplink=replace(FREE_UPLINK, has_addresses=True)), "carries addresses of this host"),
        (FLAT, ObservedSegment(uplink=replace(FREE_UPLINK, bridge="br0")), "belongs to br0, which was not made by"),
        (
            FLAT,
            ObservedSegment(uplink=replace(FREE_UPLINK, bridge="brqold", bridge_is_ours=True)),
            "still serves another network of Gapless",
        ),
    ],
)
def test_what_is_refused_says_why(segment: Segment, observed: ObservedSegment, reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        diff_segment(segment, observed)
