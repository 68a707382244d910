"""Things that go wrong in the middle of other things. Each ends in a consistent state, with a line that says what
happened."""

import asyncio
import itertools
import json
import os
import shutil
import signal
from ipaddress import IPv4Address

import pytest
from chaos_lab import CLASSIC, PATIENCE_S, everything_works, host_of, moves, reaches_outside, running_lab, said

from gapless.lab.api import Item
from gapless.lab.faults import choose
from gapless.lab.lab import Lab
from gapless.lab.machines import shell, wiring
from gapless.lab.machines.layout import Place
from gapless.lab.machines.nodes import Host
from gapless.lab.machines.processes import Process
from gapless.lab.measuring import whereabouts
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab


async def cut_a_build(lab: Lab, host: Host, begun: int) -> bool:
    """Have the host build all its routers anew, and kill its agent once so many are begun.

    Returns whether a build was cut: seen with the agent stopped, so that what was seen is what the kill left behind.
    """
    agent = host.agent()
    assert agent is not None
    os.kill(agent.pid, signal.SIGSTOP)
    for router_id in host.machine.router_namespaces():
        await host.machine.run("ip", "netns", "delete", f"qrouter-{router_id}")
    agent = await killed(host, agent)  # It would give them their names again.
    async with asyncio.timeout(PATIENCE_S):
        while len(host.machine.router_namespaces()) < begun:  # noqa: ASYNC110 - a look each turn: builds take milliseconds
            await asyncio.sleep(0)
    os.kill(agent.pid, signal.SIGSTOP)
    wanted = {tenant.router_id: tenant.router_addresses for tenant in lab.tenants}
    is_cut = any(not wanted[seen.router_id] <= seen.addresses for seen in await whereabouts.look([host]))
    await killed(host, agent)
    await lab.one_host_each(PATIENCE_S)
    return is_cut


async def killed(host: Host, agent: Process) -> Process:
    """Kill it; the next one, when that is there."""
    os.kill(agent.pid, signal.SIGKILL)

    async def is_replaced() -> bool:
        now = host.agent()
        return now is not None and now.pid != agent.pid

    await until(is_replaced, "there is a new agent", PATIENCE_S)
    following = host.agent()
    assert following is not None
    return following


async def test_the_controller_is_killed_in_the_middle_of_a_reschedule() -> None:
    """A host is silent for some seconds, so that this is seen, and agents are stopped, before it is dead."""
    async with running_lab(hosts=3, routers=9, mode=CLASSIC, down_time_s=3.0) as lab:
        victim = await lab.busiest_host()
        survivors = [host for host in lab.hosts.values() if host is not victim]
        await (await choose(lab, "host-power", [victim.name])).strike(lab)
        await standing(lab, victim, "silent")
        # Nothing can be built from here on: agents hang, and as soon as there are moves sentinels do, which would not
        # bear that for long.
        for host in survivors:
            signal_agent(host, signal.SIGSTOP)

        async def of_victim() -> list[Item]:
            return [move for move in await lab.api.failovers() if move["from_host"] == victim.name]

        async def begun() -> bool:
            return bool(await of_victim())  # It is said before it is stored, and what is not stored is decided anew.

        await until(begun, "the reschedule has begun", PATIENCE_S)
        for host in survivors:
            host.sentinel.signal(signal.SIGSTOP)
        lab.controller.server.signal(signal.SIGKILL)
        await lab.controller.server.ended()
        await lab.start_controller()
        begun_before = await of_victim()
        assert {(move["kind"], move["outcome"]) for move in begun_before} == {("reschedule", "running")}
        server = lab.controller.server
        number = len(begun_before)
        assert said(server, f"Goes on with {number} move{'s' if number > 1 else ''} that had begun before: router ")

        for host in survivors:
            signal_agent(host, signal.SIGCONT)
            host.sentinel.signal(signal.SIGCONT)
        await lab.routers_active(on=lambda name: name != victim.name)
        await everything_works(lab)
        for move in begun_before:
            assert said(server, f"Move of router {move['router_id']} confirmed: active on ")


def signal_agent(host: Host, number: signal.Signals) -> None:
    agent = host.agent()
    assert agent is not None
    os.kill(agent.pid, number)


async def test_an_agent_killed_in_the_middle_of_builds_ends_with_every_router_built() -> None:
    async with running_lab(hosts=1, routers=8, mode=CLASSIC) as lab:
        (host,) = lab.hosts.values()
        cut = 0
        async with asyncio.timeout(2 * PATIENCE_S):
            for begun in itertools.cycle((1, 2, 4, 6)):
                cut += await cut_a_build(lab, host, begun)
                if cut == 4:
                    break
        await everything_works(lab)


async def test_without_a_candidate_a_router_stays_says_why_and_moves_when_there_is_one() -> None:
    async with running_lab(hosts=2, routers=1, brake_share=1.0, mode=CLASSIC) as lab:
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
    async with running_lab(hosts=2, routers=3, mode=CLASSIC) as lab:
        victim = await lab.busiest_host()
        (agent,) = [agent for agent in await lab.api.find("agent") if agent["host"] == victim.name]
        await lab.api.update("agent", agent["id"], admin_state_up=False)
        await lab.routers_active(on=lambda name: name != victim.name)
        await everything_works(lab)
        assert victim.machine.router_namespaces() == {}
        left = [move for move in await moves(lab) if move["from_host"] == victim.name]
        assert {(move["kind"], move["outcome"]) for move in left} == {("drain", "confirmed")}


