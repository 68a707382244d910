"""One seed, from its first event to the end of its story."""

from collections.abc import Collection
from traceback import format_exc

from gapless.errors import InvariantError
from gapless.sim.faults.ending import end_all
from gapless.sim.faults.schedule import schedule
from gapless.sim.fleets import fleet
from gapless.sim.oracles.scene import Violated
from gapless.sim.outcome import Outcome

CHAOS_DEATHS = 6
"""Faults happen for as long as this many hosts need to be found dead one after another."""


def run(
    seed: int, *, has_leases: bool = False, standbys: int | None = None, without: Collection[int] = frozenset()
) -> Outcome:
    """Live through one fleet, with leases and standbys (so many a router, or by the seed) or the classic way, and
    `without` some of its faults.

    Never raises for what the planner does wrong: that is the outcome.
    """
    world = fleet(seed, has_leases=has_leases, standbys=standbys)
    world.schedule.without = without
    violation = ""
    try:
        lasting_s = CHAOS_DEATHS * world.timing.dead_after_s
        world.agenda.run_until(schedule(world, lasting_s))
        end_all(world)
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
        count=len(world.store.moves),
        virtual_s=world.agenda.now,
    )
