"""Which connections survive the loss of a host: Gapless and keepalived, each with copies of connections and without.

    python bench/survivals.py [--systems gapless,keepalived-neutron-conntrackd] [--routers 1,10] [--flows 20]
                              [--kinds all] [--runs 3] [--out bench/results]

Two hosts; all routers are active on the one that loses power, with connections through SNAT and to floating IPs, by
TCP and UDP (`gapless.lab.measuring.connections`), by turns or as `--kinds` says. Each run is a lab of its own, in turn
over all systems and sizes:

    gapless                         as it comes: hosts copy connections to their successors
    gapless-no-flow-sync            the same without copies
    keepalived-neutron              one keepalived for each router, as Neutron configures it: an advert each 2 s
    keepalived-neutron-conntrackd   the same with a conntrackd for each router (`conntrackd.py`: what it is told)
    keepalived-100ms[-conntrackd]   both with VRRP 3, an advert each 100 ms
    keepalived-10ms[-conntrackd]    both with VRRP 3, an advert each 10 ms (only where asked for)

5,000 established connections by TCP through 100 routers, half of them downloads, is as many as a lab has:

    python bench/survivals.py --routers 100 --flows 50 --kinds tcp-half-downloads

A fault strikes when the standby knows all connections, where there are copies: by what its kernel has, or what its
conntrackds were told. What is missing on this machine (Debian packages `keepalived`, `conntrackd`) is left out, and
said so. That connections are lost is what is measured, and no problem; a run that had one counts, and the exit status
is 1.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

from gapless.lab.measuring import probes
from gapless.lab.measuring.connections import MIX, MIXES
from measuring import HERE, write
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
    kinds,
    measure,
    names_of,
    positive,
    sizes,
    why_impossible,
)
from survivals_table import how_it_went, table
from vrrp_routers import Peer

SYSTEMS: Systems = {
    "gapless": Gapless(),
    "gapless-no-flow-sync": Gapless(flow_sync=False),
    "keepalived-neutron": Peer(timing=NEUTRON),
    "keepalived-neutron-conntrackd": Peer(timing=NEUTRON, conntrackd=True),
    "keepalived-100ms": Peer(timing=EACH_100_MS),
    "keepalived-100ms-conntrackd": Peer(timing=EACH_100_MS, conntrackd=True),
    "keepalived-10ms": Peer(timing=EACH_10_MS),
    "keepalived-10ms-conntrackd": Peer(timing=EACH_10_MS, conntrackd=True),
}
USUAL = tuple(SYSTEMS)[:6]


def main() -> int:
    """Run, print the table, write the files. Exit 1 when something is missing or a run had a problem."""
    options = _options()
    cases, left_out = carried(list(product(options.routers, options.systems)), SYSTEMS)
    for line in left_out:
        print(line, flush=True)
    most = max((size for size, _ in cases), default=0)
    if reason := "nothing is left to be measured" if not cases else why_impossible(most, most * options.flows):
        print(f"bench/survivals.py: {reason}", file=sys.stderr)
        return 1

    def measured(case: Case) -> Run:
        size, system = case
        load = Load(interval_ms=probes.interval_ms_for(2 * size), flows=options.flows * size, kinds=options.kinds)
        return measure(SYSTEMS[system], size, load)

    found, real_time = in_turn(cases, options.runs, measured, how_it_went)
    text = table(found, options.flows, options.kinds, left_out, real_time)
    print(f"\n{text}")
    whole = document(found, left_out, real_time) | {"flows_a_router": options.flows, "kinds": options.kinds}
    write(options.out, "survivals", text, whole)
    return 1 if any(run.problems for runs in found.values() for run in runs) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = f"of {', '.join(SYSTEMS)} (default: all but those of 10 ms)"
    parser.add_argument("--systems", type=names_of(SYSTEMS), default=USUAL, help=known)
    parser.add_argument("--routers", type=sizes, default=(1, 10), help="sizes (default: 1,10)")
    parser.add_argument("--flows", type=positive, default=20, help="connections through each router (default: 20)")
    mixes = f"of which kinds they are, by turns: {', '.join(MIXES)}, or kinds separated by commas (default: all)"
    parser.add_argument("--kinds", type=kinds, default=MIX, help=mixes)
    parser.add_argument("--runs", type=positive, default=1, help="runs of each system and size (default: 1)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
