"""Each fault in the classic way, with real processes and real packets: what it must cost, and what must be true when it
is over."""

import os
import signal
from datetime import datetime

import pytest
from chaos_lab import CLASSIC, DOWN_TIME_S, running_lab, some_thorough, strike

from gapless.errors import Unavailable
from gapless.lab import processes
from gapless.lab.events import FaultStruck, LabEvent
from gapless.lab.expect import Bounds, Gap
from gapless.lab.experiment import experiment
from gapless.lab.faults import FAULTS, choose
from gapless.model.router import FailoverMode

pytestmark = pytest.mark.lab

STEPS = ["last_heard", "decided", "bound", "sent", "built", "announced", "confirmed"]
DEAD_AFTER_MS = 2 * DOWN_TIME_S * 1000
STEPS = ["last_heard", "decided", "bound", "sent", "built", "announced", "confirmed"]
REPAIRED = sorted(name for name in FAULTS if name.startswith("namespace-"))


async def test_a_host_loses_power_and_its_routers_run_elsewhere() -> None:
    async with running_lab(hosts=3, routers=6, mode=CLASSIC) as lab:
        outcome = await strike(lab, "agent-then-power", "host-2")
        found = outcome.result
        assert found.problems == []
        assert found.affected == found.moved > 0
        assert (found.double_active_frames, found.wire.missed) == (0, 0)
        assert found.wire.frames > 0
        # The move was decided for silence, and the record of each move is whole and in order.
        assert found.timeline.detection.median >= DEAD_AFTER_MS
        assert len(outcome.moves) == found.moved
        for move in outcome.moves:
            assert (move["from_host"], move["kind"], move["outcome"]) == ("host-2", "reschedule", "confirmed")
            assert [step["step"] for step in move["timeline"]] == STEPS
            times = [step["at"] for step in move["timeline"]]
            assert times == sorted(times)


async def test_the_log_says_what_operators_grep_for() -> None:
    async with running_lab(hosts=2, routers=1, mode=CLASSIC) as lab:
        (tenant,) = lab.tenants
        victim = (await lab.placement())[tenant.router_id][0]
        outcome = await strike(lab, "host-power", victim)
        assert outcome.result.problems == []
        (agent,) = [agent for agent in await lab.api.find("agent") if agent["host"] == victim]
        said = lab.controller.server.log.read_text()
    who = f"Rescheduling router {tenant.router_id} from agent {agent['id']}"
    assert f"{who} because the agent did not report to the server in the last 2 seconds." in said


LINKS = ["data-link", "data-link-out", "data-link-in", "partition", "uplink-lost", "uplinks-lost"]
HARMLESS = [
    "agent-kill",
    "agent-stop",
    "sentinel-kill",
    "arbiter-kill",
    "two-arbiters-kill",
    "restart-all",
    "controller-kill",
    "controller-stop",
    "database-gone",
    "half-hosts",
]


def test_what_is_harmless_in_this_mode_is_tried_here() -> None:
    harmless = {name for name, kind in FAULTS.items() if kind.expects(FailoverMode.RESCHEDULE).gap is Gap.NONE}
    assert harmless == {*HARMLESS, "host-return"}


@pytest.mark.parametrize("name", some_thorough(HARMLESS, ["controller-kill"]))
async def test_a_harmless_fault_costs_not_one_probe_and_moves_nothing(name: str) -> None:
    async with running_lab(hosts=3, routers=3, mode=CLASSIC) as lab:
        found = (await strike(lab, name)).result
        assert found.problems == []
        assert found.probes.lost == 0
        assert found.moved == 0
        assert found.double_active_frames == 0


@pytest.mark.parametrize(
    "name", some_thorough(["controller-then-power", "database-then-power"], ["database-then-power"])
)
async def test_a_host_that_dies_while_there_is_no_control_plane_is_replaced_when_there_is_one(name: str) -> None:
    async with running_lab(hosts=3, routers=3, mode=CLASSIC) as lab:
        outcome = await strike(lab, name)
        found = outcome.result
        assert found.problems == []
        assert found.moved == found.affected > 0
        assert found.double_active_frames == 0
        # Nothing could be stored, so nothing begin, before the control plane was back.
        struck = datetime.fromisoformat(found.at)
        hold_s = FAULTS[name]().hold_s(lab.settings.liveness)
        bound = [step["at"] for move in outcome.moves for step in move["timeline"] if step["step"] == "bound"]
        assert len(bound) == found.moved
        assert all((datetime.fromisoformat(at) - struck).total_seconds() >= hold_s for at in bound)


