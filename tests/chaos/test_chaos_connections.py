"""Connections through routers and the loss of the host that carried them, with real processes and real packets."""

import os
import signal
from functools import partial

import pytest
from chaos_lab import PATIENT_S, STANDBY, running_lab, strike, the_busiest

from gapless.lab.experiment import Outcome
from gapless.lab.faults import Fault
from gapless.lab.findings.expect import Bounds, Gap
from gapless.lab.lab import START_TIMEOUT_S, Lab
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.measuring.connections import Kind
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

CONNECTIONS = 48
BOUNDS = Bounds(gap_ms={Gap.TAKEOVER: 4_000})
"""Of probes. A connection hides an outage: TCP waits longer and longer, and goes on."""


def all_survive(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    found = outcome.result.connections
    assert found is not None
    kinds = {kind: each.connections for kind, each in found.struck.items()}
    assert all(kinds.values()), kinds
    assert [each for each in (*found.struck.values(), found.bystanders) if each.lost] == []


def only_those_survive_that_are_driven_from_inside_or_have_an_address(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Their first packet is translated as before: SNAT keeps the port, and a floating IP is one address for another."""
    found = outcome.result.connections
    assert found is not None
    for kind in (Kind.UPLOAD, Kind.UDP, Kind.UDP_DOWNLOAD, Kind.FLOATING_DOWNLOAD, Kind.FLOATING_UPLOAD):
        assert found.struck[kind].lost == 0, kind
    for kind in (Kind.DOWNLOAD, Kind.IDLE):
        assert found.struck[kind].survived == 0 < found.struck[kind].stalled


async def test_connections_survive_one_takeover_after_another() -> None:
    """The second one strikes a host that has taken over, and whose flows the first one, back, has copied."""
    async with running_lab(3, 6, mode=STANDBY, down_time_s=PATIENT_S, flows=CONNECTIONS) as lab:
        first = await the_busiest(lab)
        await strike(lab, "host-power", *first, bounds=BOUNDS, shows=all_survive)
        for name in first:
            await lab.host(name).power_on()
            await lab.start_hosts([lab.host(name)])
        await lab.hosts_alive(*first)
        await lab.arbiters_settled()
        await lab.standbys_ready()
        await strike(lab, "host-power", *await the_busiest(lab), bounds=BOUNDS, shows=all_survive)


@pytest.mark.thorough
async def test_without_copies_only_those_survive_that_are_driven_from_inside() -> None:
    """What the test above sees, it would see missing."""
    async with running_lab(3, 6, mode=STANDBY, down_time_s=PATIENT_S, flows=CONNECTIONS, flow_sync=False) as lab:
        await strike(
            lab,
            "host-power",
            *await the_busiest(lab),
            shows=only_those_survive_that_are_driven_from_inside_or_have_an_address,
        )


@pytest.mark.thorough
async def test_the_flows_process_may_die_and_connections_survive_a_takeover_later() -> None:
    async with running_lab(3, 6, mode=STANDBY, down_time_s=PATIENT_S, flows=CONNECTIONS) as lab:
        for host in lab.hosts.values():
            for process in host.flows():
                os.kill(process.pid, signal.SIGKILL)
        await strike(lab, "host-power", *await the_busiest(lab), bounds=BOUNDS, shows=all_survive)


async def standbys_say_so(lab: Lab) -> bool:
    return all(standby["copied"] for router in await lab.api.routers() for standby in router["standbys"])


async def test_connections_survive_a_drain() -> None:
    """The host lives, and closes each router before another one opens it."""
    settings = {"mode": STANDBY, "down_time_s": PATIENT_S, "flows": CONNECTIONS}
    async with running_lab(3, 6, **settings) as lab, lab.talking() as talking:
        await lab.connections_copied(talking.flows)
        await until(partial(standbys_say_so, lab), "every standby says that it has all connections", START_TIMEOUT_S)
        drained = (await lab.busiest_host()).name
        (agent,) = await lab.api.find("agent", host=drained)
        await lab.api.update("agent", agent["id"], admin_state_up=False)
        await lab.routers_active(on=lambda name: name != drained)
        courses = await talking.end(LAB_DIR / "connections")
        assert [course for course in courses if course.broken or not course.is_heard] == []
