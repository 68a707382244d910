"""Which routers the planner looks at next, and what each of the others waits for.

The planner does not go over all routers with each event: there may be tens of thousands. Whoever changes something
about a router says so (`at`), and it is looked at before the event is over. What is not to be had now is waited for: a
time (`later`), the end of the brake, a host that can take the router, or its turn, since to look for a standby is to
look at every host.

The rule: to be looked at says nothing of what there is to see. A look without need finds nothing new; so whoever is in
doubt asks for one.

The invariant: what waits for a host is looked at again when one can take more (`again`), what waits for the brake when
that ends, and what waits for a turn gets it, longest first.
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import islice
from math import inf

from gapless.model.router import RouterId

STANDBY_TURNS = 32
"""Routers for which a standby is looked for in one turn of the planner, and that are looked at with each tick, though
nobody said that there is room for one."""


class Looks:
    """Of one planner."""

    def __init__(self) -> None:
        self._unsettled: set[RouterId] = set()
        self._waiting: set[RouterId] = set()
        """For a host that can take them, or stand by for them."""
        self._queue: dict[RouterId, None] = {}
        """Routers that wait for a turn to get a standby, longest first."""
        self._without: dict[RouterId, None] = {}
        """Routers that run, and wait for a host that can stand by for them."""
        self._braked: set[RouterId] = set()
        """Something would have been asked for them, were the brake not engaged."""
        self._is_again_due = False
        self._turns_left = STANDBY_TURNS
        self._alarms: list[tuple[float, RouterId]] = []
        self._next_alarm: dict[RouterId, float] = {}

    def at(self, *router_ids: RouterId) -> None:
        """Something about these routers changed: see what they wish before the event is over."""
        self._unsettled.update(router_ids)

    def again(self) -> None:
        """A host can take more than before: see whether it can take what waits."""
        self._is_again_due = True

    def take(self) -> list[RouterId]:
        """What is to be looked at now, in the order of the ids. Another turn of the planner begins."""
        if self._is_again_due:
            self._at_what_waits()
        ids, self._unsettled = sorted(self._unsettled), set()
        self._turns_left = STANDBY_TURNS
        for router_id in ids:
            self._without.pop(router_id, None)
        return ids

    def _at_what_waits(self) -> None:
        """What runs and lacks a standby only takes turns: there may be tens of thousands of them."""
        self._is_again_due = False
        self._unsettled |= self._waiting - self._without.keys() - self._queue.keys()
        self._queue |= self._without
        self._without = {}
        self.next_standby(STANDBY_TURNS)

    # For a host

    def wait_for_a_host(self, router_id: RouterId, *, waits: bool) -> None:
        """Whether the router waits for a host that can take it, or stand by for it."""
        if waits:
            self._waiting.add(router_id)
        else:
            self._waiting.discard(router_id)

    def waiting_for_a_host(self) -> Iterable[RouterId]:
        """What `again` would have looked at, sooner or later, in the order of the ids."""
        return sorted(self._waiting)

    def forget(self, router_id: RouterId) -> None:
        """The router does not exist any more."""
        self._waiting.discard(router_id)
        self._queue.pop(router_id, None)
        self._without.pop(router_id, None)
        self._braked.discard(router_id)

    # For the end of the brake

    def wait_for_the_brake(self, router_id: RouterId) -> None:
        """Whoever it waits for may be over, and is not asked about now."""
        self._braked.add(router_id)

    def brake_ended(self) -> None:
        """Whoever waited for that is looked at, whichever hosts are known by now."""
        self._unsettled |= self._braked
        self._braked = set()

    # For a turn

    def wait_for_a_turn(self, router_id: RouterId) -> None:
        """Every host that could stand by has enough to build; looked at again by `next_standby`."""
        self._queue[router_id] = None

    def wait_for_a_standby(self, router_id: RouterId) -> None:
        """No host can stand by for it; looked at again when that may be otherwise, and it is its turn."""
        self._without[router_id] = None

    def take_turn(self) -> bool:
        """Whether a standby may still be looked for in this turn of the planner: that costs a look at every host."""
        self._turns_left -= 1
        return self._turns_left >= 0

    def next_standby(self, most: int = 8) -> None:
        """A host may have time for one more standby: look at those that have waited longest."""
        for router_id in list(islice(self._queue, most)):
            del self._queue[router_id]
            self.at(router_id)

    # For a time

    def later(self, router_id: RouterId, when: float) -> None:
        """Time is what the router waits for. At the first alarm it is looked at and may set the next."""
        if when < self._next_alarm.get(router_id, inf):
            self._next_alarm[router_id] = when
            heappush(self._alarms, (when, router_id))

    def at_what_is_due(self, now: float) -> None:
        """The time that has passed may be what a router waited for."""
        while self._alarms and self._alarms[0][0] <= now:
            when, router_id = heappop(self._alarms)
            if self._next_alarm.get(router_id) == when:
                del self._next_alarm[router_id]
                self.at(router_id)
