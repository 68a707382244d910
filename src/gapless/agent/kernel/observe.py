"""Reads what is there: a router inside its namespace and at the host's ends, and a network's bridge and way out.

Invariant: observing changes nothing, and sees only what is ours or what stands under a name that we need.
"""

import contextlib
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, Self

from gapless.agent.kernel import arp, links, netns, portentries, routing, ruleset, sysctls, tables, vxlandevices
from gapless.agent.kernel.links import KernelLink
from gapless.agent.kernel.nft import Nft
from gapless.core.dataplane.desired import ROUTING_RULES, SETTINGS, tap_of
from gapless.errors import Unavailable
from gapless.kernel.netlink import NETFILTER, Netlink
from gapless.kernel.transactions import Transactions
from gapless.model.leaf import Leaf, Plugged
from gapless.model.observed import (
    DOOMED_GROUP,
    GATEWAY_PREFIX,
    GUARDED_GROUP,
    JOINT_PREFIX,
    TAP_PREFIX,
    TENANT_PREFIX,
    UNANNOUNCED_GROUP,
    HostLink,
    KernelRouter,
    Link,
    NamespaceState,
    ObservedLeaf,
    ObservedSegment,
    Ruleset,
    Segment,
    Tap,
)
from gapless.model.router import RouterId

_IN_EVERY_NAMESPACE: Final = frozenset(
    ("lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0")
)
"""Links that the kernel itself puts into each new namespace, depending on its modules."""


@dataclass(slots=True)
class Inside:
    """Sockets of a router's namespace, usable from any thread, and the settings found when they were opened."""

    netlink: Netlink
    tables: Netlink
    """Of the family NETFILTER."""
    settings: dict[str, str]
    namespace: int
    """The number of the namespace, which no other has while this one lives."""
    transactions: Transactions | None = None
    """To load rules by, where that was expected or needed."""
    nft: Nft | None = None
    """To load rules as text, where that was needed."""
    packets: socket.socket | None = None
    """To announce with; the announcer takes it."""

    @classmethod
    def opened(cls) -> Self:
        """Those of the calling thread's namespace."""
        settings = sysctls.read(SETTINGS)
        with contextlib.ExitStack() as undo:
            inside = cls._opened(undo.enter_context(Netlink()), settings)
            undo.pop_all()
        return inside

    @classmethod
    def opened_to_build(cls, netlink: Netlink, settings: dict[str, str], *, announces: bool) -> Self:
        """Those of the calling thread's namespace, which is new and has these settings and this socket, with what a new
        router needs: rules, and announcements if it makes any. Where they cannot be opened the socket stays open.
        """
        with contextlib.ExitStack() as undo:
            inside = cls._opened(netlink, settings)
            undo.callback(inside.tables.close)
            inside.transactions = Transactions(family=tables.IPV4)
            undo.callback(inside.transactions.close)
            inside.packets = arp.open_socket() if announces else None
            undo.pop_all()
        return inside

    @classmethod
    def _opened(cls, netlink: Netlink, settings: dict[str, str]) -> Self:
        namespace = netns.number_here()
        return cls(netlink=netlink, tables=Netlink(NETFILTER), settings=settings, namespace=namespace)

    def close(self) -> None:
        """Let go of the namespace."""
        if self.packets is not None:
            self.packets.close()
        self.netlink.close()
        self.tables.close()
        if self.transactions is not None:
            self.transactions.close()
        if self.nft is not None:
            self.nft.close()


def observe_router(
    host: Netlink,
    router_id: RouterId,
    inside: Inside | None,
    desired: KernelRouter,
    rules: Callable[[Inside], Ruleset | None] = lambda inside: ruleset.observe(inside.tables),
) -> KernelRouter:
    """What is there of a router. `inside` is None where its namespace does not exist; `rules` reads its rules."""
    found = links.all_links(inside.netlink) if inside is not None else []
    ours = {link.name: link for link in ends(found)}
    taps = _taps(host, ours, desired)
    if inside is None:
        return KernelRouter(namespace=NamespaceState.ABSENT, taps=taps)
    state = namespace_state(found)
    if state is NamespaceState.FOREIGN:
        if not has_lost_its_mark(host, router_id, found):
            return KernelRouter(namespace=state)
        state = NamespaceState.EMPTY
    addresses = routing.addresses_by_link(inside.netlink)
    routes = routing.routes(inside.netlink, {link.index: name for name, link in ours.items()})
    return KernelRouter(
        namespace=state,
        settings=inside.settings,
        ruleset=rules(inside),
        links={
            name: Link(
                name=name,
                mac=link.mac,
                mtu=link.mtu,
                up=link.up,
                forwarding=link.forwarding,
                addresses=frozenset(addresses.get(link.index, ())),
                connected=routes.connected.get(name, frozenset()),
                announced=link.group != UNANNOUNCED_GROUP,
            )
            for name, link in ours.items()
        },
        taps=taps,
        routes=routes.ours,
        routing_rules=routing.rules(inside.netlink) & ROUTING_RULES,
    )


