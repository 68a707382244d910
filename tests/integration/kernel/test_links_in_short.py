"""What is read of links in short is what is read of them at length."""

import pytest
from kernel_fixtures import BRIDGE_OUT, QG, TAP_OUT
from whole_router import WHOLE

from gapless.agent.kernel import links
from gapless.agent.kernel.links import Outline
from gapless.agent.reconcile import Reconciler
from gapless.kernel.netlink import Netlink

pytestmark = pytest.mark.isolated


def test_of_ports_bridges_and_tunnels_alike(host: Reconciler) -> None:
    host.reconcile(WHOLE)
    with Netlink() as netlink:
        whole, short = links.all_links(netlink), links.outlines(netlink)
    assert {it.kind for it in whole} >= {"veth", "bridge", "vxlan"}
    assert [{key: getattr(it, key) for key in Outline.__struct_fields__} for it in whole] == [
        {key: getattr(it, key) for key in Outline.__struct_fields__} for it in short
    ]


def test_masters_and_states_and_indices_as_they_are_found(host: Reconciler) -> None:
    host.reconcile(WHOLE)
    names = [TAP_OUT, BRIDGE_OUT, QG]
    with Netlink() as netlink:
        found = links.find(netlink, names)
        assert set(found) == {TAP_OUT, BRIDGE_OUT}, "one is in the router's namespace"
        ports, root = links.masters(netlink, [TAP_OUT, QG], BRIDGE_OUT)
        assert ports == {TAP_OUT: found[BRIDGE_OUT].index}
        assert root == found[BRIDGE_OUT].index
        assert links.masters(netlink, [BRIDGE_OUT], QG) == ({}, None)
        assert links.operational(netlink, names) == {name for name, it in found.items() if it.operational} != set()
        assert links.find_ports(netlink, [TAP_OUT, QG], [BRIDGE_OUT, "none"]) == (
            {TAP_OUT: found[TAP_OUT]},
            {BRIDGE_OUT: found[BRIDGE_OUT].index},
        )
