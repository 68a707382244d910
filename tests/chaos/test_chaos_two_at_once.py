"""Two hosts at once, or one after the other: host and standby die, are cut off together, or a successor dies of its
claim. Real processes and real packets, judged as in the tests of single faults.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

import pytest
from chaos_lab import PATIENT_S, STANDBY, one_after_another, running_lab, said_since, some_thorough, strike
from chaos_takeovers import BOUNDS, HOLD_S, HOLDS, TOOK_OVER, taken_over, without_double_active_frames

from gapless.lab.api import Item
from gapless.lab.experiment import Outcome
from gapless.lab.faults import Fault
from gapless.lab.faults.machines import HostPower
from gapless.lab.faults.successor import ENDED, SuccessorDies
from gapless.lab.lab import Lab
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

TWO_AT_ONCE = ("two-hosts-power", "controller-then-two-hosts")
CLASSIC_S = 75.0
BURIED_S = 45.0
"""Ten seconds of patience after the burial, and a machine under load that builds."""


@pytest.mark.parametrize("name", some_thorough(TWO_AT_ONCE, [TWO_AT_ONCE[1]]))
async def test_of_five_hosts_two_are_cut_off_together_and_then_a_host_and_its_first_standby_die(name: str) -> None:
    """In one lab: when those are back that were cut off, everything is well again."""
    async with running_lab(hosts=5, routers=10, standbys=2, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        hosts = {host["name"]: host for host in await lab.api.hosts()}
        assert sum(host["arbiter"] for host in hosts.values()) == 5
        turns = {"partition": a_pair_is_succeeded_beyond_the_cut, name: partial(the_second_takes_over, name)}
        await one_after_another(lab, turns)


async def the_second_takes_over(name: str, lab: Lab) -> None:
    await lab.standbys_ready()
    pair = {host.name for host in await lab.fatal_pair()}
    ranked = {router["router_id"]: router for router in await lab.api.routers()}
    both = {each for each, router in ranked.items() if {router["host"], router["standby"]} == pair}
    outcome = await strike(lab, name, *sorted(pair), bounds=BOUNDS, hold_s=HOLD_S, shows=taken_over)
    moved = {move["router_id"]: move for move in outcome.moves}
    assert both
    for each in both:
        assert moved[each]["to_host"] == ranked[each]["standbys"][1]["host"]
        assert moved[each]["epoch"] > ranked[each]["epoch"] + 1, "above the first standby's, which came before it"


async def test_of_four_hosts_two_are_cut_off_together_and_succeeded_beyond_the_cut() -> None:
    """They are as many as the others, of whom two are arbiters, and of them one."""
    async with running_lab(hosts=4, routers=10, standbys=2, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        await a_pair_is_succeeded_beyond_the_cut(lab)


async def a_pair_is_succeeded_beyond_the_cut(lab: Lab) -> None:
    """The two hear each other, and have rights on each other's routers."""
    pair = await a_pair_without_a_quorum(lab)
    ranked = {router["router_id"]: router for router in await lab.api.routers()}
    outcome = await strike(lab, "partition", *pair, bounds=BOUNDS, hold_s=HOLD_S, shows=taken_over)
    moved = {move["router_id"]: move["to_host"] for move in outcome.moves}
    assert moved.keys() == {each for each, router in ranked.items() if router["host"] in pair}
    for each, host in moved.items():
        beyond = [standby["host"] for standby in ranked[each]["standbys"] if standby["host"] not in pair]
        assert host == beyond[0]
    after = await lab.placement()
    assert {each: after[each] for each in moved} == {each: [host] for each, host in moved.items()}


async def a_pair_without_a_quorum(lab: Lab) -> list[str]:
    """Two hosts of which each is the first standby of a router of the other, and that are not a quorum with nobody."""
    arbiters = {host["name"] for host in await lab.api.hosts() if host["arbiter"]}
    ways = Counter((router["host"], router["standby"]) for router in await lab.api.routers())
    mutual = [
        (one, other) for one, other in ways if (other, one) in ways and 2 * len(arbiters & {one, other}) < len(arbiters)
    ]
    return sorted(max(mutual, key=lambda way: ways[way]))


