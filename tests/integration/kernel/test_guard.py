"""The guard, with real frames: what a tap in the guard's group may and may not do, whatever happens to userspace.

            outside ── up0 ┐
    host's own address ── yard (a bridge) ── tap ── the router, in a namespace of its own
                 vm ── vm0 ┘

Frames are numbered broadcasts of an Ethertype that nobody speaks. That one was held back is known by the guard's count.
"""

import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kernel_fixtures import ip, ip_json

import namespaces
from gapless.agent.kernel.netns import write_settings
from gapless.errors import Conflict, InvalidRequest, Unavailable
from gapless.kernel import netns
from gapless.kernel.netlink import ACK, NETFILTER, REQUEST, Netlink
from gapless.kernel.transactions import GENERAL, SUBSYSTEM
from gapless.model.observed import DOOMED_GROUP, GUARDED_GROUP
from gapless.sentinel.beat import clock, nftables
from gapless.sentinel.beat.guard import TABLE, Guard, Span, lease_element
from gapless.sentinel.keeper import GuardKeeper

pytestmark = pytest.mark.isolated

PATIENCE_S = 10.0
LONG_S = 600.0
TYPE = 0x88B6
ROUTER_MAC = bytes.fromhex("fa163e000001")
EVERYBODY = b"\xff" * 6
STP, RESERVED = bytes.fromhex("0180c2000000"), bytes.fromhex("0180c2000003")


QUESTION = struct.pack("=IHHII", 20, SUBSYSTEM | 16, REQUEST | ACK, 2, 0) + GENERAL.pack(0, 0, 0)
"""NFT_MSG_GETGEN (linux/netfilter/nf_tables.h), with the number that a new maker of the guard begins with."""


def until(holds: Callable[[], bool], about: str) -> None:
    """Try until it holds; fails after a while."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come about: {about}")


@dataclass
class Speaker:
    """One end of a wire: it sends numbered frames and hears those of others."""

    socket: socket.socket
    mac: bytes
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def say(self, to: bytes = EVERYBODY) -> bytes:
        """Send a frame that is like no other; returns what to listen for."""
        words = self.mac + next(self.numbers).to_bytes(4, "big")
        self.socket.send(to + self.mac + TYPE.to_bytes(2, "big") + words + bytes(40))
        return words

    def heard(self) -> list[bytes]:
        """What has arrived by now."""
        words = []
        while True:
            try:
                words.append(self.socket.recv(2048)[14:24])
            except BlockingIOError:
                return words


def speaker(namespace: str | None, link: str) -> Speaker:
    def opened() -> Speaker:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(TYPE))
        made.bind((link, TYPE))
        made.setblocking(False)
        mac = ip_json(f"link show {link}", inside=namespace)[0]["address"]
        return Speaker(made, bytes.fromhex(mac.replace(":", "")))

    return opened() if namespace is None else netns.enter(Path("/run/netns") / namespace, opened)


@dataclass
class Yard:
    """A host's bridge, and who is plugged into it."""

    router: Speaker
    outside: Speaker
    vm: Speaker
    host: Speaker
    counting: Netlink

    def muted(self) -> int:
        return nftables.counted(self.counting, TABLE)

    def is_mute(self, to: bytes = EVERYBODY) -> bool:
        """Whether the guard holds back what the router says."""
        return self.is_held_back(self.router, self.outside, to)

    def is_held_back(self, says: Speaker, hears: Speaker, to: bytes = EVERYBODY) -> bool:
        """Whether the guard holds a frame back; else it was heard."""
        before, words = self.muted(), says.say(to)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if words in hears.heard():
                return False
            if self.muted() > before:
                return True
        pytest.fail("a frame was neither held back nor heard")

    def learned_at(self, mac: bytes) -> str | None:
        """The port where the bridge found an address."""
        entries = subprocess.run(["bridge", "fdb", "show", "br", "yard"], capture_output=True, text=True, check=True)
        ports = [it.split()[2] for it in entries.stdout.splitlines() if it.startswith(mac.hex(":"))]
        return ports[0] if ports else None


