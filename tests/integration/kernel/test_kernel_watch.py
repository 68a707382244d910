"""Hints of drift: what is noticed without looking."""

import asyncio

import pytest
from kernel_fixtures import BRIDGE_A, EXTERNAL, NAMESPACE, QR_A, ROUTER_ID, TAP_A, TENANT_A, Wires, ip, router

from gapless.agent.hint import Hint
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Reconciler
from gapless.model.router import RouterId

pytestmark = pytest.mark.isolated


async def next_hint(watcher: DriftWatcher) -> Hint:
    async with asyncio.timeout(5):
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


async def test_closing_ends_the_iteration(wires: Wires, host: Reconciler) -> None:
    watcher = DriftWatcher(RouterEvents())

    async def count() -> int:
        return len([hint async for hint in watcher])

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    watcher.close()
    async with asyncio.timeout(5):
        assert await counting == 0
