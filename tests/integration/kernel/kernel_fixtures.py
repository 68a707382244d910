"""A host with its wires, in the namespaces of one test: what a router is plugged into, and who talks through it.

        outside 203.0.113.1 ── ext0 │ this namespace │ data0 172.16.0.1 ── switch ┬ vm1  10.0.0.5  (VNI 100)
                                    │   = the host   │                           ├ vm1b 10.0.0.6  (VNI 100)
                                    └────────────────┘                           └ vm2  10.1.0.5  (VNI 101)

A VM here is the other end of a VXLAN segment on a machine of its own. Its way out is the router, 10.x.0.1.
"""

import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fcntl import ioctl
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

import namespaces
from gapless.agent.kernel import netns
from gapless.agent.kernel.observe import Inside
from gapless.agent.reconcile import Reconciler
from gapless.config import HostSettings
from gapless.kernel.limits import allow_descriptors
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.router import FloatingIp, Gateway, Router, RouterId, RouterPort

T = TypeVar("T")
PATIENCE_S = 20.0
"""Only a failing test waits that long. The kernel ends namespaces one after another, those of other tests' labs too."""
PROGRAM_S = 60.0
"""For one run of `ip` or `nft`, which may be given a thousand lines at once."""

ROUTER_ID = RouterId("11111111-1111-4111-8111-111111111111")
NAMESPACE = f"qrouter-{ROUTER_ID}"
TENANT_A = Network(
    id=NetworkId("aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"), type=NetworkType.VXLAN, mtu=1450, segmentation_id=100
)
TENANT_B = Network(
    id=NetworkId("bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"), type=NetworkType.VXLAN, mtu=1450, segmentation_id=101
)
EXTERNAL = Network(
    id=NetworkId("eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee"),
    type=NetworkType.FLAT,
    mtu=1500,
    physical_network="external",
)
PORT_A = RouterPort(
    id=PortId("a0000000-0000-4000-8000-000000000001"),
    network=TENANT_A,
    mac="fa:16:3e:0a:00:01",
    addresses=(IPv4Interface("10.0.0.1/24"),),
)
PORT_B = RouterPort(
    id=PortId("b0000000-0000-4000-8000-000000000001"),
    network=TENANT_B,
    mac="fa:16:3e:0b:00:01",
    addresses=(IPv4Interface("10.1.0.1/24"),),
)
PORT_OUT = RouterPort(
    id=PortId("e0000000-0000-4000-8000-000000000001"),
    network=EXTERNAL,
    mac="fa:16:3e:0e:00:01",
    addresses=(IPv4Interface("203.0.113.10/24"),),
)
GATEWAY_IP = "203.0.113.10"
FLOATING_IP = "203.0.113.20"
OUTSIDE = "203.0.113.1"
QR_A, QR_B, QG = f"qr-{PORT_A.id[:11]}", f"qr-{PORT_B.id[:11]}", f"qg-{PORT_OUT.id[:11]}"
TAP_A, TAP_OUT = f"tap{PORT_A.id[:11]}", f"tap{PORT_OUT.id[:11]}"
BRIDGE_A, BRIDGE_OUT = f"brq{TENANT_A.id[:11]}", f"brq{EXTERNAL.id[:11]}"


def router(*floating: tuple[str, str], snat: bool = True, **changes: Any) -> Router:
    """The router of these tests; floating IPs as (external, fixed) pairs."""
    made = Router(
        id=ROUTER_ID,
        name="test",
        ports=(PORT_A, PORT_B),
        gateway=Gateway(port=PORT_OUT, next_hop=IPv4Address(OUTSIDE), snat=snat),
        floating_ips=tuple(
            FloatingIp(id=outer, address=IPv4Address(outer), fixed_address=IPv4Address(inner))
            for outer, inner in floating
        ),
    )
    return replace(made, **changes)


def ip(*words: str, inside: str | None = None) -> str:
    """Run iproute2's `ip`, maybe in a namespace; returns what it said."""
    command = ["ip", *(("-n", inside) if inside else ()), *" ".join(words).split()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PROGRAM_S).stdout


def delete_name(namespace: str) -> None:
    """`ip netns delete`, as somebody does it beside an agent. It unmounts the name, and removes its file then; between
    the two the agent may have mounted it again.
    """
    try:
        ip(f"netns delete {namespace}")
    except subprocess.CalledProcessError as error:
        assert "Device or resource busy" in error.stderr  # noqa: PT017 -- of two ways that it may go, this is one


