"""Most of the arbiters lose power for good: nothing forwards, as designed, until an operator says that they are off."""

import json

import pytest
from chaos_lab import PATIENCE_S, STANDBY, running_lab, said

from gapless.errors import Unavailable
from gapless.lab.faults import choose
from gapless.lab.lab import Lab
from gapless.lab.machines import shell
from gapless.lab.machines.nodes import GAPLESS
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

LEFT, GONE = "host-1", ("host-2", "host-3")


async def gapless(lab: Lab, *words: str) -> str:
    return await shell.run(*GAPLESS, *words, "--api", lab.api.url)


async def answered_by(lab: Lab, *hosts: str) -> None:
    """Every router is answered for by these, and by nobody else."""
    found: dict[str, list[str]] = {}

    async def so() -> bool:
        found.update(await lab.answering())
        return set(map(tuple, found.values())) == {hosts}

    await until(so, f"{', '.join(hosts) or 'nobody'} answers for every router", PATIENCE_S, lambda: str(found))


async def test_two_of_three_arbiters_are_gone_and_the_third_host_carries_all_by_an_operators_word() -> None:
    async with running_lab(hosts=3, routers=6, mode=STANDBY) as lab:
        with pytest.raises(Unavailable, match="was heard"):
            await gapless(lab, "confirm-off", LEFT, "--yes")
        await (await choose(lab, "host-power", GONE)).strike(lab)
        await answered_by(lab)

        async def told() -> bool:
            return said(lab.controller.server, f"gapless confirm-off {' '.join(GONE)}")

        await until(told, "the controller says what to do", PATIENCE_S, lab.controller.server.last_words)
        panel = json.loads(await gapless(lab, "arbiters", "--json"))["arbiters"]
        assert (panel["lost"], panel["confirm"], panel["holders"]) == (True, list(GONE), [])
        assert "would be taken" in await gapless(lab, "confirm-off", *GONE, "--dry-run")
        await answered_by(lab)

        await gapless(lab, "confirm-off", *GONE, "--yes")
        await answered_by(lab, LEFT)
        await lab.routers_active(on=lambda name: name == LEFT)
        assert "ok:" in await gapless(lab, "arbiters")

        back = [lab.host(name) for name in GONE]
        for host in back:
            await host.power_on()
        await lab.start_hosts(back)
        await lab.hosts_alive()
        await lab.arbiters_settled()
        await lab.standbys_ready()
        await answered_by(lab, LEFT)
