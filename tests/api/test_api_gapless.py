"""The HTTP beside Neutron's: moves with their timelines, the planner's views, the brake."""

from datetime import timedelta

import pytest
from api_fakes import HEARD_AT, FakeControls
from httpx import AsyncClient, Response

from gapless.controller.store import hostrows
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import MoveRow, RouterRow
from gapless.core.ledger.views import BrakeStatus, RouterStatus, StandbyStatus
from gapless.model.host import HostName, Incarnation, InstanceId
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

ROUTER = "6f1ed002-ab59-42d6-a4a5-5bd4b3b1b1a1"
OTHER = "11111111-ab59-42d6-a4a5-5bd4b3b1b1a1"


def error_of(answer: Response) -> tuple[int, str, str]:
    error = answer.json()["NeutronError"]
    return answer.status_code, error["type"], error["message"]


def move(router_id: str, epoch: int, from_host: str | None, to_host: str) -> MoveRow:
    decided = HEARD_AT + timedelta(seconds=150 + epoch)
    return MoveRow(
        router_id=router_id,
        epoch=epoch,
        router_name="edge",
        from_host=from_host,
        to_host=to_host,
        kind="reschedule",
        cause="deadline-1",
        reason="its host went silent",
        last_heard_at=HEARD_AT,
        decided_at=decided,
        bound_at=decided + timedelta(milliseconds=5),
        confirmed_at=decided + timedelta(milliseconds=80),
    )


class TestFailovers:
    @pytest.fixture(autouse=True)
    async def moves(self, store: Store) -> None:
        async with store.transaction() as session:
            session.add_all([move(ROUTER, 1, None, "host1"), move(ROUTER, 2, "host1", "host2")])
            session.add(move(OTHER, 3, "host2", "host3"))

    @pytest.mark.parametrize(
        ("query", "epochs"),
        [
            ("", [3, 2, 1]),
            (f"router_id={ROUTER}", [2, 1]),
            ("host=host1", [2, 1]),
            ("host=host3", [3]),
            ("limit=1", [3]),
            (f"router_id={ROUTER}&host=host2&limit=5", [2]),
            ("host=nobody", []),
        ],
    )
    async def test_the_newest_come_first(self, api: AsyncClient, query: str, epochs: list[int]) -> None:
        found = (await api.get(f"/v2.0/gapless/failovers?{query}")).json()["failovers"]
        assert [each["epoch"] for each in found] == epochs

    async def test_a_move_tells_its_story(self, api: AsyncClient) -> None:
        told = (await api.get(f"/v2.0/gapless/failovers/{ROUTER}/2")).json()["failover"]
        assert (told["from_host"], told["to_host"], told["outcome"]) == ("host1", "host2", "confirmed")
        assert [step["step"] for step in told["timeline"]] == ["last_heard", "decided", "bound", "confirmed"]
        assert (told["timeline"][3]["after_ms"], told["timeline"][3]["since_ms"]) == (75.0, told["total_ms"])
        assert told["timeline"][0]["at"] == "2026-01-31T12:00:00Z"

    @pytest.mark.parametrize("path", [f"{ROUTER}/9", f"{OTHER}/x", f"{ROUTER}/{'9' * 40}", "nobody/1"])
    async def test_a_move_that_never_was(self, api: AsyncClient, path: str) -> None:
        answer = await api.get(f"/v2.0/gapless/failovers/{path}")
        assert error_of(answer)[:2] == (404, "HTTPNotFound")

    @pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=100000000000000000000", "limit=-1", "since=now"])
    async def test_refusals(self, api: AsyncClient, query: str) -> None:
        assert error_of(await api.get(f"/v2.0/gapless/failovers?{query}"))[:2] == (400, "HTTPBadRequest")


async def test_pages_by_status_go_on_where_the_last_one_ended(api: AsyncClient, controls: FakeControls) -> None:
    ids = [(await api.post("/v2.0/routers", json={"router": {}})).json()["router"]["id"] for _ in range(4)]
    for id_ in sorted(ids)[:2]:
        controls.routers_known[RouterId(id_)] = RouterStatus(
            router_id=RouterId(id_), host=HostName("host1"), epoch=Epoch(1), state="failed", reason=""
        )
    query = {"sort_key": "status", "sort_dir": "asc", "limit": "1"}
    seen: list[str] = []
    while page := (await api.get("/v2.0/routers", params=query)).json()["routers"]:
        seen.append(page[0]["id"])
        query["marker"] = page[0]["id"]
    assert seen == [*sorted(ids)[2:], *sorted(ids)[:2]]
    last = {"sort_key": "status", "sort_dir": "asc", "limit": "4", "status": "ACTIVE", "marker": sorted(ids)[0]}
    assert (await api.get("/v2.0/routers", params=last)).json()["routers"] == [], "ACTIVE comes before it"
    before = (await api.get("/v2.0/routers", params=last | {"page_reverse": "true"})).json()["routers"]
    assert [router["id"] for router in before] == sorted(ids)[2:]


