"""Limits of the kernel, met for real: the reason names the limit, and what failed is built once it is lifted."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from kernel_fixtures import (
    BRIDGE_A,
    NAMESPACE,
    PORT_A,
    ROUTER_ID,
    TENANT_A,
    Wires,
    await_aftermath,
    ip,
    ip_json,
    router,
)

from gapless.agent.driver import Driver
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.held import FIRST
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.leaves import leaf_of
from gapless.errors import Unavailable
from gapless.kernel.limits import SELECT_MOST
from gapless.model.network import PortId
from gapless.model.plan import Epoch, PlannedRouter, Revision, RouterReport, RouterState
from gapless.model.router import RouterId
from gapless.wire.local import LocalLink
from gapless.wire.messages import AgentPlan, AgentReport, FromAgent, from_agent, to_agent
from limits_met import descriptors, no_descriptor_left, no_thread_more

pytestmark = pytest.mark.isolated

MOST_PORTS = 1023
"""Of a bridge: its ports are numbered from 1 to BR_MAX_PORTS - 1 (net/bridge/br_private.h)."""


@contextmanager
def at_most(limit: str, number: int) -> Iterator[None]:
    """A limit of this test's user namespace."""
    file = Path("/proc/sys/user") / limit
    before = file.read_text()
    file.write_text(str(number))
    try:
        yield
    finally:
        file.write_text(before)


def open_descriptors() -> set[int]:
    return {int(each.name) for each in Path("/proc/self/fd").iterdir()}


def kept_descriptors() -> set[int]:
    """But for the directory from which sysctls are found, which is kept from one look to another (`sysnet`)."""
    return {each for each in open_descriptors() if not os.path.realpath(f"/proc/self/fd/{each}").endswith("/sys/net")}


def number_with_free(count: int) -> int:
    """The limit below which so many numbers are free."""
    taken, number = open_descriptors(), 0
    while count or number in taken:
        count -= number not in taken
        number += 1
    return number


def test_network_namespaces(host: Reconciler) -> None:
    reason = r"^make namespace qrouter-\S+: No space left on device: user\.max_net_namespaces"
    with at_most("max_net_namespaces", 0), pytest.raises(Unavailable, match=reason):
        host.reconcile(router())
    assert host.running() == frozenset()
    assert host.reconcile(router()).announced


def test_where_no_namespace_is_left_to_list_rules_in_routers_are_adopted_all_the_same(
    wires: Wires, host: Reconciler
) -> None:
    host.reconcile(router())
    another = Reconciler(wires.settings)
    with at_most("max_net_namespaces", 0):
        assert not another.reconcile(router()).changed
    another.close()


def refusal_with(free: int, host: Reconciler) -> str:
    """Why a router is not built with so many descriptors; "" when it is."""
    try:
        with descriptors(number_with_free(free)):
            host.reconcile(router())
    except Unavailable as error:
        return str(error)
    return ""


def test_descriptors(host: Reconciler) -> None:
    """However many are left: who gets none says so, libnftables does not end the process, and none is kept."""
    before = len(kept_descriptors())
    free = 0
    while reason := refusal_with(free, host):
        assert "Too many open files: this process may have" in reason
        await_aftermath(host)
        assert len(kept_descriptors()) == before
        free += 1
    assert free > 8
    assert not host.reconcile(router()).changed


