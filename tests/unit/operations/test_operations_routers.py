"""Routers: the resource itself and its gateway."""

from typing import Any

import pytest
from operations_cloud import NOWHERE, Cloud, addresses
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import extraroutes, faults


async def test_a_router_begins_with_nothing(cloud: Cloud) -> None:
    router = await cloud.router(name="r", project_id="p1", description="why")
    shown = {key: value for key, value in router.items() if key not in ("id", "created_at", "updated_at")}
    assert shown == {
        "name": "r",
        "description": "why",
        "project_id": "p1",
        "tenant_id": "p1",
        "tags": [],
        "revision_number": 1,
        "status": "ACTIVE",
        "admin_state_up": True,
        "external_gateway_info": None,
        "routes": [],
        "ha": True,
        "distributed": False,
        "failover_mode": "standby",
        "flavor_id": None,
        "availability_zone_hints": [],
        "availability_zones": [],
    }
    assert cloud.changed == {router["id"]}
    assert await cloud.get("routers", router["id"]) == router
    assert await cloud.listed("routers") == [router]


async def test_what_can_be_changed(cloud: Cloud) -> None:
    router = await cloud.router()
    values = {"name": "renamed", "description": "why", "admin_state_up": False, "failover_mode": "off", "ha": False}
    changed = await cloud.update("routers", router["id"], **values)
    assert changed.items() >= values.items()
    assert changed["revision_number"] > router["revision_number"]
    assert cloud.changed == {router["id"]}
    assert await cloud.get("routers", router["id"]) == changed


async def test_ha_changes_only_while_the_router_is_down(cloud: Cloud) -> None:
    router = await cloud.router(ha=True)
    assert router["ha"] is True
    await cloud.update("routers", router["id"], ha=True)
    await cloud.refused(
        faults.BadRequest,
        "Cannot change HA attribute of active routers. Please set router admin_state_up to False prior to upgrade",
        cloud.update("routers", router["id"], ha=False),
    )
    assert (await cloud.update("routers", router["id"], ha=False, admin_state_up=False))["ha"] is False


async def test_ha_is_neutron_s_word_for_a_standby(cloud: Cloud) -> None:
    router = await cloud.router(ha=True)
    assert (router["ha"], router["failover_mode"]) == (True, "standby")
    named = await cloud.router(failover_mode="standby")
    assert named["ha"] is True
    changed = await cloud.update("routers", named["id"], failover_mode="off")
    assert (changed["ha"], changed["failover_mode"]) == (False, "off")
    down = await cloud.update("routers", named["id"], admin_state_up=False, ha=True)
    assert down["failover_mode"] == "standby"
    assert (await cloud.update("routers", named["id"], ha=False))["failover_mode"] == "reschedule"
    words = "ha is true exactly where failover_mode is standby; drop one of the two"
    await cloud.refused(faults.BadRequest, words, cloud.router(ha=True, failover_mode="off"))
    await cloud.refused(faults.BadRequest, words, cloud.update("routers", router["id"], failover_mode="off", ha=True))


async def test_distributed_routers_are_refused(cloud: Cloud) -> None:
    await cloud.refused(faults.BadRequest, "distributed routers are not supported", cloud.router(distributed=True))
    router = await cloud.router(distributed=False)
    await cloud.refused(faults.BadRequest, "not supported", cloud.update("routers", router["id"], distributed=True))


async def test_zones_are_hinted_at_before_and_shown_after_a_host_is_found(cloud: Cloud) -> None:
    await cloud.refused(
        faults.AvailabilityZoneNotFound,
        "AvailabilityZone east could not be found",
        cloud.router(availability_zone_hints=["east"]),
    )
    await cloud.host("host-1", availability_zone="east")
    router = await cloud.router(availability_zone_hints=["east"])
    assert (router["availability_zone_hints"], router["availability_zones"]) == (["east"], [])
    await cloud.bind(router, "host-1")
    assert (await cloud.get("routers", router["id"]))["availability_zones"] == ["east"]
    assert (await cloud.listed("routers"))[0]["availability_zones"] == ["east"]
    await cloud.refused(
        faults.AvailabilityZoneNotFound,
        "west",
        cloud.update("routers", router["id"], availability_zone_hints=["west"]),
    )
    assert (await cloud.update("routers", router["id"], availability_zone_hints=[]))["availability_zone_hints"] == []


