"""Everything that Gapless does to a host's kernel: one small step each, carried out by `agent.kernel`.

A plan is a sequence of operations made by `core.dataplane.diff`. Its order matters; see there. Operations say what to
bring about in words of the model; how the kernel is spoken to is the adapter's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from gapless.model.network import NetworkId
from gapless.model.observed import KernelRoute, RoutingRule, Ruleset, Vxlan
from gapless.model.steering import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateNamespace:
    """Make the router's namespace: marked and set up before its name appears."""

    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNamespace:
    """Put our mark on a namespace of the router's name that is empty, or has lost it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSettings:
    """Write sysctls of the namespace, paths below `net/`."""

    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRules:
    """Load the router's filter and NAT rules, in one atomic transaction."""

    ruleset: Ruleset
    replace: bool
    """Whether there are rules to replace."""
    altered: tuple[str, ...] = ()
    """Chains of these rules that somebody else altered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetFlows:
    """Drop connection tracking of flows translated to or from an address that no longer stands for what it did."""

    address: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetUnansweredFlows:
    """Drop connection tracking of flows without a reply: they may have begun while the rules were broken.

    Such a flow keeps the translation, or the lack of one, of its first packet for as long as it sends.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePair:
    """Make a router interface: a link in the namespace and its tap on the host, plugged in, both down.

    The link is marked from its birth as one to be announced.
    """

    link: str
    mac: str
    tap: str
    bridge: str
    mtu: int
    guarded: bool = False
    """The tap is under the host's guard from its first moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLink:
    """Delete a link inside the namespace; its tap goes with it."""

    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLink:
    """Set MAC address and MTU of a link inside the namespace; it stays up."""

    link: str
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAddress:
    """Add an address to a link inside the namespace."""

    link: str
    address: IPv4Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAddress:
    """Remove an address from a link inside the namespace."""

    link: str
    address: IPv4Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseLink:
    """Set a link inside the namespace up."""

    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreConnected:
    """Put back the connected route of a subnet, as the kernel made it, in place of any other to the subnet."""

    link: str
    subnet: IPv4Network
    source: IPv4Address
    """The link's own address there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRoutingRules:
    """Put back routing rules that the namespace began with."""

    rules: frozenset[RoutingRule]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRoute:
    """Install a route, in place of any other to the same destination."""

    route: KernelRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRoute:
    """Remove a route that we installed."""

    route: KernelRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkUnannounced:
    """Mark a link as one to be announced: what changes next is not known to others yet."""

    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Send gratuitous ARP for addresses of a link, and take the mark from it that says that this is still to be done.

    It is repeated in the background. A guarded router's is the beat's to send.
    """

    link: str
    mac: str
    tap: str
    addresses: tuple[IPv4Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBridge:
    """Make a network's bridge: marked, no spanning tree, no multicast snooping, down."""

    name: str
    mtu: int
    network_id: NetworkId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVxlan:
    """Make a network's VXLAN device: marked, down, plugged into the bridge."""

    vxlan: Vxlan
    bridge: str
    mtu: int
    network_id: NetworkId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateJoint:
    """Make the pair that joins a leaf to its root: marked, down, both ends plugged in."""

    name: str
    """The root's end."""
    mac: str
    root: str
    leaf_end: str
    leaf_end_mac: str
    leaf: str
    mtu: int
    network_id: NetworkId


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachJoint:
    """Let the bridge send frames to `mac`, the address of the other end, to this end of a joint."""

    name: str
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePeers:
    """Set where a VXLAN device floods to when it has no multicast group."""

    vxlan: str
    add: frozenset[IPv4Address]
    remove: frozenset[IPv4Address]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteHostLink:
    """Delete a bridge, VXLAN device, tap or end of a joint of ours on the host."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeHostMtu:
    """Set the MTU of a bridge, VXLAN device, tap or end of a joint of ours on the host."""

    name: str
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOffIpv6:
    """Keep the host itself from speaking on a link of ours: duplicate address detection, multicast reports."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug:
    """Make a link of the host a port of a bridge."""

    name: str
    bridge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeGuard:
    """Put a tap under the host's guard, or take it from there."""

    name: str
    guarded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachSteering:
    """Let the bridge send frames to `mac` to this tap, and flood no multicasts to it."""

    name: str
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Steer:
    """Put entries of one router into the host's steering table, in one transaction."""

    entries: frozenset[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsteer:
    """Take entries of one router out of the host's steering table, as far as no other router needs them."""

    entries: frozenset[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseHostLink:
    """Set a link of the host up."""

    name: str


HostOperation = (
    CreateBridge
    | CreateVxlan
    | CreateJoint
    | AttachJoint
    | ChangePeers
    | DeleteHostLink
    | ChangeHostMtu
    | TurnOffIpv6
    | Plug
    | ChangeGuard
    | AttachSteering
    | RaiseHostLink
)
"""Carried out in the host's own namespace."""
InsideOperation = (
    ChangeSettings
    | LoadRules
    | ForgetFlows
    | ForgetUnansweredFlows
    | DeleteLink
    | ChangeLink
    | AddAddress
    | RemoveAddress
    | RaiseLink
    | RestoreConnected
    | RestoreRoutingRules
    | AddRoute
    | RemoveRoute
    | MarkUnannounced
    | Announce
)
"""Carried out in the router's namespace."""
SteeringOperation = Steer | Unsteer
"""Carried out in the host's steering table."""
Operation = CreateNamespace | ClaimNamespace | CreatePair | HostOperation | InsideOperation | SteeringOperation
