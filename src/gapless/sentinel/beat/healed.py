"""When it is worth announcing everything that is open: a partition healed, and what was learnt on its other side may be
wrong; or a host came back whose routers were taken over, and the last that it sent may have been an announcement; or a
guard that somebody removed is back, and what passed meanwhile was learnt. Pure: no clock, nothing is sent from here.

The rule: only the return of an arbiter that was lost for `ABSENT_LEASES` counts, since the repeats of announcements
cover shorter absences. Of a host that is over, the first word at a higher incarnation counts: it has withdrawn by then,
and whatever a process sent that had been stopped in the middle of announcing came before. All is announced once in
`APART_S` at most, since a network that flaps would be flooded, and frames by the thousand make beats late. A return
that comes too soon waits for its time.

A host that is back asks its arbiters for a lease, and may say nothing to anybody else. So their word counts, too: who
hears a higher incarnation says SILENT of the one before anew, and means a silence that has just begun. Of a host that
stays away the same is said again and again, of a silence that began before the takeover. So what counts is when a
silence began, at the earliest that both clocks allow: `ABSENT_LEASES` after the takeover or later, since by then an
arbiter that heard the host longer than others did has missed it, too. Each arbiter's word counts, not only the first
one's, where its silence began a lease later: a network may heal bit by bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DRIFT, Datagram, DatagramKind, Tenure

ABSENT_LEASES = 5
APART_S = 5.0
_FASTER = (1 + DRIFT) / (1 - DRIFT)
"""How much more time may have passed here than on another host."""


@dataclass(slots=True)
class _Over:
    """A host whose routers were taken over."""

    incarnation: Incarnation
    taken_over_at: float
    last_silence: float = -inf
    """When the last silence began that an arbiter has told of since it was back."""


class Healed:
    """Of one beat. Times are monotonic seconds."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s, self._absent_s = lease_s, ABSENT_LEASES * lease_s
        self._lost: dict[HostName, float] = {}
        self._over: dict[HostName, _Over] = {}
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

    def over(self, tenure: Tenure, now: float) -> None:
        """Its routers were taken over, and are announced."""
        known = self._over.get(tenure.host)
        incarnation = tenure.incarnation if known is None else max(tenure.incarnation, known.incarnation)
        self._over[tenure.host] = _Over(incarnation, now)

    def heard(self, datagram: Datagram, now: float) -> None:
        """A datagram came: of a host that is back, or an arbiter's word of one."""
        sender, subject = datagram.sender, datagram.subject
        if sender.host in self._over and sender.incarnation > self._over[sender.host].incarnation:
            del self._over[sender.host]
            self._want(now)
        if datagram.kind is DatagramKind.SILENT and subject.host in self._over:
            self._hinted(subject, now - datagram.silent_for_s * _FASTER, now)

    def _hinted(self, subject: Tenure, since: float, now: float) -> None:
        over = self._over[subject.host]
        is_back = subject.incarnation <= over.incarnation and since - over.taken_over_at >= self._absent_s
        if is_back and since - over.last_silence >= self._lease_s:
            over.last_silence = since
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

    def is_due(self, now: float, *, is_anything_open: bool) -> bool:
        """Whether everything is to be announced now; said once. What opens later is announced then, so where nothing is
        open there is nothing to do, and what comes next need not wait for that.
        """
        if now < self._due:
            return False
        self._due = inf
        if is_anything_open:
            self._last = now
        return is_anything_open
