"""Each fault, with real processes and real packets: what it must cost, and what must be true when it is over."""

import pytest
from chaos_lab import DOWN_TIME_S, running_lab, strike

from gapless.lab.faults import FAULTS
from gapless.lab.result import STEPS

pytestmark = pytest.mark.lab

DEAD_AFTER_MS = 2 * DOWN_TIME_S * 1000
REPAIRED = sorted(name for name in FAULTS if name.startswith("namespace-"))


async def test_a_host_loses_power_and_its_routers_run_elsewhere() -> None:
    async with running_lab(hosts=3, routers=6) as lab:
        outcome = await strike(lab, "agent-then-power", "host-2")
        found = outcome.result
        assert found.problems == []
        assert found.affected == found.moved > 0
        # The move was decided for silence, and the record of each move is whole and in order.
        assert found.timeline.detection.median >= DEAD_AFTER_MS
        assert len(outcome.moves) == found.moved
        for move in outcome.moves:
            assert (move["from_host"], move["kind"], move["outcome"]) == ("host-2", "reschedule", "confirmed")
            assert [step["step"] for step in move["timeline"]] == list(STEPS)
            times = [step["at"] for step in move["timeline"]]
            assert times == sorted(times)


async def test_the_log_says_what_operators_grep_for() -> None:
    async with running_lab(hosts=2, routers=1) as lab:
        (tenant,) = lab.tenants
        victim = (await lab.placement())[tenant.router_id][0]
        outcome = await strike(lab, "host-power", victim)
        assert outcome.result.problems == []
        (agent,) = [agent for agent in await lab.api.find("agent") if agent["host"] == victim]
        said = lab.controller.server.log.read_text()
    who = f"Rescheduling router {tenant.router_id} from agent {agent['id']}"
    assert f"{who} because the agent did not report to the server in the last 2 seconds." in said


@pytest.mark.parametrize("name", ["agent-kill", "sentinel-kill", "controller-kill", "controller-stop", "half-hosts"])
async def test_a_harmless_fault_costs_not_one_probe_and_moves_nothing(name: str) -> None:
    async with running_lab(hosts=3, routers=3) as lab:
        found = (await strike(lab, name)).result
        assert found.problems == []
        assert found.probes.lost == 0
        assert found.moved == 0


async def test_a_host_that_comes_back_first_removes_what_is_no_longer_its_own_and_carries_routers_again() -> None:
    async with running_lab(hosts=2, routers=2) as lab:
        found = (await strike(lab, "host-return", "host-1")).result
        assert found.problems == []
        assert lab.host("host-1").machine.router_namespaces() == {}
        # A candidate again: with the other host gone it is the only one left.
        outcome = await strike(lab, "host-power", "host-2")
        assert outcome.result.problems == []
        assert set(lab.host("host-1").machine.router_namespaces()) == {tenant.router_id for tenant in lab.tenants}


@pytest.mark.parametrize("name", ["mgmt-link", "sentinel-stop"])
async def test_a_host_that_was_only_out_of_sight_gives_up_what_moved_when_it_is_back(name: str) -> None:
    async with running_lab(hosts=3, routers=3) as lab:
        found = (await strike(lab, name)).result
        assert found.problems == []
        assert found.moved == found.affected > 0


@pytest.mark.parametrize("name", ["data-link", "ext-link"])
async def test_a_link_that_comes_back_brings_the_traffic_back(name: str) -> None:
    async with running_lab(hosts=2, routers=2) as lab:
        found = (await strike(lab, name)).result
        assert found.problems == []
        assert found.probes.lost > 0


@pytest.mark.parametrize("name", REPAIRED)
async def test_a_router_broken_from_inside_is_repaired_where_it_is(name: str) -> None:
    async with running_lab(hosts=1, routers=5) as lab:
        found = (await strike(lab, name)).result
        assert found.problems == []
        assert found.moved == 0
        assert found.probes.lost > 0
