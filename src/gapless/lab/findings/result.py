"""What an experiment found, as it is written to JSON; worked out from records alone, so that it can be tested alone."""

import math
import os
import platform
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from gapless import __version__
from gapless.config import Liveness
from gapless.lab.findings.expect import Frames
from gapless.lab.measuring.double_active import LATE_S, QUIET_S, Handover, Overlap, double_active
from gapless.lab.measuring.probes import Direction, Recording, lost, percentile
from gapless.lab.measuring.sniffer import Seen
from gapless.lab.measuring.survival import Survivals
from gapless.model.plan import MoveKind, MoveStep

HEARD = frozenset({MoveStep.LAST_HEARD, MoveStep.GRANTED, MoveStep.MISSED, MoveStep.SILENT})
"""Steps that tell what was heard of the old host: nobody has decided anything by then."""
SPANS = {
    ("last_heard", "decided"): "detection",
    ("decided", "bound"): "bind",
    ("bound", "sent"): "send",
    ("sent", "built"): "build",
    ("built", "announced"): "announce",
    ("announced", "confirmed"): "confirm",
}
"""Of a move that the controller decided: from one step to the next."""
TAKEOVER_SPANS = {
    ("missed", "silent"): "silence",
    ("silent", "buried"): "claim",
    ("buried", "opened"): "open",
    ("opened", "announced"): "announce",
    ("opened", "forwarded"): "forward",
    ("missed", "announced"): "whole",
    ("missed", "bound"): "recorded",
}
"""Of a takeover: the first beat that was missed, then what the successor did, by its own clock."""
SWITCHOVER_SPANS = {
    ("decided", "bound"): "bind",
    ("bound", "withdrawn"): "release",
    ("withdrawn", "opened"): "open",
    ("opened", "announced"): "announce",
    ("withdrawn", "announced"): "dark",
    ("opened", "forwarded"): "forward",
    ("decided", "confirmed"): "whole",
}
"""Of a switchover: its plan may be sent after it is open, and nothing is built."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution in three numbers; nearest-rank percentiles. None where nothing was measured."""

    median: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Rounded to a tenth."""
        if not values:
            return cls()
        return cls(
            median=_tenth(percentile(values, 0.5)),
            p99=_tenth(percentile(values, 0.99)),
            max=_tenth(max(values)),
        )


def _tenth(value: float) -> float:
    return round(value, 1) + 0.0  # and never -0.0


class Gaps(msgspec.Struct, frozen=True, kw_only=True):
    """Gaps of the routers that the fault was to hurt, in milliseconds: those of the hosts struck, else all of them.

    A router's gap is the longer one of its two directions. None: no router was to be hurt.
    """

    median: float | None
    p99: float | None
    max: float | None
    per_router: dict[str, float]
    """Router id -> its gap; of all routers."""
    directions: dict[str, Spread]
    bystanders: Spread
    """Of the other routers, for which nothing should have changed."""
    waits: Spread = Spread()
    """From a request that was lost or held up to the next reply: a router's longest, of those to be hurt."""


class Probes(msgspec.Struct, frozen=True, kw_only=True):
    """How it was measured: through how many routers, in how many flows, each with a probe each `interval_ms`.

    `lateness_ms_max`: the most that a request left behind its time. `skipped`: those late by a whole interval.
    `lost_of_routers`: router id -> its lost requests; those without any are left out.
    """

    routers: int
    flows: int
    sent: int
    lost: int
    skipped: int
    interval_ms: float
    lateness_ms_max: float
    lost_of_routers: dict[str, int] = {}


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Frames of routers that left the hosts. `watched`: false when the capture failed. `missed`: those that it had no
    room for.
    """

    watched: bool = True
    frames: int
    missed: int
    double_active: tuple[Overlap, ...] = ()
    """Where two hosts were active for one router."""


class TakeoverTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of takeovers went, in milliseconds, from the first beat that the arbiters missed."""

    silence: Spread = Spread()
    """Missed -> a quorum of arbiters says that the host is silent: the rest of its lease."""
    claim: Spread = Spread()
    """-> a quorum has buried it."""
    open: Spread = Spread()
    """-> the guard lets the routers' frames pass."""
    announce: Spread = Spread()
    """-> the router is announced; they are announced one after another."""
    forward: Spread = Spread()
    """Open -> a packet was seen to have been forwarded; of the routers that had something to forward."""
    whole: Spread = Spread()
    recorded: Spread = Spread()
    """Missed -> in the controller's store."""


class SwitchoverTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of switchovers went, in milliseconds. From `open` to `forward` by the clock of the host that got
    the router, with what the other one had said in its datagram: nothing is measured there where the controller had to
    tell that host. The way of the datagram is not in it; for how long it lay unread is.
    """

    bind: Spread = Spread()
    """Decided -> in the store."""
    release: Spread = Spread()
    """-> closed on the host that it leaves: its plan, the copying of connections, the guard."""
    open: Spread = Spread()
    """Closed -> open on the new host."""
    announce: Spread = Spread()
    dark: Spread = Spread()
    """Closed -> announced."""
    forward: Spread = Spread()
    """Open -> a packet was seen to have been forwarded; of the routers that had something to forward."""
    whole: Spread = Spread()
    """Decided -> the controller knows that it is active."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went, over the routers that moved, in milliseconds."""

    detection: Spread = Spread()
    """Last heard -> decided."""
    bind: Spread = Spread()
    send: Spread = Spread()
    build: Spread = Spread()
    """Plan sent -> built; routers are built several at a time and wait for their turn, which this includes."""
    announce: Spread = Spread()
    confirm: Spread = Spread()
    struck_to_confirmed: Spread = Spread()
    takeover: TakeoverTimeline | None = None
    """None: nothing was taken over."""
    switchover: SwitchoverTimeline | None = None
    """None: nothing was switched over."""
    build_ms_per_router: float | None = None
    """From the first plan sent to the last router built, divided by the routers built."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Liveness as it was set."""

    report_interval_s: float
    agent_down_time_s: float
    dead_after_s: float

    @classmethod
    def of(cls, liveness: Liveness) -> "Patience":
        """The settings and what follows from them."""
        return cls(
            report_interval_s=liveness.report_interval_s,
            agent_down_time_s=liveness.agent_down_time_s,
            dead_after_s=liveness.dead_after_s,
        )


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """What it ran on."""

    gapless: str
    python: str
    kernel: str
    nft: str
    iproute2: str
    cores: int
    processor: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment. `ok`: traffic is back, each router is on exactly one host, and what the fault promises held."""

    ok: bool
    problems: list[str]
    at: str
    """When the fault struck: ISO 8601, UTC."""
    fault: str
    description: str
    mode: str
    timing: str
    hosts: int
    routers: int
    affected: int
    moved: int
    taken_over_before: int
    """Takeovers when nothing was broken, since the lab was begun or the experiment before: this machine was too busy
    for the timing."""
    gap_ms: Gaps
    double_active_frames: Frames
    """Frames of hosts whose tenure of a router was over; see `double_active`."""
    wire: Wire
    probes: Probes
    liveness: Patience
    timeline: Timeline
    versions: Versions
    connections: Survivals | None = None
    """What became of connections; None: there were none."""


def wire(seen: Seen | None, handovers: Iterable[Handover], interval_ms: float) -> Wire:
    """The judgement of the frames that were seen; None: the capture failed."""
    if seen is None:
        return Wire(watched=False, frames=0, missed=0)
    quiet_ns = int((QUIET_S + 3 * interval_ms / 1000) * 1e9)
    overlaps = double_active(seen.runs, handovers, quiet_ns)
    return Wire(frames=seen.frames, missed=seen.lost, double_active=tuple(overlaps))


def double_active_frames(wire: Wire) -> Frames:
    """How many; unknown, never 0, where frames were missed."""
    return sum(each.frames for each in wire.double_active) if wire.watched and not wire.missed else "unknown"


def handovers(moves: Iterable[Mapping[str, Any]]) -> list[Handover]:
    """From the controller's records of moves: to whom a router was given, and between which moments.

    In a takeover no later than a quorum had buried the host before it, and the controller dates that by when it heard
    of it. Another move has happened when it is confirmed, and at no time before it was decided.
    """
    return [_handover(move) for move in moves if move["to_host"]]


def _handover(move: Mapping[str, Any]) -> Handover:
    at = {step["step"]: datetime.fromisoformat(step["at"]) for step in move["timeline"]}
    buried, done = at.get(MoveStep.BURIED), at.get(MoveStep.BURIED) or at.get(MoveStep.CONFIRMED)
    return Handover(
        router_id=move["router_id"],
        host=move["to_host"],
        epoch=move["epoch"],
        from_ns=_ns(buried or decided(move)) - int(LATE_S * 1e9),
        by_ns=math.inf if done is None else _ns(done),
    )


def _ns(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6) * 1000


def is_move(move: Mapping[str, Any]) -> bool:
    """Whether a record tells of a router that went from one host to another."""
    return bool(move["from_host"]) and move["to_host"] not in (None, move["from_host"])


def takeovers(moves: Iterable[Mapping[str, Any]], since: datetime, until: datetime) -> int:
    """How many of these records are of takeovers that were decided in between."""
    return sum(move["kind"] == MoveKind.TAKEOVER and since <= decided(move) < until for move in moves)


def moved(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[str]:
    """Routers that are active on another host now. One that is active nowhere has moved nowhere."""
    return [router_id for router_id, hosts in before.items() if (now := after.get(router_id)) and now != hosts]


def decided(move: Mapping[str, Any]) -> datetime:
    """When a move was decided: its first step that somebody took."""
    steps = [(step["step"] in HEARD, datetime.fromisoformat(step["at"])) for step in move["timeline"]]
    return min(steps)[1]


def probes(recording: Recording) -> Probes:
    """How it was measured."""
    lost_of = Counter[str]()
    for track in recording.tracks:
        lost_of[track.flow.router_id] += lost(track)
    return Probes(
        routers=len({track.flow.router_id for track in recording.tracks}),
        flows=len(recording.tracks),
        sent=recording.sent,
        lost=recording.lost,
        skipped=sum(not sent for track in recording.tracks for sent in track.sent),
        interval_ms=recording.interval_ms,
        lateness_ms_max=round(recording.lateness_ms, 1),
        lost_of_routers={router_id: count for router_id, count in lost_of.items() if count},
    )


def gaps(recording: Recording, affected: Iterable[str]) -> Gaps:
    """Gaps by router and direction, apart for the routers that were to be hurt and the rest."""
    by_probe = {key: gap.ms for key, gap in recording.gaps().items()}
    worst: dict[str, float] = {}
    for (router_id, _), ms in by_probe.items():
        worst[router_id] = max(worst.get(router_id, 0.0), ms)
    hurt = set(affected)
    spread = Spread.of([ms for router_id, ms in worst.items() if router_id in hurt])
    return Gaps(
        median=spread.median,
        p99=spread.p99,
        max=spread.max,
        per_router={router_id: round(ms, 1) for router_id, ms in worst.items()},
        directions={
            direction.value: Spread.of(
                [ms for (router, way), ms in by_probe.items() if way is direction and router in hurt]
            )
            for direction in Direction
        },
        bystanders=Spread.of([ms for router_id, ms in worst.items() if router_id not in hurt]),
        waits=Spread.of([ms for router_id, ms in recording.waits_ms().items() if router_id in hurt]),
    )


def timeline(moves: Iterable[Mapping[str, Any]], struck: datetime) -> Timeline:
    """From the controller's records of the moves that the fault led to; steps without a time are left out."""
    spans: dict[str, list[float]] = {}
    taken: dict[str, list[float]] = {}
    switched: dict[str, list[float]] = {}
    total, sent, built = [], [], []
    for move in moves:
        at = {step["step"]: datetime.fromisoformat(step["at"]) for step in move["timeline"]}
        if "missed" in at:
            names, of_kind = TAKEOVER_SPANS, taken
        elif _is_switchover(at):
            names, of_kind = SWITCHOVER_SPANS, switched
        else:
            names, of_kind = SPANS, spans
        for (start, end), name in names.items():
            if start in at and end in at:
                of_kind.setdefault(name, []).append(_ms(at[start], at[end]))
        if "confirmed" in at:
            total.append(_ms(struck, at["confirmed"]))
        if "sent" in at and "built" in at:
            sent.append(at["sent"])
            built.append(at["built"])
    return Timeline(
        **_spreads(spans),
        struck_to_confirmed=Spread.of(total),
        takeover=TakeoverTimeline(**_spreads(taken)) if taken else None,
        switchover=SwitchoverTimeline(**_spreads(switched)) if switched else None,
        build_ms_per_router=round(_ms(min(sent), max(built)) / len(built), 1) if built else None,
    )


def _is_switchover(at: Mapping[str, datetime]) -> bool:
    """Whether a move by these steps, which is no takeover, was one to a host that had the router built."""
    return "opened" in at or ("withdrawn" in at and "confirmed" in at and "built" not in at)


def _spreads(spans: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    return {name: Spread.of(values) for name, values in spans.items()}


def _ms(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() * 1000


def utc(seconds: float) -> datetime:
    """A point in wall-clock time."""
    return datetime.fromtimestamp(seconds, UTC)


def versions() -> Versions:
    """What this machine is. Blocks for some milliseconds."""
    return Versions(
        gapless=__version__,
        python=platform.python_version(),
        kernel=platform.release(),
        nft=_said("nft", "--version"),
        iproute2=_said("ip", "-V"),
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
    )


def _said(*argv: str) -> str:
    path = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        return ""
    return subprocess.run([path, *argv[1:]], capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:  # noqa: PTH123 -- a kernel interface, read line by line
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, platform.machine())
