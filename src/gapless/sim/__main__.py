"""Run whole fleets on virtual time, one a seed; stop at the first seed in which an oracle is violated.

`python -m gapless.sim [planner|standby|lease|all] --seeds N [--seed FIRST] [--story]`

- `planner`: the controller's decisions, with routers that fail over the classic way.
- `standby`: the same, on hosts with leases (made up), with routers that have standbys, one to three by the seed.
- `lease`: the lease itself, datagram by datagram.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool, cpu_count
from time import monotonic

from gapless.sim import run as planner
from gapless.sim.lease import run as lease

PROGRESS_EVERY_S = 2.0
STORY_LINES = 200
CHUNK = 20
"""Seeds that one process takes at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How a seed went, as far as the command says it."""

    seed: int
    violation: str
    count: int
    """Of what the simulation is about."""
    virtual_s: float
    story: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What can be run."""

    name: str
    counted: str
    run: Callable[[bool, int], Told]
    """With its story if that is asked for, a seed."""
    retell: Callable[[int], Told]
    """A seed that failed, with its story, as short as it gets."""


def _run_planner(with_story: bool, seed: int, *, has_leases: bool = False) -> Told:
    outcome = planner.run(seed, has_leases=has_leases)
    story = outcome.story if with_story or outcome.violation else []
    return Told(seed=seed, violation=outcome.violation, count=outcome.moves, virtual_s=outcome.virtual_s, story=story)


_run_standby = partial(_run_planner, has_leases=True)


def _tell_lease(outcome: lease.Outcome) -> Told:
    return Told(
        seed=outcome.seed,
        violation=outcome.violation,
        count=outcome.takeovers,
        virtual_s=outcome.virtual_s,
        story=outcome.story,
    )


def _run_lease(with_story: bool, seed: int) -> Told:
    return _tell_lease(lease.run(seed, is_telling=with_story))


def _retell_lease(seed: int) -> Told:
    return _tell_lease(lease.shrink(lease.run(seed)))


SIMULATIONS = {
    "planner": Simulation(name="planner", counted="moves", run=_run_planner, retell=partial(_run_planner, True)),
    "standby": Simulation(name="standby", counted="moves", run=_run_standby, retell=partial(_run_standby, True)),
    "lease": Simulation(name="lease", counted="takeovers", run=_run_lease, retell=_retell_lease),
}


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 if every oracle held for every seed, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m gapless.sim", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=[*SIMULATIONS, "all"], default="planner", help="which simulation")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="how many seeds to run (default 1)")
    parser.add_argument("--seed", type=int, default=1, metavar="FIRST", help="the first of them (default 1)")
    parser.add_argument("--story", action="store_true", help="print the whole story of each seed")
    asked = parser.parse_args(arguments)
    chosen = SIMULATIONS.values() if asked.what == "all" else [SIMULATIONS[asked.what]]
    seeds = range(asked.seed, asked.seed + asked.seeds)
    return max(run_seeds(each, seeds, with_story=asked.story) for each in chosen)


def run_seeds(simulation: Simulation, seeds: range, *, with_story: bool) -> int:
    """Run them, told in order; stop at the first violation and say how to see it again."""
    started = said = monotonic()
    counted, virtual_s = 0, 0.0
    with _outcomes(partial(simulation.run, with_story), seeds) as outcomes:
        for number, outcome in enumerate(outcomes, start=1):
            counted, virtual_s = counted + outcome.count, virtual_s + outcome.virtual_s
            if with_story:
                _say("\n".join(outcome.story))
            if outcome.violation:
                _say(_failure(simulation, outcome.seed, with_story=with_story))
                return 1
            if monotonic() - said > PROGRESS_EVERY_S:
                said = monotonic()
                _say(f"{number} of {len(seeds)} seeds, {counted} {simulation.counted}, {_hours(virtual_s)}")
    took = f"{counted} {simulation.counted}, {_hours(virtual_s)} in {monotonic() - started:.1f} s"
    _say(f"{simulation.name}: {len(seeds)} seeds, {took}: every oracle held")
    return 0


@contextmanager
def _outcomes(run: Callable[[int], Told], seeds: range) -> Iterator[Iterator[Told]]:
    """One process a processor if that is worth it."""
    if len(seeds) <= 2 * CHUNK or cpu_count() == 1:
        yield map(run, seeds)
        return
    with Pool() as pool:
        yield pool.imap(run, seeds, chunksize=CHUNK)


def _hours(virtual_s: float) -> str:
    return f"{virtual_s / 3600:.1f} virtual hours"


def _failure(simulation: Simulation, seed: int, *, with_story: bool) -> str:
    told = simulation.retell(seed)
    story = [] if with_story else ["", f"Its last {STORY_LINES} lines:", *told.story[-STORY_LINES:]]
    name = "" if simulation.name == "planner" else f"{simulation.name} "
    return "\n".join(
        [
            *story,
            "",
            f"seed {seed}: {told.violation.splitlines()[0]}",
            f"again: python -m gapless.sim {name}--seed {seed} --story",
        ]
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
