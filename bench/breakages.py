"""The ways in which `repair.py` breaks a router. Each is given the router and what its kernel state should be, and
breaks it as fast as it can be. What is broken at an interface is so at the one of a tenant network, or at the gateway
port. What is `SHARED` breaks with one stroke for all routers of the host: their external network.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gapless.agent.kernel import linkrequests, links, netns, routing, ruleset, sysctls
from gapless.agent.kernel.nft import Nft
from gapless.core.dataplane.desired import ROUTING_RULES, bridge_name, tap_of
from gapless.kernel.netlink import Netlink, Request
from gapless.model.observed import GATEWAY_PREFIX, TENANT_PREFIX, KernelRouter
from gapless.model.router import FailoverMode, Router
from one_host import UPLINK, is_guarded

Breakage = Callable[[Router, KernelRouter], None]
GUARD_ALTERED = "guard-altered"
_DELRULE = 33


def kinds_of(mode: FailoverMode) -> list[str]:
    """What can be broken of a router of this mode."""
    return [kind for kind in BREAKAGES if kind != GUARD_ALTERED or is_guarded(mode)]


def inner_tap(desired: KernelRouter) -> str:
    """The tap of a router's tenant network."""
    return tap_of(_link(desired, TENANT_PREFIX))


def _namespace_deleted(it: Router, _: KernelRouter) -> None:
    netns.delete(netns.path_of(it.id))


def _bridge_down(it: Router, _: KernelRouter) -> None:
    _on_host(_set_down(bridge_name(it.ports[0].network.id)))


def _guard_altered(_: Router, desired: KernelRouter) -> None:
    _on_host(linkrequests.set_group(inner_tap(desired), 0))


def _link_down(prefix: str) -> Breakage:
    def damage(it: Router, desired: KernelRouter) -> None:
        _in_router(it, lambda inside: inside.carry_out([_set_down(_link(desired, prefix))]))

    return damage


def _link_deleted(prefix: str) -> Breakage:
    def damage(it: Router, desired: KernelRouter) -> None:
        _in_router(it, lambda inside: inside.carry_out([linkrequests.delete(_link(desired, prefix))]))

    return damage


def _tap_down(prefix: str) -> Breakage:
    return lambda _, desired: _on_host(_set_down(tap_of(_link(desired, prefix))))


def _tap_deleted(prefix: str) -> Breakage:
    return lambda _, desired: _on_host(linkrequests.delete(tap_of(_link(desired, prefix))))


def _tap_unplugged(prefix: str) -> Breakage:
    return lambda _, desired: _on_host(linkrequests.set_master(tap_of(_link(desired, prefix)), 0))


def _address_removed(prefix: str) -> Breakage:
    """All that the interface has."""

    def damage(it: Router, desired: KernelRouter) -> None:
        name = _link(desired, prefix)

        def inside_of_it(inside: Netlink) -> None:
            (index,) = (link.index for link in links.all_links(inside) if link.name == name)
            inside.carry_out([routing.remove_address(name, index, held) for held in desired.links[name].addresses])

        _in_router(it, inside_of_it)

    return damage


def _route_removed(it: Router, desired: KernelRouter) -> None:
    def damage(inside: Netlink) -> None:
        indices = {link.name: link.index for link in links.all_links(inside)}
        inside.carry_out([routing.remove_route(route, indices.__getitem__) for route in desired.routes])

    _in_router(it, damage)


def _forwarding_off(it: Router, _: KernelRouter) -> None:
    netns.enter(netns.path_of(it.id), lambda: sysctls.write({"ipv4/ip_forward": "0"}))


def _rules_flushed(it: Router, _: KernelRouter) -> None:
    with netns.enter(netns.path_of(it.id), Nft) as nft:
        nft.transact("flush ruleset", "flush")


def _rules_asleep(it: Router, _: KernelRouter) -> None:
    with netns.enter(netns.path_of(it.id), Nft) as nft:
        nft.transact(f"add table ip {ruleset.TABLE} {{ flags dormant; }}", "put to sleep")


def _rules_altered(it: Router, _: KernelRouter) -> None:
    with netns.enter(netns.path_of(it.id), Nft) as nft:
        nft.transact(f"insert rule ip {ruleset.TABLE} forward drop", "drop whatever is forwarded")


def _routing_rules_flushed(it: Router, _: KernelRouter) -> None:
    flushed = [replace(routing.restore_rule(rule), type=_DELRULE, flags=0) for rule in ROUTING_RULES if rule.priority]
    _in_router(it, lambda inside: inside.carry_out(flushed))


BREAKAGES: Mapping[str, Breakage] = {
    "namespace-deleted": _namespace_deleted,
    "link-down": _link_down(TENANT_PREFIX),
    "link-deleted": _link_deleted(TENANT_PREFIX),
    "address-removed": _address_removed(TENANT_PREFIX),
    "route-removed": _route_removed,
    "forwarding-off": _forwarding_off,
    "rules-flushed": _rules_flushed,
    "rules-asleep": _rules_asleep,
    "rules-altered": _rules_altered,
    "routing-rules-flushed": _routing_rules_flushed,
    "tap-down": _tap_down(TENANT_PREFIX),
    "tap-deleted": _tap_deleted(TENANT_PREFIX),
    "tap-unplugged": _tap_unplugged(TENANT_PREFIX),
    "bridge-down": _bridge_down,
    "gateway-link-down": _link_down(GATEWAY_PREFIX),
    "gateway-link-deleted": _link_deleted(GATEWAY_PREFIX),
    "gateway-address-removed": _address_removed(GATEWAY_PREFIX),
    "gateway-tap-down": _tap_down(GATEWAY_PREFIX),
    "gateway-tap-deleted": _tap_deleted(GATEWAY_PREFIX),
    "gateway-tap-unplugged": _tap_unplugged(GATEWAY_PREFIX),
    GUARD_ALTERED: _guard_altered,
}


def _external_bridge_down(it: Router, _: KernelRouter) -> None:
    _on_host(_set_down(_external_bridge(it)))


def _external_bridge_deleted(it: Router, _: KernelRouter) -> None:
    _on_host(linkrequests.delete(_external_bridge(it)))


def _uplink_unplugged(it: Router, _: KernelRouter) -> None:
    _on_host(linkrequests.set_master(UPLINK, 0))


def _uplink_down(it: Router, _: KernelRouter) -> None:
    _on_host(_set_down(UPLINK))


SHARED: Mapping[str, Breakage] = {
    "uplink-unplugged": _uplink_unplugged,
    "uplink-down": _uplink_down,
    "external-bridge-down": _external_bridge_down,
    "external-bridge-deleted": _external_bridge_deleted,
}
"""What all routers of a host lose at once, by one stroke."""


def _external_bridge(it: Router) -> str:
    assert it.gateway is not None
    return bridge_name(it.gateway.port.network.id)


def _link(desired: KernelRouter, prefix: str) -> str:
    return next(name for name in desired.links if name.startswith(prefix))


def _set_down(name: str) -> Request:
    raised = linkrequests.raise_link(name)
    family_and_index, flags_and_mask, rest = raised.body[:8], raised.body[8:16], raised.body[16:]
    return replace(raised, body=family_and_index + bytes(4) + flags_and_mask[4:] + rest)


def _in_router(it: Router, work: Callable[[Netlink], object]) -> None:
    with netns.enter(netns.path_of(it.id), Netlink) as inside:
        work(inside)


def _on_host(request: Request) -> None:
    with Netlink() as host:
        host.carry_out([request])
