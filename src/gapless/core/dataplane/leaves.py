"""Which bridge of its network a port is plugged into on a host, where one bridge has not room for all.

A Linux bridge has 1,023 ports at most. So a network has one bridge, its root, which holds the way out (an uplink, a
VXLAN device), and as many leaves as its ports need: further bridges, each joined to the root by one pair of links.

The rule: a port stays on its bridge for its life. A new one goes to the first bridge that has room, the root before
leaves; a leaf is made when there is none, and goes when it has no port left (`agent.kernel.sweep`).

Invariant: bridges form a star, so there are no loops; and the root keeps a port free for each joint that may come.

A joint is to each of its bridges what an uplink is: broadcasts that come by it are steered (`core.dataplane.steering`),
and announcements and nudges that cross it teach the bridge behind it.
"""

import hashlib
from collections.abc import Collection, Iterable
from string import ascii_lowercase
from typing import Final

from gapless.core.dataplane.desired import bridge_name
from gapless.errors import Unavailable
from gapless.model.leaf import Leaf, Plugged, Room
from gapless.model.network import NetworkId
from gapless.model.observed import BRIDGE_PREFIX, JOINT_PREFIX, NAME_LENGTH

ROOM: Final = Room()
"""As the kernel has it."""
LEAVES_MOST: Final = len(ascii_lowercase)
"""As many have names, and are looked for: another build may have had room for more."""
_LAST_IN_ORDER = 0xFE
"""First byte of the joints' addresses. A bridge takes the lowest address of its ports for its own; it is to have none
of these, which are the same on all hosts."""


def leaf_of(network_id: NetworkId, number: int) -> Leaf:
    """The leaf of this number, from 1 on: the letter behind the root's name is its own."""
    name = f"{bridge_name(network_id)}{ascii_lowercase[number - 1]}"
    return Leaf(
        bridge=name,
        root_end=root_end_of(name),
        root_end_mac=_mac(network_id, root_end_of(name)),
        leaf_end=leaf_end_of(name),
        leaf_end_mac=_mac(network_id, leaf_end_of(name)),
    )


def is_leaf(bridge: str) -> bool:
    """Whether a bridge of ours with this name is a leaf."""
    return len(bridge) > len(BRIDGE_PREFIX) + NAME_LENGTH


def root_end_of(leaf: str) -> str:
    """The root's end of the joint of the leaf with this name."""
    return f"{JOINT_PREFIX}r{leaf.removeprefix(BRIDGE_PREFIX)}"


def leaf_end_of(leaf: str) -> str:
    """The leaf's own end of its joint."""
    return f"{JOINT_PREFIX}l{leaf.removeprefix(BRIDGE_PREFIX)}"


def _mac(network_id: NetworkId, end: str) -> str:
    digest = hashlib.sha256(f"{network_id} {end}".encode()).digest()
    return bytes((_LAST_IN_ORDER, *digest[:5])).hex(":")


def place(taps: Iterable[str], there: Plugged, room: Room = ROOM) -> dict[str, int]:
    """The number of the bridge of each of these taps. Raises Unavailable where no bridge has room for one.

    `there` has the root, at least. A root that an earlier build filled to its last port can be joined to no leaf.
    """
    taken = {number: len(names) for number, names in there.ports.items()}
    placed = {}
    for tap in sorted(taps):
        number = next((number for number, names in there.ports.items() if tap in names), None)
        if number is None:
            number = _first_with_room(taken, there.foreign, room)
            taken[number] = taken.get(number, 0) + 1
        placed[tap] = number
    return placed


def _first_with_room(taken: dict[int, int], foreign: Collection[int], room: Room) -> int:
    for number in sorted(taken):
        if taken[number] < (room.ports - 1 if number else room.ports - room.leaves):
            return number
    free = [number for number in range(1, room.leaves + 1) if number not in taken and number not in foreign]
    if not free or taken[0] + len(taken) - 1 >= room.ports:
        raise Unavailable(
            f"the network has no room left on this host: its first bridge has {room.ports:,} ports at most, and can be "
            f"joined to no further one; give this host fewer routers of that network (--capacity)"
        )
    return free[0]
