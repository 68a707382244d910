"""What happened, in time order, from the records of an experiment: the prober's, and the controller's. Pure.

Several routers go through the same steps together, so each step is told once: when the first and the last of them came
to it. Times are seconds after the fault; steps of a takeover are also told in milliseconds after the first beat missed,
by the clock of the host that took over. The controller dates those by when it heard of them, which is some milliseconds
late: a reply through the new host shows by how much at least, and they are told that much earlier.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gapless.lab.measuring.probes import Direction, Recording, gap, wait_ns
from gapless.model.plan import MoveKind
from gapless.observe.words import counted

Move = Mapping[str, Any]
"""A move as the API shows it."""

MISSED, CLAIMED = "missed", "claimed"
_TAKEN = ("granted", MISSED, "silent", CLAIMED, "buried", "opened", "announced", "forwarded")
"""Steps of a takeover that its successor tells by its own clock."""
_OF_HOSTS = ("last_heard", "granted", MISSED, "silent", CLAIMED, "buried")
"""Steps of the host, not of each of its routers."""
_TOLD = {
    "last_heard": "the controller hears from {from_host} for the last time",
    "granted": "the arbiters grant {from_host} its lease for the last time",
    "missed": "the arbiters miss the first beat of {from_host}",
    "silent": "its lease is over: a quorum of arbiters says so to {to_hosts}",
    "claimed": "claimed by {to_hosts}: every arbiter is asked to bury {from_host}",
    "buried": "a quorum of arbiters has buried {from_host}: it can never forward again by that lease",
    "opened": "the guards of {to_hosts} let its routers pass",
    "decided": "the controller decides: {from_host} is dead, its routers move",
    "bound": "the new bindings are in the store",
    "sent": "the plans leave for {to_hosts}",
    "built": "built: namespace, interfaces, NAT and floating IPs, on {to_hosts}",
    "announced": "announced by gratuitous ARP: switches and neighbours know the new place",
    "forwarded": "their first packets are counted as forwarded by {to_hosts}",
    "confirmed": "the controller hears that they are active",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened, `at_s` after the fault; to several routers until `until_s`."""

    at_s: float
    text: str
    until_s: float | None = None
    after_missed_ms: float | None = None
    """Of the last of them, in a takeover."""


def tell(fault: str, recording: Recording, struck_ns: int, struck: datetime, moves: Sequence[Move]) -> list[Moment]:
    """The whole story: the fault, what the probes saw, what the controller recorded."""
    probes = _of_probes(recording, struck_ns)
    back_s = min((moment.at_s for moment in probes if moment.text.startswith(_BACK)), default=None)
    moments = [Moment(at_s=0.0, text=fault), *_of_moves(moves, struck, back_s), *probes]
    return sorted(moments, key=lambda moment: moment.at_s)


def _of_moves(moves: Sequence[Move], struck: datetime, back_s: float | None) -> Iterable[Moment]:
    late_s = _late_s(moves, struck, back_s)
    hosts = {
        "from_host": _named(move["from_host"] for move in moves),
        "to_hosts": _named(move["to_host"] for move in moves),
    }
    for step, words in _TOLD.items():
        reached = [steps for move in moves if step in (steps := _steps(move, struck))]
        if not reached:
            continue
        taken = step in _TAKEN and all(MISSED in steps for steps in reached)
        times = sorted(steps[step] - (late_s if taken else 0.0) for steps in reached)
        yield Moment(
            at_s=times[0],
            until_s=times[-1],
            text=words.format(**hosts)
            + (f" ({len(times)} routers)" if len(times) > 1 and step not in _OF_HOSTS else ""),
            after_missed_ms=max((steps[step] - steps[MISSED]) * 1000 for steps in reached) if taken else None,
        )


def _steps(move: Move, struck: datetime) -> dict[str, float]:
    """Step -> seconds after the fault. In a takeover its successor decides, by claiming; when, is known if it told."""
    steps = {each["step"]: (datetime.fromisoformat(each["at"]) - struck).total_seconds() for each in move["timeline"]}
    if move["kind"] == MoveKind.TAKEOVER:
        claimed = steps.pop("decided")
        if MISSED in steps:
            steps[CLAIMED] = claimed
    return steps


def _late_s(moves: Sequence[Move], struck: datetime, back_s: float | None) -> float:
    """How late the controller dates takeovers at least: nothing is answered before the guard has opened."""
    every = [_steps(move, struck) for move in moves]
    opened = [steps["opened"] for steps in every if {MISSED, "opened"} <= steps.keys()]
    return max(0.0, min(opened) - back_s) if opened and back_s is not None else 0.0


_BACK = "traffic is back"


def _of_probes(recording: Recording, struck_ns: int) -> list[Moment]:
    """The last reply before the silence and the first after it, of the probes that fell silent: those of which a
    request was not answered, nor a later one, for longer than a busy machine may take. How late requests were sent is
    no matter.
    """
    begin_ns, end_ns = recording.begin_ns, recording.end_ns
    notable_ns = (5 * recording.interval_ms + 50.0) * 1e6
    noticed = [track for track in recording.tracks if wait_ns(track, end_ns) > notable_ns]
    silenced = [found for it in noticed if (found := gap(it.replied, begin_ns, end_ns)).end_ns > struck_ns]
    if not silenced:
        return [Moment(at_s=0.0, text="no probe noticed")]
    begins = sorted((it.begin_ns - struck_ns) / 1e9 for it in silenced)
    ends = sorted((it.end_ns - struck_ns) / 1e9 for it in silenced)
    stops = f"traffic stops: the last replies of {counted(len(silenced), 'probe')}"
    back = f"{_BACK}: the first replies through the new hosts"
    return [
        Moment(at_s=begins[0], until_s=begins[-1], text=stops),
        Moment(at_s=ends[0], until_s=ends[-1], text=back),
    ]


def _named(hosts: Iterable[str | None]) -> str:
    return ", ".join(sorted({host for host in hosts if host})) or "no host"


def directions(recording: Recording, router_id: str) -> str:
    """A router's two gaps, in words."""
    words = {Direction.OUT: "SNAT", Direction.IN: "floating IP"}
    gaps = recording.gaps()
    return ", ".join(
        f"{words[direction]} {gaps[router_id, direction].ms:,.0f} ms"
        for direction in Direction
        if (router_id, direction) in gaps
    )
