"""What a router and its networks look like in a host's kernel: one vocabulary for what should be and for what is.

Desired and observed state have the same types, so that their difference is a comparison. Only what Gapless made is
described: foreign links, tables and routes never appear here, and therefore no operation can name them.

Names are Neutron's: namespace `qrouter-<router id>`, inside it `qr-<port>` on tenant networks and `qg-<port>` on the
external one, `tap<port>` the other end of each on the host, `brq<network>` the bridge that the taps are plugged into.
Where that has no room, they go into its leaves, `brq<network>a` and so on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from gapless.model.leaf import Leaf
from gapless.model.network import NetworkId
from gapless.model.steering import Entry

NAME_LENGTH = 11
"""How much of a UUID an interface name carries: the kernel allows 15 characters."""
GATEWAY_PREFIX = "qg-"
TENANT_PREFIX = "qr-"
TAP_PREFIX = "tap"
BRIDGE_PREFIX = "brq"
VXLAN_PREFIX = "vxlan-"
JOINT_PREFIX = "jn"
"""Of both ends of the pair that joins a leaf to its root."""
NAMESPACE_PREFIX = "qrouter-"
GUARDED_GROUP = int.from_bytes(b"gapm", "big")
"""The device group of a guarded router's taps: numbers that nobody else uses. The guard knows its taps by it."""
DOOMED_GROUP = int.from_bytes(b"gapl", "big")
"""The device group of links that are about to be deleted together."""
UNANNOUNCED_GROUP = int.from_bytes(b"gapn", "big")
"""The device group of a router's interfaces, inside its namespace, from their birth until they were announced."""
GUARD_TABLE = "gapless"
"""The guard: a table of family bridge in the host's own namespace."""
GUARD_MARKS: Final[Mapping[str, int]] = {"active": 41, "lease": 43}
"""Sets by which it is known (`kernel.ownership`), with the types of their keys: an interface's name, a time."""
GUARDED_GROUPS_MASK = 0xFFFFFFFE
"""The bits that the guard looks at. A tap that moves to the doomed ones stays guarded until it is gone."""


class NamespaceState(StrEnum):
    """Whose the namespace of the router's name is."""

    ABSENT = "absent"
    EMPTY = "empty"
    """There, without our mark: it holds nothing, or an end of a tap that carries it. It may be marked and used."""
    OURS = "ours"
    FOREIGN = "foreign"
    """There, without our mark, with links in it of which none is known to be ours: hands off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A router's interface inside its namespace."""

    name: str
    mac: str
    mtu: int
    up: bool = True
    forwarding: bool = True
    """IPv4 forwarding on this interface (`net.ipv4.conf.<name>.forwarding`)."""
    addresses: frozenset[IPv4Interface] = frozenset()
    connected: frozenset[IPv4Network] = frozenset()
    """Subnets with their connected route: the one that the kernel makes for an address on a live link."""
    announced: bool = True
    """It does not carry the mark of one whose addresses are still to be announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """The host's end of a router interface, a bridge port."""

    name: str
    mtu: int
    bridge: str | None
    peer: str | None
    """The link inside this router's namespace at its other end; None: its other end is somewhere else."""
    up: bool = True
    ours: bool = True
    """Made by Gapless: it carries our mark, or its other end is in a namespace of ours."""
    guarded: bool = False
    """In the device group GUARDED_GROUP: frames pass while the host's guard says so."""
    doomed: bool = False
    """In the device group DOOMED_GROUP: who gathered it for deletion was stopped. The next deletion would take it."""
    speaks_ipv6: bool = False
    """IPv6 is on there: the host itself may speak on the network."""
    steering_mac: str | None = None
    """The bridge sends frames to this address here, and floods no multicasts to it; None: a port like any other."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Hop:
    """A neighbour that packets are handed to."""

    next_hop: IPv4Address
    link: str
    on_link: bool = False
    """The next hop is reached directly although no address of the link covers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRoute:
    """A route in the namespace's main table that Gapless installed (it carries our protocol number)."""

    destination: IPv4Network
    hops: tuple[Hop, ...]
    """In order, and at least one. Several share the flows (ECMP): each pair of addresses goes by one of them."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RoutingRule:
    """A routing rule (ip-rule(8)) that sends every packet to a table; the smallest number comes first."""

    priority: int
    table: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """Filter and NAT rules, known by a fingerprint of their text; "" where the kernel's copy was changed by hand."""

    fingerprint: str
    floating: frozenset[tuple[IPv4Address, IPv4Address]] = frozenset()
    """(floating address, fixed address) pairs."""
    listed: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """How the kernel lists each chain, by a digest: observed as it is, desired as it is to be. Of desired state none
    where that is not known; then nothing is held against it."""
    text: str = field(default="", compare=False, repr=False)
    """What to load; only desired state has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRouter:
    """A router in the kernel: as it should be, or as it is."""

    namespace: NamespaceState
    settings: Mapping[str, str] = field(default_factory=dict)
    """sysctls below `net/`, such as "ipv4/ip_forward": "1"."""
    ruleset: Ruleset | None = None
    links: Mapping[str, Link] = field(default_factory=dict)
    taps: Mapping[str, Tap] = field(default_factory=dict)
    routes: frozenset[KernelRoute] = frozenset()
    routing_rules: frozenset[RoutingRule] = frozenset()
    """Of those that a namespace begins with, the ones that are there."""
    steering: frozenset[Entry] = frozenset()
    """What the host's steering table holds for it."""


