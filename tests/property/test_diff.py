"""apply of diff leads from anything to what should be, and no prefix of a plan does harm.

The starting states are another router's, or this one's, damaged: half-built pairs, foreign taps in the way of nothing,
wrong MTU, MAC, addresses, bridges, routes, settings and rules, ends that belong to nobody.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from fake_kernel import FakeKernel, connected_by
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.dataplane.desired import desired_router, tap_of
from gapless.core.dataplane.diff import diff
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.observed import (
    ABSENT,
    GATEWAY_PREFIX,
    Hop,
    KernelRoute,
    KernelRouter,
    NamespaceState,
    Ruleset,
    Tap,
)
from gapless.model.operation import Announce, AttachSteering, LoadRules, Operation, RaiseLink
from gapless.model.router import FloatingIp, Gateway, Route, Router, RouterId, RouterPort
from gapless.model.steering import Outside

ROUTER = RouterId("0f0f0f0f-0000-4000-8000-000000000001")
BRIDGES = {f"tapport{number}": f"brqnet{number}" for number in range(4)}
OUTSIDE = Outside(uplink="vxlan-4", inlets=frozenset({"vxlan-4"}))
BROKEN = Ruleset(fingerprint="")


def port(number: int, mtu: int = 1450, mac: int = 0, last: int = 1) -> RouterPort:
    network = Network(id=NetworkId(f"net{number}"), type=NetworkType.VXLAN, mtu=mtu, segmentation_id=number + 1)
    return RouterPort(
        id=PortId(f"port{number}"),
        network=network,
        mac=f"fa:16:3e:00:{mac:02x}:{number:02x}",
        addresses=(IPv4Interface(f"10.0.{number}.{last}/24"),),
    )


ports = st.builds(
    port, st.integers(0, 2), mtu=st.sampled_from([1400, 1450]), mac=st.integers(0, 1), last=st.integers(1, 2)
)
floating_ips = st.lists(
    st.tuples(st.integers(100, 103), st.integers(10, 12)), max_size=3, unique_by=(lambda it: it[0], lambda it: it[1])
).map(
    lambda pairs: tuple(
        FloatingIp(
            id=f"fip{outer}", address=IPv4Address(f"10.0.3.{outer}"), fixed_address=IPv4Address(f"10.0.0.{inner}")
        )
        for outer, inner in pairs
    )
)
gateways = st.builds(
    Gateway,
    port=st.builds(port, st.just(3), last=st.integers(1, 2)),
    next_hop=st.sampled_from([None, IPv4Address("10.0.3.254"), IPv4Address("192.0.2.1")]),
    snat=st.booleans(),
)
routes = st.lists(
    st.builds(
        Route,
        destination=st.sampled_from([IPv4Network(it) for it in ("172.16.0.0/16", "0.0.0.0/0", "10.0.1.0/24")]),
        next_hop=st.sampled_from([IPv4Address("10.0.0.9"), IPv4Address("10.0.1.9"), IPv4Address("10.0.3.9")]),
    ),
    max_size=3,
).map(tuple)
routers = st.builds(
    Router,
    id=st.just(ROUTER),
    name=st.just("r"),
    ports=st.lists(ports, min_size=1, max_size=3, unique_by=lambda it: it.id).map(tuple),
    gateway=gateways,
    floating_ips=floating_ips,
    routes=routes,
)

changes = st.fixed_dictionaries(
    {},
    optional={
        "admin_up": st.just(False),
        "ports": st.lists(ports, max_size=3, unique_by=lambda it: it.id).map(tuple),
        "gateway": st.none() | gateways,
        "floating_ips": floating_ips,
        "routes": routes,
    },
)
"""How a router may have been, or may become, different from another: mostly in little."""
pairs_of_routers = st.tuples(routers, changes, st.booleans()).map(
    lambda it: (it[0], replace(it[0], **it[1])) if it[2] else (replace(it[0], **it[1]), it[0])
)


def desired_of(router: Router) -> KernelRouter:
    """As the agent does it; the text of the rules is stood in for by everything that it depends on."""
    pairs = frozenset((it.address, it.fixed_address) for it in router.floating_ips)
    fingerprint = str((router.admin_up, router.gateway, sorted(pairs)))
    ruleset = Ruleset(
        fingerprint=fingerprint,
        floating=pairs if router.gateway and router.admin_up else frozenset(),
        listed={"forward": f"as it lists {fingerprint}"},
    )
    # Whether a router is guarded has nothing to do with the rest of it: any of its properties will do.
    guarded = router.gateway is not None and router.gateway.snat
    return desired_router(router, ruleset, BRIDGES, guarded, OUTSIDE)


def external(state: KernelRouter) -> set[tuple[str, IPv4Interface]]:
    links = (link for link in state.links.values() if link.name.startswith(GATEWAY_PREFIX))
    return {(link.name, address) for link in links for address in link.addresses}


def speaking_without_rules(state: KernelRouter, covered: dict[str, set[tuple[str, IPv4Interface]]]) -> set[object]:
    """External addresses on a live link that the loaded rules do not know."""
    known = covered.get(state.ruleset.fingerprint, set()) if state.ruleset is not None else set()
    return {(name, held) for name, held in external(state) if state.links[name].up} - known


def announced_by(plan: tuple[Operation, ...]) -> set[tuple[str, IPv4Address]]:
    """(MAC address, address) pairs."""
    return {(it.mac, address) for it in plan if isinstance(it, Announce) for address in it.addresses}


# What can be wrong with a router: each takes a state and a number that picks a victim.


def _pick(things: dict[str, object], number: int) -> str | None:
    names = sorted(things)
    return names[number % len(names)] if names else None


def lose_link(kernel: FakeKernel, number: int) -> None:
    """The link inside is gone, its tap stays behind as if it belonged to nobody."""
    name = _pick(kernel.links, number)
    if name is not None:
        tap = kernel.taps.get(tap_of(name))
        kernel._delete_link(name)
        if tap is not None:
            kernel.taps[tap.name] = replace(tap, peer=None)


def lose_tap(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.taps, number)
    if name is not None:
        del kernel.taps[name]


def take_down(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.links, number)
    if name is not None:
        kernel.links[name] = replace(kernel.links[name], up=False, connected=frozenset())
        kernel.drop_hops(name)


def take_tap_down(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.taps, number)
    if name is not None:
        kernel.taps[name] = replace(kernel.taps[name], up=False)


def switch_guard(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.taps, number)
    if name is not None:
        kernel.taps[name] = replace(kernel.taps[name], guarded=not kernel.taps[name].guarded)


def doom(kernel: FakeKernel, number: int) -> None:
    """Whoever gathered it to be deleted was stopped before that."""
    name = _pick(kernel.taps, number)
    if name is not None:
        kernel.taps[name] = replace(kernel.taps[name], guarded=False, doomed=True)


def let_speak(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.taps, number)
    if name is not None:
        kernel.taps[name] = replace(kernel.taps[name], speaks_ipv6=True)


def lose_steering(kernel: FakeKernel, number: int) -> None:
    for entry in sorted(kernel.steering)[number % 3 :: 2]:
        kernel.steering.discard(entry)


def detach(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.taps, number)
    if name is not None:
        kernel.taps[name] = replace(kernel.taps[name], steering_mac=None)


def leave_unannounced(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.links, number)
    if name is not None:
        kernel.links[name] = replace(kernel.links[name], announced=False)


def unplug(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.taps, number)
    if name is not None:
        kernel.taps[name] = replace(
            kernel.taps[name], bridge=None if number % 2 else "elsewhere", mtu=900, steering_mac=None
        )


def garble_link(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.links, number)
    if name is not None:
        kernel.links[name] = replace(kernel.links[name], mtu=600, mac="02:00:00:00:00:01", forwarding=False)


def swap_addresses(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.links, number)
    if name is not None:
        wrong = frozenset({IPv4Interface(f"198.51.100.{number % 200}/24")})
        held = kernel.links[name].addresses if number % 2 else frozenset()
        was = kernel.links[name]
        connected = (was.connected & connected_by(held)) | (connected_by(wrong) if was.up else frozenset())
        kernel.links[name] = replace(was, addresses=held | wrong, connected=connected)
        if not held:
            kernel.drop_hops(name)


def _stranger_on(name: str) -> Hop:
    return Hop(next_hop=IPv4Address("10.9.9.9"), link=name, on_link=True)


def misroute(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.links, number)
    if name is not None and kernel.links[name].up:
        destination = IPv4Network("0.0.0.0/0") if number % 2 else IPv4Network("172.31.0.0/16")
        wrong = KernelRoute(
            destination=destination, hops=(Hop(next_hop=IPv4Address("10.9.9.9"), link=name, on_link=True),)
        )
        kernel.routes = {route for route in kernel.routes if route.destination != destination} | {wrong}


def lose_connected(kernel: FakeKernel, number: int) -> None:
    """The route to a link's own neighbours is deleted, or another one stands in its place."""
    name = _pick(kernel.links, number)
    if name is not None:
        subnets = kernel.links[name].connected
        kernel.links[name] = replace(kernel.links[name], connected=frozenset())
        for subnet in subnets if number % 2 else ():
            wrong = KernelRoute(
                destination=subnet, hops=(Hop(next_hop=IPv4Address("10.9.9.9"), link=name, on_link=True),)
            )
            kernel.routes.add(wrong)


