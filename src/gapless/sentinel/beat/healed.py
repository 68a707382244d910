"""When it is worth announcing everything that is open: a partition healed, and what was learnt on its other side may be
wrong; or a host came back whose routers were taken over, and the last that it sent may have been an announcement; or a
guard that somebody removed is back, and what passed meanwhile was learnt. Pure: no clock, nothing is sent from here.

The rule: only the return of an arbiter that was lost for `ABSENT_LEASES` counts, since the repeats of announcements
cover shorter absences. Of a host that is over, the first word at a higher incarnation counts: it has withdrawn by then,
and whatever a process sent that had been stopped in the middle of announcing came before. All is announced once in
`APART_S` at most, since a network that flaps would be flooded, and frames by the thousand make beats late. A return
that comes too soon waits for its time.
"""

from collections.abc import Iterable
from math import inf

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure

ABSENT_LEASES = 5
APART_S = 5.0


class Healed:
    """Of one beat. Times are monotonic seconds."""

    def __init__(self, lease_s: float) -> None:
        self._absent_s = ABSENT_LEASES * lease_s
        self._lost: dict[HostName, float] = {}
        self._over: dict[HostName, Incarnation] = {}
        self._last = -inf
        self._due = inf

    def lost(self, arbiters: Iterable[HostName], now: float) -> None:
        """These grant no more."""
        for arbiter in arbiters:
            self._lost.setdefault(arbiter, now)

    def back(self, arbiters: Iterable[HostName], now: float) -> None:
        """These grant again."""
        lost = [self._lost.pop(arbiter, now) for arbiter in arbiters]
        if now - min(lost, default=now) >= self._absent_s:
            self._want(now)

    def over(self, tenure: Tenure) -> None:
        """Its routers were taken over, and are announced."""
        self._over[tenure.host] = tenure.incarnation

    def heard(self, tenure: Tenure, now: float) -> None:
        """A datagram came from it."""
        if tenure.incarnation > self._over.get(tenure.host, tenure.incarnation):
            del self._over[tenure.host]
            self._want(now)

    def restored(self, now: float) -> bool:
        """The guard was away, here or where somebody stands by: taps passed frames that must not. Whether that is news:
        no time to announce all was set yet.
        """
        is_news = self._due == inf
        self._want(now)
        return is_news

    def _want(self, now: float) -> None:
        self._due = min(self._due, max(now, self._last + APART_S))

    def is_due(self, now: float) -> bool:
        """Whether everything is to be announced now; said once."""
        if now < self._due:
            return False
        self._last, self._due = now, inf
        return True
