"""One seed, from its first event to the end of its story; of a schedule that fails, the part that is needed for it."""

from dataclasses import dataclass
from random import Random
from traceback import format_exc

from gapless.errors import InvariantError
from gapless.sim.lease import faults
from gapless.sim.lease.faults import Fault
from gapless.sim.lease.oracles import Violated
from gapless.sim.lease.world import World, fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a seed went. `violation` is "" if every oracle held."""

    seed: int
    violation: str
    faults: list[Fault]
    story: list[str]
    takeovers: int
    virtual_s: float


def run(seed: int, *, only: list[Fault] | None = None, is_telling: bool = False) -> Outcome:
    """Live through one fleet, with its own faults or `only` some. Never raises for what a beat does wrong."""
    random = Random(seed)
    about = fleet(random, seed)
    schedule = faults.draw(random, about) if only is None else only
    world = World(about, is_telling=is_telling)
    violation = ""
    try:
        world.begin()
        faults.schedule(world, schedule)
        world.agenda.run_until(faults.LAST_S + 0.3)
        faults.end_all(world)
        world.settle()
    except (Violated, InvariantError) as error:
        violation = str(error)
        world.note(violation.splitlines()[0])
    except Exception as error:  # noqa: BLE001  (a supervisor: whatever breaks, its seed and story must be told)
        violation = f"{type(error).__name__}: {error}"
        world.note(format_exc())
    return Outcome(
        seed=seed,
        violation=violation,
        faults=schedule,
        story=world.story,
        takeovers=world.oracles.takeovers,
        virtual_s=world.agenda.now,
    )


def shrink(failed: Outcome) -> Outcome:
    """Leave out, one after another, the faults without which the same oracle is violated still; with the story."""
    oracle = failed.violation[:8]
    schedule = failed.faults
    for fault in reversed(failed.faults):
        without = [each for each in schedule if each is not fault]
        if run(failed.seed, only=without).violation.startswith(oracle):
            schedule = without
    return run(failed.seed, only=schedule, is_telling=True)
