"""Gapless and keepalived side by side: the same fault, in the same lab, by the same probes, in one run on one machine.

    python bench/peers.py [--systems gapless,keepalived-neutron] [--routers 1,50,200] [--runs 3] [--out bench/results]

Two hosts; all routers are active on the one that loses power. Each run is a lab of its own, in turn over all systems
and sizes, so that a slow moment of the machine is shared out. The systems:

    gapless              as it comes: standbys, default timing (`gapless lab run --hosts 2 --packed`)
    gapless-fast         with --timing fast
    keepalived-neutron   one keepalived for each router, as Neutron's L3 agent configures it: VRRP 2, an advert each 2 s
    keepalived-100ms     the same with VRRP 3, an advert each 100 ms
    keepalived-10ms      the same with VRRP 3, an advert each 10 ms

Systems of one size are probed alike: each 1 ms at 1 router, else as finely as that many probes allow. What keepalived
cannot carry on this machine is left out, and said so; without keepalived (Debian package `keepalived`), Gapless is
measured alone. A run that had a problem counts, and its problem stands below the table; then the exit status is 1.

The result is one table (Markdown), one picture (SVG) and one JSON file. For a quick look: --routers 1 --runs 1
"""

import argparse
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import msgspec

from gapless.errors import GaplessError
from gapless.lab import tenants
from gapless.lab.machines import enter, room
from gapless.lab.measuring import probes
from gapless.lab.settings import LabSettings
from gaps_plot import draw
from measuring import HERE, NothingMeasuredError, measured, write
from peers_table import Case, Run, document, of_routers, rows, table
from real_time import real_time
from vrrp_lab import Found, Measurement, Timing, why_missing

HOSTS = 2
TIMEOUT_S = 300
"""For one measurement of keepalived, from an empty lab to its result."""
MOST_ADVERTS_A_CORE = 2_500
"""A second. 20,000 on two cores left nothing to anybody else for minutes, and keepalived never settled."""
GAPLESS = {"gapless": "default", "gapless-fast": "fast"}
"""System -> timing of its lease."""
KEEPALIVED = {
    "keepalived-neutron": Timing(name="neutron", version=2, advert_s=2),
    "keepalived-100ms": Timing(name="vrrp3-100ms", version=3, advert_s=0.1),
    "keepalived-10ms": Timing(name="vrrp3-10ms", version=3, advert_s=0.01),
}
SYSTEMS = (*GAPLESS, *KEEPALIVED)


