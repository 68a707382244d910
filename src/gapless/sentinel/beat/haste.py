"""Whether this host is taking over right now, so that its agent leaves it the machine. Pure: no clock.

The rule: it begins with the claim, a few milliseconds before routers open, and ends when all that was opened by it was
announced for the first time. A claim that leads to nothing, or a router that cannot be announced (it is not built yet),
ends it by the clock.
"""

from math import inf

CLAIM_LEASES = 2
"""How long a claim counts that nothing came of: the window in which its answers do."""
ANNOUNCED_WITHIN_S = 3.0
"""A thousand routers are announced in less."""


class Haste:
    """Of one beat. Times are monotonic seconds."""

    def __init__(self, lease_s: float) -> None:
        self._claim_s = CLAIM_LEASES * lease_s
        self._claimed_until = -inf
        self._opened_until = -inf

    def claims(self, now: float) -> None:
        """A host is silent, and claimed."""
        self._claimed_until = now + self._claim_s

    def opened(self, now: float) -> None:
        """Routers were taken over."""
        self._claimed_until, self._opened_until = -inf, now + ANNOUNCED_WITHIN_S

    def is_on(self, now: float, *, unannounced: bool) -> bool:
        """`unannounced`: of the routers that were taken over, some are not announced yet."""
        if not unannounced:
            self._opened_until = -inf
        return now < max(self._claimed_until, self._opened_until)
