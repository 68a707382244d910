"""What users do to routers, at any time."""

from dataclasses import replace
from random import Random

from gapless.core.events import RouterDeleted, RouterWanted
from gapless.sim.faults.base import any_router
from gapless.sim.fleets import mode, needs
from gapless.sim.world import World


def comes(world: World) -> None:
    """A router is created."""
    made = needs(world.random, world.random.randint(100, 999), has_leases=world.has_leases)
    if made.router_id not in world.store.needs:
        world.want(made)
        world.tell(RouterWanted(id="api", needs=made))


def changes(world: World) -> None:
    """A router is changed."""
    router_id = any_router(world)
    if router_id is not None:
        world.tell(RouterWanted(id="api", needs=world.store.needs[router_id]))


def changes_mode(world: World) -> None:
    """A router is to fail over otherwise than before."""
    router_id = any_router(world)
    if router_id is not None:
        changed = replace(world.store.needs[router_id], mode=mode(world.random, has_leases=world.has_leases))
        world.store.needs[router_id] = changed
        world.tell(RouterWanted(id="api", needs=changed))


def asks_otherwise(world: World, random: Random) -> None:
    """A router is to be in another zone, or gets another network: its host may suit it no more."""
    known = sorted(world.store.needs)
    if known:
        router_id = random.choice(known)
        fresh = needs(random, 1, has_leases=world.has_leases)
        changed = replace(fresh, router_id=router_id, mode=world.store.needs[router_id].mode)
        world.strike(f"{router_id} asks otherwise")
        world.store.needs[router_id] = changed
        world.tell(RouterWanted(id="api", needs=changed))


def goes(world: World) -> None:
    """A router is deleted."""
    router_id = any_router(world)
    if router_id is not None:
        world.store.delete_router(router_id)
        world.tell(RouterDeleted(id="api", router_id=router_id))
