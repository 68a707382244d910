"""openstacksdk directly: what programs that are not the command-line client use."""

import asyncio
from collections.abc import Iterator

import openstack
import pytest
from openstack import exceptions
from openstack.connection import Connection

pytestmark = [  # the SDK warns of what it does itself
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning"),
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK60Warning"),
]


@pytest.fixture
def cloud(served: str) -> Iterator[Connection]:
    connection = openstack.connection.Connection(auth_type="none", endpoint=served)
    yield connection
    connection.close()


async def test_a_program_builds_and_removes_a_router(cloud: Connection) -> None:
    await asyncio.to_thread(_build_and_remove, cloud)


def _build_and_remove(cloud: Connection) -> None:
    network = cloud.network
    outside = network.create_network(
        name="public", is_router_external=True, provider_network_type="flat", provider_physical_network="external"
    )
    network.create_subnet(network_id=outside.id, ip_version=4, cidr="203.0.113.0/24", is_dhcp_enabled=False)
    inside = network.create_network(name="blue")
    subnet = network.create_subnet(network_id=inside.id, ip_version=4, cidr="10.0.0.0/24")
    router = network.create_router(name="edge", external_gateway_info={"network_id": outside.id})
    network.add_interface_to_router(router, subnet=subnet.id)
    ports = [network.create_port(network_id=inside.id, name=f"vm{number}") for number in range(5)]
    address = network.create_ip(floating_network_id=outside.id, port_id=ports[0].id)
    assert address.router_id == router.id

    assert [each.name for each in network.ports(network_id=inside.id, sort_key="name", sort_dir="desc", limit=2)][
        :5
    ] == [
        "vm4",
        "vm3",
        "vm2",
        "vm1",
        "vm0",
    ]
    assert network.find_router("edge").id == router.id
    assert network.find_ip(address.floating_ip_address).id == address.id
    routes = [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}]
    updated = network.add_extra_routes_to_router(router, body={"router": {"routes": routes}})
    assert updated.routes == routes
    assert network.remove_extra_routes_from_router(router, body={"router": {"routes": routes}}).routes == []
    assert network.update_network(inside, name="azure").name == "azure"
    with pytest.raises(exceptions.ConflictException, match="in use"):
        network.delete_network(inside, ignore_missing=False)
    with pytest.raises(exceptions.BadRequestException, match="revision numbers"):
        network.update_network(inside, if_revision=1, name="navy")

    network.delete_ip(address)
    network.remove_interface_from_router(router, subnet=subnet.id)
    for each in (*ports, *network.ports(network_id=inside.id)):
        network.delete_port(each)
    network.delete_router(router)
    with pytest.raises(exceptions.BadRequestException, match="revision numbers"):
        network.delete_network(inside, if_revision=1)
    network.delete_network(inside.id)  # the object remembers the revision that it was asked for
    network.delete_network(outside)
    assert not [*network.ports(), *network.routers(), *network.networks(), *network.subnets(), *network.ips()]


async def test_many_ports_are_made_at_once(cloud: Connection) -> None:
    def make() -> list[str]:
        network = cloud.network.create_network(name="blue")
        cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.0.0.0/24")
        made = cloud.network.create_ports([{"network_id": network.id, "name": f"vm{number}"} for number in range(20)])
        return [port.fixed_ips[0]["ip_address"] for port in made]

    addresses = await asyncio.to_thread(make)
    assert len(set(addresses)) == 20
