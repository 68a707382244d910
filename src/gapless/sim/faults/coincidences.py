"""Several things at once, or one in the middle of another: what a fleet hardly meets by chance."""

from dataclasses import replace
from functools import partial
from random import Random

from gapless.core.events import MoveRequested, RouterWanted
from gapless.model.router import FailoverMode
from gapless.sim.faults.base import unless_ending
from gapless.sim.faults.machines import switch_off, switch_on
from gapless.sim.faults.operators import confirm_off, set_admin_up
from gapless.sim.world import World


def successors_power_failure(world: World) -> None:
    """A router's host goes off, and with it some of those that may succeed it, the first ones first."""
    bound = [binding for _, binding in sorted(world.store.bindings.items()) if binding.successors]
    if not bound:
        return
    binding = world.random.choice(bound)
    dying = world.random.randint(1, len(binding.successors))
    for name in (binding.host, *(each.tenure.host for each in binding.successors[:dying])):
        switch_off(world, world.machines[name])


def arbiters_lost(world: World) -> None:
    """So many arbiters lose power for long that there is no quorum; somebody looks after them in time, or does not."""
    panel = world.store.panel
    if panel is None:
        return
    arbiters = [each for each in panel.arbiters if each in world.machines]
    away_s = world.random.uniform(1.5, 6) * world.timing.dead_after_s
    for name in world.random.sample(arbiters, len(arbiters) // 2 + 1):
        machine = world.machines[name]
        if machine.is_on:
            world.strike(f"the arbiter {name} loses power")
            machine.power_off()
        if world.random.random() < 0.5:
            world.agenda.after(away_s, partial(switch_on, world, machine))
    world.agenda.after(1.2 * world.timing.agent_down_time_s, unless_ending(confirm_off, world))


def switchover_cut_short(world: World, *, random: Random) -> None:
    """A guarded router is to leave its host, and at about that time the host that it goes to is over: it is started
    anew, or goes off.
    """
    bound = [each for each in sorted(world.store.bindings.items()) if each[1].successors and each[1].leaving is None]
    if not bound:
        return
    router_id, binding = random.choice([each for each in bound if len(each[1].successors) > 1] or bound)
    name, to = binding.host, binding.successors[0].tenure.host
    if random.random() < 0.7:
        set_admin_up(world, name, admin_up=False)
        world.agenda.after(random.uniform(5, 60), lambda: set_admin_up(world, name, admin_up=True))
    else:
        world.tell(MoveRequested(id="operator", router_id=router_id, host=to))
    machine, is_off = world.machines[to], random.random() < 0.3
    end = partial(switch_off, world, machine) if is_off else machine.restart_sentinel
    world.strike(f"{to} is about to {'lose power' if is_off else 'be started anew'}, {router_id} moves there")
    world.agenda.after(random.choice([0.0, 0.005, 0.02, 0.05, 0.1, 0.5]), end)


def guarding_cut_short(world: World) -> None:
    """A classic router is to be a guarded one; its host's agent hangs before it has put the taps under the guard, and a
    while later the host is cut off from everything. Of the listed faults only where it is looked for: by chance, few
    fleets meet all of that.
    """
    classic = [each for each, needs_ in sorted(world.store.needs.items()) if needs_.mode is FailoverMode.RESCHEDULE]
    bound = [each for each in classic if each in world.store.bindings and not world.store.bindings[each].successors]
    if not bound:
        return
    router_id = world.random.choice(bound)
    machine = world.machines[world.store.bindings[router_id].host]
    world.strike(f"the agent of {machine.facts.name} hangs, {router_id} is to be guarded")
    machine.hang_agent()
    changed = replace(world.store.needs[router_id], mode=FailoverMode.STANDBY)
    world.store.needs[router_id] = changed
    world.tell(RouterWanted(id="api", needs=changed))

    def cut() -> None:
        machine.stop_agent()
        if world.is_ending:
            machine.start_agent()
            return
        world.strike(f"{machine.facts.name} is cut off")
        machine.cut_data()
        machine.cut_link()

    world.agenda.after(world.random.uniform(5, 30), cut)
