"""Everything that is done to a fleet on purpose. Each fault picks what it hits, and most of them end by themselves.

A fault is a function of the world; `FAULTS` says how often each is chosen. Faults may overlap in any way.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

from gapless.core.events import (
    BrakeReleased,
    HostAdminChanged,
    HostForgotten,
    MoveRequested,
    RouterDeleted,
    RouterWanted,
)
from gapless.core.ledger.liveness import Attention
from gapless.core.ledger.tours import STEADY_S
from gapless.model.host import HostName
from gapless.model.router import FailoverMode, RouterId
from gapless.sim.fleets import mode, needs
from gapless.sim.machine import Machine
from gapless.sim.store import QUICK_S
from gapless.sim.world import World

STAYS_CUT_SHARE = 0.25
AGENT_BROKEN_SHARE = 0.3
STAYS_BROKEN_SHARE = 0.25
CUT_SHORT_SHARE = 0.4
COMMON_SHARE = 0.05
ASKS_SHARE = 0.2
WORN_SHARE = 0.02
WORN_S = 4500.0


def schedule(world: World, lasting_s: float) -> float:
    """Put down which faults happen when, within `lasting_s`; returns until when there are some, which may be later.
    Links stay clean in half of all fleets.
    """
    links_stay_clean = world.random.random() < 0.5
    known = (*FAULTS, *LEASE_FAULTS) if world.has_leases else FAULTS
    faults = [(fault, weight) for fault, weight in known if not (links_stay_clean and fault is cut_link)]
    for _ in range(world.random.randint(2, 14)):
        (fault,) = world.random.choices([each for each, _ in faults], [weight for _, weight in faults])
        world.agenda.at(world.random.uniform(5, lasting_s), _bind(fault, world))
    _schedule_broken_agents(world, lasting_s)
    _schedule_cut_short(world, lasting_s)
    _schedule_common_cause(world, lasting_s)
    _schedule_other_needs(world, lasting_s)
    return _schedule_wear(world, lasting_s)


def _schedule_cut_short(world: World, lasting_s: float) -> None:
    """Drawn apart, too."""
    random = Random(f"moves are cut short {world.seed}")
    if not world.has_leases or random.random() >= CUT_SHORT_SHARE:
        return
    for _ in range(random.randint(0, 3)):  # For incarnations to differ.
        machine = world.machines[random.choice(sorted(world.machines))]
        world.agenda.at(random.uniform(1, 5), machine.restart_sentinel)
    for _ in range(random.randint(1, 4)):
        world.agenda.at(random.uniform(5, lasting_s), _bind(partial(switchover_cut_short, random=random), world))


def _schedule_broken_agents(world: World, lasting_s: float) -> None:
    """Drawn apart, for other fleets to go on as before."""
    random = Random(f"agents break {world.seed}")
    if random.random() < AGENT_BROKEN_SHARE:
        at_s, lasts_s = random.uniform(5, lasting_s), random.uniform(0.2, 4) * world.timing.agent_patience_s
        names = sorted(world.machines)
        struck = random.sample(names, 1 if random.random() < 0.7 else random.randint(1, len(names)))
        world.agenda.at(at_s, _bind(partial(agents_break, names=struck, lasts_s=lasts_s), world))


def _schedule_common_cause(world: World, lasting_s: float) -> None:
    """Drawn apart, too."""
    random = Random(f"everything breaks {world.seed}")
    if random.random() < COMMON_SHARE:
        breaks = partial(everything_breaks, lasts_s=random.uniform(20, 300))
        world.agenda.at(random.uniform(5, lasting_s), _bind(breaks, world))


def _schedule_other_needs(world: World, lasting_s: float) -> None:
    """Drawn apart, too."""
    random = Random(f"needs change {world.seed}")
    if random.random() < ASKS_SHARE:
        for _ in range(random.randint(1, 4)):
            asks = partial(router_asks_otherwise, random=random)
            world.agenda.at(random.uniform(5, lasting_s), _bind(asks, world))


def _schedule_wear(world: World, lasting_s: float) -> float:
    """One router breaks again and again for more than an hour, each time after so long. Drawn apart, too."""
    random = Random(f"a router is worn out {world.seed}")
    if random.random() >= WORN_SHARE:
        return lasting_s
    router_id, every_s = random.choice(sorted(world.store.needs)), random.uniform(STEADY_S, 5 * STEADY_S)
    for number in range(1, int(WORN_S / every_s)):
        world.agenda.at(number * every_s, _bind(partial(breaks_again, router_id=router_id), world))
    return WORN_S


def _bind(fault: Callable[[World], None], world: World) -> Callable[[], None]:
    return lambda: None if world.is_ending else fault(world)


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
    stays_cut, stays_broken = _stays_cut(world), _stays_broken(world)
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


def power_failure(world: World) -> None:
    """One machine goes off, and on again after a while, or at the end, or never."""
    _switch_off(world, _any_machine(world))


def mass_power_failure(world: World) -> None:
    """Several machines go off at once."""
    names = sorted(world.machines)
    for name in world.random.sample(names, world.random.randint(1, len(names))):
        _switch_off(world, world.machines[name])


def successors_power_failure(world: World) -> None:
    """A router's host goes off, and with it some of those that may succeed it, the first ones first."""
    bound = [binding for _, binding in sorted(world.store.bindings.items()) if binding.successors]
    if not bound:
        return
    binding = world.random.choice(bound)
    dying = world.random.randint(1, len(binding.successors))
    for name in (binding.host, *(each.tenure.host for each in binding.successors[:dying])):
        _switch_off(world, world.machines[name])


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
        _set_admin_up(world, name, admin_up=False)
        world.agenda.after(random.uniform(5, 60), lambda: _set_admin_up(world, name, admin_up=True))
    else:
        world.tell(MoveRequested(id="operator", router_id=router_id, host=to))
    machine, is_off = world.machines[to], random.random() < 0.3
    end = partial(_switch_off, world, machine) if is_off else machine.restart_sentinel
    world.note(f"{to} is about to {'lose power' if is_off else 'be started anew'}, {router_id} moves there")
    world.agenda.after(random.choice([0.0, 0.005, 0.02, 0.05, 0.1, 0.5]), end)


