"""What tenants change of routers that forward, and who has to hear of it."""

from datetime import UTC, datetime
from functools import partial

import pytest
from chaos_lab import PATIENCE_S, PATIENT_S, STANDBY, host_of, running_lab

from gapless.lab.lab import Lab
from gapless.lab.machines import layout, shell
from gapless.lab.waiting import until
from gapless.sentinel.beat.repeats import REPEATS_S

pytestmark = pytest.mark.lab

ANOTHERS = "02:00:00:00:00:99"


async def neighbour(lab: Lab, *words: str) -> str:
    """What `ip neighbour` says in the outside."""
    return await shell.run(*lab.node(layout.OUTSIDE).inside(), "ip", "neighbour", *words)


async def are_over(lab: Lab) -> bool:
    """Whether announcements that began when routers opened are."""
    steps = [step for move in await lab.api.failovers() for step in move["timeline"] if step["step"] == "announced"]
    passed = [(datetime.now(UTC) - datetime.fromisoformat(step["at"])).total_seconds() for step in steps]
    return bool(passed) and min(passed) > 2 * max(REPEATS_S)


async def test_a_floating_ip_that_a_router_is_given_is_announced_by_the_host_that_has_it_open() -> None:
    """It was another router's before: whoever spoke with it has that one's MAC address, asks nobody, and believes that
    as long as it is not told otherwise.
    """
    async with running_lab(2, 1, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        (tenant,) = lab.tenants
        (router,) = await lab.api.find("router")
        network = router["external_gateway_info"]["network_id"]
        floating = await lab.api.create("floatingip", floating_network_id=network)
        address, device = floating["floating_ip_address"], layout.EXT.interface
        await neighbour(lab, "replace", address, "lladdr", ANOTHERS, "dev", device, "nud", "stale")
        on = await host_of(lab, tenant)
        await until(partial(are_over, lab), "what was announced when it opened is repeated no more", PATIENCE_S)
        vm = {"port_id": tenant.vm_port_id, "fixed_ip_address": str(tenant.vm_addresses[1])}
        await lab.api.update("floatingip", floating["id"], **vm)

        async def is_heard() -> bool:
            said = await neighbour(lab, "show", address, "dev", device)
            return "lladdr" in said and ANOTHERS not in said

        await until(is_heard, "the outside hears who has the address", PATIENCE_S, lab.host(on).sentinel.last_words)
        (gateway,) = await lab.api.find("port", device_owner="network:router_gateway")
        assert f"lladdr {gateway['mac_address']}" in await neighbour(lab, "show", address, "dev", device)