@pytest.fixture
def yard() -> Iterator[Yard]:
    namespaces.require()
    write_settings({"ipv6/conf/all/disable_ipv6": "1"})  # nobody speaks but those of the test
    ip("link add yard type bridge mcast_snooping 0 forward_delay 0")
    ip("link set yard up")
    for name, port, group in (("outside", "up0", 0), ("vm", "vm0", 0), ("router", "tap0", GUARDED_GROUP)):
        ip(f"netns add {name}")
        netns.enter(Path("/run/netns") / name, lambda: write_settings({"ipv6/conf/all/disable_ipv6": "1"}))
        ip(f"link add {port} group {group} type veth peer name net0 netns {name}")
        ip(f"link set {port} master yard up")
    ip(f"link set net0 address {ROUTER_MAC.hex(':')}", inside="router")
    for name in ("outside", "vm", "router"):
        ip("link set net0 up", inside=name)
    for port in ("up0", "vm0", "tap0"):
        until(lambda port=port: ip_json(f"link show {port}")[0]["operstate"] == "UP", f"{port} is up")
    with Netlink(NETFILTER) as counting:
        made = Yard(
            speaker("router", "net0"),
            speaker("outside", "net0"),
            speaker("vm", "net0"),
            speaker(None, "yard"),
            counting,
        )
        yield made
        for it in (made.router, made.outside, made.vm, made.host):
            it.socket.close()


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    made.install()
    yield made
    made.close()


def hold(guard: Guard, for_s: float = LONG_S) -> None:
    guard.extend(clock.now() + for_s)


def nft(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["nft", command], capture_output=True, text=True, check=False, timeout=10)


def test_a_standby_is_mute_and_deaf_and_no_bridge_learns_it(yard: Yard, guard: Guard) -> None:
    hold(guard)
    assert yard.is_mute()
    assert yard.is_held_back(yard.outside, yard.router)  # flooded to all ports but this one
    assert yard.learned_at(ROUTER_MAC) is None
    assert yard.is_held_back(yard.host, yard.router, ROUTER_MAC)  # from the bridge device, to one port or by flood
    assert yard.is_held_back(yard.router, yard.host, yard.host.mac)
    assert yard.learned_at(ROUTER_MAC) is None


def test_others_on_the_bridge_are_left_alone(yard: Yard, guard: Guard) -> None:
    words = yard.vm.say()
    until(lambda: words in yard.outside.heard(), "outside hears the VM")
    words = yard.outside.say(yard.vm.mac)
    until(lambda: words in yard.vm.heard(), "the VM hears outside")


@pytest.mark.parametrize("to", [STP, RESERVED])
def test_frames_that_bridges_keep_to_themselves_teach_nothing_either(yard: Yard, guard: Guard, to: bytes) -> None:
    assert yard.is_mute(to)
    assert yard.learned_at(ROUTER_MAC) is None


def test_activation_opens_and_deactivation_closes(yard: Yard, guard: Guard) -> None:
    hold(guard)
    guard.activate(["tap0", "tap-that-is-not"])
    assert not yard.is_mute()
    assert not yard.is_held_back(yard.outside, yard.router)
    assert yard.learned_at(ROUTER_MAC) == "tap0"
    guard.activate(["tap0"])
    guard.deactivate(["tap0", "never-active"])
    assert yard.is_mute()
    guard.activate(["tap0"])
    guard.withdraw()
    hold(guard)
    assert yard.is_mute()
    assert guard.active == frozenset()
    guard.check()


def test_a_tap_that_is_built_anew_is_active_at_once(yard: Yard, guard: Guard) -> None:
    hold(guard)
    guard.activate(["tap0"])
    ip("link delete tap0")
    ip(f"link add tap0 group {GUARDED_GROUP} type veth peer name net0 netns router")
    ip("link set tap0 master yard up")
    ip("link set net0 up", inside="router")
    until(lambda: ip_json("link show tap0")[0]["operstate"] == "UP", "the tap is up")
    yard.router.socket.close()
    yard.router = speaker("router", "net0")
    assert not yard.is_mute()


def test_a_tap_is_guarded_until_it_is_gone(yard: Yard, guard: Guard) -> None:
    hold(guard)
    ip(f"link set tap0 group {DOOMED_GROUP}")
    assert yard.is_mute()


def test_without_a_lease_nothing_is_open(yard: Yard, guard: Guard) -> None:
    guard.activate(["tap0"])
    assert yard.is_mute()
    hold(guard)
    assert not yard.is_mute()
    guard.extend(clock.now() - 1)
    assert yard.is_mute()