def namespace_state(found: list[KernelLink]) -> NamespaceState:
    """Whose a namespace with these links is."""
    if any(link.name == "lo" and link.alias == netns.MARK for link in found):
        return NamespaceState.OURS
    if all(link.name in _IN_EVERY_NAMESPACE for link in found):
        return NamespaceState.EMPTY
    return NamespaceState.FOREIGN


def ends(found: Iterable[KernelLink]) -> list[KernelLink]:
    """Of the links of a router's namespace, its interfaces."""
    return [link for link in found if link.name.startswith((TENANT_PREFIX, GATEWAY_PREFIX))]


def has_lost_its_mark(host: Netlink, router_id: RouterId, found: Iterable[KernelLink]) -> bool:
    """Whether a namespace with these links, and without our mark, is ours for certain: one of them is the other end of
    a tap that carries its router's mark.
    """
    by_tap = {tap_of(link.name): link for link in ends(found)}
    taps = links.find(host, sorted(by_tap))
    return any(tap.marked_id == router_id and links.are_a_pair(tap, by_tap[name]) for name, tap in taps.items())


def _taps(host: Netlink, inside: dict[str, KernelLink], desired: KernelRouter) -> dict[str, Tap]:
    """The host's ends that we need or that belong to links inside, where they exist."""
    by_tap = {tap_of(name): link for name, link in inside.items()}
    bridges = {tap.bridge for tap in desired.taps.values() if tap.bridge is not None}
    names = sorted({*desired.taps, *by_tap})
    found, bridges_at = links.find_ports(host, names, sorted(bridges)) if names else ({}, {})
    bridge_names = {index: name for name, index in bridges_at.items()}
    attached = _attached(host, found, desired)
    taps = {}
    for name in names:
        link, peer = found.get(name), by_tap.get(name)
        if link is None:
            continue
        is_pair = peer is not None and links.are_a_pair(link, peer)
        taps[name] = Tap(
            name=name,
            mtu=link.mtu,
            bridge=bridge_names.get(link.master, f"#{link.master}") if link.master else None,
            peer=peer.name if peer is not None and is_pair else None,
            up=link.up,
            ours=link.is_ours or is_pair,
            guarded=link.group == GUARDED_GROUP,
            doomed=link.group == DOOMED_GROUP,
            speaks_ipv6=link.speaks_ipv6,
            steering_mac=attached.get(name),
        )
    return taps


def _attached(host: Netlink, found: dict[str, KernelLink], desired: KernelRouter) -> dict[str, str]:
    """Of taps that are to be sent steered frames, those that are, with the address of these."""
    wanted = {
        found[name].index: tap
        for name, tap in desired.taps.items()
        if tap.steering_mac is not None and name in found and found[name].master
    }
    if not wanted:
        return {}
    sent_to = portentries.ports_sent_to(host, [(index, str(tap.steering_mac)) for index, tap in wanted.items()])
    return {
        tap.name: str(tap.steering_mac)
        for index, tap in wanted.items()
        if index in sent_to and not found[tap.name].takes_multicasts
    }


def others_ports(host: Netlink, bridge: str) -> frozenset[str]:
    """The ports of a bridge that are no taps of ours, and no ends of joints."""
    found = links.find(host, [bridge]).get(bridge)
    if found is None:
        return frozenset()
    ports = links.ports_of(host, found.index)
    return frozenset(it.name for it in ports if not (it.is_ours and it.name.startswith((TAP_PREFIX, JOINT_PREFIX))))


def plugged(host: Netlink, root: str, leaves: Mapping[int, Leaf]) -> tuple[Plugged, dict[int, int]]:
    """What is plugged into a root and into those of these leaves that are there; and the numbers of these bridges, by
    their indices.
    """
    names = [root, *(name for leaf in leaves.values() for name in (leaf.bridge, leaf.root_end, leaf.leaf_end))]
    found = links.find(host, names)
    foreign = {
        number
        for number, leaf in leaves.items()
        for name, kind in ((leaf.bridge, "bridge"), (leaf.root_end, "veth"), (leaf.leaf_end, "veth"))
        if name in found and not (found[name].is_ours and found[name].kind == kind)
    }
    ends = {name for leaf in leaves.values() for name in (leaf.root_end, leaf.leaf_end)}
    bridges = {0: root} | {number: leaf.bridge for number, leaf in leaves.items() if number not in foreign}
    numbers = {found[name].index: number for number, name in bridges.items() if name in found}
    ports = {
        number: frozenset(port.name for port in links.ports_of(host, index) if port.name not in ends)
        for index, number in numbers.items()
    }
    return Plugged(ports={0: frozenset[str]()} | ports, foreign=frozenset(foreign)), numbers


