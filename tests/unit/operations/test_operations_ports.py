"""Ports: addresses wanted and given, MAC addresses, and whose port it is."""

import re
from random import Random
from typing import Any

import pytest
from operations_cloud import NOWHERE, Cloud, addresses

from gapless.config import ServerSettings
from gapless.controller.operations import faults
from gapless.controller.operations.catalog import Catalog


@pytest.fixture
async def network(cloud: Cloud) -> dict[str, Any]:
    return await cloud.network("10.0.0.0/24", "10.0.1.0/24")


async def test_a_port_has_an_address_and_a_mac(cloud: Cloud, network: dict[str, Any]) -> None:
    port = await cloud.port(network, name="p", project_id="p1", device_id="vm-1", device_owner="compute:nova")
    assert re.fullmatch(r"fa:16:3e(:[0-9a-f]{2}){3}", port["mac_address"])
    (fixed_ip,) = port["fixed_ips"]
    assert fixed_ip["subnet_id"] == network["subnets"][0]
    assert fixed_ip["ip_address"].startswith("10.0.0.")
    expected = {
        "name": "p",
        "project_id": "p1",
        "tenant_id": "p1",
        "network_id": network["id"],
        "admin_state_up": True,
        "status": "DOWN",
        "device_id": "vm-1",
        "device_owner": "compute:nova",
        "binding:host_id": "",
        "binding:vif_type": "unbound",
        "binding:vnic_type": "normal",
        "security_groups": [],
        "tags": [],
        "revision_number": 1,
    }
    assert port.items() >= expected.items()
    assert await cloud.get("ports", port["id"]) == port


async def test_a_bound_port_is_active(cloud: Cloud, network: dict[str, Any]) -> None:
    port = await cloud.port(network, **{"binding:host_id": "host-1"})
    assert (port["binding:host_id"], port["binding:vif_type"], port["status"]) == ("host-1", "bridge", "ACTIVE")
    port = await cloud.update("ports", port["id"], **{"binding:host_id": None})
    assert (port["binding:host_id"], port["binding:vif_type"], port["status"]) == ("", "unbound", "DOWN")


# Addresses


async def test_addresses_are_wanted_by_subnet_by_address_and_by_both(cloud: Cloud, network: dict[str, Any]) -> None:
    first, second = network["subnets"]
    wishes = [
        {"subnet_id": second},
        {"ip_address": "10.0.1.7"},
        {"subnet_id": first, "ip_address": "10.0.0.7"},
        {"subnet_id": second},
    ]
    port = await cloud.port(network, fixed_ips=wishes)
    assert addresses(port)[:2] == ["10.0.1.7", "10.0.0.7"]
    assert [each["subnet_id"] for each in port["fixed_ips"]] == [second, first, second, second]
    assert len(set(addresses(port))) == 4


async def test_an_address_outside_of_the_pools_can_be_named(cloud: Cloud, network: dict[str, Any]) -> None:
    assert addresses(await cloud.port(network, "10.0.0.1")) == ["10.0.0.1"]


async def test_a_port_can_be_without_addresses(cloud: Cloud, network: dict[str, Any]) -> None:
    assert (await cloud.port(network, fixed_ips=[]))["fixed_ips"] == []
    assert (await cloud.port(await cloud.network()))["fixed_ips"] == []  # no subnet to have one of


@pytest.mark.parametrize(
    ("wish", "fault", "words"),
    [
        ({"ip_address": "192.0.2.1"}, faults.InvalidIpForNetwork, "192.0.2.1 is not a valid IP for any of the subnets"),
        ({"ip_address": "10.0.0.255"}, faults.InvalidIpForNetwork, "10.0.0.255 is not a valid IP"),
        ({"ip_address": "x"}, faults.InvalidInput, "'x' is not a valid IPv4 address"),
        ({"ip_address": "2001:db8::1"}, faults.InvalidInput, "'2001:db8::1' is not a valid IPv4 address"),
        ({"subnet_id": NOWHERE}, faults.SubnetNotFound, f"Subnet {NOWHERE} could not be found"),
        ({}, faults.InvalidInput, "IP allocation requires subnet_id or ip_address"),
    ],
)
async def test_addresses_that_cannot_be_are_refused(
    cloud: Cloud, network: dict[str, Any], wish: dict[str, str], fault: Any, words: str
) -> None:
    await cloud.refused(fault, words, cloud.port(network, fixed_ips=[wish]))
    port = await cloud.port(network)
    await cloud.refused(fault, words, cloud.update("ports", port["id"], fixed_ips=[wish]))


