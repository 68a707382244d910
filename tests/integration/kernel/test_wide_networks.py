"""Routers on a root and its leaves work as on one bridge: they reach everybody, and agents come and go."""

import asyncio
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from kernel_fixtures import BRIDGE_OUT, OUTSIDE, TENANT_A, Wires, ip, ip_json
from wide_street import (
    AT_ROOT,
    LEAF_A,
    LEAF_B,
    ON_A,
    ON_B,
    ROUTERS,
    SMALL,
    Street,
    address,
    bridge_of,
    host,
    names,
    namespace,
    port_of,
    street,
    tap,
)

from gapless.agent.driver import Driver, Rhythm
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import bridge_name
from gapless.core.dataplane.leaves import ROOM, leaf_of
from gapless.model.leaf import Room
from gapless.model.plan import Epoch, PlannedRouter, Revision, RouterState
from gapless.model.router import Router
from gapless.wire.local import LocalLink
from gapless.wire.messages import AgentPlan, AgentReport, FromAgent, from_agent, to_agent

__all__ = ["host", "street"]

pytestmark = pytest.mark.isolated


def test_every_router_talks_to_the_outside_and_to_every_other_bridge(street: Street, wires: Wires) -> None:
    assert [bridge_of(it) for it in ROUTERS] == [BRIDGE_OUT] * 2 + [LEAF_A.bridge] * 4 + [LEAF_B.bridge] * 2
    for it in ROUTERS:
        assert wires.reaches(namespace(it), OUTSIDE)
    for asking in (AT_ROOT[0], ON_A[0], ON_B[0]):
        for other in (AT_ROOT[1], ON_A[1], ON_B[1]):
            assert wires.reaches(namespace(asking), address(other))


def test_whole_frames_pass(street: Street, wires: Wires) -> None:
    for it in (AT_ROOT[0], ON_A[0]):
        assert wires.reaches("outside", address(it), "-s", "1472", "-M", "do")


def test_an_agent_that_begins_finds_everything_right_and_moves_nothing(street: Street, wires: Wires) -> None:
    before = [bridge_of(it) for it in ROUTERS]
    for room in (SMALL, ROOM, Room(ports=3, leaves=1)):
        another = Reconciler(wires.settings, room=room)
        assert [another.reconcile(it).what for it in reversed(ROUTERS)] == [""] * len(ROUTERS)
        another.close()
    assert [bridge_of(it) for it in ROUTERS] == before


def test_tenant_networks_have_leaves_too(wires: Wires, host: Reconciler) -> None:
    inside = [
        replace(
            it,
            gateway=None,
            ports=(replace(port_of(it), network=TENANT_A, addresses=(IPv4Interface(f"10.0.0.{10 + place}/24"),)),),
        )
        for place, it in enumerate(ROUTERS)
    ]
    for it in inside:
        host.reconcile(it)
    leaf = leaf_of(TENANT_A.id, 1).bridge
    masters = [ip_json(f"link show {tap(it)}")[0]["master"] for it in ROUTERS[:3]]
    assert masters == [bridge_name(TENANT_A.id)] * 2 + [leaf]
    for place, _ in enumerate(inside):
        assert wires.reaches("vm1", f"10.0.0.{10 + place}")


async def test_an_agent_builds_several_at_once_mends_a_joint_and_leaves_nothing(wires: Wires) -> None:
    """Its audits are an hour away: what is mended is mended because the kernel told of it."""
    before = names()
    ours, its = socket.socketpair()
    events, link = RouterEvents(), await LocalLink.over(ours, from_agent)
    driver = Driver(
        await LocalLink.over(its, to_agent),
        lambda: Reconciler(wires.settings, events, SMALL),
        lambda: DriftWatcher(events, uplinks=["ext0"]),
        Rhythm(workers=4, listing_interval_s=3600, audit_period_s=3600),
    )
    running = asyncio.create_task(driver.run())
    await plan(link, ROUTERS, Revision(1))
    await reported(link, RouterState.ACTIVE)
    assert Counter(map(bridge_of, ROUTERS)) == {BRIDGE_OUT: 2, LEAF_A.bridge: 4, LEAF_B.bridge: 2}
    ip(f"link delete {LEAF_A.root_end}")
    await until(lambda: LEAF_A.root_end in names())
    for it in ROUTERS:
        await until(lambda it=it: wires.reaches("outside", address(it)))  # type: ignore[misc]
    await plan(link, [], Revision(2))
    await reported(link, RouterState.REMOVED)
    await until(lambda: names() == before and "gapless_arp" not in tables())
    await link.close()
    await running


def tables() -> str:
    """The host's nftables tables of bridges."""
    command = ["nft", "list", "tables", "bridge"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout


async def plan(link: LocalLink[FromAgent], routers: list[Router], revision: Revision) -> None:
    planned = tuple(PlannedRouter(router=it, epoch=Epoch(1)) for it in routers)
    await link.send(AgentPlan(confirmed=True, revision=revision, routers=planned))


async def reported(link: LocalLink[FromAgent], state: RouterState) -> None:
    """Wait until the agent has said that of all routers."""
    missing = {it.id for it in ROUTERS}
    async with asyncio.timeout(20):
        while missing:
            word = await link.receive()
            assert word is not None, "the agent ended"
            if isinstance(word, AgentReport):
                missing -= {it.router_id for it in word.routers if it.state is state}


async def until(holds: Callable[[], bool]) -> None:
    """Look, beside the agent, until it holds."""
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(holds):
            pass


def test_the_benchmark_in_short(tmp_path: Path) -> None:
    """In namespaces of its own already."""
    program = Path(__file__).parents[3] / "bench" / "wide.py"
    command = [sys.executable, str(program), "--routers", "3", "--out", str(tmp_path)]
    inside = os.environ | {"GAPLESS_BENCH_INSIDE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=inside)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 answered; adopting changed 0; moved: False; left: []" in done.stdout
    assert {file.suffix for file in tmp_path.iterdir()} == {".md", ".json"}
