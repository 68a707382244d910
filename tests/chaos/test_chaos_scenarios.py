"""Things that go wrong in the middle of other things. Each ends in a consistent state, with a line that says what
happened."""

import asyncio
import os
import shutil
import signal

import pytest
from chaos_lab import PATIENCE_S, host_of, reaches_outside, running_lab, said, strike

from gapless.lab import wiring
from gapless.lab.faults import choose
from gapless.lab.lab import Lab
from gapless.lab.layout import Place
from gapless.lab.nodes import Host
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab


async def killed_agents(host: Host, stop: asyncio.Event) -> int:
    """Kill the host's agent whenever there is one, until told to stop; how many were killed."""
    count = 0
    last = 0
    while not stop.is_set():
        agent = host.agent()
        if agent is not None and agent.pid != last:
            last = agent.pid
            # Later each time, so that a build is met at another point of it.
            await asyncio.sleep(0.3 + 0.05 * count)
            os.kill(agent.pid, signal.SIGKILL)
            count += 1
        await asyncio.sleep(0.01)
    return count


async def everything_works(lab: Lab) -> None:
    await lab.routers_active()
    await lab.one_host_each(PATIENCE_S)
    async with lab.traffic() as traffic:
        await traffic.all_answered(for_s=1.0, timeout_s=PATIENCE_S)


async def test_the_controller_is_killed_in_the_middle_of_a_reschedule() -> None:
    async with running_lab(hosts=3, routers=9) as lab:
        victim = await lab.busiest_host()
        await (await choose(lab, "host-power", [victim.name])).strike(lab)

        async def begun() -> bool:
            return said(lab.controller.server, "Rescheduling router")

        await until(begun, "the reschedule has begun", PATIENCE_S)
        lab.controller.server.signal(signal.SIGKILL)
        await lab.controller.server.ended()
        await lab.start_controller()

        await lab.routers_active(on=lambda name: name != victim.name)
        await everything_works(lab)


async def test_changes_resume_after_the_controller_was_killed() -> None:
    async with running_lab(hosts=2, routers=1) as lab:
        found = (await strike(lab, "controller-kill")).result
        assert found.problems == []
        await lab.add_tenants(1)
        await everything_works(lab)


async def test_an_agent_killed_in_the_middle_of_builds_ends_with_every_router_built() -> None:
    async with running_lab(hosts=1, routers=0) as lab:
        (host,) = lab.hosts.values()
        stop = asyncio.Event()
        killing = asyncio.create_task(killed_agents(host, stop))
        try:
            await lab.add_tenants(12)
        finally:
            stop.set()
        assert await killing > 0
        await everything_works(lab)


async def test_without_a_candidate_a_router_stays_says_why_and_moves_when_there_is_one() -> None:
    async with running_lab(hosts=2, routers=1, brake_share=1.0) as lab:
        (tenant,) = lab.tenants
        first = lab.host(await host_of(lab, tenant))
        (second,) = [host for host in lab.hosts.values() if host is not first]
        await (await choose(lab, "host-power", [second.name])).strike(lab)
        await standing(lab, second, "dead")
        await (await choose(lab, "host-power", [first.name])).strike(lab)
        await standing(lab, first, "dead")

        (router,) = await lab.api.routers()
        assert router["host"] == first.name
        assert router["reason"]

        await second.power_on()
        await lab.start_hosts([second])
        await lab.routers_active(on=lambda name: name == second.name)
        await everything_works(lab)


async def standing(lab: Lab, host: Host, word: str) -> None:
    async def stands() -> bool:
        return any(one["name"] == host.name and one["standing"] == word for one in await lab.api.hosts())

    await until(stands, f"{host.name} is {word}", PATIENCE_S)


