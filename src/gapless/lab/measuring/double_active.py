"""Whether two hosts forwarded for one router, judged from the frames that left each. Pure: no clock, no sockets.

A host's *tenure* of a router is the time in which it is the one whose frames are seen. It begins with the host's first
frame and is over with the first frame of another host. **Every frame of a host whose tenure is over is a double active
frame**: two hosts answered for the same addresses. A tenure may begin anew in two ways only: the router was given to
that host again, and that was recorded; or the host that had it has been quiet for so long that nobody is surprised.

So A, B is a takeover; A, B, A is a router that is active twice, and so is every further frame of A until one of the two
happens. A stretch of frames that begins as double active counts as a whole.

Records are exact in their order, which is that of their epochs, and vague in their times: the controller dates what a
host did by when it heard of it. So each hand-over is known to have happened between two moments, and a return is
allowed by a hand-over to that host which may have happened by then, where none after it surely had, and neither it nor
any after it has allowed another return. That raises no false alarm however fast hand-overs follow each other. What it
cannot tell: a frame of the former host shortly before it really gets the router back, if the present host sends
nothing in between.

All times are nanoseconds of one wall clock: hosts of a lab share a kernel, so their frames can be compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import msgspec

QUIET_S = 1.0
"""How long the present host has to be silent, plus three probe intervals, before another may return unrecorded."""
LATE_S = 1.0
"""How much later than it was the controller may date what a host did: many times what is usual (milliseconds; a fifth
of a second on a machine with much other work)."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Frames of one router from one host, with none from another host between the first and the last of them."""

    router_id: str
    host: str
    first_ns: int
    last_ns: int
    frames: int


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """A router was given to `host`, as somebody recorded it: a move, or a takeover. It happened between two moments."""

    router_id: str
    host: str
    epoch: int
    from_ns: int
    by_ns: float
    """Infinite where nobody knows whether it has happened at all."""


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is double active, beside the tenure that had begun before it. Milliseconds after the first frame of
    the host that has the router.
    """

    router_id: str
    host: str
    """The one that was over."""
    present: str
    """The one that has the router."""
    frames: int
    first_ms: float
    last_ms: float

    def __str__(self) -> str:
        when = f"{self.first_ms:.1f} to {self.last_ms:.1f} ms after the first one of {self.present}"
        return f"{self.frames} of {self.host}, {when}, of router {self.router_id}"


def runs(frames: Iterable[tuple[int, str, str]]) -> list[Run]:
    """Frames as (time, router, host), in any order, joined into runs; the runs of a router are in order of time."""
    parts: dict[str, list[_Part]] = {}
    for at_ns, router_id, host in sorted(frames):
        of_router = parts.setdefault(router_id, [])
        if of_router and of_router[-1].host == host:
            of_router[-1].last_ns = at_ns
            of_router[-1].frames += 1
        else:
            of_router.append(_Part(host, at_ns, at_ns))
    return [
        Run(router_id=router_id, host=part.host, first_ns=part.first_ns, last_ns=part.last_ns, frames=part.frames)
        for router_id, of_router in parts.items()
        for part in of_router
    ]


@dataclass(slots=True)
class _Part:
    """A run that may still grow."""

    host: str
    first_ns: int
    last_ns: int
    frames: int = 1


def double_active(seen: Iterable[Run], handovers: Iterable[Handover], quiet_ns: int) -> list[Overlap]:
    """The runs that are double active, router by router."""
    runs_of: dict[str, list[Run]] = {}
    for run in seen:
        runs_of.setdefault(run.router_id, []).append(run)
    given: dict[str, list[Handover]] = {}
    for handover in sorted(handovers, key=attrgetter("epoch")):
        given.setdefault(handover.router_id, []).append(handover)
    return [
        overlap
        for router_id, of_router in runs_of.items()
        for overlap in _judge(sorted(of_router, key=attrgetter("first_ns")), given.get(router_id, ()), quiet_ns)
    ]


def _judge(of_router: Sequence[Run], given: Sequence[Handover], quiet_ns: int) -> list[Overlap]:
    records = _Records(given)
    holder, since_ns, heard_ns = of_router[0].host, of_router[0].first_ns, of_router[0].last_ns
    records.passed(of_router[0].first_ns)
    were = {holder}
    wrong = []
    for run in of_router[1:]:
        if run.host != holder:
            if run.host not in were or run.first_ns - heard_ns >= quiet_ns:
                records.passed(run.first_ns)
            elif not records.allow(run):
                wrong.append(_overlap(run, holder, since_ns))
                continue
            were.add(run.host)
            holder, since_ns = run.host, run.first_ns
        heard_ns = run.last_ns
    return wrong


def _overlap(run: Run, present: str, since_ns: int) -> Overlap:
    return Overlap(
        router_id=run.router_id,
        host=run.host,
        present=present,
        frames=run.frames,
        first_ms=round((run.first_ns - since_ns) / 1e6, 3),
        last_ms=round((run.last_ns - since_ns) / 1e6, 3),
    )


class _Records:
    """The hand-overs of one router in their order; each allows one return at most."""

    def __init__(self, given: Sequence[Handover]) -> None:
        self._given = given
        self._next = 0
        """The first that may still allow something."""

    def passed(self, at_ns: int) -> None:
        """A tenure that needs no record began: what surely had happened by then was before it."""
        self._next = max(self._next, self._surely(at_ns) + 1)

    def allow(self, run: Run) -> bool:
        """Whether this run may begin a tenure by a hand-over. The earliest is used: it leaves most to those to come."""
        for place in range(max(self._next, self._surely(run.first_ns)), len(self._given)):
            if self._given[place].from_ns > run.first_ns:
                return False
            if self._given[place].host == run.host:
                self._next = place + 1
                return True
        return False

    def _surely(self, at_ns: int) -> int:
        """The place of the last hand-over that had happened; -1: none."""
        return max((place for place, each in enumerate(self._given) if each.by_ns <= at_ns), default=-1)
