"""Lists that the store cuts: the answer is what Python would choose from everything, and little is read for it."""

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import pytest
from api_fakes import FakeControls
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Result, event, literal_column, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session

from gapless.config import ServerSettings
from gapless.controller.api import faults, router_status
from gapless.controller.api.app import add_collection, create_app
from gapless.controller.api.attributes import FLOATING_IP, NETWORK, PORT, ROUTER, SUBNET, Resource
from gapless.controller.api.resources import Dress, Items, Operations, as_stored
from gapless.controller.api.transactions import Transactions
from gapless.controller.operations import views
from gapless.controller.operations.catalog import Catalog
from gapless.controller.operations.pages import Page
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import (
    AddressRow,
    BindingRow,
    FloatingIpRow,
    HostRow,
    NetworkRow,
    PortRow,
    RouteRow,
    RouterPortRow,
    RouterRow,
    SubnetRow,
)
from gapless.core.ledger.views import RouterStatus
from gapless.model.plan import Epoch
from gapless.observe.metrics import Metrics

ROWS = (NetworkRow, SubnetRow, PortRow, RouterRow, FloatingIpRow)
RESOURCES = (NETWORK, SUBNET, PORT, ROUTER, FLOATING_IP)
BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
NAMES = ("", "a", "A", "b", "é", "10", "9")
ODD = ("", "0", "60", "None", "True", "false", "99999999999999999999", "-1", "10.0.0.10", "2026-01-31T12:00:02Z")
"""To filter by: values that attributes have, and values that they cannot have."""