async def test_a_host_and_its_only_standby_die_together_and_a_third_builds_what_they_had_in_seconds() -> None:
    """Nobody else may succeed that host and would claim it; and by its own ears the controller would wait a minute."""
    async with running_lab(hosts=5, routers=4, mode=STANDBY, down_time_s=CLASSIC_S) as lab:
        arbiters = {host["name"] for host in await lab.api.hosts() if host["arbiter"]}
        heirs: dict[str, set[str]] = {}
        for each in (routers := await lab.api.routers()):
            heirs.setdefault(each["host"], set()).add(each["standby"])
        home, pair = next(
            (name, {name, *heir}) for name, heir in heirs.items() if len(heir) == 1 and not {name, *heir} <= arbiters
        )
        lost = {each["router_id"] for each in routers if each["host"] == home}
        await HostPower([lab.hosts[name] for name in sorted(pair)]).strike(lab)

        async def are_active_elsewhere() -> bool:
            found = [each for each in await lab.api.routers() if each["router_id"] in lost]
            return all(each["host"] not in pair and each["state"] == "active" for each in found)

        await until(are_active_elsewhere, f"what {home} had runs elsewhere", BURIED_S)


async def test_a_successor_dies_in_the_middle_of_its_takeover() -> None:
    async with running_lab(hosts=3, routers=6, mode=STANDBY) as lab:
        await strike(lab, "successor-dies", bounds=BOUNDS, shows=the_successor_died_of_its_claim)


def the_successor_died_of_its_claim(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    without_double_active_frames(lab, fault, outcome)
    assert isinstance(fault, SuccessorDies)
    assert fault.successor is not None
    struck = datetime.fromisoformat(outcome.result.at)
    claimed = datetime.fromtimestamp(fault.claimed_at, struck.tzinfo)
    logged = said_since(fault.successor.sentinel, struck)
    ended = next(at for at, line in logged if ENDED in line)
    # Its own claim, in vain, then its death.
    assert struck < claimed <= ended + timedelta(milliseconds=1)
    assert not [line for at, line in logged if at <= ended and TOOK_OVER.search(line)]
    assert any(HOLDS in line for at, line in logged if at > ended)
    assert outcome.result.moved >= outcome.result.affected > 0


async def test_the_second_standby_takes_over_when_the_first_dies_in_the_middle_of_its_takeover() -> None:
    async with running_lab(hosts=5, routers=10, standbys=2, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        ranked = {router["router_id"]: router for router in await lab.api.routers()}
        shows = partial(the_second_took_over, ranked)
        await strike(lab, "successor-dies", bounds=BOUNDS, hold_s=HOLD_S, shows=shows)


def the_second_took_over(ranked: Mapping[str, Item], lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Before the first was started again; and what was active on the first, its own successors."""
    the_successor_died_of_its_claim(lab, fault, outcome)
    assert isinstance(fault, SuccessorDies)
    assert fault.successor is not None
    (struck,), first = fault.names, fault.successor.name
    moved = {move["router_id"]: move for move in outcome.moves}
    its = [each for each, router in ranked.items() if (router["host"], router["standby"]) == (struck, first)]
    assert its
    for each in its:
        assert moved[each]["to_host"] == ranked[each]["standbys"][1]["host"]
        assert moved[each]["epoch"] > ranked[each]["epoch"] + 1, "above the first standby's, which came before it"
    since = datetime.fromisoformat(outcome.result.at)
    healed = datetime.fromtimestamp(fault.claimed_at, since.tzinfo) + timedelta(seconds=HOLD_S)
    logged = [line for host in lab.hosts.values() for at, line in said_since(host.sentinel, since) if at < healed]
    counts = [int(match[1]) for line in logged if (match := TOOK_OVER.search(line)) and match[2] in (struck, first)]
    assert sum(counts) == sum(router["host"] in (struck, first) for router in ranked.values())
