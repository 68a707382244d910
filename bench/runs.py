"""Runs of systems side by side: what one found, and what every table and file of such runs says alike. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gapless.lab.findings.expect import Frames
from gapless.lab.findings.result import Spread
from gapless.observe.words import figure
from measuring import commit

Case = tuple[int, str]
"""How many routers, and a system's name."""


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


def gaps(runs: Sequence[Run]) -> list[float]:
    """Of each router of each run."""
    return [gap for run in runs for gap in run.gaps_ms]


def document(found: Runs, left_out: Sequence[str], real_time_words: str) -> dict[str, object]:
    """For JSON: everything that was found."""
    cases = [
        {
            "system": system,
            "routers": size,
            "gap_ms": msgspec.to_builtins(Spread.of(gaps(runs))),
            "runs": [{"problems": list(run.problems), "found": dict(run.found)} for run in runs],
        }
        for (size, system), runs in found.items()
    ]
    whole = {"fault": "host-power", "commit": commit(), "left_out": list(left_out), "real_time": real_time_words}
    return {**whole, "cases": cases}


def footer(found: Runs, left_out: Sequence[str], real_time_words: str) -> Iterator[str]:
    """Lines of Markdown below a table: what was left out, what went wrong, the machine, which priority beats had."""
    notes = [*left_out, *_problems(found)]
    if notes:
        yield from (f"- {note}" for note in notes)
        yield ""
    yield from _machine(found)
    yield f"{real_time_words[:1].upper()}{real_time_words[1:]}."
    yield ""


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
    intervals = ", ".join(f"{of_routers(size)} each {ms:g} ms" for size, ms in probed.items())
    yield f"Probes: {intervals}; of more than 100 routers, 100 are probed, one direction each."
    yield ""
    yield (
        f"Gapless {versions['gapless']} at {commit()}; {_peers(told)}Python {versions['python']}, "
        f"Linux {versions['kernel']}, {versions['cores']} cores ({versions['processor']})."
    )
    yield ""


def _peers(told: Sequence[Mapping[str, Any]]) -> str:
    """Their versions, each with a semicolon behind it."""
    versions = dict.fromkeys(each.get(peer, "") for peer in ("keepalived", "conntrackd") for each in told)
    return "".join(f"{version}; " for version in versions if version)
