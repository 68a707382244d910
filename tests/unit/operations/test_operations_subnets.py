"""Subnets: cidr, gateway and pools, and what may be changed while somebody uses them."""

from typing import Any

import pytest
from operations_cloud import NOWHERE, Cloud, addresses

from gapless.controller.operations import faults


@pytest.fixture
async def network(cloud: Cloud) -> dict[str, Any]:
    return await cloud.network()


async def test_a_subnet_has_a_gateway_and_all_other_addresses_to_give(cloud: Cloud, network: dict[str, Any]) -> None:
    subnet = await cloud.subnet(network, "10.0.0.77/24", name="s", project_id="p1")
    shown = {key: value for key, value in subnet.items() if key not in ("id", "created_at", "updated_at")}
    assert shown == {
        "name": "s",
        "description": "",
        "project_id": "p1",
        "tenant_id": "p1",
        "tags": [],
        "revision_number": 1,
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": "10.0.0.0/24",
        "gateway_ip": "10.0.0.1",
        "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.254"}],
        "dns_nameservers": [],
        "host_routes": [],
        "enable_dhcp": True,
        "ipv6_ra_mode": None,
        "ipv6_address_mode": None,
        "subnetpool_id": None,
        "service_types": [],
        "router:external": False,
    }
    assert await cloud.get("subnets", subnet["id"]) == subnet
    assert await cloud.listed("subnets") == [subnet]
    stored = await cloud.get("networks", network["id"])
    assert stored["subnets"] == [subnet["id"]]
    assert stored["revision_number"] > network["revision_number"]


@pytest.mark.parametrize(
    ("cidr", "gateway", "pools"),
    [
        ("10.0.0.0/24", "10.0.0.1", ["10.0.0.2-10.0.0.254"]),
        ("10.0.0.0/24", None, ["10.0.0.1-10.0.0.254"]),
        ("10.0.0.0/24", "10.0.0.100", ["10.0.0.1-10.0.0.99", "10.0.0.101-10.0.0.254"]),
        ("10.0.0.0/24", "10.0.0.254", ["10.0.0.1-10.0.0.253"]),
        ("10.0.0.0/24", "192.0.2.1", ["10.0.0.1-10.0.0.254"]),
        ("10.0.0.0/30", "10.0.0.1", ["10.0.0.2-10.0.0.2"]),
        ("10.0.0.0/8", "10.0.0.1", ["10.0.0.2-10.255.255.254"]),
    ],
)
async def test_the_pools_lie_around_the_gateway(
    cloud: Cloud, network: dict[str, Any], cidr: str, gateway: str | None, pools: list[str]
) -> None:
    subnet = await cloud.subnet(network, cidr, gateway_ip=gateway)
    assert subnet["gateway_ip"] == gateway
    assert [f"{pool['start']}-{pool['end']}" for pool in subnet["allocation_pools"]] == pools


@pytest.mark.parametrize(("cidr", "gateway"), [("10.0.0.0/31", "10.0.0.1"), ("10.0.0.9/32", None)])
async def test_the_smallest_subnets(cloud: Cloud, network: dict[str, Any], cidr: str, gateway: str | None) -> None:
    subnet = await cloud.subnet(network, cidr, enable_dhcp=False)
    assert subnet["gateway_ip"] == gateway
    assert len(addresses(await cloud.port(network))) == 1
    with pytest.raises(faults.IpAddressGenerationFailure):
        await cloud.port(network)


async def test_pools_can_be_chosen(cloud: Cloud, network: dict[str, Any]) -> None:
    pools = [{"start": "10.0.0.100", "end": "10.0.0.109"}, {"start": "10.0.0.10", "end": "10.0.0.10"}]
    subnet = await cloud.subnet(network, "10.0.0.0/24", allocation_pools=pools)
    assert subnet["allocation_pools"] == [pools[1], pools[0]]
    given = {addresses(await cloud.port(network))[0] for _ in range(11)}
    assert given == {"10.0.0.10", *(f"10.0.0.{number}" for number in range(100, 110))}


def pool(start: str, end: str) -> dict[str, str]:
    return {"start": start, "end": end}


