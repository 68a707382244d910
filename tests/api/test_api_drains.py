"""Hosts out of service, by name: the same as their agents' `admin_state_up`."""

import pytest
from api_fakes import FakeControls, add_host, commits_that_look_failed
from httpx import AsyncClient

from gapless.controller.store import hostrows
from gapless.controller.store.engine import Store
from gapless.core.ledger.views import RouterStatus
from gapless.core.planner.balance import Shift
from gapless.model.host import HostName
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

URL = "/v2.0/gapless/hosts/host1/drain"


@pytest.fixture(autouse=True)
async def host1(store: Store, controls: FakeControls) -> str:
    """Its agent's id."""
    controls.know("host1", routers=3)
    return await add_host(store, "host1")


async def stored_pace(store: Store) -> int | None:
    async with store.reading() as session:
        return (await hostrows.hosts(session))[HostName("host1")].drains_at_once


async def is_up(api: AsyncClient, agent: str) -> bool:
    return bool((await api.get(f"/v2.0/agents/{agent}")).json()["agent"]["admin_state_up"])


async def test_a_drain_is_the_agent_taken_out_of_service(api: AsyncClient, controls: FakeControls, host1: str) -> None:
    answer = await api.put(URL, json={"drain": {"wanted": True, "at_once": 16}})
    assert answer.json() == {"drain": {"host": "host1", "wanted": True}}
    assert controls.told == [("drain_paced", "host1", 16), ("host_admin_changed", "host1", False)]
    assert not await is_up(api, host1)


async def test_what_was_stored_under_an_error_is_told_when_it_is_repeated(
    api: AsyncClient, controls: FakeControls, store: Store, host1: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"drain": {"wanted": True, "at_once": 16}}
    with commits_that_look_failed(monkeypatch):
        assert (await api.put(URL, json=body)).status_code == 503
    assert (await is_up(api, host1), await stored_pace(store), controls.told) == (False, 16, [])
    assert (await api.put(URL, json=body)).status_code == 200
    assert controls.told == [("drain_paced", "host1", 16), ("host_admin_changed", "host1", False)]


async def test_a_host_is_put_back(api: AsyncClient, controls: FakeControls, host1: str) -> None:
    for wanted in (True, False):
        await api.put(URL, json={"drain": {"wanted": wanted}})
    assert controls.told == [("host_admin_changed", "host1", False), ("host_admin_changed", "host1", True)]
    assert await is_up(api, host1)


async def test_the_pace_is_stored_and_stays_where_none_is_named(
    api: AsyncClient, controls: FakeControls, store: Store
) -> None:
    await api.put(URL, json={"drain": {"wanted": True, "at_once": 16}})
    controls.told.clear()
    is_out = ("host_admin_changed", "host1", False)
    await api.put(URL, json={"drain": {"wanted": True}})
    assert (await stored_pace(store), controls.told) == (16, [is_out])
    await api.put(URL, json={"drain": {"wanted": True, "at_once": 2}})
    assert (await stored_pace(store), controls.told[1:]) == (2, [("drain_paced", "host1", 2), is_out])


@pytest.mark.parametrize("by_neutron", [False, True])
async def test_a_host_that_is_put_back_has_no_pace_any_more(
    api: AsyncClient, controls: FakeControls, store: Store, host1: str, by_neutron: bool
) -> None:
    await api.put(URL, json={"drain": {"wanted": True, "at_once": 16}})
    controls.told.clear()
    if by_neutron:
        await api.put(f"/v2.0/agents/{host1}", json={"agent": {"admin_state_up": True}})
    else:
        await api.put(URL, json={"drain": {"wanted": False, "at_once": 16}})
    assert (await stored_pace(store), controls.told) == (None, [("host_admin_changed", "host1", True)])


async def test_how_far_it_is_and_where_routers_would_go(api: AsyncClient, controls: FakeControls) -> None:
    shown = (await api.get(URL)).json()["drain"]
    assert (shown["host"], shown["admin_state_up"], shown["routers"], shown["stuck"]) == ("host1", True, 3, {})
    view = RouterStatus(router_id=RouterId("r"), host=HostName("host1"), epoch=Epoch(1), state="active", reason="")
    controls.routers_known[view.router_id] = view
    assert (await api.get("/v2.0/gapless/hosts/host1/prospects")).json() == {
        "prospects": [
            {"router_id": "r", "kind": "switchover", "host": "h2", "reason": "h2 has it built", "copied": None}
        ]
    }


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_host_that_nobody_knows(api: AsyncClient, controls: FakeControls, method: str) -> None:
    body = None if method == "GET" else {"drain": {"wanted": True, "at_once": 4}}
    answer = await api.request(method, "/v2.0/gapless/hosts/host9/drain", json=body)
    assert answer.status_code == 404
    assert "there is no host host9" in answer.json()["NeutronError"]["message"]
    assert not controls.told


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        {},
        {"wanted": 1},
        {"wanted": True, "at_once": 0},
        {"wanted": True, "at_once": True},
        {"wanted": True, "at_once": 1001},
        {"wanted": True, "x": 1},
    ],
)
async def test_it_is_not_begun_by_mistake(api: AsyncClient, controls: FakeControls, asked: object) -> None:
    answer = await api.put(URL, json={"drain": asked})
    assert answer.status_code == 400
    assert not controls.told


class TestRebalance:
    URL = "/v2.0/gapless/rebalance"

    @pytest.fixture(autouse=True)
    def uneven(self, controls: FakeControls) -> None:
        controls.shifting = [
            Shift(router_id=RouterId(f"r{n}"), from_host=HostName("host1"), to_host=HostName("h2"), is_ready=True)
            for n in range(3)
        ]

    async def test_what_would_move_is_shown(self, api: AsyncClient, controls: FakeControls) -> None:
        shown = (await api.get(self.URL)).json()["rebalance"]
        assert shown[0] == {"router_id": "r0", "from_host": "host1", "to_host": "h2", "is_ready": True}
        assert (len(shown), controls.told) == (3, [])

    async def test_so_many_move_as_are_asked_for(self, api: AsyncClient, controls: FakeControls) -> None:
        begun = (await api.put(self.URL, json={"rebalance": {"most": 2}})).json()["rebalance"]
        assert [each["router_id"] for each in begun] == ["r0", "r1"]
        assert controls.told == [("move_requested", "r0", "h2"), ("move_requested", "r1", "h2")]

    @pytest.mark.parametrize("asked", [None, {}, {"most": 0}, {"most": True}, {"most": 1, "x": 2}, {"most": 1001}])
    async def test_it_is_not_begun_by_mistake(self, api: AsyncClient, controls: FakeControls, asked: object) -> None:
        assert (await api.put(self.URL, json={"rebalance": asked})).status_code == 400
        assert not controls.told
