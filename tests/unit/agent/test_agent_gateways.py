"""The agent's shell looks at gateways, with a kernel that runs in memory."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from kernel_in_memory import FakeKernel, with_gateway
from test_agent_driver import RHYTHM, agent

from gapless.core.dataplane import gateways
from gapless.errors import Unavailable
from gapless.model.neighbour import Neighbour, WayOut
from gapless.model.plan import RouterState
from gapless.model.router import RouterId
from gapless.wire.messages import TakingOver

QUICK = replace(RHYTHM, gateways_interval_s=0.005)


@pytest.fixture(autouse=True)
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "ROUND_S", 0.01)
    monkeypatch.setattr(gateways, "ASKING_S", 0.0)


async def test_a_router_that_does_not_hear_its_gateway_is_degraded_until_it_does() -> None:
    kernel = FakeKernel()
    async with agent(kernel, QUICK) as bench:
        await bench.plan(with_gateway("r1"), with_gateway("r2"), with_gateway("r3"))
        for each in ("r1", "r2", "r3"):
            await bench.hear_state(each, RouterState.ACTIVE)
        kernel.silent.add(RouterId("r1"))
        await bench.hear_until(lambda: bool(bench.said[-1].ailment))
        said = bench.said[-1]
        assert (said.router_id, said.state) == ("r1", RouterState.ACTIVE)
        assert said.ailment == "its gateway 203.0.113.1 does not answer it, while it answers others here (2)"
        kernel.silent.clear()
        await bench.hear_until(lambda: not bench.said[-1].ailment)
        assert bench.said[-1].router_id == "r1"


async def test_while_the_host_takes_over_nothing_is_looked_at() -> None:
    kernel = FakeKernel()
    async with agent(kernel, QUICK) as bench:
        await bench.plan(with_gateway("r1"))
        await bench.wait_for("look at r1")
        await bench.link.send(TakingOver(is_on=True))
        await bench.plan(with_gateway("r1"))
        await bench.hear_until(lambda: 2 in bench.revisions)
        looked, alive = kernel.record.count("look at r1"), len(bench.alive)
        await bench.hear_until(lambda: len(bench.alive) > alive + 3)
        assert kernel.record.count("look at r1") <= looked + 1, "one may have been under way"
        await bench.link.send(TakingOver(is_on=False))
        await bench.wait_for("look at r1", looked + 2)


async def test_what_cannot_be_looked_at_is_looked_at_again() -> None:
    class Refusing(FakeKernel):
        refusals = 2

        def gateways(self, ways: Sequence[WayOut]) -> dict[RouterId, Neighbour]:
            if self.refusals:
                self.refusals -= 1
                raise Unavailable("the kernel did not let go")
            return super().gateways(ways)

    kernel = Refusing()
    async with agent(kernel, QUICK) as bench:
        await bench.plan(with_gateway("r1"))
        await bench.wait_for("look at r1")
    assert kernel.refusals == 0