class Rows:
    """Rows of all kinds: few different values of each column, so that orders have ties, and some without any."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)

    def of(self, number: int) -> list[Any]:
        """The rows around the router of this number; what others refer to comes first."""
        outside, inside = (self._network(number * 2 + which, is_outside=not which) for which in (0, 1))
        subnets = [self._subnet(number * 2 + which, network) for which, network in ((0, outside), (1, inside))]
        router = RouterRow(
            **self._standard(number, 1),
            admin_state_up=self._either(),
            ha=self._either(),
            failover_mode=self.chance.choice(("standby", "reschedule", "off")),
        )
        gateway = self._port(number * 4, subnets[0], views.ROUTER_GATEWAY, router.id)
        interface = self._port(number * 4 + 1, subnets[1], views.ROUTER_INTERFACE, router.id)
        machine = self._port(number * 4 + 2, subnets[1], self.chance.choice(("", "compute:nova")), "")
        held = self._port(number * 4 + 3, subnets[0], views.FLOATING_IP, self._id(5, number))
        router.gateway_port, router.ports = gateway, [RouterPortRow(port=interface)]
        router.routes = [RouteRow(destination=IPv4Network("10.9.0.0/16"), nexthop=IPv4Address("10.0.0.9"))]
        if self._either():
            router.binding = BindingRow(host="h1", epoch=Epoch(1))
        floating_ip = FloatingIpRow(**self._standard(number, 5), network_id=outside.id, floating_port=held)
        if self._either():
            floating_ip.port, floating_ip.router = machine, router
            floating_ip.fixed_address = machine.addresses[0].address
        return [outside, inside, *subnets, gateway, interface, machine, held, router, floating_ip]

    def _network(self, number: int, *, is_outside: bool) -> NetworkRow:
        return NetworkRow(
            **self._standard(number, 2),
            admin_state_up=self._either(),
            shared=self._either(),
            external=is_outside,
            mtu=self.chance.choice((68, 1450, 900, 9000)),
            network_type="flat" if is_outside else "vxlan",
            physical_network=f"outside{number}" if is_outside else None,
            segmentation_id=None if is_outside else number,
        )

    def _subnet(self, number: int, network: NetworkRow) -> SubnetRow:
        return SubnetRow(
            **self._standard(number, 3),
            network=network,
            cidr=IPv4Network(f"10.{number % 16}.0.0/24"),
            gateway_ip=self.chance.choice((None, IPv4Address("10.0.0.10"), IPv4Address("10.0.0.9"))),
            enable_dhcp=self._either(),
        )

    def _port(self, number: int, subnet: SubnetRow, owner: str, device: str) -> PortRow:
        address = IPv4Address(int(subnet.cidr.network_address) + 9 + number % 4)
        return PortRow(
            **self._standard(number, 4),
            network=subnet.network,
            mac_address=f"fa:16:3e:00:{number // 256:02x}:{number % 256:02x}",
            admin_state_up=self._either(),
            device_id=device,
            device_owner=owner,
            binding_host=self.chance.choice(("", "m1")),
            addresses=[AddressRow(subnet=subnet, network_id=subnet.network.id, address=address)],
        )

    def _standard(self, number: int, kind: int) -> dict[str, Any]:
        times = [BEGAN + timedelta(seconds=self.chance.choice((0, 0.3, 0.999999, 1, 2.5, 90_000))) for _ in range(2)]
        return {
            "id": self._id(kind, number),
            "name": self.chance.choice(NAMES),
            "description": self.chance.choice(NAMES),
            "project_id": self.chance.choice(("", "p", "q")),
            "created_at": times[0],
            "updated_at": times[1],
        }

    def _either(self) -> bool:
        return self.chance.random() < 0.5

    def _id(self, kind: int, number: int) -> str:
        """Ids that do not rise with the rows."""
        return str(UUID(int=Random(f"{kind} {number}").getrandbits(128), version=4))


class Whole:
    """Operations of which lists are whole: the handlers choose from everything."""

    def __init__(self, operations: Operations) -> None:
        self.get, self.create, self.update, self.delete = (
            operations.get,
            operations.create,
            operations.update,
            operations.delete,
        )
        self._list = operations.list

    async def list(
        self, session: AsyncSession, filters: Mapping[str, Sequence[Any]], page: Page | None = None, /
    ) -> Items:
        del filters, page
        return await self._list(session, {})


@dataclass
class Lists:
    """A store with rows, and the API over it twice: as it is, and choosing from everything in Python."""

    runner: asyncio.Runner
    store: Store
    cut: httpx.AsyncClient
    whole: httpx.AsyncClient
    values: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By collection and attribute that can be filtered and sorted by: what is shown, as a caller would write it."""
    ids: dict[str, list[str]] = field(default_factory=dict)

    def get(self, client: httpx.AsyncClient, path: str) -> httpx.Response:
        return self.runner.run(client.get(path))

    def fill(self, rows: Rows, numbers: range) -> None:
        async def add() -> None:
            async with self.store.transaction() as session:
                for number in numbers:
                    session.add_all(rows.of(number))
                await session.flush()
                for row in ROWS:  # SQLAlchemy has said that each has its first revision.
                    await session.execute(update(row).values(revision_number=literal_column("1 + rowid % 11")))

        self.runner.run(add())
        for resource in RESOURCES:
            items = self.get(self.whole, f"/v2.0/{resource.collection}").json()[resource.collection]
            self.ids[resource.collection] = [item["id"] for item in items]
            self.values[resource.collection] = {
                key: sorted({str(item[key]) for item in items})
                for key, attribute in resource.attributes.items()
                if attribute.filters and attribute.sorts
            }


@contextmanager
def lists_at(path: Path, empty_database: Path, rows: Rows) -> Iterator[Lists]:
    """With the host that some routers are on, and no routers yet."""
    shutil.copy(empty_database, path)
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(f"sqlite:///{path}"))
        controls = Statuses(rows.chance)
        chosen = ServerSettings(state_dir=path.parent, api_names=("controller",))
        app = create_app(store=store, settings=chosen, controls=controls, metrics=Metrics())
        lists = Lists(runner=runner, store=store, cut=_client(app), whole=_client(_whole(store, chosen, controls)))
        runner.run(_add_host(store))
        yield lists
        runner.run(lists.cut.aclose())
        runner.run(lists.whole.aclose())
        runner.run(store.close())