def test_no_descriptor_at_all(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    for call in (
        host.running,
        lambda: host.remove(ROUTER_ID),
        lambda: host.sweep(()),
        RouterEvents,
        lambda: Reconciler(wires.settings),
    ):
        with no_descriptor_left(), pytest.raises(Unavailable, match="Too many open files: this process may have 0"):
            call()
    host.remove(ROUTER_ID)
    assert host.running() == frozenset()


def test_a_guarded_router_keeps_its_namespace_and_no_other_descriptor(host: Reconciler) -> None:
    """Its host's beat announces it. A socket for that would be closed later than the next routers are built."""
    host.reconcile(router(id=RouterId("first"), ports=(), gateway=None), guarded=True)
    before = kept_descriptors()
    host.reconcile(router(), guarded=True)
    (kept,) = kept_descriptors() - before
    assert (kept >= FIRST, os.fstat(kept).st_ino) == (True, os.stat(f"/run/netns/{NAMESPACE}").st_ino)  # noqa: PTH116
    host.remove(ROUTER_ID)
    assert kept_descriptors() == before


def test_descriptors_that_are_all_too_high_for_libnftables(host: Reconciler) -> None:
    """It waits by select(2), which writes beyond its memory for them."""
    with contextlib.ExitStack() as taken:
        while (low := os.dup(0)) < SELECT_MOST:
            taken.callback(os.close, low)
        taken.callback(os.close, low)
        with pytest.raises(Unavailable, match="none of the first 1,024 descriptors is free"):
            Nft()
    with Nft():
        pass


def test_threads(host: Reconciler) -> None:
    with no_thread_more(), pytest.raises(Unavailable, match=r"Resource temporarily unavailable: .*TasksMax="):
        host.reconcile(router())
    assert host.reconcile(router()).announced


def test_ports_of_a_bridge(host: Reconciler, tmp_path: Path) -> None:
    """Somebody fills it after it was listed; it stays so as long as a router is on that network."""
    host.reconcile(router(ports=(PORT_A,)))
    port = replace(PORT_A, id=PortId("a1000000-0000-4000-8000-000000000001"), mac="fa:16:3e:0a:00:02")
    second = router(id=RouterId("2" * 8), ports=(port,), gateway=None)
    free = MOST_PORTS - len(ip_json(f"link show master {BRIDGE_A}"))
    lines = [f"link add p{number} master {BRIDGE_A} type veth peer name q{number}" for number in range(free)]
    batch = tmp_path / "ports"
    batch.write_text("\n".join(lines))
    ip(f"-batch {batch}")
    with pytest.raises(Unavailable, match=r"^create tap\S+ and qr-\S+: Exchange full: a Linux bridge has 1,023 ports"):
        host.reconcile(second)
    host._networks.places.doubt()
    with pytest.raises(Unavailable, match="the network has no room left on this host"):
        host.reconcile(second)
    ip("link delete p0")
    assert host.reconcile(second).changed
    assert ip_json(f"link show tap{port.id[:11]}")[0]["master"] == leaf_of(TENANT_A.id, 1).bridge


async def test_watches(wires: Wires) -> None:
    events = RouterEvents()
    with (
        at_most("max_inotify_instances", 0),
        pytest.raises(Unavailable, match=r"^cannot watch /run/netns: Too many open files: fs\.inotify\.max_user_inst"),
    ):
        DriftWatcher(events)
    events.close()


async def test_a_router_failed_by_a_limit_says_why_and_is_built_once_it_is_lifted(wires: Wires) -> None:
    ours, its = socket.socketpair()
    link = await LocalLink.over(ours, from_agent)
    events = RouterEvents()
    driver = Driver(
        await LocalLink.over(its, to_agent),
        lambda: Reconciler(wires.settings, events),
        lambda: DriftWatcher(events),
    )
    running = asyncio.create_task(driver.run())
    with at_most("max_net_namespaces", 0):
        planned = PlannedRouter(router=router(), epoch=Epoch(1))
        await link.send(AgentPlan(confirmed=True, revision=Revision(1), routers=(planned,)))
        failed = await said(link, RouterState.FAILED)
        assert "user.max_net_namespaces allows no more network namespaces" in failed.reason
    await said(link, RouterState.ACTIVE)
    await link.close()
    await running


async def said(link: LocalLink[FromAgent], state: RouterState) -> RouterReport:
    """The first report of a router in this state."""
    async with asyncio.timeout(20):
        while (word := await link.receive()) is not None:
            found = [each for each in word.routers if each.state is state] if isinstance(word, AgentReport) else []
            if found:
                return found[0]
    raise AssertionError("the agent ended")