@pytest.mark.parametrize(
    ("values", "fault", "words"),
    [
        ({"cidr": "10.0.0.0/33"}, faults.InvalidInput, "'10.0.0.0/33' is not a valid CIDR"),
        ({"cidr": "nonsense"}, faults.InvalidInput, "'nonsense' is not a valid CIDR"),
        ({"cidr": "0.0.0.0/0"}, faults.InvalidInput, "0 is not allowed as CIDR prefix length"),
        ({"cidr": None}, faults.BadRequest, "a cidr must be specified in the absence of a subnet pool"),
        ({"subnetpool_id": NOWHERE}, faults.BadRequest, "subnet pools are not supported"),
        ({"cidr": "2001:db8::/64", "ip_version": 6}, faults.InvalidInput, "IPv6 subnets are not supported"),
        ({"cidr": "2001:db8::/64"}, faults.InvalidInput, "IPv6 subnets are not supported"),
        ({"gateway_ip": "10.0.0.0"}, faults.InvalidInput, "Gateway is not valid on subnet"),
        ({"gateway_ip": "10.0.0.255"}, faults.InvalidInput, "Gateway is not valid on subnet"),
        ({"gateway_ip": "2001:db8::1"}, faults.InvalidInput, "gateway_ip '2001:db8::1' does not match the ip_version"),
        ({"gateway_ip": "x"}, faults.InvalidInput, "'x' is not a valid IPv4 address"),
        (
            {"allocation_pools": [pool("10.0.0.9", "10.0.0.2")]},
            faults.InvalidAllocationPool,
            "The allocation pool .* is not valid",
        ),
        (
            {"allocation_pools": [pool("x", "10.0.0.2")]},
            faults.InvalidAllocationPool,
            "The allocation pool .* is not valid",
        ),
        (
            {"allocation_pools": [pool("10.0.0.2", "10.0.1.2")]},
            faults.OutOfBoundsAllocationPool,
            "pool 10.0.0.2-10.0.1.2 spans beyond the subnet cidr 10.0.0.0/24",
        ),
        (
            {"allocation_pools": [pool("10.0.0.2", "10.0.0.255")]},
            faults.OutOfBoundsAllocationPool,
            "spans beyond the subnet cidr",
        ),
        (
            {"allocation_pools": [pool("10.0.0.20", "10.0.0.30"), pool("10.0.0.2", "10.0.0.20")]},
            faults.OverlappingAllocationPools,
            "Found overlapping allocation pools: 10.0.0.2-10.0.0.20 10.0.0.20-10.0.0.30 for subnet 10.0.0.0/24",
        ),
        (
            {"allocation_pools": [pool("10.0.0.1", "10.0.0.20")]},
            faults.GatewayConflictWithAllocationPools,
            "Gateway ip 10.0.0.1 conflicts with allocation pool 10.0.0.1-10.0.0.20",
        ),
        ({"cidr": "10.0.0.0/31"}, faults.InvalidInput, "incompatible with DHCP service enabled"),
        ({"cidr": "224.0.0.0/24"}, faults.InvalidInput, "Multicast IP subnet is not supported"),
        ({"cidr": "127.0.0.0/24"}, faults.InvalidInput, "Loopback IP subnet is not supported"),
        ({"cidr": "0.0.0.0/24"}, faults.InvalidInput, "First IP '0.0.0.0' of network is not supported"),
        ({"dns_nameservers": ["x"]}, faults.InvalidInput, "'x' is not a valid IPv4 address"),
        ({"dns_nameservers": ["::1"]}, faults.InvalidInput, "dns_nameserver '::1' does not match the ip_version '4'"),
        ({"dns_nameservers": ["10.0.0.2"] * 6}, faults.DNSNameServersExhausted, "new subnet.*exceeds the limit 5"),
        (
            {"host_routes": [{"destination": "10.1.0.0/24", "nexthop": "x"}]},
            faults.InvalidInput,
            "Invalid route",
        ),
        (
            {"host_routes": [{"destination": "2001:db8::/64", "nexthop": "10.0.0.2"}]},
            faults.InvalidInput,
            "destination '2001:db8::/64' does not match the ip_version '4'",
        ),
        (
            {"host_routes": [{"destination": "10.1.0.0/24", "nexthop": "10.0.0.2"}] * 21},
            faults.HostRoutesExhausted,
            "exceeds the limit 20",
        ),
    ],
)
async def test_subnets_that_cannot_be_are_refused(
    cloud: Cloud, network: dict[str, Any], values: dict[str, Any], fault: type[Exception], words: str
) -> None:
    attempt = cloud.create("subnets", **{"network_id": network["id"], "cidr": "10.0.0.0/24", "ip_version": 4, **values})
    await cloud.refused(fault, words, attempt)  # type: ignore[arg-type] # a GaplessError