def ip_json(*words: str, inside: str | None = None) -> list[dict[str, Any]]:
    """What `ip -j` shows."""
    shown: list[dict[str, Any]] = json.loads(ip("-j", *words, inside=inside) or "[]")
    return shown


def forwards(port: str, inside: str | None = None) -> bool:
    """Whether a bridge passes on what comes by this port of its, and what goes there: the kernel's worker sees to that
    a little after both ends of the port's cable were set up (net/core/link_watch.c).
    """
    (link,) = ip_json(f"-d link show {port}", inside=inside)
    return bool(link["operstate"] == "UP" and link["linkinfo"]["info_slave_data"]["state"] == "forwarding")


def nft(commands: str, inside: str = NAMESPACE) -> str:
    """Run the `nft` program in a namespace, as an operator would."""
    command = ["ip", "netns", "exec", inside, "nft", commands]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PROGRAM_S).stdout


def await_aftermath(host: Reconciler) -> None:
    """Until all is done that follows repairs of rules."""
    is_done = threading.Event()
    last = SimpleNamespace(netlink=SimpleNamespace(close=lambda: None), packets=None, close=is_done.set)
    host._aftermath.take(ROUTER_ID, cast(Inside, last), forgets_unanswered=False)
    assert is_done.wait(PATIENCE_S)


@dataclass
class Wires:
    """The world around the host."""

    settings: HostSettings
    opened: list[socket.socket] = field(default_factory=list)

    def at(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns in a namespace; sockets made there stay there, until the test is over."""
        made = netns.enter(Path("/run/netns") / name, work)
        if isinstance(made, socket.socket):
            self.opened.append(made)
        return made

    def accept(self, server: socket.socket) -> tuple[socket.socket, str]:
        """The next connection of a server, and the address that it came from."""
        accepted, seen = server.accept()
        accepted.settimeout(PATIENCE_S)
        self.opened.append(accepted)
        return accepted, seen[0]

    def udp(self, name: str, address: str = "", port: int = 0) -> socket.socket:
        """A UDP socket in a namespace."""

        def make() -> socket.socket:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.bind((address, port))
            opened.settimeout(PATIENCE_S)
            return opened

        return self.at(name, make)

    def tcp_server(self, name: str, port: int) -> socket.socket:
        """A listening TCP socket in a namespace."""

        def make() -> socket.socket:
            opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(("", port))
            opened.listen()
            opened.settimeout(PATIENCE_S)
            return opened

        return self.at(name, make)

    def tcp_client(self, name: str, port: int = 0) -> socket.socket:
        """A TCP socket in a namespace, not yet connected."""

        def make() -> socket.socket:
            opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            opened.bind(("", port))
            opened.settimeout(PATIENCE_S)
            return opened

        return self.at(name, make)

    def ping(self, name: str, target: str, *options: str) -> subprocess.CompletedProcess[str]:
        """One echo request, a few times until answered."""
        command = ["ip", "netns", "exec", name, "ping", "-c1", "-W1", *options, target]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    def reaches(self, name: str, target: str, *options: str) -> bool:
        """Whether one of a few echo requests is answered."""
        return any(self.ping(name, target, *options).returncode == 0 for _ in range(3))

    def tap(self, name: str, interface: str) -> "Tapped":
        """Hear every frame of an interface from now on."""

        def make() -> socket.socket:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            opened.bind((interface, 0))
            opened.settimeout(PATIENCE_S)
            return opened

        return Tapped(self.at(name, make))

    def hear(self, interface: str) -> "Tapped":
        """Hear every frame of an interface of the host from now on."""
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        opened.bind((interface, 0))
        opened.settimeout(PATIENCE_S)
        self.opened.append(opened)
        return Tapped(opened)

    def packets(self, interface: str) -> socket.socket:
        """A socket that sends whole frames by an interface of the calling thread's namespace."""
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        opened.bind((interface, 0))
        self.opened.append(opened)
        return opened

    def with_physical(self, physical: dict[str, str]) -> HostSettings:
        """The host's settings with other physical networks."""
        return replace(self.settings, physical_networks=tuple(physical.items()))

    @staticmethod
    def eventually(holds: Callable[[], bool]) -> None:
        """Look until it holds; fails after a while."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail("it did not come about")
            time.sleep(0.01)


@dataclass
class Tapped:
    """Frames heard on an interface, in order."""

    socket: socket.socket

    def until(self, is_last: Callable[[bytes], bool]) -> list[bytes]:
        """Everything heard up to and with the first frame that is the last one; fails after a while without it."""
        heard: list[bytes] = []
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                frame = self.socket.recv(65536)
            except TimeoutError:
                break
            heard.append(frame)
            if is_last(frame):
                return heard
        pytest.fail(f"the frame waited for did not come; {len(heard)} others did")


def ipv4(frame: bytes) -> tuple[str, str, int, bytes] | None:
    """(source, destination, protocol, payload) of a frame; None unless it is IPv4."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return None
    length = (frame[14] & 15) * 4
    total = int.from_bytes(frame[16:18], "big")
    payload = frame[14 + length : 14 + total]
    return socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34]), frame[23], payload


