"""Plans for one router, step by step: what is done, and in which order."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from gapless.core.dataplane.desired import desired_router
from gapless.core.dataplane.diff import diff
from gapless.errors import Unavailable
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.observed import ABSENT, KernelRoute, KernelRouter, NamespaceState, Ruleset, Tap
from gapless.model.operation import Announce, ForgetUnansweredFlows, LoadRules, RestoreRoutingRules
from gapless.model.router import FloatingIp, Gateway, Route, Router, RouterId, RouterPort

TENANT = Network(id=NetworkId("tenant"), type=NetworkType.VXLAN, mtu=1450, segmentation_id=7)
EXTERNAL = Network(id=NetworkId("external"), type=NetworkType.FLAT, mtu=1500, physical_network="external")
BRIDGES = {"tapinside": "brqtenant", "tapoutside": "brqexternal"}
INSIDE = RouterPort(
    id=PortId("inside"), network=TENANT, mac="fa:16:3e:00:00:01", addresses=(IPv4Interface("10.0.0.1/24"),)
)
OUTSIDE = RouterPort(
    id=PortId("outside"), network=EXTERNAL, mac="fa:16:3e:00:00:02", addresses=(IPv4Interface("203.0.113.10/24"),)
)
ROUTER = Router(
    id=RouterId("r"),
    name="r",
    ports=(INSIDE,),
    gateway=Gateway(port=OUTSIDE, next_hop=IPv4Address("203.0.113.1"), snat=True),
    floating_ips=(FloatingIp(id="f", address=IPv4Address("203.0.113.20"), fixed_address=IPv4Address("10.0.0.5")),),
)


def desired_of(router: Router) -> KernelRouter:
    pairs = frozenset((it.address, it.fixed_address) for it in router.floating_ips)
    return desired_router(router, Ruleset(fingerprint=repr(router), floating=pairs), BRIDGES)


def plan(router: Router, observed: KernelRouter) -> list[str]:
    """A plan in one line an operation: its name, and what it is about."""
    lines = []
    for operation in diff(desired_of(router), observed):
        about = [
            str(getattr(operation, field))
            for field in ("link", "tap", "name", "address", "bridge")
            if hasattr(operation, field)
        ]
        lines.append(" ".join((type(operation).__name__, *about)))
    return lines


def test_a_router_is_built_rules_first_and_announced_last() -> None:
    assert plan(ROUTER, ABSENT) == [
        "CreateNamespace",
        "LoadRules",
        "CreatePair qg-outside tapoutside brqexternal",
        "CreatePair qr-inside tapinside brqtenant",
        "AddAddress qg-outside 203.0.113.10/24",
        "AddAddress qg-outside 203.0.113.20/32",
        "AddAddress qr-inside 10.0.0.1/24",
        "RaiseHostLink tapoutside",
        "RaiseHostLink tapinside",
        "RaiseLink qg-outside",
        "RaiseLink qr-inside",
        "AddRoute",
        "Announce qg-outside tapoutside",
        "Announce qr-inside tapinside",
    ]


def test_a_floating_ip_that_goes_is_withdrawn_before_its_rules_and_its_flows_end() -> None:
    without = replace(ROUTER, floating_ips=())
    assert plan(without, desired_of(ROUTER)) == [
        "RemoveAddress qg-outside 203.0.113.20/32",
        "LoadRules",
        "ForgetFlows 203.0.113.20",
    ]


def test_a_floating_ip_that_moves_to_another_machine_takes_no_flow_along() -> None:
    moved = replace(ROUTER, floating_ips=(replace(ROUTER.floating_ips[0], fixed_address=IPv4Address("10.0.0.6")),))
    assert plan(moved, desired_of(ROUTER)) == ["LoadRules", "ForgetFlows 203.0.113.20"]


def test_a_new_floating_ip_is_announced_and_nothing_else_is() -> None:
    more = replace(
        ROUTER,
        floating_ips=(
            *ROUTER.floating_ips,
            FloatingIp(id="g", address=IPv4Address("203.0.113.21"), fixed_address=IPv4Address("10.0.0.6")),
        ),
    )
    assert plan(more, desired_of(ROUTER)) == [
        "LoadRules",
        "MarkUnannounced qg-outside",
        "AddAddress qg-outside 203.0.113.21/32",
        "Announce qg-outside tapoutside",
    ]
    announcement = diff(desired_of(more), desired_of(ROUTER))[-1]
    assert getattr(announcement, "addresses", None) == (IPv4Address("203.0.113.21"),)


def test_a_link_that_nobody_came_to_announce_is_announced_whole_and_nothing_else_is_done() -> None:
    right = desired_of(ROUTER)
    links = {**right.links, "qg-outside": replace(right.links["qg-outside"], announced=False)}
    (announcement,) = diff(right, replace(right, links=links))
    assert announcement == Announce(
        link="qg-outside",
        mac=OUTSIDE.mac,
        tap="tapoutside",
        addresses=(IPv4Address("203.0.113.10"), IPv4Address("203.0.113.20")),
    )


def test_a_link_without_an_address_has_nothing_to_announce() -> None:
    right = desired_of(replace(ROUTER, ports=(replace(INSIDE, addresses=()),)))
    links = {**right.links, "qr-inside": replace(right.links["qr-inside"], announced=False)}
    assert diff(right, replace(right, links=links)) == ()


def test_a_gateway_that_is_renumbered_gets_its_default_route_again() -> None:
    """The kernel drops a link's routes with its last address; the plan must not count on them."""
    bare = replace(ROUTER, floating_ips=())
    assert ROUTER.gateway is not None
    other = replace(OUTSIDE, addresses=(IPv4Interface("203.0.113.11/24"),))
    renumbered = replace(bare, gateway=replace(ROUTER.gateway, port=other))
    assert plan(renumbered, desired_of(bare)) == [
        "RemoveAddress qg-outside 203.0.113.10/24",
        "LoadRules",
        "ForgetFlows 203.0.113.10",
        "MarkUnannounced qg-outside",
        "AddAddress qg-outside 203.0.113.11/24",
        "AddRoute",
        "Announce qg-outside tapoutside",
    ]