async def test_a_router_is_deleted_with_its_gateway_routes_and_binding(cloud: Cloud) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    await cloud.update("routers", router["id"], routes=[{"destination": "10.9.0.0/16", "nexthop": "203.0.113.9"}])
    await cloud.host("host-1")
    await cloud.bind(router, "host-1")
    await cloud.delete("routers", router["id"])
    assert (cloud.deleted, cloud.changed) == ({router["id"]}, set())
    left = await cloud.everything()
    assert not any(left[table] for table in ("routers", "routes", "ports", "addresses", "bindings"))


async def test_a_router_that_is_made_and_deleted_at_once_was_never_there(cloud: Cloud) -> None:
    async def make_and_delete(session: AsyncSession) -> str:
        router = await cloud.catalog.routers.create(session, {})
        await cloud.catalog.routers.delete(session, router["id"])
        return str(router["id"])

    router_id = await cloud.run(make_and_delete)
    assert (cloud.changed, cloud.deleted) == (set(), {router_id})


async def test_a_router_with_interfaces_is_not_deleted(cloud: Cloud) -> None:
    router = await cloud.router(await cloud.external())
    interface = await cloud.attach(router, await cloud.network("10.0.0.0/24"))
    await cloud.refused(
        faults.RouterInUse,
        f"Router {router['id']} has ports still attached: {interface['port_id']}",
        cloud.delete("routers", router["id"]),
    )


async def test_what_does_not_exist_is_said_so(cloud: Cloud) -> None:
    words = f"Router {NOWHERE} could not be found"
    await cloud.refused(faults.RouterNotFound, words, cloud.get("routers", NOWHERE))
    await cloud.refused(faults.RouterNotFound, words, cloud.update("routers", NOWHERE, name="x"))
    await cloud.refused(faults.RouterNotFound, words, cloud.delete("routers", NOWHERE))
    for action in ("add_interface", "remove_interface", "add_extraroutes", "remove_extraroutes"):
        await cloud.refused(
            faults.RouterNotFound, words, cloud.act(action, {"id": NOWHERE}, port_id=NOWHERE, routes=[])
        )


async def test_lists_are_narrowed_by_simple_filters(cloud: Cloud) -> None:
    router = await cloud.router(name="r")
    await cloud.router(name="other")
    assert await cloud.listed("routers", name=["r"]) == [router]


# The gateway


async def test_a_gateway_gets_an_address_and_snat(cloud: Cloud) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    info = router["external_gateway_info"]
    assert (info["network_id"], info["enable_snat"]) == (outside["id"], True)
    (port,) = await cloud.listed("ports")
    assert info["external_fixed_ips"] == port["fixed_ips"]
    assert (port["device_owner"], port["device_id"]) == ("network:router_gateway", router["id"])
    assert (port["project_id"], port["name"]) == ("", "")


async def test_a_gateway_s_addresses_can_be_chosen(cloud: Cloud) -> None:
    outside = await cloud.external("203.0.113.0/24", "198.51.100.0/24")
    fixed_ips = [{"ip_address": "203.0.113.50"}, {"subnet_id": outside["subnets"][1]}]
    info = {"network_id": outside["id"], "enable_snat": False, "external_fixed_ips": fixed_ips}
    router = await cloud.create("routers", external_gateway_info=info)
    shown = router["external_gateway_info"]
    assert shown["enable_snat"] is False
    assert [each["subnet_id"] for each in shown["external_fixed_ips"]] == outside["subnets"]
    assert shown["external_fixed_ips"][0]["ip_address"] == "203.0.113.50"


