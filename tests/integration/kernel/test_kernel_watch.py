"""Hints of drift: what is noticed without looking."""

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
from kernel_fixtures import (
    BRIDGE_A,
    EXTERNAL,
    NAMESPACE,
    PATIENCE_S,
    QR_A,
    ROUTER_ID,
    TAP_A,
    TAP_OUT,
    TENANT_A,
    Wires,
    ip,
    router,
)

from gapless.agent.hint import Hint
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Reconciler
from gapless.errors import Unavailable
from gapless.model.router import RouterId
from limits_met import no_descriptor_left, no_thread_more
from logged import kept

pytestmark = pytest.mark.isolated
SO_MEMINFO = 55


async def next_hint(watcher: DriftWatcher) -> Hint:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(aiter(watcher))


@pytest.mark.parametrize(
    "damage",
    [
        lambda: ip(f"link delete {TAP_A}"),
        lambda: ip(f"link set {TAP_A} down"),
        lambda: ip(f"link set {TAP_A} nomaster"),
        lambda: ip(f"link set {TAP_A} mtu 1000"),
        lambda: ip(f"link set {TAP_A} group 1"),
        lambda: ip(f"link set {QR_A} down", inside=NAMESPACE),
        lambda: ip(f"netns delete {NAMESPACE}"),
    ],
)
async def test_damage_to_a_router_is_a_hint_about_it(host: Reconciler, damage: object) -> None:
    host.reconcile(router())
    watcher = DriftWatcher(RouterEvents())
    assert callable(damage)
    damage()
    assert (await next_hint(watcher)).router_id == ROUTER_ID
    watcher.close()


@pytest.mark.parametrize(
    "damage",
    [
        f"link set {BRIDGE_A} down",
        "link set vxlan-100 down",
        "link set vxlan-100 nomaster",
        "link delete vxlan-100",
        "link set ext0 down",
        "link set ext0 nomaster",
        "link delete ext0",
    ],
)
async def test_damage_to_a_network_is_a_hint_about_its_routers(host: Reconciler, damage: str) -> None:
    host.reconcile(router())
    watcher = DriftWatcher(RouterEvents(), uplinks=["ext0"])
    ip(damage)
    hint = await next_hint(watcher)
    assert (hint.router_id, hint.network_id) == (None, EXTERNAL.id if "ext0" in damage else TENANT_A.id)
    watcher.close()


async def test_foreign_things_give_no_hint_and_a_build_gives_none(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    watcher = DriftWatcher(RouterEvents())
    ip("link add theirs0 type veth peer name theirs1")
    ip("netns add theirs")
    ip("link delete theirs0")
    ip("netns delete theirs")
    await asyncio.to_thread(host.reconcile, router(id=RouterId("other"), ports=(), gateway=None))
    ip(f"link delete {TAP_A}")
    assert (await next_hint(watcher)).router_id == ROUTER_ID
    watcher.close()


def overrun(watcher: DriftWatcher, bridge: str) -> None:
    """More is said than the watcher has room for, while nobody reads."""
    watcher._link_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the least that the kernel allows
    for mtu in range(1300, 1320):
        ip(f"link set {bridge} mtu {mtu}")
    assert struct.unpack("=9I", watcher._link_socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[-1], "some are lost"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(holds):
            pass


def watches(watcher: DriftWatcher, name: str) -> bool:
    return any(link.name == name for link in list(watcher._passing.values()))


def deaf_while_built(host: Reconciler) -> DriftWatcher:
    """A router got a port during a storm, and nothing of that was heard."""
    host.reconcile(router(ports=()))
    watcher = DriftWatcher(RouterEvents())
    ip("link add storm up type bridge")
    overrun(watcher, "storm")
    host.reconcile(router())
    return watcher


async def test_a_tap_that_was_not_heard_of_in_a_storm_is_watched_after_it(host: Reconciler) -> None:
    watcher = deaf_while_built(host)
    ip(f"link delete {TAP_OUT}")
    assert not watches(watcher, TAP_A)
    await until(lambda: watches(watcher, TAP_A))
    told = {(await next_hint(watcher)).router_id for _ in range(len(watcher._pending))}
    assert told == {None, ROUTER_ID}, "anything may have happened, and one tap went"
    ip(f"link set {TAP_A} group 1")
    assert (await next_hint(watcher)).router_id == ROUTER_ID
    watcher.close()


async def test_where_links_cannot_be_listed_after_a_storm_that_is_tried_again(host: Reconciler) -> None:
    watcher = deaf_while_built(host)
    with kept("agent") as lines:
        with no_descriptor_left():
            await until(lambda: bool(lines))
        await until(lambda: watches(watcher, TAP_A))
    assert "links cannot be listed" in lines[0]
    assert "Too many open files" in lines[0]
    watcher.close()


async def test_a_host_that_may_start_no_thread_says_so(host: Reconciler) -> None:
    events = RouterEvents()
    with no_thread_more(), pytest.raises(Unavailable, match=r"^watch this host's links: .*TasksMax="):
        DriftWatcher(events)
    events.close()


async def test_closing_ends_the_iteration(wires: Wires, host: Reconciler) -> None:
    watcher = DriftWatcher(RouterEvents())

    async def count() -> int:
        return len([hint async for hint in watcher])

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    watcher.close()
    async with asyncio.timeout(PATIENCE_S):
        assert await counting == 0
