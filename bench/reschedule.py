"""What a dead host costs where the controller reschedules, as distributions over runs, with machine and commit.

    python bench/reschedule.py [--routers 1,20,100] [--runs 5] [--out bench/results]

Each run is a lab of its own (`gapless lab run --fault host-power`), in turn over the sizes, so that a slow moment of
the machine is shared out. Beside the sum, the parts: detection (set by the liveness settings, not by speed), binding,
sending, building. Then building alone, many routers on one host (`bench/build_routers.py`). Results go to one JSON file
and one table in Markdown.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from build_routers import key, measured_apart
from gapless.model.router import FailoverMode
from measuring import commit, measured, spread, write

HERE = Path(__file__).parent
HOSTS = 3
PROBE_MS = 50
"""Between probes of one flow: gaps are seconds here, and finer probes take from the building what they cost."""


def main() -> int:
    """Run, print the table, write both files. Exit 1 when a run found a problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", default="1,20,100", help="sizes, separated by commas (default: 1,20,100)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each size (default: 5)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    options = parser.parse_args()
    sizes = [int(size) for size in options.routers.split(",")]
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for turn in range(options.runs):
        for size in sizes:
            print(f"run {turn + 1} of {options.runs}: {size} routers", flush=True)
            found[size].append(_lab_run(size))
    builds = measured_apart(max(sizes), options.runs, FailoverMode.RESCHEDULE)
    text = _table(found, builds)
    print(f"\n{text}")
    write(options.out, "reschedule", text, {"host_power": found, "build": builds})
    return 0 if all(run["ok"] for runs in found.values() for run in runs) else 1


def _lab_run(routers: int) -> dict[str, Any]:
    argv = ["lab", "run", "--hosts", str(HOSTS), "--routers", str(routers), "--fault", "host-power"]
    argv += ["--mode", "reschedule", "--interval", str(PROBE_MS), "--json"]
    found: dict[str, Any] = measured([sys.executable, "-m", "gapless", *argv])
    return found


def _table(found: dict[int, list[dict[str, Any]]], builds: list[dict[str, float]]) -> str:
    one = next(iter(found.values()))[0]
    versions, patience = one["versions"], one["liveness"]
    lines = [
        "# Rescheduling after `host-power`",
        "",
        f"{HOSTS} hosts; a host is dead after {patience['dead_after_s']:g} s of silence. Each cell: median over the "
        "runs (least to most), milliseconds. A run's figure is its median router, but for `gap, worst router`.",
        "",
        "| routers | runs | moved | gap | gap, worst router | detection | decide and bind | plan sent | built "
        "| build, a router | other routers' gap |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for size, runs in found.items():
        cells = [
            str(size),
            str(len(runs)),
            spread([run["moved"] for run in runs]),
            spread([run["gap_ms"]["median"] for run in runs]),
            spread([run["gap_ms"]["max"] for run in runs]),
            *(spread([run["timeline"][step]["median"] for run in runs]) for step in _STEPS),
            spread([run["timeline"]["build_ms_per_router"] for run in runs]),
            spread([run["gap_ms"]["bystanders"]["max"] for run in runs]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Building alone, {max(found)} routers on one host, by an agent: "
        f"{spread([build[key('build', 'gapless')] for build in builds])} ms a router; the kernel's own part, by bare "
        f"requests: {spread([build[key('build', 'floor')] for build in builds])} ms.",
        "",
        f"Gapless {versions['gapless']} at {commit()}, Python {versions['python']}, Linux {versions['kernel']}, "
        f"{versions['cores']} cores ({versions['processor']}).",
        "",
    ]
    return "\n".join(lines)


_STEPS = ("detection", "bind", "send", "build")


if __name__ == "__main__":
    sys.exit(main())
