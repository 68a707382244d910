"""What `peers.py` found, as a table, and as rows of a picture. Pure."""

from collections.abc import Sequence

from gapless.lab.findings.result import Spread
from gapless.observe.words import figure
from gaps_plot import Row
from runs import Case, Runs, footer, gaps, of_routers

REFERENCE = "gapless"
"""The system that the others' medians are divided by."""


def rows(found: Runs) -> list[Row]:
    """One for each case, those of one size together."""
    return [Row(label=f"{system}, {of_routers(size)}", gaps_ms=gaps(runs)) for (size, system), runs in found.items()]


def table(found: Runs, left_out: Sequence[str], real_time_words: str) -> str:
    """Markdown; the last line says which priority the beats had."""
    lines = [
        "# Gapless and keepalived after `host-power`",
        "",
        "2 hosts; all routers active on the one that dies. The gap of a router is the longer one of its two "
        "directions; over all routers of all runs, milliseconds. The ratio is that of the median to the one of "
        "`gapless` at the same size.",
        "",
        "| system | routers | runs | gap, median | gap, p99 | gap, longest | ratio | double active frames "
        "| runs with a problem |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(found, case) for case in found),
        "",
    ]
    return "\n".join([*lines, *footer(found, left_out, real_time_words)])


def _line(found: Runs, case: Case) -> str:
    (size, system), runs = case, found[case]
    spread = Spread.of(gaps(runs))
    cells = [
        system,
        str(size),
        str(len(runs)),
        *(figure(gap, 0) for gap in (spread.median, spread.p99, spread.max)),
        _ratio(spread.median, gaps(found.get((size, REFERENCE), ()))),
        ", ".join(str(run.double_active_frames) for run in runs),
        f"{sum(bool(run.problems) for run in runs)} of {len(runs)}",
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(median: float | None, reference: Sequence[float]) -> str:
    own = Spread.of(reference).median
    if not own or median is None:
        return "–"
    return f"{median / own:.2f}" if median < 10 * own else f"{median / own:,.0f}"
