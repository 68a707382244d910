"""Whose turn it is to be audited, and when: a period after it was last looked at, evenly spread, one at a time.

Audits never take more than a tenth of one worker's time. So with many routers a round takes longer than the period,
and what audits cost other work stays the same.
"""

from gapless.model.router import RouterId

AUDIT_SHARE = 0.1


class Turns:
    """The order and the pace of audits. Times are monotonic seconds."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._looked_at: dict[RouterId, float] = {}  # longest not looked at first
        self._not_before = 0.0

    def looked_at(self, router_id: RouterId, now: float) -> None:
        """Somebody just proved this router right: it goes to the end of the line."""
        self._looked_at.pop(router_id, None)
        self._looked_at[router_id] = now

    def leave(self, router_id: RouterId) -> None:
        """This router is not audited: it failed and is tried again anyway, or is not this host's."""
        self._looked_at.pop(router_id, None)

    def ended(self, *, began_at: float, now: float) -> None:
        """An audit is over; it began at `began_at`."""
        pace_s = self._period_s / max(1, len(self._looked_at))
        self._not_before = now + max(pace_s, (now - began_at) * (1 / AUDIT_SHARE - 1))

    def next_deadline(self) -> float | None:
        """When the next audit is due; None: there is nothing to audit."""
        if not self._looked_at:
            return None
        return max(self._not_before, next(iter(self._looked_at.values())) + self._period_s)

    def due(self, now: float) -> RouterId | None:
        """The router whose turn it is, if it is time."""
        deadline = self.next_deadline()
        return next(iter(self._looked_at)) if deadline is not None and deadline <= now else None
