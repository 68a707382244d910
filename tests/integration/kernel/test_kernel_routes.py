"""Routes: those of connected subnets stay as the kernel made them, and extra ones are the same in any order."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from kernel_fixtures import NAMESPACE, OUTSIDE, QR_A, Wires, ip, ip_json
from whole_router import WHOLE, works

from gapless.agent.reconcile import Reconciler
from gapless.model.router import Route

pytestmark = pytest.mark.isolated


def test_a_connected_route_is_put_back_as_the_kernel_made_it(host: Reconciler) -> None:
    host.reconcile(WHOLE)
    before = ip_json("route show 10.0.0.0/24", inside=NAMESPACE)
    ip("route delete 10.0.0.0/24", inside=NAMESPACE)
    outcome = host.reconcile(WHOLE)
    assert outcome.what == f"RestoreConnected {QR_A}"
    assert ip_json("route show 10.0.0.0/24", inside=NAMESPACE) == before
    ip(f"address delete 10.0.0.1/24 dev {QR_A}", inside=NAMESPACE)
    assert ip_json("route show 10.0.0.0/24", inside=NAMESPACE) == [], "it goes with its address"


@pytest.mark.parametrize("next_hop", ["10.0.0.5", "10.1.0.5", OUTSIDE])
def test_an_extra_route_to_a_connected_subnet_never_takes_its_place(
    wires: Wires, host: Reconciler, next_hop: str
) -> None:
    route = Route(destination=IPv4Network("10.0.0.0/24"), next_hop=IPv4Address(next_hop))
    host.reconcile(replace(WHOLE, routes=(route,)))
    assert works(wires)
    assert not host.reconcile(replace(WHOLE, routes=(route,))).changed


def test_several_next_hops_of_one_destination_build_the_same_router_in_any_order(host: Reconciler) -> None:
    destination = IPv4Network("192.168.77.0/24")
    routes = [Route(destination=destination, next_hop=IPv4Address(it)) for it in ("10.0.0.6", "10.1.0.5", "10.0.0.5")]
    host.reconcile(replace(WHOLE, routes=tuple(routes)))
    (shown,) = ip_json(f"route show {destination}", inside=NAMESPACE)
    assert [hop["gateway"] for hop in shown["nexthops"]] == ["10.0.0.5", "10.0.0.6", "10.1.0.5"]
    assert not host.reconcile(replace(WHOLE, routes=(*reversed(routes), routes[0]))).changed