def observe_segment(host: Netlink, segment: Segment) -> ObservedSegment:
    """What is there of a network on this host."""
    device = segment.vxlan.device if segment.vxlan is not None else None
    names = [segment.bridge, segment.vxlan.name if segment.vxlan is not None else None, segment.uplink, device]
    names += [name for leaf in segment.leaves for name in (leaf.bridge, leaf.root_end, leaf.leaf_end)]
    found = links.find(host, [name for name in names if name is not None])
    masters = {link.index: link for link in found.values()}
    uplink = found.get(segment.uplink or "")
    if uplink is not None and uplink.master and uplink.master not in masters:
        masters |= {link.index: link for link in links.all_links(host)}

    def described(name: str | None) -> HostLink | None:
        link = found.get(name or "")
        return _describe(host, link, masters, segment) if link is not None else None

    sending = _sending(host, found, segment.leaves)
    return ObservedSegment(
        bridge=described(segment.bridge),
        vxlan=described(segment.vxlan.name if segment.vxlan is not None else None),
        uplink=described(segment.uplink),
        leaves={
            leaf.bridge: ObservedLeaf(
                bridge=described(leaf.bridge),
                root_end=described(leaf.root_end),
                leaf_end=described(leaf.leaf_end),
                is_joint=_are_joined(leaf, found),
                root_sends=leaf.root_end in sending,
                leaf_sends=leaf.leaf_end in sending,
            )
            for leaf in segment.leaves
        },
        data_mtu=found[device].mtu if device in found else None,
    )


def _are_joined(leaf: Leaf, found: Mapping[str, KernelLink]) -> bool:
    """Whether the ends of a leaf's joint are those of one pair, and as they were made."""
    root_end, leaf_end = found.get(leaf.root_end), found.get(leaf.leaf_end)
    if root_end is None or leaf_end is None or root_end.peer_namespace is not None:
        return False
    macs = (root_end.mac, leaf_end.mac) == (leaf.root_end_mac, leaf.leaf_end_mac)
    return macs and links.are_a_pair(root_end, leaf_end)


def _sending(host: Netlink, found: Mapping[str, KernelLink], leaves: tuple[Leaf, ...]) -> frozenset[str]:
    """Ends of joints by which their bridges send what is for the other end."""
    others = {leaf.root_end: leaf.leaf_end_mac for leaf in leaves}
    others |= {leaf.leaf_end: leaf.root_end_mac for leaf in leaves}
    wanted = {name: mac for name, mac in others.items() if name in found and found[name].master}
    sending = (
        portentries.ports_sent_to(host, [(found[name].index, mac) for name, mac in wanted.items()]) if wanted else ()
    )
    return frozenset(name for name in wanted if found[name].index in sending)


def _describe(host: Netlink, link: KernelLink, masters: dict[int, KernelLink], segment: Segment) -> HostLink:
    vxlan = None
    if segment.vxlan is not None and link.kind == "vxlan":
        device = masters.get(vxlandevices.device_index(link))
        peers = vxlandevices.flood_peers(host, link.index) if segment.vxlan.group is None else frozenset()
        vxlan = vxlandevices.decode(link, device.name if device is not None else "", peers)
    master = masters.get(link.master)
    is_free_uplink = link.name == segment.uplink and not link.master
    return HostLink(
        name=link.name,
        kind=link.kind,
        mtu=link.mtu,
        up=link.up and not (link.is_ours and link.kind == "bridge" and link.speaks_arp),
        bridge=(master.name if master is not None else f"#{link.master}") if link.master else None,
        ours=link.is_ours,
        vxlan=vxlan,
        has_addresses=is_free_uplink and routing.has_addresses(host, link.index),
        bridge_is_ours=master is not None and master.is_ours,
        speaks_ipv6=link.speaks_ipv6,
    )


def data_address(host: Netlink, device: str) -> IPv4Address:
    """The address of the data interface, where tunnels end: its first one, which the sentinel tells the cluster. One
    that is added beside it, as those are that move between machines, changes nothing. Raises Unavailable where there is
    none.
    """
    index = links.indices(host, [device]).get(device)
    if index is None:
        raise Unavailable(f"the data interface {device} does not exist on this host")
    held = routing.addresses_by_link(host, index).get(index)
    if not held:
        raise Unavailable(f"the data interface {device} has no IPv4 address, so there is no end for VXLAN tunnels")
    return min(held, key=lambda address: address.ip.is_link_local).ip
