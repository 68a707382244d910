"""When a router that was taken over forwarded its first packet here, by the count that its kernel keeps anyway.

Each namespace counts the packets that it forwarded (`ForwDatagrams` of RFC 4293). Behind a closed guard that count
stands still, whatever is announced or asked for by ARP; so it is read once when a router was built or closed, and again
after a takeover, until it has grown. Nothing is added to the way of a frame.

The rule: **what is told is an upper bound**, the moment at which the growth was seen. One look at a router takes some
30 µs of the processor, all looks together a tenth of one core at most, for `WATCH_S` at most: so one router is looked
at each two milliseconds, a hundred each 35, and a thousand three times a second. A router that forwards nothing in that
time is not told of.
"""

import asyncio
import os
import time
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from gapless.errors import GaplessError
from gapless.kernel import netns
from gapless.model.router import RouterId

WATCH_S = 2.0
PAUSE_S = 0.002
SHARE = 0.1
"""Of one core, while routers are watched."""
RESTING_AT_ONCE = 50
"""So that a takeover is looked at within milliseconds."""
_SNMP = "/proc/thread-self/net/snmp"
_SNMP_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Count:
    """Packets that a router had forwarded at a moment, monotonic seconds."""

    packets: int
    at: float


Counting = Callable[[Iterable[RouterId]], Mapping[RouterId, Count]]
"""Counts of routers; those of which none can be read are left out. Blocks, and raises Unavailable."""


class Watch:
    """Which routers are to be looked at, and what is known of them. Pure."""

    def __init__(self) -> None:
        self._resting: set[RouterId] = set()
        """Closed, and not looked at since."""
        self._until: dict[RouterId, float] = {}
        """Taken over, and seen to forward nothing yet: how long they are looked at."""
        self._before: dict[RouterId, int] = {}

    def rest(self, routers: Iterable[RouterId]) -> None:
        """These are closed, and forward nothing."""
        for router_id in routers:
            self._until.pop(router_id, None)
            self._resting.add(router_id)

    def begin(self, routers: Iterable[RouterId], now: float) -> None:
        """These were taken over."""
        for router_id in routers:
            self._resting.discard(router_id)
            self._until[router_id] = now + WATCH_S

    def keep(self, routers: Container[RouterId]) -> None:
        """Others than these are not planned here any more."""
        self._before = {router_id: packets for router_id, packets in self._before.items() if router_id in routers}

    def due(self, now: float) -> tuple[RouterId, ...]:
        """Those to be looked at now."""
        self._until = {router_id: until for router_id, until in self._until.items() if now < until}
        return *self._until, *islice(self._resting, RESTING_AT_ONCE)

    def seen(self, asked: Iterable[RouterId], counts: Mapping[RouterId, Count]) -> dict[RouterId, float]:
        """Take in what was read; the routers that have forwarded their first packet, and by when."""
        first = {}
        for router_id in asked:
            count, before = counts.get(router_id), self._before.get(router_id)
            is_resting = router_id in self._resting
            if count is None or before is None or is_resting or count.packets < before:
                self._set(router_id, count)
            elif count.packets > before and self._until.pop(router_id, None) is not None:
                first[router_id] = count.at
            self._resting.discard(router_id)
        return first

    def _set(self, router_id: RouterId, count: Count | None) -> None:
        if count is not None:
            self._before[router_id] = count.packets
        else:
            self._before.pop(router_id, None)


def read(routers: Iterable[RouterId]) -> dict[RouterId, Count]:
    """What routers on this machine have forwarded."""

    def visit() -> dict[RouterId, Count]:
        counts = {}
        for router_id in routers:
            with suppress(OSError, ValueError):  # Its namespace is not there.
                counts[router_id] = Count(_forwarded(router_id), time.monotonic())
        return counts

    return netns.in_own_thread(visit, "read what routers have forwarded")


def _forwarded(router_id: RouterId) -> int:
    netns.go_into(netns.path_of(router_id))
    descriptor = os.open(_SNMP, os.O_RDONLY | os.O_CLOEXEC)
    try:
        names, values = os.read(descriptor, _SNMP_BYTES).splitlines()[:2]
    finally:
        os.close(descriptor)
    return int(values.split()[names.split().index(b"ForwDatagrams")])


class FirstPackets:
    """Looks while there is something to be seen, and calls `seen` with it."""

    def __init__(self, seen: Callable[[Mapping[RouterId, float]], None], counting: Counting = read) -> None:
        self._seen = seen
        self._counting = counting
        self._watch = Watch()
        self._work = asyncio.Event()

    def rest(self, routers: Iterable[RouterId]) -> None:
        """As in `Watch`."""
        self._watch.rest(routers)
        self._work.set()

    def begin(self, routers: Iterable[RouterId]) -> None:
        """As in `Watch`."""
        self._watch.begin(routers, time.monotonic())
        self._work.set()

    def keep(self, routers: Container[RouterId]) -> None:
        """As in `Watch`."""
        self._watch.keep(routers)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._work.wait()
            began = time.monotonic()
            if not (due := self._watch.due(began)):
                self._work.clear()
                continue
            counts: Mapping[RouterId, Count] = {}
            with suppress(GaplessError):  # It is for people, and disturbs nothing.
                counts = await asyncio.to_thread(self._counting, due)
            if first := self._watch.seen(due, counts):
                self._seen(first)
            await asyncio.sleep(max(PAUSE_S, (time.monotonic() - began) * (1 - SHARE) / SHARE))
