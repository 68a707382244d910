"""What a look into every host says about routers, and what is wrong with it."""

from ipaddress import IPv4Address

from gapless.lab.measuring.whereabouts import Sighting, placement, problems
from gapless.lab.tenants import Tenant

GATEWAY, OUTSIDE = IPv4Address("192.168.10.1"), IPv4Address("198.18.0.7")
TENANT = Tenant(
    number=1,
    router_id="r1",
    router_name="router-001",
    network_id="n1",
    vni=1,
    mtu=1450,
    vm_port_id="p1",
    vm_mac="fa:16:3e:00:00:01",
    vm_addresses=(IPv4Address("192.168.10.5"), IPv4Address("192.168.10.6")),
    subnet_gateway=GATEWAY,
    gateway_address=OUTSIDE,
    floating_address=IPv4Address("198.18.0.8"),
)


def on(host: str, *addresses: IPv4Address, router_id: str = "r1") -> Sighting:
    return Sighting(router_id, host, frozenset(addresses))


def said(*sightings: Sighting, active: list[str] | None = None) -> list[str]:
    """Problems; without `active`, where it is built is where it is active."""
    return problems([TENANT], sightings, placement([TENANT], sightings) if active is None else {"r1": active})


def test_a_router_that_is_whole_on_one_host() -> None:
    assert said(on("a", GATEWAY, OUTSIDE)) == []


def test_a_router_on_no_host_or_on_two() -> None:
    assert said() == ["router-001 (r1) is active on no host"]
    assert said(on("a", GATEWAY, OUTSIDE), on("b", GATEWAY)) == ["router-001 (r1) is active on a, b"]


def test_a_router_that_lacks_an_address() -> None:
    assert said(on("a", GATEWAY)) == ["router-001 (r1) lacks 198.18.0.7"]


def test_a_router_that_nobody_asked_for() -> None:
    stray = on("b", router_id="r9")
    assert said(on("a", GATEWAY, OUTSIDE), stray) == ["b has a router that nobody asked for: r9"]


def test_a_router_that_somebody_made_by_hand_is_nothing_wrong() -> None:
    sightings = [on("a", GATEWAY, OUTSIDE), on("b", router_id="r9")]
    assert problems([TENANT], sightings, {"r1": ["a"]}, ["r1", "r9"]) == []


def test_a_standby_that_is_built_and_not_active_is_nothing_wrong() -> None:
    both = (on("a", GATEWAY, OUTSIDE), on("b", GATEWAY, OUTSIDE))
    assert said(*both, active=["b"]) == []
    assert said(*both, active=["a", "b"]) == ["router-001 (r1) is active on a, b"]


def test_what_a_standby_has_does_not_make_the_active_one_whole() -> None:
    assert said(on("a", GATEWAY), on("b", GATEWAY, OUTSIDE), active=["a"]) == ["router-001 (r1) lacks 198.18.0.7"]
