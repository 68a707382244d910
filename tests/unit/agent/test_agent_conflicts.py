"""The agent's shell hears who else uses routers' addresses, with a kernel that runs in memory."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from kernel_in_memory import FakeKernel, with_gateway
from test_agent_driver import RHYTHM, agent

from gapless.core.dataplane import conflicts
from gapless.model.network import NetworkId
from gapless.model.plan import RouterState
from gapless.model.sender import Sender
from gapless.wire.messages import TakingOver

QUICK = replace(RHYTHM, senders_interval_s=0.005)
ADDRESS, STRANGER = "203.0.113.10", "52:54:00:00:00:01"
FOREIGN = Sender(network_id=NetworkId("outside"), address=IPv4Address(ADDRESS), mac=STRANGER)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "SETTLE_S", 0.0)
    monkeypatch.setattr(conflicts, "QUIET_S", 0.02)


async def test_a_router_whose_address_another_uses_is_degraded_until_that_is_quiet(
    log_lines: list[str],
) -> None:
    kernel = FakeKernel()
    async with agent(kernel, QUICK) as bench:
        await bench.plan(with_gateway("r1"))
        await bench.hear_state("r1", RouterState.ACTIVE)
        kernel.heard.append(FOREIGN)
        await bench.hear_until(lambda: bool(bench.said[-1].ailment))
        said = bench.said[-1]
        assert (said.router_id, said.state) == ("r1", RouterState.ACTIVE)
        assert said.ailment.startswith(f"{ADDRESS} is also used by {STRANGER}: ")
        kernel.heard.clear()
        await bench.hear_until(lambda: not bench.said[-1].ailment)
    (line,) = [each for each in log_lines if "another machine uses an address of a router" in each]
    assert f"router=r1 address={ADDRESS} mac={STRANGER}" in line
    assert len([each for each in log_lines if "that machine was not heard to use the router's address" in each]) == 1


async def test_while_the_host_takes_over_nobody_is_heard() -> None:
    kernel = FakeKernel()
    async with agent(kernel, QUICK) as bench:
        await bench.plan(with_gateway("r1"))
        await bench.wait_for(f"hear {ADDRESS}")
        await bench.link.send(TakingOver(is_on=True))
        await bench.plan(with_gateway("r1"))
        await bench.hear_until(lambda: 2 in bench.revisions)
        heard, alive = kernel.record.count(f"hear {ADDRESS}"), len(bench.alive)
        await bench.hear_until(lambda: len(bench.alive) > alive + 3)
        assert kernel.record.count(f"hear {ADDRESS}") <= heard + 1, "one may have been under way"
        await bench.link.send(TakingOver(is_on=False))
        await bench.wait_for(f"hear {ADDRESS}", heard + 2)


async def test_what_cannot_be_heard_is_said_once_and_tried_again(log_lines: list[str]) -> None:
    kernel = FakeKernel()
    for _ in range(3):
        kernel.fail_next("hear", "not permitted")
    async with agent(kernel, QUICK) as bench:
        await bench.plan(with_gateway("r1"))
        kernel.heard.append(FOREIGN)
        await bench.hear_until(lambda: any(each.ailment for each in bench.said))
    assert len([each for each in log_lines if "it cannot be heard whether others use routers' addresses" in each]) == 1
