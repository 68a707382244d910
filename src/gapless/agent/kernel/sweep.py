"""Finds and removes what Gapless made on the host and nobody needs any more: taps, bridges, joints, VXLAN devices.

The rule: what goes together holds RTNL together, a bridge for some 20 ms, and nothing else in the kernel's networking
is changed meanwhile. So networks go a few at a time, and who asks comes back for the rest.

Invariant: only links that carry our mark are deleted, and a bridge only when nobody else has a port in it. A leaf goes
when only its joint is a port of it, whether its network is needed or not, and a root after its leaves.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from contextlib import suppress

from gapless.agent.kernel import linkrequests, links, netns, nsnumbers
from gapless.agent.kernel.links import KernelLink
from gapless.core.dataplane.desired import bridge_name, tap_of, vxlan_name
from gapless.core.dataplane.leaves import is_leaf, leaf_end_of, root_end_of
from gapless.kernel.netlink import Netlink
from gapless.model.network import Network
from gapless.model.observed import BRIDGE_PREFIX, TAP_PREFIX, VXLAN_PREFIX
from gapless.model.router import RouterId


def names_of(network: Network) -> tuple[str, ...]:
    """The links that a network may have on a host."""
    vni = network.segmentation_id
    return (bridge_name(network.id), *((vxlan_name(vni),) if vni is not None else ()))


def routers_of_taps(host: Netlink) -> frozenset[RouterId]:
    """Routers that have a tap of ours on this host, whatever became of their namespaces."""
    return frozenset(RouterId(tap.marked_id) for tap in _our_taps(host))


def delete_taps_of(host: Netlink, router_ids: Collection[RouterId]) -> None:
    """Delete routers' taps, wherever their other ends are."""
    if router_ids:
        _delete(host, (tap.name for tap in _our_taps(host) if tap.marked_id in router_ids))


def delete_pairs(host: Netlink, insides: Mapping[RouterId, Collection[KernelLink]]) -> None:
    """Delete routers' pairs, known by their ends inside: from the host, at once, as far as their taps are there.

    A router is off the wire at once; its namespace may live on for a while (a process may be in it).
    """
    taps = links.find(host, sorted({tap_of(link.name) for each in insides.values() for link in each}))
    whole: list[str] = []
    broken: dict[RouterId, list[str]] = {}
    for router_id, ends in insides.items():
        for link in ends:
            tap = taps.get(tap_of(link.name))
            if tap is not None and links.are_a_pair(tap, link):
                whole.append(tap.name)
            else:
                broken.setdefault(router_id, []).append(link.name)
    _delete(host, whole)
    for router_id, names in broken.items():
        with suppress(FileNotFoundError), netns.enter(netns.path_of(router_id), Netlink) as inside:
            _delete(inside, names)


def delete_stray_taps(host: Netlink, held: Container[RouterId]) -> None:
    """Delete taps of ours whose other end is not in their router's namespace: its name was taken by a new one. One that
    is held and has no name just now is about to have it again.
    """
    taps: dict[RouterId, list[KernelLink]] = {}
    for tap in _our_taps(host):
        taps.setdefault(RouterId(tap.marked_id), []).append(tap)
    for router_id, of_router in taps.items():
        number = _namespace_number(host, router_id)
        if number is None and router_id in held and not netns.is_namespace(netns.path_of(router_id)):
            continue
        _delete(host, (tap.name for tap in of_router if tap.peer_namespace != number or number is None))


def _namespace_number(host: Netlink, router_id: RouterId) -> int | None:
    try:
        with netns.opened(netns.path_of(router_id)) as descriptor:
            return nsnumbers.namespace_number(host, descriptor)
    except FileNotFoundError:
        return None


