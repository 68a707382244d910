"""One seed, from its first event to the end of its story."""

from collections.abc import Collection
from random import Random
from traceback import format_exc

from gapless.errors import InvariantError
from gapless.sim.lease import faults
from gapless.sim.lease.faults import Fault
from gapless.sim.lease.oracles import Violated
from gapless.sim.lease.world import World, fleet
from gapless.sim.outcome import Outcome


def run(
    seed: int, *, only: list[Fault] | None = None, without: Collection[int] = frozenset(), is_telling: bool = False
) -> Outcome:
    """Live through one fleet, with its own faults or `only` these, and `without` some of them. Never raises for what a
    beat does wrong.
    """
    random = Random(seed)
    about = fleet(random, seed)
    schedule = faults.draw(random, about) if only is None else only
    world = World(about, is_telling=is_telling)
    world.schedule.without = without
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
        faults=world.schedule.faults,
        story=world.story,
        count=world.oracles.takeovers,
        virtual_s=world.agenda.now,
    )
