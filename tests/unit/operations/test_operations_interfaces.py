"""Interfaces and extra routes of routers: what may be added, and what may be taken away again."""

from typing import Any

import pytest
from operations_cloud import NOWHERE, Cloud

from gapless.controller.operations import faults

Json = dict[str, Any]


@pytest.fixture
async def router(cloud: Cloud) -> Json:
    return await cloud.router(project_id="p1")


@pytest.fixture
async def inside(cloud: Cloud) -> Json:
    return await cloud.network("10.0.0.0/24")


# Adding


async def test_an_interface_by_subnet_has_the_gateway_s_address(cloud: Cloud, router: Json, inside: Json) -> None:
    answer = await cloud.attach(router, inside)
    (port,) = await cloud.listed("ports")
    subnet_id = inside["subnets"][0]
    assert answer == {
        "id": router["id"],
        "tenant_id": "p1",
        "project_id": "p1",
        "port_id": port["id"],
        "network_id": inside["id"],
        "subnet_id": subnet_id,
        "subnet_ids": [subnet_id],
        "tags": [],
    }
    assert port["fixed_ips"] == [{"subnet_id": subnet_id, "ip_address": "10.0.0.1"}]
    assert (port["device_owner"], port["device_id"], port["project_id"]) == (
        "network:router_interface",
        router["id"],
        "p1",
    )
    assert cloud.changed == {router["id"]}
    assert (await cloud.get("routers", router["id"]))["revision_number"] > router["revision_number"]


async def test_an_interface_by_port_takes_the_port(cloud: Cloud, router: Json, inside: Json) -> None:
    port = await cloud.port(inside, "10.0.0.77", name="mine", project_id="p2")
    answer = await cloud.act("add_interface", router, port_id=port["id"])
    assert (answer["port_id"], answer["subnet_ids"], answer["project_id"]) == (port["id"], inside["subnets"], "p2")
    taken = await cloud.get("ports", port["id"])
    assert (taken["device_owner"], taken["device_id"], taken["name"]) == (
        "network:router_interface",
        router["id"],
        "mine",
    )
    assert taken["fixed_ips"] == port["fixed_ips"]
    assert cloud.changed == {router["id"]}


@pytest.mark.parametrize(
    ("body", "fault", "words"),
    [
        ({}, faults.BadRequest, "Either subnet_id or port_id must be specified"),
        ({"subnet_id": NOWHERE, "port_id": NOWHERE}, faults.BadRequest, "Cannot specify both subnet-id and port-id"),
        ({"subnet_id": "x"}, faults.BadRequest, "'x' is not a valid UUID"),
        ({"port_id": 7}, faults.BadRequest, "'7' is not a valid UUID"),
        ({"subnet_id": NOWHERE}, faults.SubnetNotFound, "could not be found"),
        ({"port_id": NOWHERE}, faults.PortNotFound, "could not be found"),
    ],
)
async def test_interfaces_that_name_nothing_are_refused(
    cloud: Cloud, router: Json, body: Json, fault: Any, words: str
) -> None:
    await cloud.refused(fault, words, cloud.act("add_interface", router, **body))


async def test_a_subnet_without_gateway_is_refused(cloud: Cloud, router: Json) -> None:
    subnet = await cloud.subnet(await cloud.network(), "10.0.0.0/24", gateway_ip=None)
    await cloud.refused(
        faults.BadRequest,
        "Subnet for router interface must have a gateway IP",
        cloud.act("add_interface", router, subnet_id=subnet["id"]),
    )


async def test_a_gateway_address_that_somebody_has_is_refused(cloud: Cloud, router: Json, inside: Json) -> None:
    await cloud.port(inside, "10.0.0.1")
    await cloud.refused(faults.IpAddressAlreadyAllocated, "10.0.0.1", cloud.attach(router, inside))


async def test_a_gateway_outside_of_its_subnet_is_refused(cloud: Cloud, router: Json) -> None:
    subnet = await cloud.subnet(await cloud.network(), "10.0.0.0/24", gateway_ip="192.0.2.1")
    await cloud.refused(
        faults.InvalidIpForSubnet, "192.0.2.1", cloud.act("add_interface", router, subnet_id=subnet["id"])
    )


