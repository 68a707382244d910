"""What a TCP connection of the lab is, what became of it, and how that is judged. Pure: no clock, no sockets.

Each goes from a VM without a floating IP to the world outside, through its router's SNAT. One end speaks, a line at a
time, the other one listens, and nothing else is said: so in a download nothing comes from inside but what TCP itself
acknowledges, which is what a router without its connection's state cannot make sense of.

**Survived** is what was heard again after the fault and never closed; *broken* what either end was told is over (a RST,
a timeout, an end that nobody asked for); *stalled* what is still open and silent when the patience is over. A
connection's stall is the longest time in which its listener heard nothing.

How long may one stall whose state was copied? Its speaker was quiet for a pause before, maybe; then for the gap nothing
passes; then TCP waits until it sends again what was lost. That wait is one retransmission's, the first that does not
fall into the gap: each is twice as long as the one before and the first is `RTO_MS` (RFC 6298, with Linux's least), so
it is no longer than all before it together, which lay in the gap, and `RTO_MS` more.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from gapless.lab.measuring.probes import percentile

MOST_LINES_PER_S = 2000
"""Of all connections together."""
SHORTEST_INTERVAL_MS = 100.0
IDLE_TIMES = 10
"""An idle connection speaks so many times less often,"""
IDLE_MOST_MS = 10_000.0
"""but not more seldom than this: it has to be heard once more at the end."""
RTO_MS = 200.0
"""TCP_RTO_MIN (linux/include/net/tcp.h): the first retransmission's wait where answers come sooner, as in the lab."""
PORT = 7000


class Kind(StrEnum):
    """Who speaks."""

    DOWNLOAD = "download"
    """The outside."""
    UPLOAD = "upload"
    """The VM."""
    IDLE = "idle"
    """The outside, seldom."""


MIX = (Kind.DOWNLOAD, Kind.UPLOAD, Kind.DOWNLOAD, Kind.IDLE)
"""By turns."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One connection: through which router, from which namespace and address."""

    router_id: str
    kind: Kind
    netns: str
    source: str


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the talker is told when it starts."""

    connections: tuple[Connection, ...]
    netns: str
    """Of the outside."""
    target: str
    interval_ms: float
    port: int = PORT


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """What the talker says several times a second: how many connections were heard at least once."""

    heard: int


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one connection."""

    connection: Connection
    broken: str = ""
    """What an end was told; "" if nothing."""
    is_heard: bool = False
    """Its listener heard something new after it was asked for the end."""
    stall_ms: float = 0.0


class Courses(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all."""

    courses: tuple[Course, ...]


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """What became of some connections. `stall_ms_*`: of those that survived."""

    connections: int = 0
    survived: int = 0
    stalled: int = 0
    broken: int = 0
    stall_ms_median: float = 0.0
    stall_ms_max: float = 0.0

    @property
    def lost(self) -> int:
        """Those that did not survive."""
        return self.stalled + self.broken


class Survivals(msgspec.Struct, frozen=True, kw_only=True):
    """Of the connections through routers that the fault was to hurt, by kind; and of all others together."""

    struck: dict[str, Survival]
    bystanders: Survival
    synced: bool
    """Hosts copied connections to their successors, and had when the fault struck."""
    interval_ms: float = 0.0
    """Between two lines of a connection; an idle one speaks less often."""


def interval_ms_for(connections: int) -> float:
    """Between two lines of one connection, so that all together are bearable."""
    return max(SHORTEST_INTERVAL_MS, 1000 * connections / MOST_LINES_PER_S)


def pause_ms(kind: Kind, interval_ms: float) -> float:
    """Between two lines of one connection of this kind."""
    return interval_ms if kind is not Kind.IDLE else max(interval_ms, min(IDLE_TIMES * interval_ms, IDLE_MOST_MS))


def stall_ms_most(kind: Kind, interval_ms: float, gap_ms: float) -> float:
    """How long a connection of this kind may hear nothing that goes on after a gap: pause, gap, retransmission."""
    return pause_ms(kind, interval_ms) + gap_ms + (gap_ms + RTO_MS)


def judge(courses: Iterable[Course]) -> Survival:
    """Of these together."""
    courses = list(courses)
    survived = [course for course in courses if not course.broken and course.is_heard]
    broken = sum(bool(course.broken) for course in courses)
    stalls = [course.stall_ms for course in survived]
    return Survival(
        connections=len(courses),
        survived=len(survived),
        stalled=len(courses) - len(survived) - broken,
        broken=broken,
        stall_ms_median=round(percentile(stalls, 0.5), 1),
        stall_ms_max=round(max(stalls, default=0.0), 1),
    )


def survivals(courses: Sequence[Course], affected: Iterable[str], *, synced: bool) -> Survivals:
    """Apart for the routers that were to be hurt and the rest."""
    hurt = set(affected)
    struck = [course for course in courses if course.connection.router_id in hurt]
    return Survivals(
        struck={kind.value: judge(course for course in struck if course.connection.kind is kind) for kind in Kind},
        bystanders=judge(course for course in courses if course.connection.router_id not in hurt),
        synced=synced,
        interval_ms=interval_ms_for(len(courses)),
    )
