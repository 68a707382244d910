"""What a dead host costs where routers have standbys, as distributions over rounds, with machine and commit.

    python bench/takeover.py [CASE...] [--rounds 10] [--flows 800] [--at-once 4] [--raise-neighbour-limits] [--list]

Each case (`takeover_cases.py`) is one lab, which is struck in rounds (`gapless lab run --rounds`); cases follow one
another, and each round says what came of it. Beside the sum, the steps by the successors' own clocks, from the first
beat that was missed. A frame that two hosts forwarded for one router at one time is a problem, as is a gap that is
longer than the case allows, or of a drain a connection that did not survive (`drain_table.py`). A round with a problem
is told and ends nothing; a lab that takes longer than its case may is ended, and what it found by then counts.
"""

import argparse
import math
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from gapless.errors import InvalidRequest
from gapless.lab.machines import enter
from gapless.lab.settings import LabSettings
from measuring import HERE, NothingMeasuredError, commit, measured, write
from neighbours import add_flag, raised, times_full, why_no_room, words
from real_time import real_time
from takeover_cases import CASES, HOSTS, USUAL, Case
from takeover_table import Document, figures, table, wrong


def main() -> int:
    """Measure, print the table, write both files. Exit 1 when anything had a problem."""
    options = _options()
    if options.list:
        for name, case in CASES.items():
            print(f"{name:22} {case.minutes:3g} min at most: {case.words}")
        return 0
    cases = {name: _adjusted(CASES[name], options) for name in options.cases or USUAL}
    most = LabSettings(hosts=HOSTS, routers=max(case.routers for case in cases.values()))
    rounds = max(case.rounds * len(case.faults) for case in cases.values())
    reason = enter.why_forbidden() or (None if options.raise_neighbour_limits else why_no_room(most, rounds))
    if reason:
        print(f"bench/takeover.py: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that whatever was set is set back
    try:
        with raised(most, rounds=rounds) if options.raise_neighbour_limits else nullcontext():
            return _measure(cases, options.out)
    except InvalidRequest as error:
        print(f"bench/takeover.py: {error}", file=sys.stderr)
        return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"(default: {' '.join(USUAL)})")
    parser.add_argument("--list", action="store_true", help="say which cases there are, and measure nothing")
    parser.add_argument("--rounds", type=int, help="rounds of each case, instead of its own number")
    parser.add_argument("--flows", type=int, help="connections of each case, instead of its own number")
    parser.add_argument("--at-once", type=int, help="routers that a drain has leave at a time")
    add_flag(parser)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    options = parser.parse_args()
    if unknown := [name for name in options.cases if name not in CASES]:
        parser.error(f"there is no case {', '.join(unknown)}: {', '.join(CASES)}")
    return options


def _adjusted(case: Case, options: argparse.Namespace) -> Case:
    """As asked for. More rounds than are a case's own have more time, in proportion."""
    asked = {"rounds": options.rounds, "flows": options.flows, "at_once": options.at_once}
    adjusted = replace(case, **{name: number for name, number in asked.items() if number is not None})
    return replace(adjusted, minutes=math.ceil(case.minutes * max(1.0, adjusted.rounds / case.rounds)))


def _measure(cases: dict[str, Case], out: Path) -> int:
    found: dict[str, tuple[Case, Document]] = {}
    with real_time() as given:
        for name, case in cases.items():
            print(f"{name}: {case.words}; {case.minutes:g} min at most", flush=True)
            given.paces_probes = case.is_drain
            began, full = time.monotonic(), times_full()
            document = lab_run(case)
            if more := times_full() - full:
                document["broken"] = "; ".join(filter(None, (document["broken"], words(more))))
            found[name] = case, document
            print(f"  {name}: {time.monotonic() - began:.0f} s", flush=True)
        last = [_machine(found), f"{given.words[:1].upper()}{given.words[1:]}."]
    text = table(found, last)
    print(f"\n{text}")
    write(out, "takeover" if tuple(cases) == USUAL else "-".join(("takeover", *cases)), text, figures(found))
    return 1 if any(wrong(name, case, document) for name, (case, document) in found.items()) else 0


def lab_run(case: Case) -> Document:
    """All rounds of a case; where nothing was measured at all, no round and the reason."""
    try:
        document = measured([sys.executable, "-m", "gapless", *case.argv], 60 * case.minutes, _hear)
    except NothingMeasuredError as error:
        lines = str(error).strip().splitlines()
        print(f"  {error}", file=sys.stderr, flush=True)
        return {"rounds": [], "summary": {}, "broken": f"nothing was measured: {lines[-1].strip()}"}
    return document if "rounds" in document else _as_rounds(case, document)


def _hear(line: str) -> None:
    print(f"  {line}", flush=True)


def _as_rounds(case: Case, result: dict[str, Any]) -> Document:
    """A single experiment, told as the only round."""
    one = {"number": 1, "fault": case.faults[0], "result": result, "problem": "", "spread": 0, "recovered_s": 0.0}
    return {"rounds": [one], "summary": {}, "broken": ""}


def _machine(found: dict[str, tuple[Case, Document]]) -> str:
    results = [one["result"] for _, document in found.values() for one in document["rounds"] if one["result"]]
    if not results:
        return f"Gapless at {commit()}."
    versions = results[0]["versions"]
    return (
        f"Gapless {versions['gapless']} at {commit()}, Python {versions['python']}, Linux {versions['kernel']}, "
        f"{versions['cores']} cores ({versions['processor']})."
    )


if __name__ == "__main__":
    sys.exit(main())