async def test_taking_a_host_out_of_service_drains_it() -> None:
    async with running_lab(hosts=2, routers=3) as lab:
        victim = await lab.busiest_host()
        (agent,) = [agent for agent in await lab.api.find("agent") if agent["host"] == victim.name]
        await lab.api.update("agent", agent["id"], admin_state_up=False)
        await lab.routers_active(on=lambda name: name != victim.name)
        await everything_works(lab)
        assert victim.machine.router_namespaces() == {}
        moves = [move for move in await lab.api.failovers() if move["from_host"] == victim.name]
        assert {(move["kind"], move["outcome"]) for move in moves} == {("drain", "confirmed")}


async def test_a_second_machine_of_the_same_name_is_refused_and_touches_nothing() -> None:
    async with running_lab(hosts=2, routers=2) as lab:
        twin = Host(Place(3), lab.settings, says_it_is="host-1")
        await twin.power_on()
        await twin.start(lab.controller.key)

        async def refused() -> bool:
            return said(twin.sentinel, "host-1") and said(twin.sentinel, "instance")

        await until(refused, "the twin says that its name is taken", PATIENCE_S, twin.sentinel.last_words)
        await lab.hosts_alive()
        assert twin.machine.router_namespaces() == {}
        await everything_works(lab)
        await twin.machine.bury()


async def test_a_host_of_another_cluster_is_refused_and_says_why() -> None:
    async with running_lab(hosts=1, routers=1) as lab:
        stranger = Host(Place(2), lab.settings)
        await stranger.power_on()
        other_key = stranger.machine.disk / "other.key"
        other_key.write_text("ab" * 32 + "\n")
        await stranger.start(other_key)

        async def refused() -> bool:
            return said(stranger.sentinel, "key")

        await until(refused, "the stranger says that its key is wrong", PATIENCE_S, stranger.sentinel.last_words)
        assert [host["name"] for host in await lab.api.hosts()] == ["host-1"]
        assert stranger.machine.router_namespaces() == {}
        await everything_works(lab)
        await stranger.machine.bury()


async def test_a_restarted_host_without_its_controller_keeps_what_runs() -> None:
    """The control plane is away, and the machine's sentinel and agent are restarted: not one probe is lost."""
    async with running_lab(hosts=2, routers=2) as lab:
        host = await lab.busiest_host()
        async with lab.traffic() as traffic:
            await traffic.all_answered(for_s=0.5, timeout_s=PATIENCE_S)
            await traffic.begin()
            await wiring.cut(each.place.mgmt_cable for each in lab.hosts.values())
            host.sentinel.signal(signal.SIGKILL)
            await host.sentinel.ended()
            await host.sentinel.start()

            async def ready() -> bool:
                return host.sentinel.has_said("agent ready")

            await until(ready, "the agent is ready again", PATIENCE_S, host.sentinel.last_words)
            await asyncio.sleep(1.0)
            recording = await traffic.end(host.machine.disk / "recording")
        assert recording.lost == 0
        await wiring.mend(each.place.mgmt_cable for each in lab.hosts.values())
        await lab.hosts_alive()
        await everything_works(lab)


async def test_a_host_whose_disk_was_wiped_is_another_machine_and_gets_nothing_by_mistake() -> None:
    """Same name, new instance: it may join once the old one is dead, and starts with nothing."""
    async with running_lab(hosts=2, routers=2) as lab:
        victim = lab.host("host-1")
        await (await choose(lab, "host-power", ["host-1"])).strike(lab)
        await lab.routers_active(on=lambda name: name != "host-1")
        shutil.rmtree(victim.machine.disk / "state")
        await victim.power_on()
        await lab.start_hosts([victim])
        await lab.hosts_alive("host-1")
        assert victim.machine.router_namespaces() == {}
        await everything_works(lab)


async def test_every_tenant_reaches_the_world_and_is_reached() -> None:
    async with running_lab(hosts=2, routers=4) as lab:
        answers = await asyncio.gather(*(reaches_outside(lab, tenant) for tenant in lab.tenants))
        assert all(answers)
