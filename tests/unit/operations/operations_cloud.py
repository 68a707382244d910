"""A cloud to try operations on: a store in a real file, the real operations, whole transactions."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations.catalog import Catalog
from gapless.controller.store import thread
from gapless.controller.store.engine import Store, retry_conflicts
from gapless.controller.store.tables import BindingRow, HostRow, Table
from gapless.errors import GaplessError

T = TypeVar("T")
Json = dict[str, Any]
NOWHERE = "00000000-0000-4000-8000-000000000000"
"""A UUID that names nothing."""


@dataclass
class Cloud:
    """Runs one operation a transaction, as the API does, and remembers what it marked."""

    store: Store
    catalog: Catalog
    changed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    async def run(self, work: Callable[[AsyncSession], Coroutine[Any, Any, T]]) -> T:
        async def attempt() -> T:
            async with self.store.transaction() as session:
                result = await thread.run(session, work(session))
                self.changed, self.deleted = session.info["routers_changed"], session.info["routers_deleted"]
            return result

        return await retry_conflicts(attempt)

    async def read(self, work: Callable[[AsyncSession], Coroutine[Any, Any, T]]) -> T:
        async with self.store.reading() as session:
            return await thread.run(session, work(session))

    async def create(self, kind: str, **values: Any) -> Json:
        return await self.run(lambda session: getattr(self.catalog, kind).create(session, dict(values)))

    async def update(self, kind: str, id_: str, **values: Any) -> Json:
        return await self.run(lambda session: getattr(self.catalog, kind).update(session, id_, dict(values)))

    async def delete(self, kind: str, id_: str) -> None:
        await self.run(lambda session: getattr(self.catalog, kind).delete(session, id_))

    async def get(self, kind: str, id_: str) -> Json:
        return await self.read(lambda session: getattr(self.catalog, kind).get(session, id_))

    async def listed(self, kind: str, **filters: list[Any]) -> list[Json]:
        return await self.read(lambda session: getattr(self.catalog, kind).list(session, filters))

    async def act(self, action: str, router: Json, **body: Any) -> Json:
        return await self.run(lambda session: getattr(self.catalog.routers, action)(session, router["id"], body))

    # What most tests need

    async def network(self, *cidrs: str, **values: Any) -> Json:
        """A tenant network with a subnet for each of `cidrs`, shown with the subnets in `subnets`."""
        network = await self.create("networks", **{"name": "inside", **values})
        for cidr in cidrs:
            await self.subnet(network, cidr)
        return await self.get("networks", network["id"])

    async def external(self, *cidrs: str, physical_network: str = "outside") -> Json:
        return await self.network(
            *(cidrs or ("203.0.113.0/24",)),
            **{
                "router:external": True,
                "provider:network_type": "flat",
                "provider:physical_network": physical_network,
            },
        )

    async def subnet(self, network: Json, cidr: str, **values: Any) -> Json:
        return await self.create("subnets", network_id=network["id"], cidr=cidr, ip_version=4, **values)

    async def port(self, network: Json, *addresses: str, **values: Any) -> Json:
        if addresses:
            values["fixed_ips"] = [{"ip_address": address} for address in addresses]
        return await self.create("ports", network_id=network["id"], **values)

    async def router(self, external: Json | None = None, **values: Any) -> Json:
        if external is not None:
            values["external_gateway_info"] = {"network_id": external["id"]}
        return await self.create("routers", **values)

    async def attach(self, router: Json, network: Json) -> Json:
        """Add an interface on the network's first subnet."""
        return await self.act("add_interface", router, subnet_id=network["subnets"][0])

    async def floating_ip(self, external: Json, port: Json | None = None, **values: Any) -> Json:
        if port is not None:
            values["port_id"] = port["id"]
        return await self.create("floating_ips", floating_network_id=external["id"], **values)

    async def host(self, name: str, availability_zone: str = "nova") -> None:
        """A host, as if it had connected."""
        facts = {"name": name, "availability_zone": availability_zone}
        await self.run(lambda session: _add(session, HostRow(name=name, instance=name, incarnation=1, facts=facts)))

    async def bind(self, router: Json, host: str) -> None:
        """Bind a router, as if the planner had."""
        await self.run(lambda session: _add(session, BindingRow(router_id=router["id"], host=host, epoch=1)))

    async def refused(self, fault: type[GaplessError], match: str, attempt: Awaitable[Any]) -> None:
        """The attempt is refused with these words, and nothing of it is left."""
        before = await self.everything()
        with pytest.raises(fault, match=match):
            await attempt
        assert await self.everything() == before

    async def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table."""
        async with self.store.reading() as session:
            return {
                table.name: [tuple(row) for row in await session.execute(select(table))]
                for table in Table.metadata.sorted_tables
            }


async def _add(session: AsyncSession, row: Table) -> None:
    session.add(row)


def addresses(port: Json) -> list[str]:
    """The addresses of a port."""
    return [each["ip_address"] for each in port["fixed_ips"]]


def seeded() -> Random:
    """The same random numbers for every test."""
    return Random(7)
