"""Joints, leaves and roots that break: whoever is asked first mends them, and no router moves."""

import subprocess

import pytest
from kernel_fixtures import BRIDGE_OUT, EXTERNAL, Wires, ip
from wide_street import (
    AT_ROOT,
    LEAF_A,
    LEAF_B,
    ON_A,
    ON_B,
    ROUTERS,
    SMALL,
    STRANGER,
    Street,
    address,
    bridge_of,
    host,
    request,
    street,
    tap,
)

from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Reconciler
from gapless.errors import Unavailable
from gapless.model.router import Router

__all__ = ["host", "street"]

pytestmark = pytest.mark.isolated

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