async def test_what_is_not_said_of_a_gateway_is_kept_or_back_to_default(cloud: Cloud) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    before = router["external_gateway_info"]
    info = {"network_id": outside["id"], "enable_snat": False}
    off = (await cloud.update("routers", router["id"], external_gateway_info=info))["external_gateway_info"]
    assert off == {**before, "enable_snat": False}
    del info["enable_snat"]
    on = (await cloud.update("routers", router["id"], external_gateway_info=info))["external_gateway_info"]
    assert on == before


async def test_a_gateway_s_address_can_be_changed(cloud: Cloud) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    (port,) = await cloud.listed("ports")
    info = {"network_id": outside["id"], "external_fixed_ips": [{"ip_address": "203.0.113.77"}]}
    changed = await cloud.update("routers", router["id"], external_gateway_info=info)
    (fixed_ip,) = changed["external_gateway_info"]["external_fixed_ips"]
    assert fixed_ip["ip_address"] == "203.0.113.77"
    (same_port,) = await cloud.listed("ports")
    assert same_port["id"] == port["id"]
    assert cloud.changed == {router["id"]}


async def test_a_gateway_can_move_to_another_network(cloud: Cloud) -> None:
    outside, other = await cloud.external(), await cloud.external("198.51.100.0/24", physical_network="other")
    router = await cloud.router(outside)
    info = {"network_id": other["id"]}
    router = await cloud.update("routers", router["id"], external_gateway_info=info)
    assert router["external_gateway_info"]["network_id"] == other["id"]
    (port,) = await cloud.listed("ports")
    assert port["network_id"] == other["id"]


@pytest.mark.parametrize("info", [None, {}])
async def test_a_gateway_can_be_cleared(cloud: Cloud, info: Any) -> None:
    router = await cloud.router(await cloud.external())
    router = await cloud.update("routers", router["id"], external_gateway_info=info)
    assert router["external_gateway_info"] is None
    assert await cloud.listed("ports") == []
    assert cloud.changed == {router["id"]}


async def test_a_gateway_needs_an_external_network(cloud: Cloud) -> None:
    inside = await cloud.network("10.0.0.0/24")
    words = f"Bad router request: Network {inside['id']} is not an external network."
    await cloud.refused(faults.BadRequest, words, cloud.router(inside))
    router = await cloud.router()
    info = {"network_id": inside["id"]}
    await cloud.refused(faults.BadRequest, words, cloud.update("routers", router["id"], external_gateway_info=info))
    await cloud.refused(faults.NetworkNotFound, "could not be found", cloud.router({"id": NOWHERE}))


@pytest.mark.parametrize(
    ("address", "fault", "words"),
    [
        ("203.0.113.1", faults.BadRequest, "External IP 203.0.113.1 is the same as the gateway IP"),
        ("203.0.113.9", faults.IpAddressAlreadyAllocated, "203.0.113.9 already allocated"),
        ("192.0.2.1", faults.InvalidIpForNetwork, "192.0.2.1 is not a valid IP"),
    ],
)
async def test_a_gateway_address_that_cannot_be_had_is_refused(
    cloud: Cloud, address: str, fault: Any, words: str
) -> None:
    outside = await cloud.external()
    await cloud.port(outside, "203.0.113.9")
    info = {"network_id": outside["id"], "external_fixed_ips": [{"ip_address": address}]}
    await cloud.refused(fault, words, cloud.create("routers", external_gateway_info=info))
    router = await cloud.router(outside)
    await cloud.refused(fault, words, cloud.update("routers", router["id"], name="x", external_gateway_info=info))


async def test_a_router_that_finds_no_gateway_address_is_not_made(cloud: Cloud) -> None:
    outside = await cloud.external("203.0.113.0/30")
    await cloud.router(outside)
    await cloud.refused(faults.IpAddressGenerationFailure, "No more IP addresses", cloud.router(outside))


