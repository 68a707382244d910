"""How this host carries the networks of its routers: their bridges, ways out and leaves, made and kept right.

The rule: a network is looked at with each look at a router that is on it, and what is wrong of it is mended for all of
its routers, before the router itself is looked at. Work on one network takes turns, for its bridge and its way out are
shared by routers that are worked on side by side; every success was verified against the kernel.

What an operator made (an uplink, a bridge as an uplink, the data interface) is asked for, and believed for a moment.
Blocking; thread-safe for different routers.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Final

from gapless.agent.believed import Believed
from gapless.agent.kernel import links
from gapless.agent.kernel.apply import HostHands
from gapless.agent.kernel.observe import data_address, observe_segment, others_ports
from gapless.agent.networkturns import NetworkTurns
from gapless.agent.places import Places
from gapless.agent.planwords import at_length, in_short
from gapless.config import HostSettings
from gapless.core.dataplane.desired import bridge_name, tap_name, vxlan_name
from gapless.core.dataplane.leaves import leaf_of
from gapless.core.dataplane.segments import diff_segment
from gapless.errors import InvalidRequest, InvariantError, Unavailable
from gapless.kernel.netlink import Netlink
from gapless.model.leaf import Leaf, Room
from gapless.model.network import Network, NetworkId, NetworkType
from gapless.model.observed import Segment, Vxlan
from gapless.model.operation import Operation, RaiseHostLink
from gapless.model.router import Router, RouterPort
from gapless.model.steering import Outside

PORTS_FRESH_S: Final = 10.0
"""How long it is believed which ports an operator's bridge has."""
HOST_FRESH_S: Final = 0.1
"""How long it is believed where tunnels end, and whether an uplink is an operator's bridge."""
ROUNDS: Final = 2
"""Plans applied before giving up. One does, unless somebody else changes the network at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The networks of one router, as they are carried here."""

    bridges: Mapping[str, str]
    """By tap, the bridge that it is to be plugged into."""
    outside: Outside | None
    """How its external network comes to its tap; None: it has none."""
    what: tuple[str, ...]
    """What had to be done for them, in short."""


