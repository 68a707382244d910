"""Fleets made from a seed: a few hosts and routers, no two fleets alike."""

from dataclasses import replace
from random import Random

from gapless.core.events import RouterNeeds
from gapless.model.host import HostFacts, HostName, InstanceId
from gapless.model.router import FailoverMode, RouterId
from gapless.sim.world import Pace, World

LEASE_PORT = 9698
OLDER = 0.15
"""Of the hosts do not say which ways out they have lost, as those of an earlier release, or whether they copy
connections."""
COPYING = 0.5
"""Of the fleets copy connections."""


def fleet(seed: int, *, has_leases: bool = False, standbys: int | None = None) -> World:
    """A fleet that has just been switched on; with leases, most routers have standbys, so many or as the seed says."""
    random = Random(seed)
    if standbys is None:
        standbys = Random(f"standbys of {seed}").choice([1, 2, 2, 3]) if has_leases else 1
    down_time_s = random.choice([4.0, 8.0, 20.0])
    world = World(random, Pace(report_interval_s=down_time_s / 2.5, agent_down_time_s=down_time_s), standbys=standbys)
    world.has_leases, world.seed = has_leases, seed
    for number in range(1, random.randint(2, 5) + 1):
        facts = _facts(random, number)
        takes_part = has_leases and random.random() < 0.95
        world.add_machine(replace(facts, lease_address=f"192.0.2.{number}:{LEASE_PORT}") if takes_part else facts)
    apart = Random(f"releases of {seed}")
    for machine in world.machines.values():
        machine.says_ways = apart.random() >= OLDER
    copying = Random(f"copies of {seed}")
    if has_leases and copying.random() < COPYING:
        for machine in world.machines.values():
            machine.facts = replace(machine.facts, copies_flows=copying.random() >= OLDER or None)
    for number in range(1, random.randint(1, 8) + 1):
        world.want(needs(random, number, has_leases=has_leases))
    world.begin()
    return world


def _facts(random: Random, number: int) -> HostFacts:
    return HostFacts(
        name=HostName(f"h{number}"),
        instance=InstanceId(f"00000000-0000-4000-8000-{number:012d}"),
        availability_zone=random.choice(["nova", "nova", "east"]),
        capacity=random.choice([1000, 1000, 3, 5]),
        physical_networks=("external",) if random.random() < 0.8 else (),
        data_address=f"192.0.2.{number}" if random.random() < 0.9 else None,
    )


def mode(random: Random, *, has_leases: bool) -> FailoverMode:
    """How a router fails over."""
    classic = FailoverMode.OFF if random.random() < 0.1 else FailoverMode.RESCHEDULE
    return FailoverMode.STANDBY if has_leases and random.random() < 0.8 else classic


def needs(random: Random, number: int, *, has_leases: bool = False) -> RouterNeeds:
    """What one router asks of a host: often nothing, now and then something that few hosts have."""
    return RouterNeeds(
        router_id=RouterId(f"r{number}"),
        mode=mode(random, has_leases=has_leases),
        availability_zone_hints=("east",) if random.random() < 0.1 else (),
        physical_networks=frozenset({"external"}) if random.random() < 0.5 else frozenset(),
        needs_vxlan=random.random() < 0.5,
    )
