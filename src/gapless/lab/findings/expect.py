"""What must hold when a fault is over, as data, and the judgement of what was measured. Pure.

Beside what is said here, two things hold after every fault: traffic through every router is back, and each router is
active on exactly one host. How long a gap of a kind may be is nobody's business here: it depends on timing and
machine, so the bounds are the caller's.

Connections whose state was copied go on, where a fault leaves each router with a table that has them (`KEPT`); how long
they may stall follows from the gap (`measuring.conversations`). So nobody has to bound it. All of the lab's are copied:
the kernel takes TCP for real after its handshake, UDP when it was answered for two seconds (`flows`), be it through
SNAT or to a floating IP; and a fault strikes when they are.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from gapless.lab.measuring.connections import Kind
from gapless.lab.measuring.conversations import CONVERSATIONS
from gapless.lab.measuring.double_active import Overlap
from gapless.lab.measuring.survival import Survival, Survivals
from gapless.observe.words import counted

Frames = int | Literal["unknown"]
"""How many frames; unknown where some were not seen."""
NAMED = 3
"""So many overlaps of two hosts are told in words; the result has all."""


class Gap(StrEnum):
    """What a fault may cost the routers that it strikes."""

    NONE = "none"
    """Not one probe is lost, of no router."""
    REPAIR = "repair"
    """The router is repaired where it is."""
    DRAIN = "drain"
    """A planned move: closed on one host, and open on another."""
    REBUILD = "rebuild"
    """A planned move without a standby: removed from one host, and built on another."""
    SWITCHOVER = "switchover"
    """A way to the standby by the controller, from a host that can close it: after repairs that fail, say."""
    TAKEOVER = "takeover"
    """The end of the lease, and a standby's start."""
    RESCHEDULE = "reschedule"
    """The silence after which a host is dead, and building elsewhere."""
    LASTS = "lasts"
    """It lasts as long as the fault, and what it takes to come back."""


KEPT = frozenset({Gap.NONE, Gap.DRAIN, Gap.SWITCHOVER, Gap.TAKEOVER})
"""Of these gaps: a router goes on where it was, or at its standby. What began while one was broken may have begun
without translation; and what lasts may last for longer than anybody waits for TCP.
"""


class Moves(StrEnum):
    """Which routers are on another host when the fault is over."""

    NONE = "none"
    STRUCK = "struck"
    """Those that were on a host struck, all of them, and no others."""
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a fault may cost in one failover mode. `two_active`: the mode has no fence against it, and two hosts may
    forward for one router."""

    gap: Gap
    moves: Moves = Moves.ANY
    two_active: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long gaps may be, in milliseconds; what is not named is not judged. `bystanders`: of routers not struck."""

    gap_ms: Mapping[Gap, float] = field(default_factory=dict)
    bystanders_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a fault. Gaps in milliseconds; `lost` of `sent` probes."""

    affected: Collection[str]
    moved: Collection[str]
    recorded: int
    """Moves from one host to another that the controller recorded."""
    gap_ms: float
    bystanders_ms: float
    sent: int
    lost: int
    answered_within_ms: float
    """A gap that is no longer is none: the probes' interval, their lateness, a busy machine's pause."""
    double_active_frames: Frames
    overlaps: Sequence[Overlap] = ()
    """Where these frames were."""
    must_affect: bool = False
    """Whether it is for routers that the fault was aimed."""
    frames_missed: int = 0
    """How many the capture had no room for."""
    connections: Survivals | None = None
    """None: there were none."""


def problems(expected: Expected, bounds: Bounds, found: Measured) -> list[str]:
    """What does not hold, a sentence each."""
    wrong = []
    if found.must_affect and not found.affected:
        wrong.append("no router was active on a host that was struck, so nothing was measured")
    if expected.gap is Gap.NONE and found.lost:
        wrong.append(f"{counted(found.lost, 'probe')} of {found.sent} lost to a fault that must cost nothing")
    longest = max(found.gap_ms, found.bystanders_ms)
    if expected.gap is Gap.NONE and longest > found.answered_within_ms:
        wrong.append(f"nothing was answered for {longest:,.0f} ms, of a fault that must cost nothing")
    most = bounds.gap_ms.get(expected.gap)
    if most is not None and found.gap_ms > most:
        wrong.append(f"a gap was {found.gap_ms:,.0f} ms long, and may be {most:,.0f} ms ({expected.gap})")
    if bounds.bystanders_ms is not None and found.bystanders_ms > bounds.bystanders_ms:
        wrong.append(
            f"a router that was not struck had a gap of {found.bystanders_ms:,.0f} ms, and may have "
            f"{bounds.bystanders_ms:,.0f} ms"
        )
    if expected.moves is Moves.NONE and found.recorded and not found.moved:
        wrong.append(f"{found.recorded} moves were recorded, there and back, and none should have been")
    return [
        *wrong,
        *_moves(expected.moves, set(found.affected), set(found.moved)),
        *_active(expected, found),
        *_connections(expected, found),
    ]


def _moves(expected: Moves, affected: set[str], moved: set[str]) -> list[str]:
    match expected:
        case Moves.ANY:
            return []
        case Moves.NONE:
            return [f"{counted(len(moved), 'router')} moved, and none should have"] if moved else []
        case Moves.STRUCK:
            stayed, strays = affected - moved, moved - affected
            return [
                *([f"{counted(len(stayed), 'router')} of {len(affected)} struck did not move"] if stayed else []),
                *([f"{counted(len(strays), 'router')} moved that were not struck"] if strays else []),
            ]


def _active(expected: Expected, found: Measured) -> list[str]:
    if found.double_active_frames == "unknown":
        why = f"{found.frames_missed} frames were not captured" if found.frames_missed else "the capture failed"
        return [f"whether two hosts were active is unknown: {why}"]
    if found.double_active_frames and not expected.two_active:
        what = f"two hosts were active for one router: {found.double_active_frames} frames of the one that was over"
        return [f"{what} ({'; '.join(map(str, found.overlaps[:NAMED]))})" if found.overlaps else what]
    return []


def _connections(expected: Expected, found: Measured) -> list[str]:
    """What became of those that were copied, where the fault leaves each a table that has it."""
    them = found.connections
    if them is None or not them.synced or expected.gap not in KEPT:
        return []
    late_ms = found.answered_within_ms
    wrong = []
    for kind, each in them.struck.items():
        most_ms = CONVERSATIONS[Kind(kind)].stall_ms_most(them.interval_ms, found.gap_ms) + late_ms
        wrong += _survived(f"of kind {kind}", each, found.gap_ms, most_ms)
    most_ms = max(one.stall_ms_most(them.interval_ms, found.bystanders_ms) for one in CONVERSATIONS.values()) + late_ms
    return wrong + _survived("not struck", them.bystanders, found.bystanders_ms, most_ms)


def _survived(which: str, those: Survival, gap_ms: float, most_ms: float) -> list[str]:
    wrong = []
    if those.lost:
        wrong.append(
            f"{counted(those.connections, 'connection')} {which} had been copied, and {those.lost} did not survive: "
            f"{those.stalled} stalled, {those.broken} broken"
        )
    if those.stall_ms_max > most_ms:
        wrong.append(
            f"a connection {which} stalled for {those.stall_ms_max:,.0f} ms, and may for {most_ms:,.0f} ms at a gap of "
            f"{gap_ms:,.0f} ms, with the time until what was lost is said again"
        )
    return wrong
