"""What a probe is, what it recorded, and what a gap is. Pure: no clock, no sockets.

A probe sends one ICMP echo request each `interval`, numbered; the far kernel answers. Recorded per number: when it was
sent, and when the reply reached this machine's kernel (its own receive timestamp, so a slow reader does not lengthen a
gap).

**The gap** of a probe is the longest stretch of the measured time in which no reply arrived: between two replies that
follow each other in time of arrival, from the begin of the measurement to the first, or from the last to its end. So
it is never shorter than the interval, and with nothing wrong it is about the interval: a gap is exact to one interval
plus the sender's lateness. A reply that was held up and arrives late ends the stretch when it arrives, not when it was
asked for.

**The wait** of a probe is the longest time from the sending of a request to the next reply, to it or to a later one: of
one that was lost or held up, until packets pass again. So a sender that was late does not lengthen it, unless it was so
just then. What it does not show is up to one distance of probes before the first request that was lost, and it ends
with the first one that was not: what is dark for less than a distance may be missed, and with nothing wrong a wait is
the way there and back.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import msgspec

MAX_PROBES_PER_S = 10_000
"""All probes together; one costs some 60 us of CPU, the routers' share included, and the machine has other work."""
FINEST_INTERVAL_MS = 10.0


class Direction(StrEnum):
    """Which way a probe's requests go through a router."""

    OUT = "out"
    """From a VM without a floating IP to the world outside, through SNAT."""
    IN = "in"
    """From outside to a floating IP, through DNAT."""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """One probe: through which router, from which namespace and address, to which address."""

    router_id: str
    direction: Direction
    netns: str
    source: str
    target: str


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the prober is told when it starts."""

    flows: tuple[Flow, ...]
    interval_ms: float
    report_interval_s: float = 0.25


class Pulse(msgspec.Struct, frozen=True, kw_only=True, tag="pulse"):
    """What the prober says several times a second. Times are CLOCK_MONOTONIC nanoseconds."""

    at_ns: int
    last_reply_ns: tuple[int, ...]
    """Per flow, in the orders' order; 0: never."""
    sent: int
    answered: int
    lateness_ms: float
    """The most that a request left behind its time since the measurement began."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """First line of a recording; then, flow by flow, times sent and times replied as native 64-bit integers."""

    flows: tuple[Flow, ...]
    slots: tuple[int, ...]
    interval_ms: float
    begin_ns: int
    end_ns: int
    lateness_ms: float


@dataclass(frozen=True, slots=True)
class Track:
    """What one probe recorded, in CLOCK_MONOTONIC nanoseconds. 0 in `sent`: skipped, late by a whole interval."""

    flow: Flow
    sent: Sequence[int]
    replied: Sequence[int]
    """0: no reply."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest stretch without a reply."""

    begin_ns: int
    end_ns: int

    @property
    def ms(self) -> float:
        """Its length in milliseconds."""
        return (self.end_ns - self.begin_ns) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What all probes of a measurement recorded."""

    tracks: tuple[Track, ...]
    interval_ms: float
    begin_ns: int
    end_ns: int
    lateness_ms: float

    @property
    def sent(self) -> int:
        """Requests that left."""
        return sum(len(track.sent) - track.sent.count(0) for track in self.tracks)

    @property
    def lost(self) -> int:
        """Requests that left and were never answered."""
        return sum(lost(track) for track in self.tracks)

    def waits_ms(self) -> Mapping[str, float]:
        """The longest wait of each router's probes, by router."""
        found: dict[str, float] = {}
        for track in self.tracks:
            router_id = track.flow.router_id
            found[router_id] = max(found.get(router_id, 0.0), wait_ns(track, self.end_ns) / 1e6)
        return found

    def gaps(self) -> Mapping[tuple[str, Direction], Gap]:
        """The gap of every probe, by router and direction."""
        return {
            (track.flow.router_id, track.flow.direction): gap(track.replied, self.begin_ns, self.end_ns)
            for track in self.tracks
        }


def interval_ms_for(flows: int) -> float:
    """The finest interval that keeps the load of this many probes bearable: 10 ms up to 100 of them, 20 ms at 200."""
    return max(FINEST_INTERVAL_MS, 1000 * flows / MAX_PROBES_PER_S)


def answered_within_ms(interval_ms: float) -> float:
    """A last reply not older than this means answered now: three intervals, and the pause of a busy machine."""
    return 150.0 + 3 * interval_ms


def lost(track: Track) -> int:
    """Requests of one probe that left and were never answered."""
    return sum(1 for sent, replied in zip(track.sent, track.replied, strict=True) if sent and not replied)


def gap(replied: Iterable[int], begin_ns: int, end_ns: int) -> Gap:
    """The longest stretch between `begin_ns` and `end_ns` in which no reply arrived; the first of equals."""
    arrivals = sorted(at for at in replied if begin_ns <= at <= end_ns)
    longest = Gap(begin_ns, begin_ns)
    previous = begin_ns
    for at in (*arrivals, end_ns):
        if at - previous > longest.end_ns - longest.begin_ns:
            longest = Gap(previous, at)
        previous = at
    return longest


def wait_ns(track: Track, end_ns: int) -> int:
    """The longest wait of a probe; to `end_ns` where no reply came any more."""
    longest, next_reply_ns = 0, end_ns
    for sent, replied in zip(reversed(track.sent), reversed(track.replied), strict=True):
        next_reply_ns = min(next_reply_ns, replied or next_reply_ns)
        longest = max(longest, next_reply_ns - sent if sent else 0)
    return longest


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank); 0 for no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]


def write(file: BinaryIO, header: Header, times: Iterable["array[int]"]) -> None:
    """Write a recording: 16 bytes a probe packet."""
    file.write(msgspec.json.encode(header) + b"\n")
    for series in times:
        series.tofile(file)


def read(path: Path) -> Recording:
    """Read a recording. Raises OSError, msgspec.DecodeError, or EOFError where it was cut short."""
    with path.open("rb") as file:
        header = msgspec.json.decode(file.readline(), type=Header)
        tracks = []
        for flow, slots in zip(header.flows, header.slots, strict=True):
            sent, replied = array("q"), array("q")
            sent.fromfile(file, slots)
            replied.fromfile(file, slots)
            tracks.append(Track(flow, sent, replied))
    return Recording(
        tracks=tuple(tracks),
        interval_ms=header.interval_ms,
        begin_ns=header.begin_ns,
        end_ns=header.end_ns,
        lateness_ms=header.lateness_ms,
    )