@pytest.mark.parametrize("cidr", ["10.0.0.0/24", "10.0.0.128/25", "10.0.0.0/8"])
async def test_subnets_of_a_network_do_not_overlap(cloud: Cloud, cidr: str) -> None:
    network = await cloud.network("10.0.0.0/24")
    await cloud.refused(faults.InvalidInput, "overlaps with another subnet", cloud.subnet(network, cidr))
    await cloud.subnet(network, "10.0.1.0/24")
    await cloud.network(cidr)  # another network may have the same


async def test_a_subnet_needs_its_network(cloud: Cloud) -> None:
    await cloud.refused(
        faults.NetworkNotFound, "could not be found", cloud.create("subnets", network_id=NOWHERE, cidr="10.0.0.0/24")
    )


async def test_a_subnet_needs_packets_of_68_bytes(cloud: Cloud) -> None:
    network = await cloud.network(mtu=67)
    await cloud.refused(
        faults.NetworkMTUSubnetConflict, "requires a minimum of 68", cloud.subnet(network, "10.0.0.0/24")
    )


async def test_what_can_be_changed(cloud: Cloud, network: dict[str, Any]) -> None:
    subnet = await cloud.subnet(network, "10.0.0.0/24")
    values: dict[str, Any] = {
        "name": "renamed",
        "description": "why",
        "enable_dhcp": False,
        "dns_nameservers": ["10.0.0.3"],
        "host_routes": [{"destination": "10.1.0.0/24", "nexthop": "10.0.0.2"}],
        "gateway_ip": "10.0.0.254",
        "allocation_pools": [pool("10.0.0.10", "10.0.0.19")],
    }
    changed = await cloud.update("subnets", subnet["id"], **values)
    assert changed.items() >= values.items()
    assert changed["revision_number"] > subnet["revision_number"]
    assert await cloud.get("subnets", subnet["id"]) == changed
    emptied = await cloud.update("subnets", subnet["id"], gateway_ip=None, dns_nameservers=[], host_routes=None)
    assert (emptied["gateway_ip"], emptied["dns_nameservers"], emptied["host_routes"]) == (None, [], [])


async def test_new_pools_are_as_strict_as_first_ones(cloud: Cloud, network: dict[str, Any]) -> None:
    subnet = await cloud.subnet(network, "10.0.0.0/24")

    def to(*pools: dict[str, str], **values: Any) -> Any:
        return cloud.update("subnets", subnet["id"], allocation_pools=list(pools), **values)

    await cloud.refused(faults.OutOfBoundsAllocationPool, "spans beyond", to(pool("10.0.1.2", "10.0.1.3")))
    await cloud.refused(
        faults.OverlappingAllocationPools, "overlapping", to(pool("10.0.0.2", "10.0.0.3"), pool("10.0.0.3", "10.0.0.4"))
    )
    await cloud.refused(faults.GatewayConflictWithAllocationPools, "10.0.0.1", to(pool("10.0.0.1", "10.0.0.3")))
    await cloud.refused(
        faults.GatewayConflictWithAllocationPools,
        "Gateway ip 10.0.0.9",
        to(pool("10.0.0.2", "10.0.0.10"), gateway_ip="10.0.0.9"),
    )


async def test_a_new_gateway_lies_outside_of_the_pools(cloud: Cloud, network: dict[str, Any]) -> None:
    subnet = await cloud.subnet(network, "10.0.0.0/24")
    await cloud.refused(
        faults.GatewayConflictWithAllocationPools,
        "Gateway ip 10.0.0.7 conflicts with allocation pool 10.0.0.2-10.0.0.254",
        cloud.update("subnets", subnet["id"], gateway_ip="10.0.0.7"),
    )


async def test_a_gateway_that_a_router_is_stays(cloud: Cloud) -> None:
    inside = await cloud.network("10.0.0.0/24")
    router = await cloud.router()
    interface = await cloud.attach(router, inside)
    subnet_id = inside["subnets"][0]
    for gateway in ("10.0.0.2", None):
        await cloud.refused(
            faults.GatewayIpInUse,
            f"Current gateway ip 10.0.0.1 already in use by port {interface['port_id']}. Unable to update.",
            cloud.update("subnets", subnet_id, gateway_ip=gateway),
        )
    await cloud.update("subnets", subnet_id, gateway_ip="10.0.0.1", name="same gateway")
    await cloud.act("remove_interface", router, subnet_id=subnet_id)
    assert (await cloud.update("subnets", subnet_id, gateway_ip=None))["gateway_ip"] is None


