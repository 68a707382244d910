"""Links in rtnetlink: requests that make, change and find them, and what the kernel says of one.

Our marks are interface aliases: `gapless:<id>` on what we make on a host (a tap carries its router's id, a bridge, a
VXLAN device and both ends of a joint their network's), and device groups. Formats: linux/if_link.h, rtnetlink(7).
"""

import errno
import socket
import struct
from ipaddress import IPv4Address

import msgspec

from gapless.kernel.neighbours import DELNEIGH, DST, GETNEIGH, NDMSG, NEWNEIGH
from gapless.kernel.netlink import (
    ALREADY_GONE,
    APPEND,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Answer,
    Attributes,
    Netlink,
    Request,
    as_text,
    as_u32,
    attribute,
    attributes,
    nested,
    text,
    u8,
    u32,
)
from gapless.model.observed import DOOMED_GROUP, Vxlan

OUR_MARK = "gapless:"

NEWLINK, DELLINK, GETLINK = 16, 17, 18
_NEWNSID, _GETNSID = 88, 90
_NSID, _NSID_OF_DESCRIPTOR = 1, 3
_UNASSIGNED = 0xFFFFFFFF
_RTGEN = struct.pack("=Bxxx", 0)

_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER = 1, 3, 4, 5, 10
_OPERSTATE, _LINKINFO, _IFALIAS, _AF_SPEC = 16, 18, 20, 26
_NET_NS_FD, _EXT_MASK, _LINK_NETNSID = 28, 29, 37
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_PORT_FLOODS_MULTICASTS = 27
_VETH_PEER = 1
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING, _BR_BOOLEANS = 1, 5, 23, 46
_NO_LINK_LOCAL_LEARNING = struct.pack("=II", 1, 1)
_VX_ID, _VX_GROUP, _VX_LINK, _VX_LOCAL, _VX_LEARNING, _VX_PORT = 1, 2, 3, 4, 7, 15
_INET_CONF, _CONF_FORWARDING = 1, 1
_INET6_CONF, _CONF_DISABLE_IPV6 = 2, 26
_GROUP = 27
_SKIP_STATISTICS = 1 << 3
_FOUND_AT_ONCE = 16
"""Descriptions of links that fit a default receive buffer: each takes some pages of it."""
_READ = frozenset(
    (_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _OPERSTATE, _LINKINFO, _IFALIAS, _AF_SPEC, _GROUP, _LINK_NETNSID)
)
_READ_OF_OUTLINE = frozenset((_IFNAME, _MTU, _MASTER, _OPERSTATE, _IFALIAS, _GROUP))
_READ_OF_MASTER, _READ_OF_STATE = frozenset((_MASTER,)), frozenset((_OPERSTATE,))
_READ_OF_INFO = frozenset((_INFO_KIND, _INFO_DATA, _INFO_SLAVE_DATA))
_READ_OF_PORT = frozenset((_PORT_FLOODS_MULTICASTS,))
_READ_OF_FAMILIES = frozenset((int(socket.AF_INET),))
_READ_OF_IPV6, _READ_OF_CONF = frozenset((int(socket.AF_INET6),)), frozenset((_INET6_CONF,))
"""Of a link, of what is particular to it, of a bridge port, and of address families: what is looked at."""
_UP, _NO_ARP = 0x1, 0x80
_OPERATIONAL = 6

_IFINFO = struct.Struct("=BxHiII")
_NTF_SELF, _NTF_MASTER = 0x02, 0x04
_NUD_STATIC, _NUD_PERMANENT = 0x40, 0x80
_NDA_LLADDR, _NDA_IFINDEX = 2, 8
_EVERYWHERE = b"\0" * 6
"""The MAC address of a VXLAN device's forwarding entries for frames that are flooded."""


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """What of a link tells whose it is, and whether frames pass. The kernel says it first, so it is read sooner."""

    index: int
    name: str
    mtu: int
    up: bool
    operational: bool
    """Frames pass: its other end is up too, and the bridge that it is a port of has noticed."""
    master: int
    group: int = 0
    alias: str

    @property
    def is_ours(self) -> bool:
        """Whether it carries our mark."""
        return self.alias.startswith(OUR_MARK)

    @property
    def marked_id(self) -> str:
        """The id in our mark; "" without one."""
        return self.alias.removeprefix(OUR_MARK) if self.is_ours else ""


