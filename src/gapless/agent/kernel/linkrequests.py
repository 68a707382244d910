"""Requests of rtnetlink that make, change and delete links: pairs, bridges and what connects them."""

import struct

from gapless.agent.kernel.linkformat import (
    ADDRESS,
    DELLINK,
    GROUP,
    IFALIAS,
    IFINFO,
    IFNAME,
    INFO_DATA,
    INFO_KIND,
    INFO_SLAVE_DATA,
    INFO_SLAVE_KIND,
    LINKINFO,
    MASTER,
    MTU,
    NEWLINK,
    NO_ARP,
    PORT_FLOODS_MULTICASTS,
    UP,
)
from gapless.kernel.netlink import ALREADY_GONE, CREATE, EXCLUSIVE, Request, attribute, nested, text, u8, u32
from gapless.model.observed import DOOMED_GROUP

_NET_NS_FD = 28
_VETH_PEER = 1
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING, _BR_BOOLEANS = 1, 5, 23, 46
_NO_LINK_LOCAL_LEARNING = struct.pack("=II", 1, 1)


def mark_loopback(mark: str) -> Request:
    """Mark a namespace by its loopback interface, which every namespace has, and set that up."""
    return Request(NEWLINK, 0, IFINFO.pack(0, 0, 1, UP, UP) + text(IFALIAS, mark), "mark a namespace")


def create_pair(
    *,
    tap: str,
    mark: str,
    bridge_index: int,
    link: str,
    mac: str,
    mtu: int,
    namespace: int,
    group: int = 0,
    link_group: int = 0,
) -> list[Request]:
    """A veth pair: the tap here, plugged into a bridge; its peer at once in the namespace open as `namespace`.

    Both are born into their device groups: a guarded tap, or a link to be announced, is never seen without.
    """
    peer = (
        IFINFO.pack(0, 0, 0, 0, 0)
        + text(IFNAME, link)
        + attribute(ADDRESS, bytes.fromhex(mac.replace(":", "")))
        + u32(MTU, mtu)
        + u32(GROUP, link_group)
        + u32(_NET_NS_FD, namespace)
    )
    body = (
        IFINFO.pack(0, 0, 0, 0, 0)
        + text(IFNAME, tap)
        + u32(MTU, mtu)
        + u32(MASTER, bridge_index)
        + u32(GROUP, group)
        + nested(LINKINFO, text(INFO_KIND, "veth"), nested(INFO_DATA, attribute(_VETH_PEER, peer)))
    )
    about = f"create {tap} and {link}"
    return [Request(NEWLINK, CREATE | EXCLUSIVE, body, about), set_alias(tap, mark)]


def create_bridge(name: str, mark: str, mtu: int) -> list[Request]:
    """A bridge that forwards at once: no spanning tree, no delay, no multicast snooping (nobody queries).

    It learns nothing from frames that bridges keep to themselves (LLDP): some of them pass no hook, so no guard.
    """
    body = (
        IFINFO.pack(0, 0, 0, 0, 0)
        + text(IFNAME, name)
        + u32(MTU, mtu)
        + nested(
            LINKINFO,
            text(INFO_KIND, "bridge"),
            nested(
                INFO_DATA,
                u32(_BR_FORWARD_DELAY, 0),
                u32(_BR_STP_STATE, 0),
                u8(_BR_MCAST_SNOOPING, 0),
                attribute(_BR_BOOLEANS, _NO_LINK_LOCAL_LEARNING),
            ),
        )
    )
    return [Request(NEWLINK, CREATE | EXCLUSIVE, body, f"create bridge {name}"), set_alias(name, mark)]


def create_joint(
    *, name: str, mac: str, root_index: int, other: str, other_mac: str, mark: str, mtu: int
) -> list[Request]:
    """A veth pair with both ends here, one of them plugged into a bridge."""
    peer = (
        IFINFO.pack(0, 0, 0, 0, 0)
        + text(IFNAME, other)
        + attribute(ADDRESS, bytes.fromhex(other_mac.replace(":", "")))
        + u32(MTU, mtu)
    )
    body = (
        IFINFO.pack(0, 0, 0, 0, 0)
        + text(IFNAME, name)
        + attribute(ADDRESS, bytes.fromhex(mac.replace(":", "")))
        + u32(MTU, mtu)
        + nested(LINKINFO, text(INFO_KIND, "veth"), nested(INFO_DATA, attribute(_VETH_PEER, peer)))
    )
    return [
        Request(NEWLINK, CREATE | EXCLUSIVE, body, f"create {name} and {other}"),
        set_alias(name, mark),
        set_alias(other, mark),
        set_master(name, root_index),
    ]


def set_alias(name: str, alias: str) -> Request:
    """Mark a link."""
    return Request(NEWLINK, 0, _named(name) + text(IFALIAS, alias), f"mark {name}")


def set_mtu(name: str, mtu: int) -> Request:
    """Set a link's MTU, in bytes."""
    return Request(NEWLINK, 0, _named(name) + u32(MTU, mtu), f"set the MTU of {name} to {mtu}")


def set_mac(name: str, mac: str) -> Request:
    """Set a link's hardware address."""
    body = _named(name) + attribute(ADDRESS, bytes.fromhex(mac.replace(":", "")))
    return Request(NEWLINK, 0, body, f"set the hardware address of {name} to {mac}")


def set_master(name: str, bridge_index: int) -> Request:
    """Make a link a port of a bridge (0: of none)."""
    return Request(NEWLINK, 0, _named(name) + u32(MASTER, bridge_index), f"plug {name} into its bridge")


def keep_multicasts_from(name: str) -> Request:
    """Flood no multicasts to a bridge port. Unknown unicast frames and broadcasts still are."""
    port = nested(INFO_SLAVE_DATA, u8(PORT_FLOODS_MULTICASTS, 0))
    body = _named(name) + nested(LINKINFO, text(INFO_SLAVE_KIND, "bridge"), port)
    return Request(NEWLINK, 0, body, f"flood no multicasts to {name}")


def set_group(name: str, group: int) -> Request:
    """Move a link to a device group (0: the default one)."""
    return Request(NEWLINK, 0, _named(name) + u32(GROUP, group), f"move {name} to device group {group}")


def raise_link(name: str) -> Request:
    """Set a link up."""
    return Request(NEWLINK, 0, _named(name, UP, UP), f"set {name} up")


def raise_bridge(name: str) -> Request:
    """Set a bridge up on which the host itself does not speak ARP. It would answer for each address that it has on any
    of its interfaces, and tenants may use the same.
    """
    return Request(NEWLINK, 0, _named(name, UP | NO_ARP, UP | NO_ARP), f"set {name} up")


def delete(name: str) -> Request:
    """Delete a link; fine if it is gone."""
    return Request(DELLINK, 0, _named(name), f"delete {name}", ALREADY_GONE)


def delete_together(names: list[str]) -> list[Request]:
    """Delete links at once; fine if they are gone. One by one, each would wait for a grace period of the kernel."""
    moves = [
        Request(NEWLINK, 0, _named(name) + u32(GROUP, DOOMED_GROUP), f"gather {name} for deletion", ALREADY_GONE)
        for name in names
    ]
    body = IFINFO.pack(0, 0, 0, 0, 0) + u32(GROUP, DOOMED_GROUP)
    return [*moves, Request(DELLINK, 0, body, f"delete {', '.join(names)}", ALREADY_GONE)] if names else []


def _named(name: str, flags: int = 0, change: int = 0) -> bytes:
    return IFINFO.pack(0, 0, 0, flags, change) + text(IFNAME, name)
