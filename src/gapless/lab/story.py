"""What happened, in time order, from the records of an experiment: the prober's, and the controller's. Pure.

Several routers go through the same steps together, so each step is told once: when the first and the last of them came
to it. Times are seconds after the fault.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gapless.lab.probes import Direction, Recording

Move = Mapping[str, Any]
"""A move as the API shows it."""

_TOLD = {
    "last_heard": "the controller hears from {from_host} for the last time",
    "decided": "the controller decides: {from_host} is dead, its routers move",
    "bound": "the new bindings are in the store",
    "sent": "the plans leave for {to_hosts}",
    "built": "built: namespace, interfaces, NAT and floating IPs, on {to_hosts}",
    "announced": "announced by gratuitous ARP: switches and neighbours know the new place",
    "confirmed": "the controller hears that they are active",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened, `at_s` after the fault; to several routers until `until_s`."""

    at_s: float
    text: str
    until_s: float | None = None


def tell(fault: str, recording: Recording, struck_ns: int, struck: datetime, moves: Sequence[Move]) -> list[Moment]:
    """The whole story: the fault, what the probes saw, what the controller recorded."""
    moments = [Moment(at_s=0.0, text=fault), *_of_probes(recording, struck_ns), *_of_moves(moves, struck)]
    return sorted(moments, key=lambda moment: moment.at_s)


def _of_moves(moves: Sequence[Move], struck: datetime) -> Iterable[Moment]:
    hosts = {
        "from_host": _named(move["from_host"] for move in moves),
        "to_hosts": _named(move["to_host"] for move in moves),
    }
    for step, words in _TOLD.items():
        times = sorted(
            (datetime.fromisoformat(each["at"]) - struck).total_seconds()
            for move in moves
            for each in move["timeline"]
            if each["step"] == step
        )
        if times:
            counted = f" ({len(times)} routers)" if len(times) > 1 and step != "last_heard" else ""
            yield Moment(at_s=times[0], until_s=times[-1], text=words.format(**hosts) + counted)


def _of_probes(recording: Recording, struck_ns: int) -> Iterable[Moment]:
    """The last reply before the silence and the first after it, of the probes that fell silent."""
    silenced = [gap for gap in recording.gaps().values() if gap.end_ns > struck_ns and gap.ms > _notable_ms(recording)]
    if not silenced:
        yield Moment(at_s=0.0, text="no probe noticed")
        return
    begins = sorted((gap.begin_ns - struck_ns) / 1e9 for gap in silenced)
    ends = sorted((gap.end_ns - struck_ns) / 1e9 for gap in silenced)
    yield Moment(at_s=begins[0], until_s=begins[-1], text=f"traffic stops: the last replies of {len(silenced)} probes")
    yield Moment(at_s=ends[0], until_s=ends[-1], text="traffic is back: the first replies through the new hosts")


def _notable_ms(recording: Recording) -> float:
    """A stretch without replies that is more than the rhythm of the probes and some lateness."""
    return 5 * recording.interval_ms + recording.lateness_ms + 50.0


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
