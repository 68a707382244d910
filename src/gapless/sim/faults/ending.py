"""The end of all faults: what is mended, and what a fleet has to live with."""

from random import Random

from gapless.core.events import BrakeReleased
from gapless.sim.machine import Machine
from gapless.sim.store import QUICK_S
from gapless.sim.world import World

FOR_LIFE_SHARE = 0.25


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
    world.oracles.outside_is_gone(is_gone=False)  # What is lost for life from now on, one host has lost.
    stays_cut = _for_life(world, "stays cut", "the data network of {} stays cut") if world.has_leases else None
    stays_broken = _for_life(world, "stays broken", "no agent can be started on {} any more")
    stays_lost = _for_life(world, "stays lost", "{} has no way out any more")
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


def _for_life(world: World, what: str, words: str) -> Machine | None:
    """The host, in every fourth fleet, that has to live with it for the rest of its life. Drawn apart, by `what`.
    `words`: the story's, with the host's name for {}.
    """
    random = Random(f"{what} {world.seed}")
    if random.random() >= FOR_LIFE_SHARE:
        return None
    name = random.choice(sorted(world.machines))
    world.note(words.format(name))
    return world.machines[name]
