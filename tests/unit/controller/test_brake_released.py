"""An operator releases the brake: what the API answers is what the planner has made of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from shell_fakes import PATIENCE_S, Bench, add_routers, router_id

from gapless.config import ServerSettings
from gapless.controller.api import gapless
from gapless.controller.api.app import create_app
from gapless.controller.store.engine import Store

RELEASE = {"brake": {"engaged": False, "hosts": ["h1", "h2"]}}


@pytest.fixture
async def bench(store: Store) -> Bench:
    """Both hosts that carry routers look dead; a third one does not."""
    bench = await Bench.open(store)
    for name in ("h1", "h2"):
        await bench.connect(name)
    bench.shell.pilot.routers_changed(await add_routers(store, "r", "s"))
    await bench.pass_time(2, "h1", "h2")
    await bench.connect("h3")
    await bench.pass_time(160, "h3")
    assert bench.shell.pilot.brake().hosts == ("h1", "h2")
    return bench


@pytest.fixture
async def api(bench: Bench, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    shell, settings = bench.shell, ServerSettings(state_dir=tmp_path)
    app = create_app(store=bench.store, settings=settings, controls=shell.pilot, metrics=shell.metrics)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost:9696/v2.0/gapless"
    ) as client:
        yield client


async def test_it_is_released_when_that_is_answered(bench: Bench, api: httpx.AsyncClient) -> None:
    asking = asyncio.create_task(api.put("/brake", json=RELEASE))
    await bench.shell.driver._inbox.wait(PATIENCE_S)  # The planner has not come to it.
    assert (await api.get("/brake")).json()["brake"]["engaged"]
    assert not asking.done()

    await bench.shell.driver.turn()
    answer = await asking
    reason = "an operator says that these hosts are dead: h1, h2"
    assert (answer.status_code, answer.json()) == (200, {"brake": {"engaged": False, "hosts": [], "reason": reason}})
    assert (await api.get("/brake")).json() == answer.json()
    await bench.settle()
    assert {bench.host_of(router_id(name)) for name in ("r", "s")} == {"h3"}


async def test_what_the_planner_does_not_come_to_in_time_is_said_so_and_done_later(
    bench: Bench, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gapless, "ACTED_ON_S", 0.0)
    answer = await api.put("/brake", json=RELEASE)
    assert answer.status_code == 503
    assert "did not come to it within 0 s: look again" in answer.json()["NeutronError"]["message"]

    await bench.shell.driver.turn()
    assert not (await api.get("/brake")).json()["brake"]["engaged"]