class KernelLink(Outline, frozen=True, kw_only=True):
    """One link as the kernel describes it in one namespace. Of many that are read, most are forgotten at once."""

    kind: str
    mac: str
    peer_index: int
    """Index of the other end of a pair, in the namespace where that is."""
    peer_namespace: int | None
    """That namespace's number as seen from here; None: this one."""
    forwarding: bool
    speaks_arp: bool = True
    """The host answers ARP there, for whatever address it has anywhere."""
    takes_multicasts: bool = True
    """Of a bridge port: multicasts that nobody asked for are flooded to it."""
    data: bytes = b""
    """What is particular to its kind, as attributes."""
    families: bytes = b""
    """What is particular to address families, as attributes."""

    @property
    def speaks_ipv6(self) -> bool:
        """IPv6 is there, and not turned off."""
        of_ipv6 = attributes(self.families, only=_READ_OF_IPV6).get(socket.AF_INET6, b"")
        is_off = attributes(of_ipv6, only=_READ_OF_CONF).get(_INET6_CONF, b"")[4 * _CONF_DISABLE_IPV6 :]
        return bool(is_off) and as_u32(is_off) == 0


def outline(body: bytes) -> Outline:
    """What a RTM_NEWLINK or RTM_DELLINK message says, in short."""
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    found = attributes(body, _IFINFO.size, only=_READ_OF_OUTLINE)
    return Outline(
        index=index,
        name=as_text(found.get(_IFNAME, b"")),
        mtu=as_u32(found.get(_MTU, b"")),
        up=bool(flags & _UP),
        operational=_is_operational(found),
        master=as_u32(found.get(_MASTER, b"")),
        group=as_u32(found.get(_GROUP, b"")),
        alias=as_text(found.get(_IFALIAS, b"")),
    )


def decode(body: bytes) -> KernelLink:
    """All that is read of such a message."""
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    found = attributes(body, _IFINFO.size, only=_READ)
    info = attributes(found.get(_LINKINFO, b""), only=_READ_OF_INFO)
    port = attributes(info.get(_INFO_SLAVE_DATA, b""), only=_READ_OF_PORT)
    peer_namespace = found.get(_LINK_NETNSID)
    return KernelLink(
        index=index,
        name=as_text(found.get(_IFNAME, b"")),
        kind=as_text(info.get(_INFO_KIND, b"")),
        mac=found.get(_ADDRESS, b"").hex(":"),
        mtu=as_u32(found.get(_MTU, b"")),
        up=bool(flags & _UP),
        operational=_is_operational(found),
        master=as_u32(found.get(_MASTER, b"")),
        peer_index=as_u32(found.get(_LINK, b"")),
        peer_namespace=as_u32(peer_namespace) if peer_namespace is not None else None,
        alias=as_text(found.get(_IFALIAS, b"")),
        forwarding=_forwarding(found.get(_AF_SPEC, b"")),
        group=as_u32(found.get(_GROUP, b"")),
        speaks_arp=not flags & _NO_ARP,
        takes_multicasts=port.get(_PORT_FLOODS_MULTICASTS, b"\1")[:1] != b"\0",
        data=info.get(_INFO_DATA, b""),
        families=found.get(_AF_SPEC, b""),
    )


def _is_operational(found: Attributes) -> bool:
    return found.get(_OPERSTATE, b"\0")[0] == _OPERATIONAL


def index_in(body: bytes) -> int:
    """Which link such a message is about."""
    index: int = _IFINFO.unpack_from(body)[2]
    return index


def is_up(body: bytes) -> bool:
    """Whether that is set up."""
    return bool(_IFINFO.unpack_from(body)[3] & _UP)


def _forwarding(af_spec: bytes) -> bool:
    of_ipv4 = attributes(af_spec, only=_READ_OF_FAMILIES).get(socket.AF_INET)
    if of_ipv4 is None:
        return True
    conf = attributes(of_ipv4).get(_INET_CONF, b"")
    return as_u32(conf[4 * (_CONF_FORWARDING - 1) :]) == 1


def all_links(netlink: Netlink, kind: str = "") -> list[KernelLink]:
    """Every link of the socket's namespace, or those of one kind; a kernel that knows none of it tells of all."""
    return [decode(message) for message in _listed(netlink, kind)]


def outlines(netlink: Netlink) -> list[Outline]:
    """Of every link of the socket's namespace."""
    return [outline(message) for message in _listed(netlink)]


def _listed(netlink: Netlink, kind: str = "") -> list[bytes]:
    of_kind = nested(_LINKINFO, text(_INFO_KIND, kind)) if kind else b""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + u32(_EXT_MASK, _SKIP_STATISTICS) + of_kind
    return netlink.dump(GETLINK, body, "list links")


