"""The process that watches the hosts' cables at the switches: which host sent a frame of which router, and when.

It sees a frame where it arrives at the switch's end of a cable, outside of everything that a host can reach. One packet
socket hears all ports of the lab's own namespace (packet(7)); a filter in the kernel leaves the frames whose source is
one of OpenStack's MAC addresses, on the external network as they are, on the data network inside of VXLAN (RFC 7348).
Which router's, and which host's cable, is looked up here, by network and address: in every twelfth lab of a thousand
routers two have the same random address on different networks, which is as it should be. The kernel stamps each frame
and puts it into a ring that is shared with this process: a thousand frames cost one wake-up.

A host that forwards where nobody sends it anything would not be noticed. So the gateway addresses of routers are asked
for in turn, by ARP requests that a host hands to the router's tap, wherever its bridge believes it (see `answers`).

**What the ring has no room for is counted by the kernel and told**: then nobody knows how often two were active.

Standard input: one line of `Orders`, then `begin` (forget what was seen) and `end FILE` (write what was seen, end).
Standard output: one line, `ready`.
"""

import gc
import os
import select
import socket
import sys
import time
from array import array
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from itertools import cycle
from math import inf
from pathlib import Path

import msgspec

from gapless.config import VXLAN_PORT
from gapless.lab.machines import linux
from gapless.lab.measuring import answers, packets
from gapless.lab.measuring.double_active import Run, runs
from gapless.lab.measuring.packets import Line
from gapless.lab.measuring.ring import RETIRE_MS, Ring

READY = b"ready\n"
ASK_EACH_S = 0.005
"""A host that forwards for too long does so with all its routers: whichever is asked for betrays it. So what counts is
the time between two requests, of whichever router.
"""
SNAP_BYTES = 64
"""As much of a frame as is kept: with VXLAN's headers, up to the inner source."""

