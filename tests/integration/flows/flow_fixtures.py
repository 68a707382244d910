"""One router, built twice, between a client and a server; one of the two is plugged in.

        client 10.0.0.2 ── switch ┬ router on "a" ┬ switch ── server 198.51.100.9
                                  └ router on "b" ┘
                     10.0.0.1, SNAT to 198.51.100.1; 198.51.100.7 is 10.0.0.2's floating IP

`Pair.source` and `Pair.sink` are what runs on the two hosts, in this process.
"""

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

import namespaces
from gapless.agent.kernel.netns import prepare_directory
from gapless.core.dataplane.desired import SETTINGS
from gapless.flows.figures import Figures
from gapless.flows.session import first_to_end
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.kernel.netns import DIRECTORY, enter
from gapless.model.flow import FlowPolicy
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire.flows import Identity

T = TypeVar("T")
ROUTER = RouterId("11111111-1111-4111-8111-111111111111")
SERVER, GATEWAY, FLOATING, CLIENT = "198.51.100.9", "198.51.100.1", "198.51.100.7", "10.0.0.2"
PATIENCE_S = 30.0
"""Only a failing test waits that long. What is held up comes when TCP tries again, after as long once more."""
MOST = 100_000
_RULES = f"""
table ip gapless {{
  chain input {{ type filter hook input priority 0; policy drop; iifname "lo" accept; icmp type echo-request accept; }}
  chain forward {{ type filter hook forward priority 0; policy accept; ct state invalid drop; }}
  chain prerouting {{ type nat hook prerouting priority -100; policy accept; ip daddr {FLOATING} dnat to {CLIENT}; }}
  chain postrouting {{ type nat hook postrouting priority 100; policy accept; oifname "out" snat to {GATEWAY}; }}
}}
"""


