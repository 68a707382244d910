"""What a dead host costs where routers have standbys, as distributions over several runs, with machine and commit.

    python bench/takeover.py [--routers 1,100] [--timings default,fast] [--faults host-power,...] [--runs 10]

Each run is a lab of its own (`gapless lab run --mode standby`), in turn over all cases, so that a slow moment of the
machine is shared out. Beside the sum, the steps by the successors' own clocks, from the first beat that was missed. A
frame that two hosts forwarded for one router at one time makes a run a failure.
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import Any

from measuring import HERE, commit, measured, spread, write
from real_time import real_time

HOSTS = 3
_STEPS = ("silence", "claim", "open", "announce", "whole", "recorded")
_Case = tuple[str, str, int]


def main() -> int:
    """Run, print the table, write both files. Exit 1 when a run found a problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", default="1,100", help="sizes, separated by commas (default: 1,100)")
    parser.add_argument("--timings", default="default,fast", help="timings of the lease (default: default,fast)")
    parser.add_argument("--faults", default="host-power", help="see `gapless lab faults` (default: host-power)")
    parser.add_argument("--runs", type=int, default=10, help="runs of each case (default: 10)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    options = parser.parse_args()
    sizes = [int(size) for size in options.routers.split(",")]
    cases: list[_Case] = list(product(options.faults.split(","), options.timings.split(","), sizes))
    found: dict[_Case, list[dict[str, Any]]] = {case: [] for case in cases}
    with real_time() as given:
        for turn in range(options.runs):
            for case in cases:
                print(f"run {turn + 1} of {options.runs}: {', '.join(map(str, case))} routers", flush=True)
                found[case].append(_lab_run(*case))
    text = _table(found, given.words)
    print(f"\n{text}")
    named = [{"fault": case[0], "timing": case[1], "routers": case[2], "runs": runs} for case, runs in found.items()]
    write(options.out, "takeover", text, named)
    return 0 if all(run["ok"] for runs in found.values() for run in runs) else 1


def _lab_run(fault: str, timing: str, routers: int) -> dict[str, Any]:
    argv = ["lab", "run", "--hosts", str(HOSTS), "--routers", str(routers), "--fault", fault, "--mode", "standby"]
    return measured([sys.executable, "-m", "gapless", *argv, "--timing", timing, "--json"])


def _table(found: dict[_Case, list[dict[str, Any]]], real_time_words: str) -> str:
    one = next(iter(found.values()))[0]
    versions = one["versions"]
    lines = [
        "# Takeovers",
        "",
        f"{HOSTS} hosts. Each cell: median over the runs (least to most), milliseconds. A run's figure is its median "
        "router, but for `worst router`. The steps count from one to the next; `in all` and `recorded` from the first "
        "beat that was missed.",
        "",
        "| fault | timing | routers | runs | moved | gap | gap, worst router | silence | claim | open | announce "
        "| in all | recorded | probes each | double active frames | ok |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (fault, timing, routers), runs in found.items():
        taken = [run["timeline"]["takeover"] for run in runs if run["timeline"]["takeover"]]
        cells = [
            fault,
            timing,
            str(routers),
            str(len(runs)),
            spread([run["moved"] for run in runs]),
            spread([run["gap_ms"]["median"] for run in runs]),
            spread([run["gap_ms"]["max"] for run in runs]),
            *(spread([each[step]["median"] for each in taken]) if taken else "–" for step in _STEPS),
            f"{runs[0]['probes']['interval_ms']:g}",
            ", ".join(sorted({str(run["double_active_frames"]) for run in runs})),
            f"{sum(run['ok'] for run in runs)} of {len(runs)}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Gapless {versions['gapless']} at {commit()}, Python {versions['python']}, Linux {versions['kernel']}, "
        f"{versions['cores']} cores ({versions['processor']}).",
        "",
        f"{real_time_words[:1].upper()}{real_time_words[1:]}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
