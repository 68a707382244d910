"""Rounds in words for people: each when it is over, and all of them in the end."""

from rich.table import Table
from rich.text import Text

from gapless.lab.findings.result import Result
from gapless.lab.rounds import Over, Round, Rounds, Summary
from gapless.observe.words import counted, figure


def in_short(one: Round) -> Text:
    """A round in one line."""
    found = one.result
    if found is None:
        return Text.assemble(("nothing was measured", "red"), f": {one.problem}")
    said = (
        f"{found.moved} of {found.routers} routers moved, gap {figure(found.gap_ms.median, 0)} ms (worst router "
        f"{figure(found.gap_ms.max, 0)}), {found.probes.lost:,} probes lost, "
        f"double active frames {found.double_active_frames}{_talked(found)}"
    )
    if found.ok:
        return Text.assemble(said, ": ", ("ok", "green"))
    return Text.assemble(said, ": ", ("problem", "red"), f": {'; '.join(found.problems)}")


def _talked(found: Result) -> str:
    if found.connections is None:
        return ""
    every = [*found.connections.struck.values(), found.connections.bystanders]
    survived, total = sum(each.survived for each in every), sum(each.connections for each in every)
    return f", {survived:,} of {counted(total, 'connection')} survived"


def tables(found: Rounds) -> list[Table | Text | str]:
    """All rounds, a line each, and each fault's rounds together."""
    each = Table(title=f"{len(found.rounds)} rounds in one lab", title_justify="left")
    for column in ("round", "fault", "gap median ms", "gap max ms", "moved", "lost", "spread before", "verdict"):
        each.add_column(column, justify="left" if column == "fault" else "right")
    for one in found.rounds:
        if one.result is None:
            each.add_row(str(one.number), one.fault, *("–",) * 4, str(one.spread), "not measured")
            continue
        gap, lost = one.result.gap_ms, one.result.probes.lost
        figures = (figure(gap.median), figure(gap.max), one.result.moved, f"{lost:,}", one.spread)
        each.add_row(str(one.number), one.fault, *map(str, figures), "ok" if one.ok else "problem")
    words = [Text.assemble(("problem", "red"), f": {found.broken}")] if found.broken else []
    return [each, *(f"{name}: {_over(summary)}" for name, summary in found.summary.items()), *words]


def _over(summary: Summary) -> str:
    """All rounds of one fault in one line."""
    unknown = f" (and unknown in {summary.unknown} rounds)" if summary.unknown else ""
    return (
        f"gap median {_spread(summary.median_ms)}, worst router {_spread(summary.worst_ms)}; {summary.moved:,} moves, "
        f"{summary.lost:,} probes lost, double active frames {summary.double_active_frames}{unknown}; "
        f"{summary.ok} of {summary.rounds} ok"
    )


def _spread(over: Over) -> str:
    return f"{figure(over.median)} ms ({figure(over.least)} to {figure(over.max)})"
