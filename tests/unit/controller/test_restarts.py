"""A controller that is killed, wherever it was, goes on from the store."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from driver_rig import ONE, TWO, Log, a_router_on_one, lines
from shell_fakes import Bench, router_id

from gapless.config import ServerSettings
from gapless.controller.api.app import create_app
from gapless.controller.store import moverows
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import RouterRow


async def test_killed_between_the_binding_and_the_plan_it_goes_on_from_the_store(store: Store, log: Log) -> None:
    before = await a_router_on_one(store, "r")
    await before.pass_time(149, "h2", "h3")
    before.clock.now += 2
    await before.shell.driver.turn()  # decided ...
    await before.shell.driver.recorder.flush()  # ... stored, and killed here: no plan was ever sent
    assert router_id("r") not in before.plan("h2")

    assert lines(log, f"Move of router {router_id('r')} confirmed") == lines(log, "confirmed: active on h1")

    after = await Bench.open(store, before.clock)
    assert before.shell.open_moves == ()
    (taken_up,) = after.shell.open_moves
    assert (taken_up.router_id, taken_up.kind, taken_up.host) == (router_id("r"), "reschedule", TWO)
    await after.connect("h2")
    await after.connect("h3")
    await after.settle()

    assert after.host_of(router_id("r")) == TWO
    assert after.plan("h2") == {router_id("r"): 2}
    assert after.plan("h1") == {}, "should h1 return, it must not build it"
    await after.pass_time(5, "h2", "h3")
    async with store.reading() as session:
        move = await moverows.move(session, router_id("r"), 2)
    assert move.outcome == "confirmed", "the move that was begun before is ended after"
    (end,) = lines(log, f"Move of router {router_id('r')} confirmed: active on h2")
    assert (end["log_level"], end["epoch"]) == ("info", 2)
    assert (await Bench.open(store, before.clock)).shell.open_moves == (), "there is nothing to go on with any more"


async def test_killed_before_the_binding_is_stored_it_decides_again(store: Store) -> None:
    before = await a_router_on_one(store, "r")
    await before.pass_time(149, "h2", "h3")
    before.clock.now += 2
    await before.shell.driver.turn()  # decided, and killed here

    after = await Bench.open(store, before.clock)
    await after.connect("h2")
    await after.connect("h3")
    await after.pass_time(140, "h2", "h3")
    assert after.host_of(router_id("r")) == ONE, "nobody's silence is held against it while the controller was away"
    await after.pass_time(15, "h2", "h3")

    assert after.host_of(router_id("r")) == TWO
    assert after.plan("h2") == {router_id("r"): 2}


async def test_after_a_start_each_router_says_why_again(store: Store) -> None:
    bench = await a_router_on_one(store, "active", "stuck")
    async with store.transaction() as session:
        row = await session.get_one(RouterRow, router_id("stuck"))
        row.failover_mode = "off"
    bench.shell.pilot.routers_changed([router_id("stuck")])
    await bench.pass_time(155, "h2", "h3")
    before = {each: bench.shell.pilot.routers()[each].reason for each in map(router_id, ("active", "stuck"))}
    assert before == {
        router_id("active"): "h2 has 0 of 1000 routers: the fewest routers of 2 hosts that can take it",
        router_id("stuck"): "h1 is dead, and this router's failover mode is off",
    }

    again = await Bench.open(store, bench.clock)
    await again.connect("h2")
    await again.connect("h3")
    await again.settle()
    assert again.shell.pilot.routers()[router_id("active")].reason == before[router_id("active")]
    await again.pass_time(155, "h2", "h3")
    assert {each: again.shell.pilot.routers()[each].reason for each in before} == before


async def drain(bench: Bench, **asked: Any) -> None:
    """What `gapless drain` and `undrain` say of h1."""
    settings, shell = ServerSettings(state_dir=Path()), bench.shell
    app = create_app(store=bench.store, settings=settings, controls=shell.pilot, metrics=shell.metrics)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:9696") as api:
        (await api.put("/v2.0/gapless/hosts/h1/drain", json={"drain": asked})).raise_for_status()
    await bench.settle()


async def a_new_controller(before: Bench) -> Bench:
    """The one of before is gone; all hosts are there again."""
    after = await Bench.open(before.store, before.clock)
    for name in ("h1", "h2", "h3"):
        await after.connect(name)
    await after.settle()
    return after


@pytest.mark.parametrize("at_once", [1, 7])
async def test_a_drain_keeps_its_pace_over_a_restart_of_the_controller(store: Store, at_once: int) -> None:
    names = [f"r{number}" for number in range(9)]
    bench = await a_router_on_one(store, *names)
    await drain(bench, wanted=True, at_once=at_once)

    bench = await a_new_controller(bench)
    seen = bench.shell.pilot.drain(ONE)
    assert seen is not None
    assert (seen.at_once, seen.routers) == (at_once, 9 - at_once), "as many are leaving as before, and no others yet"
    await bench.pass_time(20, "h1", "h2", "h3")
    assert ONE not in {bench.host_of(router_id(name)) for name in names}

    await drain(bench, wanted=False)
    bench = await a_new_controller(bench)
    await drain(bench, wanted=True)
    seen = bench.shell.pilot.drain(ONE)
    assert seen is not None
    assert (seen.at_once, seen.admin_state_up) == (4, False), "the next drain begins as usual"
