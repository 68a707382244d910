"""What a burst of announcements needs beforehand: frames, sockets, indices of interfaces. Blocking.

For each port of a router there are

1. a nudge: one frame from inside the router's namespace to the bridge's own address. The bridge learns on the tap where
   the port's MAC address is, in place of the way out, where it was while another host was active. It goes no further.
   Where the tap is on a leaf of that bridge, it goes to the bridge's end of the joint, so both learn.
2. gratuitous ARP, to leave straight by the interfaces that lead away from this host (an uplink, a VXLAN device), so
   that switches and the other hosts' bridges learn. They learn MAC addresses, which stay the same in a takeover: so one
   frame for each MAC address and way out is all that is urgent. What neighbours may have missed otherwise follows in
   the repeats: the other addresses, then also the reply form, which some devices heed alone.

Interfaces are known by index from here on: to ask by a name that is gone makes the kernel look for a module.
"""

import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from gapless.core.dataplane.desired import bridge_name, gateway_link, tap_of, tenant_link, vxlan_name
from gapless.core.dataplane.leaves import root_end_of
from gapless.errors import Unavailable
from gapless.kernel import arp, netns
from gapless.kernel.netlink import Netlink, as_text, as_u32
from gapless.model.network import NetworkType
from gapless.model.observed import JOINT_PREFIX, TAP_PREFIX
from gapless.model.router import Router, RouterId, RouterPort
from gapless.sentinel.beat import interfaces
from gapless.sentinel.beat.interfaces import Link

NUDGE_ETHERTYPE: Final = 0x88B5
"""No protocol's: IEEE 802, local experimental. Nobody listens, so nobody minds."""

