"""Everything that is done to a fleet on purpose, drawn before anything happens.

A fault is a kind with what it hits and for how long; `KINDS` says how it is drawn and how it is done. Faults overlap in
any way. A seed uses a few kinds, often, rather than all of them seldom: that is how coincidences are met with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from gapless.core.edge.beatevents import Belated
from gapless.core.edge.gateways import QUESTION_S
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.router import RouterId
from gapless.sim.lease.network import Weather
from gapless.sim.lease.world import Fleet, World

BEGIN_S, LAST_S = 0.6, 2.8
LOSE_UPLINKS = "lose uplinks"
LOSE_GATEWAY = "lose gateway"
LOSE_ARBITERS = "lose arbiters"
REPLAY = "replay"
REPLAYS_EACH = 3
REFUSE = "kernel refuses"
REFUSALS_EACH = 4
"""One fleet of so many has kernels that take nothing for a while."""
LOSE_ANSWER = "lose answer"
ANSWERS_EACH = 5
"""One fleet of so many has kernels that open routers, whose answer is lost."""
UPLINKS_EACH = 4
"""One fleet of so many loses uplinks, and another one the gateway of all, besides all else."""
LOST_EACH = 5
"""One fleet of so many loses a quorum of its arbiters, and an operator confirms that."""
CONFIRMED_AFTER_S = 0.3
STALLED = ("HoldLease", "Activate", "Deactivate", "Withdraw", "Send", "Announce")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, at a time."""

    at: float
    kind: str
    what: tuple[Any, ...]

    def __str__(self) -> str:
        return " ".join([self.kind, *map(_word, self.what)])


def _word(each: Any) -> str:
    if isinstance(each, float):
        return f"{each:.3f}"
    return "+".join(sorted(each)) if isinstance(each, frozenset) else str(each)


def draw(random: Random, fleet: Fleet) -> list[Fault]:
    """A seed's faults, in the order of their times."""
    kinds = random.sample(sorted(KINDS), random.randint(2, 6))
    faults = []
    for _ in range(random.randint(3, 16)):
        kind = random.choice(kinds)
        at = BEGIN_S + (LAST_S - BEGIN_S) * random.random() ** 1.5
        faults.append(Fault(at, kind, KINDS[kind][0](random, fleet)))
    apart = [*_uplinks(fleet), *_losses(fleet), *_replays(fleet), *_refusals(fleet), *_lost_answers(fleet)]
    return sorted([*faults, *apart], key=lambda fault: fault.at)


def _losses(fleet: Fleet) -> list[Fault]:
    """Drawn apart, too."""
    if fleet.seed % LOST_EACH:
        return []
    random = Random(f"arbiters {fleet.seed}")
    cut = random.choice(fleet.hosts), random.uniform(0.0, 1.5), random.uniform(0.3, 1.5)
    times = random.uniform(0.0, 1.0), random.choice([0.0, 0.05, 0.6]), random.uniform(0.0, 1.5)
    return [Fault(random.uniform(BEGIN_S, LAST_S - 1.5), LOSE_ARBITERS, (random.randint(0, 2), *times, *cut))]


def _uplinks(fleet: Fleet) -> list[Fault]:
    """Drawn apart, so that they change no other fault."""
    random = Random(f"uplinks {fleet.seed}")
    if fleet.seed % UPLINKS_EACH == 1:
        skews = tuple(random.uniform(0.0, QUESTION_S) for _ in fleet.hosts)
        return [Fault(random.uniform(BEGIN_S, LAST_S), LOSE_GATEWAY, (random.uniform(QUESTION_S, 2.5), *skews))]
    if fleet.seed % UPLINKS_EACH:
        return []
    return [Fault(random.uniform(BEGIN_S, LAST_S), LOSE_UPLINKS, _host_while(random, fleet)) for _ in range(4)]


def _replays(fleet: Fleet) -> list[Fault]:
    """Somebody sends again what hosts sent in earlier incarnations: in one fleet of so many, often. Drawn apart."""
    random = Random(f"replays {fleet.seed}")
    if fleet.seed % REPLAYS_EACH != REPLAYS_EACH - 1:
        return []
    return [Fault(random.uniform(BEGIN_S, LAST_S), REPLAY, (random.choice(fleet.hosts),)) for _ in range(30)]


def _refusals(fleet: Fleet) -> list[Fault]:
    """Drawn apart, too."""
    random = Random(f"refusals {fleet.seed}")
    if fleet.seed % REFUSALS_EACH != REFUSALS_EACH - 2:
        return []
    return [Fault(random.uniform(BEGIN_S, LAST_S), REFUSE, _host_while(random, fleet)) for _ in range(3)]


