"""Whose turn it is to be audited, and when: a period after it was last looked at, evenly spread, one at a time.

Audits never take more than a hundredth of one worker's time, and no more than `MOST_A_PERIOD` begin in one period. So
with many routers a round takes longer than the period, and what audits cost stays the same: of 1,000 it takes some five
minutes. What the kernel tells is looked at at once; audits find the rest.

When messages of the kernel were lost, all are looked at in haste: half of the time is left to other work.
"""

from collections.abc import Iterable

from gapless.model.router import RouterId

AUDIT_SHARE = 0.01
HASTY_SHARE = 0.5
MOST_A_PERIOD = 33


class Turns:
    """The order and the pace of audits. Times are monotonic seconds."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._looked_at: dict[RouterId, float] = {}  # longest not looked at first
        self._hasty: dict[RouterId, None] = {}
        self._not_before = 0.0

    def hasten(self, routers: Iterable[RouterId], now: float) -> None:
        """Look at these before their time, as far as they are audited at all."""
        self._hasty |= dict.fromkeys(it for it in routers if it in self._looked_at)
        if self._hasty:
            self._not_before = min(self._not_before, now)

    def looked_at(self, router_id: RouterId, now: float) -> None:
        """Somebody just proved this router right: it goes to the end of the line."""
        self.leave(router_id)
        self._looked_at[router_id] = now

    def leave(self, router_id: RouterId) -> None:
        """This router is not audited: it failed and is tried again anyway, or is not this host's."""
        self._looked_at.pop(router_id, None)
        self._hasty.pop(router_id, None)

    def ended(self, *, began_at: float, now: float) -> None:
        """An audit is over; it began at `began_at`."""
        share, pace_s = AUDIT_SHARE, self._period_s / min(max(1, len(self._looked_at)), MOST_A_PERIOD)
        if self._hasty:
            share, pace_s = HASTY_SHARE, 0.0
        self._not_before = now + max(pace_s, (now - began_at) * (1 / share - 1))

    @property
    def first(self) -> RouterId | None:
        """The router whose turn comes next."""
        return next(iter(self._hasty or self._looked_at), None)

    def next_deadline(self) -> float | None:
        """When the next audit is due; None: there is nothing to audit."""
        if self._hasty:
            return self._not_before
        if not self._looked_at:
            return None
        return max(self._not_before, next(iter(self._looked_at.values())) + self._period_s)

    def due(self, now: float) -> RouterId | None:
        """The router whose turn it is, if it is time."""
        deadline = self.next_deadline()
        return self.first if deadline is not None and deadline <= now else None