def main() -> int:
    """Run, print the table, write the files. Exit 1 when something is missing or a run had a problem."""
    options = _options()
    cases, left_out = carried(list(product(options.routers, options.systems)))
    for line in left_out:
        print(line, flush=True)
    if not cases:
        print("bench/peers.py: nothing is left to be measured", file=sys.stderr)
        return 1
    if reason := _why_impossible(cases):
        print(f"bench/peers.py: {reason}", file=sys.stderr)
        return 1
    found: dict[Case, list[Run]] = {case: [] for case in cases}
    with real_time() as given:
        for turn in range(options.runs):
            for case in cases:
                print(f"run {turn + 1} of {options.runs}: {case[1]}, {of_routers(case[0])}", flush=True)
                run = _measured(case)
                print(f"  {run.words}", flush=True)
                found[case].append(run)
    text = table(found, left_out, given.words)
    print(f"\n{text}")
    picture = draw("Traffic gap when a host loses power", rows(found))
    write(options.out, "peers", text, document(found, left_out, given.words), picture)
    return 1 if any(run.problems for runs in found.values() for run in runs) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=_names, default=SYSTEMS, help=f"of {', '.join(SYSTEMS)} (default: all)")
    parser.add_argument("--routers", type=_sizes, default=(1, 50, 200), help="sizes (default: 1,50,200)")
    parser.add_argument("--runs", type=_positive, default=3, help="runs of each system and size (default: 3)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    return parser.parse_args()


def _names(words: str) -> tuple[str, ...]:
    names = tuple(words.split(","))
    if unknown := sorted(set(names) - set(SYSTEMS)):
        raise argparse.ArgumentTypeError(f"there is no system {', '.join(unknown)}: {', '.join(SYSTEMS)}")
    return names


def _sizes(words: str) -> tuple[int, ...]:
    return tuple(_positive(word) for word in words.split(","))


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is not a number from 1 on")
    return int(word)


def carried(asked: list[Case]) -> tuple[list[Case], list[str]]:
    """Those of the cases that this machine can carry, and a line for what is left out."""
    if (missing := why_missing()) and any(system in KEEPALIVED for _, system in asked):
        return [case for case in asked if case[1] in GAPLESS], [f"left out: keepalived. {missing}"]
    most = MOST_ADVERTS_A_CORE * len(os.sched_getaffinity(0))
    cases, left_out = [], []
    for size, system in asked:
        adverts = size / KEEPALIVED[system].advert_s if system in KEEPALIVED else 0
        if adverts <= most:
            cases.append((size, system))
        else:
            said = f"{adverts:,.0f} adverts a second, and this machine carries {most:,}"
            left_out.append(f"left out: {system}, {of_routers(size)}: {said}")
    return cases, left_out


def _why_impossible(cases: list[Case]) -> str | None:
    """One line when this machine has no room for the largest lab, or allows none."""
    try:
        room.check(LabSettings(hosts=HOSTS, routers=max(size for size, _ in cases)))
    except GaplessError as error:
        return str(error)
    return enter.why_forbidden()


def interval_ms(routers: int) -> float:
    """Between probes, for every system at one size."""
    flows = 2 * routers if routers <= tenants.MOST_PROBED else tenants.MOST_PROBED
    return 1.0 if routers == 1 else probes.interval_ms_for(flows)


def _measured(case: Case) -> Run:
    size, system = case
    return _of_gapless(size, GAPLESS[system]) if system in GAPLESS else _of_keepalived(size, KEEPALIVED[system])


def _of_gapless(routers: int, timing: str) -> Run:
    argv = ["lab", "run", "--hosts", str(HOSTS), "--packed", "--routers", str(routers), "--fault", "host-power"]
    argv += ["--timing", timing, "--interval-ms", f"{interval_ms(routers):g}", "--json"]
    try:
        found = measured([sys.executable, "-m", "gapless", *argv])
    except NothingMeasuredError as error:
        return Run.failed(str(error))
    problems = list(found["problems"])
    if found["affected"] != routers:
        problems.append(f"{found['affected']} of {routers} routers were active on the host that was struck")
    return Run(
        gaps_ms=list(found["gap_ms"]["per_router"].values()),
        double_active_frames=found["double_active_frames"],
        problems=problems,
        found=found,
    )


def _of_keepalived(routers: int, timing: Timing) -> Run:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "result.json"
        orders = Measurement(timing=timing, routers=routers, interval_ms=interval_ms(routers), result=str(path))
        argv = enter.command(enter.call("vrrp_lab:main", msgspec.to_builtins(orders)), outlives_us=False)
        paths = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        try:
            ended = subprocess.run(  # whose end is the whole lab's
                argv,
                env={**os.environ, "PYTHONPATH": paths},
                stderr=subprocess.PIPE,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Run.failed(f"not measured within {TIMEOUT_S} s")
        if ended.returncode != 0 or not path.exists():
            return Run.failed(ended.stderr or f"the lab ended with {ended.returncode}")
        found = msgspec.json.decode(path.read_bytes(), type=Found)
    return Run(
        gaps_ms=list(found.gap_ms.per_router.values()),
        double_active_frames=found.double_active_frames,
        problems=found.problems,
        found=msgspec.to_builtins(found),
    )


if __name__ == "__main__":
    sys.exit(main())
