"""VXLAN devices in rtnetlink, and where they flood frames to (linux/if_link.h, linux/neighbour.h, RFC 7348)."""

import errno
import socket
import struct
from ipaddress import IPv4Address

from gapless.agent.kernel.linkformat import IFINFO, IFNAME, INFO_DATA, INFO_KIND, LINKINFO, MASTER, MTU, NEWLINK
from gapless.agent.kernel.linkrequests import set_alias
from gapless.agent.kernel.links import KernelLink
from gapless.kernel.neighbours import DELNEIGH, DST, GETNEIGH, LLADDR, NDMSG, NEWNEIGH
from gapless.kernel.netlink import (
    ALREADY_GONE,
    APPEND,
    CREATE,
    EXCLUSIVE,
    Netlink,
    Request,
    as_u32,
    attribute,
    attributes,
    nested,
    text,
    u8,
    u32,
)
from gapless.model.observed import Vxlan

_VX_ID, _VX_GROUP, _VX_LINK, _VX_LOCAL, _VX_LEARNING, _VX_PORT = 1, 2, 3, 4, 7, 15
_NTF_SELF = 0x02
_NUD_PERMANENT = 0x80
_EVERYWHERE = b"\0" * 6
"""The MAC address of forwarding entries for frames that are flooded."""


def create(vxlan: Vxlan, mark: str, mtu: int, bridge_index: int, lower_index: int) -> list[Request]:
    """A VXLAN device that learns where addresses are from what arrives, so that an announcement moves a router."""
    data = [
        u32(_VX_ID, vxlan.vni),
        u32(_VX_LINK, lower_index),
        attribute(_VX_LOCAL, vxlan.local.packed),
        u8(_VX_LEARNING, 1),
        attribute(_VX_PORT, struct.pack("!H", vxlan.port)),
    ]
    if vxlan.group is not None:
        data.append(attribute(_VX_GROUP, vxlan.group.packed))
    body = (
        IFINFO.pack(0, 0, 0, 0, 0)
        + text(IFNAME, vxlan.name)
        + u32(MTU, mtu)
        + u32(MASTER, bridge_index)
        + nested(LINKINFO, text(INFO_KIND, "vxlan"), nested(INFO_DATA, *data))
    )
    about = f"create VXLAN device {vxlan.name}"
    return [Request(NEWLINK, CREATE | EXCLUSIVE, body, about), set_alias(vxlan.name, mark)]


def decode(link: KernelLink, device: str, peers: frozenset[IPv4Address]) -> Vxlan | None:
    """A VXLAN device's parameters; None where it is not one that we could have made."""
    data = attributes(link.data)
    if link.kind != "vxlan" or _VX_LOCAL not in data or not data.get(_VX_LEARNING, b"\1")[0]:
        return None
    return Vxlan(
        name=link.name,
        vni=as_u32(data[_VX_ID]),
        local=IPv4Address(data[_VX_LOCAL]),
        port=int.from_bytes(data[_VX_PORT], "big"),
        device=device,
        group=IPv4Address(data[_VX_GROUP]) if _VX_GROUP in data else None,
        peers=peers,
    )


def device_index(link: KernelLink) -> int:
    """Index of the interface that a VXLAN device sends through; 0: none given."""
    return as_u32(attributes(link.data).get(_VX_LINK, b""))


def add_flood_peer(name: str, index: int, peer: IPv4Address) -> Request:
    """Flood a VXLAN device's frames to `peer` too."""
    return Request(
        NEWNEIGH,
        CREATE | APPEND,
        _flood_entry(index, peer),
        f"flood {name} to {peer}",
        forgives=frozenset({errno.EEXIST}),
    )


def remove_flood_peer(name: str, index: int, peer: IPv4Address) -> Request:
    """Flood a VXLAN device's frames to `peer` no longer."""
    return Request(DELNEIGH, 0, _flood_entry(index, peer), f"flood {name} no longer to {peer}", ALREADY_GONE)


def _flood_entry(index: int, peer: IPv4Address) -> bytes:
    header = NDMSG.pack(socket.AF_BRIDGE, 0, index, _NUD_PERMANENT, _NTF_SELF, 0)
    return header + attribute(LLADDR, _EVERYWHERE) + attribute(DST, peer.packed)


def flood_peers(netlink: Netlink, index: int) -> frozenset[IPv4Address]:
    """Where a VXLAN device floods frames to."""
    # In strict mode the dump takes a ndmsg whose index names the device.
    body = NDMSG.pack(socket.AF_BRIDGE, 0, index, 0, 0, 0)
    peers = set()
    for message in netlink.dump(GETNEIGH, body, "list a VXLAN device's peers"):
        found = attributes(message, NDMSG.size)
        if found.get(LLADDR) == _EVERYWHERE and len(found.get(DST, b"")) == 4:
            peers.add(IPv4Address(found[DST]))
    return frozenset(peers)
