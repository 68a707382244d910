"""desired x observed -> operations: how a router's kernel state becomes what it should be, from anything it can be.

The rule: every prefix of a plan is safe, because an agent may be killed after any operation.

1. What should not be there goes first: links, addresses. Withdrawn is always safer than wrong.
2. Rules are loaded before an address is added or a link comes up: an address that is up without its translation lets
   flows begin untranslated, and they stay so for as long as they send.
3. A link comes up when all its addresses are on it; routes follow, because the kernel takes them on live links only,
   and connected routes before others, because a next hop must be reachable.
4. New routes before old ones go: no destination is without one in between.
5. The steering table knows a router's addresses before its tap is taken out of floods, and after they are gone.
6. Announcements come last: what they promise is true by then. What they are about is marked before, a new link from
   its birth, until they were sent: nothing else of a router shows whether others know of it.

Invariant: applying a plan leads to desired, the diff of desired and desired is empty, and nothing foreign is named.
What the kernel drops by itself (routes of a link that lost its last address, a tap whose peer goes) is reckoned with.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from gapless.core.dataplane.desired import tap_of
from gapless.errors import Unavailable
from gapless.model.observed import GATEWAY_PREFIX, KernelRouter, Link, NamespaceState, Ruleset, Tap
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


def diff(desired: KernelRouter, observed: KernelRouter) -> tuple[Operation, ...]:
    """The operations that lead from `observed` to `desired`, in a safe order; the same for the same arguments.

    Raises Unavailable, with the reason, where somebody else's namespace or interface is in the way.
    """
    _refuse_foreign(desired, observed)
    kept = frozenset(name for name in desired.links if _is_whole(name, observed))
    restored = tuple(_connected(desired, observed, kept))
    return (
        *_namespace(desired, observed),
        *_remove_stale_links(observed, kept),
        *_remove_stale_addresses(desired, observed, kept),
        *_rules(desired, observed),
        *_settings(desired, observed),
        *_routing_rules(desired, observed),
        *_steer(desired, observed),
        *_marks(desired, observed, kept),
        *_pairs(desired, observed, kept),
        *_attach(desired, observed, kept),
        *_addresses(desired, observed, kept),
        *_raise(desired, observed, kept),
        *restored,
        *_routes(desired, observed, kept, replaced={it.subnet for it in restored}),
        *_unsteer(desired, observed),
        *_announcements(desired, observed, kept),
    )


def _refuse_foreign(desired: KernelRouter, observed: KernelRouter) -> None:
    if observed.namespace is NamespaceState.FOREIGN:
        raise Unavailable(
            "a network namespace of the router's name exists, was not made by Gapless and is in use; "
            "remove it (ip netns delete) if nobody needs it"
        )
    for name in sorted(desired.taps):
        tap = observed.taps.get(name)
        if tap is not None and not tap.ours:
            raise Unavailable(f"an interface named {name} exists on this host and was not made by Gapless")


def _is_whole(name: str, observed: KernelRouter) -> bool:
    """Whether both ends of a router interface are there and belong together."""
    tap = observed.taps.get(tap_of(name))
    return name in observed.links and tap is not None and tap.peer == name


def _namespace(desired: KernelRouter, observed: KernelRouter) -> Iterator[Operation]:
    if observed.namespace is NamespaceState.ABSENT:
        yield CreateNamespace(settings=desired.settings)
    elif observed.namespace is NamespaceState.EMPTY:
        yield ClaimNamespace()


def _remove_stale_links(observed: KernelRouter, kept: frozenset[str]) -> Iterator[Operation]:
    for name in sorted(observed.links):
        if name not in kept:
            yield DeleteLink(link=name)
    for name, tap in sorted(observed.taps.items()):
        if tap.ours and tap.peer is None:  # the tap of a link of ours goes with that link
            yield DeleteHostLink(name=name)


def _remove_stale_addresses(desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> Iterator[Operation]:
    for name in sorted(kept):
        for address in _in_order(observed.links[name].addresses - desired.links[name].addresses):
            yield RemoveAddress(link=name, address=address)


def _rules(desired: KernelRouter, observed: KernelRouter) -> Iterator[Operation]:
    altered = _altered_chains(desired.ruleset, observed.ruleset)
    if desired.ruleset is not None and (desired.ruleset != observed.ruleset or altered):
        yield LoadRules(ruleset=desired.ruleset, replace=observed.ruleset is not None, altered=altered)
    for address in _addresses_that_changed_meaning(desired, observed):
        yield ForgetFlows(address=address)
    rules_were_broken = observed.ruleset is None or not observed.ruleset.fingerprint or bool(altered)
    if rules_were_broken and any(link.up for link in observed.links.values()):
        yield ForgetUnansweredFlows()


def _altered_chains(wanted: Ruleset | None, found: Ruleset | None) -> tuple[str, ...]:
    """Chains that are not listed as the kernel lists those that are wanted, though the same rules were loaded, as far
    as is known.
    """
    if wanted is None or found is None or not wanted.listed or found.fingerprint not in ("", wanted.fingerprint):
        return ()
    names = sorted(wanted.listed.keys() | found.listed.keys())
    return tuple(name for name in names if wanted.listed.get(name) != found.listed.get(name))


def _addresses_that_changed_meaning(desired: KernelRouter, observed: KernelRouter) -> list[IPv4Address]:
    """External addresses whose running flows must end: gone from here, or standing for another machine now."""
    floating = desired.ruleset.floating if desired.ruleset is not None else frozenset()
    was_floating = observed.ruleset.floating if observed.ruleset is not None else frozenset()
    changed = {external for external, _ in was_floating - floating}
    return sorted(changed | (_external_addresses(observed) - _external_addresses(desired)))


def _external_addresses(state: KernelRouter) -> set[IPv4Address]:
    return {
        address.ip
        for link in state.links.values()
        if link.name.startswith(GATEWAY_PREFIX)
        for address in link.addresses
    }


def _settings(desired: KernelRouter, observed: KernelRouter) -> Iterator[Operation]:
    if observed.namespace is NamespaceState.ABSENT:
        return  # a namespace is made with its settings
    changed = {key: value for key, value in desired.settings.items() if observed.settings.get(key) != value}
    for name, link in sorted(desired.links.items()):
        if link.forwarding and _is_whole(name, observed) and not observed.links[name].forwarding:
            changed[f"ipv4/conf/{name}/forwarding"] = "1"
    if changed:
        yield ChangeSettings(settings=changed)


def _routing_rules(desired: KernelRouter, observed: KernelRouter) -> Iterator[Operation]:
    """After our own rules, which packets meet once they are routed; before routes, whose next hops are looked up by
    them.
    """
    missing = desired.routing_rules - observed.routing_rules
    if missing and observed.namespace is not NamespaceState.ABSENT:  # a namespace is made with them
        yield RestoreRoutingRules(rules=missing)


def _marks(desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> Iterator[Operation]:
    """Of links that stay and will have news."""
    for name in sorted(kept):
        if observed.links[name].announced and _news(name, desired, observed, kept):
            yield MarkUnannounced(link=name)


def _pairs(desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> Iterator[Operation]:
    for name, link in sorted(desired.links.items()):
        tap = desired.taps[tap_of(name)]
        if name in kept:
            yield from _change_pair(link, tap, observed.links[name], observed.taps[tap.name])
        elif tap.bridge is not None:
            yield CreatePair(
                link=name, mac=link.mac, tap=tap.name, bridge=tap.bridge, mtu=link.mtu, guarded=tap.guarded
            )


def _change_pair(link: Link, tap: Tap, was_link: Link, was_tap: Tap) -> Iterator[Operation]:
    if was_tap.speaks_ipv6:
        yield TurnOffIpv6(name=tap.name)
    if was_tap.doomed or tap.guarded != was_tap.guarded:
        yield ChangeGuard(name=tap.name, guarded=tap.guarded)
    if (link.mac, link.mtu) != (was_link.mac, was_link.mtu):
        yield ChangeLink(link=link.name, mac=link.mac, mtu=link.mtu)
    if tap.mtu != was_tap.mtu:
        yield ChangeHostMtu(name=tap.name, mtu=tap.mtu)
    if tap.bridge is not None and tap.bridge != was_tap.bridge:
        yield Plug(name=tap.name, bridge=tap.bridge)


def _steer(desired: KernelRouter, observed: KernelRouter) -> Iterator[Operation]:
    if missing := desired.steering - observed.steering:
        yield Steer(entries=missing)


def _unsteer(desired: KernelRouter, observed: KernelRouter) -> Iterator[Operation]:
    if extra := observed.steering - desired.steering:
        yield Unsteer(entries=extra)


def _attach(desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> Iterator[Operation]:
    """A tap that is new to its bridge is a port like any other there."""
    for name in sorted(desired.links):
        tap = desired.taps[tap_of(name)]
        was = observed.taps.get(tap.name) if name in kept else None
        is_there = was is not None and was.bridge == tap.bridge and was.steering_mac == tap.steering_mac
        if tap.steering_mac is not None and not is_there:
            yield AttachSteering(name=tap.name, mac=tap.steering_mac)


def _addresses(desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> Iterator[Operation]:
    for name, link in sorted(desired.links.items()):
        held = observed.links[name].addresses if name in kept else frozenset()
        for address in _in_order(link.addresses - held):
            yield AddAddress(link=name, address=address)


def _raise(desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> Iterator[Operation]:
    for name in sorted(desired.links):
        if name not in kept or not observed.taps[tap_of(name)].up:
            yield RaiseHostLink(name=tap_of(name))
    for name in sorted(desired.links):
        if name not in kept or not observed.links[name].up:
            yield RaiseLink(link=name)


def _connected(desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> Iterator[RestoreConnected]:
    """Connected routes that were lost. Those of new addresses and of links that come up the kernel makes by itself."""
    for name in sorted(name for name in kept if observed.links[name].up):
        staying = _in_order(observed.links[name].addresses & desired.links[name].addresses)
        for subnet in sorted(desired.links[name].connected - observed.links[name].connected):
            source = next((held.ip for held in staying if held.network == subnet), None)
            if source is not None:
                yield RestoreConnected(link=name, subnet=subnet, source=source)


def _routes(
    desired: KernelRouter, observed: KernelRouter, kept: frozenset[str], replaced: set[IPv4Network]
) -> Iterator[Operation]:
    """Routes that we install. Those to `replaced` destinations are gone by now."""
    alive = {
        name
        for name in kept
        if observed.links[name].up and observed.links[name].addresses & desired.links[name].addresses
    }
    there = {route for route in observed.routes if all(hop.link in alive for hop in route.hops)}
    added = desired.routes - there
    for route in sorted(added, key=str):
        yield AddRoute(route=route)
    gone = replaced | {route.destination for route in added}
    # One of whose hops is left may have stayed; the kernel has dropped those without any.
    left = {route for route in observed.routes if any(hop.link in alive for hop in route.hops)}
    for route in sorted(left - desired.routes, key=str):
        if route.destination not in gone:
            yield RemoveRoute(route=route)


def _announcements(desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> Iterator[Operation]:
    for name, link in sorted(desired.links.items()):
        if news := _news(name, desired, observed, kept):
            addresses = tuple(address.ip for address in _in_order(news))
            yield Announce(link=name, mac=link.mac, tap=tap_of(name), addresses=addresses)


def _news(name: str, desired: KernelRouter, observed: KernelRouter, kept: frozenset[str]) -> frozenset[IPv4Interface]:
    """Addresses of a link to which others may not know the way."""
    link, tap = desired.links[name], desired.taps[tap_of(name)]
    if name in kept and _is_reached_as_before(link, tap, observed):
        return link.addresses - observed.links[name].addresses
    return link.addresses


def _is_reached_as_before(link: Link, tap: Tap, observed: KernelRouter) -> bool:
    """Whether neighbours and bridges were told the way to this link, and it still is the way."""
    was_link, was_tap = observed.links[link.name], observed.taps[tap.name]
    was_there = was_link.announced and was_link.up and was_tap.up
    return was_there and was_link.mac == link.mac and was_tap.bridge == tap.bridge


def _in_order(addresses: frozenset[IPv4Interface]) -> list[IPv4Interface]:
    """Subnets before single addresses, so that a subnet's own address is its primary one."""
    return sorted(addresses, key=lambda held: (held.network.prefixlen, held.ip))