_SHORTEST_PAYLOAD = 46
_SEND_BUFFER_BYTES = 4 << 20
_SO_SNDBUFFORCE = 32
_SIOCGIFINDEX = 0x8933
_LINK_ADDRESS = struct.Struct("=HHiHBB8s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A router port as it is announced."""

    link: str
    """Its interface inside the router's namespace."""
    mac: str
    addresses: tuple[IPv4Address, ...]
    bridge: str
    way_out: str
    """The interface that leads away from this host; where that is the bridge itself, its ports that are no taps and no
    ends of joints do.
    """


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame and the packed address (struct sockaddr_ll) that says by which interface it leaves."""

    data: bytes
    by: bytes


@dataclass(frozen=True, slots=True)
class Nudge:
    """What follows the bridge's address in a frame to it. `bridge`: its index, or that of its end of a joint, which has
    an address of its own.
    """

    bridge: int
    rest: bytes
    by: bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """What is sent for one router."""

    ports: tuple[Port, ...]
    passes: tuple[tuple[Frame, ...], ...]
    """Gratuitous ARP: one frame for each MAC address and way out; requests for each address; requests and replies."""
    nudges: tuple[Nudge, ...]
    inside: socket.socket | None
    """In the router's namespace; None where that does not exist (yet)."""
    namespace: tuple[int, int] | None
    """Which one that is: its file's device and number."""

    @property
    def is_whole(self) -> bool:
        """Whether all that is needed was there."""
        leaving = {frame.data[6:12] for frame in self.passes[0]}
        return len(self.nudges) == len(self.ports) and len(leaving) == len({port.mac for port in self.ports})


def ports_of(router: Router, physical: Mapping[str, str]) -> tuple[Port, ...]:
    """How the ports of a router are announced on a host with these (physical network, interface) pairs.

    The gateway comes first, with its floating addresses. A port on a network that the host does not have is left out.
    """
    held = [(tenant_link(port.id), port, port.addresses) for port in router.ports]
    if router.gateway is not None:
        floating = tuple(IPv4Interface((ip.address, 32)) for ip in router.floating_ips)
        port = router.gateway.port
        held.insert(0, (gateway_link(port.id), port, (*port.addresses, *floating)))
    return tuple(
        Port(
            link=link,
            mac=port.mac,
            addresses=tuple(dict.fromkeys(address.ip for address in addresses)),
            bridge=bridge_name(port.network.id),
            way_out=way_out,
        )
        for link, port, addresses in held
        if (way_out := _way_out(port, physical)) is not None
    )


def _way_out(port: RouterPort, physical: Mapping[str, str]) -> str | None:
    match port.network.type:
        case NetworkType.VXLAN:
            vni = port.network.segmentation_id
            return vxlan_name(vni) if vni is not None else None
        case NetworkType.FLAT:
            return physical.get(port.network.physical_network or "")


def packet_socket() -> socket.socket:
    """A socket that sends frames in the calling thread's namespace and receives none."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    opened.setblocking(False)
    with suppress(PermissionError):  # frames may wait in a slow device's queue
        opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
    return opened


def get_ready(host: Netlink, router_id: RouterId, ports: tuple[Port, ...], was: Ready | None) -> Ready:
    """What a router's bursts need, as far as it is there. The socket of `was` is kept for the same namespace.

    Raises Unavailable when the kernel does not say which interfaces there are.
    """
    links = interfaces.find(host, {name for it in ports for name in (it.way_out, it.bridge, tap_of(it.link))})
    ways = {port.way_out: _ways_out(host, port.way_out, links.get(port.way_out)) for port in ports}
    inside, namespace = _socket_inside(router_id, was)
    indices = {port.link: _index_of(inside, port.link) for port in ports} if inside is not None else {}
    nudges = tuple(
        Nudge(bridge, _to_bridge(port.mac), _leaving_by(index, NUDGE_ETHERTYPE))
        for port in ports
        if (index := indices.get(port.link))
        and (root := ways[port.way_out].bridge or _index_in(links.get(port.bridge))) is not None
        and (bridge := _nudged(host, root, links.get(tap_of(port.link)))) is not None
    )
    return Ready(ports, _passes(ports, ways), nudges, inside, namespace)


def _nudged(host: Netlink, root: int, tap: Link | None) -> int | None:
    """The index of the interface with the address that a nudge goes to, where the tap is plugged in; None: it does not
    get there, for the joint is not there.
    """
    bridge = as_u32(tap[1].get(interfaces.MASTER, b"")) if tap is not None else 0
    if bridge in (0, root) or (leaf := interfaces.name_at(host, bridge)) is None:
        return root
    return _index_in(interfaces.find(host, (root_end_of(leaf),)).get(root_end_of(leaf)))


def _passes(ports: tuple[Port, ...], ways: Mapping[str, "_WaysOut"]) -> tuple[tuple[Frame, ...], ...]:
    """What leaves the first time, and at each repeat."""
    leaving = [
        (place, [Frame(data, _leaving_by(index, arp.ETHERTYPE)) for data in arp.frames(port.mac, address)])
        for port in ports
        for index in ways[port.way_out].indices
        for place, address in enumerate(port.addresses)
    ]
    first = tuple(request for place, (request, _) in leaving if place == 0)
    requests = tuple(request for _, (request, _) in leaving)
    return first, requests, tuple(frame for _, both in leaving for frame in both)


def _socket_inside(router_id: RouterId, was: Ready | None) -> tuple[socket.socket | None, tuple[int, int] | None]:
    path = netns.path_of(router_id)
    try:
        found = path.stat()
        namespace = (found.st_dev, found.st_ino)
        if was is not None and was.inside is not None and was.namespace == namespace:
            return was.inside, namespace
        return netns.enter(path, packet_socket), namespace
    except (FileNotFoundError, Unavailable):
        return None, None


@dataclass(frozen=True, slots=True)
class _WaysOut:
    indices: tuple[int, ...]
    bridge: int | None
    """The index of the bridge, where an operator's own was named as the way out."""


def _index_in(link: Link | None) -> int | None:
    return None if link is None else link[0]


def _ways_out(host: Netlink, name: str, found: Link | None) -> _WaysOut:
    if found is None:
        return _WaysOut((), None)
    index, link = found
    if not interfaces.is_bridge(link):
        return _WaysOut((index,), None)
    ports = interfaces.ports_of(host, name, index)
    inwards = (TAP_PREFIX, JOINT_PREFIX)
    leading_away = (index for index, port in ports if not as_text(port[interfaces.IFNAME]).startswith(inwards))
    return _WaysOut(tuple(leading_away), index)


def _index_of(inside: socket.socket, link: str) -> int:
    """A link's index in a socket's namespace; 0: there is none."""
    try:
        answer = ioctl(inside, _SIOCGIFINDEX, struct.pack("16s24x", link.encode()))
    except OSError:
        return 0
    return int(struct.unpack_from("=i", answer, 16)[0])


def _to_bridge(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", "")) + struct.pack("!H", NUDGE_ETHERTYPE) + bytes(_SHORTEST_PAYLOAD)


def _leaving_by(index: int, ethertype: int) -> bytes:
    return _LINK_ADDRESS.pack(socket.AF_PACKET, socket.htons(ethertype), index, 0, 0, 6, b"\xff" * 6 + bytes(2))
