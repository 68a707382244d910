"""Whole fleets on virtual time. `make sim` runs many more."""

import os
import subprocess
import sys
from random import Random

import pytest

from gapless.core.events import RouterNeeds
from gapless.model.host import HostFacts, HostName, InstanceId
from gapless.model.router import FailoverMode, RouterId
from gapless.sim.__main__ import main
from gapless.sim.run import run
from gapless.sim.world import Pace, World

SEEDS = 200
STANDBY_SEEDS = 100


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 50))
def test_every_oracle_holds(first: int) -> None:
    for seed in range(first, first + 50):
        violation = run(seed).violation
        assert not violation, f"again: python -m gapless.sim --seed {seed} --story"


@pytest.mark.parametrize("first", range(1, STANDBY_SEEDS + 1, 25))
def test_every_oracle_holds_with_standbys(first: int) -> None:
    for seed in range(first, first + 25):
        violation = run(seed, has_leases=True).violation
        assert not violation, f"again: python -m gapless.sim standby --seed {seed} --story"


@pytest.mark.parametrize("seed", [1419, 2544])
def test_an_outage_of_all_is_over_with_all_faults_also_where_one_host_has_no_way_out_for_life(seed: int) -> None:
    """The routers of that one may leave it, although the outage was to last longer."""
    outcome = run(seed, has_leases=True)
    assert not outcome.violation
    story = [line.split(maxsplit=1)[1] for line in outcome.story]
    end = story.index("no more faults")
    assert any(line.startswith("the outside is gone for") for line in story[:end])
    assert any(line.endswith("has no way out any more") for line in story[end:])
    assert any("which has lost its way out" in line for line in story[end:])


def test_a_standby_that_a_new_controller_asks_for_again_is_known_to_be_built() -> None:
    """It left the host's plan, and came back before anything of it was removed."""
    outcome = run(4761, has_leases=True)
    assert not outcome.violation
    assert any("r5 leaves h1" in line for line in outcome.story)


def test_who_dies_before_it_can_say_that_the_outside_is_gone_is_not_known_to_have_lost_it() -> None:
    assert not run(1703).violation


def test_fleets_with_standbys_are_worth_running() -> None:
    stories = ["\n".join(run(seed, has_leases=True).story) for seed in range(1, 46)]
    for sign in (
        "took over router",
        "is made active anew",
        "will not succeed",
        "guards it now",
        "no standby",
        "ask h",
        "the one before is still on",
        "the leases of",
    ):
        assert any(sign in story for story in stories), sign


@pytest.mark.parametrize("standbys", [2, 3])
def test_a_router_s_host_and_its_first_standbys_dead_at_once_are_succeeded_without_a_controller(standbys: int) -> None:
    world = World(Random(standbys), Pace(report_interval_s=1.6, agent_down_time_s=4.0), standbys=standbys)
    world.has_leases = True
    for number in range(2 * standbys + 1):  # As many arbiters, of which a quorum is left.
        world.add_machine(host(number + 1))
    for number in range(1, 13):
        world.want(RouterNeeds(router_id=RouterId(f"r{number}"), mode=FailoverMode.STANDBY))
    world.begin()
    world.settle()
    assert world.controller is not None
    world.restart_after_s = lambda: 1e6  # type: ignore[method-assign]
    world.controller.crash()
    binding = world.store.bindings[RouterId("r1")]
    for name in (binding.host, *(each.tenure.host for each in binding.successors[: standbys - 1])):
        world.machines[name].power_off()
    world.agenda.run_until(world.agenda.now + 5)
    for router_id in world.store.needs:
        (_,) = [name for name, machine in world.machines.items() if machine.guard.forwards(router_id)]
    assert world.machines[binding.successors[-1].tenure.host].guard.forwards(RouterId("r1"))


def host(number: int) -> HostFacts:
    return HostFacts(
        name=HostName(f"h{number}"),
        instance=InstanceId(f"00000000-0000-4000-8000-{number:012d}"),
        availability_zone="nova",
        capacity=100,
        physical_networks=(),
        data_address=f"192.0.2.{number}",
        lease_address=f"192.0.2.{number}:9698",
    )


def test_fleets_are_worth_running() -> None:
    """Faults that never lead to a move would prove nothing."""
    stories = ["\n".join(run(seed).story) for seed in range(1, 31)]
    for sign in (
        "Rescheduling router",
        "The brake is engaged",
        "which cannot run it",
        "taken out of service",
        "was stopped",
    ):
        assert any(sign in story for story in stories), sign


def test_a_seed_tells_the_same_story_each_time() -> None:
    """In another process, too, where sets of names have another order."""
    stories = {
        subprocess.run(
            [sys.executable, "-m", "gapless.sim", "--seed", "7", "--story"],
            env=os.environ | {"PYTHONHASHSEED": order},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.partition(" virtual hours in ")[0]
        for order in ("1", "2")
    }
    assert len(stories) == 1


def test_the_command_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "5", "--seeds", "2", "--story"]) == 0
    told = capsys.readouterr().out
    assert "the controller starts" in told
    assert told.strip().endswith("every oracle held")
