"""Networks: segments, MTU, sharing, and what stands in the way of changing and deleting them."""

import dataclasses
import re

import pytest
from operations_cloud import NOWHERE, Cloud, seeded

from gapless.config import ServerSettings
from gapless.controller.operations import faults
from gapless.controller.operations.catalog import Catalog


async def test_a_network_is_carried_by_vxlan_unless_said_otherwise(cloud: Cloud) -> None:
    network = await cloud.create("networks", name="inside", project_id="p1", description="for machines")
    assert 1 <= network["provider:segmentation_id"] <= 16_777_215
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", network["created_at"])
    assert network["created_at"] == network["updated_at"]
    assert network | {"id": "", "provider:segmentation_id": 0, "created_at": "", "updated_at": ""} == {
        "id": "",
        "name": "inside",
        "description": "for machines",
        "project_id": "p1",
        "tenant_id": "p1",
        "tags": [],
        "created_at": "",
        "updated_at": "",
        "revision_number": 1,
        "status": "ACTIVE",
        "admin_state_up": True,
        "shared": False,
        "router:external": False,
        "is_default": False,
        "mtu": 1450,
        "provider:network_type": "vxlan",
        "provider:physical_network": None,
        "provider:segmentation_id": 0,
        "subnets": [],
        "availability_zone_hints": [],
        "availability_zones": [],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
    }
    assert await cloud.get("networks", network["id"]) == network
    assert await cloud.listed("networks") == [network]


async def test_a_flat_network_is_a_physical_network(cloud: Cloud) -> None:
    network = await cloud.external()
    assert network["router:external"] is True
    assert network["provider:network_type"] == "flat"
    assert network["provider:physical_network"] == "outside"
    assert network["provider:segmentation_id"] is None
    assert network["mtu"] == 1500


async def test_a_vni_can_be_chosen(cloud: Cloud) -> None:
    network = await cloud.create(
        "networks", **{"provider:network_type": "vxlan", "provider:segmentation_id": 4711, "mtu": 1400}
    )
    assert (network["provider:segmentation_id"], network["mtu"]) == (4711, 1400)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"provider:segmentation_id": 7}, "network_type required"),
        ({"provider:physical_network": "outside"}, "network_type required"),
        ({"provider:network_type": "vlan"}, "network_type value 'vlan' not supported"),
        ({"provider:network_type": "vxlan", "provider:physical_network": "a"}, "physical_network specified for vxlan"),
        ({"provider:network_type": "vxlan", "provider:segmentation_id": 0}, "must be between 1 and 16777215"),
        ({"provider:network_type": "vxlan", "provider:segmentation_id": 1 << 24}, "must be between 1 and 16777215"),
        ({"provider:network_type": "flat"}, "physical_network required for flat provider network"),
        (
            {"provider:network_type": "flat", "provider:physical_network": "a", "provider:segmentation_id": 1},
            "segmentation_id prohibited for flat provider network",
        ),
        ({"mtu": 1451}, "Requested MTU is too big, maximum is 1450"),
        (
            {"provider:network_type": "flat", "provider:physical_network": "a", "mtu": 1501},
            "Requested MTU is too big, maximum is 1500",
        ),
    ],
)
async def test_segments_that_cannot_be_are_refused(cloud: Cloud, values: dict[str, object], words: str) -> None:
    await cloud.refused(faults.InvalidInput, words, cloud.create("networks", **values))


async def test_a_vni_is_given_out_once(cloud: Cloud) -> None:
    taken = {"provider:network_type": "vxlan", "provider:segmentation_id": 4711}
    await cloud.create("networks", **taken)
    await cloud.refused(faults.TunnelIdInUse, "The tunnel ID 4711 is in use", cloud.create("networks", **taken))


async def test_a_physical_network_is_given_out_once(cloud: Cloud) -> None:
    await cloud.external()
    await cloud.refused(faults.FlatNetworkInUse, "Physical network outside is in use", cloud.external())


async def test_every_vni_of_the_range_is_given_out_and_no_other(store_of_few: Cloud) -> None:
    networks = [await store_of_few.create("networks") for _ in range(5)]
    assert sorted(network["provider:segmentation_id"] for network in networks) == [100, 101, 102, 103, 104]
    await store_of_few.refused(
        faults.NoNetworkAvailable, "No project network is available", store_of_few.create("networks")
    )
    await store_of_few.delete("networks", networks[2]["id"])
    again = await store_of_few.create("networks")
    assert again["provider:segmentation_id"] == networks[2]["provider:segmentation_id"]


@pytest.fixture
def store_of_few(cloud: Cloud, settings: ServerSettings) -> Cloud:
    few = dataclasses.replace(settings, vni_first=100, vni_last=104)
    return Cloud(store=cloud.store, catalog=Catalog.of(few, seeded()))


