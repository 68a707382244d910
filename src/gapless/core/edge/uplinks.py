"""Whether a host's way out is there, and whether it should resign because it alone has lost it.

A host whose uplink is cut holds its lease: the others hear it well. Its routers reach nobody, and only it can know.

Two rules, besides the one by which a gateway is lost (`edge.gateways`):

1. A successor tells the host how many of its routers it may take over, and which ways out it has lost, or
   cannot vouch for since they never answered it: each `TELL_INTERVALS`, and twice when that changes. It counts for
   three times as long.
2. A host that has lost a way out *which routers use that are active here* resigns if successors may take over
   everything that it has active who have that way, and have lost none that these routers use and this host has. So what
   everybody has lost moves nothing, however long it is lost, nor does what nobody needs here. It is said all the same:
   whoever has active what this host may take over may need it.

Hosts find out at different times. A carrier that is gone is seen with the next beat, by a card that is slower than
another some tens of milliseconds later. Gateways are asked each `QUESTION_S`, by each host in its own time: who has
lost one waits for so long, and counts only what successors said after that. The same holds for what comes back.

Resigning is being fenced by oneself: withdraw, take a higher incarnation, renew. Arbiters hear from the higher one that
the lower is over, and tell the successors at once. Nothing here is needed for safety: that is the lease's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from gapless.core.edge.gateways import QUESTION_S
from gapless.model.host import HostName

TELL_INTERVALS = 10
_COUNTS_FOR_INTERVALS = 3 * TELL_INTERVALS
CARRIER_S = 0.03
"""By so much one card may see later than another that the same switch is gone."""
BITS = 32


def as_bits(ways: Iterable[str]) -> int:
    """A set of ways out, as it is said: a bit each, by its name, of `BITS`. Two names may share one: then hosts stay
    that might move.
    """
    bits = 0
    for way in ways:
        bits |= 1 << crc32(way.encode()) % BITS
    return bits


@dataclass(frozen=True, slots=True)
class _Loss:
    seen_at: float
    is_carrier: bool


@dataclass(frozen=True, slots=True)
class _Heir:
    routers: int
    lost: int
    since: float
    """It has said the same all the time since."""
    heard_at: float


class WaysOut:
    """Of one host: its own, and what successors say of theirs. A way is a name that all hosts use for the same: that of
    a physical network (its carrier), or of a gateway in one."""

    def __init__(self, interval_s: float) -> None:
        self.trouble = ""
        """What is lost, in words; "" if nothing is."""
        self._interval_s = interval_s
        self._losses: dict[str, _Loss] = {}
        self._unsure: frozenset[str] = frozenset()
        self._used: frozenset[str] = frozenset()
        self._heirs: dict[HostName, _Heir] = {}

    @property
    def lost(self) -> int:
        """What this host has lost, and what it cannot vouch for: to be said to those whom it may succeed."""
        return as_bits(self._losses) | as_bits(self._unsure)

    def seen(
        self,
        trouble: str,
        *,
        carriers: frozenset[str],
        gateways: frozenset[str],
        unsure: frozenset[str],
        used: frozenset[str],
        now: float,
    ) -> bool:
        """What is lost now, the gateways that never answered, and all that is used by what is active here: whether this
        host has more or less to offer than before."""
        said = self.lost
        self.trouble, self._unsure, self._used = trouble, unsure, used
        before, self._losses = self._losses, {}
        for ways, is_carrier in ((gateways, False), (carriers, True)):
            for way in ways:
                self._losses[way] = before.get(way) or _Loss(now, is_carrier)
        return said != self.lost

    def tell(self, heir: HostName, routers: int, lost: int, now: float) -> None:
        """A successor may take over so many routers, and has lost so much itself."""
        known = self._heirs.get(heir)
        is_the_same = known is not None and known.lost == lost and self._counts(known, now)
        self._heirs[heir] = _Heir(routers, lost, known.since if known is not None and is_the_same else now, now)

    def forget_heirs(self) -> None:
        """What was said, was said to another incarnation."""
        self._heirs.clear()

    def is_alone(self, routers: int, now: float) -> bool:
        """Whether those may take over so many routers together (at least one) who are better off than this host."""
        return 0 < routers <= sum(each.routers for each in self._heirs.values() if self._is_better_off(each, now))

    def others_can(self, now: float) -> int:
        """How many routers others may take over together."""
        return sum(each.routers for each in self._heirs.values() if self._counts(each, now))

    def _counts(self, heir: _Heir, now: float) -> bool:
        return now - heir.heard_at < _COUNTS_FOR_INTERVALS * self._interval_s

    def _is_better_off(self, heir: _Heir, now: float) -> bool:
        if not self._counts(heir, now) or heir.lost & as_bits(self._used) & ~self.lost:
            return False
        return any(
            way in self._used and self._is_settled(loss, heir, now) and not as_bits([way]) & heir.lost
            for way, loss in self._losses.items()
        )

    def _is_settled(self, loss: _Loss, heir: _Heir, now: float) -> bool:
        """Whether the two would agree by now if both had lost it, or both had it back."""
        differ_since = max(loss.seen_at, heir.since)
        if loss.is_carrier:
            return now >= differ_since + CARRIER_S + self._interval_s
        return heir.heard_at >= differ_since + QUESTION_S + 2 * self._interval_s
