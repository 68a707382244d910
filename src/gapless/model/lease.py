"""The lease's vocabulary: who is granted what by whom, for how long, and the datagrams that carry it.

Times are seconds of one host's monotonic clock. No two clocks are compared; each runs within `DRIFT` of real time.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from typing import NewType

from gapless.model.host import HostName, Incarnation
from gapless.model.router import RouterId

DRIFT = 0.01
"""Every clock's rate is within this share of real time's."""

PanelVersion = NewType("PanelVersion", int)
"""Numbers the panels of a zone; grows by one with each."""

NOBODY = Incarnation(0)
"""Of a question: nobody asked for it. Incarnations begin at 1."""


@dataclass(frozen=True, slots=True, order=True)
class Tenure:
    """A host in one incarnation: what a lease is granted to, what is claimed and buried."""

    host: HostName
    incarnation: Incarnation

    def __str__(self) -> str:
        return f"{self.host}@{self.incarnation}"


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """`interval_s` is how often a host renews, `lease_s` (L) how long a grant lasts for its holder."""

    interval_s: float
    lease_s: float

    @property
    def arbiter_s(self) -> float:
        """How long an arbiter counts a grant, from receipt: L of the slowest holder, on the fastest arbiter's clock."""
        return self.lease_s * (1 + DRIFT) / (1 - DRIFT)

    @property
    def quiet_s(self) -> float:
        """How long an arbiter that restarted answers nobody: every grant and every window of before is over then."""
        return 2 * self.arbiter_s

    @property
    def window_s(self) -> float:
        """The age of the oldest answer that a claim may count."""
        return 2 * self.lease_s


DEFAULT = LeaseTiming(interval_s=0.050, lease_s=0.200)
FAST = LeaseTiming(interval_s=0.010, lease_s=0.050)
TIMINGS = {"default": DEFAULT, "fast": FAST}
"""By the names that operators give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The arbiters of a zone. A quorum is a majority of each set: one set, or two while one replaces the other.

    Any two quorums of panels whose versions differ by at most one share an arbiter. `floor` keeps it at that: an
    arbiter serves nobody who still follows a version below the highest floor that it was ever told.
    """

    version: PanelVersion
    floor: PanelVersion
    sets: tuple[frozenset[HostName], ...]

    def __post_init__(self) -> None:
        """Raises ValueError: of no arbiters, everybody would be a majority."""
        if not self.sets or not all(self.sets):
            raise ValueError("a panel has at least one set, and each set at least one arbiter")

    @property
    def arbiters(self) -> tuple[HostName, ...]:
        """All of them, in the order of their names."""
        return tuple(sorted(frozenset().union(*self.sets)))

    def is_quorum(self, hosts: Collection[HostName]) -> bool:
        """Whether `hosts` hold a majority of each set."""
        return all(2 * sum(host in hosts for host in each) > len(each) for each in self.sets)

    def lasts_until(self, ends: Mapping[HostName, float]) -> float:
        """Until when a quorum's grants last, from each arbiter's end; -inf if there is none."""
        return min(sorted((ends.get(host, -inf) for host in each), reverse=True)[len(each) // 2] for each in self.sets)

    def follows(self, other: "Panel | None") -> bool:
        """Whether this is a later level of the same zone's panel than `other`."""
        return other is None or (self.version, self.floor) > (other.version, other.floor)


class DatagramKind(IntEnum):
    """What a datagram says. Hosts ask RENEW, CLAIM and ASK, and say HEIR, RELEASED and UNGUARDED; the rest is said by
    arbiters.
    """

    RENEW = 1
    """`sender` (also the `subject`) asks for a grant, with question `seq`."""
    GRANT = 2
    """`subject`'s question `seq` is granted."""
    REFUSE = 3
    """To question `seq`: every incarnation of the asker up to `subject`'s is over."""
    STALE = 4
    """To question `seq` (RENEW or CLAIM): the asker's panel is below this arbiter's floor."""
    SILENT = 5
    """A hint, unasked: `subject`'s last grant (and any of a lower incarnation) expired `silent_for_s` ago, or a higher
    incarnation was heard first then.
    """
    CLAIM = 6
    """`sender` asks whether `subject` is over, and wants it never to be granted anything again, with question `seq`."""
    BURIED = 7
    """To question `seq`: no grant to `subject` is unexpired here, and none will be given."""
    ALIVE = 8
    """To question `seq`: `subject` has an unexpired grant here."""
    HEIR = 9
    """A hint, unasked: `sender` may take over `seq` routers of `subject`, and has `lost` these of its ways out."""
    ASK = 10
    """`sender`, told SILENT by too few, asks whether `subject` has an unexpired grant; the answer is SILENT if not."""
    RELEASED = 11
    """`sender` has closed `router`, and opens it no more below an epoch above `seq`, at which `subject` may open it."""
    UNGUARDED = 12
    """A hint, unasked: what `sender` has built of `subject`'s routers was heard; that is over, for the `seq`th time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """One datagram. `asker` is, in an answer, the incarnation that had asked: a question's `seq` counts within it."""

    kind: DatagramKind
    sender: Tenure
    panel: PanelVersion
    """The version that the sender follows."""
    lease_s: float
    """The sender's L. Whose L differs is not served: an arbiter would count a longer lease too short."""
    subject: Tenure
    seq: int = 0
    asker: Incarnation = NOBODY
    silent_for_s: float = 0.0
    """In a SILENT: how long ago the last grant expired, or a higher incarnation was heard. In a RELEASED: for how long
    the router has been closed, which earlier releases of Gapless do not say."""
    lost: int = 0
    """In an HEIR: what of its ways out the sender has lost, as 32 bits (`core.edge.uplinks.as_bits`)."""
    router: RouterId | None = None
    """In a RELEASED, and in no other."""
