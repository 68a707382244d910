"""The routers that one incarnation of a host has open: by which word each, and what a plan may close of them.

A router is opened by a plan, by a takeover (`edge.takeover`), or because the host before released it. How far the
kernel has been brought to that is `edge.activeset`'s; what a plan takes away to be released is `edge.releases`'.

What others release is collected until the datagrams that have arrived are read, and then opened in one transaction for
each host: one for each router would have the last of many wait for all before it. For the same reason routers are
closed a few at a time where each is awaited elsewhere (`RELEASED_AT_ONCE`).

The rule: whatever is open belongs to one incarnation. Who is fenced throws this object away, and begins with another.
A plan closes what it does not give, with three exceptions: a takeover that its maker had not heard of (`_kept`), what
would be released to a host that is over (`_unreleased`), and a router that is open at a higher epoch already. A plan is
settled when nothing that it takes away is open any more, and all that stays beyond it is known to be open (`_beyond`):
whoever hears the one has to hear the other.

The invariants: a takeover is never undone by a plan that was made without having heard of it; nothing is open that was
released.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gapless.core.edge.activeset import ActiveSet, Opening
from gapless.core.edge.beatevents import (
    Activate,
    Activated,
    Announce,
    Counters,
    Deactivate,
    Deactivated,
    GuardPlan,
    PlanSettled,
    TakeoverTimes,
    TookOver,
)
from gapless.core.edge.outgoing import Outgoing
from gapless.core.edge.releases import Releases
from gapless.core.edge.takeover import Takeover
from gapless.errors import InvariantError
from gapless.model.lease import DatagramKind, Tenure
from gapless.model.plan import Epoch, Revision
from gapless.model.router import RouterId

RELEASED_AT_ONCE = 8
"""Routers that are closed together to be released: each is dark until all of them are closed, and said to be."""
HEARD_MOST = 64
"""Releases of one host that are collected at most, however much there is to read."""
FRESH_S = 0.01
"""What is said to have been closed longer ago was said before, and lost. It is opened and told of apart from the rest:
what is opened together has one time for when that began. What lay unread together is told as dark as the first of it.
"""


class Openings:
    """Those of one incarnation. `is_over`: whether this host knows for certain that a tenure is over."""

    def __init__(
        self, out: Outgoing, takeover: Takeover, counters: Counters, is_over: Callable[[Tenure], bool]
    ) -> None:
        self.takeovers = 0
        """How many takeovers were decided so far, releases included."""
        self.settled: Revision | None = None
        """The last plan that was settled."""
        self.released: set[RouterId] = set()
        """Of what is open: what was opened because the host before released it."""
        self._out = out
        self._takeover = takeover
        self._counters = counters
        self._is_over = is_over
        self._active = ActiveSet()
        self._releases = Releases()
        self._taken: dict[RouterId, tuple[int, Epoch]] = {}
        """The routers that were taken over: by which takeover, at which epoch."""
        self._heard: dict[tuple[Tenure, bool], tuple[float, dict[RouterId, Epoch]]] = {}
        """By who released them, and whether just now: what is about to be opened, and when the first of it that was
        heard of was closed."""
        self._unsettled: Revision | None = None
        self._beyond: frozenset[RouterId] = frozenset()
        """What is wanted here and not given by the plan: whoever hears of that plan has to hear that these are open."""

    @property
    def forwarding(self) -> Mapping[RouterId, Epoch]:
        """All that is in the kernel's active set or may be: from the decision to open until it is closed."""
        return self._active.forwarding

    @property
    def is_anything_open(self) -> bool:
        """Whether the kernel has something of that in its active set."""
        return self._active.is_anything_open

    # By a takeover, or a release

    def take_over(self) -> None:
        """Whatever this host has the right to by now becomes active: all that waited for one tenure at once."""
        for tenure, routers in self._takeover.take_ripe().items():
            self._take(routers)
            self._open(Opening(routers, tenure, self.takeovers), f"{tenure} is buried")

    def take_released(
        self, by: Tenure, router_id: RouterId, epoch: Epoch, arrived_at: float, closed_for_s: float = 0.0
    ) -> bool:
        """A host that lives has closed a router and hands it to this one: of it, as if that tenure were over. Whether
        there is a right to it. `arrived_at`: when its word did, which may be read later; `closed_for_s`: as it says.
        """
        if not self._takeover.release(by, router_id, epoch):
            return False
        _, routers = self._heard.setdefault((by, closed_for_s <= FRESH_S), (arrived_at - closed_for_s, {}))
        routers[router_id] = epoch
        if len(routers) >= HEARD_MOST:
            self.open_released()
        return True

    @property
    def is_collecting(self) -> bool:
        """Something was released to this host that `open_released` opens."""
        return bool(self._heard)

    def open_released(self) -> None:
        """All that was released to this host by now becomes active."""
        heard, self._heard = self._heard, {}
        for (by, _), (since, routers) in heard.items():
            self._take(routers)
            self.released.update(routers)
            self._open(Opening(routers, by, self.takeovers, released=since), f"{by} released it")

    def _take(self, routers: Mapping[RouterId, Epoch]) -> None:
        self.takeovers += 1
        self._taken.update((router_id, (self.takeovers, epoch)) for router_id, epoch in routers.items())
        self._active.want(routers)

    # By a plan

    def plan(self, plan: GuardPlan) -> None:
        """What it takes away is closed, what it gives is opened, and its rights are all there are."""
        self.open_released()
        active = self._given(plan) | self._kept(plan) | self._unreleased(plan)
        for router_id, epoch in self._active.forwarding.items():
            if epoch > active.get(router_id, epoch):
                self._counters.older_epochs += 1
                active[router_id] = epoch
        self._active.want_only(active)
        self._beyond = frozenset(active.keys() - plan.active.keys())
        self._taken = {router_id: taken for router_id, taken in self._taken.items() if router_id in active}
        self.released.intersection_update(active)
        self._releases.give({each: to for each, to in plan.releases.items() if each not in active})
        self._takeover.give({each: right for each, right in plan.rights.items() if each not in active})
        self._unsettled = plan.revision
        self.take_over()

    def settle_later(self, revision: Revision) -> None:
        """A plan that gives this incarnation nothing: what it takes away is closed, as all is."""
        self._unsettled = revision

    def _given(self, plan: GuardPlan) -> dict[RouterId, Epoch]:
        """What it gives, but for what this host has released since, which a plan from an old copy of the store may."""
        given = {each: epoch for each, epoch in plan.active.items() if self._releases.allow(each, epoch)}
        self._counters.older_epochs += len(plan.active) - len(given)
        return given

    def _kept(self, plan: GuardPlan) -> dict[RouterId, Epoch]:
        """What was taken over, and the plan was made without having heard of that; or it has heard, and still gives the
        right that was used: whoever made it waits for the store.
        """
        return {
            router_id: epoch
            for router_id, (number, epoch) in self._taken.items()
            if number > plan.heard or ((right := plan.rights.get(router_id)) is not None and right.epoch == epoch)
        }

    def _unreleased(self, plan: GuardPlan) -> dict[RouterId, Epoch]:
        """What is open here and was to be released to a host that is over: it would be closed for nobody. Whoever made
        the plan hears that it is open still, and makes another when he knows, too.
        """
        return {
            router_id: epoch
            for router_id, epoch in self._active.forwarding.items()
            if (to := plan.releases.get(router_id)) is not None and self._is_over(to.tenure)
        }

    # To the kernel, and back

    def begin_interval(self) -> None:
        """Open what could not be opened, and say once more some of what was released: that may have been lost."""
        for opening in self._active.failed():
            self._open(opening, "it failed before")
        self._releases.again()

    def move(self, now: float) -> None:
        """Ask for what the active set needs; closing comes first. Most turns change nothing of that."""
        if self._active.is_at_rest and not self._releases.has_due and self._unsettled is None:
            return
        if self._releases.has_due:
            self._release(now)
        for closing in self._releases.apart(self._active.to_close(), RELEASED_AT_ONCE):
            self._out.ask(Deactivate(routers=closing, reason="its plan says so"))
        if opening := self._active.to_open():
            self._open(Opening(opening, None, 0), "its plan says so")
        if self._unsettled is not None and self._active.is_settled and self._active.are_open(self._beyond):
            self.settled, self._unsettled = self._unsettled, None
            self._out.tell(PlanSettled(revision=self.settled))

    def carried_out(self, event: Activated | Deactivated, now: float) -> None:
        """The kernel's answer: what is open is announced, and what was taken over is told."""
        if isinstance(event, Deactivated):
            self._active.closed(event.routers)
            self._releases.closed(event.routers, now if event.begun_at is None else event.begun_at)
            return
        opening = self._active.opened(failed=bool(event.reason), is_unsure=event.is_unsure)
        if opening is None:
            return
        self._out.ask(Announce(routers=tuple(sorted(opening.routers)), cause=opening.cause))
        if opening.cause is not None:
            times = self._times(opening, opening.cause, now)
            is_released = opening.released is not None
            told = TookOver(
                number=opening.number, of=opening.cause, routers=opening.routers, times=times, is_released=is_released
            )
            self._out.tell(told)

    def _times(self, opening: Opening, tenure: Tenure, now: float) -> TakeoverTimes:
        if (heard := opening.released) is not None:
            return TakeoverTimes(last_grant=heard, silent=heard, claimed=heard, buried=heard, opened=now)
        burial = self._takeover.burial_of(tenure)
        return TakeoverTimes(
            last_grant=burial.last_grant,
            silent=burial.silent,
            claimed=burial.claimed,
            buried=burial.buried,
            opened=now,
        )

    def _open(self, opening: Opening, reason: str) -> None:
        if (asked := self._active.open_now(opening)) is not None:
            self._out.ask(Activate(routers=asked.routers, cause=asked.cause, reason=reason))

    def _release(self, now: float) -> None:
        """Say what the kernel has closed to whom it is released."""
        for router_id, to in self._releases.due(self._active.forwarding):
            said = self._out.datagram(DatagramKind.RELEASED, to.tenure, seq=to.epoch)
            closed_for_s = self._releases.closed_for_s(router_id, now)
            self._out.send(to.tenure.host, replace(said, router=router_id, silent_for_s=closed_for_s))

    def check(self) -> None:
        """Raise InvariantError if something is open that was released."""
        if back := self._active.forwarding.keys() & self._releases.said:
            raise InvariantError(f"{sorted(back)} were released and are open")