ABSENT = KernelRouter(namespace=NamespaceState.ABSENT)
"""No trace of a router."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vxlan:
    """A VXLAN device (RFC 7348): a segment's way to the other hosts."""

    name: str
    vni: int
    local: IPv4Address
    port: int
    device: str
    """The data interface."""
    group: IPv4Address | None
    """Where broadcast, unknown and multicast frames go; None: to each of `peers`."""
    peers: frozenset[IPv4Address] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLink:
    """A bridge, VXLAN device or uplink in the host's own namespace."""

    name: str
    kind: str
    """The kernel's word: bridge, vxlan, veth, ...; "" for hardware."""
    mtu: int
    up: bool
    """Of a bridge of ours: and the host itself speaks no ARP there."""
    bridge: str | None
    ours: bool
    vxlan: Vxlan | None = None
    has_addresses: bool = False
    """It carries an address of the host (link-local IPv6 does not count)."""
    bridge_is_ours: bool = False
    speaks_ipv6: bool = False
    """IPv6 is on there: the host itself may speak on the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedLeaf:
    """What of a leaf is there."""

    bridge: HostLink | None = None
    root_end: HostLink | None = None
    leaf_end: HostLink | None = None
    is_joint: bool = False
    """The two ends belong together, and have their addresses."""
    root_sends: bool = False
    """The root sends what is for the leaf's end there."""
    leaf_sends: bool = False
    """The leaf sends what is for the root's end there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A network as a host should carry it: a bridge, or several, and how frames leave the host."""

    network_id: NetworkId
    bridge: str
    mtu: int
    vxlan: Vxlan | None = None
    uplink: str | None = None
    """An existing interface to enslave. Without it and without `vxlan` the bridge is the operator's own."""
    leaves: tuple[Leaf, ...] = ()
    """Of the bridge, which is their root."""

    @property
    def is_operators(self) -> bool:
        """Whether the bridge belongs to the operator: taps are plugged into it, and nothing else is touched."""
        return self.vxlan is None and self.uplink is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedSegment:
    """What of a segment is there."""

    bridge: HostLink | None = None
    vxlan: HostLink | None = None
    uplink: HostLink | None = None
    leaves: Mapping[str, ObservedLeaf] = field(default_factory=dict)
    """By their bridges' names."""
    data_mtu: int | None = None
    """MTU of the data interface in bytes; None: it does not exist."""