class Networks:
    """Of one host. `places`: on which bridge of its network each tap is; `ports`: of operators' bridges, those that are
    no taps of ours.
    """

    def __init__(self, settings: HostSettings, room: Room) -> None:
        """`room`: of the bridges of a network. Raises InvalidRequest, in an operator's words, for settings that cannot
        be.
        """
        self.places = Places(room)
        self.ports = Believed[str, frozenset[str]](PORTS_FRESH_S)
        self._settings = settings
        self._physical = dict(settings.physical_networks)
        self._group = _address(settings.vxlan_group, "vxlan_group") if settings.vxlan_group else None
        self._peers = frozenset(_address(peer, "vxlan_peer") for peer in settings.vxlan_peers)
        if self._group is not None and not self._group.is_multicast:
            raise InvalidRequest(f"vxlan_group {self._group} is not a multicast address (224.0.0.0/4)")
        self._turns = NetworkTurns()
        self._is_bridge = Believed[str, bool](HOST_FRESH_S)
        """Of uplinks."""
        self._data_address = Believed[str, IPv4Address](HOST_FRESH_S)

    def doubt(self) -> None:
        """Something did not work: ask anew for what an operator may have changed."""
        for believed in (self._is_bridge, self.ports, self._data_address):
            believed.doubt()

    def carry(self, host: Netlink, router: Router) -> Carried:
        """Make the networks of a router, and what its taps need of them. Raises Unavailable where that cannot be."""
        ports = _ports_of(router) if router.admin_up else []
        networks = {port.network.id: port.network for port in ports}
        segments = {network_id: self._segment(host, network) for network_id, network in sorted(networks.items())}
        taps: dict[NetworkId, set[str]] = {}
        for port in ports:
            taps.setdefault(port.network.id, set()).add(tap_name(port.id))
        numbers = self.places.plug(host, router.id, ((segments[it], frozenset(those)) for it, those in taps.items()))
        what: list[str] = []
        bridges: dict[str, str] = {}
        leaves: dict[str, Leaf] = {}
        for network_id, segment in segments.items():
            what += self._ensure_bridges(host, segment, {numbers[tap] for tap in taps[network_id]} - {0})
            leaves |= {tap: leaf_of(network_id, numbers[tap]) for tap in taps[network_id] if numbers[tap]}
            bridges |= {tap: leaves[tap].bridge if tap in leaves else segment.bridge for tap in taps[network_id]}
        outside = self._outside(host, router, segments, leaves)
        return Carried(bridges=bridges, outside=outside, what=tuple(what))

    def _ensure_bridges(self, host: Netlink, segment: Segment, needed: set[int]) -> list[str]:
        """Make a network with the leaves that a router needs; returns what had to be done, in short.

        What broke of its other leaves is mended, too; where that cannot be, it is the business of the routers there.
        """
        done = [self._ensure_network(host, _with_leaves(segment, needed))]
        for other in sorted(self.places.leaves(segment.network_id) - needed):
            with contextlib.suppress(Unavailable):
                done.append(self._ensure_network(host, _with_leaves(segment, {other})))
        return [what for what in done if what]

    def _ensure_network(self, host: Netlink, segment: Segment) -> str:
        """Make one network; returns what had to be done, in short."""
        what = ""
        with self._turns.of(segment.network_id):
            for _ in range(ROUNDS):
                plan = diff_segment(segment, observe_segment(host, segment))
                if not plan:
                    return what
                hands = HostHands(host)
                for operation in plan:
                    hands.carry_out(operation)
                hands.flush()
                hands.await_carrier(_ends_of_joints(segment, plan))
                what = what or in_short(plan)
            left = diff_segment(segment, observe_segment(host, segment))
            if left:
                reason = f"network {segment.network_id} is not as it should be after building: {at_length(left)}"
                raise Unavailable(reason)
        return what

    def _segment(self, host: Netlink, network: Network) -> Segment:
        """How this host should carry `network`. Raises Unavailable where it cannot."""
        bridge = bridge_name(network.id)
        match network.type:
            case NetworkType.VXLAN:
                return Segment(network_id=network.id, bridge=bridge, mtu=network.mtu, vxlan=self._vxlan(host, network))
            case NetworkType.FLAT:
                interface = self._physical.get(network.physical_network or "")
                if interface is None:
                    raise Unavailable(
                        f"this host is not plugged into physical network '{network.physical_network}' "
                        "(--physical-network NAME=INTERFACE)"
                    )
                if self._is_bridge.of(interface, lambda: _is_bridge(host, interface)):
                    return Segment(network_id=network.id, bridge=interface, mtu=network.mtu)
                return Segment(network_id=network.id, bridge=bridge, mtu=network.mtu, uplink=interface)

    def _outside(
        self, host: Netlink, router: Router, segments: Mapping[NetworkId, Segment], leaves: Mapping[str, Leaf]
    ) -> Outside | None:
        """How a router's external network comes to its tap; None: it has none."""
        if router.gateway is None or not router.admin_up:
            return None
        segment, leaf = segments[router.gateway.port.network.id], leaves.get(tap_name(router.gateway.port.id))
        if not segment.is_operators:
            uplink = segment.vxlan.name if segment.vxlan is not None else segment.uplink
            return Outside(uplink=uplink, inlets=frozenset(filter(None, (uplink,))), leaf=leaf)
        ports = self.ports.of(segment.bridge, lambda: others_ports(host, segment.bridge))
        uplink = next(iter(ports)) if len(ports) == 1 else None
        return Outside(uplink=uplink, inlets=ports, only_arp=True, leaf=leaf)

    def _vxlan(self, host: Netlink, network: Network) -> Vxlan:
        if self._settings.data_interface is None:
            raise Unavailable("this host has no data interface, so it carries no VXLAN networks (--data-interface)")
        if network.segmentation_id is None:
            raise InvariantError(f"VXLAN network {network.id} has no segmentation id")
        interface = self._settings.data_interface
        local = self._data_address.of(interface, lambda: data_address(host, interface))
        return Vxlan(
            name=vxlan_name(network.segmentation_id),
            vni=network.segmentation_id,
            local=local,
            port=self._settings.vxlan_port,
            device=interface,
            group=self._group,
            # Every host may be given the same list. What is flooded to this one itself comes back at once, and the
            # bridge takes whoever sent it to be elsewhere.
            peers=self._peers - {local} if self._group is None else frozenset(),
        )


def _is_bridge(host: Netlink, interface: str) -> bool | None:
    """None: there is no such interface."""
    found = links.find(host, [interface]).get(interface)
    return None if found is None else found.kind == "bridge"


def _ports_of(router: Router) -> list[RouterPort]:
    return [*router.ports, *([router.gateway.port] if router.gateway is not None else [])]


def _with_leaves(segment: Segment, numbers: Collection[int]) -> Segment:
    return replace(segment, leaves=tuple(leaf_of(segment.network_id, number) for number in sorted(numbers)))


def _ends_of_joints(segment: Segment, plan: Iterable[Operation]) -> list[str]:
    """Those that were set up just now: who is announced at once is to be heard behind them."""
    raised = {it.name for it in plan if isinstance(it, RaiseHostLink)}
    return [end for leaf in segment.leaves for end in (leaf.root_end, leaf.leaf_end) if end in raised]


def _address(text: str, setting: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise InvalidRequest(f"{setting}: '{text}' is not an IPv4 address") from error
