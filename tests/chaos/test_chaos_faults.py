"""Each fault in the classic way, with real processes and real packets: what it must cost, and what must be true when it
is over."""

import os
import signal
from collections.abc import Mapping
from datetime import datetime

import pytest
from chaos_lab import CLASSIC, DOWN_TIME_S, Turn, a_fault, everything_works, one_after_another, running_lab, strike

from gapless.errors import Unavailable
from gapless.lab.experiment import Outcome, experiment
from gapless.lab.faults import FAULTS, Fault, choose
from gapless.lab.findings.events import FaultStruck, LabEvent, nobody
from gapless.lab.findings.expect import Bounds, Gap
from gapless.lab.lab import Lab
from gapless.lab.machines import processes
from gapless.model.router import FailoverMode

pytestmark = pytest.mark.lab

DEAD_AFTER_MS = 2 * DOWN_TIME_S * 1000
TWO_S = 10.0
"""Of a host that looks dead and forwards on: others have built its routers by then, on a busy machine too."""
STEPS = ["last_heard", "decided", "bound", "sent", "built", "announced", "confirmed"]
REPAIRED = sorted(name for name, kind in FAULTS.items() if kind.expects(FailoverMode.RESCHEDULE).gap is Gap.REPAIR)


async def test_a_host_loses_power_and_its_routers_run_elsewhere_as_operators_grep_for_it() -> None:
    async with running_lab(hosts=3, routers=6, mode=CLASSIC) as lab:
        await strike(lab, "agent-then-power", "host-2", shows=rescheduled_step_by_step)
        (agent,) = [agent for agent in await lab.api.find("agent") if agent["host"] == "host-2"]
        moved = {move["router_id"] for move in await lab.api.failovers() if move["from_host"] == "host-2"}
        log = lab.controller.server.log.read_text()
        why = "because the agent did not report to the server in the last 2 seconds."
        for router_id in moved:
            assert f"Rescheduling router {router_id} from agent {agent['id']} {why}" in log


