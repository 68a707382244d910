"""Where ports are plugged in: they stay, none is one too many, and nothing but what is there decides."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.dataplane.leaves import place
from gapless.errors import Unavailable
from gapless.model.leaf import Plugged, Room

ROOM = Room(ports=5, leaves=3)
AT_ROOT = ROOM.ports - ROOM.leaves
MOST = AT_ROOT + ROOM.leaves * (ROOM.ports - 1)
"""Ports of one network, with its way out."""

names = st.sampled_from([f"tap{number:02}" for number in range(MOST + 6)])
wishes = st.lists(st.tuples(st.booleans(), st.sets(names, min_size=1, max_size=4)), max_size=40)
"""Taps that come, or go, together."""


def plugged(where: Mapping[str, int], foreign: frozenset[int] = frozenset()) -> Plugged:
    """As it is observed: the root, and the leaves that have ports."""
    ports = {number: {tap for tap, its in where.items() if its == number} for number in {0, *where.values()}}
    return Plugged(ports=ports, foreign=foreign)


def after(
    wanted: list[tuple[bool, set[str]]], where: dict[str, int], room: Room = ROOM, foreign: frozenset[int] = frozenset()
) -> dict[str, int]:
    """Where everything is when all that was wanted was done, as far as there was room; checked after each step."""
    for comes, taps in wanted:
        if not comes:
            where = {tap: number for tap, number in where.items() if tap not in taps}
            continue
        try:
            placed = place(taps, plugged(where, foreign), room)
        except Unavailable:
            continue
        assert placed.keys() == taps
        assert {tap: where[tap] for tap in taps & where.keys()}.items() <= placed.items(), "a port was moved"
        where |= placed
    return where


def loads(where: Mapping[str, int]) -> dict[int, int]:
    return {number: list(where.values()).count(number) for number in {0, *where.values()}}


def holds(where: Mapping[str, int], room: Room) -> bool:
    """Whether the kernel takes it: each leaf has a joint, with an end in the leaf and one in the root."""
    load = loads(where)
    at_root = load.pop(0) + len(load)
    return at_root <= room.ports and all(ports + 1 <= room.ports for ports in load.values())


@given(wishes)
def test_no_bridge_has_a_port_too_many(wanted: list[tuple[bool, set[str]]]) -> None:
    where = {"uplink": 0}
    for wish in wanted:
        where = after([wish], where)
        assert where["uplink"] == 0
        assert holds(where, ROOM)
        assert max(where.values()) <= ROOM.leaves


@given(
    st.lists(names, min_size=1, max_size=6, unique=True).flatmap(
        lambda it: st.tuples(st.just(it), st.permutations(it))
    ),
    wishes,
)
def test_the_order_in_which_taps_are_named_decides_nothing(
    taps: tuple[list[str], list[str]], wanted: list[tuple[bool, set[str]]]
) -> None:
    there = plugged(after(wanted, {"uplink": 0}))
    assert _placed(taps[0], there) == _placed(taps[1], there)


def _placed(taps: list[str], there: Plugged) -> dict[str, int] | None:
    try:
        return place(taps, there, ROOM)
    except Unavailable:
        return None


@given(st.dictionaries(names, st.integers(0, 7), max_size=MOST + 6))
def test_what_is_found_is_adopted_as_it_is_however_full(where: dict[str, int]) -> None:
    """An earlier build filled the root to the last port; another numbered leaves otherwise."""
    assert place(where, plugged(where), ROOM) == where
    assert place(where, plugged(where), Room(ports=1, leaves=0)) == where


@given(wishes, st.frozensets(st.integers(1, ROOM.leaves)))
def test_nothing_is_plugged_into_what_is_somebody_elses(
    wanted: list[tuple[bool, set[str]]], foreign: frozenset[int]
) -> None:
    assert not foreign & set(after(wanted, {"uplink": 0}, foreign=foreign).values())


@given(wishes, names)
def test_a_new_leaf_is_made_only_when_no_bridge_has_room(wanted: list[tuple[bool, set[str]]], tap: str) -> None:
    where = after(wanted, {"uplink": 0})
    where.pop(tap, None)
    load = loads(where)
    try:
        number = place([tap], plugged(where), ROOM)[tap]
    except Unavailable:
        assert len(where) == MOST
        return
    with_room = [it for it, ports in load.items() if ports < (ROOM.ports - 1 if it else AT_ROOT)]
    assert number == min(with_room) if with_room else number not in load


@given(st.integers(AT_ROOT, ROOM.ports))
def test_a_root_that_is_full_from_before_gets_a_leaf_as_long_as_a_joint_finds_a_port(ports: int) -> None:
    where = {f"tap{number:02}": 0 for number in range(ports)}
    try:
        where |= place(["new"], plugged(where), ROOM)
    except Unavailable:
        assert ports == ROOM.ports
    else:
        assert where["new"] == 1
        assert holds(where, ROOM)
