"""An agent whose audits are an hour away: what is mended is mended because the kernel told of it.

Real namespaces, real packets, the agent's own shell; the sentinel is the test.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from kernel_fixtures import (
    BRIDGE_A,
    FLOATING_IP,
    NAMESPACE,
    OUTSIDE,
    QG,
    QR_A,
    TAP_A,
    TAP_OUT,
    Wires,
    delete_name,
    ip,
    nft,
    router,
)

from gapless.agent.driver import Driver, Hints, Rhythm
from gapless.agent.kernel import links
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Outcome, Reconciler
from gapless.config import HostSettings
from gapless.kernel.netlink import Netlink
from gapless.model.host import Incarnation
from gapless.model.observed import GUARDED_GROUP
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Revision, Role, RouterReport, RouterState
from gapless.model.router import Router, RouterId
from gapless.wire.local import LocalLink
from gapless.wire.messages import AgentPlan, AgentReport, FromAgent, from_agent, to_agent

pytestmark = pytest.mark.isolated

PATIENCE_S = 20.0
TAPS = (TAP_A, TAP_OUT)
UNTOLD = Rhythm(listing_interval_s=3600, audit_period_s=3600)


class Counting(Reconciler):
    """Notes the looks at each router, and the changes that they led to."""

    def __init__(self, settings: HostSettings, events: RouterEvents) -> None:
        super().__init__(settings, events)
        self.looks: list[RouterId] = []
        self.changes: list[str] = []
        self.changed: list[RouterId] = []
        """Of each change, the router."""

    def reconcile(self, router: Router, guarded: bool = False) -> Outcome:
        self.looks.append(router.id)
        outcome = super().reconcile(router, guarded)
        if outcome.changed:
            self.changed.append(router.id)
            self.changes.append(outcome.what)
        return outcome


class Agent:
    """The sentinel's end."""

    def __init__(self, link: LocalLink[FromAgent], kernel: Counting) -> None:
        self.link = link
        self.kernel = kernel
        self.said: list[RouterReport] = []
        self._planned: tuple[PlannedRouter, ...] = ()
        self._revision = 0
        self._revision_heard = 0

    async def plan(self, *routers: Router, guarded: Guarded | None = None) -> None:
        self._planned = tuple(PlannedRouter(router=it, epoch=Epoch(1), guarded=guarded) for it in routers)
        await self._send()

    async def _send(self) -> None:
        self._revision += 1
        await self.link.send(AgentPlan(confirmed=True, revision=Revision(self._revision), routers=self._planned))

    async def hear_until(self, is_it: Callable[[RouterReport], bool]) -> RouterReport:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if (found := next((it for it in self.said if is_it(it)), None)) is not None:
                    return found
                await self._hear()

    async def _hear(self) -> None:
        message = await self.link.receive()
        assert message is not None, "the agent ended"
        if isinstance(message, AgentReport):
            self.said += message.routers
            self._revision_heard = message.revision

    async def given_up(self) -> list[str]:
        """Why routers were, of all that was said until now: the same plan once more is heard of after that."""
        await self._send()
        async with asyncio.timeout(PATIENCE_S):
            while self._revision_heard < self._revision:
                await self._hear()
        return [it.reason for it in self.said if it.state is RouterState.FAILED]

    async def active(self, *router_ids: RouterId) -> None:
        for router_id in router_ids:
            await self.hear_until(lambda it, of=router_id: (it.router_id, it.state) == (of, RouterState.ACTIVE))  # type: ignore[misc]


@asynccontextmanager
async def agent(
    settings: HostSettings,
    rhythm: Rhythm = UNTOLD,
    ears: Callable[[], RouterEvents] = RouterEvents,
    watching: Callable[..., Hints] = DriftWatcher,
) -> AsyncIterator[Agent]:
    """`ears` and `watching`: what it hears of routers' namespaces, and of the host."""
    ours, its = socket.socketpair()
    events = ears()
    kernel = Counting(settings, events)
    link = await LocalLink.over(ours, from_agent)
    uplinks = [interface for _, interface in settings.physical_networks]
    there = await LocalLink.over(its, to_agent)
    driver = Driver(there, lambda: kernel, lambda: watching(events, uplinks=uplinks), rhythm)
    running = asyncio.create_task(driver.run())
    try:
        yield Agent(link, kernel)
    finally:
        await link.close()
        async with asyncio.timeout(PATIENCE_S):
            await running


