"""What stands in for the rest of the controller in the API's tests: real objects that run, only smaller."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.api import validators as v
from gapless.controller.api.attributes import ABSENT, REQUIRED, STANDARD, Attribute, Resource
from gapless.controller.controls import ArbiterView, DrainView, HostView, PanelView
from gapless.controller.operations.pages import Page
from gapless.controller.store import thread
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import BindingRow, HostRow
from gapless.core.ledger.views import BrakeStatus, Prospect, RouterStatus
from gapless.core.planner.balance import Shift
from gapless.errors import Conflict, LostRace, NotFound
from gapless.model.host import HostName, Incarnation
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

HEARD_AT = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@dataclass
class FakeControls:
    """A planner without a plan: it knows its hosts, writes down what it is told, and objects as it is told to."""

    told: list[tuple[Any, ...]] = field(default_factory=list)
    hosts_known: dict[HostName, HostView] = field(default_factory=dict)
    routers_known: dict[RouterId, RouterStatus] = field(default_factory=dict)
    objecting: dict[HostName, str] = field(default_factory=dict)
    shifting: list[Shift] = field(default_factory=list)
    on: dict[HostName, str] = field(default_factory=dict)
    """Hosts that are not off, and why."""
    braking: BrakeStatus = field(default_factory=lambda: BrakeStatus(engaged=False, hosts=(), reason=""))

    def know(self, name: str, *, alive: bool = True, standing: str = "alive", routers: int = 0) -> None:
        host = HostName(name)
        self.hosts_known[host] = HostView(
            name=host,
            alive=alive,
            standing=standing,
            reason=f"{name} is {standing}",
            heard_at=HEARD_AT,
            routers=routers,
            takes_routers=standing == "alive",
            holds_lease=standing == "alive",
            arbiter=name == "host1",
            lost_ways={"external": 12.5} if name == "host1" else {},
        )

    def routers_changed(self, router_ids: Iterable[RouterId]) -> None:
        self.told.append(("routers_changed", tuple(router_ids)))

    def router_deleted(self, router_id: RouterId) -> None:
        self.told.append(("router_deleted", router_id))

    def host_admin_changed(self, host: HostName, admin_up: bool) -> None:
        self.told.append(("host_admin_changed", host, admin_up))

    def drain_paced(self, host: HostName, at_once: int) -> None:
        self.told.append(("drain_paced", host, at_once))

    def host_forgotten(self, host: HostName) -> None:
        self.told.append(("host_forgotten", host))

    def move_requested(self, router_id: RouterId, host: HostName | None) -> None:
        self.told.append(("move_requested", router_id, host))

    async def release_brake(self, hosts: frozenset[HostName] | None = None) -> None:
        self.told.append(("release_brake", hosts))
        self.braking = replace(self.braking, engaged=False)

    def objections_to_off(self, hosts: Collection[HostName]) -> Mapping[HostName, str]:
        return {name: why for name, why in self.on.items() if name in hosts}

    def bar(self, hosts: Collection[HostName]) -> Mapping[HostName, Incarnation]:
        self.told.append(("bar", tuple(hosts)))
        return dict.fromkeys(hosts, Incarnation(7))

    def hosts_confirmed_off(self, words: Mapping[HostName, Incarnation]) -> None:
        self.told.append(("hosts_confirmed_off", dict(words)))

    def panel(self) -> PanelView:
        arbiter = ArbiterView(
            name=HostName("host1"),
            panels=("present",),
            heard=True,
            confirmed_off=False,
            standing="alive",
            heard_at=HEARD_AT,
        )
        return PanelView(
            version=1,
            floor=1,
            level="single",
            arbiters=(arbiter,),
            holders=(HostName("host1"),),
            lost=False,
            reason="all arbiters are heard",
            confirm=(),
        )

    def hosts(self) -> Mapping[HostName, HostView]:
        return self.hosts_known

    def drain(self, host: HostName) -> DrainView | None:
        if (known := self.hosts_known.get(host)) is None:
            return None
        return DrainView(
            host=host,
            admin_state_up=known.standing == "alive",
            standing=known.standing,
            at_once=4,
            routers=known.routers,
            leaving=0,
            on_their_way=0,
            stuck={},
        )

    def prospects(self, host: HostName) -> Sequence[Prospect]:
        reason = "h2 has it built"
        known = self.routers_known.values()
        return [
            Prospect(router_id=each.router_id, kind="switchover", host=HostName("h2"), reason=reason)
            for each in known
            if each.host == host
        ]

    def shifts(self) -> Sequence[Shift]:
        return self.shifting

    def router(self, router_id: RouterId) -> RouterStatus | None:
        return self.routers_known.get(router_id)

    def routers(self) -> Mapping[RouterId, RouterStatus]:
        return self.routers_known

    def objections(self, router_id: RouterId) -> Mapping[HostName, str]:
        return {name: self.objecting.get(name, "") for name in self.hosts_known}

    def brake(self) -> BrakeStatus:
        return self.braking


@contextmanager
def commits_that_look_failed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is committed reaches the disk, and then an error is reported."""
    commit = thread.Connection.commit

    async def commit_and_fail(connection: thread.Connection) -> None:
        await commit(connection)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(thread.Connection, "commit", commit_and_fail)
        yield


