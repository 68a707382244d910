"""What happens in a router's namespace is heard from the host's, whatever it is; and nothing that concerns nobody."""

import asyncio
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kernel_fixtures import NAMESPACE, PATIENCE_S, QG, QR_A, ROUTER_ID, TAP_A, Wires, ip, nft, router

from gapless.agent.hint import Hint
from gapless.agent.kernel import netns, nsnumbers
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.steeringtable import TABLE
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Reconciler
from gapless.kernel import comm
from gapless.kernel.netlink import Netlink
from gapless.model.router import RouterId
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.guard import Guard

pytestmark = pytest.mark.isolated


@contextmanager
def ears() -> Iterator[RouterEvents]:
    events = RouterEvents()
    yield events
    events.close()


def heard_of(events: RouterEvents) -> set[RouterId | None]:
    """What was heard until now. What the kernel tells, it tells before the call that caused it returns."""
    hints: list[Hint] = []
    events.on_hint = hints.append
    events.catch_up()
    return {hint.router_id for hint in hints}


def write(setting: str, value: str) -> None:
    ip(f"netns exec {NAMESPACE} sysctl -q -w net.{setting}={value}")


def bridge_nft(verb: str) -> str:
    command = ["nft", f"{verb} bridge {TABLE}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout


DAMAGE: dict[str, Callable[[], object]] = {
    "link down": lambda: ip(f"link set {QR_A} down", inside=NAMESPACE),
    "link deleted": lambda: ip(f"link delete {QR_A}", inside=NAMESPACE),
    "link renamed": lambda: (
        ip(f"link set {QR_A} down", inside=NAMESPACE),
        ip(f"link set {QR_A} name x", inside=NAMESPACE),
    ),
    "mtu changed": lambda: ip(f"link set {QR_A} mtu 1300", inside=NAMESPACE),
    "mac changed": lambda: ip(f"link set {QR_A} address fa:16:3e:99:99:99", inside=NAMESPACE),
    "address removed": lambda: ip(f"address flush dev {QR_A}", inside=NAMESPACE),
    "address added": lambda: ip(f"address add 10.0.0.9/24 dev {QR_A}", inside=NAMESPACE),
    "route removed": lambda: ip("route delete default", inside=NAMESPACE),
    "connected route removed": lambda: ip("route delete 10.0.0.0/24", inside=NAMESPACE),
    "forwarding off": lambda: write("ipv4.ip_forward", "0"),
    "forwarding off on one link": lambda: write(f"ipv4.conf.{QG}.forwarding", "0"),
    "routing rules flushed": lambda: ip("rule flush", inside=NAMESPACE),
    "rules flushed": lambda: nft("flush ruleset"),
    "mark altered": lambda: ip("link set lo alias theirs", inside=NAMESPACE),
    "table asleep": lambda: nft("add table ip gapless { flags dormant; }"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_inside_is_heard_of_before_it_is_over(wires: Wires, what: str) -> None:
    with ears() as events:
        host = Reconciler(wires.settings, events)
        host.reconcile(router(("203.0.113.20", "10.0.0.5")))
        heard_of(events)
        DAMAGE[what]()
        assert heard_of(events) == {ROUTER_ID}
        host.close()


def readable(events: RouterEvents) -> bool:
    return bool(select.select([events], [], [], 0)[0])


@contextmanager
def called(name: str) -> Iterator[None]:
    before = Path("/proc/thread-self/comm").read_text(encoding="ascii").strip()
    comm.take(name)
    yield
    comm.take(before)


@pytest.mark.parametrize(
    ("name", "is_told"), [(comm.BEAT, False), ("gapless", True), ("gapl", True), ("nft", True), ("gapless-beas", True)]
)
def test_renewals_of_the_lease_wake_no_agent(wires: Wires, name: str, is_told: bool) -> None:
    """Twenty times a second, for nothing. Whoever else changes tables is heard, whatever it is called."""
    with ears() as events, Guard() as guard:
        guard.install()
        events.catch_up()
        with called(name):
            guard.extend(clock.now() + 1.0)
        assert readable(events) == is_told


def test_a_tap_that_is_down_is_heard_of_inside(wires: Wires) -> None:
    """A little later: that the other end lost its carrier is told by a worker of the kernel (net/core/link_watch.c)."""
    with ears() as events:
        host = Reconciler(wires.settings, events)
        host.reconcile(router())
        heard_of(events)
        ip(f"link set {TAP_A} down")
        wires.eventually(lambda: heard_of(events) == {ROUTER_ID})
        host.close()


def test_a_build_a_repair_and_a_look_have_heard_of_all_that_they_did(wires: Wires) -> None:
    with ears() as events:
        host = Reconciler(wires.settings, events)
        hints: list[Hint] = []
        events.on_hint = hints.append
        built = host.reconcile(router())
        ip(f"link set {QR_A} down", inside=NAMESPACE)
        repaired = host.reconcile(router())
        looked = host.reconcile(router())
        assert hints
        events.catch_up()
        assert all(it.heard_at <= looked.looked_s for it in hints)
        assert repaired.changed
        assert not looked.changed
        assert built.looked_s < repaired.looked_s < looked.looked_s
        host.close()


def test_another_agent_hears_of_what_it_adopted(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    with ears() as events:
        another = Reconciler(wires.settings, events)
        assert not another.reconcile(router()).changed
        heard_of(events)
        ip("route delete default", inside=NAMESPACE)
        assert heard_of(events) == {ROUTER_ID}
        another.close()


def test_a_namespace_that_ends_without_its_name_going_first(wires: Wires) -> None:
    with ears() as events:
        host = Reconciler(wires.settings, events)
        host.reconcile(router(ports=(), gateway=None))
        heard_of(events)
        host.close()  # It holds it no more.
        subprocess.run(["umount", netns.path_of(ROUTER_ID)], check=True)
        wires.eventually(lambda: ROUTER_ID in heard_of(events))
        host = Reconciler(wires.settings, events)
        host.reconcile(router(ports=(), gateway=None))
        heard_of(events)
        write("ipv4.ip_forward", "0")
        assert heard_of(events) == {ROUTER_ID}, "whatever number the new namespace got"
        host.close()


def test_strangers_are_not_heard_of(wires: Wires) -> None:
    with ears() as events:
        host = Reconciler(wires.settings, events)
        host.reconcile(router())
        heard_of(events)
        ip("netns add theirs")
        with Netlink() as netlink, Path("/run/netns/theirs").open() as theirs:
            nsnumbers.numbered_namespace(netlink, theirs.fileno())
        ip("link set lo up", inside="theirs")
        ip("link add dummy0 type bridge")
        ip("address add 192.0.2.1/32 dev lo")
        nft("add table ip theirs", inside="theirs")
        assert heard_of(events) == set()
        host.close()


def test_a_buffer_that_overran_is_a_hint_about_every_router(wires: Wires) -> None:
    with ears() as events:
        host = Reconciler(wires.settings, events)
        host.reconcile(router())
        heard_of(events)
        for opened in events.sockets:
            opened.setsockopt(1, 8, 1)  # the least that the kernel allows
        for _ in range(4):
            ip(f"link set {QR_A} down", inside=NAMESPACE)
            ip(f"link set {QR_A} up", inside=NAMESPACE)
        assert None in heard_of(events)
        host.close()


def test_a_storm_that_never_ends_holds_up_nobody_who_catches_up(tmp_path: Path) -> None:
    """Each turn of reading is answered with a little more than it reads."""
    batch = tmp_path / "batch"
    batch.write_text("address add 10.9.9.9/32 dev lo\naddress delete 10.9.9.9/32 dev lo\n" * 65)
    heard: list[RouterId | None] = []

    def say_more(hint: Hint) -> None:
        heard.append(hint.router_id)
        if len(heard) > 30:
            raise AssertionError("it reads for as long as something is said")
        ip(f"-b {batch}", inside="one")

    with ears() as events, Netlink() as host:
        for name in ("one", "two"):
            ip(f"netns add {name}")
            events.follow(host, RouterId(name), netns.DIRECTORY / name)
        events.catch_up()
        ip(f"-b {batch}", inside="one")
        ip("link set lo up", inside="two")
        events.on_hint = say_more
        began_at = time.monotonic()
        assert events.catch_up() > began_at
        assert RouterId("two") in heard, "what was said before was heard"
        assert readable(events), "and what is said since waits"


async def first_of(watcher: DriftWatcher) -> Hint:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(aiter(watcher))


async def test_a_storm_is_one_hint(wires: Wires, tmp_path: Path) -> None:
    events = RouterEvents()
    host = Reconciler(wires.settings, events)
    await asyncio.to_thread(host.reconcile, router())
    watcher = DriftWatcher(events)
    batch = tmp_path / "batch"
    batch.write_text(f"address add 10.9.9.9/32 dev {QR_A}\naddress delete 10.9.9.9/32 dev {QR_A}\n" * 500)
    ip(f"-b {batch}", inside=NAMESPACE)
    assert (await first_of(watcher)).router_id == ROUTER_ID
    assert not watcher._pending
    watcher.close()
    host.close()


async def test_a_steering_table_that_is_altered_is_a_hint_about_one_router_that_mends_it(wires: Wires) -> None:
    events = RouterEvents()
    host = Reconciler(wires.settings, events)
    await asyncio.to_thread(host.reconcile, router())
    watcher = DriftWatcher(events)
    await asyncio.to_thread(host.reconcile, router())
    while watcher._pending:
        await first_of(watcher)
    bridge_nft("delete table")
    assert (await first_of(watcher)).router_id == ROUTER_ID
    assert (await asyncio.to_thread(host.reconcile, router())).changed
    assert "about others" in bridge_nft("list table")
    watcher.close()
    host.close()


def numbered(host: Netlink, name: str) -> int | None:
    with netns.opened(netns.DIRECTORY / name) as descriptor:
        return nsnumbers.numbered_namespace(host, descriptor)


def test_a_number_that_another_namespace_had_just_before_is_listened_to() -> None:
    """The kernel gives a number again as soon as its namespace went, and the word of that may be read later."""
    with ears() as events, Netlink() as host:
        ip("netns add one")
        events.follow(host, RouterId("one"), netns.DIRECTORY / "one")
        number = numbered(host, "one")
        events.catch_up()
        ip("netns delete one")
        deadline = time.monotonic() + 60  # it ends those of other tests' labs before
        while True:
            ip("netns add two")
            if numbered(host, "two") == number:
                break
            ip("netns delete two")
            assert time.monotonic() < deadline, "the kernel gives the number to nobody"
        events.follow(host, RouterId("two"), netns.DIRECTORY / "two")
        events.catch_up()
        ip("link set lo up", inside="two")
        assert heard_of(events) == {RouterId("two")}
