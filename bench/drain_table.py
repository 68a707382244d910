"""What it cost that routers left a host under load, which was drained, stopped or has no agent that works, as a table,
and whether it may: figures of a router, and of connections. Pure.

How long a router was without traffic is told twice, and neither way is exact:

- **By its probes**, of the few routers that are probed: the longest wait, from a request that was lost or held up to
  the next reply. It begins up to one distance of probes after the dark and ends up to one after it, or later where a
  probe left late: at probes each 2 ms a wait of 5 ms says 3 to 7 ms. What is dark for less than a distance may be
  missed: that is the floor. (A gap is a distance and all lateness of the sender longer, and is not judged.)
- **By the hosts' clocks**, of all routers that moved: from closed to announced. For how long a router had been closed
  its old host says in the datagram by which it releases it; from when that arrived the new host counts. The way of that
  datagram is in neither. A router whose new host had to be told by the controller is not among them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gapless.lab.measuring.connections import Kind
from measuring import spread
from takeover_cases import Case

Document = dict[str, Any]
HEAD = (
    "case",
    "hosts",
    "routers",
    "at a time",
    "rounds",
    "moved",
    "took, s",
    "closed → announced, median router",
    "worst router",
    "wait, median router",
    "worst router",
    "at most",
    "probes each",
    "late at most",
    "probes lost",
    "routers that lost any",
    "most of one router",
    "connections",
    "broken",
    "stalled",
    "stall, longest but of idle ones",
    "datagrams lost",
    "double active frames",
    "ok",
)


def lines(found: Mapping[str, tuple[Case, Sequence[Document]]]) -> Iterator[str]:
    """In Markdown; each case with its rounds."""
    yield "# Drains"
    yield ""
    yield (
        "A host that has all routers is taken out of service while connections go through them, or stopped (`stop-…`), "
        "or has no agent that works (`agent-unable`: what it took includes the controller's patience). Each cell: the "
        "median over the rounds (least to most), milliseconds but where it says otherwise; counts are sums. `closed → "
        "announced`: by the hosts' clocks, of all routers, but for the way of the datagram between them. `wait`: of "
        "the routers that are probed, from a request that was lost or held up to the next reply; the true time without "
        "traffic is up to one distance of probes longer or shorter. `at most`: what either may be. `ok`: rounds of "
        "which nothing was wrong, that bound included."
    )
    yield ""
    yield f"| {' | '.join(HEAD)} |"
    yield f"|{'---|' * len(HEAD)}"
    for name, (case, rounds) in found.items():
        yield f"| {' | '.join([name, *_cells(case, rounds)])} |"


def _cells(case: Case, rounds: Sequence[Document]) -> list[str]:
    first = [f"{case.hosts}", f"{case.routers:,}", f"{case.at_once:,}" if case.at_once else "as usual"]
    first.append(f"{len(rounds)} of {case.rounds}")
    results = [one["result"] for one in rounds if one["result"]]
    if not results:
        return [*first, *["–"] * (len(HEAD) - len(first) - 1)]
    took = [one["timeline"]["struck_to_confirmed"]["max"] for one in results]
    dark = [one["timeline"]["switchover"]["dark"] for one in results if one["timeline"]["switchover"]]
    lost = [number for one in results for number in one["probes"]["lost_of_routers"].values()]
    return [
        *first,
        spread(one["moved"] for one in results),
        spread(ms / 1000 for ms in took if ms is not None),
        spread(one["median"] for one in dark),
        spread(one["max"] for one in dark),
        spread(one["gap_ms"]["waits"]["median"] for one in results),
        spread(one["gap_ms"]["waits"]["max"] for one in results),
        f"{case.most_dark_ms:g}",
        f"{results[0]['probes']['interval_ms']:g}",
        f"{max(one['probes']['lateness_ms_max'] for one in results):g}",
        f"{sum(lost):,} of {sum(one['probes']['sent'] for one in results):,}",
        f"{len(lost):,} of {sum(one['probes']['routers'] for one in results):,}",
        f"{max(lost, default=0):,}",
        *_connections(results),
        ", ".join(sorted({str(one["double_active_frames"]) for one in results})),
        f"{sum(one['ok'] and not any(wrong(case, one)) for one in results)} of {len(rounds)}",
    ]


def _connections(results: Sequence[Document]) -> list[str]:
    """Of all routers, whichever host they were on."""
    talked = [one["connections"] for one in results if one["connections"]]
    every = [each for one in talked for each in (*one["struck"].values(), one["bystanders"])]
    if not every:
        return ["–"] * 5
    stalls = [each["stall_ms_max"] for one in talked for kind, each in one["struck"].items() if kind != Kind.IDLE]
    sums = [sum(each[kind] for each in every) for kind in ("connections", "broken", "stalled")]
    datagrams = sum(each["datagrams"] for each in every)
    return [
        *(f"{number:,}" for number in sums),
        f"{max(stalls, default=0):,.0f}",
        f"{sum(each['datagrams_lost'] for each in every):,} of {datagrams:,}",
    ]


def wrong(case: Case, result: Document) -> Iterator[str]:
    """What does not hold, a sentence each, beside what the lab has judged: connections among it."""
    if case.most_dark_ms is None:
        return
    wait, most = result["gap_ms"]["waits"]["max"], f"{case.most_dark_ms:g} ms"
    if wait is not None and wait > case.most_dark_ms:
        probes = result["probes"]
        yield (
            f"a probe waited for {wait:g} ms until its router answered again, and may for {most} (probes each "
            f"{probes['interval_ms']:g} ms, up to {probes['lateness_ms_max']:g} ms late)"
        )
    switched = result["timeline"]["switchover"]
    dark = switched and switched["dark"]["max"]
    if dark is None:
        yield "no host has said when a router was closed and announced"
    elif dark > case.most_dark_ms:
        yield f"a router was announced {dark:g} ms after it was closed, by the hosts' clocks, and may be after {most}"
    if case.flows and not result["connections"]:
        yield "what became of connections is not known"