async def test_a_database_that_is_gone_stores_nothing_until_it_is_back() -> None:
    async with running_lab(hosts=1, routers=0, mode=CLASSIC) as lab:
        fault = await choose(lab, "database-gone")
        await fault.strike(lab)
        with pytest.raises(Unavailable, match="is locked by another process"):
            await lab.api.create("network", name="unheard")
        await fault.heal(lab)
        await lab.api.create("network", name="heard")
        assert [network["name"] for network in await lab.api.find("network")] == ["heard"]


async def test_an_agent_that_hangs_is_replaced() -> None:
    async with running_lab(hosts=1, routers=1, mode=CLASSIC) as lab:
        (host,) = lab.hosts.values()
        first = host.agent()
        assert first is not None
        assert (await strike(lab, "agent-stop")).result.problems == []
        second = host.agent()
        assert second is not None
        assert second.pid != first.pid


@pytest.mark.thorough
async def test_a_flapping_link_costs_what_is_sent_meanwhile_and_moves_nothing() -> None:
    async with running_lab(hosts=2, routers=2, mode=CLASSIC) as lab:
        found = (await strike(lab, "host-flap")).result
        assert found.problems == []
        assert found.probes.lost > 0
        assert found.moved == 0


async def test_a_capture_that_dies_leaves_the_measurement_and_makes_its_own_figure_unknown() -> None:
    async with running_lab(hosts=1, routers=1, mode=CLASSIC) as lab:

        def end_it(event: LabEvent) -> None:
            if isinstance(event, FaultStruck):
                (sniffer,) = [one for one in processes.every() if "gapless.lab.sniffer" in one.argv]
                os.kill(sniffer.pid, signal.SIGKILL)

        lab.listen = end_it
        found = (await strike(lab, "agent-kill")).result
        assert found.double_active_frames == "unknown"
        assert "whether two hosts were active is unknown: the capture failed" in found.problems
        assert not found.ok
        assert (found.probes.sent > 0, found.probes.lost) == (True, 0)


async def test_a_bound_that_is_not_kept_is_a_problem() -> None:
    async with running_lab(hosts=2, routers=2, mode=CLASSIC) as lab:
        bounds = Bounds(gap_ms={Gap.RESCHEDULE: 1.0}, bystanders_ms=0.1)
        fault = await choose(lab, "host-power", ["host-1"])
        found = (await experiment(lab, fault, bounds)).result
        assert not found.ok
        assert ["may be 1 ms (reschedule)" in said or "was not struck" in said for said in found.problems] == [True] * 2


async def test_a_host_that_comes_back_first_removes_what_is_no_longer_its_own_and_carries_routers_again() -> None:
    async with running_lab(hosts=2, routers=2, mode=CLASSIC) as lab:
        found = (await strike(lab, "host-return", "host-1")).result
        assert found.problems == []
        assert lab.host("host-1").machine.router_namespaces() == {}
        # A candidate again: with the other host gone it is the only one left.
        outcome = await strike(lab, "host-power", "host-2")
        assert outcome.result.problems == []
        assert set(lab.host("host-1").machine.router_namespaces()) == {tenant.router_id for tenant in lab.tenants}


@pytest.mark.parametrize("name", some_thorough(["mgmt-link", "sentinel-stop"], ["sentinel-stop"]))
async def test_a_host_that_was_only_out_of_sight_gives_up_what_moved_when_it_is_back(name: str) -> None:
    async with running_lab(hosts=3, routers=3, mode=CLASSIC) as lab:
        found = (await strike(lab, name)).result
        assert found.problems == []
        assert found.moved == found.affected > 0
        # Until then both answer for its routers, and the lab sees it on the wire: this mode has no fence.
        assert found.double_active_frames != "unknown"
        assert found.double_active_frames > 0
        assert set(found.wire.double_active) <= set(found.gap_ms.per_router)


@pytest.mark.parametrize("name", some_thorough(LINKS, []))
async def test_a_link_that_comes_back_brings_the_traffic_back(name: str) -> None:
    async with running_lab(hosts=2, routers=2, mode=CLASSIC) as lab:
        found = (await strike(lab, name)).result
        assert found.problems == []
        assert found.probes.lost > 0


@pytest.mark.parametrize("name", some_thorough(REPAIRED, ["namespace-deleted"]))
async def test_a_router_broken_from_inside_is_repaired_where_it_is(name: str) -> None:
    async with running_lab(hosts=1, routers=5, mode=CLASSIC) as lab:
        found = (await strike(lab, name)).result
        assert found.problems == []
        assert found.moved == 0
        assert found.probes.lost > 0
