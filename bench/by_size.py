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
from measuring import HERE, measured, write
from neighbours import add_flag, fullness, raised_if, times_full
from one_host import enter_namespaces

Rounds = list[dict[str, Any]]
"""What was measured in each round."""
Measure = Callable[[int, int, Path], Awaitable[Rounds]]
"""Measures so many routers in so many rounds; the directory is for the host's state."""


def main(
    script: str, about: str | None, what: str, measure: Measure, table: Callable[[Mapping[int, Rounds]], str]
) -> int:
    """The whole of such a benchmark: measure each size, print the table, write both files, named by `what`. The table
    says whether the kernel's table of neighbours was full meanwhile.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", default="100,1000", help="sizes, separated by commas (default: 100,1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each size (default: 5)")
    add_flag(parser)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        _measure_here(measure, int(options.routers), options.rounds, options.measure)
        return 0
    sizes = [int(size) for size in options.routers.split(",")]
    found, full = dict[int, Rounds](), dict[int, int]()
    try:
        with raised_if(options.raise_neighbour_limits, max(sizes)):
            for size in sizes:
                before = times_full()
                found[size] = measured_apart(script, size, options.rounds, print)
                full[size] = times_full() - before
    except InvalidRequest as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 1
    text = f"{table(found)}\n{fullness(full)}\n"
    print(f"\n{text}")
    write(options.out, what, text, {"rounds": found, "neighbours_full": full})
    return 0


def measured_apart(script: str, count: int, rounds: int, hear: Callable[[str], None] | None = None) -> Rounds:
    """The rounds of one size, from a process of their own. `hear` is given each line that it says."""
    argv = [sys.executable, script, "--routers", str(count), "--rounds", str(rounds), "--measure"]
    found: Rounds = measured(argv, hear=hear)
    return found


def _measure_here(measure: Measure, count: int, rounds: int, output: Path) -> None:
    async def measure_it(state_dir: Path) -> Rounds:
        return await measure(count, rounds, state_dir)

    enter_namespaces()
    with tempfile.TemporaryDirectory() as state_dir:
        found = asyncio.run(measure_it(Path(state_dir)))
    output.write_text(json.dumps(found))
