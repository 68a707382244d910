"""A kernel that carries operations out on a `KernelRouter`, and refuses and drops what the real one does."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network

from gapless.core.dataplane.desired import ROUTING_RULES, tap_of
from gapless.model.observed import KernelRouter, Link, NamespaceState, Tap
from gapless.model.operation import (
    AddAddress,
    AddRoute,
    Announce,
    AttachSteering,
    ChangeGuard,
    ChangeHostMtu,
    ChangeLink,
    ChangeSettings,
    ClaimNamespace,
    CreateNamespace,
    CreatePair,
    DeleteHostLink,
    DeleteLink,
    ForgetFlows,
    ForgetUnansweredFlows,
    LoadRules,
    MarkUnannounced,
    Operation,
    Plug,
    RaiseHostLink,
    RaiseLink,
    RemoveAddress,
    RemoveRoute,
    RestoreConnected,
    RestoreRoutingRules,
    Steer,
    TurnOffIpv6,
    Unsteer,
)


def connected_by(addresses: Iterable[IPv4Interface]) -> frozenset[IPv4Network]:
    """Subnets that the kernel makes connected routes for, with these addresses on a live link."""
    return frozenset(held.network for held in addresses if held.network.prefixlen < 32)


class KernelRefusal(Exception):
    """What the real kernel would answer with an error number."""


class FakeKernel:
    """One router's part of a kernel. `state` is what observing it shows."""

    def __init__(self, state: KernelRouter) -> None:
        self.namespace = state.namespace
        self.settings = dict(state.settings)
        self.ruleset = state.ruleset
        self.links = dict(state.links)
        self.taps = dict(state.taps)
        self.routes = set(state.routes)
        self.routing_rules = set(state.routing_rules)
        self.steering = set(state.steering)

    @property
    def state(self) -> KernelRouter:
        return KernelRouter(
            namespace=self.namespace,
            settings=dict(self.settings),
            ruleset=self.ruleset,
            links=dict(self.links),
            taps=dict(self.taps),
            routes=frozenset(self.routes),
            routing_rules=frozenset(self.routing_rules),
            steering=frozenset(self.steering),
        )

    def carry_out(self, operation: Operation) -> None:
        match operation:
            case CreateNamespace(settings=settings):
                self._require(self.namespace is NamespaceState.ABSENT, "it exists")
                self.namespace, self.settings = NamespaceState.OURS, dict(settings)
                self.routing_rules = set(ROUTING_RULES)
            case ClaimNamespace():
                self._require(self.namespace is NamespaceState.EMPTY, "it is not empty")
                self.namespace = NamespaceState.OURS
            case ChangeSettings(settings=settings):
                self._change_settings(dict(settings))
            case LoadRules(ruleset=ruleset, replace=replaces):
                self._inside()
                self._require(replaces == (self.ruleset is not None), "rules are there or not")
                self.ruleset = ruleset
            case ForgetFlows() | ForgetUnansweredFlows():
                self._inside()
            case CreatePair():
                self._create_pair(operation)
            case DeleteLink(link=name):
                self._delete_link(name)
            case DeleteHostLink(name=name):
                self._delete_tap(name)
            case ChangeLink(link=name, mac=mac, mtu=mtu):
                self.links[name] = replace(self._link(name), mac=mac, mtu=mtu)
            case ChangeHostMtu(name=name, mtu=mtu):
                self.taps[name] = replace(self._tap(name), mtu=mtu)
            case TurnOffIpv6(name=name):
                self.taps[name] = replace(self._tap(name), speaks_ipv6=False)
            case Plug(name=name, bridge=bridge):
                self.taps[name] = replace(self._tap(name), bridge=bridge, steering_mac=None)
            case AttachSteering(name=name, mac=mac):
                self._require(self._tap(name).bridge is not None, "it is no bridge port")
                self.taps[name] = replace(self._tap(name), steering_mac=mac)
            case Steer(entries=entries):
                self.steering |= entries
            case Unsteer(entries=entries):
                self._require(entries <= self.steering, "it is not in the table")
                self.steering -= entries
            case ChangeGuard(name=name, guarded=guarded):
                self.taps[name] = replace(self._tap(name), guarded=guarded, doomed=False)
            case RaiseHostLink(name=name):
                self.taps[name] = replace(self._tap(name), up=True)
            case AddAddress(link=name, address=address):
                link = self._link(name)
                self._require(address not in link.addresses, "the address is there")
                made = connected_by({address}) if link.up else frozenset()
                self.links[name] = replace(link, addresses=link.addresses | {address}, connected=link.connected | made)
            case RemoveAddress(link=name, address=address):
                self._remove_address(name, address)
            case RaiseLink(link=name):
                link = self._link(name)
                self.links[name] = replace(link, up=True, connected=connected_by(link.addresses))
            case RestoreConnected(link=name, subnet=subnet, source=source):
                link = self._link(name)
                self._require(link.up, "the link is down")
                self._require(any(held.ip == source for held in link.addresses), "the source is not an address here")
                self.links[name] = replace(link, connected=link.connected | {subnet})
                self.routes = {it for it in self.routes if it.destination != subnet}
            case RestoreRoutingRules(rules=rules):
                self._inside()
                self._require(not rules & self.routing_rules, "the rule is there")
                self.routing_rules |= rules
            case AddRoute(route=route):
                self._require(self.routing_rules >= ROUTING_RULES, "the next hop is looked up by rules")
                for hop in route.hops:
                    link = self._link(hop.link)
                    self._require(link.up, "the link is down")
                    reachable = hop.on_link or any(hop.next_hop in subnet for subnet in link.connected)
                    self._require(reachable, "the next hop is not reachable")
                self.routes = {it for it in self.routes if it.destination != route.destination} | {route}
            case RemoveRoute(route=route) if len(route.hops) == 1:
                self.routes.remove(route)
            case RemoveRoute(route=route):
                self.routes = {it for it in self.routes if it.destination != route.destination}
            case MarkUnannounced(link=name):
                self.links[name] = replace(self._link(name), announced=False)
            case Announce(link=name):
                self.links[name] = replace(self._link(name), announced=True)
            case _:
                raise KernelRefusal(f"no such operation for a router: {operation}")

    def _create_pair(self, pair: CreatePair) -> None:
        self._inside()
        self._require(pair.link not in self.links and pair.tap not in self.taps, "the name is taken")
        self.links[pair.link] = Link(name=pair.link, mac=pair.mac, mtu=pair.mtu, up=False, announced=False)
        self.taps[pair.tap] = Tap(
            name=pair.tap, mtu=pair.mtu, bridge=pair.bridge, peer=pair.link, up=False, guarded=pair.guarded
        )

    def _delete_link(self, name: str) -> None:
        self._link(name)
        del self.links[name]
        self.routes = {route for route in self.routes if all(hop.link != name for hop in route.hops)}
        tap = self.taps.get(tap_of(name))
        if tap is not None and tap.peer == name:
            del self.taps[tap.name]

    def _delete_tap(self, name: str) -> None:
        tap = self._tap(name)
        self._require(tap.ours, "it is somebody else's")
        if tap.peer is not None:
            self._delete_link(tap.peer)
        else:
            del self.taps[name]

    def _remove_address(self, name: str, address: object) -> None:
        link = self._link(name)
        self._require(address in link.addresses, "the address is not there")
        left = link.addresses - {address}
        self.links[name] = replace(link, addresses=left, connected=link.connected & connected_by(left))
        if not self.links[name].addresses:
            self.drop_hops(name)

    def drop_hops(self, name: str) -> None:
        """A link is down, or without an address: routes go by what other hops they have, or are gone."""
        left = ((route, tuple(hop for hop in route.hops if hop.link != name)) for route in self.routes)
        self.routes = {replace(route, hops=hops) for route, hops in left if hops}

    def _change_settings(self, settings: dict[str, str]) -> None:
        self._inside()
        for name in self.links:
            if settings.pop(f"ipv4/conf/{name}/forwarding", None) == "1":
                self.links[name] = replace(self.links[name], forwarding=True)
        self.settings |= settings

    def _inside(self) -> None:
        self._require(self.namespace is NamespaceState.OURS, "the namespace is not ours")

    def _link(self, name: str) -> Link:
        self._inside()
        self._require(name in self.links, f"there is no {name}")
        return self.links[name]

    def _tap(self, name: str) -> Tap:
        self._require(name in self.taps, f"there is no {name}")
        self._require(self.taps[name].ours, "it is somebody else's")
        return self.taps[name]

    @staticmethod
    def _require(holds: bool, otherwise: str) -> None:
        if not holds:
            raise KernelRefusal(otherwise)