def _lost_answers(fleet: Fleet) -> list[Fault]:
    """When routers are opened for the first time, and later. Drawn apart, too."""
    random = Random(f"answers {fleet.seed}")
    if fleet.seed % ANSWERS_EACH != ANSWERS_EACH - 1:
        return []
    times = [0.0, *(random.uniform(BEGIN_S, LAST_S) for _ in range(3))]
    return [Fault(at, LOSE_ANSWER, (random.choice(sorted(fleet.routers)), _while(random))) for at in times]


def schedule(world: World, faults: list[Fault]) -> None:
    """Put them down."""
    for fault in faults:
        world.schedule.put(fault.at, str(fault), partial(_happen, world, fault))


def _happen(world: World, fault: Fault) -> None:
    world.note(str(fault))
    apart: dict[str, Callable[..., None]] = {
        LOSE_UPLINKS: _lose_uplinks,
        LOSE_GATEWAY: _lose_gateway,
        LOSE_ARBITERS: _lose_arbiters,
        REPLAY: _replay,
        REFUSE: _refuse,
        LOSE_ANSWER: _lose_answer,
    }
    do = apart[fault.kind] if fault.kind in apart else KINDS[fault.kind][1]
    do(world, *fault.what)


def end_all(world: World) -> None:
    """Everything is mended."""
    world.note("no more faults")
    world.network.clear_up()
    world.unanswered.clear()
    for machine in world.machines.values():
        machine.is_linked = True
        machine.activations_to_fail = 0
        machine.refuse(is_refusing=False)
        machine.power_on()
        if not machine.has_uplinks:  # A gateway that all have lost comes back by itself, and each sees it in its time.
            machine.see_uplinks(are_there=True)
        if machine.sentinel is not None:
            machine.sentinel.stall = None


# Drawing


def _host(random: Random, fleet: Fleet) -> str:
    """A host's name, or the place of a host in a router's chain when the fault happens (0: the active one)."""
    if random.random() < 0.4:
        return random.choice(fleet.hosts)
    return f"{random.choice(sorted(fleet.routers))}:{random.choice([0, 0, 0, 1])}"


def _while(random: Random) -> float:
    """Short against the lease, about as long, or long."""
    return random.choice([random.uniform(0.01, 0.1), random.uniform(0.1, 0.6), random.uniform(0.6, 2.5)])


