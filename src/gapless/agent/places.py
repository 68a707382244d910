"""Which bridge each tap of this host's routers is plugged into, or is about to be: looked up once, and then remembered.

What is decided is decided in `core.dataplane.leaves`; here is what it is decided from. The rule: a tap that is plugged
into one of its network's bridges is there for its life, whoever plugged it in; so an agent that begins finds out, and
moves none. What other ports there are is listed now and then, for a listing takes a while with a thousand of them; a
leaf is made by a new listing only. Where somebody has filled a bridge since, the kernel refuses a port, and a later try
knows of it. Of a network that no router is on any more nothing is remembered.

Invariant: a tap that was placed counts on its bridge from that moment on. Thread-safe.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

from gapless.agent.kernel.links import masters
from gapless.agent.kernel.observe import plugged
from gapless.core.dataplane.leaves import LEAVES_MOST, ROOM, leaf_of, place
from gapless.errors import Unavailable
from gapless.kernel.netlink import Netlink
from gapless.model.leaf import Plugged, Room
from gapless.model.network import NetworkId
from gapless.model.observed import JOINT_PREFIX, Segment
from gapless.model.router import RouterId

FRESH_S: Final = 10.0
"""How long a listing of a network's ports is believed."""


@dataclass(slots=True)
class _Known:
    """What is known of one network."""

    placed: dict[str, int] = field(default_factory=dict)
    """Of taps, the numbers of their bridges."""
    ports: dict[int, set[str]] = field(default_factory=dict)
    """By a bridge's number: those that were listed, and those that were placed."""
    foreign: frozenset[int] = frozenset()
    numbers: Mapping[int, int] = field(default_factory=dict)
    """Of the bridges that were listed, by index."""
    listed_at: float = -inf

    def list(self, host: Netlink, segment: Segment, now: float, *, masters: Collection[int], leaves: bool) -> None:
        """Look what there is. Leaves are many names, and nearly every network would pay for having none: they are
        looked for where they are asked for, where some were known or the root has a joint, and where a tap that matters
        here is on a bridge that is not the root. `masters`: the indices of these taps' bridges.
        """
        matter = leaves or self.ports.keys() > {0}
        if not matter:
            self._list(host, segment, now, ())
            is_joined = any(name.startswith(JOINT_PREFIX) for name in self.ports[0])
            matter = is_joined or not self.numbers.keys() >= set(masters)
        if matter:
            self._list(host, segment, now, range(1, LEAVES_MOST + 1))
        for tap, number in self.placed.items():
            self.is_on(tap, number)

    def _list(self, host: Netlink, segment: Segment, now: float, leaves: Iterable[int]) -> None:
        """The root and these leaves."""
        named = {number: leaf_of(segment.network_id, number) for number in leaves}
        found, self.numbers = plugged(host, segment.bridge, named)
        self.ports = {number: set(names) for number, names in found.ports.items()}
        self.ports[0] |= {segment.vxlan.name} if segment.vxlan is not None else set()
        self.ports[0] |= {segment.uplink} if segment.uplink is not None else set()
        self.foreign, self.listed_at = found.foreign, now

    def is_on(self, tap: str, number: int) -> None:
        """A tap counts on this bridge, and on no other."""
        for names in self.ports.values():
            names.discard(tap)
        self.ports.setdefault(number, set()).add(tap)

    def choose(self, taps: Collection[str], room: Room) -> dict[str, int]:
        """Where these taps are, or go. Raises Unavailable."""
        return place(taps, Plugged(ports=self.ports, foreign=self.foreign), room)

    def has_room_for(self, taps: Collection[str], room: Room) -> bool:
        """Whether these taps find room without a new leaf."""
        try:
            return self.ports.keys() >= set(self.choose(taps, room).values())
        except Unavailable:
            return False


class Places:
    """Of one host."""

    def __init__(self, room: Room = ROOM, *, now: Callable[[], float] = time.monotonic) -> None:
        self._room = room
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[NetworkId, _Known] = {}
        self._of_router: dict[RouterId, dict[NetworkId, frozenset[str]]] = {}

    def plug(
        self, host: Netlink, router_id: RouterId, wanted: Iterable[tuple[Segment, frozenset[str]]]
    ) -> dict[str, int]:
        """The number of the bridge of each of a router's taps, which are all that it has from now on.

        Raises Unavailable where one finds no room, or the kernel does not tell.
        """
        segments = list(wanted)
        with self._lock:
            now = {segment.network_id: taps for segment, taps in segments}
            for network_id, taps in self._of_router.pop(router_id, {}).items():
                self._let_go(network_id, taps - now.get(network_id, frozenset()))
            self._of_router[router_id] = now
            return {
                tap: number for segment, taps in segments for tap, number in self._place(host, segment, taps).items()
            }

    def leaves(self, network_id: NetworkId) -> frozenset[int]:
        """The numbers of a network's leaves that routers' taps are placed on."""
        with self._lock:
            known = self._known.get(network_id)
            return frozenset(known.placed.values()) - {0} if known is not None else frozenset()

    def forget(self, router_ids: Iterable[RouterId]) -> None:
        """These routers are gone, or it is not known how far they were built: it is to be looked up where they are."""
        with self._lock:
            for router_id in router_ids:
                for network_id, taps in self._of_router.pop(router_id, {}).items():
                    self._let_go(network_id, taps)

    def doubt(self) -> None:
        """Bridges were removed: what was listed may be wrong."""
        with self._lock:
            for known in self._known.values():
                known.listed_at = -inf

    def _let_go(self, network_id: NetworkId, taps: Collection[str]) -> None:
        if (known := self._known.get(network_id)) is not None:
            for tap in taps:
                known.placed.pop(tap, None)
            if not known.placed:
                del self._known[network_id]

    def _place(self, host: Netlink, segment: Segment, taps: frozenset[str]) -> dict[str, int]:
        known = self._known.setdefault(segment.network_id, _Known())
        new = sorted(taps - known.placed.keys())
        if new:
            self._look(host, segment, known, new)
            for tap, number in known.choose(new, self._room).items():
                known.placed[tap] = number
                known.is_on(tap, number)
        return {tap: known.placed[tap] for tap in taps}

    def _look(self, host: Netlink, segment: Segment, known: _Known, taps: list[str]) -> None:
        """Know what there is, as far as it matters for these taps."""
        now = self._now()
        plugged_into, root = masters(host, taps, segment.bridge)
        if plugged_into == dict.fromkeys(taps, root):  # To list ports, the kernel looks at each link of the host.
            for tap in taps:
                known.is_on(tap, 0)
            return
        is_fresh = now - known.listed_at < FRESH_S and known.numbers.keys() >= set(plugged_into.values())
        if is_fresh:
            for tap, index in plugged_into.items():
                known.is_on(tap, known.numbers[index])
        if not is_fresh:
            known.list(host, segment, now, masters=plugged_into.values(), leaves=False)
        if not known.has_room_for(taps, self._room):
            known.list(host, segment, now, masters=plugged_into.values(), leaves=True)