def test_rules_changed_by_hand_are_replaced_and_flows_that_began_meanwhile_begin_anew() -> None:
    right = desired_of(ROUTER)
    assert right.ruleset is not None
    changed = replace(right, ruleset=replace(right.ruleset, fingerprint=""))
    assert plan(ROUTER, changed) == ["LoadRules", "ForgetUnansweredFlows"]


def test_rules_that_are_listed_otherwise_are_replaced_and_the_plan_says_which_chains() -> None:
    right = desired_of(ROUTER)
    assert right.ruleset is not None
    rules = replace(right.ruleset, listed={"forward": "as it should be", "postrouting": "as it should be"})
    altered = replace(rules, listed={"forward": "altered", "postrouting": "as it should be", "theirs": "new"})
    plan = diff(replace(right, ruleset=rules), replace(right, ruleset=altered))
    load = LoadRules(ruleset=rules, replace=True, altered=("forward", "theirs"))
    assert plan == (load, ForgetUnansweredFlows())
    assert diff(replace(right, ruleset=rules), replace(right, ruleset=rules)) == ()


def test_rules_are_not_held_against_a_listing_that_nobody_knows() -> None:
    right = desired_of(ROUTER)
    assert right.ruleset is not None
    observed = replace(right, ruleset=replace(right.ruleset, listed={"forward": "whatever"}))
    assert diff(right, observed) == ()


def test_routing_rules_that_were_flushed_come_back_after_rules_and_before_routes() -> None:
    right = desired_of(ROUTER)
    flushed = replace(right, ruleset=None, routes=frozenset(), routing_rules=frozenset({min(right.routing_rules)}))
    assert plan(ROUTER, flushed) == ["LoadRules", "ForgetUnansweredFlows", "RestoreRoutingRules", "AddRoute"]
    (restored,) = [it for it in diff(right, flushed) if isinstance(it, RestoreRoutingRules)]
    assert {it.table for it in restored.rules} == {253, 254}


def test_a_route_that_changes_its_next_hop_is_replaced_and_never_missing() -> None:
    before = replace(ROUTER, routes=(_route("172.16.0.0/16", "10.0.0.8"), _route("172.17.0.0/16", "10.0.0.8")))
    after = replace(ROUTER, routes=(_route("172.16.0.0/16", "10.0.0.9"),))
    observed = replace(desired_of(before), ruleset=desired_of(after).ruleset)
    operations = diff(desired_of(after), observed)
    assert [type(operation).__name__ for operation in operations] == ["AddRoute", "RemoveRoute"]
    assert [str(getattr(operation, "route", KernelRoute).destination) for operation in operations] == [
        "172.16.0.0/16",
        "172.17.0.0/16",
    ]


def test_an_extra_route_waits_for_the_interface_that_reaches_its_next_hop() -> None:
    waiting = replace(ROUTER, routes=(_route("172.16.0.0/16", "10.9.0.9"),))
    assert {str(route.destination) for route in desired_of(waiting).routes} == {"0.0.0.0/0"}


def test_a_gateway_beyond_the_subnet_is_reached_directly() -> None:
    assert ROUTER.gateway is not None
    beyond = replace(ROUTER, gateway=replace(ROUTER.gateway, next_hop=IPv4Address("192.0.2.1")))
    assert [hop.on_link for route in desired_of(beyond).routes for hop in route.hops] == [True]


def test_a_router_that_is_administratively_down_keeps_its_namespace_and_nothing_else() -> None:
    assert plan(replace(ROUTER, admin_up=False), desired_of(ROUTER))[:2] == [
        "DeleteLink qg-outside",
        "DeleteLink qr-inside",
    ]
    assert desired_of(replace(ROUTER, admin_up=False)).links == {}