async def test_a_subnet_is_on_a_router_once(cloud: Cloud, router: Json, inside: Json) -> None:
    await cloud.attach(router, inside)
    words = f"Router already has a port on subnet {inside['subnets'][0]}"
    await cloud.refused(faults.BadRequest, words, cloud.attach(router, inside))
    port = await cloud.port(inside)
    await cloud.refused(faults.BadRequest, words, cloud.act("add_interface", router, port_id=port["id"]))


async def test_a_subnet_can_be_on_two_routers(cloud: Cloud, router: Json, inside: Json) -> None:
    await cloud.attach(router, inside)
    port = await cloud.port(inside)
    await cloud.act("add_interface", await cloud.router(), port_id=port["id"])


@pytest.mark.parametrize("cidr", ["10.0.0.0/24", "10.0.0.128/25", "10.0.0.0/16"])
async def test_subnets_of_a_router_do_not_overlap(cloud: Cloud, router: Json, inside: Json, cidr: str) -> None:
    await cloud.attach(router, inside)
    other = await cloud.network(cidr)
    words = (
        f"Bad router request: Cidr {cidr} of subnet {other['subnets'][0]} overlaps with cidr 10.0.0.0/24 of subnet "
        f"{inside['subnets'][0]}."
    )
    await cloud.refused(faults.BadRequest, words, cloud.attach(router, other))
    port = await cloud.port(other)
    await cloud.refused(faults.BadRequest, words, cloud.act("add_interface", router, port_id=port["id"]))


async def test_an_interface_does_not_overlap_with_the_gateway_s_network(cloud: Cloud) -> None:
    router = await cloud.router(await cloud.external("203.0.113.0/24", "10.0.0.0/16"))
    await cloud.refused(
        faults.BadRequest, "overlaps with cidr 10.0.0.0/16", cloud.attach(router, await cloud.network("10.0.0.0/24"))
    )


async def test_a_port_in_use_is_refused(cloud: Cloud, router: Json, inside: Json) -> None:
    port = await cloud.port(inside, device_id="vm-1")
    await cloud.refused(
        faults.PortInUse,
        f"Unable to complete operation on port {port['id']} for network {inside['id']}. "
        "Port already has an attached device vm-1.",
        cloud.act("add_interface", router, port_id=port["id"]),
    )
    interface = await cloud.attach(router, inside)
    await cloud.refused(
        faults.PortInUse, "already has an attached device", cloud.act("add_interface", router, **_port(interface))
    )


def _port(interface: Json) -> Json:
    return {"port_id": interface["port_id"]}


async def test_a_port_has_one_address_to_be_an_interface(cloud: Cloud, router: Json, inside: Json) -> None:
    bare = await cloud.port(inside, fixed_ips=[])
    await cloud.refused(
        faults.BadRequest,
        "Router port must have at least one fixed IP",
        cloud.act("add_interface", router, port_id=bare["id"]),
    )
    await cloud.subnet(inside, "10.0.1.0/24")
    two = await cloud.port(inside, "10.0.0.7", "10.0.1.7")
    await cloud.refused(
        faults.BadRequest,
        "Cannot have multiple IPv4 subnets on router port",
        cloud.act("add_interface", router, port_id=two["id"]),
    )


# Removing


@pytest.mark.parametrize("named", [["port_id"], ["subnet_id"], ["port_id", "subnet_id"]])
async def test_an_interface_is_removed_with_its_port(
    cloud: Cloud, router: Json, inside: Json, named: list[str]
) -> None:
    added = await cloud.attach(router, inside)
    removed = await cloud.act("remove_interface", router, **{key: added[key] for key in named})
    assert removed == added
    assert await cloud.listed("ports") == []
    assert cloud.changed == {router["id"]}
    await cloud.attach(router, inside)


async def test_removing_what_is_not_there_is_refused(cloud: Cloud, router: Json, inside: Json) -> None:
    subnet_id = inside["subnets"][0]
    port = await cloud.port(inside)

    def remove(**body: Any) -> Any:
        return cloud.act("remove_interface", router, **body)

    await cloud.refused(faults.BadRequest, "Either subnet_id or port_id must be specified", remove())
    await cloud.refused(
        faults.RouterInterfaceNotFoundForSubnet,
        f"Router {router['id']} has no interface on subnet {subnet_id}",
        remove(subnet_id=subnet_id),
    )
    await cloud.refused(faults.SubnetNotFound, "could not be found", remove(subnet_id=NOWHERE))
    await cloud.refused(
        faults.RouterInterfaceNotFound,
        f"Router {router['id']} does not have an interface with id {port['id']}",
        remove(port_id=port["id"]),
    )
    interface = await cloud.attach(router, inside)
    other = (await cloud.network("10.1.0.0/24"))["subnets"][0]
    await cloud.refused(
        faults.SubnetMismatchForPort,
        f"Subnet on port {interface['port_id']} does not match the requested subnet {other}.",
        remove(port_id=interface["port_id"], subnet_id=other),
    )


