"""What operations ask of the store: the statements of each, which do not grow with what is there already."""

from collections.abc import Iterator
from contextlib import contextmanager

from operations_cloud import Cloud
from sqlalchemy import event
from sqlalchemy.engine import Engine

from gapless.controller.store import projection
from gapless.model.router import RouterId

MOST = {"network": 3, "subnet": 6, "router": 9, "interface": 14, "port": 11, "floating IP": 13}
"""BEGIN among them, COMMIT not."""


class Count:
    """How many statements there were."""

    statements = 0

    def one_more(self, *_: object) -> None:
        self.statements += 1


@contextmanager
def counted() -> Iterator[Count]:
    count = Count()
    event.listen(Engine, "before_cursor_execute", count.one_more)
    try:
        yield count
    finally:
        event.remove(Engine, "before_cursor_execute", count.one_more)


async def test_a_tenant_costs_few_statements_however_many_there_are(cloud: Cloud) -> None:
    external = await cloud.external("203.0.113.0/24")
    for _ in range(3):
        cost = {}
        with counted() as count:
            network = await cloud.create("networks", name="inside")
        cost["network"] = count.statements
        with counted() as count:
            subnet = await cloud.subnet(network, "10.0.0.0/24")
        cost["subnet"] = count.statements
        with counted() as count:
            router = await cloud.router(external)
        cost["router"] = count.statements
        with counted() as count:
            await cloud.act("add_interface", router, subnet_id=subnet["id"])
        cost["interface"] = count.statements
        with counted() as count:
            port = await cloud.port(network, fixed_ips=[{"subnet_id": subnet["id"]}] * 2)
        cost["port"] = count.statements
        with counted() as count:
            fixed_ip = port["fixed_ips"][0]["ip_address"]
            await cloud.floating_ip(external, port, fixed_ip_address=fixed_ip)
        cost["floating IP"] = count.statements
        assert {what: (cost[what], most) for what, most in MOST.items() if cost[what] > most} == {}


async def test_what_is_answered_at_once_is_what_is_read_afterwards(cloud: Cloud) -> None:
    """New resources are shown as they were made, without being read again."""
    external = await cloud.external("203.0.113.0/24")
    network = await cloud.network("10.0.0.0/24")
    pools = [{"start": "10.1.0.100", "end": "10.1.0.110"}, {"start": "10.1.0.2", "end": "10.1.0.9"}]
    subnet = await cloud.subnet(network, "10.1.0.0/24", allocation_pools=pools)
    assert subnet == await cloud.get("subnets", subnet["id"])
    assert [pool["start"] for pool in subnet["allocation_pools"]] == ["10.1.0.2", "10.1.0.100"]
    router = await cloud.router(external)
    assert router == await cloud.get("routers", router["id"])
    await cloud.attach(router, network)
    port = await cloud.port(network, "10.0.0.7", "10.0.0.8")
    assert port == await cloud.get("ports", port["id"])
    floating_ip = await cloud.floating_ip(external, port, fixed_ip_address="10.0.0.8")
    assert floating_ip == await cloud.get("floating_ips", floating_ip["id"])
    free = await cloud.floating_ip(external)
    assert free == await cloud.get("floating_ips", free["id"])


async def test_plans_cost_the_same_few_statements_for_one_router_and_for_many(cloud: Cloud) -> None:
    external = await cloud.external("203.0.113.0/24")
    routers = []
    for _ in range(12):
        network = await cloud.network("10.0.0.0/24")
        router = await cloud.router(external)
        await cloud.attach(router, network)
        await cloud.floating_ip(external, await cloud.port(network))
        routers.append(RouterId(router["id"]))
    for wanted in (routers[:1], routers):
        with counted() as count:
            assert len(await cloud.read(lambda session, ids=wanted: projection.routers(session, ids))) == len(wanted)
        assert count.statements <= 8  # BEGIN among them
        with counted() as count:
            assert len(await cloud.read(lambda session, ids=wanted: projection.needs(session, ids))) == len(wanted)
        assert count.statements <= 4
