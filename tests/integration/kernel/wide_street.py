"""More routers on one network than one bridge has ports: a root and its leaves, here with room for very few.

outside ── ext0 ┐ root: 2 taps ├─ joint ── leaf a: 4 taps
                └──────────────┴─ joint ── leaf b: 2 taps
"""

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface

import pytest
from kernel_fixtures import EXTERNAL, OUTSIDE, Tapped, Wires, ip_json

from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import tap_name
from gapless.core.dataplane.leaves import leaf_of
from gapless.model.leaf import Room
from gapless.model.network import PortId
from gapless.model.router import Gateway, Router, RouterId, RouterPort

SMALL = Room(ports=5, leaves=2)
"""Three ports for others than joints at the root, the uplink among them; four at each leaf."""
LEAF_A, LEAF_B = leaf_of(EXTERNAL.id, 1), leaf_of(EXTERNAL.id, 2)
STRANGER = "02:00:00:00:00:55"
NOISE, END = 0x88B5, 0x88B6
"""Ethertypes for experiments (IEEE 802)."""


def router(number: int) -> Router:
    """One with a gateway and nothing else."""
    port = RouterPort(
        id=PortId(f"e{number:07x}-0000-4000-8000-000000000001"),
        network=EXTERNAL,
        mac=f"fa:16:3e:0e:01:{number:02x}",
        addresses=(IPv4Interface(f"203.0.113.{100 + number}/24"),),
    )
    return Router(
        id=RouterId(f"{number:08x}-1111-4111-8111-111111111111"),
        name=f"r{number}",
        gateway=Gateway(port=port, next_hop=IPv4Address(OUTSIDE), snat=True),
    )


ROUTERS = [router(number) for number in range(8)]
AT_ROOT, ON_A, ON_B = ROUTERS[:2], ROUTERS[2:6], ROUTERS[6:]


def port_of(it: Router) -> RouterPort:
    assert it.gateway is not None
    return it.gateway.port


def tap(it: Router) -> str:
    return tap_name(port_of(it).id)


def address(it: Router) -> str:
    return str(port_of(it).addresses[0].ip)


def namespace(it: Router) -> str:
    return f"qrouter-{it.id}"


def bridge_of(it: Router) -> str | None:
    (found,) = ip_json(f"link show {tap(it)}")
    master: str | None = found.get("master")
    return master


def names() -> set[str]:
    return {link["ifname"] for link in ip_json("link")}


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def request(sender: str, source: str, target: str) -> bytes:
    """A broadcast ARP request."""
    fixed = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    words = packed(sender) + socket.inet_aton(source) + bytes(6) + socket.inet_aton(target)
    return b"\xff" * 6 + packed(sender) + b"\x08\x06" + fixed + words


def noise(sender: str, to: str = "ff:ff:ff:ff:ff:ff", ethertype: int = NOISE) -> bytes:
    return packed(to) + packed(sender) + struct.pack("!H", ethertype) + bytes(46)


class Street:
    """Somebody outside, and what comes out at routers' taps of what is sent from there."""

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self._sending = wires.at("outside", lambda: wires.packets("ext0"))
        self._taps: dict[str, Tapped] = {}

    def listen(self) -> None:
        for it in ROUTERS:
            self._taps[tap(it)] = self.wires.hear(tap(it))

    def send(self, frame: bytes) -> None:
        self._sending.send(frame)

    def seen(self, it: Router) -> list[bytes]:
        """What came to this router until now: a last frame, for it alone, tells when."""
        self.send(noise(STRANGER, port_of(it).mac, END))
        return self._taps[tap(it)].until(lambda frame: frame[12:14] == struct.pack("!H", END))

    def hearers(self, of: bytes) -> set[str]:
        """Whose taps a frame, just like that, came out at."""
        return {it.name for it in ROUTERS if of in self.seen(it)}


@pytest.fixture
def host(wires: Wires) -> Iterator[Reconciler]:
    """A host whose bridges have room for very few ports."""
    reconciler = Reconciler(wires.settings, room=SMALL)
    yield reconciler
    reconciler.close()


@pytest.fixture
def street(wires: Wires, host: Reconciler) -> Street:
    """Eight routers, on three bridges, each of which was heard outside."""
    for it in ROUTERS:
        host.reconcile(it)
    made = Street(wires)
    for it in ROUTERS:
        assert wires.reaches("outside", address(it))
    made.listen()
    return made