async def test_what_can_be_changed(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/24")
    changed = await cloud.update(
        "networks",
        network["id"],
        name="renamed",
        description="why",
        admin_state_up=False,
        shared=True,
        mtu=1400,
        **{"router:external": True},
    )
    assert changed["revision_number"] > network["revision_number"]
    expected = {"name": "renamed", "description": "why", "admin_state_up": False, "shared": True, "mtu": 1400}
    assert changed.items() >= expected.items()
    assert changed["router:external"] is True
    assert changed["subnets"] == network["subnets"]


async def test_nothing_changes_by_an_empty_update(cloud: Cloud) -> None:
    network = await cloud.network()
    assert await cloud.update("networks", network["id"]) == network


async def test_a_segment_is_for_life(cloud: Cloud) -> None:
    network = await cloud.network()
    vni = network["provider:segmentation_id"]
    await cloud.update("networks", network["id"], **{"provider:segmentation_id": vni})  # as it is: no change
    await cloud.refused(
        faults.InvalidInput,
        "does not support updating the following provider network attributes: provider:segmentation_id",
        cloud.update("networks", network["id"], **{"provider:segmentation_id": vni + 1}),
    )


async def test_the_mtu_is_bounded_by_the_segment_and_by_ipv4(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/24")
    await cloud.refused(faults.InvalidInput, "maximum is 1450", cloud.update("networks", network["id"], mtu=1451))
    await cloud.refused(
        faults.NetworkMTUSubnetConflict,
        "subnet requires a minimum of 68",
        cloud.update("networks", network["id"], mtu=67),
    )
    assert (await cloud.update("networks", network["id"], mtu=None))["mtu"] == 1450


async def test_changing_the_mtu_changes_every_router_on_the_network(cloud: Cloud) -> None:
    outside, inside, elsewhere = await cloud.external(), await cloud.network("10.0.0.0/24"), await cloud.network()
    gateway, interface, _ = await cloud.router(outside), await cloud.router(), await cloud.router()
    await cloud.attach(interface, inside)
    await cloud.update("networks", inside["id"], mtu=1400)
    assert cloud.changed == {interface["id"]}
    await cloud.update("networks", outside["id"], mtu=1400)
    assert cloud.changed == {gateway["id"]}
    await cloud.update("networks", elsewhere["id"], mtu=1400)
    assert cloud.changed == set()
    await cloud.update("networks", inside["id"], mtu=1400)  # as it is
    assert cloud.changed == set()


async def test_an_external_network_stays_so_while_gateways_are_on_it(cloud: Cloud) -> None:
    outside = await cloud.external()
    router = await cloud.router(outside)
    internal = {"router:external": False}
    await cloud.refused(
        faults.ExternalNetworkInUse,
        "cannot be updated to be made non-external, since it has existing gateway ports",
        cloud.update("networks", outside["id"], **internal),
    )
    await cloud.delete("routers", router["id"])
    assert (await cloud.update("networks", outside["id"], **internal))["router:external"] is False


@pytest.mark.parametrize("kind", ["ports", "subnets"])
async def test_a_network_that_others_use_stays_shared(cloud: Cloud, kind: str) -> None:
    network = await cloud.network(shared=True, project_id="p1")
    values = {"network_id": network["id"], "project_id": "p2"}
    await cloud.create(kind, **values, **({"cidr": "10.0.0.0/24"} if kind == "subnets" else {}))
    await cloud.refused(
        faults.InvalidSharedSetting,
        "Multiple projects are using it",
        cloud.update("networks", network["id"], shared=False),
    )


async def test_sharing_ends_when_nobody_else_uses_it(cloud: Cloud) -> None:
    network = await cloud.network(shared=True, project_id="p1")
    await cloud.port(network, project_id="p1")
    assert (await cloud.update("networks", network["id"], shared=False))["shared"] is False


async def test_a_network_goes_with_its_subnets(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/24", "10.0.1.0/24")
    await cloud.delete("networks", network["id"])
    assert await cloud.listed("networks") == []
    assert await cloud.listed("subnets") == []


async def test_a_network_in_use_is_not_deleted(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/24")
    port = await cloud.port(network)
    await cloud.refused(
        faults.NetworkInUse,
        f"id for these ports is: {port['id']}",
        cloud.delete("networks", network["id"]),
    )


async def test_a_network_with_a_router_on_it_is_not_deleted(cloud: Cloud) -> None:
    outside, inside = await cloud.external(), await cloud.network("10.0.0.0/24")
    await cloud.attach(await cloud.router(outside), inside)
    for network in (outside, inside):
        await cloud.refused(faults.NetworkInUse, "ports still in use", cloud.delete("networks", network["id"]))


async def test_the_clouds_own_ports_go_with_their_network(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/24")
    await cloud.port(network, device_owner="network:dhcp", device_id="dhcp-1")
    await cloud.delete("networks", network["id"])
    assert await cloud.listed("ports") == []


async def test_unused_floating_ips_go_with_their_network(cloud: Cloud) -> None:
    outside = await cloud.external()
    await cloud.floating_ip(outside)
    await cloud.delete("networks", outside["id"])
    assert await cloud.listed("floating_ips") == []
    assert await cloud.listed("ports") == []


async def test_what_does_not_exist_is_said_so(cloud: Cloud) -> None:
    words = f"Network {NOWHERE} could not be found."
    await cloud.refused(faults.NetworkNotFound, words, cloud.get("networks", NOWHERE))
    await cloud.refused(faults.NetworkNotFound, words, cloud.update("networks", NOWHERE, name="x"))
    await cloud.refused(faults.NetworkNotFound, words, cloud.delete("networks", NOWHERE))


async def test_lists_are_narrowed_by_simple_filters(cloud: Cloud) -> None:
    one, two = await cloud.network(name="one"), await cloud.network(name="two")
    await cloud.network(name="three")
    assert await cloud.listed("networks", name=["one"]) == [one]
    found = await cloud.listed("networks", name=["one", "two"], status=["DOWN"])  # what is no column is left to the API
    assert {network["id"] for network in found} == {one["id"], two["id"]}
    assert await cloud.listed("networks", id=[NOWHERE]) == []