def find(netlink: Netlink, names: list[str]) -> dict[str, KernelLink]:
    """The links of these names that exist."""
    return {name: decode(body) for name, body in _said_of(netlink, names).items()}


def find_ports(netlink: Netlink, names: list[str], bridges: list[str]) -> tuple[dict[str, KernelLink], dict[str, int]]:
    """The same, and the indices of bridges that exist, looked for together."""
    found = _said_of(netlink, [*names, *bridges])
    at = {name: index_in(found[name]) for name in bridges if name in found}
    return {name: decode(found[name]) for name in names if name in found}, at


def masters(netlink: Netlink, names: list[str], root: str) -> tuple[dict[str, int], int | None]:
    """The index of the bridge that each of these links is a port of, as far as it is one; and that of a root."""
    said = _said_of(netlink, [*names, root])
    at = said.pop(root, None)
    found = {name: attributes(body, _IFINFO.size, only=_READ_OF_MASTER) for name, body in said.items()}
    ports = {name: as_u32(it[_MASTER]) for name, it in found.items() if _MASTER in it}
    return ports, None if at is None else index_in(at)


def operational(netlink: Netlink, names: list[str]) -> set[str]:
    """Those of these links by which frames pass (`Outline.operational`)."""
    said = _said_of(netlink, names)
    of_each = {name: attributes(body, _IFINFO.size, only=_READ_OF_STATE) for name, body in said.items()}
    return {name for name, found in of_each.items() if _is_operational(found)}


def indices(netlink: Netlink, names: list[str]) -> dict[str, int]:
    """The indices of the links of these names that exist, if nothing else is to be known of them.

    Not by ioctl (SIOCGIFINDEX): that has the kernel look for a module of the name of a link that is not there.
    """
    return {name: index_in(body) for name, body in _said_of(netlink, names).items()}


def _said_of(netlink: Netlink, names: list[str]) -> dict[str, bytes]:
    requests = [
        Request(
            GETLINK,
            0,
            _IFINFO.pack(0, 0, 0, 0, 0) + text(_IFNAME, name) + u32(_EXT_MASK, _SKIP_STATISTICS),
            f"look for {name}",
            ALREADY_GONE,
            is_question=True,
        )
        for name in names
    ]
    answers = [
        answer
        for start in range(0, len(requests), _FOUND_AT_ONCE)
        for answer in netlink.ask(requests[start : start + _FOUND_AT_ONCE])
    ]
    return {
        name: answer.messages[0]
        for name, answer in zip(names, answers, strict=True)
        if not answer.error and answer.messages
    }


def namespace_number(netlink: Netlink, descriptor: int) -> int | None:
    """The number by which the socket's namespace knows another, given open; None if it has none."""
    return _number_in(netlink.ask([_get_number(descriptor)])[0])


def numbered_namespace(netlink: Netlink, descriptor: int) -> int | None:
    """As above; one that has none is given a number of the kernel's choice before. Raises Unavailable."""
    body = _RTGEN + u32(_NSID_OF_DESCRIPTOR, descriptor) + u32(_NSID, _UNASSIGNED)
    give = Request(_NEWNSID, 0, body, "number a namespace", frozenset({errno.EEXIST}))
    return _number_in(netlink.carry_out([give, _get_number(descriptor)])[1])


def _get_number(descriptor: int) -> Request:
    body = _RTGEN + u32(_NSID_OF_DESCRIPTOR, descriptor)
    return Request(_GETNSID, 0, body, "look for a namespace's number", is_question=True)


def _number_in(answer: Answer) -> int | None:
    if answer.error or not answer.messages:
        return None
    number = as_u32(attributes(answer.messages[0], len(_RTGEN)).get(_NSID, b"\xff" * 4))
    return None if number == _UNASSIGNED else number


def mark_loopback(mark: str) -> Request:
    """Mark a namespace by its loopback interface, which every namespace has, and set that up."""
    return Request(NEWLINK, 0, _IFINFO.pack(0, 0, 1, _UP, _UP) + text(_IFALIAS, mark), "mark a namespace")


def are_a_pair(tap: KernelLink, inside: KernelLink) -> bool:
    """Whether a link of the host and one of a router's namespace are the two ends of one."""
    return tap.peer_index == inside.index and inside.peer_index == tap.index


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
        _IFINFO.pack(0, 0, 0, 0, 0)
        + text(_IFNAME, link)
        + attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "")))
        + u32(_MTU, mtu)
        + u32(_GROUP, link_group)
        + u32(_NET_NS_FD, namespace)
    )
    body = (
        _IFINFO.pack(0, 0, 0, 0, 0)
        + text(_IFNAME, tap)
        + u32(_MTU, mtu)
        + u32(_MASTER, bridge_index)
        + u32(_GROUP, group)
        + nested(_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, attribute(_VETH_PEER, peer)))
    )
    about = f"create {tap} and {link}"
    return [Request(NEWLINK, CREATE | EXCLUSIVE, body, about), set_alias(tap, mark)]


