"""desired x observed -> operations, for a network on a host: its bridge, its way out (VXLAN or an uplink), its leaves.

The rule: what the operator made is used as it is or refused with a reason; it is never changed, except that an uplink
named in the settings becomes a port of our bridge. An interface that carries the host's own addresses is refused,
because as a bridge port it would take the host off the network.

Invariant: every prefix is safe. A bridge has its way out before it is up, and routers are plugged in after that. A leaf
has its joint for one.
"""

from collections.abc import Iterator
from dataclasses import replace

from gapless.errors import Unavailable
from gapless.model.leaf import Leaf
from gapless.model.network import VXLAN_OVERHEAD
from gapless.model.observed import HostLink, ObservedLeaf, ObservedSegment, Segment, Vxlan
from gapless.model.operation import (
    AttachJoint,
    ChangeHostMtu,
    ChangePeers,
    CreateBridge,
    CreateJoint,
    CreateVxlan,
    DeleteHostLink,
    HostOperation,
    Plug,
    RaiseHostLink,
    TurnOffIpv6,
)


def diff_segment(desired: Segment, observed: ObservedSegment) -> tuple[HostOperation, ...]:
    """The operations that lead to `desired`. Raises Unavailable, with the reason, where that cannot be."""
    return (*_root(desired, observed), *_leaves(desired, observed))


def _root(desired: Segment, observed: ObservedSegment) -> Iterator[HostOperation]:
    if desired.is_operators:
        _require_operators_bridge(desired, observed.bridge)
        return
    yield from _bridge(desired.bridge, desired, observed.bridge)
    yield from _vxlan(desired, observed)
    yield from _uplink(desired, observed.uplink)
    yield from _raise(desired, observed)


def _require_operators_bridge(desired: Segment, bridge: HostLink | None) -> None:
    if bridge is None or bridge.kind != "bridge":
        raise Unavailable(f"there is no bridge {desired.bridge} on this host")
    if not bridge.up:
        raise Unavailable(f"bridge {desired.bridge} is down; it is the operator's to bring up")


def _bridge(name: str, desired: Segment, bridge: HostLink | None) -> Iterator[HostOperation]:
    if bridge is None:
        yield CreateBridge(name=name, mtu=desired.mtu, network_id=desired.network_id)
        return
    _require_ours(bridge)
    yield from _settle(bridge, desired)


def _settle(link: HostLink, desired: Segment) -> Iterator[HostOperation]:
    """What every link of ours on a network has in common."""
    if link.speaks_ipv6:
        yield TurnOffIpv6(name=link.name)
    if link.mtu != desired.mtu:
        yield ChangeHostMtu(name=link.name, mtu=desired.mtu)


def _vxlan(desired: Segment, observed: ObservedSegment) -> Iterator[HostOperation]:
    if desired.vxlan is None:
        return
    _require_room(desired, desired.vxlan, observed.data_mtu)
    there = observed.vxlan
    if there is not None:
        _require_ours(there)
        if there.vxlan is None or _without_peers(there.vxlan) != _without_peers(desired.vxlan):
            yield DeleteHostLink(name=there.name)
            there = None
    if there is None or there.vxlan is None:
        yield CreateVxlan(vxlan=desired.vxlan, bridge=desired.bridge, mtu=desired.mtu, network_id=desired.network_id)
        if desired.vxlan.peers:
            yield ChangePeers(vxlan=desired.vxlan.name, add=desired.vxlan.peers, remove=frozenset())
        return
    yield from _settle(there, desired)
    if there.bridge != desired.bridge:
        yield Plug(name=there.name, bridge=desired.bridge)
    missing, extra = desired.vxlan.peers - there.vxlan.peers, there.vxlan.peers - desired.vxlan.peers
    if missing or extra:
        yield ChangePeers(vxlan=there.name, add=missing, remove=extra)


def _require_room(desired: Segment, vxlan: Vxlan, data_mtu: int | None) -> None:
    if data_mtu is None:
        raise Unavailable(f"the data interface {vxlan.device} does not exist on this host")
    if data_mtu < desired.mtu + VXLAN_OVERHEAD:
        raise Unavailable(
            f"the data interface {vxlan.device} has MTU {data_mtu}; a network of MTU {desired.mtu} needs "
            f"{desired.mtu + VXLAN_OVERHEAD} there ({VXLAN_OVERHEAD} bytes are for VXLAN)"
        )


def _without_peers(vxlan: Vxlan) -> Vxlan:
    return replace(vxlan, peers=frozenset())