@pytest.mark.parametrize("state", ["failed", "active", "building", "unplaced"])
async def test_a_router_that_its_host_could_not_build_is_an_error_to_neutron_too(
    api: AsyncClient, controls: FakeControls, state: str
) -> None:
    expected = "ERROR" if state == "failed" else "ACTIVE"
    router_id = (await api.post("/v2.0/routers", json={"router": {"name": "r"}})).json()["router"]["id"]
    view = RouterStatus(router_id=RouterId(router_id), host=HostName("host1"), epoch=Epoch(1), state=state, reason="")
    controls.routers_known[view.router_id] = view
    path = f"/v2.0/routers/{router_id}"
    assert (await api.get(path)).json()["router"]["status"] == expected
    assert (await api.put(path, json={"router": {"name": "s"}})).json()["router"]["status"] == expected
    answer = await api.put(f"{path}/add_extraroutes", json={"router": {"routes": []}})
    assert answer.json()["router"]["status"] == expected
    (found,) = (await api.get(f"/v2.0/routers?status={expected}")).json()["routers"]
    assert found["status"] == expected


async def test_what_the_planner_sees(api: AsyncClient, controls: FakeControls, store: Store) -> None:
    controls.know("host2")
    controls.know("host1", alive=False, standing="silent", routers=4)
    view = RouterStatus(
        router_id=RouterId(ROUTER),
        host=HostName("host2"),
        epoch=Epoch(2),
        state="building",
        reason="moved",
        standbys=(
            StandbyStatus(host=HostName("host1"), state="ready", copied=True),
            StandbyStatus(host=HostName("host3"), state="building"),
        ),
        health="degraded",
        ailment="it could not be repaired yet: no memory",
        damped_s=90.0,
    )
    controls.routers_known[view.router_id] = view
    async with store.transaction() as session:
        session.add(RouterRow(id=ROUTER, name="edge"))
    assert (await api.get("/v2.0/gapless/hosts")).json()["hosts"][0] == {
        "name": "host1",
        "alive": False,
        "standing": "silent",
        "reason": "host1 is silent",
        "heard_at": "2026-01-31T12:00:00Z",
        "routers": 4,
        "takes_routers": False,
        "holds_lease": False,
        "arbiter": True,
        "without_lease_s": None,
        "without_agent_s": None,
        "lost_ways": {"external": 12.5},
        "tracked_most": None,
    }
    assert (await api.get("/v2.0/gapless/routers")).json() == {
        "routers": [
            {
                "router_id": ROUTER,
                "name": "edge",
                "host": "host2",
                "epoch": 2,
                "state": "building",
                "reason": "moved",
                "standby": "host1",
                "standby_state": "ready",
                "standbys": [
                    {"host": "host1", "state": "ready", "copied": True},
                    {"host": "host3", "state": "building", "copied": None},
                ],
                "health": "degraded",
                "ailment": "it could not be repaired yet: no memory",
                "damped_s": 90.0,
            }
        ]
    }


