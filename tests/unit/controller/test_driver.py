"""The planner's shell on a test's clock and a real store, turn by turn: from a dead host to a moved router."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from driver_rig import ONE, THREE, TWO, Log, a_router_on_one, lines
from shell_fakes import Bench, add_routers, an_id, router_id

from gapless.controller.driver import BUSY_S
from gapless.controller.store import bindingrows, moverows
from gapless.controller.store.engine import Store
from gapless.core.effects import Effect, RecordStep
from gapless.core.events import BrakeReleased, Event
from gapless.model.plan import BuildTimes, Epoch, MoveStep, PlannedRouter, RouterReport, RouterState
from gapless.model.router import Router


async def test_a_dead_hosts_router_moves_after_150_s_with_the_line_that_operators_know(store: Store, log: Log) -> None:
    bench = await a_router_on_one(store, "r")
    router = router_id("r")

    await bench.pass_time(149, "h2", "h3")
    assert bench.host_of(router) == ONE
    await bench.pass_time(3, "h2", "h3")

    assert bench.host_of(router) == TWO
    assert router in bench.plan("h2")
    assert router not in bench.plan("h1")
    (line,) = lines(log, "Rescheduling router")
    agent = an_id("instance of h1")
    assert line["event"] == (
        f"Rescheduling router {router} from agent {agent} because the agent did not report to the server in the last "
        "150 seconds."
    )
    assert (line["router"], line["from"], line["to"], line["epoch"]) == (router, ONE, TWO, 2)
    assert line["cause"]


async def test_the_move_is_recorded_step_by_step(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    await bench.pass_time(155, "h2", "h3")

    async with store.reading() as session:
        move, first = await moverows.moves(session, router_id=router_id("r"))

    assert (move.kind, move.from_host, move.to_host, move.epoch) == ("reschedule", ONE, TWO, 2)
    assert move.outcome == "confirmed"
    steps = [each.step for each in move.timeline]
    assert steps == [MoveStep.LAST_HEARD, MoveStep.DECIDED, MoveStep.BOUND, MoveStep.CONFIRMED]
    assert move.timeline[1].after_ms == pytest.approx(150_000, abs=2000), "the silence, on the controller's clock"
    assert first.kind == "schedule"
    assert first.from_host is None


async def test_a_report_that_waits_in_the_queue_still_counts_from_its_arrival(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    await bench.pass_time(147, "h2", "h3")

    await bench.report("h1")  # arrives now ...
    bench.clock.now += 2.5  # ... and the controller gets to it after h1 would have been dead, had it not reported
    await bench.settle()
    await bench.pass_time(10, "h2", "h3")

    assert bench.host_of(router_id("r")) == ONE


async def test_what_waits_to_be_read_is_handled_before_silence_is_judged(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    await bench.pass_time(149, "h2", "h3")
    bench.clock.now += 2
    reading = asyncio.create_task(bench.report("h1"))

    await bench.shell.driver.turn()

    assert reading.done()
    assert bench.shell.pilot.hosts()[ONE].standing == "alive"


async def test_others_have_the_loop_while_many_events_are_handled(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await Bench.open(store)
    driver = bench.shell.driver
    handle, handled, when_others_ran = driver.planner.handle, list[str](), list[int]()

    def slowly(event: Event, now: float) -> list[Effect]:
        bench.clock.now += 2 * BUSY_S
        handled.append(event.id)
        return handle(event, now)

    async def others() -> None:
        when_others_ran.append(len(handled))

    monkeypatch.setattr(driver.planner, "handle", slowly)
    for each in ("first", "second"):
        driver.post(BrakeReleased(id=each))
    running = asyncio.create_task(others())
    await driver.turn()
    await running

    assert handled == ["first", "second"]
    assert when_others_ran == [1]


async def test_a_pause_of_the_controller_is_no_silence_of_hosts(store: Store, log: Log) -> None:
    bench = await a_router_on_one(store, "r")

    bench.clock.now += 600
    await bench.settle()
    await bench.pass_time(5, "h1", "h2", "h3")

    assert bench.host_of(router_id("r")) == ONE
    assert lines(log, "the controller did nothing for")


async def test_the_brake_holds_and_an_operator_releases_it(store: Store, log: Log) -> None:
    bench = await a_router_on_one(store, "r")
    await add_routers(store, "on-two")
    bench.shell.pilot.routers_changed([router_id("on-two")])
    await bench.pass_time(2, "h1", "h2", "h3")

    await bench.pass_time(160, "h3")  # h1 and h2 carry routers and look dead, both at once
    pilot = bench.shell.pilot
    assert pilot.brake().engaged
    assert bench.host_of(router_id("r")) == ONE
    assert b"gapless_brake_engaged 1.0" in bench.shell.metrics.page()
    (engaged,) = lines(log, "The brake is engaged: 2 of 3 hosts look dead at once, more than 50%: nothing moves for")
    assert (engaged["log_level"], engaged["hosts"]) == ("error", "h1,h2")
    assert lines(log, "The brake is released") == []

    pilot.release_brake()
    await bench.pass_time(2, "h3")

    assert bench.host_of(router_id("r")) == THREE
    assert not pilot.brake().engaged
    (released,) = lines(log, "The brake is released: an operator says that these hosts are dead: h1, h2")
    assert released["log_level"] == "warning"
    assert released["cause"]


async def test_a_brake_that_ends_by_itself_says_that_it_is_the_brake(store: Store, log: Log) -> None:
    bench = await a_router_on_one(store, "r")
    await add_routers(store, "on-two")
    bench.shell.pilot.routers_changed([router_id("on-two")])
    await bench.pass_time(2, "h1", "h2", "h3")
    await bench.pass_time(160, "h3")
    for name in ("h1", "h2"):
        await bench.connect(name)
    await bench.pass_time(2, "h1", "h2", "h3")

    (released,) = lines(log, "The brake is released: 0 of 3 hosts look dead, not more than 50%")
    assert released["log_level"] == "warning"


async def test_a_drained_hosts_router_is_given_away_only_when_it_has_let_go(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    router = router_id("r")
    bench.shell.pilot.host_admin_changed(ONE, admin_up=False)
    await bench.settle()

    assert bench.host_of(router) == TWO
    assert router not in bench.plan("h1")
    assert router not in bench.plan("h2"), "h1 has not said that it is gone"
    async with store.reading() as session:
        assert (await bindingrows.bindings(session))[router].leaving_host == ONE

    await bench.report("h1")
    await bench.settle()

    assert router in bench.plan("h2")
    async with store.reading() as session:
        assert (await bindingrows.bindings(session))[router].leaving_host is None


async def test_a_hosts_own_times_count_from_when_its_plan_really_left(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    router, driver = router_id("r"), bench.shell.driver
    await bench.pass_time(150, "h2", "h3")
    planned = PlannedRouter(router=Router(id=router, name="r"), epoch=Epoch(2))

    driver.plan_sent(TWO, [planned], bench.clock.now + 4.0)  # it took four seconds to leave,
    bench.clock.now += 4.5
    times = BuildTimes(started_ms=1, built_ms=300, announced_ms=310, verified_ms=400)  # and 0.4 s to build
    report = RouterReport(router_id=router, epoch=Epoch(2), state=RouterState.ACTIVE, times=times)
    await bench.report("h2", report, full=False)
    await bench.settle()

    async with store.reading() as session:
        move = await moverows.move(session, router, 2)
    at = {each.step: each.at for each in move.timeline}
    assert at[MoveStep.ANNOUNCED] - at[MoveStep.BUILT] == timedelta(milliseconds=10)
    ago = at[MoveStep.CONFIRMED] - at[MoveStep.BUILT]
    assert ago == timedelta(milliseconds=200), "of the 4.5 s, 4 s were not the host's"


async def test_steps_that_a_host_counts_from_something_else_are_when_it_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as those of a router that was taken over, or released, before its plan had left."""
    bench = await a_router_on_one(store, "r")
    router, driver = router_id("r"), bench.shell.driver
    await bench.pass_time(150, "h2", "h3")
    driver.plan_sent(TWO, [PlannedRouter(router=Router(id=router, name="r"), epoch=Epoch(2))], bench.clock.now + 4.0)
    recorded: list[RecordStep] = []
    with monkeypatch.context() as patched:
        patched.setattr(driver.recorder, "take", lambda effect, _: recorded.append(effect))
        said = RecordStep(
            router_id=router,
            epoch=Epoch(2),
            step=MoveStep.ANNOUNCED,
            ago_s=4.3,
            reason="",
            cause="",
            counts_from_plan=True,
        )
        for step in (said, replace(said, counts_from_plan=False)):
            driver._take_step(step, datetime.now(UTC))
    assert [round(each.ago_s, 3) for each in recorded] == [0.3, 4.3]
