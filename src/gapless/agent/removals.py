"""What is no longer this host's, and when it is removed. Pure: time is an argument.

Theory: to delete a router's interfaces, the kernel is busy for milliseconds in which it lets nobody else have that
processor, real-time priority or not, where it is not built to be preempted. A router that is handed over meanwhile is
dark for as much longer, and of a host that is drained a thousand are, while each leaves something to be removed.

The rule: what is left of a standby waits while others are handed over from here, and nothing is to be built. Its guard
is shut, so it is as dark as it was, and if the router comes back it need not be built. All else goes at once: what was
to forward here may still do so, or somebody waits for the word that it is gone; what is to be built may need the place.

The invariant: what was asked for is due, or put off for `PUT_OFF_MOST_S` at most; it is tried, or not asked for again.
"""

from collections.abc import Callable, Container
from itertools import islice
from math import inf
from typing import Final

from gapless.model.plan import PlannedRouter
from gapless.model.router import RouterId

REMOVED_AT_ONCE: Final = 32
"""In one job, which nothing interrupts: a takeover that begins meanwhile waits for it."""
LINGER_S: Final = 1.0
"""So long after a plan that hands routers over, the next ones may follow: a drain has a few under way at a time."""
PUT_OFF_MOST_S: Final = 120.0
"""Drains of a thousand routers took 45 s on a machine with two cores. Where one lasts longer, memory is given back."""


class Removals:
    """Those of one host. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.is_running = False
        self._due: dict[RouterId, None] = {}
        self._later: dict[RouterId, None] = {}
        self._asked_at: dict[RouterId, float] = {}
        """Of what is due or put off, and not tried: since when nothing is wanted of it."""
        self._handed_over: set[RouterId] = set()
        """Routers that the plan says this host is to release."""
        self._last_at = -inf
        """When there were such the last time."""
        self._puts_off = True
        """Nothing is to be built."""
        self._ripe_at = inf
        """Before that nothing of what is put off has waited for too long."""
        self._now = -inf

    @property
    def are_due(self) -> bool:
        """Whether something is to be removed now that was not tried yet."""
        return bool(self._due)

    @property
    def are_put_off(self) -> bool:
        """Whether something waits until no more is handed over."""
        return bool(self._later)

    # What comes in

    def take_plan(self, routers: Container[RouterId], now: float) -> None:
        """A plan names these routers: it says anew what is to go."""
        self.ripen(now)
        self._due.clear()
        self._later.clear()
        self._puts_off, self._ripe_at = True, inf
        self._handed_over = {each for each in self._handed_over if each in routers}

    def put_nothing_off(self) -> None:
        """Until the next plan: this one has something built."""
        self._puts_off = False

    def ripen(self, now: float) -> None:
        """What was put off may be due."""
        self._now = now
        if self._handed_over:
            self._last_at = now
        if not self._later or (self._is_handing_over() and now < self._ripe_at):
            return
        for router_id in [each for each in self._later if not self._may_wait(each)]:
            del self._later[router_id]
            self._due[router_id] = None
        self._ripe_at = min((self._asked_at[each] + PUT_OFF_MOST_S for each in self._later), default=inf)

    def want(self, planned: PlannedRouter) -> None:
        """The plan names this router, otherwise than the one before: it stays."""
        router_id = planned.router.id
        self.was_tried(router_id)
        if planned.guarded is not None and planned.guarded.release is not None:
            self._handed_over.add(router_id)
            self._last_at = self._now
        else:
            self._handed_over.discard(router_id)

    def ask(self, router_id: RouterId, *, is_dark: bool) -> None:
        """It is no longer this host's; `is_dark`: the guard keeps it from forwarding, and nobody waits for its end."""
        asked_at = self._asked_at.setdefault(router_id, self._now)
        if is_dark and router_id not in self._due and self._may_wait(router_id):
            self._later[router_id] = None
            self._ripe_at = min(self._ripe_at, asked_at + PUT_OFF_MOST_S)
        else:
            self._later.pop(router_id, None)
            self._due[router_id] = None

    def hurry(self, router_id: RouterId) -> None:
        """Something may have changed of what is left of it, and nobody mends that."""
        if router_id in self._later:
            del self._later[router_id]
            self._due[router_id] = None

    def was_tried(self, router_id: RouterId) -> None:
        """Whether it worked or not: it holds nobody up any more."""
        for each in (self._due, self._later, self._asked_at):
            each.pop(router_id, None)

    # What goes out

    def next(self, may: Callable[[RouterId], bool]) -> tuple[RouterId, ...]:
        """What may be removed together now."""
        return tuple(islice(filter(may, self._due), REMOVED_AT_ONCE))

    def next_deadline(self) -> float | None:
        """When something that is put off becomes due, if no plan comes before; None: nothing is put off."""
        if not self._later:
            return None
        return self._ripe_at if self._handed_over else min(self._ripe_at, self._last_at + LINGER_S)

    def _is_handing_over(self) -> bool:
        return bool(self._handed_over) or self._now < self._last_at + LINGER_S

    def _may_wait(self, router_id: RouterId) -> bool:
        return self._puts_off and self._is_handing_over() and self._now < self._asked_at[router_id] + PUT_OFF_MOST_S