def _uplink(desired: Segment, uplink: HostLink | None) -> Iterator[HostOperation]:
    if desired.uplink is None:
        return
    if uplink is None:
        raise Unavailable(f"there is no interface {desired.uplink} on this host")
    if uplink.mtu < desired.mtu:
        raise Unavailable(f"interface {uplink.name} has MTU {uplink.mtu}; the network needs {desired.mtu}")
    if uplink.bridge == desired.bridge:
        return
    if uplink.bridge is not None and uplink.bridge_is_ours:
        raise Unavailable(
            f"interface {uplink.name} still serves another network of Gapless (bridge {uplink.bridge}); "
            "it is released when no router of that network is left on this host"
        )
    if uplink.bridge is not None:
        raise Unavailable(f"interface {uplink.name} belongs to {uplink.bridge}, which was not made by Gapless")
    if uplink.has_addresses:
        raise Unavailable(
            f"interface {uplink.name} carries addresses of this host; as a bridge port it would lose them. "
            "Give Gapless an interface without addresses, or a bridge of your own"
        )
    yield Plug(name=uplink.name, bridge=desired.bridge)


def _raise(desired: Segment, observed: ObservedSegment) -> Iterator[HostOperation]:
    recreated = (
        observed.vxlan is not None
        and desired.vxlan is not None
        and (observed.vxlan.vxlan is None or _without_peers(observed.vxlan.vxlan) != _without_peers(desired.vxlan))
    )
    for name, there in (
        (desired.vxlan.name if desired.vxlan else None, None if recreated else observed.vxlan),
        (desired.uplink, observed.uplink),
        (desired.bridge, observed.bridge),
    ):
        if name is not None and (there is None or not there.up):
            yield RaiseHostLink(name=name)


def _leaves(desired: Segment, observed: ObservedSegment) -> Iterator[HostOperation]:
    for leaf in desired.leaves:
        there = observed.leaves.get(leaf.bridge, ObservedLeaf())
        yield from _bridge(leaf.bridge, desired, there.bridge)
        kept = _joint_that_stays(there)
        yield from _joint(desired, leaf, there, kept) if kept is not None else _new_joint(desired, leaf, there)
        ends = kept or (None, None)
        for name, link in zip((leaf.leaf_end, leaf.root_end, leaf.bridge), (*ends, there.bridge), strict=True):
            if link is None or not link.up:
                yield RaiseHostLink(name=name)


def _joint_that_stays(there: ObservedLeaf) -> tuple[HostLink, HostLink] | None:
    """The ends in the leaf and in the root, where they are each other's."""
    if there.leaf_end is None or there.root_end is None or not there.is_joint:
        return None
    for end in (there.leaf_end, there.root_end):
        _require_ours(end)
    return there.leaf_end, there.root_end


def _new_joint(desired: Segment, leaf: Leaf, there: ObservedLeaf) -> Iterator[HostOperation]:
    for end in (there.leaf_end, there.root_end):
        if end is not None:
            _require_ours(end)
            yield DeleteHostLink(name=end.name)
    yield CreateJoint(
        name=leaf.root_end,
        mac=leaf.root_end_mac,
        root=desired.bridge,
        leaf_end=leaf.leaf_end,
        leaf_end_mac=leaf.leaf_end_mac,
        leaf=leaf.bridge,
        mtu=desired.mtu,
        network_id=desired.network_id,
    )
    yield AttachJoint(name=leaf.leaf_end, mac=leaf.root_end_mac)
    yield AttachJoint(name=leaf.root_end, mac=leaf.leaf_end_mac)


def _joint(
    desired: Segment, leaf: Leaf, there: ObservedLeaf, ends: tuple[HostLink, HostLink]
) -> Iterator[HostOperation]:
    """A port that is new to its bridge sends nothing by itself there."""
    for end, bridge, other_mac, sends in (
        (ends[0], leaf.bridge, leaf.root_end_mac, there.leaf_sends),
        (ends[1], desired.bridge, leaf.leaf_end_mac, there.root_sends),
    ):
        yield from _settle(end, desired)
        if end.bridge != bridge:
            yield Plug(name=end.name, bridge=bridge)
        if end.bridge != bridge or not sends:
            yield AttachJoint(name=end.name, mac=other_mac)


def _require_ours(link: HostLink) -> None:
    if not link.ours:
        raise Unavailable(f"an interface named {link.name} exists on this host and was not made by Gapless")
