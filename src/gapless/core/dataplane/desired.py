"""From what a router and a network mean to what they look like in a host's kernel: the desired side of the diff."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from gapless.core.dataplane.steering import entries_of, steering_mac
from gapless.model.network import NetworkId, PortId
from gapless.model.observed import (
    BRIDGE_PREFIX,
    GATEWAY_PREFIX,
    NAME_LENGTH,
    TAP_PREFIX,
    TENANT_PREFIX,
    VXLAN_PREFIX,
    Hop,
    KernelRoute,
    KernelRouter,
    Link,
    NamespaceState,
    RoutingRule,
    Ruleset,
    Tap,
)
from gapless.model.router import Gateway, Router, RouterPort
from gapless.model.steering import Entry, Outside

SETTINGS: Mapping[str, str] = {
    "ipv4/ip_forward": "1",
    # Loose: a packet whose source has no route back is dropped; asymmetric extra routes stay possible.
    "ipv4/conf/all/rp_filter": "2",
    # An interface answers ARP for its own addresses only and asks with them only, as Neutron sets it.
    "ipv4/conf/all/arp_ignore": "1",
    "ipv4/conf/all/arp_announce": "2",
    # A flow that turns round on one interface (a floating IP used from inside) must not be redirected past the NAT.
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    # Removing one address of a subnet must not take its neighbours along.
    "ipv4/conf/all/promote_secondaries": "1",
    # Routers carry IPv4 only: no link-local addresses, no router solicitations of their own.
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    # A flow seen first in its middle, after a move, is taken up; its unknown window is no reason to drop it.
    "netfilter/nf_conntrack_tcp_loose": "1",
    "netfilter/nf_conntrack_tcp_be_liberal": "1",
    # A flow that began while nobody listened must be heard of when it ends, or its copy on a standby never does.
    "netfilter/nf_conntrack_events": "1",
}
"""sysctls of every router's namespace. Links that are made in it later inherit them (ADR 27)."""

ROUTING_RULES = frozenset(
    (
        RoutingRule(priority=0, table=255),
        RoutingRule(priority=32766, table=254),
        RoutingRule(priority=32767, table=253),
    )
)
"""Those that a namespace begins with, for the tables `local`, `main` and `default` (`fib_default_rules_init`,
net/ipv4/fib_rules.c)."""

DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")


def tap_name(port_id: PortId) -> str:
    """The host's end of a port's pair."""
    return f"{TAP_PREFIX}{port_id[:NAME_LENGTH]}"


def tap_of(link: str) -> str:
    """The tap that belongs to a link inside."""
    return TAP_PREFIX + link[len(TENANT_PREFIX) :]


def tenant_link(port_id: PortId) -> str:
    """A tenant port's interface inside the namespace."""
    return f"{TENANT_PREFIX}{port_id[:NAME_LENGTH]}"


def gateway_link(port_id: PortId) -> str:
    """The gateway port's interface inside the namespace."""
    return f"{GATEWAY_PREFIX}{port_id[:NAME_LENGTH]}"


def bridge_name(network_id: NetworkId) -> str:
    """A network's bridge on the host."""
    return f"{BRIDGE_PREFIX}{network_id[:NAME_LENGTH]}"


def vxlan_name(vni: int) -> str:
    """The VXLAN device of a segment on the host."""
    return f"{VXLAN_PREFIX}{vni}"


def desired_router(
    router: Router,
    ruleset: Ruleset,
    bridges: Mapping[str, str],
    guarded: bool = False,
    outside: Outside | None = None,
) -> KernelRouter:
    """What `router` looks like in a kernel. `bridges` names the bridge of each of its taps on this host.

    `outside` is how its external network comes to this host; without it nothing is steered.

    A router that is administratively down is a namespace with rules that drop everything, and no interface.
    """
    if not router.admin_up:
        return KernelRouter(
            namespace=NamespaceState.OURS, settings=SETTINGS, ruleset=ruleset, routing_rules=ROUTING_RULES
        )
    ports = [(tenant_link(port.id), port, frozenset(port.addresses)) for port in router.ports]
    if router.gateway is not None:
        floating = frozenset(IPv4Interface((ip.address, 32)) for ip in router.floating_ips)
        port = router.gateway.port
        ports.append((gateway_link(port.id), port, frozenset(port.addresses) | floating))
    links = {
        name: Link(name=name, mac=port.mac, mtu=port.network.mtu, addresses=held, connected=_subnets(held))
        for name, port, held in ports
    }
    taps = {
        tap_name(port.id): Tap(
            name=tap_name(port.id),
            mtu=port.network.mtu,
            bridge=bridges[tap_name(port.id)],
            peer=name,
            guarded=guarded,
            steering_mac=steering_mac(port.mac) if outside is not None and name.startswith(GATEWAY_PREFIX) else None,
        )
        for name, port, _ in ports
    }
    routes = _routes(router)
    return KernelRouter(
        namespace=NamespaceState.OURS,
        settings=SETTINGS,
        ruleset=ruleset,
        links=links,
        taps=taps,
        routes=routes,
        routing_rules=ROUTING_RULES,
        steering=_steering(router, routes, outside) if outside is not None else frozenset(),
    )


def _steering(router: Router, routes: frozenset[KernelRoute], outside: Outside) -> frozenset[Entry]:
    if router.gateway is None:
        return frozenset()
    port = router.gateway.port
    addresses = {*(held.ip for held in port.addresses), *(floating.address for floating in router.floating_ips)}
    next_hops = {hop.next_hop for route in routes for hop in route.hops if hop.link == gateway_link(port.id)}
    return entries_of(port, tap_name(port.id), addresses, next_hops, outside)


def _routes(router: Router) -> frozenset[KernelRoute]:
    """The default route and the extra routes; an extra default route takes precedence, as in Neutron.

    An extra route to a connected subnet is left out: it would take the place of the way to the neighbours themselves.
    Several next hops to one destination are one route, in whatever order they are given.
    """
    ports = [*router.ports, *([router.gateway.port] if router.gateway is not None else [])]
    connected = _subnets(held for port in ports for held in port.addresses)
    hops: dict[IPv4Network, set[Hop]] = {}
    for route in router.routes:
        link = _link_towards(router, route.next_hop)
        if link is not None and route.destination not in connected:
            hops.setdefault(route.destination, set()).add(Hop(next_hop=route.next_hop, link=link))
    if router.gateway is not None and router.gateway.next_hop is not None:
        hops.setdefault(DEFAULT_ROUTE, {_way_out(router.gateway, router.gateway.next_hop)})
    return frozenset(KernelRoute(destination=to, hops=tuple(sorted(by))) for to, by in hops.items())


def _subnets(addresses: Iterable[IPv4Interface]) -> frozenset[IPv4Network]:
    """The subnets that are connected by these addresses; a single address (/32) connects none."""
    return frozenset(held.network for held in addresses if held.network.prefixlen < 32)


def _way_out(gateway: Gateway, next_hop: IPv4Address) -> Hop:
    return Hop(next_hop=next_hop, link=gateway_link(gateway.port.id), on_link=not _covers(gateway.port, next_hop))


def _link_towards(router: Router, next_hop: IPv4Address) -> str | None:
    """The link whose subnet holds `next_hop`. None while no interface has it: the route waits for its interface."""
    for port in router.ports:
        if _covers(port, next_hop):
            return tenant_link(port.id)
    if router.gateway is not None and _covers(router.gateway.port, next_hop):
        return gateway_link(router.gateway.port.id)
    return None


def _covers(port: RouterPort, address: IPv4Address) -> bool:
    return any(address in held.network for held in port.addresses)
