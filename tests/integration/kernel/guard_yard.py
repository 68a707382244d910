"""A host's bridge with one guarded tap on it, and who says and hears what there.

            outside ── up0 ┐
    host's own address ── yard (a bridge) ── tap ── the router, in a namespace of its own
                 vm ── vm0 ┘

Frames are numbered broadcasts of an Ethertype that nobody speaks. That one was held back is known by the guard's count.
"""

import itertools
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kernel_fixtures import ip, ip_json

import namespaces
from gapless.agent.kernel import sysctls
from gapless.kernel import netns
from gapless.kernel.netlink import NETFILTER, Netlink
from gapless.model.observed import GUARDED_GROUP
from gapless.sentinel.beat import clock, nftables
from gapless.sentinel.beat.guard import TABLE, Guard

PATIENCE_S = 10.0
LONG_S = 600.0
TYPE = 0x88B6
ROUTER_MAC = bytes.fromhex("fa163e000001")
EVERYBODY = b"\xff" * 6


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
    sysctls.write({"ipv6/conf/all/disable_ipv6": "1"})  # nobody speaks but those of the test
    ip("link add yard type bridge mcast_snooping 0 forward_delay 0")
    ip("link set yard up")
    for name, port, group in (("outside", "up0", 0), ("vm", "vm0", 0), ("router", "tap0", GUARDED_GROUP)):
        ip(f"netns add {name}")
        netns.enter(Path("/run/netns") / name, lambda: sysctls.write({"ipv6/conf/all/disable_ipv6": "1"}))
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
