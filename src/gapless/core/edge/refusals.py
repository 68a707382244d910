"""A kernel that refuses the guard: when its host gives up its tenure for that, and when it asks for another one.

A host whose kernel takes no lease goes on renewing at the arbiters, so nobody succeeds it; and when the lease that the
kernel took last is over, none of its frames passes. Nor does a frame of routers that the kernel does not open. Others
could have them, and only this host can know.

The rules:

1. A lease that the kernel does not take ends the tenure as soon as the one that it took is over: by then nothing
   forwards here. The first lease of a tenure has until its own end. Where others can take over less than half of what
   is open here, it ends some seconds later: a moment without memory is over by then. Going spares those seconds what
   others take over, and may cost the rest as many, which waits for the controller: so the larger part decides.
2. Those are seconds without a lease, added up: a kernel that takes one now and then keeps its host dark for most of
   the time, and nobody could succeed that. They are forgotten after as long in which the kernel missed none. A lease is
   written once an interval, so a refusal counts until the next one is due: the beat is not told when that is taken. Up
   to the refusal alone, a host that is refused four times of five would be dark for a fifth of the time (50 of 250 ms),
   and count the time in which a grant comes (1 of 250 ms): it would stay so for twenty minutes, and for 25 s by this.
3. Openings that the kernel refuses for as long as a lease lasts end the tenure if nothing is open here. What is open
   forwards, and may be refused wherever it goes: a cause that all hosts share would close it on one after another.
4. Then no lease is asked for for a while, longer each time. A host that holds none for long loses its part to others
   (`planner.leaseless`), and is given nothing that it could not open.

What is refused for what was asked (more ports than one host can have active) is not judged here. Nothing here is needed
for safety: that is the lease's.
"""

from math import inf

from gapless.core.backoff import Backoff, Pace
from gapless.model.lease import LeaseTiming

PACE = Pace(first_s=1.0, most_s=60.0, settled_s=60.0)
"""A moment without memory is over within a second; a tenure of a minute shows that the kernel takes the guard."""
ALONE_S = 5.0
"""As long as a host may be without a lease before others get its part (`planner.leaseless`)."""


class Refusals:
    """What one host's kernel refuses, in one life of its sentinel."""

    def __init__(self, timing: LeaseTiming) -> None:
        self._lease_s, self._interval_s = timing.lease_s, timing.interval_s
        self._backoff = Backoff(PACE)
        self._held_at = 0.0
        self._first_until = inf
        self._dark_s, self._dark_until = 0.0, -inf
        """For how long together the kernel had no lease that was alive, and until when that is counted."""
        self._refused_since: float | None = None
        """Openings; None: the last one was carried out, or none was asked for."""
        self._refused_at = -inf
        self._rests_until = -inf

    def held(self, until: float, now: float) -> None:
        """The first lease of a tenure, which lasts until then."""
        self._held_at, self._first_until, self._refused_since, self._dark_until = now, until, None, -inf

    def is_unheld(self, ends: float, now: float, *, open_here: int, others_can: int) -> bool:
        """The kernel did not take a lease; the last that it took ends then. Whether that is to end the tenure, of whose
        `open_here` routers others can take over so many.
        """
        dark_from, dark_until = max(ends, self._first_until), now + self._interval_s
        if dark_until <= dark_from:
            return False
        if dark_from - self._dark_until >= ALONE_S:
            self._dark_s = 0.0
        self._dark_s += max(0.0, dark_until - max(dark_from, self._dark_until))
        self._dark_until = dark_until
        return now >= dark_from and (2 * others_can >= open_here or self._dark_s >= ALONE_S)

    def opened(self) -> None:
        """An opening was carried out."""
        self._refused_since = None

    def refused(self, now: float) -> bool:
        """An opening was refused; each is tried again within a lease. Whether they were for as long as one lasts."""
        if self._refused_since is None or now - self._refused_at >= self._lease_s:
            self._refused_since = now
        self._refused_at = now
        return now - self._refused_since >= self._lease_s

    def rest(self, now: float) -> float:
        """The tenure is over for that: for how many seconds no other one is asked for."""
        rest_s = self._backoff.after(now - self._held_at)
        self._rests_until = now + rest_s
        return rest_s

    def is_resting(self, now: float) -> bool:
        """Whether no lease is asked for now."""
        return now < self._rests_until
