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
import sys
from itertools import product
from pathlib import Path

from gapless.lab.measuring import probes
from gapless.lab.settings import MOST_PROBED
from gaps_plot import draw
from measuring import HERE, write
from peers_table import rows, table
from runs import Case, Run, document
from side_by_side import (
    EACH_10_MS,
    EACH_100_MS,
    NEUTRON,
    Gapless,
    Load,
    Systems,
    carried,
    in_turn,
    measure,
    names_of,
    positive,
    sizes,
    why_impossible,
)
from vrrp_routers import Peer

SYSTEMS: Systems = {
    "gapless": Gapless(),
    "gapless-fast": Gapless(timing="fast"),
    "keepalived-neutron": Peer(timing=NEUTRON),
    "keepalived-100ms": Peer(timing=EACH_100_MS),
    "keepalived-10ms": Peer(timing=EACH_10_MS),
}


def main() -> int:
    """Run, print the table, write the files. Exit 1 when something is missing or a run had a problem."""
    options = _options()
    cases, left_out = carried(list(product(options.routers, options.systems)), SYSTEMS)
    for line in left_out:
        print(line, flush=True)
    if reason := "nothing is left to be measured" if not cases else why_impossible(max(size for size, _ in cases)):
        print(f"bench/peers.py: {reason}", file=sys.stderr)
        return 1
    found, real_time = in_turn(cases, options.runs, _measured, lambda run: run.words)
    text = table(found, left_out, real_time)
    print(f"\n{text}")
    picture = draw("Traffic gap when a host loses power", rows(found))
    write(options.out, "peers", text, document(found, left_out, real_time), picture)
    return 1 if any(run.problems for runs in found.values() for run in runs) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join(SYSTEMS)
    parser.add_argument("--systems", type=names_of(SYSTEMS), default=tuple(SYSTEMS), help=f"of {known} (default: all)")
    parser.add_argument("--routers", type=sizes, default=(1, 50, 200), help="sizes (default: 1,50,200)")
    parser.add_argument("--runs", type=positive, default=3, help="runs of each system and size (default: 3)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    return parser.parse_args()


def interval_ms(routers: int) -> float:
    """Between probes, for every system at one size."""
    flows = 2 * routers if routers <= MOST_PROBED else MOST_PROBED
    return 1.0 if routers == 1 else probes.interval_ms_for(flows)


def _measured(case: Case) -> Run:
    size, system = case
    return measure(SYSTEMS[system], size, Load(interval_ms=interval_ms(size)))


if __name__ == "__main__":
    sys.exit(main())