def has_udp(frame: bytes, words: bytes) -> bool:
    """Whether a frame is a UDP datagram that says `words`."""
    found = ipv4(frame)
    return found is not None and found[2] == socket.IPPROTO_UDP and found[3][8:] == words


def tcp_flags(frame: bytes) -> int | None:
    """A TCP segment's flags; None unless it is one."""
    found = ipv4(frame)
    return found[3][13] if found is not None and found[2] == socket.IPPROTO_TCP and len(found[3]) >= 20 else None


def arp(frame: bytes) -> tuple[int, str, str, str] | None:
    """(operation, sender MAC, sender address, target address) of a frame; None unless it is ARP."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x06":
        return None
    operation, sender, address, _, target = struct.unpack_from("!6xH6s4s6s4s", frame, 14)
    return operation, sender.hex(":"), socket.inet_ntoa(address), socket.inet_ntoa(target)


def _plug_vm(name: str, vni: int, address: str, way_out: str, data: str) -> None:
    ip(f"netns add {name}")
    ip(f"link add s-{name} netns switch type veth peer name data0 netns {name}")
    ip(f"link set s-{name} master switch up", inside="switch")
    for words in (
        "link set lo up",
        "link set data0 up",
        f"address add {data}/24 dev data0",
        f"link add net0 mtu 1450 type vxlan id {vni} group 239.77.0.1 dev data0 dstport 4789",
        f"address add {address}/24 dev net0",
        "link set net0 up",
        f"route add default via {way_out}",
    ):
        ip(words, inside=name)


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[Wires]:
    """The world around a host, in this test's own namespaces."""
    namespaces.require()
    allow_descriptors()  # as an agent does
    for name in ("switch", "outside"):
        ip(f"netns add {name}")
        ip("link set lo up", inside=name)
    ip("link set lo up")
    ip("link add switch type bridge mcast_snooping 0", inside="switch")
    ip("link set switch up", inside="switch")
    ip("link add data0 type veth peer name s-host netns switch")
    ip("link set s-host master switch up", inside="switch")
    ip("address add 172.16.0.1/24 dev data0")
    ip("link set data0 up")
    ip("link add ext0 type veth peer name ext0 netns outside")
    ip(f"address add {OUTSIDE}/24 dev ext0", inside="outside")
    ip("link set ext0 up", inside="outside")
    _plug_vm("vm1", 100, "10.0.0.5", "10.0.0.1", "172.16.0.5")
    _plug_vm("vm1b", 100, "10.0.0.6", "10.0.0.1", "172.16.0.6")
    _plug_vm("vm2", 101, "10.1.0.5", "10.1.0.1", "172.16.0.7")
    world = Wires(
        HostSettings(
            name="host",
            state_dir=tmp_path,
            key_file=tmp_path / "key",
            physical_networks=(("external", "ext0"),),
            data_interface="data0",
        )
    )
    yield world
    for opened in world.opened:
        opened.close()


@pytest.fixture
def host(wires: Wires) -> Iterator[Reconciler]:
    """The agent's reconciler on the host."""
    reconciler = Reconciler(wires.settings)
    yield reconciler
    reconciler.close()


def spy_on_ioctl(monkeypatch: pytest.MonkeyPatch, *modules: str) -> list[bytes]:
    """What these modules of the beat ask the kernel by ioctl from now on, as it grows: each with the name first."""
    asked: list[bytes] = []

    def spying(descriptor: int, what: int, about: bytes) -> bytes:
        asked.append(about)
        return ioctl(descriptor, what, about)

    for module in modules:
        monkeypatch.setattr(f"gapless.sentinel.beat.{module}.ioctl", spying)
    return asked
