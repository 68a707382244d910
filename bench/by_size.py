"""A benchmark of one host at several sizes: each is measured in a process and in namespaces of its own."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from gapless.errors import InvalidRequest
from gapless.model.router import FailoverMode
from measuring import HERE, measured, write
from neighbours import add_flag, fullness, raised_if, times_full
from one_host import add_mode, enter_namespaces, of_mode

Rounds = list[dict[str, Any]]
"""What was measured in each round."""
Measure = Callable[[int, int, FailoverMode, Path], Awaitable[Rounds]]
"""Measures so many routers of a mode in so many rounds; the directory is for the host's state."""


def main(
    script: str, about: str | None, what: str, measure: Measure, table: Callable[[Mapping[int, Rounds]], str]
) -> int:
    """The whole of such a benchmark: measure each size, print the table, write both files, named by `what`. The table
    says whether the kernel's table of neighbours was full meanwhile.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", default="100,1000", help="sizes, separated by commas (default: 100,1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each size (default: 5)")
    add_mode(parser)
    add_flag(parser)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        _measure_here(measure, int(options.routers), options.rounds, options.mode, options.measure)
        return 0
    sizes = [int(size) for size in options.routers.split(",")]
    found, full = dict[int, Rounds](), dict[int, int]()
    try:
        with raised_if(options.raise_neighbour_limits, max(sizes)):
            for size in sizes:
                before = times_full()
                found[size] = measured_apart(script, size, options.rounds, options.mode, print)
                full[size] = times_full() - before
    except InvalidRequest as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 1
    text = f"{table(found)}\n{of_mode(options.mode)} {fullness(full)}\n"
    print(f"\n{text}")
    write(options.out, what, text, {"mode": options.mode, "rounds": found, "neighbours_full": full})
    return 0


def measured_apart(
    script: str, count: int, rounds: int, mode: FailoverMode, hear: Callable[[str], None] | None = None
) -> Rounds:
    """The rounds of one size, from a process of their own. `hear` is given each line that it says."""
    argv = [sys.executable, script, "--routers", str(count), "--rounds", str(rounds), "--mode", mode, "--measure"]
    found: Rounds = measured(argv, hear=hear)
    return found


def _measure_here(measure: Measure, count: int, rounds: int, mode: FailoverMode, output: Path) -> None:
    async def measure_it(state_dir: Path) -> Rounds:
        return await measure(count, rounds, mode, state_dir)

    enter_namespaces()
    with tempfile.TemporaryDirectory() as state_dir:
        found = asyncio.run(measure_it(Path(state_dir)))
    output.write_text(json.dumps(found))
