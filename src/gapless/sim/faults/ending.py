"""The end of all faults: what is mended, and what a fleet has to live with."""

from random import Random

from gapless.core.events import BrakeReleased
from gapless.sim.machine import Machine
from gapless.sim.store import QUICK_S
from gapless.sim.world import World

STAYS_CUT_SHARE = 0.25
STAYS_BROKEN_SHARE = 0.25
STAYS_LOST_SHARE = 0.25


def end_all(world: World) -> None:
    """Everything is mended, save what a fleet may have to live with: hosts that stay off, what some cannot build."""
    world.note("no more faults")
    world.is_ending = True
    world.store.is_failing = False
    world.store.answers_after_s = QUICK_S
    if world.controller is not None:
        world.controller.crash_after = None
        world.controller.go_on(timer_first=True)
    for ghost in world.ghosts:
        ghost.power_off()
    stays_cut, stays_broken, stays_lost = _stays_cut(world), _stays_broken(world), _stays_lost(world)
    for machine in world.machines.values():
        machine.mend_link()
        if machine is stays_cut:
            machine.cut_data()
        else:
            machine.mend_data()
        if machine is stays_broken:
            machine.break_agent()
        else:
            machine.mend_agent()
        if machine is stays_lost:
            machine.lose_way_out()
        else:
            machine.mend_way_out()
        if not machine.is_on and world.random.random() < 0.7:
            machine.power_on()
        for router_id in sorted(machine.broken):
            if world.random.random() < 0.7:
                machine.broken.discard(router_id)
    if world.random.random() < 0.5:
        world.agenda.after(3 * world.timing.dead_after_s, lambda: world.tell(BrakeReleased(id="operator")))


def _stays_cut(world: World) -> Machine | None:
    """In every fourth fleet one host's data network stays cut, for the rest of its life. Drawn apart."""
    random = Random(f"stays cut {world.seed}")
    if not world.has_leases or random.random() >= STAYS_CUT_SHARE:
        return None
    name = random.choice(sorted(world.machines))
    world.note(f"the data network of {name} stays cut")
    return world.machines[name]


def _stays_broken(world: World) -> Machine | None:
    """In every fourth fleet no agent can be started on one host, for the rest of its life. Drawn apart."""
    random = Random(f"stays broken {world.seed}")
    if random.random() >= STAYS_BROKEN_SHARE:
        return None
    name = random.choice(sorted(world.machines))
    world.note(f"no agent can be started on {name} any more")
    return world.machines[name]


def _stays_lost(world: World) -> Machine | None:
    """In every fourth fleet one host has no way out, for the rest of its life. Drawn apart."""
    random = Random(f"stays lost {world.seed}")
    if random.random() >= STAYS_LOST_SHARE:
        return None
    name = random.choice(sorted(world.machines))
    world.note(f"{name} has no way out any more")
    return world.machines[name]