async def test_an_external_gateway_changes_the_routers_that_send_to_it(cloud: Cloud) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    await cloud.router()
    await cloud.update("subnets", outside["subnets"][0], gateway_ip=None)
    assert cloud.changed == {router["id"]}


async def test_the_next_hop_of_routers_is_not_an_address_that_one_of_them_has(cloud: Cloud) -> None:
    """By way of it a router would send to itself, or to another one that sends back."""
    outside = await cloud.network(
        **{"router:external": True, "provider:network_type": "flat", "provider:physical_network": "outside"}
    )
    near = await cloud.subnet(outside, "203.0.113.0/24", allocation_pools=[pool("203.0.113.10", "203.0.113.99")])
    far = await cloud.subnet(outside, "198.51.100.0/24", gateway_ip=None)
    info = {"network_id": outside["id"], "external_fixed_ips": [{"ip_address": "203.0.113.200"}]}
    router = await cloud.router(external_gateway_info=info)
    floating_ip = await cloud.floating_ip(outside, floating_ip_address="203.0.113.201")
    await cloud.port(outside, "203.0.113.202")
    for address in ("203.0.113.200", "203.0.113.201"):
        for subnet in (near, far):
            await cloud.refused(
                faults.IpAddressAlreadyAllocated,
                f"IP address {address} already allocated in subnet {near['id']}",
                cloud.update("subnets", subnet["id"], gateway_ip=address),
            )
    for address in ("203.0.113.202", "203.0.113.203"):  # of a machine that is the gateway, and of nobody
        assert (await cloud.update("subnets", near["id"], gateway_ip=address))["gateway_ip"] == address
    await cloud.delete("floating_ips", floating_ip["id"])
    await cloud.update("routers", router["id"], external_gateway_info=None)
    for address in ("203.0.113.200", "203.0.113.201"):
        await cloud.update("subnets", near["id"], gateway_ip=address)


async def test_an_address_in_a_pool_is_refused_for_that_whoever_has_it(cloud: Cloud) -> None:
    outside = await cloud.external()
    floating_ip = await cloud.floating_ip(outside)
    await cloud.refused(
        faults.GatewayConflictWithAllocationPools,
        "conflicts with allocation pool",
        cloud.update("subnets", outside["subnets"][0], gateway_ip=floating_ip["floating_ip_address"]),
    )


async def test_inside_the_gateway_may_be_any_port_s(cloud: Cloud) -> None:
    inside = await cloud.network()
    subnet = await cloud.subnet(inside, "10.0.0.0/24", allocation_pools=[pool("10.0.0.10", "10.0.0.99")])
    await cloud.port(inside, "10.0.0.200")
    interface = await cloud.port(inside, "10.0.0.201")
    await cloud.act("add_interface", await cloud.router(), port_id=interface["id"])
    for address in ("10.0.0.200", "10.0.0.201"):
        assert (await cloud.update("subnets", subnet["id"], gateway_ip=address))["gateway_ip"] == address


async def test_dhcp_is_not_enabled_where_it_cannot_be(cloud: Cloud, network: dict[str, Any]) -> None:
    subnet = await cloud.subnet(network, "10.0.0.0/31", enable_dhcp=False)
    await cloud.refused(faults.InvalidInput, "DHCP service", cloud.update("subnets", subnet["id"], enable_dhcp=True))


async def test_a_subnet_in_use_is_not_deleted(cloud: Cloud) -> None:
    inside = await cloud.network("10.0.0.0/24")
    port = await cloud.port(inside)
    await cloud.refused(
        faults.SubnetInUse,
        "One or more ports have an IP allocation from this subnet",
        cloud.delete("subnets", inside["subnets"][0]),
    )
    await cloud.delete("ports", port["id"])
    await cloud.delete("subnets", inside["subnets"][0])
    assert (await cloud.get("networks", inside["id"]))["subnets"] == []


