"""A router that is to be released stays open until its connections are copied to the host that gets it. Pure.

    plan: release r to B ──► the flows process is asked about r and B ──► all told and applied ──► the beat has the plan
                                                                     └── or PATIENCE_S are over ──┘

Theory: the copies run behind what happens by some tens of milliseconds, and right after a takeover by a minute, since
they take turns. What is not copied when the router changes hosts is forgotten. While it waits here, it forwards.

An answer names the host that has the connections and the asking that it answers; what is not the answer to what is
asked now, such as a late one about a host that the router was to go to before, changes nothing.

The rule: each release is waited for once, for a while at most, and only where the router works: one that its host
cannot run is better off elsewhere, with its connections or without. As long as it waits the beat has it as before. All
else of the plan is followed at once and acknowledged, together with what is open: what waits here is said to be open
still, which is why that proves nothing of it (`Reporting`).

"All" is what the kernel had said when the flows process was asked (`flows/telling.py`): a router on which connections
begin all the time is waited for no longer than a quiet one. What begins from then on is told when the router is
closed, and arrives after it is open elsewhere.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import count

from gapless.core.hostplan import HostPlan
from gapless.model.host import HostName
from gapless.model.plan import PlannedRouter, Role, Successor
from gapless.model.router import RouterId
from gapless.wire.flowlink import Asking

PATIENCE_S = 2.0
"""A router's copy takes some 50 ms where the kernel's table is large, and those that wait here go first."""


@dataclass(frozen=True, slots=True)
class _Wait:
    asking: Asking
    before: PlannedRouter
    """As the beat has it."""
    until: float


class Flushing:
    """Of one host. `now` is monotonic seconds."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._asked: dict[RouterId, Successor] = {}
        """Releases that were waited for, or are."""
        self._waits: dict[RouterId, _Wait] = {}
        self._numbers = count(1)

    @property
    def wanted(self) -> Mapping[RouterId, Asking]:
        """Which routers' connections have to be on which host."""
        return {router_id: wait.asking for router_id, wait in self._waits.items()}

    def planned(self, plan: HostPlan, before: HostPlan, works: Collection[RouterId], now: float) -> None:
        """A plan arrived; the beat has the one of `before`. `works`: routers that are open here, and built."""
        releases = {each.router.id: to for each in plan.routers.values() if (to := _release(each)) is not None}
        self._asked = {router_id: to for router_id, to in self._asked.items() if releases.get(router_id) == to}
        self._waits = {router_id: wait for router_id, wait in self._waits.items() if router_id in self._asked}
        for router_id in releases.keys() - self._asked.keys():
            self._asked[router_id] = to = releases[router_id]
            has = before.routers.get(router_id)
            if router_id in works and has is not None and _is_active(has):
                asking = Asking(to=to.tenure.host, number=next(self._numbers))
                self._waits[router_id] = _Wait(asking, has, now + self._patience_s)

    def held(self, plan: HostPlan) -> HostPlan:
        """The plan as the beat may have it; the very same where nothing waits."""
        if not self._waits.keys() & plan.routers.keys():
            return plan
        waits = self._waits
        routers = (waits[each.router.id].before if each.router.id in waits else each for each in plan.routers.values())
        return HostPlan.of(plan.revision, routers)

    def flushed(self, answers: Mapping[RouterId, Asking]) -> bool:
        """Their connections are there; whether the beat may have another plan by that."""
        wanted = self.wanted
        return self._wait_no_more([each for each, asking in answers.items() if wanted.get(each) == asking])

    def shut(self, is_open: Collection[RouterId]) -> bool:
        """What is not open any more has nothing to wait for; whether the beat may have another plan by that."""
        return self._wait_no_more([router_id for router_id in self._waits if router_id not in is_open])

    def _wait_no_more(self, routers: Collection[RouterId]) -> bool:
        for router_id in routers:
            del self._waits[router_id]
        return bool(routers)

    def next_deadline(self) -> float | None:
        """When the next one has waited for long enough."""
        return min((wait.until for wait in self._waits.values()), default=None)

    def overdue(self, now: float) -> Mapping[RouterId, HostName]:
        """Those that have, and where they should have been whole. They wait no more."""
        late = {router_id: wait.asking.to for router_id, wait in self._waits.items() if wait.until <= now}
        self._wait_no_more(late)
        return late


def _release(planned: PlannedRouter) -> Successor | None:
    return None if planned.guarded is None else planned.guarded.release


def _is_active(planned: PlannedRouter) -> bool:
    return planned.guarded is not None and planned.guarded.role is Role.ACTIVE