def sh(*lines: str, inside: str | None = None, given: str | None = None) -> str:
    """Run these lines, maybe in a namespace."""
    command = [*(("ip", "netns", "exec", inside) if inside else ()), "sh", "-ec", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, input=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


def at(name: str, work: Callable[[], T]) -> T:
    """What `work` returns in a namespace."""
    return enter(DIRECTORY / name, work)


def _plug(name: str, device: str, bridge: str, mac: str, *addresses: str, up: bool = True) -> None:
    tap = f"{name}-{device}"
    sh(
        f"ip link add {tap} type veth peer name {device} address {mac} netns {name}",
        f"ip link set {tap} {f'master {bridge}' if up else ''} up",
        *(f"ip -n {name} address add {address} dev {device}" for address in addresses),
        f"ip -n {name} link set {device} up",
    )


@dataclass
class Pair:
    """The router on its two hosts."""

    told: set[str] = field(default_factory=set)
    """Hosts on which it is open."""
    opened: list[socket.socket] = field(default_factory=list)
    figures: dict[str, Figures] = field(default_factory=lambda: {name: Figures() for name in "ab"})

    def make_router(self, name: str) -> None:
        """Build it on a host, not plugged in."""
        sh(f"ip netns add {name}", f"ip -n {name} link set lo up")
        settings = "".join(f"{key.replace('/', '.')}={value}\n" for key, value in SETTINGS.items())
        sh(
            "sysctl -qe -p /dev/stdin >/dev/null 2>&1 || true",
            inside=name,
            given=f"net.{'net.'.join(settings.splitlines(keepends=True))}",
        )
        sh("nft -f -", inside=name, given=_RULES)
        _plug(name, "in", "inside", "02:00:00:00:01:01", "10.0.0.1/24", up=False)
        _plug(name, "out", "outside", "02:00:00:00:01:02", f"{GATEWAY}/24", f"{FLOATING}/32", up=False)

    def plug_in(self, name: str) -> None:
        """This one's frames pass, and the other's do not: what the guard does."""
        other = "b" if name == "a" else "a"
        with contextlib.suppress(AssertionError):
            sh(*(f"ip link set {other}-{device} nomaster" for device in ("in", "out")))
        sh(f"ip link set {name}-in master inside", f"ip link set {name}-out master outside")
        for target in (CLIENT, SERVER):
            sh(f"ping -c1 -W1 {target} >/dev/null || true", inside=name)
        self.told = {name}

    def add_machine(self, name: str, number: int) -> None:
        """One more behind the router, at 10.0.0.`number`."""
        sh(f"ip netns add {name}", f"ip -n {name} link set lo up")
        _plug(name, "eth0", "inside", f"02:00:00:00:02:{number:02x}", f"10.0.0.{number}/24")
        sh(f"ip -n {name} route add default via 10.0.0.1")

    def connected(self, port: int = 5001) -> tuple[socket.socket, socket.socket]:
        """A TCP connection from the client through the router: its two ends."""
        server = at("server", lambda: socket.create_server((SERVER, port)))
        client = at("client", lambda: socket.create_connection((SERVER, port), timeout=PATIENCE_S))
        accepted, _ = server.accept()
        accepted.settimeout(PATIENCE_S)
        self.opened += [server, client, accepted]
        return client, accepted

    def tracked(self, name: str) -> list[str]:
        """The kernel's own list of the TCP, UDP and SCTP flows of a router."""
        lines = at(name, lambda: Path("/proc/thread-self/net/nf_conntrack").read_text()).splitlines()
        return [line for line in lines if line.split()[2] in ("tcp", "udp", "sctp")]

    def identity(self, name: str, key: bytes = b"k" * 32) -> Identity:
        """Who host `name` is."""
        return Identity(name=HostName(name), cluster="lab", key=key)

    def source(self, name: str = "a", most: int = MOST, policy: FlowPolicy | None = None) -> Source:
        """What runs where the router is active."""
        return Source(
            self.identity(name),
            self.figures[name],
            lambda _: name in self.told,
            most=most,
            policy=policy,
            path_of=lambda _: DIRECTORY / name,
        )

    def sink(self, name: str = "b", of: str = "a", key: bytes = b"k" * 32) -> Sink:
        """What runs on the host that may succeed it."""
        sink = Sink(self.identity(name, key), HostName(of), self.figures[name], path_of=lambda _: DIRECTORY / name)
        sink.follow(frozenset({ROUTER}), ("127.0.0.1", 9695))
        return sink

    @asynccontextmanager
    async def following(self, source: Source, *sinks: Sink) -> AsyncIterator[None]:
        """Let them run, as their processes do."""

        async def look() -> None:
            while True:
                await asyncio.sleep(0.02)
                source.look(time.monotonic())
                for sink in sinks:
                    sink.look()

        running = asyncio.ensure_future(
            first_to_end(source.serve("127.0.0.1", 9695), look(), *(sink.run() for sink in sinks))
        )
        try:
            yield
            assert not running.done(), running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(what: str, holds: Callable[[], bool]) -> None:
    """Look until it holds."""
    async with asyncio.timeout(PATIENCE_S) as patience:
        while not holds():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pytest.fail(f"not within {PATIENCE_S:g} s: {what}") if patience.expired() else None
                raise


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The router, built on both, plugged in on "a"."""
    namespaces.require()
    prepare_directory()
    made = Pair()
    sh(
        "ip link set lo up",
        *(
            f"ip link add {name} type bridge forward_delay 0 mcast_snooping 0\nip link set {name} up"
            for name in ("inside", "outside")
        ),
    )
    for name, bridge, address in (("client", "inside", f"{CLIENT}/24"), ("server", "outside", f"{SERVER}/24")):
        sh(f"ip netns add {name}", f"ip -n {name} link set lo up")
        _plug(name, "eth0", bridge, f"02:00:00:00:00:{len(name):02x}", address)
    sh("ip -n client route add default via 10.0.0.1")
    for name in "ab":
        made.make_router(name)
    made.plug_in("a")
    yield made
    for each in made.opened:
        each.close()
