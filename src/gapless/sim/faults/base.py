"""What a fault is: a function of the world. Each picks what it hits, and most of them end by themselves."""

from collections.abc import Callable
from functools import partial

from gapless.model.router import RouterId
from gapless.sim.machine import Machine
from gapless.sim.world import World

Fault = Callable[[World], None]


def put(world: World, at: float, fault: Fault) -> None:
    """Onto the world's schedule, `unless_ending`, by the name of its function."""
    function = fault.func if isinstance(fault, partial) else fault
    world.schedule.put(at, function.__name__.replace("_", " "), unless_ending(fault, world))


def unless_ending(fault: Fault, world: World) -> Callable[[], None]:
    """For the agenda: the fault, or what follows from one, unless all of them are over by then."""
    return lambda: None if world.is_ending else fault(world)


def any_machine(world: World) -> Machine:
    """One of those that have their names."""
    return world.machines[world.random.choice(sorted(world.machines))]


def any_router(world: World) -> RouterId | None:
    """One of those that are wanted; None: there is none."""
    known = sorted(world.store.needs)
    return world.random.choice(known) if known else None