async def until(holds: Callable[[], bool]) -> None:
    """Look, beside the agent, until it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(holds):
            pass


def write(setting: str) -> None:
    ip(f"netns exec {NAMESPACE} sysctl -q -w net.{setting}")


BREAKAGES: dict[str, Callable[[], object]] = {
    "namespace deleted": lambda: delete_name(NAMESPACE),
    "link down": lambda: ip(f"link set {QR_A} down", inside=NAMESPACE),
    "link deleted": lambda: ip(f"link delete {QR_A}", inside=NAMESPACE),
    "address removed": lambda: ip(f"address flush dev {QR_A}", inside=NAMESPACE),
    "route removed": lambda: ip("route delete default", inside=NAMESPACE),
    "connected route removed": lambda: ip("route delete 10.0.0.0/24", inside=NAMESPACE),
    "forwarding off": lambda: write("ipv4.ip_forward=0"),
    "forwarding off on one link": lambda: write(f"ipv4.conf.{QR_A}.forwarding=0"),
    "rules flushed": lambda: nft("flush ruleset"),
    "rules asleep": lambda: nft("add table ip gapless { flags dormant; }"),
    "routing rules flushed": lambda: ip("rule flush", inside=NAMESPACE),
    "a chain emptied": lambda: nft("flush chain ip gapless postrouting"),
    "mark altered": lambda: ip("link set lo alias theirs", inside=NAMESPACE),
    "mark altered again": lambda: ip("link set lo alias theirs", inside=NAMESPACE),
    "tap down": lambda: ip(f"link set {TAP_A} down"),
    "tap deleted": lambda: ip(f"link delete {TAP_A}"),
    "tap unplugged": lambda: ip(f"link set {TAP_OUT} nomaster"),
    "tap in another group": lambda: ip(f"link set {TAP_OUT} group {GUARDED_GROUP}"),
    "bridge down": lambda: ip(f"link set {BRIDGE_A} down"),
    "tunnel deleted": lambda: ip("link delete vxlan-100"),
    "uplink unplugged": lambda: ip("link set ext0 nomaster"),
    "gateway link down": lambda: ip(f"link set {QG} down", inside=NAMESPACE),
}


async def test_whatever_breaks_is_mended_because_the_kernel_told_of_it(wires: Wires) -> None:
    async with agent(wires.settings) as running:
        one = router((FLOATING_IP, "10.0.0.5"))
        await running.plan(one)
        await running.active(one.id)
        assert await asyncio.to_thread(wires.reaches, "vm1b", OUTSIDE)
        for what, harm in BREAKAGES.items():
            changes = list(running.kernel.changes)
            harm()
            await until(lambda before=changes: running.kernel.changes != before)  # type: ignore[misc]
            await until(lambda: wires.reaches("vm1b", OUTSIDE))
            assert await running.given_up() == [], what


async def test_a_standby_that_is_taken_out_of_the_guard_is_put_back_and_looked_at_once_more_at_most(
    wires: Wires,
) -> None:
    def is_guarded() -> bool:
        with Netlink() as host:
            return all(links.find(host, TAPS)[tap].group == GUARDED_GROUP for tap in TAPS)

    async with agent(wires.settings) as running:
        one, other = router(), router(id=RouterId("2" * 8), ports=(), gateway=None)
        await running.plan(one, other, guarded=Guarded(role=Role.STANDBY, incarnation=Incarnation(1)))
        await running.active(one.id, other.id)

        def put_back() -> int:
            return len([it for it in running.kernel.changes if "ChangeGuard" in it])

        for number, tap in enumerate(TAPS, 1):
            ip(f"link set {tap} group 0")
            await until(is_guarded)
            # The kernel has it a moment before the agent, which looks once more, is done with it.
            await until(lambda of=number: put_back() >= of)  # type: ignore[misc]
        # What is heard later is followed later: by then, nothing is left to be said of the other router.
        delete_name(f"qrouter-{other.id}")
        await until(lambda: running.kernel.looks.count(other.id) > 1)
        assert put_back() == len(TAPS)
        assert running.kernel.looks.count(one.id) <= 1 + 2 * len(TAPS), "its own change is looked at once"


async def test_what_an_agent_does_itself_makes_no_work(wires: Wires) -> None:
    first = router()
    others = [router(id=RouterId(f"{number}" * 8), ports=(), gateway=None) for number in range(2, 5)]
    async with agent(wires.settings) as running:
        await running.plan(first, *others)
        await running.active(first.id, *(it.id for it in others))
        for it in others:
            delete_name(f"qrouter-{it.id}")
            await until(lambda of=it: f"qrouter-{of.id}" in ip("netns list"))  # type: ignore[misc]
        looks = running.kernel.looks
        assert looks.count(first.id) == 1, "its build was heard of by itself, and hints about others came after it"


async def test_a_router_that_cannot_be_mended_says_so_after_three_tries_and_the_others_are_whole(wires: Wires) -> None:
    one = router()
    others = [router(id=RouterId(f"{number}" * 8), ports=(), gateway=None) for number in range(2, 5)]
    async with agent(wires.settings) as running:
        await running.plan(one, *others)
        await running.active(one.id, *(it.id for it in others))
        # The agent shares this thread, so nothing comes between.
        ip(f"link delete {TAP_A}")
        ip(f"link add {TAP_A} type bridge")
        failed = await running.hear_until(lambda it: it.state is RouterState.FAILED)
        assert f"an interface named {TAP_A} exists" in failed.reason
        ailing = [it for it in running.said if it.state is RouterState.ACTIVE and it.ailment]
        assert [failed.reason in it.ailment for it in ailing][:1] == [True]
        assert {it.router_id for it in ailing} == {one.id}
        assert [running.kernel.looks.count(it.id) for it in others] == [1, 1, 1], "nothing was done to them"
