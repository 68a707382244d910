"""What befalls machines: their power, their links, their processes, and what they are able to build."""

from collections.abc import Mapping
from functools import partial

from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.sim.faults.base import any_machine, unless_ending
from gapless.sim.machine import Machine
from gapless.sim.world import World


def power_failure(world: World) -> None:
    """One machine goes off, and on again after a while, or at the end, or never."""
    switch_off(world, any_machine(world))


def mass_power_failure(world: World) -> None:
    """Several machines go off at once."""
    names = sorted(world.machines)
    for name in world.random.sample(names, world.random.randint(1, len(names))):
        switch_off(world, world.machines[name])


def switch_off(world: World, machine: Machine) -> None:
    """It goes off, if it is on; most come back."""
    if not machine.is_on:
        return
    world.strike(f"{machine.facts.name} loses power")
    machine.power_off()
    if world.random.random() < 0.7:
        away_s = world.random.uniform(0.5, 3 * world.timing.dead_after_s)
        world.agenda.after(away_s, lambda: switch_on(world, machine))


def switch_on(world: World, machine: Machine) -> None:
    """It comes back, unless somebody was quicker."""
    if not machine.is_on:
        world.strike(f"{machine.facts.name} comes back")
        machine.power_on()


def machine_replaced(world: World) -> None:
    """Another machine gets a host's name. The one before is switched off, or only cut off from the controller."""
    machine = any_machine(world)
    name = machine.facts.name
    if world.random.random() < 0.5:
        machine.power_off()
    world.strike(f"another machine is to be {name}; the one before is {'still on' if machine.is_on else 'off'}")
    another = world.replace_machine(name)
    world.agenda.after(world.random.uniform(0.5, 3 * world.timing.dead_after_s), lambda: switch_on(world, another))


def cut_link(world: World) -> None:
    """A management link is cut for a while; the host goes on forwarding."""
    machine = any_machine(world)
    world.strike(f"the management link of {machine.facts.name} is cut")
    machine.cut_link()
    world.agenda.after(world.random.uniform(0.5, 2 * world.timing.dead_after_s), machine.mend_link)


def cut_data(world: World) -> None:
    """A host's lease datagrams are lost for a while."""
    machine = any_machine(world)
    world.strike(f"the data network of {machine.facts.name} is cut")
    machine.cut_data()
    world.agenda.after(world.random.uniform(0.1, 2 * world.timing.dead_after_s), machine.mend_data)


def loses_way_out(world: World, *, name: HostName, lasts_s: float) -> None:
    """A host's uplink to the outside is cut for a while; it is heard, and holds its lease."""
    world.strike(f"{name} loses its way out for {lasts_s:.1f} s")
    world.machines[name].lose_way_out()
    world.agenda.after(lasts_s, unless_ending(partial(_mend_way_out, name=name), world))


def all_lose_their_way_out(
    world: World, *, lasts_s: float, seen_after_s: Mapping[HostName, tuple[float, float]]
) -> None:
    """What is outside is gone for a while. Each host sees it in its own time, and also when it is back."""
    world.strike(f"the outside is gone for {lasts_s:.1f} s")
    world.oracles.outside_is_gone(is_gone=True)
    for name, (gone_s, back_s) in sorted(seen_after_s.items()):
        world.agenda.after(gone_s, unless_ending(partial(_lose_way_out, name=name), world))
        world.agenda.after(lasts_s + back_s, unless_ending(partial(_mend_way_out, name=name), world))
    seen_s = max(back_s for _, back_s in seen_after_s.values())
    world.agenda.after(lasts_s + seen_s, lambda: world.oracles.outside_is_gone(is_gone=False))


def _lose_way_out(world: World, *, name: HostName) -> None:
    """Of whichever machine has the name by then."""
    world.machines[name].lose_way_out()


def _mend_way_out(world: World, *, name: HostName) -> None:
    world.machines[name].mend_way_out()


def cut_off(world: World) -> None:
    """A host is cut off from everything."""
    machine = any_machine(world)
    world.strike(f"{machine.facts.name} is cut off")
    machine.cut_data()
    machine.cut_link()

    def mend() -> None:
        machine.mend_data()
        machine.mend_link()

    world.agenda.after(world.random.uniform(0.1, 3 * world.timing.dead_after_s), mend)


def sentinel_restart(world: World) -> None:
    """A host's sentinel is started anew."""
    restart_sentinel_of(world, name=any_machine(world).facts.name)


def restart_sentinel_of(world: World, *, name: HostName) -> None:
    """As `sentinel_restart`."""
    world.strike(f"the sentinel of {name} is started anew")
    world.machines[name].restart_sentinel()


def agent_death(world: World) -> None:
    """An agent dies; its sentinel starts it again."""
    machine = any_machine(world)
    world.strike(f"the agent of {machine.facts.name} dies")
    machine.stop_agent()
    world.agenda.after(world.random.uniform(0.2, 20), machine.start_agent)


def agents_break(world: World, *, names: list[HostName], lasts_s: float) -> None:
    """On these hosts no agent can be started for a while; on several, as by a bad upgrade."""
    for name in names:
        machine = world.machines[name]
        world.strike(f"no agent can be started on {name} for {lasts_s:.0f} s")
        machine.break_agent()
        world.agenda.after(lasts_s, machine.mend_agent)


def sickness(world: World) -> None:
    """A host cannot build some routers for a while, or for good."""
    machine = any_machine(world)
    sick = {router_id for router_id in sorted(world.store.needs) if world.random.random() < 0.5}
    world.strike(f"{machine.facts.name} cannot build {sorted(sick)}")
    machine.broken |= sick
    for router_id in sorted(sick):
        if machine.is_on and machine.agent_runs and world.random.random() < 0.5:
            machine.fail(router_id)
    if world.random.random() < 0.6:
        world.agenda.after(world.random.uniform(5, 60), lambda: machine.broken.difference_update(sick))


def everything_breaks(world: World, *, lasts_s: float) -> None:
    """No host can run any router for a while, as by a plan that no kernel takes."""
    world.strike(f"no host can run any router for {lasts_s:.0f} s")
    routers = set(world.store.needs)
    for machine in world.machines.values():
        machine.broken |= routers
        for router_id in sorted(routers):
            if machine.is_on and machine.agent_runs:
                machine.fail(router_id)

    def end() -> None:
        for machine in world.machines.values():
            machine.broken -= routers

    world.agenda.after(lasts_s, end)


def breaks_again(world: World, *, router_id: RouterId) -> None:
    """A router breaks where it is, and can be built there again."""
    binding = world.store.bindings.get(router_id)
    machine = None if binding is None else world.machines[binding.host]
    if machine is not None and machine.is_on and machine.agent_runs:
        world.strike(f"{router_id} breaks on {machine.facts.name}")
        machine.fail(router_id)
