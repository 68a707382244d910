"""Who speaks ARP on this host's external networks, and with which addresses: heard, and never answered.

One packet socket on each external network's bridge, where ARP comes out that is for everybody, or for the host itself:
announcements, and the requests of whoever looks for a neighbour. A socket on the uplink would hear answers to others
too, and be offered every frame of every router for it (as `sentinel.beat.uplinks` has it). Steering lets the bridge
itself hear every broadcast but requests for routers of this host.

The rule: a filter in the kernel lets ARP for IPv4 pass whose sender has an address, which probes have not (RFC 5227,
1.1), and cuts it to what is looked at; nobody is woken by a frame. What has come is read now and then, at most `_TURN`
frames of it, and only senders that use one of the addresses asked for are kept. What finds no room in a socket is
dropped by the kernel: who uses an address says so again.

The second rule: bridges are looked for by netlink. Where a network is on a bridge of the operator's there is none of
ours, and to ask by ioctl for a name that is not there makes the kernel look for a module, with a process each time.

Formats: RFC 826, packet(7).
"""

import contextlib
import errno
import socket
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from typing import Final

from gapless.agent.kernel import links
from gapless.agent.kernel.links import KernelLink
from gapless.core.dataplane.desired import bridge_name
from gapless.errors import Unavailable
from gapless.kernel import arp, bpf, limits
from gapless.kernel.netlink import Netlink
from gapless.model.network import Network, NetworkId
from gapless.model.sender import Sender

_BUFFER_BYTES: Final = 2 << 20
"""The kernel takes it twice; a frame counts for 768 bytes in it, or for 2,304 and more as network cards bring them."""
_TURN: Final = 4096
"""Frames that are read of a network at once."""
_SENDER = slice(22, 32)
"""Of a frame: the sender's hardware address and its protocol address."""
_HARDWARE_BYTES: Final = 6

_ONLY_SENDERS: Final = bpf.packed(
    # IPv4 in ARP, with addresses of 6 and 4 bytes; a sender that is not 0.0.0.0.
    (bpf.LOAD_WORD, 0, 0, 16),
    (bpf.JUMP_EQUAL, 0, 3, 0x08000604),
    (bpf.LOAD_WORD, 0, 0, 28),
    (bpf.JUMP_EQUAL, 1, 0, 0),
    bpf.first(arp.FRAME_BYTES),
    bpf.NOTHING,
)


class Senders:
    """The ears of one host on its external networks. Thread-safe; nothing here waits, but for the kernel to let go of a
    socket whose bridge is another one than before.
    """

    def __init__(self, physical: Mapping[str, str]) -> None:
        """`physical`: the interfaces of physical networks, which may be bridges of the operator's."""
        """Raises Unavailable where the kernel gives no socket to look for bridges with."""
        self._physical = dict(physical)
        self._host = Netlink()
        self._opened: dict[NetworkId, tuple[int, socket.socket]] = {}
        """Each with the number of the interface that it hears."""
        self._lock = threading.Lock()
        self._is_closed = False

    def hear(self, watched: Mapping[Network, Collection[IPv4Address]]) -> list[Sender]:
        """Who was heard to use these addresses since the last call; on a network that was not watched then, nobody.

        Raises Unavailable where it may not listen.
        """
        with self._lock:
            if self._is_closed:
                return []
            for network_id in self._opened.keys() - {network.id for network in watched}:
                self._forget(network_id)
            places = self._places(watched)
            return [each for network, addresses in watched.items() for each in self._hear(network, places, addresses)]

    def close(self) -> None:
        """Listen no more."""
        with self._lock:
            self._is_closed = True
            for network_id in list(self._opened):
                self._forget(network_id)
            self._host.close()

    def _hear(
        self, network: Network, places: Mapping[NetworkId, KernelLink], addresses: Collection[IPv4Address]
    ) -> Iterator[Sender]:
        opened = self._open(network, places.get(network.id))
        if opened is None:
            return
        for said, frames in Counter(_read(opened)).items():
            address = IPv4Address(said[_HARDWARE_BYTES:])
            if address in addresses:
                mac = said[:_HARDWARE_BYTES].hex(":")
                yield Sender(network_id=network.id, address=address, mac=mac, frames=frames)

    def _open(self, network: Network, bridge: KernelLink | None) -> socket.socket | None:
        """The socket at the network's bridge, as it is now; None: there is none."""
        heard, opened = self._opened.get(network.id, (0, None))
        if opened is not None and bridge is not None and heard == bridge.index:
            return opened
        self._forget(network.id)
        if bridge is None:
            return None
        try:
            opened = _listen(bridge.name)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENXIO):
                return None  # It went just now.
            raise Unavailable(f"it cannot be heard who speaks ARP on {bridge.name}: {error.strerror}") from error
        self._opened[network.id] = bridge.index, opened
        return opened

    def _places(self, networks: Iterable[Network]) -> dict[NetworkId, KernelLink]:
        """Where each network's ARP comes out: at our bridge, or the operator's; of one that has neither, nothing."""
        wanted = {each.id: (bridge_name(each.id), self._physical.get(each.physical_network or "")) for each in networks}
        found = links.find(self._host, sorted({name for names in wanted.values() for name in names if name}))
        there = {network_id: [found[name] for name in names if name in found] for network_id, names in wanted.items()}
        return {network_id: bridges[0] for network_id, bridges in there.items() if bridges}

    def _forget(self, network_id: NetworkId) -> None:
        _, opened = self._opened.pop(network_id, (0, None))
        if opened is not None:
            opened.close()


def _read(opened: socket.socket) -> Iterator[bytes]:
    """What has come, as hardware and protocol address of each frame's sender."""
    # Nothing is left, or the bridge is down or gone; the next call finds out.
    with contextlib.suppress(OSError):
        for _ in range(_TURN):
            yield opened.recv(arp.FRAME_BYTES)[_SENDER]


def _listen(name: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        opened.setblocking(False)
        limits.allow_unread(opened, _BUFFER_BYTES)
        bpf.attach(opened, _ONLY_SENDERS)
        opened.bind((name, arp.ETHERTYPE))
    except OSError:
        opened.close()
        raise
    return opened
