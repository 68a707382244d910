"""Many requests at once for what there is once: each is answered, and what is left is consistent."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from operations_cloud import Cloud, addresses, seeded
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.config import ServerSettings
from gapless.controller.operations import faults
from gapless.controller.operations.catalog import Catalog
from gapless.controller.operations.ipam import Ipam
from gapless.controller.operations.ports import Ports
from gapless.controller.store import sqlite
from gapless.controller.store.engine import Store
from gapless.core.addressing import Span
from gapless.errors import GaplessError, LostRace

Json = dict[str, Any]


@pytest.fixture
async def clouds(
    tmp_path: Path, empty_database: Path, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Cloud]]:
    """Two stores on one file, as of two processes: their transactions do not queue behind one lock in Python."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 60)  # a slow machine is no reason to give up
    shutil.copy(empty_database, tmp_path / "shared.db")
    stores = [await Store.open(f"sqlite:///{tmp_path}/shared.db") for _ in range(2)]
    yield [Cloud(store=store, catalog=Catalog.of(settings, seeded())) for store in stores]
    for store in stores:
        await store.close()


async def at_once(attempts: Iterable[Awaitable[Json]]) -> tuple[list[Json], list[GaplessError]]:
    """Run all of them together; what they answered and how they were refused."""
    async with asyncio.timeout(120):
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, GaplessError)]
    answered = [each for each in outcomes if isinstance(each, dict)]
    assert len(refused) + len(answered) == len(outcomes), outcomes
    return answered, refused


async def test_many_ports_at_once_have_many_addresses(clouds: list[Cloud]) -> None:
    network = await clouds[0].network("10.0.0.0/24")
    ports, refused = await at_once(clouds[number % 2].port(network) for number in range(40))
    assert refused == []
    assert len({addresses(port)[0] for port in ports}) == 40
    assert len({port["mac_address"] for port in ports}) == 40


async def test_one_of_many_gets_the_address_that_all_name(clouds: list[Cloud]) -> None:
    network = await clouds[0].network("10.0.0.0/24")
    ports, refused = await at_once(clouds[number % 2].port(network, "10.0.0.7") for number in range(12))
    assert [addresses(port) for port in ports] == [["10.0.0.7"]]
    assert {type(each) for each in refused} == {faults.IpAddressAlreadyAllocated}
    assert len(await clouds[0].listed("ports")) == 1


async def test_one_of_many_gets_the_last_address(clouds: list[Cloud]) -> None:
    network = await clouds[0].network("10.0.0.0/30")
    ports, refused = await at_once(clouds[number % 2].port(network) for number in range(12))
    assert [addresses(port) for port in ports] == [["10.0.0.2"]]
    assert {type(each) for each in refused} == {faults.IpAddressGenerationFailure}


async def test_one_of_many_gets_a_vni_and_a_physical_network(clouds: list[Cloud]) -> None:
    vni = {"provider:network_type": "vxlan", "provider:segmentation_id": 4711}
    networks, refused = await at_once(clouds[number % 2].create("networks", **vni) for number in range(8))
    assert len(networks) == 1
    assert {type(each) for each in refused} == {faults.TunnelIdInUse}
    flat = {"provider:network_type": "flat", "provider:physical_network": "outside"}
    networks, refused = await at_once(clouds[number % 2].create("networks", **flat) for number in range(8))
    assert len(networks) == 1
    assert {type(each) for each in refused} == {faults.FlatNetworkInUse}


async def test_many_networks_at_once_have_many_vnis(clouds: list[Cloud]) -> None:
    networks, refused = await at_once(clouds[number % 2].create("networks") for number in range(20))
    assert refused == []
    assert len({network["provider:segmentation_id"] for network in networks}) == 20


async def test_one_of_many_overlapping_subnets_is_made(clouds: list[Cloud]) -> None:
    network = await clouds[0].network()
    cidrs = ["10.0.0.0/24", "10.0.0.0/25", "10.0.0.0/16", "10.0.0.128/25"] * 2
    subnets, refused = await at_once(clouds[at % 2].subnet(network, cidr) for at, cidr in enumerate(cidrs))
    assert len(refused) == len(cidrs) - len(subnets)
    assert {type(each) for each in refused} == {faults.InvalidInput}
    made = {subnet["cidr"] for subnet in subnets}
    assert len(made) == 1 or made == {"10.0.0.0/25", "10.0.0.128/25"}


