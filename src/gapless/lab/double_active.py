"""Whether two hosts forwarded for one router, judged from the frames that left each. Pure: no clock, no sockets.

A host's *tenure* of a router is the time in which it is the one whose frames are seen. It begins with the host's first
frame and is over with the first frame of another host. **Every frame of a host whose tenure is over is a double active
frame**: two hosts answered for the same addresses. A tenure may begin anew in two ways only: the router was given to
that host again, and that was recorded; or the host that had it has been quiet for so long that nobody is surprised.

So A, B is a takeover; A, B, A is a router that is active twice, and so is every further frame of A until one of the two
happens. A stretch of frames that begins as double active counts as a whole.

All times are nanoseconds of one wall clock: hosts of a lab share a kernel, so their frames can be compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import msgspec

QUIET_S = 1.0
"""How long the present host has to be silent, plus three probe intervals, before another may return unrecorded."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Frames of one router from one host, with none from another host between the first and the last of them."""

    router_id: str
    host: str
    first_ns: int
    last_ns: int
    frames: int


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """A router was given to `host`, as somebody recorded it: a move, or a takeover."""

    router_id: str
    host: str
    at_ns: int


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


def double_active(seen: Iterable[Run], handovers: Iterable[Handover], quiet_ns: int) -> dict[str, list[Run]]:
    """Router id -> its runs that are double active; routers without any are left out."""
    runs_of: dict[str, list[Run]] = {}
    for run in seen:
        runs_of.setdefault(run.router_id, []).append(run)
    given: dict[str, list[Handover]] = {}
    for handover in handovers:
        given.setdefault(handover.router_id, []).append(handover)
    judged = {
        router_id: _judge(sorted(of_router, key=attrgetter("first_ns")), given.get(router_id, ()), quiet_ns)
        for router_id, of_router in runs_of.items()
    }
    return {router_id: wrong for router_id, wrong in judged.items() if wrong}


def _judge(of_router: Sequence[Run], given: Sequence[Handover], quiet_ns: int) -> list[Run]:
    holder, heard_ns = of_router[0].host, of_router[0].last_ns
    over_since: dict[str, int] = {}
    wrong = []
    for run in of_router[1:]:
        over = over_since.get(run.host)
        if run.host != holder and over is not None and not _may_return(run, over, heard_ns, given, quiet_ns):
            wrong.append(run)
            continue
        if run.host != holder:
            over_since[holder] = run.first_ns
            holder = run.host
        heard_ns = run.last_ns
    return wrong


def _may_return(run: Run, over: int, heard_ns: int, given: Sequence[Handover], quiet_ns: int) -> bool:
    """Whether a tenure that was over at `over` may begin anew with this run; the router's host was last heard at
    `heard_ns`."""
    recorded = any(one.host == run.host and over < one.at_ns <= run.first_ns for one in given)
    return recorded or run.first_ns - heard_ns >= quiet_ns