async def test_a_gateway_that_floating_ips_need_stays(cloud: Cloud) -> None:
    outside, inside = await cloud.external(), await cloud.network("10.0.0.0/24")
    other = await cloud.external("198.51.100.0/24", physical_network="other")
    router = await cloud.router(outside)
    await cloud.attach(router, inside)
    floating_ip = await cloud.floating_ip(outside, await cloud.port(inside))
    words = (
        f"Gateway cannot be updated for router {router['id']}, since a gateway to external network {outside['id']} "
        "is required by one or more floating IPs."
    )
    for info in (None, {"network_id": other["id"]}):
        await cloud.refused(
            faults.RouterExternalGatewayInUseByFloatingIp,
            words,
            cloud.update("routers", router["id"], external_gateway_info=info),
        )
    keep = {"network_id": outside["id"], "external_fixed_ips": [{"ip_address": "203.0.113.200"}]}
    await cloud.update("routers", router["id"], external_gateway_info=keep)
    await cloud.update("floating_ips", floating_ip["id"], port_id=None)
    await cloud.update("routers", router["id"], external_gateway_info=None)


async def test_a_gateway_s_network_does_not_overlap_with_what_is_inside(cloud: Cloud) -> None:
    outside = await cloud.external("203.0.113.0/24", "198.51.100.0/24")
    inside = await cloud.network("198.51.100.128/25")
    router = await cloud.router()
    await cloud.attach(router, inside)
    await cloud.refused(
        faults.BadRequest,
        rf"Cidr 198.51.100.0/24 of subnet {outside['subnets'][1]} overlaps with cidr 198.51.100.128/25 of subnet "
        rf"{inside['subnets'][0]}",
        cloud.update("routers", router["id"], external_gateway_info={"network_id": outside["id"]}),
    )


async def test_routes_are_limited_as_in_neutron(cloud: Cloud) -> None:
    def routes(*numbers: int) -> list[dict[str, str]]:
        return [{"destination": f"10.{number}.0.0/16", "nexthop": "203.0.113.9"} for number in numbers]

    router_id = (await cloud.router(await cloud.external()))["id"]
    words = f"Unable to complete operation for {router_id}. The number of routes exceeds the maximum 30."
    await cloud.refused(faults.RoutesExhausted, words, cloud.update("routers", router_id, routes=routes(*range(31))))
    await cloud.update("routers", router_id, routes=routes(*range(30)))
    more = cloud.act("add_extraroutes", {"id": router_id}, routes=routes(30))
    await cloud.refused(faults.RoutesExhausted, words, more)
    await cloud.act("add_extraroutes", {"id": router_id}, routes=routes(29))


async def test_a_router_with_more_routes_than_may_be_can_lose_some(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From before there was a limit."""
    router = await cloud.router(await cloud.external())
    routes = [{"destination": f"10.{number}.0.0/16", "nexthop": "203.0.113.9"} for number in range(4)]
    await cloud.update("routers", router["id"], routes=routes)
    monkeypatch.setattr(extraroutes, "MAX_ROUTES", 2)
    left = await cloud.act("remove_extraroutes", router, routes=routes[:1])
    assert len(left["router"]["routes"]) == 3
    await cloud.refused(faults.RoutesExhausted, "maximum 2", cloud.act("add_extraroutes", router, routes=routes[:2]))


async def test_everything_of_an_update_is_refused_together(cloud: Cloud) -> None:
    router = await cloud.router(await cloud.external())
    await cloud.refused(
        faults.InvalidRoutes,
        "the nexthop is not connected with router",
        cloud.update(
            "routers",
            router["id"],
            name="renamed",
            external_gateway_info=None,
            routes=[{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
        ),
    )


async def test_addresses_of_a_deleted_gateway_are_free_again(cloud: Cloud) -> None:
    outside = await cloud.external("203.0.113.0/30")
    router = await cloud.router(outside)
    await cloud.delete("routers", router["id"])
    port = await cloud.port(outside)
    assert addresses(port) == ["203.0.113.2"]