async def test_an_interface_that_floating_ips_need_stays(cloud: Cloud, inside: Json) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    interface = await cloud.attach(router, inside)
    port = await cloud.port(inside)
    floating_ip = await cloud.floating_ip(outside, port)
    for body in ({"subnet_id": inside["subnets"][0]}, _port(interface)):
        await cloud.refused(
            faults.RouterInterfaceInUseByFloatingIP,
            f"Router interface for subnet {inside['subnets'][0]} on router {router['id']} cannot be deleted, "
            "as it is required by one or more floating IPs.",
            cloud.act("remove_interface", router, **body),
        )
    await cloud.delete("floating_ips", floating_ip["id"])
    await cloud.act("remove_interface", router, **_port(interface))


async def test_an_interface_on_another_subnet_of_the_port_is_not_needed(cloud: Cloud, inside: Json) -> None:
    outside, router = await cloud.external(), await cloud.router()
    await cloud.update("routers", router["id"], external_gateway_info={"network_id": outside["id"]})
    second = await cloud.subnet(inside, "10.0.1.0/24")
    await cloud.attach(router, inside)
    await cloud.act("add_interface", router, subnet_id=second["id"])
    port = await cloud.port(inside, "10.0.0.7", "10.0.1.7")
    await cloud.floating_ip(outside, port, fixed_ip_address="10.0.0.7")
    await cloud.act("remove_interface", router, subnet_id=second["id"])


async def test_an_interface_that_routes_need_stays(cloud: Cloud, router: Json, inside: Json) -> None:
    interface = await cloud.attach(router, inside)
    await cloud.update("routers", router["id"], routes=[{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}])
    await cloud.refused(
        faults.RouterInterfaceInUseByRoute,
        "cannot be deleted, as it is required by one or more routes",
        cloud.act("remove_interface", router, **_port(interface)),
    )


# Extra routes


def route(destination: str, nexthop: str) -> dict[str, str]:
    return {"destination": destination, "nexthop": nexthop}


async def test_routes_are_replaced_as_a_whole(cloud: Cloud, router: Json, inside: Json) -> None:
    await cloud.attach(router, inside)
    first = [route("10.9.0.0/16", "10.0.0.9"), route("10.8.0.0/16", "10.0.0.8")]
    assert (await cloud.update("routers", router["id"], routes=first))["routes"] == first
    assert cloud.changed == {router["id"]}
    second = [route("10.8.0.0/16", "10.0.0.8"), route("10.8.0.0/16", "10.0.0.7")]
    assert (await cloud.update("routers", router["id"], routes=second))["routes"] == second
    assert (await cloud.get("routers", router["id"]))["routes"] == second
    assert (await cloud.update("routers", router["id"], routes=None))["routes"] == []


async def test_routes_are_added_and_removed_one_by_one(cloud: Cloud, router: Json, inside: Json) -> None:
    await cloud.attach(router, inside)
    a, b, c = (route(f"10.{number}.0.0/16", "10.0.0.9") for number in (7, 8, 9))

    async def act(action: str, *routes: dict[str, str]) -> Any:
        return (await cloud.act(action, router, routes=list(routes)))["router"]["routes"]

    assert await act("add_extraroutes", a, b) == [a, b]
    assert cloud.changed == {router["id"]}
    assert await act("add_extraroutes", b, c) == [a, b, c]
    assert await act("remove_extraroutes", a) == [b, c]
    assert cloud.changed == {router["id"]}
    assert await act("remove_extraroutes", a, c) == [b]


async def test_routes_through_the_gateway(cloud: Cloud) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    through = [route("10.9.0.0/16", "203.0.113.9")]
    await cloud.update("routers", router["id"], routes=through)
    await cloud.refused(
        faults.InvalidRoutes,
        "the nexthop is not connected with router",
        cloud.update("routers", router["id"], external_gateway_info=None),
    )
    cleared = await cloud.update("routers", router["id"], external_gateway_info=None, routes=[])
    assert (cleared["external_gateway_info"], cleared["routes"]) == (None, [])
    both = {"external_gateway_info": {"network_id": outside["id"]}, "routes": through}
    assert (await cloud.update("routers", router["id"], **both))["routes"] == through


