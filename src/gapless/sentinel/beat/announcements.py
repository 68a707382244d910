"""Announcements in turn: which routers are announced next, a few at a time between beats, and again later.

The rule: what was just opened comes before repeats. A chunk takes well under a millisecond, and the loop goes on with
the beat after each.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Protocol

from gapless.model.router import RouterId
from gapless.sentinel.beat.announce import Burst
from gapless.sentinel.beat.preparing import Port
from gapless.sentinel.beat.repeats import Repeats
from gapless.wire.beat import BeatRouter

ROUTERS_AT_ONCE = 8


class Announcing(Protocol):
    """`sentinel.beat.announce.Announcer`, as far as it is used here."""

    def prepare(self, router_id: RouterId, ports: Sequence[Port]) -> None:
        """Get ready to announce a router."""

    def forget(self, router_id: RouterId) -> None:
        """Let go of a router."""

    def burst(self, routers: Iterable[RouterId], breathe: Callable[[], None]) -> Burst:
        """Announce these now."""


class Announcements:
    """Of one beat. `announced` is told of each router's first announcement after it was asked for: of those that were
    announced whole, and of those of which something was not there (yet).
    """

    def __init__(self, announcer: Announcing, clock: Callable[[], float] = time.monotonic) -> None:
        self._announcer = announcer
        self._clock = clock
        self._repeats = Repeats()
        # Each router is in a queue once, in the order of the first wish.
        self._first: dict[RouterId, None] = {}
        self._burst: dict[RouterId, None] = {}
        """Announced since `_first` was empty: they are repeated together."""
        self._again: dict[RouterId, None] = {}
        self.announced: Callable[[tuple[RouterId, ...], tuple[RouterId, ...], float], None] = lambda *_: None

    def prepare(self, router: BeatRouter) -> None:
        """Have what there is to announce of this router ready."""
        ports = [
            Port(link=port.link, mac=port.mac, addresses=port.addresses, bridge=port.bridge, way_out=port.way_out)
            for port in router.ports
            if port.way_out
        ]
        self._announcer.prepare(router.router_id, ports)

    def forget(self, router_id: RouterId) -> None:
        """It is not planned here any more."""
        self.silence([router_id])
        self._announcer.forget(router_id)

    def announce(self, routers: Iterable[RouterId]) -> None:
        """Announce these as soon as the beat leaves time, in their order, and again later."""
        for router_id in routers:
            self._first.setdefault(router_id)
            self._again.pop(router_id, None)

    def announce_again(self, routers: Iterable[RouterId]) -> None:
        """Announce these once more, when nothing else waits."""
        self._again |= {router_id: None for router_id in routers if router_id not in self._first}

    def silence(self, routers: Iterable[RouterId]) -> None:
        """Announce these no more, also if their turn had not come."""
        for router_id in routers:
            for queue in (self._first, self._burst, self._again):
                queue.pop(router_id, None)
            self._repeats.forget(router_id)

    def next_deadline(self) -> float | None:
        """When `work` has something to do, monotonic seconds; None: nothing waits."""
        if self._first or self._again:
            return self._clock()
        return self._repeats.next_deadline()

    def work(self) -> None:
        """Send one chunk, if one is due."""
        if not self._first:
            self.announce_again(self._repeats.due(self._clock()))
            if self._again:
                self._send(self._again)
            return
        chunk, unready = self._send(self._first)
        self._burst |= dict.fromkeys(chunk)
        now = self._clock()
        self.announced(tuple(router_id for router_id in chunk if router_id not in unready), unready, now)
        if not self._first:
            self._repeats.begin(self._burst, now)
            self._burst = {}

    def _send(self, waiting: dict[RouterId, None]) -> tuple[list[RouterId], tuple[RouterId, ...]]:
        """Announce the first few; returns them, and those of them that were not whole."""
        chunk = list(islice(waiting, ROUTERS_AT_ONCE))
        for router_id in chunk:
            del waiting[router_id]
        return chunk, tuple(self._announcer.burst(chunk, lambda: None).unready)
