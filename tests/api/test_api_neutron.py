"""The attribute map and the operations together: each of Neutron's refusals as it leaves the controller."""

import asyncio
from typing import Any

import pytest
from api_fakes import FakeControls, make
from httpx import AsyncClient, Response

from gapless.controller.api import bodies
from gapless.controller.api.attributes import FLOATING_IP, NETWORK, PORT, ROUTER, SUBNET, Resource

NOBODY = "00000000-0000-0000-0000-000000000000"


def error_of(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["NeutronError"]["type"]


@pytest.mark.parametrize("resource", [NETWORK, SUBNET, PORT, ROUTER, FLOATING_IP], ids=lambda each: each.name)
async def test_the_map_and_the_operations_know_the_same_attributes(
    api: AsyncClient, world: dict[str, dict[str, Any]], resource: Resource
) -> None:
    """What is shown is in the map and visible; what is in the map and visible is shown."""
    visible = {key for key, attribute in resource.attributes.items() if attribute.visible}
    for item in (await api.get(f"/v2.0/{resource.collection}")).json()[resource.collection]:
        assert item.keys() == visible | {"tenant_id"}


@pytest.mark.parametrize("resource", [NETWORK, SUBNET, PORT, ROUTER, FLOATING_IP], ids=lambda each: each.name)
async def test_every_filter_and_sort_key_of_the_map_works(
    api: AsyncClient, world: dict[str, dict[str, Any]], resource: Resource
) -> None:
    items = (await api.get(f"/v2.0/{resource.collection}")).json()[resource.collection]
    for key, attribute in resource.attributes.items():
        path = f"/v2.0/{resource.collection}"
        if attribute.sorts and attribute.visible:
            answer = await api.get(path, params={"sort_key": key, "sort_dir": "desc"})
            assert answer.status_code == 200, answer.text
        if not attribute.filters or key == "fixed_ips":
            continue
        if attribute.since:
            for time, expected in ((min(each[attribute.since] for each in items), items), ("9999-01-01", [])):
                assert (await api.get(path, params={key: time})).json()[resource.collection] == expected
            continue
        for item in items:
            if item[key] is None:
                continue
            found = (await api.get(path, params={key: str(item[key])})).json()[resource.collection]
            assert item["id"] in {each["id"] for each in found}, f"{key}={item[key]}"
            assert all(each[key] == item[key] for each in found)


async def test_ports_are_found_by_their_addresses(api: AsyncClient, world: dict[str, dict[str, Any]]) -> None:
    address, subnet = world["vm"]["fixed_ips"][0]["ip_address"], world["blue_v4"]["id"]

    async def found(*filters: str) -> set[str]:
        answer = await api.get("/v2.0/ports", params={"fixed_ips": list(filters)})
        return {port["device_owner"] or port["name"] for port in answer.json()["ports"]}

    assert await found(f"ip_address={address}") == {"vm"}
    assert await found(f"subnet_id={subnet}") == {"vm", "network:router_interface"}
    assert await found(f"subnet_id={subnet}", f"ip_address={address}") == {"vm"}
    assert await found(f"ip_address={address}", "ip_address=10.0.0.1") == {"vm", "network:router_interface"}
    assert await found("ip_address_substr=203.0.113.") == {"network:router_gateway", "network:floatingip"}
    assert await found(f" ip_address = {address} ") == await found(f"ip_address= {address}") == {"vm"}
    assert await found(f"subnet_id = {subnet}") == {"vm", "network:router_interface"}
    assert await found("ip_address=no-address") == set()
    answer = await api.get("/v2.0/ports?fixed_ips=nonsense")
    assert error_of(answer) == (400, "InvalidInput")


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        (
            "POST",
            "subnets",
            {"subnet": {"network_id": NOBODY, "ip_version": 4, "cidr": "10.9.0.0/24"}},
            (404, "NetworkNotFound"),
        ),
        (
            "POST",
            "subnets",
            {"subnet": {"network_id": "{blue}", "ip_version": 4, "cidr": "10.0.0.0/25"}},
            (400, "InvalidInput"),
        ),
        (
            "POST",
            "subnets",
            {"subnet": {"network_id": "x", "ip_version": 4, "cidr": "10.9.0.0/24"}},
            (400, "HTTPBadRequest"),
        ),
        (
            "POST",
            "ports",
            {"port": {"network_id": "{blue}", "fixed_ips": [{"ip_address": "10.0.0.1"}]}},
            (409, "IpAddressAlreadyAllocated"),
        ),
        (
            "POST",
            "ports",
            {"port": {"network_id": "{blue}", "mac_address": "{vm.mac_address}"}},
            (409, "MacAddressInUse"),
        ),
        ("POST", "floatingips", {"floatingip": {"floating_network_id": "{blue}"}}, (400, "BadRequest")),
        (
            "POST",
            "floatingips",
            {"floatingip": {"floating_network_id": "{public}", "port_id": "{vm}"}},
            (409, "FloatingIPPortAlreadyAssociated"),
        ),
        (
            "PUT",
            "routers/{router}",
            {"router": {"external_gateway_info": None}},
            (409, "RouterExternalGatewayInUseByFloatingIp"),
        ),
        (
            "PUT",
            "routers/{router}",
            {"router": {"routes": [{"destination": "10.9.0.0/16", "nexthop": "172.16.0.1"}]}},
            (400, "InvalidRoutes"),
        ),
        (
            "PUT",
            "routers/{router}",
            {"router": {"external_gateway_info": {"enable_snat": False}}},
            (400, "HTTPBadRequest"),
        ),
        ("PUT", "routers/{router}/add_router_interface", {"subnet_id": "{blue_v4}"}, (400, "BadRequest")),
        ("PUT", "routers/{router}/add_router_interface", {}, (400, "BadRequest")),
        ("PUT", "routers/{router}/add_router_interface", {"subnet_id": "x"}, (400, "BadRequest")),
        ("PUT", "routers/{router}/add_router_interface", {"subnet": "{blue_v4}"}, (400, "HTTPBadRequest")),
        ("PUT", "routers/{router}/add_router_interface", None, (400, "HTTPBadRequest")),
        (
            "PUT",
            "routers/{router}/remove_router_interface",
            {"subnet_id": "{blue_v4}"},
            (409, "RouterInterfaceInUseByFloatingIP"),
        ),
        ("PUT", "routers/{router}/remove_router_interface", {"port_id": NOBODY}, (404, "RouterInterfaceNotFound")),
        ("PUT", "routers/{router}/add_extraroutes", {"routes": []}, (400, "HTTPBadRequest")),
        (
            "PUT",
            "routers/{router}/add_extraroutes",
            {"router": {"routes": [{"destination": "x"}]}},
            (400, "HTTPBadRequest"),
        ),
        ("PUT", "routers/{router}/fly", {}, (404, "HTTPNotFound")),
        ("DELETE", "networks/{blue}", None, (409, "NetworkInUse")),
        ("DELETE", "subnets/{blue_v4}", None, (409, "SubnetInUse")),
        ("DELETE", "routers/{router}", None, (409, "RouterInUse")),
        ("DELETE", "networks/not-a-uuid", None, (404, "NetworkNotFound")),
        ("GET", "floatingips/" + NOBODY, None, (404, "FloatingIPNotFound")),
        ("PUT", "ports/" + NOBODY, {"port": {"name": "x"}}, (404, "PortNotFound")),
    ],
)
async def test_refusals_leave_everything_as_it_was(
    api: AsyncClient,
    world: dict[str, dict[str, Any]],
    controls: FakeControls,
    method: str,
    path: str,
    body: Any,
    expected: tuple[int, str],
) -> None:
    await changes_nothing(api, controls, method, filled(path, world), filled(body, world), expected)


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [("POST", "floatingips", {"floating_network_id": "{public}"}), ("PUT", "floatingips/{fip}", {})],
)
async def test_a_floating_ip_is_not_pointed_at_a_port_that_no_router_reaches(
    api: AsyncClient,
    world: dict[str, dict[str, Any]],
    controls: FakeControls,
    method: str,
    path: str,
    more: dict[str, str],
) -> None:
    """Neither is one made, with a port outside of its own, nor does one leave the port that it points at."""
    lone = await make(api, "network", name="lone")
    await make(api, "subnet", network_id=lone["id"], ip_version=4, cidr="10.5.0.0/24")
    vm = await make(api, "port", network_id=lone["id"], name="lone-vm")
    body = {"floatingip": filled(more, world) | {"port_id": vm["id"]}}
    expected = (404, "ExternalGatewayForFloatingIPNotFound")
    await changes_nothing(api, controls, method, filled(path, world), body, expected)
    (kept,) = (await api.get("/v2.0/floatingips")).json()["floatingips"]
    assert (kept["port_id"], kept["router_id"]) == (world["vm"]["id"], world["router"]["id"])