def test_an_end_that_belongs_to_nobody_makes_way() -> None:
    stray = Tap(name="tapinside", mtu=1450, bridge="brqtenant", peer=None)
    right = desired_of(ROUTER)
    half = replace(
        right,
        links={name: link for name, link in right.links.items() if name != "qr-inside"},
        taps={**right.taps, "tapinside": stray},
    )
    assert plan(ROUTER, half)[:2] == ["DeleteHostLink tapinside", "CreatePair qr-inside tapinside brqtenant"]


@pytest.mark.parametrize(
    ("found", "step"),
    [({"doomed": True}, "ChangeGuard tapinside"), ({"speaks_ipv6": True}, "TurnOffIpv6 tapinside")],
)
def test_a_tap_that_an_agent_left_half_way_is_put_right(found: dict[str, bool], step: str) -> None:
    """One that was gathered to be deleted goes with the next deletion; one with IPv6 speaks for the host itself."""
    right = desired_of(ROUTER)
    tap = replace(right.taps["tapinside"], **found)
    assert plan(ROUTER, replace(right, taps={**right.taps, "tapinside": tap})) == [step]


def test_a_tap_has_no_ipv6_before_it_comes_up() -> None:
    right = desired_of(ROUTER)
    tap = replace(right.taps["tapinside"], speaks_ipv6=True, up=False)
    steps = plan(ROUTER, replace(right, taps={**right.taps, "tapinside": tap}))
    assert [step for step in steps if "tapinside" in step][:2] == ["TurnOffIpv6 tapinside", "RaiseHostLink tapinside"]


def test_a_foreign_namespace_is_refused() -> None:
    with pytest.raises(Unavailable, match="was not made by Gapless and is in use"):
        plan(ROUTER, replace(ABSENT, namespace=NamespaceState.FOREIGN))


def test_a_foreign_interface_of_a_taps_name_is_refused() -> None:
    theirs = Tap(name="tapinside", mtu=1500, bridge=None, peer=None, ours=False)
    with pytest.raises(Unavailable, match="tapinside exists on this host and was not made by Gapless"):
        plan(ROUTER, replace(ABSENT, taps={"tapinside": theirs}))


def _route(destination: str, next_hop: str) -> Route:
    return Route(destination=IPv4Network(destination), next_hop=IPv4Address(next_hop))


def test_a_lost_connected_route_is_put_back_with_the_address_that_it_belongs_to() -> None:
    right = desired_of(ROUTER)
    link = right.links["qr-inside"]
    lost = replace(right, links={**right.links, link.name: replace(link, connected=frozenset())})
    assert plan(ROUTER, lost) == ["RestoreConnected qr-inside"]
    (restored,) = diff(right, lost)
    assert getattr(restored, "subnet", None) == IPv4Network("10.0.0.0/24")
    assert getattr(restored, "source", None) == IPv4Address("10.0.0.1")


def test_an_extra_route_to_a_connected_subnet_is_left_out() -> None:
    for subnet in ("10.0.0.0/24", "203.0.113.0/24"):
        route = Route(destination=IPv4Network(subnet), next_hop=IPv4Address("10.0.0.7"))
        assert desired_of(replace(ROUTER, routes=(route,))).routes == desired_of(ROUTER).routes


def test_several_next_hops_to_one_destination_are_one_route_in_any_order() -> None:
    hops = [IPv4Address(address) for address in ("10.0.0.10", "203.0.113.7", "10.0.0.9", "10.0.0.9", "192.0.2.1")]
    routes = tuple(Route(destination=IPv4Network("172.16.0.0/16"), next_hop=hop) for hop in hops)
    given, turned = (desired_of(replace(ROUTER, routes=order)).routes for order in (routes, routes[::-1]))
    assert given == turned
    (made,) = given - desired_of(ROUTER).routes
    assert [(str(hop.next_hop), hop.link[:2]) for hop in made.hops] == [
        ("10.0.0.9", "qr"),
        ("10.0.0.10", "qr"),
        ("203.0.113.7", "qg"),
    ], "the last one is nobody's neighbour, and waits for an interface"


def test_extra_default_routes_take_the_place_of_the_gateways() -> None:
    extra = [Route(destination=IPv4Network("0.0.0.0/0"), next_hop=IPv4Address(f"10.0.0.{last}")) for last in (9, 10)]
    (default,) = desired_of(replace(ROUTER, routes=tuple(extra))).routes
    assert [str(hop.next_hop) for hop in default.hops] == ["10.0.0.9", "10.0.0.10"]


def test_a_hop_that_is_lost_is_put_back_and_what_stays_of_a_route_is_removed() -> None:
    """The kernel keeps a route by what hops are left when one of their links goes down."""
    destination = IPv4Network("172.16.0.0/16")
    both = replace(
        ROUTER,
        routes=tuple(Route(destination=destination, next_hop=IPv4Address(by)) for by in ("10.0.0.9", "203.0.113.7")),
    )
    (route,) = (it for it in desired_of(both).routes if it.destination == destination)
    halved = replace(desired_of(both), routes=desired_of(ROUTER).routes | {replace(route, hops=route.hops[:1])})
    assert plan(both, halved) == ["AddRoute"]
    assert plan(ROUTER, replace(desired_of(ROUTER), routes=halved.routes)) == ["RemoveRoute"]
