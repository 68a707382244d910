"""What keepalived takes when a host dies, in the same lab and by the same probes: the peer of `make bench`.

    python bench/vrrp.py [--routers 1,50,200] [--runs 3] [--timings neutron,vrrp3-100ms,vrrp3-10ms]
                         [--out bench/results] [--beside gapless.json ...]

Each run is a lab of its own, in turn over the cases (see `vrrp_lab.py`). All routers are active on the host that dies.
Results go to one JSON file, a table in Markdown and a picture (SVG). `--beside`: files of `gapless lab run --json`,
whose routers that were struck are drawn beside.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gapless.errors import GaplessError
from gapless.lab import enter, room
from gapless.lab.result import Spread
from gapless.lab.settings import LabSettings
from gaps_plot import Row, draw
from vrrp_lab import Found, Measurement, Timing, why_missing

HERE = Path(__file__).parent
TIMEOUT_S = 300
"""For one measurement, from an empty lab to its result."""
MOST_ADVERTS_A_CORE = 2_500
"""A second. 20,000 on two cores left nothing to anybody else for minutes, and keepalived never settled."""
TIMINGS = {
    timing.name: timing
    for timing in (
        Timing(name="neutron", version=2, advert_s=2),
        Timing(name="vrrp3-100ms", version=3, advert_s=0.1),
        Timing(name="vrrp3-10ms", version=3, advert_s=0.01),
    )
}
Case = tuple[str, int]
"""A timing's name, and how many routers."""


def main() -> int:
    """Run, print the table, write the files. Exit 1 when something is missing or a measurement failed."""
    options = _options()
    cases = _cases(options)
    if not cases:
        return 1
    if reason := why_missing():
        print(f"bench/vrrp.py: {reason}", file=sys.stderr)
        return 1
    try:
        room.check(LabSettings(hosts=2, routers=max(size for _, size in cases)))
    except GaplessError as error:
        print(f"bench/vrrp.py: {error}", file=sys.stderr)
        return 1
    found: dict[Case, list[Found]] = {case: [] for case in cases}
    for turn in range(options.runs):
        for name, size in cases:
            print(f"run {turn + 1} of {options.runs}: {name}, {size} routers", flush=True)
            if one := _measured(TIMINGS[name], size):
                found[name, size].append(one)
    failed = [case for case, runs in found.items() if len(runs) < options.runs]
    found = {case: runs for case, runs in found.items() if runs}
    if not found:
        return 1
    text = _table(found)
    print(f"\n{text}")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"vrrp-{datetime.now(UTC):%Y%m%d}-{_commit()}"
    rows = [*(_beside(file) for file in options.beside), *(_row(case, runs) for case, runs in found.items())]
    path.with_suffix(".md").write_text(text)
    path.with_suffix(".svg").write_text(draw("Traffic gap when a host loses power", rows))
    path.with_suffix(".json").write_text(json.dumps(_document(found), indent=1) + "\n")
    print(f"written to {path}.md, .svg and .json")
    return 1 if failed else 0


def _cases(options: argparse.Namespace) -> list[Case]:
    """Those asked for, without those that this machine could not carry, of which it says so."""
    asked = [(name, int(size)) for size in options.routers.split(",") for name in options.timings.split(",")]
    most = MOST_ADVERTS_A_CORE * len(os.sched_getaffinity(0))
    cases = [(name, size) for name, size in asked if size / TIMINGS[name].advert_s <= most]
    for name, size in sorted(set(asked) - set(cases)):
        adverts = size / TIMINGS[name].advert_s
        print(f"left out: {name}, {size} routers: {adverts:,.0f} adverts a second, and this machine carries {most:,}")
    return cases


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", default="1,50,200", help="sizes, separated by commas (default: 1,50,200)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each case (default: 3)")
    parser.add_argument("--timings", default=",".join(TIMINGS), help=f"of {', '.join(TIMINGS)} (default: all)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="results of `gapless lab run --json`")
    options = parser.parse_args()
    if unknown := set(options.timings.split(",")) - set(TIMINGS):
        parser.error(f"there is no timing {', '.join(sorted(unknown))}: {', '.join(TIMINGS)}")
    return options


def _measured(timing: Timing, routers: int) -> Found | None:
    """One measurement in a lab of its own; None when it failed, which it has said on standard error."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "result.json"
        orders = Measurement(timing=timing, routers=routers, result=str(path))
        argv = enter.call("vrrp_lab:main", msgspec.to_builtins(orders))
        paths = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(enter.command(argv), env={**os.environ, "PYTHONPATH": paths})
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()  # and with it the whole lab
            process.wait()
            print(f"bench/vrrp.py: not measured within {TIMEOUT_S} s", file=sys.stderr)
            return None
        if status != 0 or not path.exists():
            return None
        return msgspec.json.decode(path.read_bytes(), type=Found)


def _gaps(runs: list[Found]) -> list[float]:
    """Of each router of each run."""
    return [gap for run in runs for gap in run.gap_ms.per_router.values()]


def _document(found: dict[Case, list[Found]]) -> dict[str, object]:
    cases = []
    for (name, size), runs in found.items():
        gap_ms = msgspec.to_builtins(Spread.of(_gaps(runs)))
        cases.append({"timing": name, "routers": size, "gap_ms": gap_ms, "runs": msgspec.to_builtins(runs)})
    return {"fault": "host-power", "commit": _commit(), "cases": cases}


def _row(case: Case, runs: list[Found]) -> Row:
    name, size = case
    return Row(label=f"keepalived {name}, {_routers(size)}", gaps_ms=_gaps(runs))


def _beside(file: Path) -> Row:
    """The routers struck of what `gapless lab run` found, one run or several."""
    whole = json.loads(file.read_text())
    runs = whole.get("runs", [whole])
    # The routers that were struck have the longest gaps; who they were is not written down.
    gaps = [gap for run in runs for gap in sorted(run["gap_ms"]["per_router"].values())[-run["affected"] :]]
    return Row(label=f"gapless {runs[0]['mode']}, {_routers(len(gaps) // len(runs))}", gaps_ms=gaps)


def _routers(size: int) -> str:
    return "1 router" if size == 1 else f"{size} routers"


def _table(found: dict[Case, list[Found]]) -> str:
    one = next(iter(found.values()))[0]
    lines = [
        "# keepalived after `host-power`",
        "",
        "2 hosts; all routers active on the one that dies, one keepalived for each, configured as Neutron does. The "
        "gap of a router is the longer one of its two directions; over all routers of all runs, milliseconds.",
        "",
        "| timing | VRRP | adverts each | routers | runs | gap, median | gap, p99 | gap, longest | probes each "
        "| double active frames |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, size), runs in found.items():
        timing, spread = TIMINGS[name], Spread.of(_gaps(runs))
        cells = [
            name,
            str(timing.version),
            f"{timing.advert_s * 1000:g} ms",
            str(size),
            str(len(runs)),
            *(f"{gap:,.0f}" for gap in (spread.median, spread.p99, spread.max)),
            f"{runs[0].probes.interval_ms:g} ms",
            ", ".join(str(run.double_active_frames) for run in runs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    machine = one.versions
    return "\n".join(
        [
            *lines,
            "",
            f"{one.keepalived}, at {_commit()}, Linux {machine.kernel}, {machine.cores} cores ({machine.processor}).",
            "",
        ]
    )


def _commit() -> str:
    said = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
