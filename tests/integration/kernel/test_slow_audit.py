"""An agent that is deaf: what the kernel tells is lost, all of it or what is of one kind, and the slow audit finds it.

Beside `test_kernel_mending`, where audits are an hour away and the kernel is heard.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from socket import socket

import pytest
from kernel_fixtures import FLOATING_IP, NAMESPACE, OUTSIDE, Wires, ip, router
from test_kernel_mending import BREAKAGES, Agent, agent, until, write

from gapless.agent import turns
from gapless.agent.driver import Rhythm
from gapless.agent.hint import Hint
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.watch import DriftWatcher
from gapless.model.router import RouterId

pytestmark = pytest.mark.isolated

AUDITING = Rhythm(listing_interval_s=0.05, audit_period_s=0.05)
ROUTER = router((FLOATING_IP, "10.0.0.5"))


@pytest.fixture(autouse=True)
def half_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """For audits, instead of a hundredth: what a look costs on a busy machine would be a hundred looks' time."""
    monkeypatch.setattr(turns, "AUDIT_SHARE", 0.5)


class Deaf:
    """Hears nothing, in place of a `DriftWatcher`."""

    def __init__(self, events: RouterEvents, **_: object) -> None:
        self._events = events
        self._is_closed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Hint]:
        nothing: list[Hint] = []
        await self._is_closed.wait()
        for hint in nothing:
            yield hint

    def close(self) -> None:
        self._is_closed.set()
        self._events.close()


class HardOfHearing(RouterEvents):
    """Of what one socket brings nothing is told."""

    def __init__(self, lost: str) -> None:
        super().__init__()
        self._lost: socket = getattr(self, lost)

    def _read_socket(self, opened: socket, most: int, hints: dict[RouterId | None, None]) -> bool:
        return super()._read_socket(opened, most, {} if opened is self._lost else hints)


class Blind(DriftWatcher):
    """What happens to the host's links, and to names of namespaces, is not seen."""

    def _note(self, data: bytes) -> None:
        pass

    def _read_names(self) -> None:
        os.read(self._names, 1 << 16)


async def breaks(running: Agent, wires: Wires, what: str, harm: Callable[[], object]) -> None:
    """And is whole again, without having failed. A name may come back by a look, or when routers are listed."""
    before = list(running.kernel.changes)
    harm()
    is_name = what == "namespace deleted"
    await until(lambda: running.kernel.changes != before or (is_name and NAMESPACE in ip("netns list")))
    await until(lambda: wires.reaches("vm1b", OUTSIDE))
    assert await running.given_up() == [], what


async def test_whatever_breaks_is_found_where_nothing_at_all_is_heard(wires: Wires) -> None:
    async with agent(wires.settings, AUDITING, watching=Deaf) as running:
        await running.plan(ROUTER)
        await running.active(ROUTER.id)
        for what, harm in BREAKAGES.items():
            await breaks(running, wires, what, harm)


@pytest.mark.parametrize(
    ("lost", "whats"),
    [
        ("_rules", ("rules flushed", "rules asleep", "a chain emptied")),
        (
            "_links",
            (
                "address removed",
                "route removed",
                "connected route removed",
                "forwarding off",
                "forwarding off on one link",
            ),
        ),
    ],
    ids=["transactions of nftables", "links, addresses, routes and forwarding"],
)
async def test_what_is_lost_of_one_kind_is_found_while_the_rest_is_heard(
    wires: Wires, lost: str, whats: Sequence[str]
) -> None:
    async with agent(wires.settings, AUDITING, ears=partial(HardOfHearing, lost)) as running:
        await running.plan(ROUTER)
        await running.active(ROUTER.id)
        for what in whats:
            await breaks(running, wires, what, BREAKAGES[what])


async def test_what_is_lost_of_the_hosts_links_and_names_is_found_while_the_rest_is_heard(wires: Wires) -> None:
    whats = ("tap unplugged", "tap in another group", "bridge down", "tunnel deleted", "uplink unplugged")
    async with agent(wires.settings, AUDITING, watching=Blind) as running:
        await running.plan(ROUTER)
        await running.active(ROUTER.id)
        for what in whats:
            await breaks(running, wires, what, BREAKAGES[what])


@pytest.mark.parametrize("setting", ["ipv4.conf.all.rp_filter=0", "netfilter.nf_conntrack_events=2"])
async def test_settings_that_the_kernel_tells_nobody_of_are_found(wires: Wires, setting: str) -> None:
    key = f"net.{setting.partition('=')[0]}"
    async with agent(wires.settings, AUDITING) as running:
        await running.plan(ROUTER)
        await running.active(ROUTER.id)
        right = ip(f"netns exec {NAMESPACE} sysctl -n {key}")
        write(setting)
        await until(lambda: ip(f"netns exec {NAMESPACE} sysctl -n {key}") == right)