def _switch_off(world: World, machine: Machine) -> None:
    if not machine.is_on:
        return
    world.note(f"{machine.facts.name} loses power")
    machine.power_off()
    if world.random.random() < 0.7:
        away_s = world.random.uniform(0.5, 3 * world.timing.dead_after_s)
        world.agenda.after(away_s, lambda: _switch_on(world, machine))


def _switch_on(world: World, machine: Machine) -> None:
    if not machine.is_on:
        world.note(f"{machine.facts.name} comes back")
        machine.power_on()


def cut_link(world: World) -> None:
    """A management link is cut for a while; the host goes on forwarding."""
    machine = _any_machine(world)
    world.note(f"the management link of {machine.facts.name} is cut")
    machine.cut_link()
    world.agenda.after(world.random.uniform(0.5, 2 * world.timing.dead_after_s), machine.mend_link)


def agent_death(world: World) -> None:
    """An agent dies; its sentinel starts it again."""
    machine = _any_machine(world)
    world.note(f"the agent of {machine.facts.name} dies")
    machine.stop_agent()
    world.agenda.after(world.random.uniform(0.2, 20), machine.start_agent)


def agents_break(world: World, *, names: list[HostName], lasts_s: float) -> None:
    """On these hosts no agent can be started for a while; on several, as by a bad upgrade."""
    for name in names:
        machine = world.machines[name]
        world.note(f"no agent can be started on {name} for {lasts_s:.0f} s")
        machine.break_agent()
        world.agenda.after(lasts_s, machine.mend_agent)


def sickness(world: World) -> None:
    """A host cannot build some routers for a while, or for good."""
    machine = _any_machine(world)
    sick = {router_id for router_id in sorted(world.store.needs) if world.random.random() < 0.5}
    world.note(f"{machine.facts.name} cannot build {sorted(sick)}")
    machine.broken |= sick
    for router_id in sorted(sick):
        if machine.is_on and machine.agent_runs and world.random.random() < 0.5:
            machine.fail(router_id)
    if world.random.random() < 0.6:
        world.agenda.after(world.random.uniform(5, 60), lambda: machine.broken.difference_update(sick))


def everything_breaks(world: World, *, lasts_s: float) -> None:
    """No host can run any router for a while, as by a plan that no kernel takes."""
    world.note(f"no host can run any router for {lasts_s:.0f} s")
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
        world.note(f"{router_id} breaks on {machine.facts.name}")
        machine.fail(router_id)


def controller_crash(world: World) -> None:
    """The controller is killed between two effects."""
    if world.controller is not None:
        world.controller.crash_after = world.random.randint(0, 6)


def controller_crash_at_once(world: World) -> None:
    """The controller is killed while it waits."""
    if world.controller is not None:
        world.controller.crash()