def create_bridge(name: str, mark: str, mtu: int) -> list[Request]:
    """A bridge that forwards at once: no spanning tree, no delay, no multicast snooping (nobody queries).

    It learns nothing from frames that bridges keep to themselves (LLDP): some of them pass no hook, so no guard.
    """
    body = (
        _IFINFO.pack(0, 0, 0, 0, 0)
        + text(_IFNAME, name)
        + u32(_MTU, mtu)
        + nested(
            _LINKINFO,
            text(_INFO_KIND, "bridge"),
            nested(
                _INFO_DATA,
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
        _IFINFO.pack(0, 0, 0, 0, 0)
        + text(_IFNAME, other)
        + attribute(_ADDRESS, bytes.fromhex(other_mac.replace(":", "")))
        + u32(_MTU, mtu)
    )
    body = (
        _IFINFO.pack(0, 0, 0, 0, 0)
        + text(_IFNAME, name)
        + attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "")))
        + u32(_MTU, mtu)
        + nested(_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, attribute(_VETH_PEER, peer)))
    )
    return [
        Request(NEWLINK, CREATE | EXCLUSIVE, body, f"create {name} and {other}"),
        set_alias(name, mark),
        set_alias(other, mark),
        set_master(name, root_index),
    ]


def create_vxlan(vxlan: Vxlan, mark: str, mtu: int, bridge_index: int, device_index: int) -> list[Request]:
    """A VXLAN device that learns where addresses are from what arrives, so that an announcement moves a router."""
    data = [
        u32(_VX_ID, vxlan.vni),
        u32(_VX_LINK, device_index),
        attribute(_VX_LOCAL, vxlan.local.packed),
        u8(_VX_LEARNING, 1),
        attribute(_VX_PORT, struct.pack("!H", vxlan.port)),
    ]
    if vxlan.group is not None:
        data.append(attribute(_VX_GROUP, vxlan.group.packed))
    body = (
        _IFINFO.pack(0, 0, 0, 0, 0)
        + text(_IFNAME, vxlan.name)
        + u32(_MTU, mtu)
        + u32(_MASTER, bridge_index)
        + nested(_LINKINFO, text(_INFO_KIND, "vxlan"), nested(_INFO_DATA, *data))
    )
    about = f"create VXLAN device {vxlan.name}"
    return [Request(NEWLINK, CREATE | EXCLUSIVE, body, about), set_alias(vxlan.name, mark)]


def decode_vxlan(link: KernelLink, device: str, peers: frozenset[IPv4Address]) -> Vxlan | None:
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


def vxlan_device_index(link: KernelLink) -> int:
    """Index of the interface that a VXLAN device sends through; 0: none given."""
    return as_u32(attributes(link.data).get(_VX_LINK, b""))


def add_flood_peer(name: str, index: int, peer: IPv4Address) -> Request:
    """Flood a VXLAN device's frames to `peer` too."""
    return Request(
        NEWNEIGH, CREATE | APPEND, _flood_entry(index, peer), f"flood {name} to {peer}", forgives=frozenset({17})
    )


def remove_flood_peer(name: str, index: int, peer: IPv4Address) -> Request:
    """Flood a VXLAN device's frames to `peer` no longer."""
    return Request(DELNEIGH, 0, _flood_entry(index, peer), f"flood {name} no longer to {peer}", ALREADY_GONE)


def _flood_entry(index: int, peer: IPv4Address) -> bytes:
    header = NDMSG.pack(socket.AF_BRIDGE, 0, index, _NUD_PERMANENT, _NTF_SELF, 0)
    return header + attribute(_NDA_LLADDR, _EVERYWHERE) + attribute(DST, peer.packed)


def flood_peers(netlink: Netlink, index: int) -> frozenset[IPv4Address]:
    """Where a VXLAN device floods frames to."""
    # In strict mode the dump takes a ndmsg whose index names the device.
    body = NDMSG.pack(socket.AF_BRIDGE, 0, index, 0, 0, 0)
    peers = set()
    for message in netlink.dump(GETNEIGH, body, "list a VXLAN device's peers"):
        found = attributes(message, NDMSG.size)
        if found.get(_NDA_LLADDR) == _EVERYWHERE and len(found.get(DST, b"")) == 4:
            peers.add(IPv4Address(found[DST]))
    return frozenset(peers)


