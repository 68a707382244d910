"""Floating IPs: where their address comes from, what they point at, and which router carries them."""

from typing import Any

import pytest
from operations_cloud import NOWHERE, Cloud, addresses

from gapless.controller.operations import faults

Json = dict[str, Any]


@pytest.fixture
async def outside(cloud: Cloud) -> Json:
    return await cloud.external()


@pytest.fixture
async def inside(cloud: Cloud) -> Json:
    return await cloud.network("10.0.0.0/24")


@pytest.fixture
async def router(cloud: Cloud, outside: Json, inside: Json) -> Json:
    """A router between inside and outside."""
    router = await cloud.router(outside)
    await cloud.attach(router, inside)
    return router


async def test_a_floating_ip_begins_pointing_nowhere(cloud: Cloud, outside: Json) -> None:
    floating_ip = await cloud.floating_ip(outside, project_id="p1", description="why")
    (port,) = await cloud.listed("ports")
    dropped = ("id", "created_at", "updated_at")
    assert {key: value for key, value in floating_ip.items() if key not in dropped} == {
        "description": "why",
        "project_id": "p1",
        "tenant_id": "p1",
        "tags": [],
        "revision_number": 1,
        "floating_network_id": outside["id"],
        "floating_ip_address": addresses(port)[0],
        "router_id": None,
        "port_id": None,
        "fixed_ip_address": None,
        "status": "DOWN",
        "port_details": None,
        "port_forwardings": [],
    }
    assert port["device_id"] == floating_ip["id"]
    assert cloud.changed == set()
    assert await cloud.get("floating_ips", floating_ip["id"]) == floating_ip


async def test_a_floating_ip_can_be_made_pointing_at_a_port(
    cloud: Cloud, outside: Json, inside: Json, router: Json
) -> None:
    port = await cloud.port(inside, "10.0.0.7", name="vm", device_id="vm-1", device_owner="compute:nova")
    floating_ip = await cloud.floating_ip(outside, port)
    assert floating_ip["status"] == "ACTIVE"
    assert (floating_ip["port_id"], floating_ip["fixed_ip_address"]) == (port["id"], "10.0.0.7")
    assert floating_ip["router_id"] == router["id"]
    assert floating_ip["port_details"] == {
        "name": "vm",
        "network_id": inside["id"],
        "mac_address": port["mac_address"],
        "admin_state_up": True,
        "status": "DOWN",
        "device_id": "vm-1",
        "device_owner": "compute:nova",
    }
    assert cloud.changed == {router["id"]}


async def test_a_floating_ip_s_address_can_be_chosen(cloud: Cloud) -> None:
    outside = await cloud.external("203.0.113.0/24", "198.51.100.0/24")
    chosen = await cloud.floating_ip(outside, floating_ip_address="203.0.113.50")
    assert chosen["floating_ip_address"] == "203.0.113.50"
    of_subnet = await cloud.floating_ip(outside, subnet_id=outside["subnets"][1])
    assert of_subnet["floating_ip_address"].startswith("198.51.100.")
    both = {"subnet_id": outside["subnets"][1], "floating_ip_address": "198.51.100.9"}
    assert (await cloud.floating_ip(outside, **both))["floating_ip_address"] == "198.51.100.9"
    await cloud.refused(
        faults.IpAddressAlreadyAllocated,
        "IP address 198.51.100.9 already allocated",
        cloud.floating_ip(outside, **both),
    )
    both["subnet_id"] = outside["subnets"][0]
    await cloud.refused(faults.InvalidIpForSubnet, "198.51.100.9", cloud.floating_ip(outside, **both))
    await cloud.refused(
        faults.BadRequest,
        "Bad floatingip request: External IP 198.51.100.1 is the same as the gateway IP",
        cloud.floating_ip(outside, floating_ip_address="198.51.100.1"),
    )


async def test_a_floating_ip_needs_an_external_network_with_addresses(cloud: Cloud, inside: Json) -> None:
    await cloud.refused(
        faults.BadRequest,
        f"Bad floatingip request: Network {inside['id']} is not a valid external network.",
        cloud.floating_ip(inside),
    )
    await cloud.refused(faults.NetworkNotFound, "could not be found", cloud.floating_ip({"id": NOWHERE}))
    bare = await cloud.network(**{"router:external": True})
    await cloud.refused(faults.BadRequest, "does not contain any IPv4 subnet", cloud.floating_ip(bare))
    full = await cloud.network("203.0.113.0/30", **{"router:external": True})
    await cloud.floating_ip(full)
    await cloud.refused(faults.IpAddressGenerationFailure, "No more IP addresses", cloud.floating_ip(full))


# Pointing