def lose_routes(kernel: FakeKernel, _: int) -> None:
    kernel.routes.clear()


def break_rules(kernel: FakeKernel, number: int) -> None:
    if kernel.namespace is NamespaceState.OURS:
        kernel.ruleset = [None, BROKEN, Ruleset(fingerprint="older")][number % 3]


def alter_rules(kernel: FakeKernel, number: int) -> None:
    """Under their own comments: only how the kernel lists them is another."""
    if kernel.ruleset is not None:
        chains = ["forward", "theirs"][number % 2 :]
        kernel.ruleset = replace(kernel.ruleset, listed={**kernel.ruleset.listed, **dict.fromkeys(chains, "altered")})


def lose_routing_rules(kernel: FakeKernel, number: int) -> None:
    kernel.routing_rules = set(sorted(kernel.routing_rules)[: number % 3])


def break_settings(kernel: FakeKernel, number: int) -> None:
    name = _pick(kernel.settings, number)
    if name is not None:
        kernel.settings[name] = "9"


def leave_stray_tap(kernel: FakeKernel, number: int) -> None:
    name = f"tapport{number % 4}"
    if name not in kernel.taps:
        kernel.taps[name] = Tap(name=name, mtu=1450, bridge=None, peer=None)


def put_foreign_tap(kernel: FakeKernel, number: int) -> None:
    kernel.taps[f"tapforeign{number % 2}"] = Tap(
        name=f"tapforeign{number % 2}", mtu=1450, bridge="theirs", peer=None, ours=False
    )


