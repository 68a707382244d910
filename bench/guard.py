"""What the guard costs: renewing, activating, withdrawing and announcing, and what it takes from traffic.

    python bench/guard.py [--routers 1,100,1000] [--pairs 100] [--megabytes 100] [--json out.json]

Re-executes itself in a user namespace of its own, so it needs no root and leaves nothing behind. Traffic goes from a
client through a router to a server (`guard_traffic.py`); each frame meets the guard at two taps. It is measured with
the guard and without, in turn, in many short pairs (`paired.py`), over the same connections.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guard_traffic
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import tap_name
from gapless.model.router import Router
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.announce import Announcer
from gapless.sentinel.beat.guard import Guard
from gapless.sentinel.beat.preparing import ports_of
from guard_traffic import LONG_S
from one_host import prepare_host, router
from paired import Paired, alternate, as_json, words

INSIDE = "GAPLESS_BENCH_INSIDE"
RENEWALS = 500
ROUNDS = 20


def main() -> int:
    """Measure, print, maybe write a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--routers", default="1,100,1000", help="sizes, separated by commas; none: only traffic (default: 1,100,1000)"
    )
    parser.add_argument("--pairs", type=int, default=100, help="pairs of each kind of traffic (default: 100; 0: none)")
    parser.add_argument("--megabytes", type=int, default=100, help="of a piece of a TCP flow (default: 100)")
    parser.add_argument("--json", type=Path, help="write the results here too")
    options = parser.parse_args()
    if os.environ.get(INSIDE) != "1":
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-Urnm", sys.executable, *sys.argv])
    settings = prepare_host()
    sizes = sorted(int(size) for size in options.routers.split(",") if size)
    print(f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} cores\n")
    results: dict[str, Any] = {"traffic": as_json(traffic(options.pairs, options.megabytes)) if options.pairs else {}}
    if sizes:
        with Guard() as guard:
            guard.install()
            routers = build(Reconciler(settings), max(sizes))
            results["costs"] = costs(guard, routers, sizes)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


# Costs of the guard's own work


def build(reconciler: Reconciler, count: int) -> list[Router]:
    """So many guarded routers, by the agent's own hands."""
    routers = [router(number) for number in range(count)]
    for it in routers:
        reconciler.reconcile(it, guarded=True)
    reconciler.close()
    return routers


def costs(guard: Guard, routers: list[Router], sizes: list[int]) -> list[dict[str, Any]]:
    """For each size, distributions in microseconds."""
    announcer = Announcer()
    table = []
    print("costs in µs: median (slowest)")
    for it in routers:
        announcer.prepare(it.id, ports_of(it, {"external": "ext0"}))
    announcer.settle()
    for size in sizes:
        row = {"routers": size, **costs_of(guard, announcer, routers[:size])}
        table.append(row)
        for name, values in row.items():
            if isinstance(values, list):
                print(f"  {size:5} routers  {name:32} {statistics.median(values):9.0f} ({max(values):.0f})")
    announcer.close()
    return table


def costs_of(guard: Guard, announcer: Announcer, routers: list[Router]) -> dict[str, list[float]]:
    """Distributions in microseconds of what is done for these routers together."""
    names = [name for it in routers for name in taps_of(it)]
    guard.withdraw()
    activate, deactivate, withdraw, announce, processor, gaps, half = [], [], [], [], [], [], []
    for _ in range(ROUNDS):
        activate.append(timed(lambda: guard.activate(names)))
        deactivate.append(timed(lambda: guard.deactivate(names)))
        guard.activate(names)
        guard.extend(clock.now() + LONG_S)
        began, used = [time.perf_counter()], time.thread_time()
        announce.append(timed(lambda: lost_none(announcer, routers, began)))  # noqa: B023 - called at once
        processor.append((time.thread_time() - used) * 1e6)
        began.append(time.perf_counter())
        gaps.append(max(later - earlier for earlier, later in itertools.pairwise(began)) * 1e6)
        half.append(timed(lambda: lost_none(announcer, routers[: len(routers) // 2 + 1], [])))
        withdraw.append(timed(guard.withdraw))
    guard.activate(names)
    renew = []
    for _ in range(RENEWALS):
        time.sleep(0.002)
        renew.append(timed(lambda: guard.extend(clock.now() + 0.2)))
    return {
        "renew the lease": renew,
        "activate": activate,
        "deactivate": deactivate,
        "withdraw": withdraw,
        "announce": announce,
        "announce, processor time": processor,
        "announce, median router": half,
        "announce, longest frame": gaps,
    }


def lost_none(announcer: Announcer, routers: list[Router], began: list[float]) -> None:
    """A burst, of which nothing may be missing: else its time says nothing."""

    def may_send() -> bool:
        began.append(time.perf_counter())
        return True

    burst = announcer.burst([it.id for it in routers], may_send)
    if burst.unready or burst.lost:
        raise SystemExit(f"{len(burst.unready)} routers were not ready, {burst.lost} frames were lost")


def taps_of(it: Router) -> list[str]:
    """The names of a router's taps."""
    ports = [*it.ports, *([it.gateway.port] if it.gateway is not None else [])]
    return [tap_name(port.id) for port in ports]


def timed(work: Callable[[], object]) -> float:
    """Microseconds that `work` takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e6


# What it takes from traffic


def traffic(pairs: int, megabytes: int) -> dict[str, Paired]:
    """Each kind of traffic, without the guard and with it, in pairs."""
    guard_traffic.plug_in()
    found: dict[str, Paired] = {}
    print(f"traffic, {pairs} pairs: medians without the guard and with it; with / without: median (95 % confidence)")
    with guard_traffic.kinds(megabytes) as kinds:
        for measure in kinds.values():
            paired = alternate(measure, guard_traffic.guard_on, pairs)
            for name, values in paired.items():
                print(f"  {words(name, values)}", flush=True)
            found |= paired
    print()
    guard_traffic.unplug()
    return found


if __name__ == "__main__":
    sys.exit(main())
