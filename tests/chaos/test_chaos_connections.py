"""Connections through routers and the loss of the host that carried them, with real processes and real packets."""

import os
import signal
from functools import partial
from itertools import chain

import pytest
from chaos_lab import PATIENCE_S, PATIENT_S, STANDBY, running_lab, said, strike, the_busiest

from gapless.config import FLOWS_PORT
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


HELD = f"""table ip held {{
 chain in {{ type filter hook input priority 0; tcp sport {FLOWS_PORT} drop; tcp dport {FLOWS_PORT} drop; }}
}}
"""


async def test_a_router_that_is_to_move_waits_until_its_standby_has_its_connections() -> None:
    """They begin while nothing of the flow stream arrives at the standby."""
    settings = {"mode": STANDBY, "down_time_s": PATIENT_S, "flows": 16, "packed": True}
    async with running_lab(2, 2, **settings) as lab:
        await until(partial(standbys_say_so, lab), "every standby says that it has all connections", START_TIMEOUT_S)
        standby = lab.host("host-2")
        await standby.machine.run("nft", "-f", "-", given=HELD)
        async with lab.talking() as talking:

            async def standby_says_not() -> bool:
                return not any(each["copied"] for router in await lab.api.routers() for each in router["standbys"])

            await until(standby_says_not, "the standby says that it has not all connections", START_TIMEOUT_S)
            (shift,) = await lab.api.rebalance(1)
            assert (shift["from_host"], shift["to_host"]) == ("host-1", standby.name)

            async def waits() -> bool:
                reasons = {each["router_id"]: each["reason"] for each in await lab.api.routers()}
                return f"waits until {standby.name} has all of its connections" in reasons[shift["router_id"]]

            await until(waits, "the router waits for its connections", PATIENCE_S)
            assert set(chain(*(await lab.placement()).values())) == {"host-1"}
            await standby.machine.run("nft", "delete", "table", "ip", "held")
            await lab.routers_at({shift["router_id"]: standby.name})
            courses = await talking.end(LAB_DIR / "connections")
        assert [course for course in courses if course.broken or not course.is_heard] == []
        assert not said(lab.controller.server, "some may break")