def controller_pause(world: World) -> None:
    """The controller is stopped for a while."""
    controller = world.controller
    if controller is None or controller.is_stopped:
        return
    world.note("the controller is stopped")
    controller.stop()
    timer_first = world.random.random() < 0.5
    pause_s = world.random.choice([0.5, 2.0, 5.0, 1.2 * world.timing.dead_after_s, 2.5 * world.timing.dead_after_s])
    world.agenda.after(pause_s, lambda: controller.go_on(timer_first=timer_first))


def controller_stalls(world: World) -> None:
    """The controller is stopped again and again, each time for longer than it takes for late."""
    controller = world.controller
    if controller is None or controller.is_stopped:
        return
    world.note("the controller begins to stall")
    every_s = world.random.uniform(0.5, 1.0) * world.timing.dead_after_s
    pause_s = world.random.uniform(1.0, 2.0) * Attention(world.timing, 0.0).away_after_s

    def stall() -> None:
        if not world.is_ending and not controller.is_stopped:
            controller.stop()
            world.agenda.after(pause_s, lambda: controller.go_on(timer_first=world.random.random() < 0.5))

    for number in range(10):
        world.agenda.after(number * every_s, stall)


def store_failure(world: World) -> None:
    """The database cannot be written for a while, or says so although it was."""
    world.store.is_failing = True
    world.store.fails_after_writing = world.random.random() < 0.2
    world.note(f"the store fails {'after' if world.store.fails_after_writing else 'before'} writing")

    def end() -> None:
        world.store.is_failing = False

    world.agenda.after(world.random.uniform(0.1, 30), end)


def slow_store(world: World) -> None:
    """The database takes its time to answer: much may happen between a decision and its being known to be stored."""
    world.store.answers_after_s = world.random.uniform(0.1, 2.0) * world.timing.agent_down_time_s
    world.note(f"the store answers after {world.store.answers_after_s:.1f} s")

    def end() -> None:
        world.store.answers_after_s = QUICK_S

    world.agenda.after(world.random.uniform(1, 4) * world.timing.dead_after_s, end)


def operator_drains(world: World) -> None:
    """An operator takes a host out of service; often it is put back later."""
    name = _any_machine(world).facts.name
    _set_admin_up(world, name, admin_up=False)
    if world.random.random() < 0.6:
        world.agenda.after(world.random.uniform(1, 60), lambda: _set_admin_up(world, name, admin_up=True))


def _set_admin_up(world: World, name: HostName, *, admin_up: bool) -> None:
    if name in world.store.hosts:
        world.store.hosts[name] = replace(world.store.hosts[name], admin_up=admin_up)
        world.tell(HostAdminChanged(id="operator", host=name, admin_up=admin_up))


def operator_moves(world: World) -> None:
    """An operator wants a router elsewhere."""
    router_id = _any_router(world)
    host = world.random.choice([None, *sorted(world.machines)])
    if router_id is not None:
        world.tell(MoveRequested(id="operator", router_id=router_id, host=host))


def operator_releases_brake(world: World) -> None:
    """An operator says that what looks dead is dead."""
    world.tell(BrakeReleased(id="operator"))


def operator_confirms_off(world: World) -> None:
    """An operator has made sure that machines are off, and says so; now and then the controller dies of that."""
    for name in sorted(world.machines):
        controller = world.controller
        if controller is None or not is_off(world, name):
            continue
        refused = controller.confirm_off(name)
        world.note(f"an operator confirms that {name} is off{f'; refused: {refused}' if refused else ''}")
        if world.random.random() < 0.1:
            controller.crash()


def is_off(world: World, name: HostName) -> bool:
    """Whether no machine that ever had this name runs."""
    return not world.machines[name].is_on and not any(each.is_on and each.facts.name == name for each in world.ghosts)


def operator_forgets_host(world: World) -> None:
    """An operator deletes a host that is off and carries nothing."""
    carrying = {binding.host for binding in world.store.bindings.values()}
    for name, machine in sorted(world.machines.items()):
        if not machine.is_on and name in world.store.hosts and name not in carrying:
            del world.store.hosts[name]
            world.tell(HostForgotten(id="operator", host=name))
            return


def router_comes(world: World) -> None:
    """A router is created."""
    made = needs(world.random, world.random.randint(100, 999), has_leases=world.has_leases)
    if made.router_id not in world.store.needs:
        world.want(made)
        world.tell(RouterWanted(id="api", needs=made))


def router_changes(world: World) -> None:
    """A router is changed."""
    router_id = _any_router(world)
    if router_id is not None:
        world.tell(RouterWanted(id="api", needs=world.store.needs[router_id]))