class Statuses(FakeControls):
    """Some routers have failed: which, is the planner's to know, and not the store's."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._salt = chance.random()

    def router(self, router_id: Any) -> RouterStatus | None:
        state = Random(f"{self._salt} {router_id}").choice(("active", "failed", "waiting", None))
        if state is None:
            return None
        return RouterStatus(router_id=router_id, host=None, epoch=Epoch(1), state=state, reason="")


def _whole(store: Store, chosen: ServerSettings, controls: FakeControls) -> FastAPI:
    app = FastAPI(openapi_url=None)
    faults.install(app)
    catalog = Catalog.of(chosen)
    served: tuple[tuple[Resource, Operations, Dress], ...] = (
        (NETWORK, catalog.networks, as_stored),
        (SUBNET, catalog.subnets, as_stored),
        (PORT, catalog.ports, router_status.of_ports(controls)),
        (ROUTER, catalog.routers, router_status.of_routers(controls)),
        (FLOATING_IP, catalog.floating_ips, router_status.of_floating_ips(controls)),
    )
    for resource, operations, dress in served:
        add_collection(app, resource, Whole(operations), Transactions(store, controls), dress)
    return app


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://controller:9696")


async def _add_host(store: Store) -> None:
    async with store.transaction() as session:
        session.add(HostRow(name="h1", instance="i1", incarnation=1, facts={"availability_zone": "z1"}))


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Lists]:
    """Of eight routers and what is around them."""
    rows = Rows(seed=11)
    with lists_at(tmp_path_factory.mktemp("lists") / "gapless.db", empty_database, rows) as made:
        made.fill(rows, range(8))
        yield made


def drawn_query(data: st.DataObject, lists: Lists, resource: Resource) -> list[tuple[str, str]]:
    """Filters, an order and a page, none or several of each; more often by what is not the same for all items."""
    values, ids = lists.values[resource.collection], lists.ids[resource.collection]
    filters = []
    for key in data.draw(st.lists(st.sampled_from(sorted(values)), max_size=2, unique=True), "filters"):
        of_key = st.one_of(st.sampled_from(values[key]), st.sampled_from(values[key] + list(ODD)))
        filters += [(key, each) for each in data.draw(st.lists(of_key, min_size=1, max_size=4), key)]
    if data.draw(st.integers(0, 7), "since") == 0:
        filters.append(("changed_since", data.draw(st.sampled_from(values["updated_at"]))))
    if resource is PORT and data.draw(st.integers(0, 7), "fixed_ips") == 0:
        address = data.draw(st.sampled_from(("ip_address=10.1.0.9", "ip_address_substr=10.1", "subnet_id=nothing")))
        filters.append(("fixed_ips", address))
    order = _drawn_order(data, values)
    query = filters + [pair for key, way in order for pair in (("sort_key", key), ("sort_dir", way))]
    if data.draw(st.integers(0, 9), "paged"):
        query.append(("limit", data.draw(st.sampled_from(("1", "2", "3", "7", "1000")), "limit")))
    if data.draw(st.integers(0, 2), "marked"):
        query.append(("marker", data.draw(st.sampled_from([*ids, "nobody"]), "marker")))
    if data.draw(st.booleans(), "reverse"):
        query.append(("page_reverse", "True"))
    return query


def _drawn_order(data: st.DataObject, values: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    with_nothing = sorted(key for key in values if "None" in values[key] and len(values[key]) > 1)
    telling = sorted(key for key in values if len(values[key]) > 1)
    key = st.one_of(*(st.sampled_from(keys) for keys in (with_nothing, telling, sorted(values)) if keys))
    return data.draw(st.lists(st.tuples(key, st.sampled_from(("asc", "desc"))), max_size=3), "order")


@settings(max_examples=300, deadline=None)
@given(data=st.data(), resource=st.sampled_from(RESOURCES))
def test_what_the_store_cuts_is_what_python_would_choose_from_everything(
    lists: Lists, data: st.DataObject, resource: Resource
) -> None:
    query = drawn_query(data, lists, resource)
    path = f"/v2.0/{resource.collection}?{urlencode(query)}"
    cut, whole = lists.get(lists.cut, path), lists.get(lists.whole, path)
    assert cut.status_code == whole.status_code, cut.text
    if cut.status_code == 200 and not {"limit", "sort_key"} & dict(query).keys():  # In any order.
        ids = [sorted(item["id"] for item in each.json()[resource.collection]) for each in (cut, whole)]
        assert ids[0] == ids[1]
    else:
        assert cut.content == whole.content


@pytest.mark.parametrize(("is_marked", "times"), [(True, 70), (False, 2100)])
def test_a_key_that_is_repeated_sorts_once(lists: Lists, is_marked: bool, times: int) -> None:
    """Beside a marker, where conditions would be nested; and as often as fits into an address. At last the other way
    round, which changes nothing either.
    """
    once = [("limit", "3"), ("sort_key", "name"), ("sort_dir", "desc")]
    once += [("marker", min(lists.ids["ports"]))] if is_marked else []
    again = [("sort_key", "name"), ("sort_dir", "desc")] * times + [("sort_key", "name"), ("sort_dir", "asc")]
    first, second = (lists.get(lists.cut, f"/v2.0/ports?{urlencode(query)}") for query in (once, once + again))
    assert (second.status_code, second.json()["ports"]) == (200, first.json()["ports"])


class Reading:
    """What sessions have read: statements, and rows of their answers."""

    def __init__(self) -> None:
        self.statements = self.rows = 0

    def note(self, state: ORMExecuteState) -> Result[Any]:
        """Run a statement, and count the rows of its answer, which is then given on."""
        self.statements += 1
        answer = state.invoke_statement().freeze()
        self.rows += len(answer.data)
        return answer()


@contextmanager
def read() -> Iterator[Reading]:
    reading = Reading()
    event.listen(Session, "do_orm_execute", reading.note)
    try:
        yield reading
    finally:
        event.remove(Session, "do_orm_execute", reading.note)


PAGES = (
    "",
    "&sort_key=description&sort_dir=desc",
    "&sort_key=created_at&sort_dir=asc&sort_key=id&sort_dir=desc&page_reverse=True",
    "&project_id=p&project_id=q&revision_number=2&revision_number=7&revision_number=10&changed_since=2026-01-31T12:00:01Z",
)


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Lists]:
    with lists_at(tmp_path_factory.mktemp("growing") / "gapless.db", empty_database, Rows(seed=5)) as made:
        yield made


def test_what_is_read_for_a_page_does_not_grow_with_the_table(growing: Lists) -> None:
    """Each of ten items brings a few rows along, and so does the marker; that all come with few statements."""
    rows = Rows(seed=5)
    for numbers in (range(0, 120), range(120, 240)):
        growing.fill(rows, numbers)
        for resource in RESOURCES:
            ids = sorted(growing.ids[resource.collection])
            for page in (*PAGES, f"&marker={ids[len(ids) // 2]}"):
                path = f"/v2.0/{resource.collection}?limit=10{page}"
                with read() as reading:
                    items = growing.get(growing.cut, path).json()[resource.collection]
                assert len(items) == 10, path
                assert (reading.statements <= 12, reading.rows <= 6 * len(items)) == (True, True), path


def test_what_is_not_in_the_store_is_looked_for_in_everything(growing: Lists) -> None:
    """A status is the planner's to know: where it filters or sorts, the first rows of the table say nothing."""
    rows = Rows(seed=6)
    growing.fill(rows, range(240, 250))
    for wish in ("status=ERROR", "sort_key=status&sort_dir=desc", "fixed_ips=ip_address_substr=10.1"):
        collection = "ports" if wish.startswith("fixed_ips") else "routers"
        with read() as reading:
            answer = growing.get(growing.cut, f"/v2.0/{collection}?limit=3&{wish}")
        assert answer.content == growing.get(growing.whole, f"/v2.0/{collection}?limit=3&{wish}").content
        assert reading.rows > len(growing.ids["routers"]) // 4
