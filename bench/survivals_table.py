"""What `survivals.py` found, as a table: what became of connections of each kind, beside the gap. Pure."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from gapless.lab.findings.result import Spread
from gapless.lab.measuring.connections import Kind, Kinds, interval_ms_for
from gapless.lab.measuring.conversations import seldom_ms
from gapless.lab.measuring.survival import Survival
from gapless.observe.words import figure
from runs import Case, Run, Runs, footer, gaps, of_routers


def survival(runs: Sequence[Run], *kinds: Kind) -> Survival:
    """Of the struck connections of these kinds: sums over the runs, the median of their medians, the longest stall.

    Only runs in which some survived say anything of stalls.
    """
    struck = [run.found["connections"]["struck"] for run in runs if _has(run)]
    each = [msgspec.convert(of_kind[kind], Survival) for of_kind in struck for kind in kinds]
    stalls = [one for one in each if one.survived]
    return Survival(
        connections=sum(one.connections for one in each),
        survived=sum(one.survived for one in each),
        stalled=sum(one.stalled for one in each),
        broken=sum(one.broken for one in each),
        stall_ms_median=statistics.median(one.stall_ms_median for one in stalls) if stalls else 0.0,
        stall_ms_max=max((one.stall_ms_max for one in stalls), default=0.0),
        datagrams=sum(one.datagrams for one in each),
        datagrams_lost=sum(one.datagrams_lost for one in each),
    )


def _has(run: Run) -> bool:
    return run.found.get("connections") is not None


def how_it_went(run: Run) -> str:
    """For people who wait."""
    kinds = [(kind, survival([run], kind)) for kind in Kind]
    survived = [f"{one.survived} of {one.connections} {kind}" for kind, one in kinds if one.connections]
    return "; ".join([*([", ".join(survived) + " survived"] if survived else []), *filter(None, [run.words])])


def table(found: Runs, flows: int, kinds: Kinds, left_out: Sequence[str], real_time_words: str) -> str:
    """Markdown; `flows`: connections through each router. The last line says which priority the beats had."""
    lines = [
        "# Connections after `host-power`",
        "",
        f"2 hosts; all routers active on the one that dies. Of {len(kinds)} connections: {_shares(kinds)}. TCP and "
        "UDP through SNAT, TCP to floating IPs; in a download only the outside speaks, in an upload only the inside, "
        "and an idle connection is a download that speaks seldom. Counts are sums over the runs. Stall: the longest "
        "time in which a connection that survived heard nothing; the median of the runs' medians (of all: of each "
        "kind's), and the longest. Gap: the longest time in which a router answered no probe; over all routers of all "
        "runs. Milliseconds.",
        "",
        "keepalived is one for each router, with an advert each 2 s as Neutron has it, each 100 ms or each 10 ms; "
        "`-conntrackd`: with a conntrackd for each router too, whose copies are put into the kernel when keepalived "
        "becomes master (docs/lab.md, Peers).",
        "",
        "| system | routers | runs | kind | connections | survived | broken | stalled | stall, median | stall, longest "
        "| gap, median | gap, longest | datagrams lost |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(line for case in found for line in _lines(found, case, kinds)),
        "",
        *_cadence(found, flows),
        "",
    ]
    return "\n".join([*lines, *footer(found, left_out, real_time_words)])


def _shares(kinds: Kinds) -> str:
    return ", ".join(f"{times} {kind}" for kind, times in Counter(kinds).items())


def _lines(found: Runs, case: Case, kinds: Kinds) -> Iterator[str]:
    """Each kind's, and one of all together."""
    (size, system), runs = case, found[case]
    gap, wanted = Spread.of(gaps(runs)), tuple(kind for kind in Kind if kind in set(kinds))
    for name, these in {**{kind.value: (kind,) for kind in wanted}, "all": wanted}.items():
        one = survival(runs, *these)
        stalls = (one.stall_ms_median, one.stall_ms_max) if one.survived else (None, None)
        cells = [
            *(system, str(size), str(len(runs)), name),
            *(f"{count:,}" for count in (one.connections, one.survived, one.broken, one.stalled)),
            *(figure(ms, 0) for ms in (*stalls, gap.median, gap.max)),
            f"{one.datagrams_lost:,} of {one.datagrams:,}" if one.datagrams else "–",
        ]
        yield f"| {' | '.join(cells)} |"


def _cadence(found: Runs, flows: int) -> Iterator[str]:
    """How often connections speak: no stall can be shorter."""
    for size in dict.fromkeys(size for size, _ in found):
        each = interval_ms_for(size * flows)
        idle = seldom_ms(each)
        yield f"With {of_routers(size)} a connection says a line each {each:,g} ms, an idle one each {idle:,g} ms."