async def test_a_second_machine_of_the_same_name_is_refused_and_touches_nothing() -> None:
    async with running_lab(hosts=2, routers=2, mode=CLASSIC) as lab:
        twin = Host(Place(3), lab.settings, says_it_is="host-1")
        await twin.power_on()
        await twin.start(lab.controller.key)

        async def refused() -> bool:
            return said(twin.sentinel, "the name host-1 belongs to another machine")

        await until(refused, "the twin says that its name is taken", PATIENCE_S, twin.sentinel.last_words)
        await lab.hosts_alive()
        assert twin.machine.router_namespaces() == {}
        await everything_works(lab)
        await twin.machine.bury()


async def test_a_host_of_another_cluster_is_refused_and_says_why() -> None:
    async with running_lab(hosts=1, routers=1, mode=CLASSIC) as lab:
        stranger = Host(Place(2), lab.settings)
        await stranger.power_on()
        other_key = stranger.machine.disk / "other.key"
        other_key.write_text("ab" * 32 + "\n")
        await stranger.start(other_key)

        async def refused() -> bool:
            return said(stranger.sentinel, "it has not the key of cluster")

        await until(refused, "the stranger says that its key is wrong", PATIENCE_S, stranger.sentinel.last_words)
        assert [host["name"] for host in await lab.api.hosts()] == ["host-1"]
        assert stranger.machine.router_namespaces() == {}
        await everything_works(lab)
        await stranger.machine.bury()


async def add_address(host: Host, address: IPv4Address) -> None:
    """Give every router of the host an address that is in nobody's way, and that its agent would remove."""
    for path in host.machine.router_namespaces().values():
        inside = ["nsenter", f"--net={path}", "--", "ip"]
        links = json.loads(await shell.run(*inside, "-json", "link", "show"))
        (tenant_link,) = [link["ifname"] for link in links if link["ifname"].startswith("qr-")]
        await shell.run(*inside, "address", "add", f"{address}/32", "dev", tenant_link)


async def test_a_restarted_host_without_its_controller_keeps_what_runs() -> None:
    """The control plane is away, and the machine's sentinel and agent are restarted: not one probe is lost."""
    async with running_lab(hosts=2, routers=2, mode=CLASSIC) as lab:
        host = await lab.busiest_host()
        async with lab.traffic() as traffic:
            await traffic.all_answered(for_s=0.5, timeout_s=PATIENCE_S)
            await traffic.begin()
            await wiring.cut(each.place.mgmt_cable for each in lab.hosts.values())
            host.sentinel.signal(signal.SIGKILL)
            await host.sentinel.ended()

            async def alone() -> bool:
                return host.agent() is None

            await until(alone, "the agent has ended with its sentinel", PATIENCE_S)
            await add_address(host, stray := IPv4Address("192.0.2.66"))
            await host.sentinel.start()

            async def repaired() -> bool:
                return not any(stray in seen.addresses for seen in await whereabouts.look([host]))

            await until(repaired, "the new agent has worked on what runs", PATIENCE_S, host.sentinel.last_words)
            await traffic.all_answered(for_s=0.5, timeout_s=PATIENCE_S)
            recording = await traffic.end(host.machine.disk / "recording")
        assert recording.lost == 0
        await wiring.mend(each.place.mgmt_cable for each in lab.hosts.values())
        await lab.hosts_alive()
        await everything_works(lab)


@pytest.mark.thorough
async def test_a_host_whose_disk_was_wiped_is_another_machine_and_gets_nothing_by_mistake() -> None:
    """Same name, new instance: it may join once the old one is dead, and starts with nothing."""
    async with running_lab(hosts=2, routers=2, mode=CLASSIC) as lab:
        victim = lab.host("host-1")
        await (await choose(lab, "host-power", ["host-1"])).strike(lab)
        await lab.routers_active(on=lambda name: name != "host-1")
        shutil.rmtree(victim.machine.disk / "state")
        await victim.power_on()
        await lab.start_hosts([victim])
        await lab.hosts_alive("host-1")
        assert victim.machine.router_namespaces() == {}
        await everything_works(lab)


async def test_who_answers_on_the_wire_is_who_has_the_router() -> None:
    async with running_lab(hosts=3, routers=6, mode=CLASSIC) as lab:
        await lab.one_host_each(PATIENCE_S)
        assert await lab.answering() == await lab.placement()
        victim = await lab.busiest_host()
        await wiring.cut([victim.place.ext_cable])
        answering = await lab.answering()
        for router_id, hosts in (await lab.placement()).items():
            assert answering[router_id] == [name for name in hosts if name != victim.name]
        await wiring.mend([victim.place.ext_cable])


@pytest.mark.thorough
async def test_every_tenant_reaches_the_world_and_is_reached() -> None:
    async with running_lab(hosts=2, routers=4, mode=CLASSIC) as lab:
        answers = await asyncio.gather(*(reaches_outside(lab, tenant) for tenant in lab.tenants))
        assert all(answers)
