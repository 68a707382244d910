"""Hosts as L3 agents; and the scheduler, by which an operator moves routers."""

from typing import Any

import pytest
from api_fakes import FakeControls, add_host, bind, commits_that_look_failed
from httpx import AsyncClient, Response
from sqlalchemy import update

from gapless.controller.store.engine import Store
from gapless.controller.store.tables import BindingRow
from gapless.core.ledger.views import RouterStatus
from gapless.model.host import HostName
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

NOBODY = "00000000-0000-0000-0000-000000000000"
JSON = {"Content-Type": "application/json"}


def error_of(answer: Response) -> tuple[int, str, str]:
    error = answer.json()["NeutronError"]
    return answer.status_code, error["type"], error["message"]


async def make_router(api: AsyncClient, name: str = "edge") -> str:
    router_id: str = (await api.post("/v2.0/routers", json={"router": {"name": name}})).json()["router"]["id"]
    return router_id


async def stand_by(store: Store, router_id: str, *hosts: str) -> None:
    """Let these hosts stand by for a router, by rank."""
    ranked = [{"host": name, "incarnation": 1, "epoch": epoch} for epoch, name in enumerate(hosts, start=2)]
    async with store.transaction() as session:
        change = update(BindingRow).where(BindingRow.router_id == router_id)
        await session.execute(change.values(incarnation=1, successors=ranked))


@pytest.fixture
async def host1(store: Store, controls: FakeControls) -> str:
    controls.know("host1")
    return await add_host(store, "host1")


@pytest.fixture
async def host2(store: Store, controls: FakeControls) -> str:
    controls.know("host2")
    return await add_host(store, "host2", zone="east")


@pytest.fixture
async def host3(store: Store, controls: FakeControls) -> str:
    controls.know("host3")
    return await add_host(store, "host3")


