"""What became of the lab's connections, counted. Pure.

**Survived** is what was heard again after the fault and never closed; *broken* what either end was told is over (a RST,
a timeout, an end that nobody asked for); *stalled* what is still open and silent when the patience is over. UDP tells
nobody that it is over: there *broken* is what nothing is heard of any more, and what the outside sees coming from
another address or port than before, whose answers would go to another mapping.

A connection's stall is the longest time in which its listener heard nothing (`conversations`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from gapless.lab.measuring.connections import Course, Kind, interval_ms_for
from gapless.lab.measuring.probes import percentile


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """What became of some connections. `stall_ms_*`: of those that survived. `datagrams`: of those of UDP together."""

    connections: int = 0
    survived: int = 0
    stalled: int = 0
    broken: int = 0
    stall_ms_median: float = 0.0
    stall_ms_max: float = 0.0
    datagrams: int = 0
    datagrams_lost: int = 0

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
    """Between two lines of a connection; who speaks seldom does it less often."""
    reasons: dict[str, int] = {}
    """Why connections broke, and how many for that."""


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
        datagrams=sum(course.datagrams for course in courses),
        datagrams_lost=sum(course.datagrams_lost for course in courses),
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
        reasons=dict(Counter(course.broken for course in courses if course.broken)),
    )