DAMAGES: list[Callable[[FakeKernel, int], None]] = [
    lose_link,
    lose_tap,
    take_down,
    take_tap_down,
    unplug,
    switch_guard,
    doom,
    let_speak,
    lose_steering,
    detach,
    leave_unannounced,
    garble_link,
    swap_addresses,
    misroute,
    lose_connected,
    lose_routes,
    break_rules,
    alter_rules,
    lose_routing_rules,
    break_settings,
    leave_stray_tap,
    put_foreign_tap,
]
starts = st.sampled_from(["other", "other", "other", "same", "same", "absent", "empty", "bare"])
damages = st.lists(st.tuples(st.sampled_from(DAMAGES), st.integers(0, 255)), max_size=5)


def starting_state(start: str, desired: KernelRouter, other: KernelRouter, damage: list) -> KernelRouter:
    state = {
        "absent": ABSENT,
        "empty": replace(ABSENT, namespace=NamespaceState.EMPTY),
        "bare": replace(ABSENT, namespace=NamespaceState.OURS),
        "same": desired,
        "other": other,
    }[start]
    kernel = FakeKernel(state)
    for strike, number in damage:
        strike(kernel, number)
    return kernel.state


def without_foreign(state: KernelRouter) -> KernelRouter:
    return replace(state, taps={name: tap for name, tap in state.taps.items() if tap.ours})


def converge(kernel: FakeKernel, desired: KernelRouter) -> None:
    for operation in diff(desired, kernel.state):
        kernel.carry_out(operation)