HOLDER = """
import sys
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.guard import Guard
guard = Guard()
guard.install()
guard.activate(["tap0"])
while True:
    guard.extend(clock.now() + 0.5)
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_stopped_process_lets_its_lease_end(yard: Yard) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None

    def is_heard_after_renewal() -> bool:
        assert holder.stdin is not None
        assert holder.stdout is not None
        print(file=holder.stdin, flush=True)
        holder.stdout.readline()
        return not yard.is_mute()

    holder.stdout.readline()
    until(is_heard_after_renewal, "the router is heard while the lease is renewed")
    os.kill(holder.pid, signal.SIGSTOP)
    until(yard.is_mute, "the lease ends by itself")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert yard.is_mute()
    with Guard() as heir:  # what the dead one left is adopted, withdrawn
        heir.install()
        hold(heir)
        assert heir.active == frozenset()
        assert yard.is_mute()
        heir.activate(["tap0"])
        assert not yard.is_mute()
    holder.stdin.close()
    holder.stdout.close()


def test_a_lease_computed_before_a_pause_revives_nothing_after_it(yard: Yard) -> None:
    pause_s = 5.0
    with Guard(wall_ns=lambda: time.time_ns() - int(pause_s * 1e9), now_s=lambda: clock.now() - pause_s) as paused:
        paused.install()
        paused.activate(["tap0"])
        paused.extend(clock.now() - 1)  # by its clocks there are 4 s left
        assert yard.is_mute()


def test_a_pause_between_the_clocks_shortens_the_lease(yard: Yard) -> None:
    with Guard(wall_ns=lambda: time.time_ns() - int(5e9)) as paused:
        paused.install()
        paused.activate(["tap0"])
        hold(paused, for_s=4.0)
        assert yard.is_mute()


def test_a_wall_clock_that_was_set_back_prolongs_nothing(yard: Yard, guard: Guard) -> None:
    """By the wall clock the lease lasts an hour; by its timeout, a moment."""
    guard.activate(["tap0"])
    now_ns = time.time_ns()
    lengthened = lease_element(Span(now_ns - int(1e9), now_ns + int(3.6e12), timeout_ms=300))
    guard._commit(lambda: lengthened, "a lease from before the clock was set back")
    until(yard.is_mute, "the timeout ends it")


def test_a_wall_clock_that_was_set_back_far_closes(yard: Yard) -> None:
    with Guard(wall_ns=lambda: time.time_ns() + int(3.6e12)) as guard:
        guard.install()
        guard.activate(["tap0"])
        hold(guard)
        assert yard.is_mute()


def test_an_operators_flush_leaves_the_guard_alone(yard: Yard, guard: Guard) -> None:
    assert guard.is_owned
    hold(guard)
    nft("add table ip theirs")
    assert nft("flush ruleset").returncode == 0
    assert nft(f"delete table bridge {TABLE}").returncode != 0
    assert nft(f"add element bridge {TABLE} active {{ tap0 }}").returncode != 0
    guard.check()
    assert yard.is_mute()
    guard.activate(["tap0"])  # the ruleset has changed since, the guard has not
    assert not yard.is_mute()


def test_a_flush_between_two_beats_leaves_the_guard_alone(yard: Yard) -> None:
    """The sentinel keeps the socket that owns the guard; each beat has a duplicate of it."""
    keeper = GuardKeeper()
    with Guard(os.dup(keeper.descriptor())) as first:
        first.install()
        hold(first)
        first.activate(["tap0"])
        assert not yard.is_mute()
        first.extend(0.0)
    nft("add table ip theirs")
    assert nft("flush ruleset").returncode == 0
    assert nft(f"delete table bridge {TABLE}").returncode != 0
    assert yard.is_mute()
    with Guard() as stranger, pytest.raises(Unavailable, match="make the guard"):
        stranger.install()
    with Guard(os.dup(keeper.descriptor())) as second:
        second.install()
        hold(second)
        assert yard.is_mute()
        second.activate(["tap0"])
        assert not yard.is_mute()
    keeper.shut()


def test_answers_to_a_beat_that_died_are_not_the_next_ones(yard: Yard) -> None:
    keeper = GuardKeeper()
    with Guard(os.dup(keeper.descriptor())) as first:
        first.install()
        first._transactions._send(QUESTION)
    with Guard(os.dup(keeper.descriptor())) as second:
        second.install()
        second.check()
        assert yard.is_mute()
    keeper.shut()


def test_after_an_orderly_stop_guarded_taps_are_mute_whatever_is_flushed(yard: Yard) -> None:
    keeper = GuardKeeper()
    with Guard(os.dup(keeper.descriptor())) as guard:
        guard.install()
        hold(guard)
        guard.activate(["tap0"])
        assert not yard.is_mute()
    keeper.shut()
    assert nft("flush ruleset").returncode == 0
    assert nft(f"list table bridge {TABLE}").returncode != 0
    until_other = yard.vm.say()
    never = yard.router.say()
    later = yard.vm.say()
    heard: list[bytes] = []

    def is_past() -> bool:
        heard.extend(yard.outside.heard())
        return later in heard

    until(is_past, "unguarded ports go on")
    assert until_other in heard
    assert never not in heard
    ip("link set tap0 up")  # As the next agent does: and nothing else held it back.

    def is_heard() -> bool:
        words = yard.router.say()
        time.sleep(0.01)
        return words in yard.outside.heard()

    until(is_heard, "the tap is as it was")


def test_a_change_whose_answer_is_lost_is_undone_by_restoring(
    yard: Yard, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(guard)

    def lose() -> list[tuple[int, int, bytes]]:
        monkeypatch.undo()
        raise Unavailable("an answer about nftables was lost: No buffer space available")

    monkeypatch.setattr(guard._transactions, "_answers", lose)
    with pytest.raises(Conflict, match="nobody knows"):
        guard.activate(["tap0"])
    assert not yard.is_mute(), "the kernel did it"
    assert guard.active == frozenset()
    guard.restore()
    assert yard.is_mute()
    guard.check()
    guard.activate(["tap0"])
    assert not yard.is_mute()


def test_there_is_one_guard_a_host(yard: Yard, guard: Guard) -> None:
    with Guard() as second, pytest.raises(Unavailable, match="make the guard"):
        second.install()
    guard.check()


@pytest.fixture
def unowned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    """A guard on a kernel that keeps no tables for one process."""
    monkeypatch.setattr(nftables, "PERSIST", 0x80)
    with Guard() as guard:
        guard.install()
        assert not guard.is_owned
        yield guard


@pytest.mark.parametrize(
    "tampering",
    [
        "flush ruleset",
        f"delete table bridge {TABLE}",
        f"flush table bridge {TABLE}",
        f"flush chain bridge {TABLE} arriving",
        f"insert rule bridge {TABLE} arriving accept",
        f"add chain bridge {TABLE} arriving {{ policy drop; }}",
        f"add element bridge {TABLE} active {{ tap1 }}",
        f"delete element bridge {TABLE} active {{ tap0 }}",
        f"flush ruleset; add table bridge {TABLE}",
    ],
)
def test_tampering_is_noticed_by_the_next_renewal_and_mended(yard: Yard, unowned: Guard, tampering: str) -> None:
    hold(unowned)
    unowned.activate(["tap0"])
    assert nft(tampering).returncode == 0
    with pytest.raises(Conflict, match="by somebody else"):
        hold(unowned)
    unowned.restore()
    unowned.check()
    assert not yard.is_mute()
    hold(unowned)
    unowned.deactivate(["tap0"])
    assert yard.is_mute()


def test_what_others_do_elsewhere_does_no_harm(yard: Yard, unowned: Guard) -> None:
    assert nft("add table ip theirs").returncode == 0
    hold(unowned)
    unowned.activate(["tap0"])
    assert nft("flush table ip theirs").returncode == 0
    unowned.withdraw()
    unowned.check()


def test_a_thousand_routers_at_once(yard: Yard, guard: Guard) -> None:
    names = [f"tap{number:08x}-ab" for number in range(5000)]
    guard.activate([*names, "tap0"])
    hold(guard)
    guard.check()
    assert not yard.is_mute()
    guard.deactivate(names)
    assert guard.active == {"tap0"}
    guard.check()


def test_what_cannot_be_is_refused(guard: Guard) -> None:
    with pytest.raises(InvalidRequest, match="more than 32768"):
        guard.activate(f"t{number}" for number in range(40000))
    with pytest.raises(InvalidRequest, match="name"):
        guard.activate(["a-name-of-sixteen"])
    with Guard() as unmade, pytest.raises(Unavailable, match="not made yet"):
        unmade.extend(clock.now() + 1)
    guard.check()


def test_the_kernels_refusal_is_told(guard: Guard) -> None:
    guard.close()
    with pytest.raises(Conflict, match="took no nftables transaction"):
        hold(guard)


def test_one_who_changes_the_ruleset_all_the_time_is_told_of(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that the guard looks, another generation has come by when it acts."""
    hold(guard)
    generation = guard._transactions.generation
    monkeypatch.setattr(guard._transactions, "generation", lambda: generation() - 1)
    assert nft("add table ip theirs").returncode == 0
    with pytest.raises(Unavailable, match="faster"):
        hold(guard)
    with pytest.raises(Unavailable, match="faster"):
        guard.restore()
    monkeypatch.undo()
    guard.install()
    hold(guard)
