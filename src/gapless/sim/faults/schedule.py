"""When which fault happens to a fleet: `FAULTS` says how often each is chosen, and what is rare is drawn apart."""

from functools import partial
from random import Random

from gapless.core.ledger.tours import STEADY_S
from gapless.sim.faults import coincidences, control, machines, operators, routers
from gapless.sim.faults.base import Fault, put
from gapless.sim.world import World

FAULTS: tuple[tuple[Fault, int], ...] = (
    (machines.power_failure, 6),
    (machines.mass_power_failure, 2),
    (machines.cut_link, 3),
    (machines.agent_death, 2),
    (machines.sickness, 3),
    (control.controller_crash, 4),
    (control.controller_crash_at_once, 1),
    (control.controller_pause, 3),
    (control.controller_stalls, 1),
    (control.store_failure, 2),
    (control.slow_store, 1),
    (operators.drain, 4),
    (operators.move, 4),
    (operators.release_brake, 1),
    (operators.forget_host, 1),
    (routers.comes, 2),
    (routers.changes, 1),
    (routers.goes, 1),
)

LEASE_FAULTS: tuple[tuple[Fault, int], ...] = (
    (machines.cut_data, 4),
    (machines.cut_off, 3),
    (machines.sentinel_restart, 4),
    (routers.changes_mode, 3),
    (operators.move, 3),
    (machines.machine_replaced, 3),
    (coincidences.arbiters_lost, 3),
    (operators.confirm_off, 5),
    (coincidences.successors_power_failure, 3),
)
"""What happens besides, where hosts take part in leases."""

AGENT_BROKEN_SHARE = 0.3
CUT_SHORT_SHARE = 0.4
COMMON_SHARE = 0.05
ASKS_SHARE = 0.2
LOST_WAYS_SHARE = 0.3
OUTSIDE_GONE_SHARE = 0.1
SEEN_WITHIN_S = 1.8
"""So much later one host sees than another that the outside is gone, or back. With a stall of the controller that goes
unnoticed that is less than `core.ledger.ways.SETTLED_S`."""
WORN_SHARE = 0.02
WORN_S = 4500.0


def schedule(world: World, lasting_s: float) -> float:
    """Put down which faults happen when, within `lasting_s`; returns until when there are some, which may be later.
    Links stay clean in half of all fleets.
    """
    links_stay_clean = world.random.random() < 0.5
    known = (*FAULTS, *LEASE_FAULTS) if world.has_leases else FAULTS
    faults = [(fault, weight) for fault, weight in known if not (links_stay_clean and fault is machines.cut_link)]
    for _ in range(world.random.randint(2, 14)):
        (fault,) = world.random.choices([each for each, _ in faults], [weight for _, weight in faults])
        put(world, world.random.uniform(5, lasting_s), fault)
    _schedule_broken_agents(world, lasting_s)
    _schedule_cut_short(world, lasting_s)
    _schedule_common_cause(world, lasting_s)
    _schedule_other_needs(world, lasting_s)
    _schedule_lost_ways(world, lasting_s)
    return _schedule_wear(world, lasting_s)


def _schedule_cut_short(world: World, lasting_s: float) -> None:
    """Drawn apart, too."""
    random = Random(f"moves are cut short {world.seed}")
    if not world.has_leases or random.random() >= CUT_SHORT_SHARE:
        return
    for _ in range(random.randint(0, 3)):  # For incarnations to differ.
        restarts = partial(machines.restart_sentinel_of, name=random.choice(sorted(world.machines)))
        put(world, random.uniform(1, 5), restarts)
    for _ in range(random.randint(1, 4)):
        cut_short = partial(coincidences.switchover_cut_short, random=random)
        put(world, random.uniform(5, lasting_s), cut_short)


def _schedule_broken_agents(world: World, lasting_s: float) -> None:
    """Drawn apart, for other fleets to go on as before."""
    random = Random(f"agents break {world.seed}")
    if random.random() < AGENT_BROKEN_SHARE:
        at_s, lasts_s = random.uniform(5, lasting_s), random.uniform(0.2, 4) * world.timing.agent_patience_s
        names = sorted(world.machines)
        struck = random.sample(names, 1 if random.random() < 0.7 else random.randint(1, len(names)))
        put(world, at_s, partial(machines.agents_break, names=struck, lasts_s=lasts_s))


def _schedule_common_cause(world: World, lasting_s: float) -> None:
    """Drawn apart, too."""
    random = Random(f"everything breaks {world.seed}")
    if random.random() < COMMON_SHARE:
        breaks = partial(machines.everything_breaks, lasts_s=random.uniform(20, 300))
        put(world, random.uniform(5, lasting_s), breaks)


def _schedule_other_needs(world: World, lasting_s: float) -> None:
    """Drawn apart, too."""
    random = Random(f"needs change {world.seed}")
    if random.random() < ASKS_SHARE:
        for _ in range(random.randint(1, 4)):
            asks = partial(routers.asks_otherwise, random=random)
            put(world, random.uniform(5, lasting_s), asks)


def _schedule_lost_ways(world: World, lasting_s: float) -> None:
    """Some hosts lose their ways out, some of them again and again; or all do at once. Drawn apart, too."""
    random = Random(f"ways are lost {world.seed}")
    drawn, names = random.random(), sorted(world.machines)
    if drawn < OUTSIDE_GONE_SHARE:
        seen = {name: (random.uniform(0, SEEN_WITHIN_S), random.uniform(0, SEEN_WITHIN_S)) for name in names}
        gone = partial(machines.all_lose_their_way_out, lasts_s=random.uniform(3, 60), seen_after_s=seen)
        put(world, random.uniform(5, lasting_s), gone)
    elif drawn < OUTSIDE_GONE_SHARE + LOST_WAYS_SHARE:
        for name in random.sample(names, random.randint(1, len(names))):
            at_s, every_s = random.uniform(5, lasting_s), random.choice([7.0, 15.0, 60.0, 200.0])
            for number in range(random.choice([1, 1, 4])):
                lost = partial(machines.loses_way_out, name=name, lasts_s=random.uniform(0.1, every_s))
                put(world, at_s + number * every_s, lost)


def _schedule_wear(world: World, lasting_s: float) -> float:
    """One router breaks again and again for more than an hour, each time after so long. Drawn apart, too."""
    random = Random(f"a router is worn out {world.seed}")
    if random.random() >= WORN_SHARE:
        return lasting_s
    router_id, every_s = random.choice(sorted(world.store.needs)), random.uniform(STEADY_S, 5 * STEADY_S)
    for number in range(1, int(WORN_S / every_s)):
        put(world, number * every_s, partial(machines.breaks_again, router_id=router_id))
    return WORN_S
