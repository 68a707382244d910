"""How much of a host is looked at to find where taps are, or go: leaves are many names, ports of a bridge a list."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from gapless.agent import places
from gapless.agent.places import Places
from gapless.core.dataplane.leaves import LEAVES_MOST, root_end_of
from gapless.kernel.netlink import Netlink
from gapless.model.leaf import Leaf, Plugged, Room
from gapless.model.network import NetworkId
from gapless.model.observed import Segment
from gapless.model.router import RouterId

HOST = object.__new__(Netlink)
NETWORK = NetworkId("n")
SEGMENT = Segment(network_id=NETWORK, bridge="brq-n", mtu=1500)
ROOT, LEAF = 10, 11
ROOM = Room(ports=4, leaves=2)


@dataclass
class Kernel:
    """Bridges and what is plugged into them, and which leaves were asked for."""

    ports: dict[int, set[str]] = field(default_factory=dict)
    """By the number of a bridge."""
    foreign: frozenset[int] = frozenset()
    asked: list[int] = field(default_factory=list)
    """How many leaves were looked for with each listing."""

    def masters(self, _: Netlink, names: Collection[str], __: str) -> tuple[dict[str, int], int | None]:
        at = {name: ROOT + number for number, ports in self.ports.items() for name in ports & set(names)}
        return at, ROOT if 0 in self.ports else None

    def plugged(self, _: Netlink, __: str, leaves: Mapping[int, Leaf]) -> tuple[Plugged, dict[int, int]]:
        self.asked.append(len(leaves))
        seen = {number: ports for number, ports in self.ports.items() if number in {0, *leaves}}
        there = Plugged(
            ports={0: frozenset[str]()} | {number: frozenset(ports) for number, ports in seen.items()},
            foreign=self.foreign & leaves.keys(),
        )
        return there, {ROOT + number: number for number in seen}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(places, "masters", made.masters)
    monkeypatch.setattr(places, "plugged", made.plugged)
    return made


def plug(known: Places, *taps: str) -> dict[str, int]:
    return known.plug(HOST, RouterId(f"r-{taps[0]}"), [(SEGMENT, frozenset(taps))])


def test_where_all_taps_are_on_the_root_nothing_is_listed(kernel: Kernel) -> None:
    kernel.ports = {0: {"tap1", "tap2", "eth1"}}
    assert plug(Places(ROOM), "tap1", "tap2") == {"tap1": 0, "tap2": 0}
    assert kernel.asked == []


def test_what_was_not_listed_is_before_a_new_tap_finds_its_place(kernel: Kernel) -> None:
    kernel.ports = {0: {"tap1", "eth1"}}
    known = Places(ROOM)
    plug(known, "tap1")
    assert plug(known, "tap2") == {"tap2": 1}, "the root keeps as many ports free as it may have joints"
    assert kernel.asked == [0, LEAVES_MOST]


@pytest.mark.parametrize("ports", [{}, {0: {"eth1"}}])
def test_a_new_tap_with_room_on_a_root_that_has_no_joint_looks_for_no_leaf(
    kernel: Kernel, ports: dict[int, set[str]]
) -> None:
    kernel.ports = ports
    assert plug(Places(ROOM), "tap1") == {"tap1": 0}
    assert kernel.asked == [0]


def test_leaves_are_looked_for_where_the_root_has_a_joint(kernel: Kernel) -> None:
    kernel.ports = {0: {"eth1", root_end_of("brq-na"), "tap1"}, 1: {"tap2"}}
    assert plug(Places(ROOM), "tap3") == {"tap3": 1}
    assert kernel.asked == [0, LEAVES_MOST]


def test_a_tap_on_a_leaf_that_lost_its_joint_stays_there(kernel: Kernel) -> None:
    kernel.ports = {0: {"eth1"}, 1: {"tap1"}}
    known = Places(ROOM)
    assert plug(known, "tap1") == {"tap1": 1}
    assert known.leaves(NETWORK) == {1}


def test_no_leaf_is_made_of_a_name_that_is_somebody_elses(kernel: Kernel) -> None:
    kernel.ports, kernel.foreign = {0: {"eth1", "tap1"}}, frozenset({1})
    assert plug(Places(ROOM), "tap2") == {"tap2": 2}


def test_what_was_found_to_have_leaves_is_listed_with_them_at_once(kernel: Kernel) -> None:
    kernel.ports = {0: {"eth1", root_end_of("brq-na")}, 1: {"tap1"}}
    known = Places(ROOM)
    plug(known, "tap1")
    known.doubt()
    plug(known, "tap2")
    assert kernel.asked == [0, LEAVES_MOST, LEAVES_MOST]