def doomed_networks(host: Netlink, kept: frozenset[str], uplinks: frozenset[str]) -> list[str]:
    """Bridges and VXLAN devices of ours that serve no network whose links are in `kept`, by name: leaves, and behind
    them roots, those with an uplink first, which another network may wait for. All links of the host are listed.
    """
    found = links.all_links(host)
    leaves = _empty_leaves(found)
    joints = _ends_of(link.name for link in leaves.values())
    stale_vxlans = {link.index: link for link in found if _is_stale(link, "vxlan", VXLAN_PREFIX, kept)}
    stale_roots = {link.index: link for link in found if _is_stale_root(link, kept)}
    in_use = {
        link.master
        for link in found
        if link.master in stale_roots
        and link.index not in stale_vxlans
        and link.name not in uplinks
        and link.name not in joints
    }
    holds = {link.master for link in found if link.name in uplinks}
    return [
        *(link.name for link in leaves.values()),
        *(stale_roots[index].name for index in sorted(stale_roots.keys() - in_use, key=lambda it: it not in holds)),
        *(link.name for link in stale_vxlans.values() if link.master not in stale_roots),
    ]


def delete_networks(host: Netlink, doomed: Collection[str], kept: frozenset[str], uplinks: frozenset[str]) -> None:
    """Delete these of our bridges and VXLAN devices, with what of ours is plugged into them, and release uplinks from
    them. What serves a network by now, or somebody else, stays.
    """
    found = links.find(host, sorted(doomed))
    ports = {name: links.ports_of(host, link.index) for name, link in found.items() if link.kind == "bridge"}
    leaves = [name for name, link in found.items() if _is_leaf(link) and _is_empty(link, ports[name])]
    roots = [name for name, link in found.items() if _is_stale_root(link, kept)]
    joints = _ends_of(leaves)
    unused = [name for name in roots if all(_goes_along(port, kept, uplinks | joints) for port in ports[name])]
    inside = [port for name in unused for port in ports[name]]
    released = [port.name for port in inside if port.name in uplinks]
    host.carry_out([linkrequests.set_master(name, 0) for name in released])
    joined = (link for link in links.find(host, sorted(joints)).values() if link.is_ours)
    vxlans = (link for link in (*found.values(), *inside) if _is_stale(link, "vxlan", VXLAN_PREFIX, kept))
    _delete(host, dict.fromkeys([*leaves, *unused, *(link.name for link in (*joined, *vxlans))]))


def _goes_along(port: KernelLink, kept: frozenset[str], ends: frozenset[str]) -> bool:
    """Whether a root's port keeps nobody from deleting it."""
    return port.name in ends or _is_stale(port, "vxlan", VXLAN_PREFIX, kept)


def _empty_leaves(found: Iterable[KernelLink]) -> dict[int, KernelLink]:
    """Leaves of ours with no port but their joints."""
    leaves = {link.index: link for link in found if _is_leaf(link)}
    in_use = {link.master for link in found if link.master in leaves and not _is_joint_of(link, leaves[link.master])}
    return {index: link for index, link in leaves.items() if index not in in_use}


def _ends_of(leaves: Iterable[str]) -> frozenset[str]:
    """What the ends of these leaves' joints are called."""
    return frozenset(end for leaf in leaves for end in (root_end_of(leaf), leaf_end_of(leaf)))


def _is_leaf(link: KernelLink) -> bool:
    return link.is_ours and link.kind == "bridge" and is_leaf(link.name)


def _is_empty(leaf: KernelLink, ports: Iterable[KernelLink]) -> bool:
    return all(_is_joint_of(port, leaf) for port in ports)


def _is_stale_root(link: KernelLink, kept: frozenset[str]) -> bool:
    return _is_stale(link, "bridge", BRIDGE_PREFIX, kept) and not is_leaf(link.name)


def _is_joint_of(link: KernelLink, leaf: KernelLink) -> bool:
    return link.is_ours and link.name == leaf_end_of(leaf.name)


def _is_stale(link: KernelLink, kind: str, prefix: str, kept: frozenset[str]) -> bool:
    return link.is_ours and link.kind == kind and link.name.startswith(prefix) and link.name not in kept


def _our_taps(host: Netlink) -> list[KernelLink]:
    """The kernel leaves out bridges and tunnels, of which a host may have as many."""
    pairs = links.all_links(host, "veth")
    return [link for link in pairs if link.is_ours and link.kind == "veth" and link.name.startswith(TAP_PREFIX)]


def _delete(host: Netlink, doomed: Iterable[str]) -> None:
    host.carry_out(linkrequests.delete_together(list(doomed)))
