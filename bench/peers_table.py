"""What `peers.py` found, as a table, as rows of a picture, and as a document. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gapless.lab.findings.expect import Frames
from gapless.lab.findings.result import Spread
from gapless.observe.words import figure
from gaps_plot import Row
from measuring import commit

Case = tuple[int, str]
"""How many routers, and a system's name."""
REFERENCE = "gapless"
"""The system that the others' medians are divided by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measurement: the gap of each router probed, and everything else that it said."""

    gaps_ms: Sequence[float] = ()
    double_active_frames: Frames = "unknown"
    problems: Sequence[str] = ()
    found: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def failed(cls, said: str) -> "Run":
        """One that measured nothing; the last line of what it said is its problem."""
        lines = said.strip().splitlines()
        return cls(problems=[f"nothing was measured: {lines[-1].strip() if lines else 'it said nothing'}"])

    @property
    def words(self) -> str:
        """How it went, for people who wait."""
        spread = Spread.of(self.gaps_ms)
        gap = f"gap {figure(spread.median, 0)} ms in the median, {figure(spread.max, 0)} ms at most"
        return "; ".join([*([gap] if self.gaps_ms else []), *(f"problem: {problem}" for problem in self.problems)])


Runs = Mapping[Case, Sequence[Run]]


def of_routers(size: int) -> str:
    """In words."""
    return "1 router" if size == 1 else f"{size} routers"


def _gaps(runs: Sequence[Run]) -> list[float]:
    """Of each router of each run."""
    return [gap for run in runs for gap in run.gaps_ms]


def rows(found: Runs) -> list[Row]:
    """One for each case, those of one size together."""
    return [Row(label=f"{system}, {of_routers(size)}", gaps_ms=_gaps(runs)) for (size, system), runs in found.items()]


def document(found: Runs, left_out: Sequence[str], real_time_words: str) -> dict[str, object]:
    """For JSON: everything that was found."""
    cases = [
        {
            "system": system,
            "routers": size,
            "gap_ms": msgspec.to_builtins(Spread.of(_gaps(runs))),
            "runs": [{"problems": list(run.problems), "found": dict(run.found)} for run in runs],
        }
        for (size, system), runs in found.items()
    ]
    whole = {"fault": "host-power", "commit": commit(), "left_out": list(left_out), "real_time": real_time_words}
    return {**whole, "cases": cases}


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
    notes = [*left_out, *_problems(found)]
    if notes:
        lines += [*(f"- {note}" for note in notes), ""]
    return "\n".join([*lines, *_machine(found), f"{real_time_words[:1].upper()}{real_time_words[1:]}.", ""])


def _line(found: Runs, case: Case) -> str:
    (size, system), runs = case, found[case]
    gaps = _gaps(runs)
    spread = Spread.of(gaps)
    cells = [
        system,
        str(size),
        str(len(runs)),
        *(figure(gap, 0) for gap in (spread.median, spread.p99, spread.max)),
        _ratio(spread.median, _gaps(found.get((size, REFERENCE), ()))),
        ", ".join(str(run.double_active_frames) for run in runs),
        f"{sum(bool(run.problems) for run in runs)} of {len(runs)}",
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(median: float | None, reference: Sequence[float]) -> str:
    own = Spread.of(reference).median
    if not own or median is None:
        return "–"
    return f"{median / own:.2f}" if median < 10 * own else f"{median / own:,.0f}"


def _problems(found: Runs) -> Iterator[str]:
    for (size, system), runs in found.items():
        for number, run in enumerate(runs):
            for problem in run.problems:
                yield f"{system}, {of_routers(size)}, run {number + 1}: {problem}"


def _machine(found: Runs) -> Iterator[str]:
    """What it ran on, as the first run of each kind has told."""
    told = [run.found for runs in found.values() for run in runs if run.found]
    if not told:
        return
    versions = told[0]["versions"]
    probed: dict[int, float] = {}
    for each in told:
        probed.setdefault(each["routers"], each["probes"]["interval_ms"])
    peer = next((f"{each['keepalived']}; " for each in told if "keepalived" in each), "")
    intervals = ", ".join(f"{of_routers(size)} each {ms:g} ms" for size, ms in probed.items())
    yield f"Probes: {intervals}; of more than 100 routers, 100 are probed."
    yield ""
    yield (
        f"Gapless {versions['gapless']} at {commit()}; {peer}Python {versions['python']}, Linux {versions['kernel']}, "
        f"{versions['cores']} cores ({versions['processor']})."
    )
    yield ""
