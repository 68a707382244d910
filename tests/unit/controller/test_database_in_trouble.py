"""What the planner's shell does while the database refuses to write: what waits, and that it is done after."""

import sqlite3
from pathlib import Path

import pytest
from driver_rig import ONE, THREE, TWO, Log, a_router_on_one, lines
from shell_fakes import Trouble, delete_router, router_id

from gapless.controller.store import moverows
from gapless.controller.store.engine import Store
from gapless.model.plan import MoveStep


async def test_one_router_that_cannot_be_stored_stops_no_other(store: Store, log: Log) -> None:
    bench = await a_router_on_one(store, "a", "b", "c")
    await delete_router(store, router_id("b"))  # the planner has not heard of it

    await bench.pass_time(152, "h2", "h3")

    assert bench.host_of(router_id("a")) in (TWO, THREE)
    assert bench.host_of(router_id("c")) in (TWO, THREE)
    assert bench.host_of(router_id("b")) == ONE
    assert "was deleted before it was bound" in bench.shell.pilot.routers()[router_id("b")].reason
    assert len(lines(log, "1 bindings could not be stored")) >= 1


@pytest.mark.parametrize("trouble_name", ["read_only", "full", "locked"])
async def test_a_database_in_trouble_delays_moves_and_breaks_nothing(
    store: Store, trouble: Trouble, log: Log, trouble_name: str, tmp_path: Path
) -> None:
    names = [f"r{number}" for number in range(60)]
    bench = await a_router_on_one(store, *names)
    other = sqlite3.connect(tmp_path / "gapless.db", isolation_level=None)
    if trouble_name == "locked":
        trouble.impatient()
        other.execute("BEGIN IMMEDIATE")
    else:
        getattr(trouble, trouble_name)()

    await bench.pass_time(155, "h2", "h3")
    assert {bench.host_of(router_id(name)) for name in names} == {ONE}, "bound as before, and to somebody"
    assert "could not be stored" in bench.shell.pilot.routers()[router_id("r0")].reason
    (first, *_) = lines(log, "60 bindings could not be stored")
    expected = {"read_only": "is read-only", "full": "disk is full", "locked": "is locked by another process"}
    assert expected[trouble_name] in first["reason"]

    if trouble_name == "locked":
        other.execute("ROLLBACK")
    other.close()
    trouble.over()
    await bench.pass_time(120, "h2", "h3")

    hosts = [bench.host_of(router_id(name)) for name in names]
    assert hosts.count(TWO) == hosts.count(THREE) == 30
    told = [line["router"] for line in lines(log, "Rescheduling router")]
    assert len(told) == len(set(told)) == 60, "one line a move, not one an attempt"


async def test_steps_of_moves_wait_for_the_database(store: Store, trouble: Trouble) -> None:
    bench = await a_router_on_one(store, "r")
    async with store.reading() as session:
        move = await moverows.move(session, router_id("r"), 1)
    trouble.read_only()
    bench.shell.driver.recorder.note(router_id("r"), move.epoch, MoveStep.ANNOUNCED, move.timeline[-1].at)
    assert not await bench.shell.driver.recorder.flush()

    trouble.over()
    assert await bench.shell.driver.recorder.flush()

    async with store.reading() as session:
        after = await moverows.move(session, router_id("r"), 1)
    assert MoveStep.ANNOUNCED in [each.step for each in after.timeline]


async def test_a_withdrawal_that_cannot_be_stored_is_tried_again(store: Store, trouble: Trouble) -> None:
    bench = await a_router_on_one(store, "r")
    bench.shell.pilot.host_admin_changed(ONE, admin_up=False)
    await bench.settle()
    trouble.read_only()
    await bench.pass_time(3, "h1", "h2", "h3")
    assert router_id("r") not in bench.plan("h2")

    trouble.over()
    await bench.pass_time(60, "h1", "h2", "h3")

    assert router_id("r") in bench.plan("h2")