_SOURCE_AT = 6
_VNI_AT = 14 + 20 + 8 + 4
_INNER_SOURCE_AT = 14 + 20 + 8 + 8 + _SOURCE_AT


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the sniffer is told when it starts. `deaf_to`: the data network's port that is no host's."""

    host_of_port: dict[str, str]
    outside: dict[str, str]
    """MAC address on the external network -> router."""
    inside: dict[int, dict[str, str]]
    """VNI of a network -> MAC address in there -> router."""
    deaf_to: str = ""
    ask_through: str = ""
    """The external network's switch, for the addresses to ask for."""
    addresses: tuple[str, ...] = ()

    @property
    def macs(self) -> set[str]:
        """All addresses."""
        return self.outside.keys() | {mac for of_network in self.inside.values() for mac in of_network}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What it saw. `lost`: frames that it had to let go, so that `runs` are not all there was."""

    runs: tuple[Run, ...]
    frames: int
    lost: int


def filter_for(macs: Iterable[str], deaf_to: int = 0) -> list[Line]:
    """Keep frames whose source, or source inside of VXLAN, begins as these addresses do. `deaf_to`: an interface.

    Raises ValueError when the addresses do not all begin with the same three octets.
    """
    (first,) = {_octets(mac)[:3] for mac in macs} or {bytes(3)}
    prefix = int.from_bytes(first)
    keep, drop = 18, 19
    return [
        (packets.LD_W, None, None, packets.INTERFACE),
        (packets.JEQ, drop, None, deaf_to),
        (packets.LD_W, None, None, _SOURCE_AT),
        (packets.RSH, None, None, 8),
        (packets.JEQ, keep, None, prefix),
        (packets.LD_H, None, None, 12),
        (packets.JEQ, None, drop, packets.ETH_P_IPV4),
        (packets.LD_B, None, None, 14),
        (packets.JEQ, None, drop, 0x45),  # without options
        (packets.LD_H, None, None, 20),
        (packets.JSET, drop, None, 0x1FFF),  # no later fragment
        (packets.LD_B, None, None, 23),
        (packets.JEQ, None, drop, socket.IPPROTO_UDP),
        (packets.LD_H, None, None, 36),
        (packets.JEQ, None, drop, VXLAN_PORT),
        (packets.LD_W, None, None, _INNER_SOURCE_AT),
        (packets.RSH, None, None, 8),
        (packets.JEQ, None, drop, prefix),
        (packets.RET, None, None, SNAP_BYTES),
        (packets.RET, None, None, 0),
    ]


class Asker:
    """Asks for addresses, one after another, each time that it is due."""

    def __init__(self, addresses: Sequence[str], through: str) -> None:
        self._addresses = cycle(addresses)
        self.due = time.monotonic() if addresses else inf
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        if addresses:
            self._socket.bind((through, 0))

    def ask(self, now: float) -> None:
        """Ask, if it is due."""
        if now < self.due:
            return
        self.due = max(self.due + ASK_EACH_S, now)
        own: bytes = self._socket.getsockname()[-1]
        self._socket.send(answers.probe(own, IPv4Address(next(self._addresses))))


class Sniffer:
    """Takes frames out of the ring and notes time, router and host of those that are some router's."""

    def __init__(self, orders: Orders, ring: Ring) -> None:
        self._ring = ring
        self._hosts = sorted(set(orders.host_of_port.values()))
        inside = [(vni, mac, router) for vni, macs in orders.inside.items() for mac, router in macs.items()]
        self._routers = sorted({*orders.outside.values(), *(router for _, _, router in inside)})
        self._port_of_name = {port: self._hosts.index(host) for port, host in orders.host_of_port.items()}
        self._port_of_index: dict[int, int | None] = {}
        number_of = {router: number for number, router in enumerate(self._routers)}
        self._outside = {_octets(mac): number_of[router] for mac, router in orders.outside.items()}
        self._inside = {vni.to_bytes(3) + _octets(mac): number_of[router] for vni, mac, router in inside}
        self.begin()

    def begin(self) -> None:
        """Forget what was seen."""
        for _ in self._ring.frames():
            pass
        self._times, self._whose = array("q"), array("q")
        self._ring.dropped()
        self.unplaced = 0
        """Frames of ports that were gone when it was looked up whose they are."""

    def take(self) -> None:
        """Note what the ring holds."""
        memory, outside, inside = self._ring.memory, self._outside, self._inside
        port_of_index, hosts = self._port_of_index, len(self._hosts)
        for at_ns, index, at in self._ring.frames():
            router = outside.get(memory[at + _SOURCE_AT : at + _SOURCE_AT + 6])
            if router is None:
                vni = memory[at + _VNI_AT : at + _VNI_AT + 3]
                router = inside.get(vni + memory[at + _INNER_SOURCE_AT : at + _INNER_SOURCE_AT + 6])
                if router is None:
                    continue
            host = port_of_index[index] if index in port_of_index else self._learn(index)
            if host is not None:
                self._times.append(at_ns)
                self._whose.append(router * hosts + host)

    def _learn(self, index: int) -> int | None:
        """Whose cable a port is. A host that was powered on again has new ones."""
        try:
            host = self._port_of_name.get(socket.if_indextoname(index))
        except OSError:
            self.unplaced += 1  # the port is gone, and with it the knowledge whose it was
            return None
        self._port_of_index[index] = host
        return host

    def seen(self) -> Seen:
        """All that it saw since the beginning."""
        hosts = len(self._hosts)
        frames = (
            (at_ns, self._routers[whose // hosts], self._hosts[whose % hosts])
            for at_ns, whose in zip(self._times, self._whose, strict=True)
        )
        return Seen(runs=tuple(runs(frames)), frames=len(self._times), lost=self._ring.dropped() + self.unplaced)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _say_ready() -> None:
    """What crosses the cables from now on is seen."""
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()


def _drain(sniffer: Sniffer) -> None:
    """Take what is under way: a block with a frame of this moment is handed over in `RETIRE_MS`, by a timer of the
    kernel that is late on a busy machine.
    """
    deadline = time.monotonic() + 15 * RETIRE_MS / 1000
    while time.monotonic() < deadline:
        time.sleep(RETIRE_MS / 1000)
        sniffer.take()


def main() -> int:
    """Run until `end` or until standard input closes."""
    linux.die_with_parent()
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    deaf_to = socket.if_nametoindex(orders.deaf_to) if orders.deaf_to else 0
    ring = Ring(filter_for(orders.macs, deaf_to))
    sniffer = Sniffer(orders, ring)
    asker = Asker(orders.addresses, orders.ask_through)
    gc.freeze()
    gc.disable()
    _say_ready()
    poll = select.poll()
    poll.register(ring, select.POLLIN)
    poll.register(sys.stdin.fileno(), select.POLLIN)
    while True:
        wait_ms = max(0.0, asker.due - time.monotonic()) * 1000 if orders.addresses else None
        spoken_to = any(descriptor == sys.stdin.fileno() for descriptor, _ in poll.poll(wait_ms))
        sniffer.take()
        asker.ask(time.monotonic())
        if not spoken_to:
            continue
        said = os.read(sys.stdin.fileno(), 4096).decode()
        for line in said.splitlines():
            word, _, path = line.partition(" ")
            if word == "begin":
                sniffer.begin()
                _say_ready()
            else:
                _drain(sniffer)
                Path(path).write_bytes(msgspec.json.encode(sniffer.seen()))
                return 0
        if not said:
            return 0


if __name__ == "__main__":
    raise SystemExit(main())
