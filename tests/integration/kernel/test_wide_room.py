"""Leaves are made when there is no room any more, as many as needed, and go with their last port."""

from pathlib import Path

import pytest
from kernel_fixtures import BRIDGE_OUT, EXTERNAL, Wires, ip
from wide_street import AT_ROOT, LEAF_A, LEAF_B, ON_A, ON_B, ROUTERS, SMALL, address, bridge_of, host, names

from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.leaves import ROOM
from gapless.errors import Unavailable
from gapless.model.leaf import Room

__all__ = ["host"]

pytestmark = pytest.mark.isolated


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
    agent._networks.ports.doubt()
    assert not any(agent.reconcile(it).changed for it in ROUTERS[:4]), "a joint is no way out"
    agent.remove_together([it.id for it in ROUTERS[:4]])
    agent.sweep([])
    assert names() == before
    agent.close()


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
    agent._networks.places.doubt()
    for it in ROUTERS[1:4]:
        agent.reconcile(it)
    assert {bridge_of(it) for it in ROUTERS[1:4]} == {LEAF_A.bridge}
    for it in ROUTERS[:4]:
        assert wires.reaches("outside", address(it))
    agent.close()