async def test_a_floating_ip_can_be_pointed_moved_and_taken_away(
    cloud: Cloud, outside: Json, inside: Json, router: Json
) -> None:
    one, two = await cloud.port(inside, "10.0.0.7"), await cloud.port(inside, "10.0.0.8")
    floating_ip = await cloud.floating_ip(outside)
    for port, address in ((one, "10.0.0.7"), (two, "10.0.0.8"), (one, "10.0.0.7")):
        floating_ip = await cloud.update("floating_ips", floating_ip["id"], port_id=port["id"])
        assert (floating_ip["port_id"], floating_ip["fixed_ip_address"]) == (port["id"], address)
        assert (floating_ip["router_id"], floating_ip["status"]) == (router["id"], "ACTIVE")
        assert cloud.changed == {router["id"]}
    floating_ip = await cloud.update("floating_ips", floating_ip["id"], port_id=None)
    assert (floating_ip["port_id"], floating_ip["fixed_ip_address"]) == (None, None)
    assert (floating_ip["router_id"], floating_ip["status"], floating_ip["port_details"]) == (None, "DOWN", None)
    assert cloud.changed == {router["id"]}


async def test_a_floating_ip_that_moves_to_another_router_changes_both(
    cloud: Cloud, outside: Json, inside: Json, router: Json
) -> None:
    elsewhere = await cloud.network("10.1.0.0/24")
    other = await cloud.router(outside)
    await cloud.attach(other, elsewhere)
    floating_ip = await cloud.floating_ip(outside, await cloud.port(inside))
    port = await cloud.port(elsewhere)
    floating_ip = await cloud.update("floating_ips", floating_ip["id"], port_id=port["id"])
    assert floating_ip["router_id"] == other["id"]
    assert cloud.changed == {router["id"], other["id"]}


async def test_pointing_where_it_points_already_changes_nothing(
    cloud: Cloud, outside: Json, inside: Json, router: Json
) -> None:
    port = await cloud.port(inside)
    floating_ip = await cloud.floating_ip(outside, port)
    assert await cloud.update("floating_ips", floating_ip["id"], port_id=port["id"]) == floating_ip


async def test_what_is_not_said_stays(cloud: Cloud, outside: Json, inside: Json, router: Json) -> None:
    await cloud.subnet(inside, "10.0.1.0/24")
    port = await cloud.port(inside, "10.0.0.7", "10.0.0.8")
    floating_ip = await cloud.floating_ip(outside, port, fixed_ip_address="10.0.0.8")
    changed = await cloud.update("floating_ips", floating_ip["id"], description="why")
    assert changed["description"] == "why"
    assert (changed["port_id"], changed["fixed_ip_address"]) == (port["id"], "10.0.0.8")
    assert changed["router_id"] == router["id"]
    assert changed["revision_number"] > floating_ip["revision_number"]


async def test_one_of_several_addresses_is_named(cloud: Cloud, outside: Json, inside: Json, router: Json) -> None:
    port = await cloud.port(inside, "10.0.0.7", "10.0.0.8")
    floating_ip = await cloud.floating_ip(outside)

    def to(**values: Any) -> Any:
        return cloud.update("floating_ips", floating_ip["id"], **values)

    await cloud.refused(
        faults.BadRequest,
        f"Port {port['id']} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address",
        to(port_id=port["id"]),
    )
    await cloud.refused(
        faults.BadRequest,
        f"Port {port['id']} does not have fixed ip 10.0.0.9",
        to(port_id=port["id"], fixed_ip_address="10.0.0.9"),
    )
    await cloud.refused(
        faults.BadRequest,
        "fixed_ip_address cannot be specified without a port_id",
        to(fixed_ip_address="10.0.0.8"),
    )
    assert (await to(port_id=port["id"], fixed_ip_address="10.0.0.8"))["fixed_ip_address"] == "10.0.0.8"
    assert (await to(port_id=port["id"], fixed_ip_address="10.0.0.7"))["fixed_ip_address"] == "10.0.0.7"
    second = await cloud.floating_ip(outside, port, fixed_ip_address="10.0.0.8")  # each address has its own
    assert second["router_id"] == router["id"]


async def test_ports_that_cannot_be_pointed_at_are_refused(cloud: Cloud, outside: Json, inside: Json) -> None:
    await cloud.refused(faults.PortNotFound, "could not be found", cloud.floating_ip(outside, {"id": NOWHERE}))
    bare = await cloud.port(inside, fixed_ips=[])
    await cloud.refused(faults.BadRequest, "that has no fixed IPv4 addresses", cloud.floating_ip(outside, bare))
    dhcp = await cloud.port(inside, device_owner="network:dhcp")
    await cloud.refused(faults.BadRequest, "is unable to be assigned a floating IP", cloud.floating_ip(outside, dhcp))


async def test_a_port_must_be_reachable_from_outside(cloud: Cloud, outside: Json, inside: Json) -> None:
    port = await cloud.port(inside)
    words = (
        f"External network {outside['id']} is not reachable from subnet {inside['subnets'][0]}.  "
        f"Therefore, cannot associate Port {port['id']} with a Floating IP."
    )

    async def is_refused() -> None:
        attempt = cloud.floating_ip(outside, port)
        await cloud.refused(faults.ExternalGatewayForFloatingIPNotFound, words, attempt)

    await is_refused()  # no router at all
    router = await cloud.router()
    await cloud.attach(router, inside)
    await is_refused()  # no gateway
    other = await cloud.external("198.51.100.0/24", physical_network="other")
    await cloud.update("routers", router["id"], external_gateway_info={"network_id": other["id"]})
    await is_refused()  # another network outside
    await cloud.update("routers", router["id"], external_gateway_info={"network_id": outside["id"]})
    await cloud.floating_ip(outside, port)