class TestAgents:
    async def test_a_host_is_an_l3_agent(self, api: AsyncClient, store: Store, host1: str) -> None:
        await bind(store, await make_router(api), "host1")
        agent = (await api.get(f"/v2.0/agents/{host1}")).json()["agent"]
        assert agent["id"] == host1
        assert (agent["agent_type"], agent["host"], agent["alive"]) == ("L3 agent", "host1", True)
        assert agent["heartbeat_timestamp"].count(":") == 2
        assert "tenant_id" not in agent
        said = agent["configurations"]
        assert (said["routers"], said["standing"], said["reason"]) == (1, "alive", "host1 is alive")

    async def test_a_host_that_the_planner_does_not_know_is_not_alive(self, api: AsyncClient, store: Store) -> None:
        agent = await add_host(store, "stranger")
        shown = (await api.get(f"/v2.0/agents/{agent}")).json()["agent"]
        assert (shown["alive"], shown["configurations"]["standing"]) == (False, "unknown")

    @pytest.mark.parametrize(
        ("query", "hosts"),
        [
            ("", ["host1", "host2"]),
            ("agent_type=L3 agent", ["host1", "host2"]),
            ("agent_type=DHCP agent", []),
            ("host=host2", ["host2"]),
            ("alive=True", ["host1"]),
            ("alive=false", ["host2"]),
            ("availability_zone=east", ["host2"]),
            ("admin_state_up=False", []),
            ("sort_key=host&sort_dir=desc&limit=1", ["host2"]),
        ],
    )
    async def test_agents_are_listed_by_filters(
        self, api: AsyncClient, controls: FakeControls, host1: str, host2: str, query: str, hosts: list[str]
    ) -> None:
        controls.know("host2", alive=False, standing="silent")
        agents = (await api.get(f"/v2.0/agents?{query}")).json()["agents"]
        assert [agent["host"] for agent in agents] == hosts

    async def test_taking_a_host_out_of_service_and_back(
        self, api: AsyncClient, controls: FakeControls, host1: str
    ) -> None:
        path = f"/v2.0/agents/{host1}"
        for admin_up in (False, True):
            answer = await api.put(path, json={"agent": {"admin_state_up": admin_up, "description": "fan"}})
            assert answer.json()["agent"]["admin_state_up"] is admin_up
        assert (await api.get(path)).json()["agent"]["description"] == "fan"
        assert (await api.put(path, json={"agent": {"description": None}})).json()["agent"]["description"] is None
        assert controls.told == [("host_admin_changed", "host1", False), ("host_admin_changed", "host1", True)]

    async def test_a_host_whose_service_was_stored_under_an_error_is_told_of_when_that_is_repeated(
        self, api: AsyncClient, controls: FakeControls, host1: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, body = f"/v2.0/agents/{host1}", {"agent": {"admin_state_up": False}}
        with commits_that_look_failed(monkeypatch):
            assert (await api.put(path, json=body)).status_code == 503
        assert (await api.get(path)).json()["agent"]["admin_state_up"] is False, "it is stored"
        assert not controls.told
        assert (await api.put(path, json=body)).status_code == 200
        assert controls.told == [("host_admin_changed", "host1", False)]

    async def test_what_an_agent_says_of_itself_cannot_be_set(self, api: AsyncClient, host1: str) -> None:
        answer = await api.put(f"/v2.0/agents/{host1}", json={"agent": {"host": "other"}})
        assert error_of(answer) == (400, "HTTPBadRequest", "Cannot update read-only attribute host")
        answer = await api.post("/v2.0/agents", json={"agent": {}})
        assert error_of(answer) == (400, "BadRequest", "Bad agents request: Agent creation using API is not supported.")

    async def test_only_a_host_that_is_down_and_empty_is_deleted(
        self, api: AsyncClient, store: Store, controls: FakeControls, host1: str
    ) -> None:
        path = f"/v2.0/agents/{host1}"
        router_id = await make_router(api)
        await bind(store, router_id, "host1")
        controls.told.clear()

        status, type_, message = error_of(await api.delete(path))
        assert (status, type_) == (409, "InUse")
        assert "host1 is alive" in message
        controls.know("host1", alive=False, standing="dead")
        status, _, message = error_of(await api.delete(path))
        assert status == 409
        assert "1 router(s) are still bound to host host1" in message
        assert not controls.told

        await api.delete(f"/v2.0/routers/{router_id}")
        assert (await api.delete(path)).status_code == 204
        assert error_of(await api.get(path)) == (404, "AgentNotFound", f"Agent {host1} could not be found.")
        assert controls.told == [("router_deleted", router_id), ("host_forgotten", "host1")]

    async def test_zones_are_where_hosts_stand(self, api: AsyncClient, host1: str, host2: str) -> None:
        await api.put(f"/v2.0/agents/{host2}", json={"agent": {"admin_state_up": False}})
        zones = (await api.get("/v2.0/availability_zones")).json()["availability_zones"]
        assert zones == [
            {"name": "east", "resource": "router", "state": "unavailable"},
            {"name": "nova", "resource": "router", "state": "available"},
        ]
        usable = (await api.get("/v2.0/availability_zones?state=available&fields=name")).json()
        assert usable == {"availability_zones": [{"name": "nova"}]}

    async def test_zones_come_in_pages(self, api: AsyncClient, host1: str, host2: str) -> None:
        first = (await api.get("/v2.0/availability_zones?limit=1")).json()
        assert [each["name"] for each in first["availability_zones"]] == ["east"]
        second = (await api.get(first["availability_zones_links"][0]["href"])).json()
        assert [each["name"] for each in second["availability_zones"]] == ["nova"]
        assert (await api.get(second["availability_zones_links"][1]["href"])).json()["availability_zones"] == first[
            "availability_zones"
        ]
        said = "AvailabilityZone west could not be found."
        answer = await api.get("/v2.0/availability_zones?limit=1&marker=west")
        assert error_of(answer) == (404, "AvailabilityZoneNotFound", said)


class TestScheduler:
    @pytest.fixture
    async def router(self, api: AsyncClient, store: Store, controls: FakeControls, host1: str) -> str:
        """On host1."""
        router_id = await make_router(api)
        await bind(store, router_id, "host1")
        controls.told.clear()
        return router_id

    async def add(self, api: AsyncClient, agent: str, router: Any) -> Response:
        return await api.post(f"/v2.0/agents/{agent}/l3-routers", json={"router_id": router})

    async def test_where_a_router_is_and_what_an_agent_carries(
        self, api: AsyncClient, host1: str, host2: str, router: str
    ) -> None:
        agents = (await api.get(f"/v2.0/routers/{router}/l3-agents")).json()["agents"]
        assert [(agent["host"], agent["ha_state"]) for agent in agents] == [("host1", None)]
        routers = (await api.get(f"/v2.0/agents/{host1}/l3-routers")).json()["routers"]
        assert [each["id"] for each in routers] == [router]
        assert (await api.get(f"/v2.0/agents/{host2}/l3-routers")).json() == {"routers": []}

    async def test_all_that_stand_by_are_named(
        self, api: AsyncClient, store: Store, host2: str, host3: str, router: str
    ) -> None:
        await stand_by(store, router, "host3", "host2")
        agents = (await api.get(f"/v2.0/routers/{router}/l3-agents")).json()["agents"]
        assert [(agent["host"], agent["ha_state"]) for agent in agents] == [
            ("host1", "active"),
            ("host2", "standby"),
            ("host3", "standby"),
        ]

    async def test_an_agent_lists_what_stands_by_there_too(
        self, api: AsyncClient, store: Store, host1: str, host2: str, host3: str, router: str
    ) -> None:
        await stand_by(store, router, "host3", "host2")
        await bind(store, other := await make_router(api, "other"), "host3")
        listed = {
            agent: {each["id"] for each in (await api.get(f"/v2.0/agents/{agent}/l3-routers")).json()["routers"]}
            for agent in (host1, host2, host3)
        }
        assert listed == {host1: {router}, host2: {router}, host3: {router, other}}

    @pytest.mark.parametrize("name", ["host", "HOST2", "host_", "incarnation"])
    async def test_a_name_within_another_is_no_standby(
        self, api: AsyncClient, store: Store, host2: str, router: str, name: str
    ) -> None:
        await stand_by(store, router, "host2")
        agent = await add_host(store, name)
        path = f"/v2.0/agents/{agent}/l3-routers"
        assert (await api.get(path)).json() == {"routers": []}
        await stand_by(store, router, "host2", name)
        assert [each["id"] for each in (await api.get(path)).json()["routers"]] == [router]

    async def test_an_agents_routers_have_the_status_that_the_list_of_routers_gives_them(
        self, api: AsyncClient, store: Store, controls: FakeControls, host1: str, host2: str, router: str
    ) -> None:
        await stand_by(store, router, "host2")
        controls.routers_known[RouterId(router)] = RouterStatus(
            router_id=RouterId(router), host=HostName("host1"), epoch=Epoch(1), state="failed", reason=""
        )
        for agent in (host1, host2):
            (shown,) = (await api.get(f"/v2.0/agents/{agent}/l3-routers")).json()["routers"]
            assert shown == (await api.get(f"/v2.0/routers/{router}")).json()["router"]
            assert shown["status"] == "ERROR"

    async def test_a_router_without_a_host_yet_has_no_agents(self, api: AsyncClient) -> None:
        path = f"/v2.0/routers/{await make_router(api)}/l3-agents"
        assert (await api.get(path)).json() == {"agents": []}

    async def test_adding_a_router_to_an_agent_moves_it(
        self, api: AsyncClient, controls: FakeControls, host2: str, router: str
    ) -> None:
        answer = await self.add(api, host2, router)
        assert (answer.status_code, answer.json()) == (201, None)
        assert controls.told == [("move_requested", router, "host2")]

    @pytest.mark.parametrize("admin_up", [True, False])
    async def test_adding_it_where_it_is_takes_back_what_was_asked_for_before(
        self, api: AsyncClient, controls: FakeControls, host1: str, host2: str, router: str, admin_up: bool
    ) -> None:
        await api.put(f"/v2.0/agents/{host1}", json={"agent": {"admin_state_up": admin_up}})
        await self.add(api, host2, router)
        controls.told.clear()
        assert (await self.add(api, host1, router)).status_code == 201
        assert controls.told == [("move_requested", router, "host1")]

    async def test_an_agent_out_of_service_takes_none(
        self, api: AsyncClient, controls: FakeControls, host2: str, router: str
    ) -> None:
        await api.put(f"/v2.0/agents/{host2}", json={"agent": {"admin_state_up": False}})
        controls.told.clear()
        message = f"Agent {host2} is not a L3 Agent or has been disabled"
        assert error_of(await self.add(api, host2, router)) == (404, "InvalidL3Agent", message)
        assert not controls.told

    async def test_an_agent_that_cannot_take_it_says_why(
        self, api: AsyncClient, controls: FakeControls, host2: str, router: str
    ) -> None:
        controls.objecting[HostName("host2")] = "is dead"
        message = f"Failed scheduling router {router} to the L3 Agent {host2}. Host host2 is dead."
        assert error_of(await self.add(api, host2, router)) == (409, "RouterSchedulingFailed", message)
        assert not controls.told

    async def test_removing_a_router_from_its_agent_moves_it_elsewhere(
        self, api: AsyncClient, controls: FakeControls, host1: str, host2: str, router: str
    ) -> None:
        controls.hosts_known.pop(HostName("host1"))  # the planner does not list the present host as a candidate
        answer = await api.delete(f"/v2.0/agents/{host1}/l3-routers/{router}")
        assert answer.status_code == 204
        assert controls.told == [("move_requested", router, None)]

    async def test_without_another_host_it_stays(
        self, api: AsyncClient, controls: FakeControls, host1: str, host2: str, router: str
    ) -> None:
        path = f"/v2.0/agents/{host1}/l3-routers/{router}"
        controls.hosts_known.pop(HostName("host1"))
        controls.objecting[HostName("host2")] = "is full (10 of 10)"
        message = (
            f"Failed rescheduling router {router}: no eligible l3 agent found. It stays on host1, since a router is "
            "never left without a host: host2 is full (10 of 10)."
        )
        assert error_of(await api.delete(path)) == (409, "RouterReschedulingFailed", message)
        controls.hosts_known.clear()
        assert error_of(await api.delete(path))[2].endswith(": there is no other host.")
        assert not controls.told

    async def test_an_agent_that_does_not_have_it_cannot_lose_it(
        self, api: AsyncClient, controls: FakeControls, host2: str, router: str
    ) -> None:
        answer = await api.delete(f"/v2.0/agents/{host2}/l3-routers/{router}")
        message = f"The router {router} is not hosted by the L3 Agent {host2}."
        assert error_of(answer) == (409, "RouterNotHostedByL3Agent", message)
        assert not controls.told

    async def test_a_standby_is_not_taken_away_by_hand(
        self, api: AsyncClient, store: Store, controls: FakeControls, host2: str, router: str
    ) -> None:
        await stand_by(store, router, "host2")
        message = (
            f"The router {router} stands by on the L3 Agent {host2}, and is active on host host1. Which hosts stand by "
            "is the planner's choice; to have none there, take the agent out of service (openstack network agent set "
            "--disable)."
        )
        answer = await api.delete(f"/v2.0/agents/{host2}/l3-routers/{router}")
        assert error_of(answer) == (409, "RouterNotHostedByL3Agent", message)
        assert not controls.told

    async def test_what_does_not_exist(self, api: AsyncClient, host1: str, router: str) -> None:
        assert error_of(await self.add(api, NOBODY, router))[1] == "AgentNotFound"
        assert error_of(await self.add(api, host1, NOBODY))[:2] == (404, "RouterNotFound")
        assert error_of(await api.delete(f"/v2.0/agents/{host1}/l3-routers/{NOBODY}"))[1] == "RouterNotFound"
        assert error_of(await api.delete(f"/v2.0/agents/{NOBODY}/l3-routers/{router}"))[1] == "AgentNotFound"
        assert error_of(await api.get(f"/v2.0/agents/{NOBODY}/l3-routers"))[1] == "AgentNotFound"
        assert error_of(await api.get(f"/v2.0/routers/{NOBODY}/l3-agents"))[1] == "RouterNotFound"

    async def test_malformed_requests(self, api: AsyncClient, host1: str) -> None:
        message = "Invalid input for router_id. Reason: '7' is not a valid UUID."
        assert error_of(await self.add(api, host1, 7)) == (400, "HTTPBadRequest", message)
        path = f"/v2.0/agents/{host1}/l3-routers"
        message = "Failed to parse request. Required attribute 'router_id' not specified"
        for body in (b"", b"[]", b'{"id": 1}'):
            assert error_of(await api.post(path, content=body, headers=JSON)) == (400, "HTTPBadRequest", message)