async def test_a_next_hop_is_on_a_subnet_that_the_router_has_an_address_of(cloud: Cloud) -> None:
    outside = await cloud.external("203.0.113.0/24", "198.51.100.0/24")
    router = await cloud.router(outside)
    beside = [route("10.9.0.0/16", "198.51.100.9")]
    words = "the nexthop is not connected with router"
    await cloud.refused(faults.InvalidRoutes, words, cloud.update("routers", router["id"], routes=beside))
    both = [{"ip_address": "203.0.113.20"}, {"ip_address": "198.51.100.20"}]
    info = {"network_id": outside["id"], "external_fixed_ips": both}
    changed = await cloud.update("routers", router["id"], external_gateway_info=info, routes=beside)
    assert changed["routes"] == beside
    info["external_fixed_ips"] = both[:1]
    await cloud.refused(faults.InvalidRoutes, words, cloud.update("routers", router["id"], external_gateway_info=info))


@pytest.mark.parametrize(
    ("routes", "fault", "words"),
    [
        ([route("10.9.0.0/16", "192.0.2.1")], faults.InvalidRoutes, "the nexthop is not connected with router"),
        ([route("10.9.0.0/16", "10.0.0.1")], faults.InvalidRoutes, "the nexthop is used by router"),
        ([route("10.9.0.0/16", "10.0.0.0")], faults.InvalidRoutes, "is the network or broadcast address of a subnet"),
        ([route("10.9.0.0/16", "10.0.0.255")], faults.InvalidRoutes, "is the network or broadcast address of a subnet"),
        ([route("10.0.0.0/24", "10.0.0.9")], faults.InvalidRoutes, "destination is a subnet connected with router"),
        ([route("10.9.0.0/16", "10.0.0.9")] * 2, faults.InvalidInput, "Duplicate hostroute"),
        ([route("10.9.0.1/16", "10.0.0.9")], faults.InvalidInput, "'10.9.0.1/16' is not a valid IP subnet"),
        ([route("2001:db8::/64", "10.0.0.9")], faults.InvalidInput, "IPv6 is not supported"),
        ([route("10.9.0.0/16", "2001:db8::1")], faults.InvalidInput, "is not a valid IPv4 address"),
    ],
)
async def test_routes_that_lead_nowhere_are_refused(
    cloud: Cloud, router: Json, inside: Json, routes: list[dict[str, str]], fault: Any, words: str
) -> None:
    await cloud.attach(router, inside)
    await cloud.refused(fault, words, cloud.update("routers", router["id"], routes=routes))
    if fault is faults.InvalidRoutes:
        await cloud.refused(fault, words, cloud.act("add_extraroutes", router, routes=routes))


async def test_an_interface_in_a_routes_destination_breaks_nothing_that_can_be_said_later(
    cloud: Cloud, router: Json, inside: Json
) -> None:
    """The agent leaves the route out; here it stays, and neither other changes nor its own removal are refused."""
    await cloud.attach(router, inside)
    waiting, other = route("10.1.0.0/24", "10.0.0.9"), route("10.9.0.0/16", "10.0.0.9")
    await cloud.update("routers", router["id"], routes=[waiting])
    await cloud.attach(router, await cloud.network("10.1.0.0/24"))
    assert (await cloud.update("routers", router["id"], name="renamed"))["routes"] == [waiting]
    assert (await cloud.update("routers", router["id"], routes=[waiting, other]))["routes"] == [waiting, other]
    assert (await cloud.update("routers", router["id"], routes=[other]))["routes"] == [other]


async def test_an_interface_does_not_take_the_address_of_a_next_hop(cloud: Cloud, router: Json) -> None:
    outside = await cloud.external()
    await cloud.update("routers", router["id"], external_gateway_info={"network_id": outside["id"]})
    await cloud.update("routers", router["id"], routes=[route("10.9.0.0/16", "203.0.113.9")])
    info = {"network_id": outside["id"], "external_fixed_ips": [{"ip_address": "203.0.113.9"}]}
    await cloud.refused(
        faults.InvalidRoutes,
        "the nexthop is used by router",
        cloud.update("routers", router["id"], external_gateway_info=info),
    )