def router_changes_mode(world: World) -> None:
    """A router is to fail over otherwise than before."""
    router_id = _any_router(world)
    if router_id is not None:
        changed = replace(world.store.needs[router_id], mode=mode(world.random, has_leases=world.has_leases))
        world.store.needs[router_id] = changed
        world.tell(RouterWanted(id="api", needs=changed))


def router_asks_otherwise(world: World, random: Random) -> None:
    """A router is to be in another zone, or gets another network: its host may suit it no more."""
    known = sorted(world.store.needs)
    if known:
        router_id = random.choice(known)
        fresh = needs(random, 1, has_leases=world.has_leases)
        changed = replace(fresh, router_id=router_id, mode=world.store.needs[router_id].mode)
        world.note(f"{router_id} asks otherwise")
        world.store.needs[router_id] = changed
        world.tell(RouterWanted(id="api", needs=changed))


def cut_data(world: World) -> None:
    """A host's lease datagrams are lost for a while."""
    machine = _any_machine(world)
    world.note(f"the data network of {machine.facts.name} is cut")
    machine.cut_data()
    world.agenda.after(world.random.uniform(0.1, 2 * world.timing.dead_after_s), machine.mend_data)


def sentinel_restart(world: World) -> None:
    """A host's sentinel is started anew."""
    machine = _any_machine(world)
    world.note(f"the sentinel of {machine.facts.name} is started anew")
    machine.restart_sentinel()


def cut_off(world: World) -> None:
    """A host is cut off from everything."""
    machine = _any_machine(world)
    world.note(f"{machine.facts.name} is cut off")
    machine.cut_data()
    machine.cut_link()

    def mend() -> None:
        machine.mend_data()
        machine.mend_link()

    world.agenda.after(world.random.uniform(0.1, 3 * world.timing.dead_after_s), mend)


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
    world.note(f"the agent of {machine.facts.name} hangs, {router_id} is to be guarded")
    machine.hang_agent()
    changed = replace(world.store.needs[router_id], mode=FailoverMode.STANDBY)
    world.store.needs[router_id] = changed
    world.tell(RouterWanted(id="api", needs=changed))

    def cut() -> None:
        machine.stop_agent()
        if world.is_ending:
            machine.start_agent()
            return
        world.note(f"{machine.facts.name} is cut off")
        machine.cut_data()
        machine.cut_link()

    world.agenda.after(world.random.uniform(5, 30), cut)


def machine_replaced(world: World) -> None:
    """Another machine gets a host's name. The one before is switched off, or only cut off from the controller."""
    machine = _any_machine(world)
    name = machine.facts.name
    if world.random.random() < 0.5:
        machine.power_off()
    world.note(f"another machine is to be {name}; the one before is {'still on' if machine.is_on else 'off'}")
    another = world.replace_machine(name)
    world.agenda.after(world.random.uniform(0.5, 3 * world.timing.dead_after_s), lambda: _switch_on(world, another))


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
            world.note(f"the arbiter {name} loses power")
            machine.power_off()
        if world.random.random() < 0.5:
            world.agenda.after(away_s, partial(_switch_on, world, machine))
    world.agenda.after(1.2 * world.timing.agent_down_time_s, _bind(operator_confirms_off, world))


def router_goes(world: World) -> None:
    """A router is deleted."""
    router_id = _any_router(world)
    if router_id is not None:
        world.store.delete_router(router_id)
        world.tell(RouterDeleted(id="api", router_id=router_id))


def _any_machine(world: World) -> Machine:
    return world.machines[world.random.choice(sorted(world.machines))]


def _any_router(world: World) -> RouterId | None:
    known = sorted(world.store.needs)
    return world.random.choice(known) if known else None


FAULTS: tuple[tuple[Callable[[World], None], int], ...] = (
    (power_failure, 6),
    (mass_power_failure, 2),
    (cut_link, 3),
    (agent_death, 2),
    (sickness, 3),
    (controller_crash, 4),
    (controller_crash_at_once, 1),
    (controller_pause, 3),
    (controller_stalls, 1),
    (store_failure, 2),
    (slow_store, 1),
    (operator_drains, 4),
    (operator_moves, 4),
    (operator_releases_brake, 1),
    (operator_forgets_host, 1),
    (router_comes, 2),
    (router_changes, 1),
    (router_goes, 1),
)

LEASE_FAULTS: tuple[tuple[Callable[[World], None], int], ...] = (
    (cut_data, 4),
    (cut_off, 3),
    (sentinel_restart, 4),
    (router_changes_mode, 3),
    (operator_moves, 3),
    (machine_replaced, 3),
    (arbiters_lost, 3),
    (operator_confirms_off, 5),
    (successors_power_failure, 3),
)
"""What happens besides, where hosts take part in leases."""