class TestBrake:
    @pytest.fixture(autouse=True)
    def engaged(self, controls: FakeControls) -> None:
        controls.braking = BrakeStatus(engaged=True, hosts=(HostName("host1"),), reason="1 of 1 hosts look dead")

    async def test_it_is_seen_and_released(self, api: AsyncClient, controls: FakeControls) -> None:
        seen = (await api.get("/v2.0/gapless/brake")).json()
        assert seen == {"brake": {"engaged": True, "hosts": ["host1"], "reason": "1 of 1 hosts look dead"}}
        answer = await api.put("/v2.0/gapless/brake", json={"brake": {"engaged": False}})
        assert (answer.status_code, answer.json()["brake"]["engaged"]) == (200, False)
        assert controls.told == [("release_brake", None)]

    async def test_it_is_released_for_those_that_were_seen(self, api: AsyncClient, controls: FakeControls) -> None:
        answer = await api.put("/v2.0/gapless/brake", json={"brake": {"engaged": False, "hosts": ["host1", "host2"]}})
        assert answer.status_code == 200
        assert controls.told == [("release_brake", frozenset({"host1", "host2"}))]

    async def test_it_is_not_released_for_a_host_that_was_not_seen(
        self, api: AsyncClient, controls: FakeControls
    ) -> None:
        answer = await api.put("/v2.0/gapless/brake", json={"brake": {"engaged": False, "hosts": ["host2"]}})
        assert error_of(answer)[:2] == (409, "HTTPConflict")
        assert error_of(answer)[2].startswith("by now also these look dead: host1")
        assert not controls.told

    @pytest.mark.parametrize(
        "body",
        [None, [], {"brake": None}, {"brake": {"engaged": True}}, {"brake": {"engaged": 0}}, {"brake": {"x": 1}}]
        + [{"brake": {"engaged": False, "hosts": wrong}} for wrong in (None, "host1", [1])],
    )
    async def test_it_is_not_released_by_mistake(self, api: AsyncClient, controls: FakeControls, body: object) -> None:
        answer = await api.put("/v2.0/gapless/brake", json=body)
        assert error_of(answer)[:2] == (400, "HTTPBadRequest")
        assert not controls.told


class TestConfirmOff:
    URL = "/v2.0/gapless/confirm-off"

    @pytest.fixture(autouse=True)
    async def names(self, store: Store) -> None:
        async with store.transaction() as session:
            await hostrows.save_names(session, {HostName("host1"): self.record(3), HostName("host2"): self.record(9)})

    def record(self, started: int) -> hostrows.NameRecord:
        at = Incarnation(started)
        return hostrows.NameRecord(instance=InstanceId(ROUTER), started=at, highest=at, outlived=Incarnation(0))

    async def confirmed(self, store: Store) -> dict[str, bool]:
        async with store.reading() as session:
            return {name: record.is_off for name, record in (await hostrows.names(session)).items()}

    async def test_it_is_stored_between_the_bar_and_the_word(
        self, api: AsyncClient, controls: FakeControls, store: Store
    ) -> None:
        answer = await api.put(self.URL, json={"confirm_off": {"hosts": ["host1", "host1"]}})
        assert answer.json() == {"confirm_off": {"hosts": ["host1"], "dry_run": False}}
        assert controls.told == [("bar", ("host1",)), ("hosts_confirmed_off", {"host1": 7})]
        assert await self.confirmed(store) == {"host1": True, "host2": False}

    async def test_a_dry_run_does_nothing(self, api: AsyncClient, controls: FakeControls, store: Store) -> None:
        answer = await api.put(self.URL, json={"confirm_off": {"hosts": ["host1"], "dry_run": True}})
        assert answer.json() == {"confirm_off": {"hosts": ["host1"], "dry_run": True}}
        assert (controls.told, await self.confirmed(store)) == ([], {"host1": False, "host2": False})

    async def test_of_several_it_is_taken_for_all_or_none(
        self, api: AsyncClient, controls: FakeControls, store: Store
    ) -> None:
        controls.on = {HostName("host2"): "host2 was heard 3 s ago"}
        answer = await api.put(self.URL, json={"confirm_off": {"hosts": ["host1", "host2"]}})
        assert error_of(answer) == (409, "HTTPConflict", "host2: host2 was heard 3 s ago")
        assert (controls.told, await self.confirmed(store)) == ([], {"host1": False, "host2": False})

    async def test_a_name_that_no_host_ever_had_is_not_found(self, api: AsyncClient, store: Store) -> None:
        answer = await api.put(self.URL, json={"confirm_off": {"hosts": ["host1", "nobody"]}})
        assert error_of(answer) == (404, "HTTPNotFound", "no host nobody ever connected")
        assert await self.confirmed(store) == {"host1": False, "host2": False}

    @pytest.mark.parametrize(
        "word",
        [None, [], {}, {"hosts": []}, {"hosts": "host1"}, {"hosts": [1]}, {"hosts": ["host1"], "dry_run": 1}],
    )
    async def test_it_is_not_said_by_mistake(self, api: AsyncClient, controls: FakeControls, word: object) -> None:
        answer = await api.put(self.URL, json={"confirm_off": word})
        assert error_of(answer)[:2] == (400, "HTTPBadRequest")
        assert not controls.told

    async def test_arbiters_are_shown(self, api: AsyncClient) -> None:
        shown = (await api.get("/v2.0/gapless/arbiters")).json()["arbiters"]
        assert (shown["level"], shown["lost"], shown["holders"]) == ("single", False, ["host1"])
        assert [each["name"] for each in shown["arbiters"]] == ["host1"]
