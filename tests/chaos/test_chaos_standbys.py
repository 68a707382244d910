"""Each fault where standbys take over, with real processes and real packets, judged by what the fault says of itself:
traffic is back, each router is active on exactly one host, no frame was double active, what should move moved."""

import pytest
from chaos_lab import CLASSIC, PATIENCE_S, STANDBY, running_lab, said, some_thorough, strike

from gapless.lab import layout
from gapless.lab.expect import Bounds, Gap
from gapless.lab.faults import FAULTS
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

GENEROUS = Bounds(gap_ms={Gap.TAKEOVER: 5_000, Gap.LASTS: 60_000, Gap.REPAIR: 60_000})
"""A machine under load may be slow; it may not be an order of magnitude away, or nobody took over."""
EVERY_DAY = (
    "host-power",
    "agent-kill",
    "sentinel-stop",
    "two-arbiters-kill",
    "controller-then-power",
    "mgmt-link",
    "data-link-out",
    "uplink-lost",
)
TAKEN = ("missed", "silent", "buried", "opened", "announced", "confirmed")
TO_THE_STANDBY = ("host-power", "data-link", "sentinel-stop", "controller-then-power")


@pytest.mark.parametrize("name", some_thorough(FAULTS, EVERY_DAY))
async def test_what_a_fault_costs_with_standbys(name: str) -> None:
    async with running_lab(hosts=3, routers=6, mode=STANDBY) as lab:
        outcome = await strike(lab, name, bounds=GENEROUS)
        found = outcome.result
        assert found.problems == []
        assert (found.double_active_frames, found.wire.missed) == (0, 0)
        assert found.wire.frames > 0
        if name in TO_THE_STANDBY:
            # Nothing but a standby's own decision could have been so fast, and its record is whole and in order.
            assert len(outcome.moves) == found.moved == found.affected > 0
            for move in outcome.moves:
                steps = {step["step"]: step["at"] for step in move["timeline"]}
                times = [steps[step] for step in TAKEN if step in steps]
                assert times == sorted(times)
                assert move["outcome"] == "confirmed"


@pytest.mark.parametrize("victim", ["host-1", "host-2"])
async def test_two_hosts_take_over_from_each_other_with_an_arbiter_on_the_controllers_machine(victim: str) -> None:
    async with running_lab(hosts=2, routers=4, mode=STANDBY) as lab:
        hosts = {host["name"]: host for host in await lab.api.hosts()}
        assert {name for name, host in hosts.items() if host["arbiter"]} == {"host-1", "host-2", layout.CONTROLLER}
        found = (await strike(lab, "host-power", victim, bounds=GENEROUS)).result
        assert found.problems == []
        assert found.moved == found.affected == 2
        assert lab.controller.machine.router_namespaces() == {}


@pytest.mark.parametrize("hosts", [2, 3])
async def test_packed_routers_stay_where_they_are_when_others_join_and_all_move_when_their_host_dies(
    hosts: int,
) -> None:
    async with running_lab(hosts=hosts, routers=3, mode=STANDBY, packed=True) as lab:
        assert set(map(tuple, (await lab.placement()).values())) == {("host-1",)}
        assert {router["standby_state"] for router in await lab.api.routers()} == {"ready"}
        assert [move for move in await lab.api.failovers(limit=100) if move["from_host"]] == []
        outcome = await strike(lab, "host-power", bounds=GENEROUS)
        assert outcome.result.problems == []
        assert "host-1" in outcome.result.description
        assert outcome.result.moved == outcome.result.affected == outcome.result.routers == 3
        assert {move["from_host"] for move in outcome.moves} == {"host-1"}


async def test_two_hosts_alone_are_told_what_they_lack() -> None:
    async with running_lab(hosts=2, routers=0, mode=CLASSIC) as lab:

        async def told() -> bool:
            return said(lab.controller.server, "run `gapless host --capacity 0` on the controller's machine")

        await until(told, "the controller misses an arbiter", PATIENCE_S, lab.controller.server.last_words)
