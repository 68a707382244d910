"""What copied connections add to a takeover: the gap with so many of them, and with none, in turn and many times.

    python bench/entries.py [--entries 100000] [--routers 10] [--pairs 10] [--timing default] [--out bench/results]

One lab of two hosts, on one of which all routers are active. It loses power again and again, each time the other one;
between two takeovers the lab is made well, and the successor's kernel is given the connections or has them taken away
(`entries_lab.py`: made in the kernel of the host that is active, and copied as any others). Compared are two takeovers
that followed each other, one of each kind, in an order that changes (`paired.py`). With connections a gap may be 10 %
longer; a ratio above that, like a round with a problem, makes the exit status 1. A pair takes about a minute, and more
with more connections.
"""

import argparse
import signal
import sys
from pathlib import Path

import msgspec

from entries_lab import OTHERS, Found, Measurement
from entries_table import paired, table, wrong
from gapless.config import HostSettings
from gapless.errors import GaplessError
from gapless.kernel import tracked
from gapless.lab.machines import enter, room
from gapless.lab.settings import TIMINGS, LabSettings
from measuring import HERE, NothingMeasuredError, by_what, measured, write
from paired import as_json
from real_time import real_time
from side_by_side import positive

INTERVAL_MS = 5.0
MINUTES, MINUTES_A_PAIR = 10.0, 5.0
"""When they are over, the lab is told to end, and what was found by then counts."""
MOST_A_ROUTER = HostSettings(name="", state_dir=Path(), key_file=Path()).flows_most
"""A host tells of no more."""


def main() -> int:
    """Measure, print the table, write both files. Exit 1 when anything is wrong."""
    options = _options()
    orders = Measurement(settings=_settings(options), entries=options.entries, pairs=options.pairs)
    if reason := why_impossible(orders):
        print(f"bench/entries.py: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    program = [sys.executable, str(HERE / "entries_lab.py"), msgspec.json.encode(orders).decode()]
    within_s = 60 * (MINUTES + MINUTES_A_PAIR * orders.pairs)
    with real_time() as given:
        try:
            written = measured(enter.command(program, outlives_us=False), within_s, _hear)
        except NothingMeasuredError as error:
            print(f"bench/entries.py: {str(error).splitlines()[-1]}", file=sys.stderr)
            return 1
    found = msgspec.convert(written, Found)
    text = table(found, orders.entries, [by_what(), f"{given.words[:1].upper()}{given.words[1:]}."])
    print(f"\n{text}")
    write(options.out, "entries", text, document(orders, found))
    return 1 if wrong(found, orders.entries) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=positive, default=100_000, help="connections, of all routers together")
    parser.add_argument("--routers", type=positive, default=10, help="that they are spread over (default: 10)")
    parser.add_argument("--pairs", type=positive, default=10, help="of rounds, one with and one without (default: 10)")
    parser.add_argument("--timing", choices=tuple(TIMINGS), default="default", help="how patient hosts are")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    return parser.parse_args()


def _settings(options: argparse.Namespace) -> LabSettings:
    return LabSettings(hosts=2, routers=options.routers, packed=True, timing=options.timing, interval_ms=INTERVAL_MS)


def why_impossible(orders: Measurement) -> str | None:
    """One line when this machine has no room for it, or allows no lab."""
    routers = orders.settings.routers
    if orders.entries > MOST_A_ROUTER * routers:
        return (
            f"{orders.entries:,} connections through {routers:,} routers are more than the {MOST_A_ROUTER:,} of each "
            "that are copied: take more routers"
        )
    if short := _short_of_room(-(-orders.entries // routers)):
        return short
    try:
        room.check(orders.settings, rounds=2 * orders.pairs)
    except GaplessError as error:
        return str(error)
    return enter.why_forbidden()


def _short_of_room(most: int) -> str | None:
    """One line when the kernel keeps fewer than `most` connections in one namespace."""
    if (limit := tracked.most()) is None or most + OTHERS <= limit:
        return None
    return (
        f"{most:,} connections of a router are more than this machine's kernel tracks ({limit:,}):  "
        f"sudo sysctl -w net.netfilter.nf_conntrack_max={2 * most}"
    )


def _hear(line: str) -> None:
    print(f"  {line}", flush=True)


def document(orders: Measurement, found: Found) -> dict[str, object]:
    """For the file: everything but each router's own gap."""
    rounds = msgspec.to_builtins(found.rounds)
    for one in rounds["rounds"]:
        if one["result"]:
            one["result"]["gap_ms"].pop("per_router", None)
    return {
        **msgspec.to_builtins(orders),
        "paired": as_json(paired(found)),
        "turns": msgspec.to_builtins(found.turns),
        **rounds,
    }


if __name__ == "__main__":
    sys.exit(main())