def set_alias(name: str, alias: str) -> Request:
    """Mark a link."""
    return Request(NEWLINK, 0, _named(name) + text(_IFALIAS, alias), f"mark {name}")


def set_mtu(name: str, mtu: int) -> Request:
    """Set a link's MTU, in bytes."""
    return Request(NEWLINK, 0, _named(name) + u32(_MTU, mtu), f"set the MTU of {name} to {mtu}")


def set_mac(name: str, mac: str) -> Request:
    """Set a link's hardware address."""
    body = _named(name) + attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "")))
    return Request(NEWLINK, 0, body, f"set the hardware address of {name} to {mac}")


def set_master(name: str, bridge_index: int) -> Request:
    """Make a link a port of a bridge (0: of none)."""
    return Request(NEWLINK, 0, _named(name) + u32(_MASTER, bridge_index), f"plug {name} into its bridge")


def keep_multicasts_from(name: str) -> Request:
    """Flood no multicasts to a bridge port. Unknown unicast frames and broadcasts still are."""
    port = nested(_INFO_SLAVE_DATA, u8(_PORT_FLOODS_MULTICASTS, 0))
    body = _named(name) + nested(_LINKINFO, text(_INFO_SLAVE_KIND, "bridge"), port)
    return Request(NEWLINK, 0, body, f"flood no multicasts to {name}")


def send_to_port(name: str, index: int, mac: str) -> Request:
    """Let a port's bridge send frames to `mac` there for good, in place of any other port."""
    header = NDMSG.pack(socket.AF_BRIDGE, 0, index, _NUD_STATIC, _NTF_MASTER, 0)
    body = header + attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    return Request(NEWNEIGH, CREATE | REPLACE, body, f"send frames to {mac} to {name}")


def ports_sent_to(netlink: Netlink, wanted: list[tuple[int, str]]) -> frozenset[int]:
    """Of (index of a bridge port, MAC address), the ports to which their bridge sends that address for good."""
    requests = [
        Request(
            GETNEIGH,
            0,
            NDMSG.pack(socket.AF_BRIDGE, 0, index, 0, _NTF_MASTER, 0)
            + attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", ""))),
            f"look for {mac}",
            ALREADY_GONE,
            is_question=True,
        )
        for index, mac in wanted
    ]
    found = set()
    for (index, _), answer in zip(wanted, netlink.ask(requests), strict=True):
        for message in answer.messages:
            _, _, port, state, _, _ = NDMSG.unpack_from(message)
            if port == index and state & _NUD_STATIC:
                found.add(index)
    return frozenset(found)


def ports_of(netlink: Netlink, bridge_index: int) -> list[KernelLink]:
    """The ports of a bridge."""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + u32(_MASTER, bridge_index) + u32(_EXT_MASK, _SKIP_STATISTICS)
    return [decode(message) for message in netlink.dump(GETLINK, body, "list a bridge's ports")]


def set_group(name: str, group: int) -> Request:
    """Move a link to a device group (0: the default one)."""
    return Request(NEWLINK, 0, _named(name) + u32(_GROUP, group), f"move {name} to device group {group}")


def raise_link(name: str) -> Request:
    """Set a link up."""
    return Request(NEWLINK, 0, _named(name, _UP, _UP), f"set {name} up")


def raise_bridge(name: str) -> Request:
    """Set a bridge up on which the host itself does not speak ARP. It would answer for each address that it has on any
    of its interfaces, and tenants may use the same.
    """
    return Request(NEWLINK, 0, _named(name, _UP | _NO_ARP, _UP | _NO_ARP), f"set {name} up")


def delete(name: str) -> Request:
    """Delete a link; fine if it is gone."""
    return Request(DELLINK, 0, _named(name), f"delete {name}", ALREADY_GONE)


def delete_together(names: list[str]) -> list[Request]:
    """Delete links at once; fine if they are gone. One by one, each would wait for a grace period of the kernel."""
    moves = [
        Request(NEWLINK, 0, _named(name) + u32(_GROUP, DOOMED_GROUP), f"gather {name} for deletion", ALREADY_GONE)
        for name in names
    ]
    body = _IFINFO.pack(0, 0, 0, 0, 0) + u32(_GROUP, DOOMED_GROUP)
    return [*moves, Request(DELLINK, 0, body, f"delete {', '.join(names)}", ALREADY_GONE)] if names else []


def _named(name: str, flags: int = 0, change: int = 0) -> bytes:
    return _IFINFO.pack(0, 0, 0, flags, change) + text(_IFNAME, name)