async def test_an_address_of_another_subnet_is_refused(cloud: Cloud, network: dict[str, Any]) -> None:
    wish = {"subnet_id": network["subnets"][0], "ip_address": "10.0.1.9"}
    await cloud.refused(
        faults.InvalidIpForSubnet,
        "10.0.1.9 is not a valid IP for the specified subnet",
        cloud.port(network, fixed_ips=[wish]),
    )


async def test_a_subnet_of_another_network_is_refused(cloud: Cloud, network: dict[str, Any]) -> None:
    other = await cloud.network("192.0.2.0/24")
    wish = {"subnet_id": other["subnets"][0]}
    await cloud.refused(faults.InvalidInput, "fixed_ips included invalid subnet", cloud.port(network, fixed_ips=[wish]))


async def test_a_network_without_subnets_has_no_addresses(cloud: Cloud) -> None:
    network = await cloud.network()
    await cloud.refused(
        faults.InvalidInput, "IP allocation requires subnets", cloud.port(network, fixed_ips=[{"subnet_id": NOWHERE}])
    )


async def test_an_address_is_given_out_once(cloud: Cloud, network: dict[str, Any]) -> None:
    await cloud.port(network, "10.0.0.7")
    words = f"IP address 10.0.0.7 already allocated in subnet {network['subnets'][0]}"
    await cloud.refused(faults.IpAddressAlreadyAllocated, words, cloud.port(network, "10.0.0.7"))
    await cloud.refused(faults.IpAddressAlreadyAllocated, "10.0.1.7", cloud.port(network, "10.0.1.7", "10.0.1.7"))
    other = await cloud.network("10.0.0.0/24")
    assert addresses(await cloud.port(other, "10.0.0.7")) == ["10.0.0.7"]  # another network, another 10.0.0.7


