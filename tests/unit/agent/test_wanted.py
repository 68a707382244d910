"""What a router is to look like is worked out once, and anew with whatever it depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from kernel_in_memory import with_gateway

from gapless.agent.kernel import ruleset
from gapless.agent.wanted import Wanted
from gapless.core.dataplane.desired import desired_router, tap_name
from gapless.model.network import PortId
from gapless.model.router import FloatingIp, Route, Router, RouterId
from gapless.model.steering import Outside

ROUTER = with_gateway("r1").router
assert ROUTER.gateway is not None
TAPS = [tap_name(port.id) for port in (*ROUTER.ports, ROUTER.gateway.port)]
BRIDGES = dict.fromkeys(TAPS, "brq-one")
PORT = replace(ROUTER.gateway.port, id=PortId("another"), addresses=(IPv4Interface("10.7.0.1/24"),))
FLOATING_IP = FloatingIp(id="f1", address=IPv4Address("203.0.113.9"), fixed_address=IPv4Address("10.7.0.5"))
ROUTE = Route(destination=IPv4Network("198.51.100.0/24"), next_hop=ROUTER.gateway.port.addresses[0].ip + 1)
OUTSIDE = Outside(uplink="ext0", inlets=frozenset({"ext0"}))


@dataclass
class Kernel:
    """What it says of rules, and of which routers it was asked."""

    says: Mapping[str, str] = field(default_factory=lambda: {"forward": "digest"})
    asked: list[RouterId] = field(default_factory=list)

    def listed(self, router: Router) -> Mapping[str, str]:
        self.asked.append(router.id)
        return self.says


def test_it_is_what_would_be_worked_out_anew() -> None:
    rules = replace(ruleset.render(ROUTER), listed={"forward": "digest"})
    wanted = Wanted(Kernel().listed)
    for _ in range(2):
        assert wanted.of(ROUTER, BRIDGES, True, OUTSIDE) == desired_router(ROUTER, rules, BRIDGES, True, OUTSIDE)


def test_an_equal_router_is_not_worked_out_again() -> None:
    kernel = Kernel()
    wanted = Wanted(kernel.listed)
    first = wanted.of(ROUTER, BRIDGES, True, OUTSIDE)
    assert wanted.of(replace(ROUTER), dict(BRIDGES), True, replace(OUTSIDE)) is first
    assert kernel.asked == [ROUTER.id]


@pytest.mark.parametrize(
    ("router", "bridges", "guarded", "outside"),
    [
        (replace(ROUTER, admin_up=False), BRIDGES, True, OUTSIDE),
        (replace(ROUTER, gateway=replace(ROUTER.gateway, snat=not ROUTER.gateway.snat)), BRIDGES, True, OUTSIDE),
        (ROUTER, dict.fromkeys(TAPS, "brq-two"), True, OUTSIDE),
        (ROUTER, BRIDGES, False, OUTSIDE),
        (ROUTER, BRIDGES, True, None),
        (ROUTER, BRIDGES, True, replace(OUTSIDE, uplink=None)),
        (ROUTER, BRIDGES, True, replace(OUTSIDE, inlets=frozenset({"ext0", "ext1"}))),
        (replace(ROUTER, floating_ips=(FLOATING_IP,)), BRIDGES, True, OUTSIDE),
        (replace(ROUTER, ports=(PORT,)), BRIDGES | {tap_name(PORT.id): "brq-two"}, True, OUTSIDE),
        (replace(ROUTER, routes=(ROUTE,)), BRIDGES, True, OUTSIDE),
    ],
)
def test_whatever_is_different_is_worked_out_and_so_is_the_way_back(
    router: Router, bridges: Mapping[str, str], guarded: bool, outside: Outside | None
) -> None:
    wanted = Wanted(Kernel().listed)
    before = wanted.of(ROUTER, BRIDGES, True, OUTSIDE)
    rules = replace(ruleset.render(router), listed={"forward": "digest"})
    after = wanted.of(router, bridges, guarded, outside)
    assert after == desired_router(router, rules, bridges, guarded, outside)
    assert after.ruleset is not None
    assert (after.ruleset.text, after.ruleset.listed) == (rules.text, rules.listed)
    assert after != before
    assert wanted.of(ROUTER, BRIDGES, True, OUTSIDE) == before


def test_until_the_kernel_has_told_how_it_lists_rules_it_is_asked_with_each_look() -> None:
    kernel = Kernel(says={})
    wanted = Wanted(kernel.listed)
    wanted.of(ROUTER, BRIDGES, True, OUTSIDE)
    kernel.says = {"forward": "digest"}
    told = wanted.of(ROUTER, BRIDGES, True, OUTSIDE)
    assert told.ruleset is not None
    assert told.ruleset.listed == kernel.says
    assert kernel.asked == [ROUTER.id] * 2


def test_nothing_is_kept_of_a_router_that_is_gone() -> None:
    kernel = Kernel()
    wanted = Wanted(kernel.listed)
    wanted.of(ROUTER, BRIDGES, True, OUTSIDE)
    wanted.forget([ROUTER.id, RouterId("another")])
    wanted.of(ROUTER, BRIDGES, True, OUTSIDE)
    assert kernel.asked == [ROUTER.id] * 2
