"""A host that lost its way out and cannot resign, since it alone has one of its routers."""

import pytest
from chaos_lab import PATIENCE_S, PATIENT_S, STANDBY, host_of, reaches_outside, running_lab

from gapless.lab import faults
from gapless.lab.lab import Lab
from gapless.lab.tenants import Tenant
from gapless.lab.waiting import until
from gapless.model.router import FailoverMode

pytestmark = pytest.mark.lab

LEFT = "which has lost its way out"


async def test_routers_leave_a_host_without_its_way_out_but_for_the_one_that_nobody_else_has() -> None:
    async with running_lab(hosts=2, routers=3, mode=STANDBY, down_time_s=PATIENT_S, packed=True) as lab:
        alone, *others = lab.tenants
        await lab.api.update("router", alone.router_id, failover_mode=str(FailoverMode.OFF))

        async def has_no_standby() -> bool:
            return not (await shown(lab, alone))["standbys"]

        await until(has_no_standby, "one router has no standby", PATIENCE_S, lab.controller.server.last_words)
        fault = await faults.choose(lab, "uplink-lost", ["host-1"])
        await fault.strike(lab)

        async def have_left() -> bool:
            return all([await host_of(lab, tenant) == "host-2" for tenant in others])

        await until(have_left, "those with a standby have left", PATIENCE_S, lab.controller.server.last_words)
        for tenant in others:

            async def reaches(tenant: Tenant = tenant) -> bool:
                return await reaches_outside(lab, tenant)

            await until(reaches, "they reach the outside", PATIENCE_S, lab.host("host-2").sentinel.last_words)
        assert await host_of(lab, alone) == "host-1"
        (host,) = [host for host in await lab.api.hosts() if host["name"] == "host-1"]
        assert list(host["lost_ways"]) == ["external"]
        moves = [move for move in await lab.api.failovers(limit=100) if move["from_host"] == "host-1"]
        assert {move["router_id"] for move in moves} == {tenant.router_id for tenant in others}
        assert {(move["to_host"], move["kind"], move["outcome"]) for move in moves} == {
            ("host-2", "drain", "confirmed")
        }
        assert all(LEFT in move["reason"] for move in moves)
        await fault.heal(lab)

        async def has_it_again() -> bool:
            (host,) = [host for host in await lab.api.hosts() if host["name"] == "host-1"]
            return not host["lost_ways"] and await reaches_outside(lab, alone)

        await until(has_it_again, "the host has its way out again", PATIENCE_S, lab.controller.server.last_words)
        assert all([await host_of(lab, tenant) == "host-2" for tenant in others]), "nothing moves back"


async def shown(lab: Lab, tenant: Tenant) -> dict[str, object]:
    """What the API shows of a tenant's router."""
    (found,) = [each for each in await lab.api.routers() if each["router_id"] == tenant.router_id]
    return dict(found)