async def test_every_address_is_given_out_before_none_is_left(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/29", "10.0.1.0/29")
    ports = [await cloud.port(network) for _ in range(10)]
    given = {address for port in ports for address in addresses(port)}
    assert given == {f"10.0.{net}.{host}" for net in (0, 1) for host in range(2, 7)}
    await cloud.refused(
        faults.IpAddressGenerationFailure,
        f"No more IP addresses available on network {network['id']}.",
        cloud.port(network),
    )
    await cloud.delete("ports", ports[3]["id"])
    assert addresses(await cloud.port(network)) == addresses(ports[3])


async def test_a_subnet_that_is_used_up_is_not_helped_by_another(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/30", "10.0.1.0/24")
    await cloud.port(network, "10.0.0.2")
    wish = {"subnet_id": network["subnets"][0]}
    await cloud.refused(faults.IpAddressGenerationFailure, "No more IP", cloud.port(network, fixed_ips=[wish]))


async def test_named_addresses_come_before_picked_ones(cloud: Cloud) -> None:
    network = await cloud.network()
    two = [{"start": "10.0.0.2", "end": "10.0.0.3"}]
    subnet = await cloud.subnet(network, "10.0.0.0/24", allocation_pools=two)
    wishes = [{"subnet_id": subnet["id"]}, {"ip_address": "10.0.0.2"}]
    for _ in range(12):  # whichever of the two a search begins with
        port = await cloud.port(network, fixed_ips=wishes)
        assert addresses(port) == ["10.0.0.2", "10.0.0.3"]
        await cloud.delete("ports", port["id"])


async def test_named_addresses_are_kept_before_any_are(cloud: Cloud, network: dict[str, Any]) -> None:
    port = await cloud.port(network, "10.0.0.7", "10.0.0.8")
    wishes = [{"subnet_id": network["subnets"][0]}, {"ip_address": "10.0.0.7"}]
    assert addresses(await cloud.update("ports", port["id"], fixed_ips=wishes)) == ["10.0.0.7", "10.0.0.8"]


async def test_an_update_keeps_what_is_still_wanted(cloud: Cloud, network: dict[str, Any]) -> None:
    first, second = network["subnets"]
    port = await cloud.port(network, "10.0.0.7", "10.0.1.7")
    changed = await cloud.update("ports", port["id"], fixed_ips=[{"subnet_id": first}, {"ip_address": "10.0.1.8"}])
    assert changed["fixed_ips"] == [
        {"subnet_id": first, "ip_address": "10.0.0.7"},
        {"subnet_id": second, "ip_address": "10.0.1.8"},
    ]
    assert changed["revision_number"] > port["revision_number"]
    assert await cloud.get("ports", port["id"]) == changed
    assert (await cloud.update("ports", port["id"], fixed_ips=[]))["fixed_ips"] == []
    assert addresses(await cloud.port(network, "10.0.0.7")) == ["10.0.0.7"]  # free again


# MAC addresses


async def test_a_mac_address_can_be_chosen_and_is_unique_on_its_network(cloud: Cloud, network: dict[str, Any]) -> None:
    mac = "02:00:00:00:00:AA"
    assert (await cloud.port(network, mac_address=mac))["mac_address"] == mac.lower()
    words = f"Unable to complete operation for network {network['id']}. The mac address {mac.lower()} is in use."
    await cloud.refused(faults.MacAddressInUse, words, cloud.port(network, mac_address=mac))
    other = await cloud.port(network)
    await cloud.refused(faults.MacAddressInUse, words, cloud.update("ports", other["id"], mac_address=mac))
    await cloud.port(await cloud.network(), mac_address=mac)


async def test_a_mac_address_can_be_changed_until_the_port_is_bound(cloud: Cloud, network: dict[str, Any]) -> None:
    port = await cloud.port(network)
    port = await cloud.update("ports", port["id"], mac_address="02:00:00:00:00:01")
    assert port["mac_address"] == "02:00:00:00:00:01"
    await cloud.update("ports", port["id"], **{"binding:host_id": "host-1"})
    await cloud.update("ports", port["id"], mac_address="02:00:00:00:00:01")  # as it is
    await cloud.refused(
        faults.PortBound,
        "port type: bridge, old_mac 02:00:00:00:00:01, new_mac 02:00:00:00:00:02",
        cloud.update("ports", port["id"], mac_address="02:00:00:00:00:02"),
    )


class Stuck(Random):
    """Randomness that always says the same."""

    def randrange(self, *_: int) -> int:
        return 0x010203


async def test_giving_up_on_a_mac_address_is_said(
    cloud: Cloud, settings: ServerSettings, network: dict[str, Any]
) -> None:
    stuck = Cloud(store=cloud.store, catalog=Catalog.of(settings, Stuck()))
    assert (await stuck.port(network))["mac_address"] == "fa:16:3e:01:02:03"
    await stuck.refused(faults.NetworkMacAddressGenerationFailure, "Unable to generate unique mac", stuck.port(network))


# Whose port it is


async def test_ports_of_machines_can_be_changed(cloud: Cloud, network: dict[str, Any]) -> None:
    port = await cloud.port(network)
    values = {
        "name": "renamed",
        "description": "why",
        "admin_state_up": False,
        "device_id": "vm-2",
        "device_owner": "compute:nova",
    }
    assert (await cloud.update("ports", port["id"], **values)).items() >= values.items()
    assert cloud.changed == set()


async def test_a_router_s_port_belongs_to_the_router(cloud: Cloud) -> None:
    outside, inside = await cloud.external(), await cloud.network("10.0.0.0/24")
    router = await cloud.router(outside)
    await cloud.attach(router, inside)
    for port in await cloud.listed("ports", device_id=[router["id"]]):
        words = f"Port {port['id']} cannot be deleted directly via the port API: has device owner network:router_"
        await cloud.refused(faults.ServicePortInUse, words, cloud.delete("ports", port["id"]))
        await cloud.refused(
            faults.UnsupportedPortDeviceOwner,
            "Operation mac address update is not supported for device_owner network:router_",
            cloud.update("ports", port["id"], mac_address="02:00:00:00:00:01"),
        )
        for values in ({"device_id": ""}, {"device_owner": "compute:nova"}):
            await cloud.refused(
                faults.UnsupportedPortDeviceOwner, "is not supported", cloud.update("ports", port["id"], **values)
            )
    (interface,) = await cloud.listed("ports", device_owner=["network:router_interface"])
    await cloud.refused(
        faults.BadRequest,
        f"Bad ports request: IP updates for port {interface['id']} are not allowed.",
        cloud.update("ports", interface["id"], fixed_ips=[{"ip_address": "10.0.0.9"}]),
    )
    same = [{"subnet_id": inside["subnets"][0], "ip_address": "10.0.0.1"}]
    await cloud.update("ports", interface["id"], fixed_ips=same, name="uplink")
    assert cloud.changed == {router["id"]}


async def test_a_floating_ip_s_port_belongs_to_the_floating_ip(cloud: Cloud) -> None:
    outside = await cloud.external()
    await cloud.floating_ip(outside)
    (port,) = await cloud.listed("ports")
    assert (port["device_owner"], port["status"], port["project_id"]) == ("network:floatingip", "N/A", "")
    await cloud.refused(
        faults.ServicePortInUse, "has device owner network:floatingip", cloud.delete("ports", port["id"])
    )


async def test_a_port_that_only_says_it_is_a_router_s_can_be_deleted(cloud: Cloud, network: dict[str, Any]) -> None:
    port = await cloud.port(network, device_owner="network:router_interface", device_id=NOWHERE)
    await cloud.delete("ports", port["id"])
    assert await cloud.listed("ports") == []


async def test_a_router_s_ports_are_where_the_router_is(cloud: Cloud) -> None:
    inside = await cloud.network("10.0.0.0/24")
    router = await cloud.router()
    await cloud.attach(router, inside)
    (port,) = await cloud.listed("ports")
    assert (port["binding:host_id"], port["status"]) == ("", "DOWN")
    await cloud.host("host-1")
    await cloud.bind(router, "host-1")
    (port,) = await cloud.listed("ports")
    assert (port["binding:host_id"], port["binding:vif_type"], port["status"]) == ("host-1", "bridge", "ACTIVE")
    assert await cloud.get("ports", port["id"]) == port


async def test_an_interface_that_goes_down_changes_its_router(cloud: Cloud) -> None:
    inside = await cloud.network("10.0.0.0/24")
    router = await cloud.router()
    interface = await cloud.attach(router, inside)
    await cloud.update("ports", interface["port_id"], admin_state_up=False)
    assert cloud.changed == {router["id"]}


INTERFACE, GATEWAY, FLOATING = "network:router_interface", "network:router_gateway", "network:floatingip"
OF_ITS_OWNER = (faults.UnsupportedPortDeviceOwner, "is not supported for device_owner network:")
FIXED = (faults.BadRequest, "Bad ports request: IP updates for port .* are not allowed")
NEEDED = (faults.RouterExternalGatewayInUseByFloatingIp, "is required by one or more floating IPs")
NEXT_HOP = (faults.BadRequest, "Bad port request: External IP 203.0.113.1 is the same as the gateway IP")
USED = (faults.InvalidRoutes, "the nexthop is used by router")
UNCONNECTED = (faults.InvalidRoutes, "the nexthop is not connected with router")
REFUSED: dict[tuple[str, str], tuple[Any, str]] = {
    **{(owner, key): OF_ITS_OWNER for owner in (INTERFACE, GATEWAY, FLOATING) for key in ("device", "owner", "mac")},
    **{(owner, key): FIXED for owner in (INTERFACE, FLOATING) for key in ("other", "any", "none", "more")},
    (INTERFACE, "next hop"): FIXED,
    (FLOATING, "next hop"): FIXED,
    (INTERFACE, "elsewhere"): FIXED,
    (FLOATING, "elsewhere"): FIXED,
    (GATEWAY, "none"): NEEDED,
    (GATEWAY, "next hop"): NEXT_HOP,
    (GATEWAY, "of a route"): USED,
    (INTERFACE, "of a route"): FIXED,
    (FLOATING, "of a route"): FIXED,
    (GATEWAY, "elsewhere"): UNCONNECTED,
}
"""Whose port, what is asked for -> the refusal. What is not here is done, and marks the router if its port it is."""


@pytest.mark.parametrize(
    "change",
    ["device", "owner", "mac", "other", "any", "none", "more", "next hop", "of a route", "elsewhere", "same", "name"],
)
@pytest.mark.parametrize("owner", [INTERFACE, GATEWAY, FLOATING])
async def test_what_may_be_changed_of_a_port_that_the_cloud_needs(cloud: Cloud, owner: str, change: str) -> None:
    """Whatever is accepted, the router is told of, and everything can still be listed."""
    outside, inside = await cloud.external("203.0.113.0/24", "198.51.100.0/24"), await cloud.network("10.0.0.0/24")
    router = await cloud.router(outside)
    await cloud.attach(router, inside)
    await cloud.floating_ip(outside, await cloud.port(inside))
    to = [{"destination": "10.9.0.0/16", "nexthop": "203.0.113.77"}]
    await cloud.update("routers", router["id"], routes=to)
    (port,) = await cloud.listed("ports", device_owner=[owner])
    (held,) = port["fixed_ips"]
    free = "10.0.0.88" if owner == INTERFACE else "203.0.113.88"
    values: dict[str, dict[str, Any]] = {
        "device": {"device_id": ""},
        "owner": {"device_owner": "compute:nova"},
        "mac": {"mac_address": "02:00:00:00:00:01"},
        "other": {"fixed_ips": [{"ip_address": free}]},
        "any": {"fixed_ips": [{"subnet_id": held["subnet_id"]}]},
        "none": {"fixed_ips": []},
        "more": {"fixed_ips": [held, {"ip_address": free}]},
        "next hop": {"fixed_ips": [{"ip_address": "203.0.113.1"}]},
        "of a route": {"fixed_ips": [{"ip_address": "203.0.113.77"}]},
        "elsewhere": {"fixed_ips": [{"ip_address": "198.51.100.9"}]},
        "same": {"fixed_ips": [held]},
        "name": {"name": "renamed"},
    }
    if (owner, change) in REFUSED:
        await cloud.refused(*REFUSED[owner, change], cloud.update("ports", port["id"], **values[change]))
    else:
        await cloud.update("ports", port["id"], **values[change])
        assert cloud.changed == (set() if owner == FLOATING else {router["id"]})
    (floating_ip,) = await cloud.listed("floating_ips")
    assert floating_ip["router_id"] == router["id"]


async def test_a_gateway_that_nobody_needs_can_be_without_an_address(cloud: Cloud) -> None:
    router = await cloud.router(await cloud.external())
    (port,) = await cloud.listed("ports")
    assert (await cloud.update("ports", port["id"], fixed_ips=[]))["fixed_ips"] == []
    assert cloud.changed == {router["id"]}


async def test_a_gateway_s_address_can_be_changed_through_its_port(cloud: Cloud) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    (port,) = await cloud.listed("ports")
    await cloud.update("ports", port["id"], fixed_ips=[{"ip_address": "203.0.113.99"}])
    assert cloud.changed == {router["id"]}
    (fixed_ip,) = (await cloud.get("routers", router["id"]))["external_gateway_info"]["external_fixed_ips"]
    assert fixed_ip["ip_address"] == "203.0.113.99"


async def test_what_does_not_exist_is_said_so(cloud: Cloud) -> None:
    words = f"Port {NOWHERE} could not be found."
    await cloud.refused(faults.PortNotFound, words, cloud.get("ports", NOWHERE))
    await cloud.refused(faults.PortNotFound, words, cloud.update("ports", NOWHERE, name="x"))
    await cloud.refused(faults.PortNotFound, words, cloud.delete("ports", NOWHERE))
    await cloud.refused(faults.NetworkNotFound, "could not be found", cloud.create("ports", network_id=NOWHERE))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["ip_address=10.0.0.7"], {"a"}),
        (["ip_address=10.0.0.7", "ip_address=10.0.1.7"], {"a", "b"}),
        (["ip_address=10.0.0.7", "subnet_id=SECOND"], set()),
        (["ip_address=10.0.1.7", "subnet_id=SECOND"], {"b"}),
        (["subnet_id=FIRST"], {"a", "c"}),
        (["ip_address=nonsense"], set()),
    ],
)
async def test_ports_are_found_by_their_addresses(
    cloud: Cloud, network: dict[str, Any], wanted: list[str], found: set[str]
) -> None:
    for name, address in (("a", "10.0.0.7"), ("b", "10.0.1.7"), ("c", "10.0.0.8")):
        await cloud.port(network, address, name=name)
    first, second = network["subnets"]
    filters = [each.replace("FIRST", first).replace("SECOND", second) for each in wanted]
    assert {port["name"] for port in await cloud.listed("ports", fixed_ips=filters)} == found


async def test_lists_are_narrowed_by_simple_filters(cloud: Cloud, network: dict[str, Any]) -> None:
    port = await cloud.port(network, device_id="vm-1", device_owner="compute:nova")
    await cloud.port(network)
    for filters in (
        {"device_id": ["vm-1"]},
        {"device_owner": ["compute:nova"]},
        {"mac_address": [port["mac_address"]]},
    ):
        assert await cloud.listed("ports", **filters) == [port]
    assert len(await cloud.listed("ports", network_id=[network["id"]])) == 2
