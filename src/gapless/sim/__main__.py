"""Run whole fleets on virtual time, one a seed; stop at the first seed in which an oracle is violated.

`python -m gapless.sim [planner|standby|lease|all] --seeds N [--seed FIRST] [--without FAULTS] [--story]`

- `planner`: the controller's decisions, with routers that fail over the classic way.
- `standby`: the same, on hosts with leases (made up), with routers that have standbys, one to three by the seed.
- `lease`: the lease itself, datagram by datagram.

Of a seed that fails, the faults that it needs are told, the story of a run with no others, and how to run that again.
"""

import argparse
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pool, cpu_count
from time import monotonic
from typing import Protocol

from gapless.sim import run as planner
from gapless.sim.lease import run as lease
from gapless.sim.outcome import Outcome
from gapless.sim.shrinking import WITHIN_S, Shrunk, shrink

PROGRESS_EVERY_S = 2.0
STORY_LINES = 200
CHUNK = 20
"""Seeds that one process takes at a time."""


class Run(Protocol):
    """Lives through a seed without some of its faults, with its story if that is asked for."""

    def __call__(self, seed: int, *, without: Collection[int], is_telling: bool) -> Outcome: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What can be run."""

    name: str
    counted: str
    run: Run


def _run_planner(seed: int, *, without: Collection[int], is_telling: bool, has_leases: bool = False) -> Outcome:
    outcome = planner.run(seed, has_leases=has_leases, without=without)
    return outcome if is_telling else replace(outcome, story=[])


def _run_lease(seed: int, *, without: Collection[int], is_telling: bool) -> Outcome:
    return lease.run(seed, without=without, is_telling=is_telling)


SIMULATIONS = {
    "planner": Simulation(name="planner", counted="moves", run=_run_planner),
    "standby": Simulation(name="standby", counted="moves", run=partial(_run_planner, has_leases=True)),
    "lease": Simulation(name="lease", counted="takeovers", run=_run_lease),
}


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 if every oracle held for every seed, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m gapless.sim", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=[*SIMULATIONS, "all"], default="planner", help="which simulation")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="how many seeds to run (default 1)")
    parser.add_argument("--seed", type=int, default=1, metavar="FIRST", help="the first of them (default 1)")
    parser.add_argument("--without", type=numbers, metavar="FAULTS", help="leave out faults of one seed: 3,5,9")
    parser.add_argument("--story", action="store_true", help="print the whole story of each seed")
    asked = parser.parse_args(arguments)
    if asked.without and (asked.seeds != 1 or asked.what == "all"):
        parser.error("--without numbers the faults of one seed of one simulation")
    chosen = SIMULATIONS.values() if asked.what == "all" else [SIMULATIONS[asked.what]]
    seeds = range(asked.seed, asked.seed + asked.seeds)
    return max(run_seeds(each, seeds, without=asked.without or frozenset(), with_story=asked.story) for each in chosen)


def numbers(text: str) -> frozenset[int]:
    """Those in `text`, with commas between them."""
    return frozenset(map(int, text.split(",")))


def run_seeds(simulation: Simulation, seeds: range, *, without: Collection[int] = frozenset(), with_story: bool) -> int:
    """Run them, told in order; stop at the first violation and say how to see it again."""
    started = said = monotonic()
    counted, virtual_s, failed = 0, 0.0, None
    with _outcomes(partial(simulation.run, without=without, is_telling=with_story), seeds) as outcomes:
        for number, outcome in enumerate(outcomes, start=1):
            counted, virtual_s = counted + outcome.count, virtual_s + outcome.virtual_s
            if with_story:
                _say("\n".join(outcome.story))
            if outcome.violation:
                failed = outcome
                break
            if number < len(seeds) and monotonic() - said > PROGRESS_EVERY_S:
                said = monotonic()
                _say(f"{number} of {len(seeds)} seeds, {counted} {simulation.counted}, {_hours(virtual_s)}")
    if failed is not None:
        _tell_failure(simulation, failed, with_story=with_story)
        return 1
    took = f"{counted} {simulation.counted}, {_hours(virtual_s)} in {monotonic() - started:.1f} s"
    _say(f"{simulation.name}: {len(seeds)} seeds, {took}: every oracle held")
    return 0


@contextmanager
def _outcomes(run: Callable[[int], Outcome], seeds: range) -> Iterator[Iterator[Outcome]]:
    """One process a processor if that is worth it."""
    if len(seeds) <= 2 * CHUNK or cpu_count() == 1:
        yield map(run, seeds)
        return
    with Pool() as pool:
        yield pool.imap(run, seeds, chunksize=CHUNK)


def _hours(virtual_s: float) -> str:
    return f"{virtual_s / 3600:.1f} virtual hours"


def _tell_failure(simulation: Simulation, failed: Outcome, *, with_story: bool) -> None:
    """The seed first: to find out which faults it needs takes a while."""
    _say(f"\n{_violation(failed)}\n{_again(simulation, failed)}\n")
    _say(f"Which of its {len(failed.faults)} faults it needs is found out, within {WITHIN_S:.0f} s.")
    run = partial(simulation.run, failed.seed)
    shrunk = shrink(failed, lambda without: run(without=without, is_telling=False), tell=_progress())
    short = run(without=shrunk.without, is_telling=True)
    story = [f"The last {STORY_LINES} lines of its story without the others:", *short.story[-STORY_LINES:], ""]
    if with_story and short.story == failed.story:
        story = []  # It was told just now.
    _say("\n".join(["", *_schedule(short, shrunk), "", *story, _violation(short), _again(simulation, short)]))


def _violation(outcome: Outcome) -> str:
    return f"seed {outcome.seed}: {outcome.said}"


def _schedule(short: Outcome, shrunk: Shrunk) -> list[str]:
    """The faults that are left, with their numbers and times."""
    more = "" if shrunk.is_smallest else "; perhaps not all of these, there was no time for more"
    return [f"Of its {len(short.faults)} faults it needs {len(short.needed)}{more}:", *map(str, short.needed)]


def _again(simulation: Simulation, outcome: Outcome) -> str:
    name = [] if simulation.name == "planner" else [simulation.name]
    left_out = ",".join(map(str, sorted(outcome.without)))
    without = ["--without", left_out] if left_out else []
    return " ".join(["again: python -m gapless.sim", *name, "--seed", str(outcome.seed), *without, "--story"])


def _progress() -> Callable[[str], None]:
    """Now and then a line, for somebody who waits."""
    said = monotonic()

    def tell(how_far: str) -> None:
        nonlocal said
        if sys.stdout.isatty() and monotonic() - said > PROGRESS_EVERY_S:
            said = monotonic()
            _say(how_far)

    return tell


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