def _host_while(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    return _host(random, fleet), _while(random)


def _stall(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    return _host(random, fleet), random.choice(STALLED), _while(random)


def _way(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    return *random.sample(fleet.hosts, 2), _while(random)


def _part(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    part = random.sample(fleet.hosts, random.randint(1, len(fleet.hosts) - 1))
    return tuple(sorted(part)), random.choice(["in", "out", "both"]), _while(random)


def _weather(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    weather = Weather(
        loss=random.choice([0.0, 0.2, 0.5]),
        late=random.choice([0.0, 0.2, 0.6]),
        late_s=random.choice([0.05, 0.3, 1.0]),
        twice=random.choice([0.0, 0.3]),
    )
    return weather, _while(random)


def _router(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    return random.choice(sorted(fleet.routers)), random.choice([0, 0, 1, 1, 2])


def _arbiters(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    three = frozenset(random.sample(fleet.hosts, 3))
    return (frozenset(fleet.hosts) if fleet.is_replaced_by_five else three,)


def _several(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    return tuple(random.sample(fleet.hosts, 2)), random.uniform(0.0, 0.3), random.uniform(0.001, 0.2)


def _seconds(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    return (_while(random),)


def _router_only(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    return random.choice(sorted(fleet.routers)), random.uniform(0.02, 0.3)


def _host_times(random: Random, fleet: Fleet) -> tuple[Any, ...]:
    return _host(random, fleet), random.randint(1, 3)


# Doing


def _named(world: World, host: str) -> HostName:
    router_id, _, place = host.partition(":")
    if not place:
        return HostName(host)
    actors = world.controller.chains[RouterId(router_id)].actors
    name = actors[int(place)].tenure.host if int(place) < len(actors) else world.fleet.hosts[0]
    world.strike(f"{host} is {name}")
    return name


def _kill(world: World, host: str, for_s: float) -> None:
    machine = world.machines[_named(world, host)]
    machine.kill()
    world.agenda.after(for_s, machine.start)


def _kill_several(world: World, hosts: tuple[HostName, ...], apart_s: float, for_s: float) -> None:
    for number, host in enumerate(hosts):
        world.agenda.after(number * apart_s, partial(_kill, world, host, for_s))


def _power_failure(world: World, host: str, for_s: float) -> None:
    machine = world.machines[_named(world, host)]
    machine.power_off()
    world.agenda.after(for_s, machine.power_on)


def _pause(world: World, host: str, for_s: float) -> None:
    sentinel = world.machines[_named(world, host)].sentinel
    if sentinel is not None:
        sentinel.pause(for_s)


def _stall_effect(world: World, host: str, effect: str, for_s: float) -> None:
    sentinel = world.machines[_named(world, host)].sentinel
    if sentinel is not None:
        sentinel.stall = effect, for_s


def _cut_way(world: World, sender: HostName, to: HostName, for_s: float) -> None:
    world.network.cut(sender, to)
    world.agenda.after(for_s, partial(world.network.mend, sender, to))


def _cut_part(world: World, part: tuple[HostName, ...], way: str, for_s: float) -> None:
    for inside in part:
        for outside in world.machines.keys() - set(part):
            if way in ("in", "both"):
                _cut_way(world, outside, inside, for_s)
            if way in ("out", "both"):
                _cut_way(world, inside, outside, for_s)


def _bad_weather(world: World, weather: Weather, for_s: float) -> None:
    world.network.begin(weather)
    world.agenda.after(for_s, world.network.clear_up)


def _cut_link(world: World, host: str, for_s: float) -> None:
    machine = world.machines[_named(world, host)]
    machine.is_linked = False
    if machine.sentinel is not None:
        machine.sentinel.disconnect()
    world.agenda.after(for_s, partial(setattr, machine, "is_linked", True))


def _cut_controller(world: World, for_s: float) -> None:
    for host in world.machines:
        _cut_link(world, host, for_s)


def _isolate(world: World, host: str, for_s: float) -> None:
    _cut_part(world, (_named(world, host),), "both", for_s)


def _deafen(world: World, host: str, for_s: float) -> None:
    """Its datagrams leave, and none arrives."""
    _cut_part(world, (_named(world, host),), "in", for_s)


def _slow_then_mute(world: World, router_id: str, delay_s: float) -> None:
    """What is sent to the active host takes long, but not too long; then nothing of its own leaves any more."""
    host = _named(world, f"{router_id}:0")
    world.network.slow[host] = min(delay_s, 0.85 * world.fleet.timing.lease_s)
    world.agenda.after(0.9, partial(world.network.slow.update, {host: 0.0}))
    world.agenda.after(0.4, partial(_cut_part, world, (host,), "out", 0.5))


def _others_of(world: World, host: HostName) -> list[HostName]:
    return [each for each in world.controller.panel.arbiters if each != host]


def _make_forget(world: World, router_id: str, every_s: float) -> None:
    """The active host loses its control link and one arbiter, or two of five; the others, each of which an active host
    that is an arbiter then needs, restart again and again, one at a time.
    """
    host = _named(world, f"{router_id}:0")
    panel, all_others = world.controller.panel, _others_of(world, host)
    if len(panel.arbiters) < 3:
        return  # The panel began anew with one.
    losing = max(1, len(panel.sets[0]) // 2)
    lost, others = all_others[:losing], all_others[losing:]
    _cut_link(world, host, 2.0)
    for arbiter in lost:
        _cut_way(world, host, arbiter, 2.0)
    for number in range(6):
        world.agenda.after(0.5 + number * (0.45 + every_s), partial(_kill, world, others[number % len(others)], 0.001))


def _bury_by_halves(world: World, router_id: str, apart_s: float) -> None:
    """The active host loses its control link; then one arbiter after another loses it, buries it, and forgets that."""
    host = _named(world, f"{router_id}:0")
    _cut_link(world, host, 3.0)
    for number, arbiter in enumerate(_others_of(world, host)):
        begins_s = 0.3 + number * (1.1 + apart_s)
        world.agenda.after(begins_s, partial(_cut_way, world, host, arbiter, 0.5))
        world.agenda.after(begins_s + 0.5, partial(_kill, world, arbiter, 0.001))


def _bury_unborn(world: World, router_id: str, apart_s: float) -> None:
    """A host starts and gets no lease; it is claimed; the arbiters forget that; then they are reached after all."""
    host = _named(world, f"{router_id}:0")
    _kill(world, host, 0.01)
    _cut_part(world, (host,), "both", 1.6)
    world.agenda.after(0.3, partial(_cut_link, world, host, 3.0))
    for arbiter in _others_of(world, host):
        world.agenda.after(1.2 + apart_s / 3, partial(_kill, world, arbiter, 0.001))


def _fail_activations(world: World, host: str, count: int) -> None:
    world.machines[_named(world, host)].activations_to_fail = count


def _lose_uplinks(world: World, host: str, for_s: float) -> None:
    machine = world.machines[_named(world, host)]
    machine.see_uplinks(are_there=False)
    world.agenda.after(for_s, partial(machine.see_uplinks, are_there=True))


def _lose_gateway(world: World, for_s: float, *skews: float) -> None:
    """It stops answering everybody, and answers again; each host finds out in its own time, nobody should move."""
    for name, skew_s in zip(world.fleet.hosts, skews, strict=True):
        machine = world.machines[name]
        machine.has_gateway = False
        world.agenda.after(skew_s, partial(machine.see_gateway, is_there=False))
        world.agenda.after(for_s + QUESTION_S - skew_s, partial(machine.see_gateway, is_there=True))
    world.oracles.is_lost_by_all = True


def _lose_arbiters(
    world: World,
    first: int,
    late_s: float,
    off_s: float,
    unheard_s: float,
    cut: HostName,
    cut_after_s: float,
    cut_s: float,
) -> None:
    """A majority of the arbiters loses power; an operator who has looked confirms that. Then they are on again, with
    the panel of before on their disks, and the controller does not hear them for a while; nor another host.
    """
    arbiters = sorted(world.controller.panel.sets[0])
    lost = [*arbiters[first:], *arbiters[:first]][: len(arbiters) // 2 + 1]
    for host in lost:
        world.machines[host].is_linked = False
        world.machines[host].power_off()
    world.agenda.after(CONFIRMED_AFTER_S, partial(_confirm_off, world, lost, late_s))
    for host in lost:
        machine = world.machines[host]
        world.agenda.after(CONFIRMED_AFTER_S + off_s, machine.power_on)
        world.agenda.after(CONFIRMED_AFTER_S + off_s + unheard_s, partial(setattr, machine, "is_linked", True))
    world.agenda.after(CONFIRMED_AFTER_S + cut_after_s, partial(_cut_link, world, cut, cut_s))


def _confirm_off(world: World, hosts: list[HostName], late_s: float) -> None:
    """Only what is so: another fault may have switched one on."""
    if not any(world.machines[host].is_on for host in hosts):
        world.note(f"an operator confirms that {', '.join(hosts)} are off")
        world.controller.confirm_off(hosts, late_s)


def _replay(world: World, name: HostName) -> None:
    """A renewal of an earlier incarnation reaches everybody; the envelope tells them that it is one (`wire.lease`)."""
    present = world.machines[name].incarnation
    for machine in world.machines.values():
        if machine.name != name and present > 1:
            sender = Tenure(name, Incarnation(present - 1))
            machine.hear(Belated(sender=sender, highest=present))


def _refuse(world: World, host: str, for_s: float) -> None:
    machine = world.machines[_named(world, host)]
    machine.refuse(is_refusing=True)
    world.agenda.after(for_s, partial(machine.refuse, is_refusing=False))


def _lose_answer(world: World, router: RouterId, for_s: float) -> None:
    world.unanswered[router] = for_s


def _take(world: World, router: Any, index: int) -> None:
    world.controller.take(router, index)


def _snatch(world: World, router: RouterId, _: float) -> None:
    world.snatched.add(router)


def _replace_panel(world: World, arbiters: frozenset[HostName]) -> None:
    world.controller.replace_panel(arbiters)


Draw = Callable[[Random, Fleet], tuple[Any, ...]]
KINDS: dict[str, tuple[Draw, Callable[..., None]]] = {
    "kill": (_host_while, _kill),
    "kill several": (_several, _kill_several),
    "power failure": (_host_while, _power_failure),
    "pause": (_host_while, _pause),
    "stall before": (_stall, _stall_effect),
    "isolate": (_host_while, _isolate),
    "deafen": (_host_while, _deafen),
    "cut way": (_way, _cut_way),
    "cut part": (_part, _cut_part),
    "bad weather": (_weather, _bad_weather),
    "cut control link": (_host_while, _cut_link),
    "cut controller": (_seconds, _cut_controller),
    "slow then mute": (_router_only, _slow_then_mute),
    "make forget": (_router_only, _make_forget),
    "bury by halves": (_router_only, _bury_by_halves),
    "bury the unborn": (_router_only, _bury_unborn),
    "activations fail": (_host_times, _fail_activations),
    "take": (_router, _take),
    "take with the takeover": (_router_only, _snatch),
    "replace panel": (_arbiters, _replace_panel),
}
"""How each kind is drawn, and how it is done."""