async def test_one_of_two_routers_gets_the_subnet_s_gateway_address(clouds: list[Cloud]) -> None:
    inside = await clouds[0].network("10.0.0.0/24")
    routers = [await clouds[0].router() for _ in range(8)]
    answers, refused = await at_once(clouds[at % 2].attach(router, inside) for at, router in enumerate(routers))
    assert len(answers) == 1
    assert {type(each) for each in refused} == {faults.IpAddressAlreadyAllocated}
    assert len(await clouds[0].listed("ports")) == 1


async def test_one_of_many_overlapping_subnets_gets_onto_a_router(clouds: list[Cloud]) -> None:
    router = await clouds[0].router()
    networks = [await clouds[0].network("10.0.0.0/24") for _ in range(6)]
    answers, refused = await at_once(clouds[at % 2].attach(router, network) for at, network in enumerate(networks))
    assert len(answers) == 1
    assert {type(each) for each in refused} == {faults.BadRequest}
    assert len(await clouds[0].listed("ports")) == 1


async def test_one_of_many_floating_ips_gets_the_port(clouds: list[Cloud]) -> None:
    outside, inside = await clouds[0].external(), await clouds[0].network("10.0.0.0/24")
    await clouds[0].attach(await clouds[0].router(outside), inside)
    port = await clouds[0].port(inside)
    answers, refused = await at_once(clouds[number % 2].floating_ip(outside, port) for number in range(8))
    assert len(answers) == 1
    assert {type(each) for each in refused} == {faults.FloatingIPPortAlreadyAssociated}
    assert len(await clouds[0].listed("floating_ips")) == 1


async def test_a_port_goes_to_one_of_many_routers(clouds: list[Cloud]) -> None:
    inside = await clouds[0].network("10.0.0.0/24")
    port = await clouds[0].port(inside)
    routers = [await clouds[0].router() for _ in range(6)]
    answers, refused = await at_once(
        clouds[at % 2].act("add_interface", router, port_id=port["id"]) for at, router in enumerate(routers)
    )
    assert len(answers) == 1
    assert {type(each) for each in refused} == {faults.PortInUse}


async def test_a_subnet_is_used_or_deleted_never_both(clouds: list[Cloud]) -> None:
    for _ in range(4):
        network = await clouds[0].network("10.0.0.0/24")
        await asyncio.gather(
            clouds[0].delete("subnets", network["subnets"][0]),
            clouds[1].port(network, fixed_ips=[{"subnet_id": network["subnets"][0]}]),
            return_exceptions=True,
        )
        has_subnet = bool((await clouds[0].get("networks", network["id"]))["subnets"])
        has_port = bool(await clouds[0].listed("ports", network_id=[network["id"]]))
        assert has_subnet == has_port


# A database that does not queue its writers, as PostgreSQL: what was read may be stale when it is acted upon


class Stale(Ipam):
    """Believes at first that nothing is used, as a transaction that began before the others ended."""

    __slots__ = ("lies",)

    def __init__(self, lies: int) -> None:
        super().__init__(seeded())
        object.__setattr__(self, "lies", lies)

    async def _used(self, session: AsyncSession, network_id: str, window: Span) -> set[int]:
        if self.lies > 0:
            object.__setattr__(self, "lies", self.lies - 1)
            return set()
        return await super()._used(session, network_id, window)


def create_port(cloud: Cloud, ipam: Ipam, network: Json) -> Callable[[], Awaitable[Json]]:
    ports = Ports(ipam)
    return lambda: cloud.run(lambda session: ports.create(session, {"network_id": network["id"]}))


async def test_what_was_read_too_early_is_read_again(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/30")
    await cloud.port(network, "10.0.0.2")
    ipam = Stale(lies=3)
    await cloud.refused(faults.IpAddressGenerationFailure, "No more IP addresses", create_port(cloud, ipam, network)())
    assert ipam.lies == 0  # three races were lost to the unique constraint before the truth was seen


async def test_races_that_are_never_won_end(cloud: Cloud) -> None:
    network = await cloud.network("10.0.0.0/30")
    await cloud.port(network, "10.0.0.2")
    await cloud.refused(
        LostRace, "another request was first: UNIQUE constraint", create_port(cloud, Stale(lies=1000), network)()
    )


def test_each_catalog_searches_from_other_places(settings: ServerSettings) -> None:
    """Or controllers would race for every address."""
    starts = {Catalog.of(settings).ports.ipam.random.getrandbits(64) for _ in range(8)}
    assert len(starts) == 8
