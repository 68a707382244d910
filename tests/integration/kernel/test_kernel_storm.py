"""Storms of others' link events, in sockets as large as the agent makes them: the kernel drops what breaks a router in
between, and the agent, whose audits are an hour away, finds that by looking at all routers.

The agent shares the test's thread, so it reads nothing while the storm goes on, as one that the machine gives no time.
Each storm fills what the kernel would tell by: the filters of the other socket drop it, but for the last one.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from kernel_fixtures import NAMESPACE, OUTSIDE, PATIENCE_S, TAP_A, Wires, ip, router
from test_kernel_mending import agent, until

from gapless.agent.kernel import netns, nsnumbers
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.watch import DriftWatcher
from gapless.kernel.netlink import Netlink
from gapless.model.router import RouterId

pytestmark = pytest.mark.isolated

SO_MEMINFO = 55
"""asm-generic/socket.h; what it tells ends with how many messages the kernel dropped (SK_MEMINFO_DROPS)."""
LEAST_BYTES = 1 << 18
"""What the kernel lets wait in an ear of the agent's, at least: net.core.rmem_max is 208 KiB where nobody raised it,
and is doubled."""
ROUND = 500


@dataclass(frozen=True)
class Storm:
    """Links of others that change, and what breaks a router meanwhile."""

    begin: Callable[[], object]
    link: str
    harms: tuple[Callable[[], object], ...]
    inside: str | None = None
    deafens_events: bool = True
    deafens_watch: bool = True


def heard_by_all() -> None:
    """A namespace of another program's, with a number here: whoever listens to routers' namespaces hears it, too."""
    ip("netns add theirs")
    ip("link add storm type bridge", inside="theirs")
    with Netlink() as host, netns.opened(netns.DIRECTORY / "theirs") as theirs:
        assert nsnumbers.numbered_namespace(host, theirs) is not None


def inside_breaks() -> None:
    ip(f"netns exec {NAMESPACE} sysctl -q -w net.ipv4.ip_forward=0")


def outside_breaks() -> None:
    ip(f"link set {TAP_A} nomaster")


STORMS = {
    "in a namespace": Storm(heard_by_all, "storm", (inside_breaks,), inside="theirs", deafens_watch=False),
    "of VMs' taps": Storm(
        lambda: ip("link add tap-of-a-vm up type bridge"), "tap-of-a-vm", (outside_breaks,), deafens_events=False
    ),
    "on the host": Storm(lambda: ip("link add storm up type bridge"), "storm", (inside_breaks, outside_breaks)),
}


class Ears:
    """What an agent hears with."""

    def __init__(self) -> None:
        self.events = RouterEvents()
        self._watchers: list[DriftWatcher] = []

    def watch(self, events: RouterEvents, *, uplinks: Iterable[str]) -> DriftWatcher:
        self._watchers.append(DriftWatcher(events, uplinks=uplinks))
        return self._watchers[-1]

    def lost(self) -> tuple[int, int]:
        """How many messages about routers' namespaces the kernel has dropped so far, and how many about the host's."""
        (watcher,) = self._watchers
        return _dropped(self.events._links), _dropped(watcher._link_socket)


def _dropped(opened: socket.socket) -> int:
    told = struct.unpack("=9I", opened.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    assert told[1] >= LEAST_BYTES, "it is as large as the agent made it"
    return int(told[-1])


def rage(storm: Storm, ears: Ears, batch: Path) -> None:
    """Until the sockets hold no more; then something breaks, and the kernel tells nobody."""
    deafened = (storm.deafens_events, storm.deafens_watch)
    batch.write_text("".join(f"link set {storm.link} mtu {1300 + number % 100}\n" for number in range(ROUND)))
    deadline = time.monotonic() + PATIENCE_S
    while tuple(map(bool, ears.lost())) != deafened:
        assert time.monotonic() < deadline, "the sockets take all of it"
        ip(f"-b {batch}", inside=storm.inside)
    for harm in storm.harms:
        before = ears.lost()
        harm()
        after = ears.lost()
        assert any(now > then for now, then in zip(after, before, strict=True)), "this was to be lost"
    ip(f"-b {batch}", inside=storm.inside)
    assert tuple(map(bool, ears.lost())) == deafened


@pytest.mark.parametrize("where", STORMS)
async def test_what_breaks_while_events_are_lost_is_found_and_mended(wires: Wires, tmp_path: Path, where: str) -> None:
    storm, ears = STORMS[where], Ears()
    one = router()
    others = [router(id=RouterId(f"{number}" * 8), ports=(), gateway=None) for number in range(2, 5)]
    async with agent(wires.settings, ears=lambda: ears.events, watching=ears.watch) as running:
        await running.plan(one, *others)
        await running.active(one.id, *(it.id for it in others))
        await until(lambda: wires.reaches("vm1b", OUTSIDE))
        storm.begin()
        rage(storm, ears, tmp_path / "storm")
        looks, changes = len(running.kernel.looks), len(running.kernel.changed)
        assert wires.ping("vm1b", OUTSIDE).returncode != 0, "it is broken"
        everybody = {one.id, *(it.id for it in others)}
        await until(lambda: set(running.kernel.looks[looks:]) == everybody)
        await until(lambda: wires.reaches("vm1b", OUTSIDE))
        assert set(running.kernel.changed[changes:]) == {one.id}
        assert await running.given_up() == []