async def add_host(store: Store, name: str, *, zone: str = "nova", admin_up: bool = True) -> str:
    """A host that connected once; returns its instance, which is its agent's id."""
    instance = str(uuid4())
    facts = {
        "name": name,
        "instance": instance,
        "availability_zone": zone,
        "capacity": 10,
        "physical_networks": ["external"],
        "data_address": "192.0.2.1",
        "version": "0.1.0",
    }
    async with store.transaction() as session:
        session.add(HostRow(name=name, instance=instance, incarnation=1, admin_state_up=admin_up, facts=facts))
    return instance


async def bind(store: Store, router_id: str, host: str, epoch: int = 1) -> None:
    """Bind a router to a host, as the planner's shell does."""
    async with store.transaction() as session:
        session.add(BindingRow(router_id=router_id, host=host, epoch=Epoch(epoch)))


THING = Resource(
    name="thing",
    collection="things",
    attributes={
        **STANDARD,
        "size": Attribute(check=v.integer(0, 9), post=True, put=True, default=ABSENT),
        "kind": Attribute(check=v.one_of("a", "b"), post=True, default=REQUIRED),
        "lit": Attribute(check=v.boolean, post=True, put=True, default=False),
        "flying": Attribute(check=v.only_false("a flying thing"), post=True, put=True, meant=False),
        "labels": Attribute(check=v.unique_texts(9), post=True, put=True, default=(), filters=False, sorts=False),
        "secret": Attribute(check=v.text(9), post=True, put=True, default="", visible=False, filters=False),
        "parts": Attribute(filters=False, sorts=False),
    },
)


class ThingNotFound(NotFound):
    neutron_type = "ThingNotFound"


class ThingInUse(Conflict):
    neutron_type = "ThingInUse"


@dataclass
class Things:
    """A resource that has no meaning, kept in a dict: what the generic handlers are tested with."""

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    races_to_lose: int = 0
    seen_filters: list[Mapping[str, Any]] = field(default_factory=list)

    async def create(self, session: AsyncSession, values: dict[str, Any]) -> dict[str, Any]:
        if self.races_to_lose:
            self.races_to_lose -= 1
            raise LostRace("another thing was first")
        if values["name"] == "bug":
            raise RuntimeError("the secret of the bug")
        id_ = str(uuid4())
        self.kept[id_] = {"id": id_, "tenant_id": values["project_id"], "parts": [], "size": 0, **values}
        session.info["routers_changed"].add(RouterId(id_))
        return self.kept[id_]

    async def update(self, session: AsyncSession, id_: str, values: dict[str, Any]) -> dict[str, Any]:
        thing = await self.get(session, id_)
        thing.update(values)
        return thing

    async def delete(self, session: AsyncSession, id_: str) -> None:
        if (await self.get(session, id_))["lit"]:
            raise ThingInUse(f"Thing {id_} is lit.")
        del self.kept[id_]
        session.info["routers_deleted"].add(RouterId(id_))

    async def get(self, session: AsyncSession, id_: str) -> dict[str, Any]:
        if id_ not in self.kept:
            raise ThingNotFound(f"Thing {id_} could not be found.")
        return self.kept[id_]

    async def list(self, session: AsyncSession, filters: Mapping[str, Any], page: Page | None = None) -> Any:
        self.seen_filters.append(filters)
        return list(self.kept.values())


async def make(api: AsyncClient, kind: str, /, **values: Any) -> dict[str, Any]:
    """One `kind` with these attributes, as the API answers."""
    answer = await api.post(f"/v2.0/{kind}s", json={kind: values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()[kind]
    return made
