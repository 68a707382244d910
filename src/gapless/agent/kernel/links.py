"""What the kernel says of links, in rtnetlink: one, all of a namespace, or those of some names.

Our marks are interface aliases: `gapless:<id>` on what we make on a host (a tap carries its router's id, a bridge, a
VXLAN device and both ends of a joint their network's), and device groups.
"""

import socket

import msgspec

from gapless.agent.kernel.linkformat import (
    ADDRESS,
    EXT_MASK,
    GETLINK,
    GROUP,
    IFALIAS,
    IFINFO,
    IFNAME,
    INFO_DATA,
    INFO_KIND,
    INFO_SLAVE_DATA,
    LINKINFO,
    MASTER,
    MTU,
    NO_ARP,
    PORT_FLOODS_MULTICASTS,
    SKIP_STATISTICS,
    UP,
)
from gapless.kernel.netlink import (
    ALREADY_GONE,
    Attributes,
    Netlink,
    Request,
    as_text,
    as_u32,
    attributes,
    nested,
    text,
    u32,
)

OUR_MARK = "gapless:"

_LINK, _OPERSTATE, _AF_SPEC, _LINK_NETNSID = 5, 16, 26, 37
_INET_CONF, _CONF_FORWARDING = 1, 1
_INET6_CONF, _CONF_DISABLE_IPV6 = 2, 26
_FOUND_AT_ONCE = 16
"""Descriptions of links that fit a default receive buffer: each takes some pages of it."""
_READ = frozenset((ADDRESS, IFNAME, MTU, _LINK, MASTER, _OPERSTATE, LINKINFO, IFALIAS, _AF_SPEC, GROUP, _LINK_NETNSID))
_READ_OF_OUTLINE = frozenset((IFNAME, MTU, MASTER, _OPERSTATE, IFALIAS, GROUP))
_READ_OF_MASTER, _READ_OF_STATE = frozenset((MASTER,)), frozenset((_OPERSTATE,))
_READ_OF_INFO = frozenset((INFO_KIND, INFO_DATA, INFO_SLAVE_DATA))
_READ_OF_PORT = frozenset((PORT_FLOODS_MULTICASTS,))
_READ_OF_FAMILIES = frozenset((int(socket.AF_INET),))
_READ_OF_IPV6, _READ_OF_CONF = frozenset((int(socket.AF_INET6),)), frozenset((_INET6_CONF,))
"""Of a link, of what is particular to it, of a bridge port, and of address families: what is looked at."""
_OPERATIONAL = 6


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
    _, _, index, flags, _ = IFINFO.unpack_from(body)
    found = attributes(body, IFINFO.size, only=_READ_OF_OUTLINE)
    return Outline(
        index=index,
        name=as_text(found.get(IFNAME, b"")),
        mtu=as_u32(found.get(MTU, b"")),
        up=bool(flags & UP),
        operational=_is_operational(found),
        master=as_u32(found.get(MASTER, b"")),
        group=as_u32(found.get(GROUP, b"")),
        alias=as_text(found.get(IFALIAS, b"")),
    )


def decode(body: bytes) -> KernelLink:
    """All that is read of such a message."""
    _, _, index, flags, _ = IFINFO.unpack_from(body)
    found = attributes(body, IFINFO.size, only=_READ)
    info = attributes(found.get(LINKINFO, b""), only=_READ_OF_INFO)
    port = attributes(info.get(INFO_SLAVE_DATA, b""), only=_READ_OF_PORT)
    peer_namespace = found.get(_LINK_NETNSID)
    return KernelLink(
        index=index,
        name=as_text(found.get(IFNAME, b"")),
        kind=as_text(info.get(INFO_KIND, b"")),
        mac=found.get(ADDRESS, b"").hex(":"),
        mtu=as_u32(found.get(MTU, b"")),
        up=bool(flags & UP),
        operational=_is_operational(found),
        master=as_u32(found.get(MASTER, b"")),
        peer_index=as_u32(found.get(_LINK, b"")),
        peer_namespace=as_u32(peer_namespace) if peer_namespace is not None else None,
        alias=as_text(found.get(IFALIAS, b"")),
        forwarding=_forwarding(found.get(_AF_SPEC, b"")),
        group=as_u32(found.get(GROUP, b"")),
        speaks_arp=not flags & NO_ARP,
        takes_multicasts=port.get(PORT_FLOODS_MULTICASTS, b"\1")[:1] != b"\0",
        data=info.get(INFO_DATA, b""),
        families=found.get(_AF_SPEC, b""),
    )


def _is_operational(found: Attributes) -> bool:
    return found.get(_OPERSTATE, b"\0")[0] == _OPERATIONAL


def index_in(body: bytes) -> int:
    """Which link such a message is about."""
    index: int = IFINFO.unpack_from(body)[2]
    return index


def is_up(body: bytes) -> bool:
    """Whether that is set up."""
    return bool(IFINFO.unpack_from(body)[3] & UP)


def _forwarding(af_spec: bytes) -> bool:
    of_ipv4 = attributes(af_spec, only=_READ_OF_FAMILIES).get(socket.AF_INET)
    if of_ipv4 is None:
        return True
    conf = attributes(of_ipv4).get(_INET_CONF, b"")
    return as_u32(conf[4 * (_CONF_FORWARDING - 1) :]) == 1


def are_a_pair(tap: KernelLink, inside: KernelLink) -> bool:
    """Whether a link of the host and one of a router's namespace are the two ends of one."""
    return tap.peer_index == inside.index and inside.peer_index == tap.index


def all_links(netlink: Netlink, kind: str = "") -> list[KernelLink]:
    """Every link of the socket's namespace, or those of one kind; a kernel that knows none of it tells of all."""
    return [decode(message) for message in _listed(netlink, kind)]


def outlines(netlink: Netlink) -> list[Outline]:
    """Of every link of the socket's namespace."""
    return [outline(message) for message in _listed(netlink)]


def ports_of(netlink: Netlink, bridge_index: int) -> list[KernelLink]:
    """The ports of a bridge."""
    body = IFINFO.pack(0, 0, 0, 0, 0) + u32(MASTER, bridge_index) + u32(EXT_MASK, SKIP_STATISTICS)
    return [decode(message) for message in netlink.dump(GETLINK, body, "list a bridge's ports")]


def _listed(netlink: Netlink, kind: str = "") -> list[bytes]:
    of_kind = nested(LINKINFO, text(INFO_KIND, kind)) if kind else b""
    body = IFINFO.pack(0, 0, 0, 0, 0) + u32(EXT_MASK, SKIP_STATISTICS) + of_kind
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
    found = {name: attributes(body, IFINFO.size, only=_READ_OF_MASTER) for name, body in said.items()}
    ports = {name: as_u32(it[MASTER]) for name, it in found.items() if MASTER in it}
    return ports, None if at is None else index_in(at)


def operational(netlink: Netlink, names: list[str]) -> set[str]:
    """Those of these links by which frames pass (`Outline.operational`)."""
    said = _said_of(netlink, names)
    of_each = {name: attributes(body, IFINFO.size, only=_READ_OF_STATE) for name, body in said.items()}
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
            IFINFO.pack(0, 0, 0, 0, 0) + text(IFNAME, name) + u32(EXT_MASK, SKIP_STATISTICS),
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