async def test_a_subnet_with_a_router_on_it_is_not_deleted(cloud: Cloud) -> None:
    inside, outside = await cloud.network("10.0.0.0/24"), await cloud.external()
    await cloud.attach(await cloud.router(outside), inside)
    for network in (inside, outside):
        await cloud.refused(faults.SubnetInUse, "IP allocation", cloud.delete("subnets", network["subnets"][0]))


async def test_addresses_of_the_clouds_own_ports_go_with_their_subnet(cloud: Cloud) -> None:
    inside = await cloud.network("10.0.0.0/24", "10.0.1.0/24")
    fixed_ips = [{"subnet_id": subnet_id} for subnet_id in inside["subnets"]]
    dhcp = await cloud.port(inside, device_owner="network:dhcp", fixed_ips=fixed_ips)
    await cloud.delete("subnets", inside["subnets"][0])
    left = (await cloud.get("ports", dhcp["id"]))["fixed_ips"]
    assert [each["subnet_id"] for each in left] == [inside["subnets"][1]]


async def test_gateways_without_an_address_get_one_of_the_first_subnet(cloud: Cloud) -> None:
    outside = await cloud.create(
        "networks",
        **{"router:external": True, "provider:network_type": "flat", "provider:physical_network": "outside"},
    )
    router = await cloud.router(outside)
    assert router["external_gateway_info"]["external_fixed_ips"] == []
    subnet = await cloud.subnet(outside, "203.0.113.0/24")
    assert cloud.changed == {router["id"]}
    (fixed_ip,) = (await cloud.get("routers", router["id"]))["external_gateway_info"]["external_fixed_ips"]
    assert fixed_ip["subnet_id"] == subnet["id"]
    await cloud.subnet(outside, "198.51.100.0/24")  # a second subnet changes nothing
    assert cloud.changed == set()


async def test_what_does_not_exist_is_said_so(cloud: Cloud) -> None:
    words = f"Subnet {NOWHERE} could not be found."
    await cloud.refused(faults.SubnetNotFound, words, cloud.get("subnets", NOWHERE))
    await cloud.refused(faults.SubnetNotFound, words, cloud.update("subnets", NOWHERE, name="x"))
    await cloud.refused(faults.SubnetNotFound, words, cloud.delete("subnets", NOWHERE))


async def test_lists_are_narrowed_by_simple_filters(cloud: Cloud) -> None:
    one, two = await cloud.network("10.0.0.0/24"), await cloud.network("10.0.0.0/24")
    found = await cloud.listed("subnets", network_id=[one["id"]])
    assert [subnet["id"] for subnet in found] == one["subnets"]
    assert len(await cloud.listed("subnets", network_id=[one["id"], two["id"]])) == 2


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255"])
async def test_a_gateway_is_an_address_that_a_machine_can_have(
    cloud: Cloud, network: dict[str, Any], address: str
) -> None:
    words = "Invalid input for operation: Gateway is not valid on subnet."
    await cloud.refused(faults.InvalidInput, words, cloud.subnet(network, "10.0.0.0/24", gateway_ip=address))
    subnet = await cloud.subnet(network, "10.0.0.0/24")
    await cloud.refused(faults.InvalidInput, words, cloud.update("subnets", subnet["id"], gateway_ip=address))
    assert (await cloud.update("subnets", subnet["id"], gateway_ip="192.0.2.1"))["gateway_ip"] == "192.0.2.1"


@pytest.mark.parametrize("present", [(), ("203.0.113.0/24",)])
async def test_a_new_external_subnet_does_not_overlap_with_what_a_router_has_inside(
    cloud: Cloud, present: tuple[str, ...]
) -> None:
    outside = await cloud.create(
        "networks",
        **{"router:external": True, "provider:network_type": "flat", "provider:physical_network": "outside"},
    )
    for cidr in present:
        await cloud.subnet(outside, cidr)
    inside = await cloud.network("10.0.0.0/24")
    router = await cloud.router(outside)
    await cloud.attach(router, inside)
    await cloud.refused(
        faults.BadRequest,
        f"Bad subnets request: Cidr 10.0.0.0/16 of the new subnet overlaps with cidr 10.0.0.0/24 of subnet "
        f"{inside['subnets'][0]} on router {router['id']}, whose gateway is on network {outside['id']}.",
        cloud.subnet(outside, "10.0.0.0/16"),
    )
    await cloud.subnet(outside, "10.1.0.0/16")
    await cloud.subnet(await cloud.external(physical_network="other"), "10.0.0.0/16")  # where it has no gateway
