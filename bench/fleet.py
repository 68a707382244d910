"""What a controller costs that leads a whole fleet: start, rest, a host's death, a zone's death; and how each grows.

    python bench/fleet.py [--fleets 30x3000,100x10000,300x30000] [--modes standby,reschedule] [--seconds 60] [--strict]

A real `gapless server` with SQLite on the disk, and made-up hosts that speak to it over the real control link
(`bench/fleet_hosts.py`): their kernels and leases cost nothing, so all that is measured is the controller, and the
hosts' half of the links. The store is filled before (`bench/fleet_store.py`). One fleet after another, in each mode:

1. the controller starts, and all hosts come, with nothing built, until each has its plan and every router is active
   and has a standby that is ready; then it is started again, and the hosts are as they were;
2. nothing happens for a while: its processor time;
3. one host loses power. In mode `standby` its routers are taken over without the controller, which hears of it, stores
   it and has new standbys built; in mode `reschedule` it finds the host dead, and binds its routers anew;
4. every host of one zone loses power, and so on.
"""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import fleet_store
from fleet_hosts import Fleet
from fleet_server import Liveness, Server
from fleet_table import table
from fleet_trial import Run, Trial, say
from gapless.controller import key
from gapless.controller.server import DATABASE
from gapless.errors import GaplessError
from gapless.model.router import FailoverMode
from gapless.observe.log import configure
from measuring import HERE, write

DEFAULT_FLEETS = "30x3000,100x10000,300x30000"
DEFAULT_MODES = "standby,reschedule"
NEUTRONS = Liveness(report_interval_s=30.0, agent_down_time_s=75.0)
ZONE = "zone-1"


def main() -> int:
    """Measure, print the table, write both files. Exit 1 when something was not measured, or, with `--strict`, missed
    its goal.
    """
    options = _options()
    configure("fleet", level=logging.ERROR)
    runs = [
        asyncio.run(_measured(Run(hosts=hosts, routers=routers, mode=mode), options.seconds, options.dead_after))
        for hosts, routers in options.fleets
        for mode in options.modes
    ]
    text = table(runs, options.seconds)
    print(f"\n{text}")
    write(options.out, "fleet", text, [asdict(run) for run in runs])
    return 1 if any(run.problems or (options.strict and run.misses) for run in runs) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleets", type=_fleets, default=_fleets(DEFAULT_FLEETS), help=f"default: {DEFAULT_FLEETS}")
    parser.add_argument("--modes", type=_modes, default=_modes(DEFAULT_MODES), help=f"default: {DEFAULT_MODES}")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it is looked at at rest (default: 60)")
    parser.add_argument(
        "--dead-after",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="silence after which a host is dead, in mode reschedule (default: 20, and not Neutron's 150)",
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    return parser.parse_args()


def _fleets(words: str) -> list[tuple[int, int]]:
    return [(int(hosts), int(routers)) for hosts, routers in (word.split("x") for word in words.split(","))]


def _modes(words: str) -> list[FailoverMode]:
    return [FailoverMode(word) for word in words.split(",")]


async def _measured(run: Run, seconds: float, dead_after_s: float) -> Run:
    print(f"{run.hosts} hosts, {run.routers:,} routers, mode {run.mode}", flush=True)
    soon = Liveness(report_interval_s=dead_after_s / 4, agent_down_time_s=dead_after_s / 2)
    run.loads.append(os.getloadavg()[0])
    with tempfile.TemporaryDirectory() as directory:
        try:
            await _measure(run, NEUTRONS if run.is_guarded else soon, Path(directory), seconds)
        except GaplessError as error:
            run.problems.append(str(error))
            print(f"  {error}", file=sys.stderr, flush=True)
    run.loads.append(os.getloadavg()[0])
    return run


async def _measure(run: Run, liveness: Liveness, state: Path, seconds: float) -> None:
    began = time.monotonic()
    facts = fleet_store.hosts(run.hosts)
    places = fleet_store.places(facts, run.routers)
    secret = key.load_or_create(state / "cluster.key")
    await fleet_store.fill(f"sqlite:///{state / DATABASE}", facts, places, run.mode)
    run.fill_s, run.database_mib = time.monotonic() - began, (state / DATABASE).stat().st_size / 2**20
    say(f"the store is filled: {run.fill_s:.1f} s, {run.database_mib:.0f} MiB")
    server = Server(state, liveness)
    fleet = Fleet(facts, fleet_store.INCARNATION, secret, server.link)
    trial = Trial(run, server, fleet, places)
    try:
        async with server.running():
            fleet.begin()
            run.start = await trial.start("start")
        async with server.running():
            run.restart = await trial.start("start, with all that runs")
            run.rest = await trial.rest(seconds)
            run.host = await trial.death("a host's death", [facts[-1].name])
            zone = [each.name for each in facts if each.availability_zone == ZONE and each.name in fleet.living]
            run.zone = await trial.death("a zone's death", zone)
            run.rss_most_mib = server.memory_mib()[1]
    finally:
        await fleet.end()


if __name__ == "__main__":
    sys.exit(main())
