"""What operators do, at any time."""

from dataclasses import replace

from gapless.core.events import BrakeReleased, HostAdminChanged, HostForgotten, MoveRequested
from gapless.model.host import HostName
from gapless.sim.faults.base import any_machine, any_router
from gapless.sim.world import World


def drain(world: World) -> None:
    """An operator takes a host out of service; often it is put back later."""
    name = any_machine(world).facts.name
    set_admin_up(world, name, admin_up=False)
    if world.random.random() < 0.6:
        world.agenda.after(world.random.uniform(1, 60), lambda: set_admin_up(world, name, admin_up=True))


def set_admin_up(world: World, name: HostName, *, admin_up: bool) -> None:
    """It is stored, and said."""
    if name in world.store.hosts:
        world.store.hosts[name] = replace(world.store.hosts[name], admin_up=admin_up)
        world.tell(HostAdminChanged(id="operator", host=name, admin_up=admin_up))


def move(world: World) -> None:
    """An operator wants a router elsewhere."""
    router_id = any_router(world)
    host = world.random.choice([None, *sorted(world.machines)])
    if router_id is not None:
        world.tell(MoveRequested(id="operator", router_id=router_id, host=host))


def release_brake(world: World) -> None:
    """An operator says that what looks dead is dead."""
    world.tell(BrakeReleased(id="operator"))


def confirm_off(world: World) -> None:
    """An operator has made sure that machines are off, and says so; now and then the controller dies of that."""
    for name in sorted(world.machines):
        controller = world.controller
        if controller is None or not is_off(world, name):
            continue
        refused = controller.confirm_off(name)
        world.strike(f"an operator confirms that {name} is off{f'; refused: {refused}' if refused else ''}")
        if world.random.random() < 0.1:
            controller.crash()


def is_off(world: World, name: HostName) -> bool:
    """Whether no machine that ever had this name runs."""
    return not world.machines[name].is_on and not any(each.is_on and each.facts.name == name for each in world.ghosts)


def forget_host(world: World) -> None:
    """An operator deletes a host that is off and carries nothing."""
    carrying = {binding.host for binding in world.store.bindings.values()}
    for name, machine in sorted(world.machines.items()):
        if not machine.is_on and name in world.store.hosts and name not in carrying:
            del world.store.hosts[name]
            world.tell(HostForgotten(id="operator", host=name))
            return