def rescheduled_step_by_step(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    found = outcome.result
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


LINKS = [
    "data-link",
    "data-link-out",
    "data-link-in",
    "partition",
    "uplink-lost",
    "uplinks-lost",
    "gateway-lost",
    "gateway-silent",
]
HARMLESS = [
    "agent-kill",
    "host-reload",
    "agent-stop",
    "agent-unable",
    "state-gone",
    "sentinel-kill",
    "host-stop",
    "arbiter-kill",
    "two-arbiters-kill",
    "restart-all",
    "controller-kill",
    "controller-stop",
    "database-gone",
    "half-hosts",
    "cpu-hogs",
    "namespace-deleted",
]


def test_what_is_harmless_in_this_mode_is_tried_here() -> None:
    harmless = {name for name, kind in FAULTS.items() if kind.expects(FailoverMode.RESCHEDULE).gap is Gap.NONE}
    assert harmless == {*HARMLESS, "host-return", "old-disk"}, "the last one is only tried where there are leases"


def nothing_was_noticed(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    found = outcome.result
    assert (found.probes.lost, found.moved, found.double_active_frames) == (0, 0, 0)


def nobody_moved(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """What is sent meanwhile is lost, or until it is repaired."""
    assert (outcome.result.moved, outcome.moves) == (0, ())
    assert outcome.result.probes.lost > 0


def two_were_active_until_it_was_back(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Until then both answer for its routers, and the lab sees it on the wire: this mode has no fence."""
    found = outcome.result
    assert found.moved == found.affected > 0
    assert found.double_active_frames != "unknown"
    assert found.double_active_frames > 0
    assert {each.router_id for each in found.wire.double_active} <= set(found.gap_ms.per_router)


def replaced_when_there_was_a_control_plane(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Nothing could be stored, so nothing begin, before the control plane was back."""
    found = outcome.result
    assert found.moved == found.affected > 0
    assert found.double_active_frames == 0
    struck = datetime.fromisoformat(found.at)
    hold_s = fault.hold_s(lab.settings.liveness)
    bound = [step["at"] for move in outcome.moves for step in move["timeline"] if step["step"] == "bound"]
    assert len(bound) == found.moved
    assert all((datetime.fromisoformat(at) - struck).total_seconds() >= hold_s for at in bound)


async def an_agent_that_hangs_is_replaced(lab: Lab) -> None:
    host = await lab.busiest_host()
    first = host.agent()
    assert first is not None
    await strike(lab, "agent-stop", host.name, shows=nothing_was_noticed)
    second = host.agent()
    assert second is not None
    assert second.pid != first.pid


async def changes_resume_after_the_controller_was_killed(lab: Lab) -> None:
    await strike(lab, "controller-kill", shows=nothing_was_noticed)
    await lab.add_tenants(1)
    await everything_works(lab)


async def a_database_that_is_gone_stores_nothing_until_it_is_back(lab: Lab) -> None:
    fault = await choose(lab, "database-gone")
    await fault.strike(lab)
    try:
        with pytest.raises(Unavailable, match="is locked by another process"):
            await lab.api.create("network", name="unheard")
    finally:
        await fault.heal(lab)
    await lab.api.create("network", name="heard")
    names = {network["name"] for network in await lab.api.find("network")}
    assert ("heard" in names, "unheard" in names) == (True, False)


async def a_capture_that_dies_leaves_the_measurement_and_makes_its_own_figure_unknown(lab: Lab) -> None:
    def end_it(event: LabEvent) -> None:
        if isinstance(event, FaultStruck):
            (sniffer,) = [one for one in processes.every() if "gapless.lab.measuring.sniffer" in one.argv]
            os.kill(sniffer.pid, signal.SIGKILL)

    lab.listen = end_it
    try:
        found = (await experiment(lab, await choose(lab, "agent-kill"))).result
    finally:
        lab.listen = nobody
    assert found.double_active_frames == "unknown"
    assert found.problems[-1] == "whether two hosts were active is unknown: the capture failed"
    assert not found.ok
    assert (found.probes.sent > 0, found.probes.lost) == (True, 0)


DAILY: Mapping[str, Turn] = {
    "agent-kill": a_fault("agent-kill", shows=nothing_was_noticed),
    "controller-kill": changes_resume_after_the_controller_was_killed,
    "restart-all": a_fault("restart-all", shows=nothing_was_noticed),
    "half-hosts": a_fault("half-hosts", shows=nothing_was_noticed),
    "a database that is gone": a_database_that_is_gone_stores_nothing_until_it_is_back,
    "a capture that dies": a_capture_that_dies_leaves_the_measurement_and_makes_its_own_figure_unknown,
    "sentinel-stop": a_fault("sentinel-stop", hold_s=TWO_S, shows=two_were_active_until_it_was_back),
    "database-then-power": a_fault("database-then-power", shows=replaced_when_there_was_a_control_plane),
}
LINKED: Mapping[str, Turn] = {name: a_fault(name, shows=nobody_moved) for name in [*LINKS, "host-flap"]}
MORE: Mapping[str, Turn] = {
    **{name: a_fault(name, shows=nothing_was_noticed) for name in HARMLESS if name not in {*DAILY, "agent-stop"}},
    "agent-stop": an_agent_that_hangs_is_replaced,
    "mgmt-link": a_fault("mgmt-link", hold_s=TWO_S, shows=two_were_active_until_it_was_back),
    "reboot-all": a_fault("reboot-all"),
    "controller-then-power": a_fault("controller-then-power", shows=replaced_when_there_was_a_control_plane),
}


@pytest.mark.parametrize(
    "turns",
    [
        pytest.param(DAILY, id="daily"),
        pytest.param(MORE, id="more", marks=pytest.mark.thorough),
        pytest.param(LINKED, id="links", marks=pytest.mark.thorough),
    ],
)
async def test_what_faults_cost_one_after_another(turns: Mapping[str, Turn]) -> None:
    async with running_lab(hosts=3, routers=6, mode=CLASSIC) as lab:
        await one_after_another(lab, turns)


async def test_a_host_that_comes_back_first_removes_what_is_no_longer_its_own_and_carries_routers_again() -> None:
    async with running_lab(hosts=2, routers=2, mode=CLASSIC) as lab:
        await strike(lab, "host-return", "host-1")
        assert lab.host("host-1").machine.router_namespaces() == {}
        # A candidate again: with the other host gone it is the only one left.
        await strike(lab, "host-power", "host-2")
        assert set(lab.host("host-1").machine.router_namespaces()) == {tenant.router_id for tenant in lab.tenants}


async def a_bound_that_is_not_kept_is_a_problem(lab: Lab) -> None:
    fault = await choose(lab, "namespace-broken", ["host-1"])
    bounds = Bounds(gap_ms={Gap.REPAIR: 1.0}, bystanders_ms=0.1)
    found = (await experiment(lab, fault, bounds)).result
    assert not found.ok
    assert ["may be 1 ms (repair)" in said or "was not struck" in said for said in found.problems] == [True] * 2


BROKEN: Mapping[str, Turn] = {
    "namespace-broken": a_fault("namespace-broken", shows=nobody_moved),
    "a bound that is not kept": a_bound_that_is_not_kept_is_a_problem,
}
BROKEN_ONE_WAY: Mapping[str, Turn] = {
    name: a_fault(name, shows=nobody_moved) for name in REPAIRED if name not in BROKEN
}


@pytest.mark.parametrize(
    "turns", [pytest.param(BROKEN, id="five-ways"), pytest.param(BROKEN_ONE_WAY, id="one", marks=pytest.mark.thorough)]
)
async def test_routers_broken_from_inside_are_repaired_where_they_are(turns: Mapping[str, Turn]) -> None:
    """Five on each host, so that each is broken in another way."""
    async with running_lab(hosts=2, routers=10, mode=CLASSIC) as lab:
        await one_after_another(lab, turns)


async def test_routers_that_cannot_be_repaired_are_built_elsewhere() -> None:
    async with running_lab(hosts=2, routers=4, mode=CLASSIC) as lab:
        await strike(lab, "namespace-unrepairable", "host-1", shows=left_for_want_of_repair)


def left_for_want_of_repair(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    assert outcome.result.affected == outcome.result.moved > 0
    assert {(move["from_host"], move["kind"]) for move in outcome.moves} == {("host-1", "retry")}
    words = [move["reason"] for move in outcome.moves]
    assert all("was not made by Gapless" in said for said in words), words