@given(routers)
def test_what_is_right_is_left_alone(router: Router) -> None:
    desired = desired_of(router)
    assert diff(desired, desired) == ()


@given(pairs_of_routers, starts, damages)
def test_from_anything_to_what_should_be(both: tuple[Router, Router], start: str, damage: list) -> None:
    desired, other = map(desired_of, both)
    kernel = FakeKernel(starting_state(start, desired, other, damage))
    foreign = {name: tap for name, tap in kernel.taps.items() if not tap.ours}
    converge(kernel, desired)
    assert without_foreign(kernel.state) == desired
    assert {name: tap for name, tap in kernel.taps.items() if not tap.ours} == foreign
    assert diff(desired, kernel.state) == ()


@given(pairs_of_routers, starts, damages, st.data())
def test_an_agent_killed_anywhere_leaves_nothing_that_the_next_cannot_finish(
    both: tuple[Router, Router], start: str, damage: list, data: st.DataObject
) -> None:
    desired, other = map(desired_of, both)
    kernel = FakeKernel(starting_state(start, desired, other, damage))
    plan = diff(desired, kernel.state)
    killed_after = data.draw(st.integers(0, len(plan)), label="killed after")
    for operation in plan[:killed_after]:
        kernel.carry_out(operation)
    rest = diff(desired, kernel.state)
    converge(kernel, desired)
    assert without_foreign(kernel.state) == desired
    assert announced_by(plan) <= announced_by((*plan[:killed_after], *rest))


@given(pairs_of_routers, starts, damages)
def test_every_prefix_is_safe(both: tuple[Router, Router], start: str, damage: list) -> None:
    desired, other = map(desired_of, both)
    covered = {state.ruleset.fingerprint: external(state) for state in (other, desired) if state.ruleset}
    kernel = FakeKernel(starting_state(start, desired, other, damage))
    exposed = speaking_without_rules(kernel.state, covered)
    for operation in diff(desired, kernel.state):
        before = kernel.state
        kernel.carry_out(operation)
        now_exposed = speaking_without_rules(kernel.state, covered)
        if before.ruleset == kernel.state.ruleset:
            assert now_exposed <= exposed, f"{operation} made an address speak without its rules"
        exposed = now_exposed
        check_step(operation, kernel.state, desired)
    assert not exposed


def check_step(operation: Operation, state: KernelRouter, desired: KernelRouter) -> None:
    match operation:
        case RaiseLink(link=name):
            assert state.links[name].addresses == desired.links[name].addresses
            assert state.ruleset == desired.ruleset
            assert state.taps[tap_of(name)].bridge == desired.taps[tap_of(name)].bridge
            assert state.taps[tap_of(name)].guarded == desired.taps[tap_of(name)].guarded
        case AttachSteering():
            assert desired.steering <= state.steering
        case Announce(link=name, tap=tap, mac=mac, addresses=addresses):
            assert set(addresses) <= {held.ip for held in state.links[name].addresses}
            assert state.links[name].up
            assert state.links[name].mac == mac
            assert state.taps[tap].up
            assert state.taps[tap].bridge == desired.taps[tap].bridge


@given(pairs_of_routers, starts, damages)
def test_loading_rules_exposes_nothing_that_stays(both: tuple[Router, Router], start: str, damage: list) -> None:
    """When the rules change, addresses that they no longer know are gone already."""
    desired, other = map(desired_of, both)
    kernel = FakeKernel(starting_state(start, desired, other, damage))
    was_loaded = False
    for operation in diff(desired, kernel.state):
        kernel.carry_out(operation)
        was_loaded |= isinstance(operation, LoadRules)
        if was_loaded:
            assert external(kernel.state) <= external(desired)


@given(pairs_of_routers, starts, damages)
def test_a_plan_depends_on_nothing_but_its_arguments(both: tuple[Router, Router], start: str, damage: list) -> None:
    desired, other = map(desired_of, both)
    state = starting_state(start, desired, other, damage)
    turned = replace(
        state, links=dict(reversed(list(state.links.items()))), taps=dict(reversed(list(state.taps.items())))
    )
    assert diff(desired, state) == diff(desired, turned)
