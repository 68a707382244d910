"""What this host releases: guarded routers that a plan takes from it while it lives, and who may open them then.

    plan: release r to B@7 at epoch 5  ──►  close r  ──►  the kernel has closed it  ──►  RELEASED(r, 5) to B@7
                                                                                         and again each interval

Theory: a right waits until a tenure is over, because a host that cannot be asked may forward until then. A host that
can be asked may say of one router what its end would say of all: it is closed here, and is not opened here again before
a later epoch. That is all that a successor needs, and it takes one datagram, where the way by the controller takes
several and two writes of the store.

The rule: nothing is said before the kernel has closed the router, and nothing after a plan has given it back. The word
is for one tenure at one epoch: at no other does anybody heed it. It may be lost; so it is said again, with how long ago
the router was closed, until a plan asks for it no more, which is when it is stored that this host has let go. Of many,
some are said again each interval, in turn: whoever says all of them reads no grants meanwhile. What was said binds this
host for as long as its tenure lasts, whatever a plan says: one that gives the router back at that epoch or an earlier
one is not believed.

The invariant: what was released is not open here, nor wanted to be.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from gapless.model.plan import Epoch, Successor
from gapless.model.router import RouterId

AGAIN_AT_ONCE = 64
"""Releases that are said again in one interval. To seal and send so many took 0.4 ms of processor time over loopback,
of the fast timing's 10 ms; of a thousand it would be 6."""


class Releases:
    """Those of one incarnation."""

    def __init__(self) -> None:
        self._given: Mapping[RouterId, Successor] = {}
        self._due: set[RouterId] = set()
        self._said: dict[RouterId, None] = {}
        """What is given and not due: what was said longest ago comes first."""
        self._closed_at: dict[RouterId, float] = {}
        """Of what is given: since when it is dark, which is when it began to be closed; or when it was said for the
        first time, of what had been closed before it was to be released."""
        self._promised: dict[RouterId, Epoch] = {}
        """The epoch at which each was released last."""

    def allow(self, router_id: RouterId, epoch: Epoch) -> bool:
        """Whether it may be opened here at this epoch: whoever it was released to has it at the one that was said."""
        return epoch > self._promised.get(router_id, Epoch(0))

    @property
    def said(self) -> Collection[RouterId]:
        """Routers of which it was said since the plan asked for it."""
        return self._said.keys()

    @property
    def has_due(self) -> bool:
        """Whether something is to be said, as soon as it is closed."""
        return bool(self._due)

    def give(self, releases: Mapping[RouterId, Successor]) -> None:
        """These are to be released, and no others."""
        is_new = {router_id for router_id, to in releases.items() if self._given.get(router_id) != to}
        stays = releases.keys() - is_new
        self._due = (self._due | is_new) & releases.keys()
        self._said = {router_id: None for router_id in self._said if router_id in stays}
        self._closed_at = {router_id: at for router_id, at in self._closed_at.items() if router_id in releases}
        self._given = dict(releases)

    def apart(self, closing: Sequence[RouterId], at_once: int) -> Iterator[tuple[RouterId, ...]]:
        """What is to be closed, in parts: what is to be released, so many at a time, and then all else."""
        awaited = [router_id for router_id in closing if router_id in self._given]
        for start in range(0, len(awaited), at_once):
            yield tuple(awaited[start : start + at_once])
        if others := tuple(router_id for router_id in closing if router_id not in self._given):
            yield others

    def closed(self, routers: Iterable[RouterId], begun_at: float) -> None:
        """The kernel has closed these, and was asked for it then."""
        self._closed_at.update((router_id, begun_at) for router_id in routers if router_id in self._given)

    def again(self) -> None:
        """Whatever was said may have been lost: the next of it is due once more."""
        for router_id in list(islice(self._said, AGAIN_AT_ONCE)):
            del self._said[router_id]
            self._due.add(router_id)

    def due(self, is_open: Collection[RouterId]) -> list[tuple[RouterId, Successor]]:
        """What is to be said now, given what is open, may be, or is wanted to be. It counts as said."""
        ready = sorted(self._due.difference(is_open))
        self._due.difference_update(ready)
        self._said.update(dict.fromkeys(ready))
        self._promised.update((router_id, self._given[router_id].epoch) for router_id in ready)
        return [(router_id, self._given[router_id]) for router_id in ready]

    def closed_for_s(self, router_id: RouterId, now: float) -> float:
        """For how long a router has been closed of which it is said now: a word that was lost counts as dark time."""
        return now - self._closed_at.setdefault(router_id, now)
