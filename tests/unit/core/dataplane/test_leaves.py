"""The bridges of a network on a host: their names, and where ports go."""

import pytest

from gapless.core.dataplane.desired import bridge_name
from gapless.core.dataplane.leaves import ROOM, is_leaf, leaf_end_of, leaf_of, place, root_end_of
from gapless.errors import Unavailable
from gapless.model.leaf import Plugged, Room
from gapless.model.network import NetworkId

NETWORK = NetworkId("eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee")
SMALL = Room(ports=5, leaves=2)
"""A root with room for three ports and two joints; leaves with room for four."""


def test_names_fit_and_tell_leaves_from_roots() -> None:
    leaves = [leaf_of(NETWORK, number) for number in range(1, ROOM.leaves + 1)]
    names = [name for leaf in leaves for name in (leaf.bridge, leaf.root_end, leaf.leaf_end)]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 15 for name in names)
    assert all(is_leaf(leaf.bridge) for leaf in leaves)
    assert not is_leaf(bridge_name(NETWORK))
    assert [(root_end_of(it.bridge), leaf_end_of(it.bridge)) for it in leaves] == [
        (it.root_end, it.leaf_end) for it in leaves
    ]
    assert (leaves[0].bridge, leaves[0].root_end) == ("brqeeeeeeee-eea", "jnreeeeeeee-eea")


def test_a_bridge_would_take_any_other_address_for_its_own() -> None:
    """It takes the lowest one of its ports, and those of joints are the same on every host."""
    leaves = [leaf_of(NETWORK, number) for number in range(1, ROOM.leaves + 1)]
    macs = [mac for leaf in leaves for mac in (leaf.root_end_mac, leaf.leaf_end_mac)]
    assert len(set(macs)) == len(macs)
    assert all(mac.startswith("fe:") for mac in macs)


def test_the_root_is_filled_before_a_leaf_is_made() -> None:
    there = Plugged(ports={0: {"eth2", "tap1"}})
    assert place(["tap2", "tap3"], there, SMALL) == {"tap2": 0, "tap3": 1}


def test_a_port_that_goes_leaves_room_and_the_others_stay() -> None:
    there = Plugged(ports={0: {"eth2", "tap1"}, 1: {"tap3", "tap4"}})
    assert place(["tap3", "tap5", "tap6"], there, SMALL) == {"tap3": 1, "tap5": 0, "tap6": 1}


def test_a_leaf_whose_name_is_somebody_elses_is_passed_over() -> None:
    there = Plugged(ports={0: {"eth2", "tap1", "tap2"}}, foreign=frozenset({1}))
    assert place(["tap3"], there, SMALL) == {"tap3": 2}


def test_as_many_as_the_kernel_has_room_for() -> None:
    most = 1023 - 15 + 15 * 1022
    taps = [f"tap{number:05}" for number in range(most)]
    numbers = place(taps, Plugged(ports={0: set[str]()})).values()
    assert [list(numbers).count(number) for number in (0, 1, 15)] == [1008, 1022, 1022]
    with pytest.raises(Unavailable, match="no room left on this host: its first bridge has 1,023 ports at most"):
        place([*taps, "one more"], Plugged(ports={0: set[str]()}))


def test_a_root_full_to_the_last_port_can_be_joined_to_nothing() -> None:
    full = Plugged(ports={0: {f"tap{number}" for number in range(5)}})
    with pytest.raises(Unavailable, match="can be joined to no further one"):
        place(["new"], full, SMALL)