async def changes_nothing(
    api: AsyncClient, controls: FakeControls, method: str, path: str, body: Any, expected: tuple[int, str]
) -> None:
    """The request is refused with this status and type; all that is shown is as it was, and no host hears of it."""
    before = await everything(api)
    controls.told.clear()
    answer = await api.request(method, f"/v2.0/{path}", json=body)
    assert error_of(answer) == expected, answer.text
    assert await everything(api) == before
    assert not controls.told


def filled(template: Any, world: dict[str, dict[str, Any]]) -> Any:
    """`{vm}` becomes the id of `vm`, `{vm.name}` its name; in objects and lists too."""
    if isinstance(template, dict):
        return {key: filled(value, world) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, world) for value in template]
    if not isinstance(template, str) or "{" not in template:
        return template
    for name, item in world.items():
        template = template.replace(f"{{{name}}}", item["id"])
        for key, value in item.items():
            template = template.replace(f"{{{name}.{key}}}", str(value))
    return template


async def everything(api: AsyncClient) -> dict[str, Any]:
    collections = ("networks", "subnets", "ports", "routers", "floatingips")
    return {each: (await api.get(f"/v2.0/{each}?sort_key=id&sort_dir=asc")).json() for each in collections}


async def test_a_bulk_request_that_fails_in_the_middle_leaves_nothing(
    api: AsyncClient, world: dict[str, dict[str, Any]]
) -> None:
    before = await everything(api)
    wanted = [{"network_id": world["public"]["id"], "name": f"p{number}"} for number in range(8)]
    answer = await api.post("/v2.0/ports", json={"ports": wanted})
    assert error_of(answer) == (409, "IpAddressGenerationFailure")
    assert await everything(api) == before


