"""Rows become exactly the router that they describe, in as many queries for many routers as for one."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from operations_cloud import Cloud, addresses
from sqlalchemy import Engine, event

from gapless.controller.store import projection
from gapless.core.events import RouterNeeds
from gapless.model.network import Network, NetworkType
from gapless.model.router import FailoverMode, FloatingIp, Gateway, Route, Router, RouterId, RouterPort
from gapless.model.way import WayOut

Json = dict[str, Any]


async def project(cloud: Cloud, *ids: str) -> dict[RouterId, Router]:
    return await cloud.read(lambda session: projection.routers(session, [RouterId(each) for each in ids] or None))


async def needs(cloud: Cloud, *ids: str) -> dict[RouterId, RouterNeeds]:
    return await cloud.read(lambda session: projection.needs(session, [RouterId(each) for each in ids] or None))


async def model_of(cloud: Cloud, router: Json) -> Router:
    return (await project(cloud, router["id"]))[router["id"]]


async def test_a_bare_router(cloud: Cloud) -> None:
    router = await cloud.router(name="r", admin_state_up=False, failover_mode="reschedule")
    assert await model_of(cloud, router) == Router(id=router["id"], name="r", admin_up=False)
    assert await needs(cloud) == {
        router["id"]: RouterNeeds(router_id=router["id"], mode=FailoverMode.RESCHEDULE),
    }


async def test_a_router_with_everything(cloud: Cloud) -> None:
    outside = await cloud.external("203.0.113.0/24")
    inside = await cloud.network("10.0.0.0/24", mtu=1400)
    info = {"network_id": outside["id"], "external_fixed_ips": [{"ip_address": "203.0.113.10"}]}
    router = await cloud.create("routers", name="r", external_gateway_info=info, failover_mode="off")
    interface = await cloud.attach(router, inside)
    await cloud.update("routers", router["id"], routes=[{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}])
    port = await cloud.port(inside, "10.0.0.7")
    floating_ip = await cloud.floating_ip(outside, port, floating_ip_address="203.0.113.20")
    macs = {each["id"]: each["mac_address"] for each in await cloud.listed("ports")}
    (gateway_port,) = await cloud.listed("ports", device_owner=["network:router_gateway"])
    outer = Network(id=outside["id"], type=NetworkType.FLAT, mtu=1500, physical_network="outside")
    inner = Network(
        id=inside["id"], type=NetworkType.VXLAN, mtu=1400, segmentation_id=inside["provider:segmentation_id"]
    )
    assert await model_of(cloud, router) == Router(
        id=router["id"],
        name="r",
        ports=(
            RouterPort(
                id=interface["port_id"],
                network=inner,
                mac=macs[interface["port_id"]],
                addresses=(IPv4Interface("10.0.0.1/24"),),
            ),
        ),
        gateway=Gateway(
            port=RouterPort(
                id=gateway_port["id"],
                network=outer,
                mac=macs[gateway_port["id"]],
                addresses=(IPv4Interface("203.0.113.10/24"),),
            ),
            next_hop=IPv4Address("203.0.113.1"),
            snat=True,
        ),
        floating_ips=(
            FloatingIp(
                id=floating_ip["id"], address=IPv4Address("203.0.113.20"), fixed_address=IPv4Address("10.0.0.7")
            ),
        ),
        routes=(Route(destination=IPv4Network("10.9.0.0/16"), next_hop=IPv4Address("10.0.0.9")),),
    )
    assert await needs(cloud, router["id"]) == {
        router["id"]: RouterNeeds(
            router_id=router["id"],
            mode=FailoverMode.OFF,
            physical_networks=frozenset({"outside"}),
            needs_vxlan=True,
            gateway=WayOut("outside", IPv4Address("203.0.113.1")),
        )
    }


async def test_zones_hinted_at_are_needs(cloud: Cloud) -> None:
    await cloud.host("host-1", availability_zone="east")
    router = await cloud.router(availability_zone_hints=["east"])
    assert (await needs(cloud))[router["id"]].availability_zone_hints == ("east",)


async def test_snat_off_and_no_next_hop(cloud: Cloud) -> None:
    outside = await cloud.external()
    await cloud.update("subnets", outside["subnets"][0], gateway_ip=None)
    router = await cloud.create("routers", external_gateway_info={"network_id": outside["id"], "enable_snat": False})
    gateway = (await model_of(cloud, router)).gateway
    assert gateway is not None
    assert (gateway.snat, gateway.next_hop) == (False, None)
    assert (await needs(cloud, router["id"]))[router["id"]].gateway is None


async def test_a_gateway_without_an_address_leads_nowhere(cloud: Cloud) -> None:
    bare = await cloud.network(**{"router:external": True})
    router = await cloud.router(bare)
    assert (await model_of(cloud, router)).gateway is None
    assert (await needs(cloud))[router["id"]].needs_vxlan  # the host is chosen so that it can have one


async def test_an_interface_that_is_down_is_not_there(cloud: Cloud) -> None:
    router = await cloud.router()
    interface = await cloud.attach(router, await cloud.network("10.0.0.0/24"))
    await cloud.update("ports", interface["port_id"], admin_state_up=False)
    assert (await model_of(cloud, router)).ports == ()


async def test_a_floating_ip_is_with_the_router_that_carries_it(cloud: Cloud) -> None:
    outside = await cloud.external()
    routers, ports = [], []
    for number in range(2):
        inside = await cloud.network(f"10.{number}.0.0/24")
        routers.append(await cloud.router(outside))
        await cloud.attach(routers[number], inside)
        ports.append(await cloud.port(inside))
    floating_ip = await cloud.floating_ip(outside, ports[0])
    await cloud.update("floating_ips", floating_ip["id"], port_id=ports[1]["id"])
    assert (await model_of(cloud, routers[0])).floating_ips == ()
    (carried,) = (await model_of(cloud, routers[1])).floating_ips
    assert str(carried.fixed_address) == addresses(ports[1])[0]


async def test_only_what_is_asked_for_and_exists(cloud: Cloud) -> None:
    one, two = await cloud.router(), await cloud.router()
    assert set(await project(cloud, one["id"], "gone")) == {one["id"]}
    assert set(await project(cloud)) == {one["id"], two["id"]}
    assert await cloud.read(lambda session: projection.routers(session, [])) == {}


async def test_projecting_twice_gives_the_same(cloud: Cloud) -> None:
    router = await cloud.router(await cloud.external())
    for number in range(4):
        await cloud.attach(router, await cloud.network(f"10.{number}.0.0/24"))
    assert await model_of(cloud, router) == await model_of(cloud, router)


async def test_many_routers_are_read_in_batches(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "BATCH", 2)
    routers = [await cloud.router() for _ in range(5)]
    ids = {router["id"] for router in routers}
    assert set(await project(cloud, *ids)) == ids
    assert set(await needs(cloud, *ids)) == ids


async def test_many_routers_cost_as_many_queries_as_one(cloud: Cloud) -> None:
    outside = await cloud.external()

    async def tenant(number: int) -> None:
        inside = await cloud.network(f"10.{number}.0.0/24")
        router = await cloud.router(outside)
        await cloud.attach(router, inside)
        await cloud.floating_ip(outside, await cloud.port(inside))

    counts = []
    for number in range(5):
        await tenant(number)
        with counted() as statements:
            assert len(await project(cloud)) == number + 1
            assert len(await needs(cloud)) == number + 1
            await cloud.listed("routers")
            await cloud.listed("ports")
            await cloud.listed("networks")
            await cloud.listed("subnets")
            await cloud.listed("floating_ips")
        counts.append(len(statements))
    assert len(set(counts)) == 1, counts


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are sent to any database meanwhile."""
    statements: list[str] = []

    def count(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", count)
