"""What a dead host costs where the controller reschedules, as distributions over runs, with machine and commit.

    python bench/reschedule.py [--routers 1,20,100] [--runs 5] [--classic] [--strict] [--out bench/results]

Each run is a lab of its own (`gapless lab run --fault host-power`), in turn over the sizes, so that a slow moment of
the machine is shared out. Beside the sum, the parts: detection (set by the liveness settings, not by speed), binding,
sending, building. Then building alone, many routers on one host (`bench/build_routers.py`). Results go to one JSON file
and one table in Markdown.

`--classic`: with Neutron's own patience, hosts dead after 150 s of silence; 1 and 20 routers, one run each unless told
otherwise, some three minutes a run, and nothing of building alone, which no patience changes. Files of its own.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from build_routers import key, measured_apart
from gapless.model.router import FailoverMode
from measuring import commit, measured, spread, write

HERE = Path(__file__).parent
HOSTS = 3
PROBE_MS = 50
"""Between probes of one flow: gaps are seconds here, and finer probes take from the building what they cost."""
BUILD_MS = 30.0
"""Goal: what building may take a router, at most, with so many routers or more;"""
BUILD_AT = 100
"""with fewer, most of it is what the first one takes."""


def main() -> int:
    """Run, print the table, write both files. Exit 1 when a run found a problem, or, with `--strict`, missed its
    goal.
    """
    options = _options()
    sizes = [int(size) for size in options.routers.split(",")]
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for turn in range(options.runs):
        for size in sizes:
            print(f"run {turn + 1} of {options.runs}: {size} routers", flush=True)
            found[size].append(measured(lab_run(size, classic=options.classic)))
    builds = [] if options.classic else measured_apart(max(sizes), options.runs, FailoverMode.RESCHEDULE)
    text = table(found, builds)
    print(f"\n{text}")
    what = "reschedule-classic" if options.classic else "reschedule"
    write(options.out, what, text, {"host_power": found, "build": builds})
    runs = [run for each in found.values() for run in each]
    return 1 if any(not run["ok"] or (options.strict and misses(run)) for run in runs) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", help="sizes, separated by commas (default: 1,20,100; with --classic 1,20)")
    parser.add_argument("--runs", type=int, help="runs of each size (default: 5; with --classic 1)")
    parser.add_argument("--classic", action="store_true", help="Neutron's own patience: 30 s and 75 s, so 150 s")
    parser.add_argument("--strict", action="store_true", help="exit 1 when the goal is missed")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    options = parser.parse_args()
    options.routers = options.routers or ("1,20" if options.classic else "1,20,100")
    options.runs = options.runs or (1 if options.classic else 5)
    return options


def lab_run(routers: int, *, classic: bool) -> list[str]:
    """The command line of one run, but for the file that it writes."""
    argv = [sys.executable, "-m", "gapless", "lab", "run", "--hosts", str(HOSTS), "--routers", str(routers)]
    argv += ["--fault", "host-power", "--mode", "reschedule", "--interval", str(PROBE_MS)]
    return [*argv, *(["--classic"] if classic else []), "--json"]


def misses(run: Mapping[str, Any]) -> bool:
    """Whether building took a router of this run longer than the goal, or is not known."""
    taken = run["timeline"]["build_ms_per_router"]
    return run["routers"] >= BUILD_AT and (taken is None or taken > BUILD_MS)


def table(found: Mapping[int, Sequence[Mapping[str, Any]]], builds: Sequence[Mapping[str, float]]) -> str:
    """As Markdown."""
    one = next(iter(found.values()))[0]
    versions, patience = one["versions"], one["liveness"]
    lines = [
        "# Rescheduling after `host-power`",
        "",
        f"{HOSTS} hosts; a host is dead after {patience['dead_after_s']:g} s of silence. Each cell: median over the "
        "runs (least to most), milliseconds. A run's figure is its median router, but for `gap, worst router` and "
        "`build, a router`: from the first plan sent to the last router built, all hosts together, divided by "
        f"those that moved. Its goal, with {BUILD_AT} routers or more: {BUILD_MS:g} at most; missed, it is **bold**.",
        "",
        "| routers | runs | moved | gap | gap, worst router | detection | decide and bind | plan sent | built "
        "| build, a router | other routers' gap |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for size, runs in found.items():
        built = spread([run["timeline"]["build_ms_per_router"] for run in runs])
        cells = [
            str(size),
            str(len(runs)),
            spread([run["moved"] for run in runs]),
            spread([run["gap_ms"]["median"] for run in runs]),
            spread([run["gap_ms"]["max"] for run in runs]),
            *(spread([run["timeline"][step]["median"] for run in runs]) for step in _STEPS),
            f"**{built}**" if any(map(misses, runs)) else built,
            spread([run["gap_ms"]["bystanders"]["max"] for run in runs]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if builds:
        lines += [
            "",
            f"Building alone, {max(found)} routers on one host, by an agent: "
            f"{spread([build[key('build', 'gapless')] for build in builds])} ms a router; the kernel's own part, by "
            f"bare requests: {spread([build[key('build', 'floor')] for build in builds])} ms.",
        ]
    lines += [
        "",
        f"Gapless {versions['gapless']} at {commit()}, Python {versions['python']}, Linux {versions['kernel']}, "
        f"{versions['cores']} cores ({versions['processor']}).",
        "",
    ]
    return "\n".join(lines)


_STEPS = ("detection", "bind", "send", "build")


if __name__ == "__main__":
    sys.exit(main())