async def test_a_bulk_request_has_a_bound_and_says_it(api: AsyncClient) -> None:
    wanted = [{"name": f"n{number}"} for number in range(bodies.MOST_AT_ONCE + 1)]
    answer = await api.post("/v2.0/networks", json={"networks": wanted})
    assert answer.status_code == 400
    assert "may create 500 networks at once, and not 501: send several requests" in answer.text
    assert (await api.get("/v2.0/networks")).json() == {"networks": []}


async def test_callers_that_race_for_addresses_all_get_different_ones(api: AsyncClient) -> None:
    network = await make(api, "network")
    await make(api, "subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/28", gateway_ip=None)
    body = {"port": {"network_id": network["id"]}}
    answers = await asyncio.gather(*(api.post("/v2.0/ports", json=body) for _ in range(20)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] * 14 + [409] * 6
    addresses = [answer.json()["port"]["fixed_ips"][0]["ip_address"] for answer in answers if answer.status_code == 201]
    assert len(set(addresses)) == 14


async def test_the_controller_hears_of_every_change_that_a_host_must_build(
    api: AsyncClient, world: dict[str, dict[str, Any]], controls: FakeControls
) -> None:
    router = world["router"]["id"]
    for path, body in (
        (f"routers/{router}", {"router": {"admin_state_up": False}}),
        (
            f"routers/{router}/add_extraroutes",
            {"router": {"routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}]}},
        ),
        (f"floatingips/{world['fip']['id']}", {"floatingip": {"port_id": None}}),
        (f"subnets/{world['public_v4']['id']}", {"subnet": {"gateway_ip": None}}),
    ):
        controls.told.clear()
        answer = await api.put(f"/v2.0/{path}", json=body)
        assert answer.status_code == 200, answer.text
        assert controls.told == [("routers_changed", (router,))], path


async def test_a_floating_ip_keeps_its_address_and_can_be_listed(
    api: AsyncClient, world: dict[str, dict[str, Any]]
) -> None:
    found = await api.get("/v2.0/ports", params={"device_owner": "network:floatingip"})
    (port,) = found.json()["ports"]
    answer = await api.put(f"/v2.0/ports/{port['id']}", json={"port": {"fixed_ips": []}})
    said = f"Bad ports request: IP updates for port {port['id']} are not allowed."
    error = answer.json()["NeutronError"]
    assert (answer.status_code, error["type"], error["message"]) == (400, "BadRequest", said)
    (listed,) = (await api.get("/v2.0/floatingips")).json()["floatingips"]
    assert listed == world["fip"]


@pytest.mark.parametrize("nothing", [0, "0"])
async def test_an_mtu_of_zero_asks_for_the_largest(api: AsyncClient, nothing: Any) -> None:
    network = await make(api, "network", mtu=nothing)
    assert network["mtu"] == 1450
    path = f"/v2.0/networks/{network['id']}"
    assert (await api.put(path, json={"network": {"mtu": 1400}})).json()["network"]["mtu"] == 1400
    assert (await api.put(path, json={"network": {"mtu": nothing}})).json()["network"]["mtu"] == 1450
