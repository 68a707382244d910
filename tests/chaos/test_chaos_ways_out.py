"""A host that lost its way out, and whose routers have no standbys: nobody can resign for them."""

import pytest
from chaos_lab import CLASSIC, PATIENCE_S, PATIENT_S, host_of, moves, reaches_outside, running_lab

from gapless.lab import faults
from gapless.lab.api import Item
from gapless.lab.lab import Lab
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab


async def test_classic_routers_leave_a_host_that_lost_its_way_out_and_do_not_come_back() -> None:
    async with running_lab(hosts=2, routers=4, mode=CLASSIC, down_time_s=PATIENT_S) as lab:
        leaving = [tenant for tenant in lab.tenants if await host_of(lab, tenant) == "host-1"]
        assert len(leaving) == 2
        fault = await faults.choose(lab, "uplink-lost", ["host-1"])
        await fault.strike(lab)
        words = lab.controller.server.last_words

        async def have_left() -> bool:
            return {router["host"] for router in await lab.api.routers()} == {"host-2"}

        await until(have_left, "all are on the host that has its way out", PATIENCE_S, words)
        for tenant in leaving:
            await until(lambda it=tenant: reaches_outside(lab, it), "it reaches the outside", PATIENCE_S, words)  # type: ignore[misc]
        assert (await host(lab, "host-1"))["lost_ways"].keys() >= {"external"}
        left = await moves(lab)
        assert {move["router_id"] for move in left} == {tenant.router_id for tenant in leaving}
        for move in left:
            route = (move["from_host"], move["to_host"], move["kind"], move["outcome"])
            assert route == ("host-1", "host-2", "drain", "confirmed")
            assert "host-1, which has lost its way out: external" in move["reason"]

        await fault.heal(lab)

        async def has_it_again() -> bool:
            return not (await host(lab, "host-1"))["lost_ways"]

        await until(has_it_again, "the host has its way out again", PATIENCE_S, words)
        assert await have_left(), "nothing moves back"


async def host(lab: Lab, name: str) -> Item:
    (found,) = [each for each in await lab.api.hosts() if each["name"] == name]
    return found
