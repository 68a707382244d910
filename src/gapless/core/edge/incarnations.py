"""Which incarnation a host is at, and how it comes to the next one.

    STARTING ──► WITHDRAWING ─────────────► RENEWING
                   ▲     └────► REBEARING ────▲  │
                   └──────────── fenced ─────────┘

REBEARING is for an incarnation that is over itself: a higher one is to be stored first.

The rule: whatever ends an incarnation (its lease lapsed, arbiters refuse it, the controller says so, it resigns), what
follows is the same: everything is withdrawn, a higher incarnation is stored, and only then a lease is asked for. More
may be found to be over meanwhile, so that one that was stored is too low already: then another is asked for.

The invariant: what begins to renew is higher than all that was known to be over, and nothing of a lower one is open.
"""

from enum import Enum

from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import NOBODY, Tenure


class _Stage(Enum):
    STARTING = 1
    WITHDRAWING = 2
    """Until the kernel's active set is empty."""
    REBEARING = 3
    """Until there is a higher incarnation."""
    RENEWING = 4


class Incarnations:
    """Of one host, in one life of its sentinel; the first one was never used."""

    def __init__(self, host: HostName, first: Incarnation) -> None:
        self.me = Tenure(host, first)
        """The present one."""
        self.reborn = NOBODY
        """Every lower incarnation of this machine is over, and nothing of it is open; NOBODY before that is so."""
        self._stage = _Stage.STARTING
        self._highest_over = first - 1
        """What is known to be of no use for this host: a new incarnation is higher."""

    @property
    def is_renewing(self) -> bool:
        """Whether it asks for a lease, or holds one."""
        return self._stage is _Stage.RENEWING

    def begin(self) -> bool:
        """Whether the sentinel has just started, so that all is to be withdrawn first; true once."""
        if self._stage is not _Stage.STARTING:
            return False
        self._stage = _Stage.WITHDRAWING
        return True

    def end(self) -> None:
        """The present incarnation is over: all of it is to be withdrawn."""
        self.rule_out(self.me.incarnation)
        self._stage = _Stage.WITHDRAWING

    def rule_out(self, up_to: Incarnation) -> None:
        """Incarnations up to this one are over, as somebody says."""
        self._highest_over = max(self._highest_over, up_to)

    def withdrawn(self) -> Incarnation | None:
        """All is withdrawn. None: the present incarnation may renew; else a higher one than this is needed."""
        if self._stage is not _Stage.WITHDRAWING:
            raise InvariantError(f"withdrawn in stage {self._stage.name}: nobody asked for it")
        self.reborn = Incarnation(max(self.me.incarnation, self._highest_over + 1))
        if self.me.incarnation > self._highest_over:
            self._stage = _Stage.RENEWING
            return None
        self._stage = _Stage.REBEARING
        return Incarnation(self._highest_over)

    def bear(self, incarnation: Incarnation) -> Incarnation | None:
        """A new one is stored. None: it may renew; else a higher one than this is needed after all."""
        if self._stage is not _Stage.REBEARING:
            raise InvariantError(f"incarnation {incarnation} in stage {self._stage.name}: nobody asked for it")
        if incarnation <= self._highest_over:  # More was heard of since it was asked for.
            return Incarnation(self._highest_over)
        self.me = Tenure(self.me.host, incarnation)
        self.reborn = incarnation
        self._stage = _Stage.RENEWING
        return None