async def test_an_address_has_one_floating_ip_a_network(
    cloud: Cloud, outside: Json, inside: Json, router: Json
) -> None:
    port = await cloud.port(inside, "10.0.0.7")
    await cloud.floating_ip(outside, port)
    second = await cloud.floating_ip(outside)
    words = (
        rf"Cannot associate floating IP {second['floating_ip_address']} \({second['id']}\) with port {port['id']} "
        rf"using fixed IP 10.0.0.7, as that fixed IP already has a floating IP on external network {outside['id']}."
    )
    attempt = cloud.update("floating_ips", second["id"], port_id=port["id"])
    await cloud.refused(faults.FloatingIPPortAlreadyAssociated, words, attempt)
    await cloud.refused(
        faults.FloatingIPPortAlreadyAssociated, "already has a floating IP", cloud.floating_ip(outside, port)
    )


async def test_an_address_may_have_one_on_each_of_two_networks(
    cloud: Cloud, outside: Json, inside: Json, router: Json
) -> None:
    other = await cloud.external("198.51.100.0/24", physical_network="other")
    second = await cloud.router(other)
    port = await cloud.port(inside)
    leg = await cloud.port(inside)
    await cloud.act("add_interface", second, port_id=leg["id"])
    assert (await cloud.floating_ip(outside, port))["router_id"] == router["id"]
    assert (await cloud.floating_ip(other, port))["router_id"] == second["id"]


async def test_of_several_routers_the_subnet_s_gateway_carries_it(cloud: Cloud, outside: Json, inside: Json) -> None:
    early, gateway = await cloud.router(outside), await cloud.router(outside)
    leg = await cloud.port(inside)
    await cloud.act("add_interface", early, port_id=leg["id"])
    await cloud.attach(gateway, inside)
    assert (await cloud.floating_ip(outside, await cloud.port(inside)))["router_id"] == gateway["id"]


# What becomes of it when what it points at changes


async def test_a_floating_ip_outlives_the_port_that_it_points_at(
    cloud: Cloud, outside: Json, inside: Json, router: Json
) -> None:
    port = await cloud.port(inside)
    floating_ip = await cloud.floating_ip(outside, port)
    await cloud.delete("ports", port["id"])
    assert cloud.changed == {router["id"]}
    left = await cloud.get("floating_ips", floating_ip["id"])
    assert (left["port_id"], left["router_id"], left["status"]) == (None, None, "DOWN")
    assert left["floating_ip_address"] == floating_ip["floating_ip_address"]


async def test_a_port_keeps_the_address_that_a_floating_ip_points_at(
    cloud: Cloud, outside: Json, inside: Json, router: Json
) -> None:
    port = await cloud.port(inside, "10.0.0.7", "10.0.0.8")
    await cloud.floating_ip(outside, port, fixed_ip_address="10.0.0.7")
    await cloud.refused(
        faults.BadRequest,
        "because its original fixed_ip has been associated to a floating ip",
        cloud.update("ports", port["id"], fixed_ips=[{"ip_address": "10.0.0.8"}]),
    )
    kept = await cloud.update("ports", port["id"], fixed_ips=[{"ip_address": "10.0.0.7"}])
    assert addresses(kept) == ["10.0.0.7"]


async def test_a_deleted_floating_ip_frees_its_address(cloud: Cloud, outside: Json, inside: Json, router: Json) -> None:
    floating_ip = await cloud.floating_ip(outside, await cloud.port(inside))
    await cloud.delete("floating_ips", floating_ip["id"])
    assert cloud.changed == {router["id"]}
    assert await cloud.listed("floating_ips") == []
    again = await cloud.floating_ip(outside, floating_ip_address=floating_ip["floating_ip_address"])
    assert again["status"] == "DOWN"


async def test_what_does_not_exist_is_said_so(cloud: Cloud) -> None:
    words = f"Floating IP {NOWHERE} could not be found"
    await cloud.refused(faults.FloatingIPNotFound, words, cloud.get("floating_ips", NOWHERE))
    await cloud.refused(faults.FloatingIPNotFound, words, cloud.update("floating_ips", NOWHERE, port_id=None))
    await cloud.refused(faults.FloatingIPNotFound, words, cloud.delete("floating_ips", NOWHERE))


async def test_lists_are_narrowed_by_simple_filters(cloud: Cloud, outside: Json, inside: Json, router: Json) -> None:
    port = await cloud.port(inside)
    floating_ip = await cloud.floating_ip(outside, port)
    await cloud.floating_ip(outside)
    for filters in ({"port_id": [port["id"]]}, {"router_id": [router["id"]]}, {"id": [floating_ip["id"]]}):
        assert await cloud.listed("floating_ips", **filters) == [floating_ip]
    assert len(await cloud.listed("floating_ips", floating_network_id=[outside["id"]])) == 2
