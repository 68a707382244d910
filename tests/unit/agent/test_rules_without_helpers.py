"""No rule of a router gives a connection a helper: so there is nothing of helpers to be copied (ADR 26)."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from gapless.agent.kernel.ruleset import render
from gapless.controller.api.extensions import EXTENSIONS
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.router import FloatingIp, Gateway, Router, RouterId, RouterPort

OUTSIDE = RouterPort(
    id=PortId("outside"),
    network=Network(id=NetworkId("external"), type=NetworkType.FLAT, mtu=1500, physical_network="external"),
    mac="fa:16:3e:00:00:02",
    addresses=(IPv4Interface("203.0.113.10/24"),),
)
ROUTER = Router(
    id=RouterId("r"),
    name="r",
    ports=(),
    gateway=Gateway(port=OUTSIDE, next_hop=IPv4Address("203.0.113.1"), snat=True),
    floating_ips=(FloatingIp(id="f", address=IPv4Address("203.0.113.20"), fixed_address=IPv4Address("10.0.0.5")),),
)


@pytest.mark.parametrize(
    "router", [ROUTER, replace(ROUTER, gateway=None, floating_ips=()), replace(ROUTER, admin_up=False)]
)
def test_no_rule_gives_a_connection_a_helper_or_an_expectation(router: Router) -> None:
    text = render(router).text
    assert "table ip gapless" in text
    assert not {"helper", "expectation", "synproxy"} & set(text.split())


def test_users_are_not_told_that_they_may_ask_for_one() -> None:
    assert "l3-conntrack-helper" not in EXTENSIONS
