"""Whether a host's way out is there, and whether it should resign because it alone has lost it.

A host whose uplink is cut holds its lease: the others hear it well. Its routers reach nobody, and only it can know.

Three rules:

1. `Reachability`: a gateway that has answered once and leaves `MISSES` questions unanswered in a row is lost. One that
   never answered is not judged: there are gateways that do not answer at all.
2. `Heirs`: a successor whose own uplinks are there tells the host that it may succeed, each `TELL_INTERVALS`, how many
   of its routers it may take over. That counts for three times as long; one that loses its uplinks says so at once.
3. A host without uplinks resigns, an interval later, if such successors may take over everything that it has active.
   Otherwise it stays: when everybody has lost the uplink nobody moves.

Resigning is being fenced by oneself: withdraw, take a higher incarnation, renew. Arbiters hear from the higher one that
the lower is over, and tell the successors at once. Nothing here is needed for safety: that is the lease's.
"""

from dataclasses import dataclass

from gapless.model.host import HostName

QUESTION_S = 0.5
"""Between two questions to a gateway."""
MISSES = 3
TELL_INTERVALS = 10
_COUNTS_FOR_INTERVALS = 3 * TELL_INTERVALS


class Reachability:
    """Of one gateway."""

    def __init__(self) -> None:
        self._has_answered = False
        self._unanswered = 0

    def asked(self) -> None:
        """A question left."""
        self._unanswered += 1

    def answered(self) -> None:
        """It answered."""
        self._has_answered, self._unanswered = True, 0

    @property
    def is_doubtful(self) -> bool:
        """It may have another MAC address than it had: everybody is to be asked."""
        return self._unanswered > 1

    @property
    def is_lost(self) -> bool:
        """It used to answer, and does not any more."""
        return self._has_answered and self._unanswered > MISSES


@dataclass(frozen=True, slots=True)
class _Heir:
    routers: int
    until: float


class Heirs:
    """What successors say to this host, at its present incarnation."""

    def __init__(self, interval_s: float) -> None:
        self._counts_for_s = _COUNTS_FOR_INTERVALS * interval_s
        self._heirs: dict[HostName, _Heir] = {}

    def tell(self, heir: HostName, routers: int, now: float) -> None:
        """A successor with uplinks may take over so many routers."""
        self._heirs[heir] = _Heir(routers, now + self._counts_for_s)

    def can_take(self, routers: int, now: float) -> bool:
        """Whether they may take over so many together (at least one)."""
        return 0 < routers <= sum(each.routers for each in self._heirs.values() if now < each.until)
