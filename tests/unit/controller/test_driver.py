"""The planner's shell on a test's clock and a real store: from a dead host to a moved router, whatever fails."""

import asyncio
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from shell_fakes import Bench, Trouble, add_routers, an_id, delete_router, facts_of, rename_router, router_id

from gapless.config import ServerSettings
from gapless.controller import driver, recorder
from gapless.controller.api.app import create_app
from gapless.controller.driver import BUSY_S
from gapless.controller.pilot import CHECK_S
from gapless.controller.store import bindingrows, clusterrows, hostrows, moverows, projection
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import RouterRow
from gapless.core.effects import Effect
from gapless.core.events import BrakeReleased, Event
from gapless.errors import InvariantError, StoreUnavailable
from gapless.model.host import AgentState, HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import (
    BuildTimes,
    Epoch,
    Forwarding,
    MoveKind,
    MoveStep,
    PlannedRouter,
    RouterReport,
    RouterState,
    Takeover,
    TakeoverTimes,
)
from gapless.model.router import Router

ONE, TWO, THREE = HostName("h1"), HostName("h2"), HostName("h3")
Log = list[dict[str, Any]]
AT = datetime(2026, 1, 1, tzinfo=UTC)


async def a_router_on_one(store: Store, *names: str) -> Bench:
    """Routers on h1, with h2 and h3 standing by; everything is quiet."""
    bench = await Bench.open(store)
    await bench.connect("h1")
    await bench.settle()
    await add_routers(store, *names)
    bench.shell.pilot.routers_changed([router_id(name) for name in names])
    await bench.settle()
    await bench.connect("h2")
    await bench.connect("h3")
    await bench.pass_time(2, "h1", "h2", "h3")
    assert all(bench.host_of(router_id(name)) == ONE for name in names)
    return bench


def lines(log: Log, text: str) -> Log:
    return [line for line in log if text in line["event"]]


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


async def test_killed_between_the_binding_and_the_plan_it_goes_on_from_the_store(store: Store) -> None:
    before = await a_router_on_one(store, "r")
    await before.pass_time(149, "h2", "h3")
    before.clock.now += 2
    await before.shell.driver.turn()  # decided ...
    await before.shell.driver.recorder.flush()  # ... stored, and killed here: no plan was ever sent
    assert router_id("r") not in before.plan("h2")

    after = await Bench.open(store, before.clock)
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

    pilot.release_brake()
    await bench.pass_time(2, "h3")

    assert bench.host_of(router_id("r")) == THREE
    assert not pilot.brake().engaged


async def test_hints_of_the_api_reach_the_planner_after_the_store(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    pilot = bench.shell.pilot
    (new,) = await add_routers(store, "new")

    pilot.routers_changed([new])
    await bench.settle()
    assert bench.host_of(new) == TWO
    pilot.move_requested(new, THREE)
    await bench.pass_time(3, "h1", "h2", "h3")
    assert bench.host_of(new) == THREE
    assert set(pilot.objections(new)) == {ONE, TWO}

    await delete_router(store, new)
    pilot.router_deleted(new)
    pilot.routers_changed([new])  # a late hint about it does not bring it back
    await bench.settle()
    assert new not in pilot.routers()


async def test_hints_wait_for_a_store_that_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await a_router_on_one(store, "r")
    (new,) = await add_routers(store, "new")

    async def away(*_: object) -> None:
        raise StoreUnavailable("the database is gone")

    bench.shell.pilot.routers_changed([new])
    with monkeypatch.context() as patch:
        patch.setattr(projection, "needs", away)
        assert not await bench.shell.pilot.read_changed()
    await bench.settle()

    assert bench.host_of(new) is not None


async def test_what_no_hint_told_is_found_by_the_audit(store: Store) -> None:
    bench = await a_router_on_one(store, "r", "gone")
    (new,) = await add_routers(store, "new")
    await delete_router(store, router_id("gone"))

    while not await bench.shell.pilot.audit(1):
        pass
    await bench.settle()

    assert bench.host_of(new) is not None
    assert router_id("gone") not in bench.shell.pilot.routers()


async def test_an_audit_looks_at_a_few_routers_at_a_time(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    pilot = bench.shell.pilot
    added = await add_routers(store, *(f"new-{number}" for number in range(5)))
    in_order = sorted([*added, router_id("r")])
    for count in (2, 4, 6):
        assert not await pilot.audit(2)
        await bench.settle()
        assert sorted(pilot.routers().keys() - {router_id("r")}) == [
            each for each in in_order[:count] if each != router_id("r")
        ]
    for each in in_order:
        await delete_router(store, each)
    assert await pilot.audit(2), "it is the end of the tour: there is nothing after the last one"
    await bench.settle()
    assert len(pilot.routers()) == len(in_order)
    assert await pilot.audit(2)
    await bench.settle()
    assert not pilot.routers()


async def test_an_audit_that_cannot_read_goes_on_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await a_router_on_one(store, "r")
    (new,) = await add_routers(store, "new")

    async def away(*_: object) -> None:
        raise StoreUnavailable("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(projection, "needs_after", away)
        assert not await bench.shell.pilot.audit(10)
    assert await bench.shell.pilot.audit(10)
    await bench.settle()
    assert bench.host_of(new) is not None


async def test_a_change_that_no_hint_told_of_reaches_the_host_by_the_audit(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    router = router_id("r")
    assert (await bench.shell.driver.routers([router]))[router].name == "r"
    await rename_router(store, router, "other")
    assert (await bench.shell.driver.routers([router]))[router].name == "r", "it is kept"
    await bench.shell.pilot.audit(10)
    assert (await bench.shell.driver.routers([router]))[router].name == "other"


async def test_steady_writes_keep_neither_the_audit_nor_the_check_from_their_turns(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    (new,) = await add_routers(store, "new")
    pilot = bench.shell.pilot
    for _ in range(3):  # One router, the other one, and the end.
        bench.clock.now += CHECK_S
        pilot.routers_changed([router_id("r")])
        assert await pilot.turn()
    await bench.settle()
    assert bench.host_of(new) is not None

    bench.clock.now += CHECK_S
    pilot.routers_changed([router_id("r")])
    bench.shell.driver.planner._ledger.routers[new].host = None  # What must never be.
    with pytest.raises(InvariantError, match="bound, yet unbound"):
        await pilot.turn()


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


async def test_metrics_tell_of_moves_and_placement(store: Store) -> None:
    bench = await a_router_on_one(store, "r")
    await bench.pass_time(155, "h2", "h3")

    page = bench.shell.metrics.page().decode()

    assert 'gapless_hosts{standing="dead"} 1.0' in page
    assert 'gapless_hosts{standing="alive"} 2.0' in page
    assert 'gapless_routers{state="active"} 1.0' in page
    assert 'gapless_moves_total{kind="reschedule",outcome="begun"} 1.0' in page
    assert 'gapless_moves_total{kind="reschedule",outcome="confirmed"} 1.0' in page
    assert "gapless_detection_seconds_count 1.0" in page
    (decisions,) = re.findall(r"^gapless_decide_seconds_count (\S+)$", page, re.MULTILINE)
    assert float(decisions) > 155, "those that time asks for are counted"


async def test_a_host_that_is_confirmed_off_need_not_be_waited_for(store: Store, log: Log) -> None:
    bench = await a_router_on_one(store, "r")
    bench.shell.link._roster.admit(facts_of("h1"), Incarnation(1), bench.clock.now, AT)
    await bench.pass_time(60, "h2", "h3")
    assert "wait until it has been silent for 75 s" in bench.shell.pilot.objections_to_off([ONE])[ONE]
    await bench.pass_time(20, "h2", "h3")
    assert bench.shell.pilot.objections_to_off([ONE]) == {}
    assert bench.host_of(router_id("r")) == ONE
    words = bench.shell.pilot.bar([ONE])
    async with store.transaction() as session:
        await hostrows.confirm_off(session, words)
    bench.shell.pilot.hosts_confirmed_off(words)
    await bench.settle()
    assert bench.host_of(router_id("r")) in (TWO, THREE)
    (line,) = lines(log, "because an operator confirmed that h1 is off.")
    assert line["log_level"] == "warning"
    again = await Bench.open(store, bench.clock)
    assert again.shell.pilot.hosts()[ONE].reason == "an operator confirmed that it is off"


async def test_lost_arbiters_are_told_counted_and_shown(store: Store, log: Log) -> None:
    bench = await Bench.open(store)
    for name in ("h1", "h2", "h3"):
        await bench.connect(name, lease_address=f"{name}:9698")
    await bench.pass_time(3, "h1", "h2", "h3")
    page = bench.shell.metrics.page().decode()
    assert "gapless_arbiters_lost 0.0" in page
    assert 'gapless_arbiters{heard="yes"} 3.0' in page
    await bench.pass_time(80, "h1")
    (line,) = lines(log, "Arbiters: 2 of 3 arbiters are not heard")
    assert line["log_level"] == "warning"
    page = bench.shell.metrics.page().decode()
    assert "gapless_arbiters_lost 1.0" in page
    assert 'gapless_arbiters{heard="no"} 2.0' in page
    view = bench.shell.pilot.panel()
    assert (view.lost, view.confirm) == (True, (TWO, THREE))


async def test_a_host_whose_agent_does_not_work_is_told_counted_and_shown(store: Store, log: Log) -> None:
    bench = await Bench.open(store)
    for name in ("h1", "h2", "h3"):
        await bench.connect(name)
    await bench.pass_time(12, "h1", "h2", "h3")
    assert "gapless_hosts_without_agent 0.0" in bench.shell.metrics.page().decode()
    await bench.report("h1", full=False, agent=AgentState.RESTARTING, agent_reason="it hung")
    await bench.pass_time(61, "h2", "h3")
    (line,) = lines(log, "Host h1 is alive: its agent has not worked for long (it hung)")
    assert line["log_level"] == "warning"
    assert "gapless_hosts_without_agent 1.0" in bench.shell.metrics.page().decode()
    view = bench.shell.pilot.hosts()[ONE]
    assert (view.alive, view.takes_routers) == (True, False)
    assert view.without_agent_s == pytest.approx(61, abs=2)


async def test_a_common_cause_is_told_counted_and_shown(store: Store, log: Log) -> None:
    """Six routers break on h1, and those that are moved break there as well."""
    names = [f"r{number}" for number in range(6)]
    bench = await a_router_on_one(store, *names)
    routers = [router_id(name) for name in names]

    def broken(host: str) -> list[RouterReport]:
        failed = RouterState.FAILED
        return [
            RouterReport(router_id=each, epoch=epoch, state=failed, reason="no such device")
            for each, epoch in bench.plan(host).items()
        ]

    await bench.report("h1", *broken("h1"))
    await bench.settle()
    await bench.report("h1", *broken("h1"))  # What left is gone from there.
    await bench.settle()
    for host in ("h2", "h3"):
        await bench.report(host, *broken(host))
    await bench.pass_time(2)

    assert sum(bench.host_of(each) == ONE for each in routers) == 2
    (line,) = lines(log, "4 routers were moved because their hosts could not run them (no such device), and none of")
    assert line["log_level"] == "error"
    page = bench.shell.metrics.page().decode()
    assert 'gapless_routers_damped{why="cause"} 2.0' in page
    assert 'gapless_routers_damped{why="reason"} 4.0' in page
    views = bench.shell.pilot.routers()
    assert all(views[each].damped_s == pytest.approx(600, abs=10) for each in routers)


async def test_a_standby_takes_over_and_the_store_has_it(store: Store) -> None:
    """From the first plan to the takeover's record, through the recorder and the real tables."""
    async with store.transaction() as session:
        session.add(RouterRow(id=router_id("r"), name="r", failover_mode="standby", ha=True))
    bench = await Bench.open(store)
    leased = {"leased": Incarnation(1), "forwarding": ()}
    for name in ("h1", "h2"):
        await bench.connect(name, lease_address=f"{name}:9698")
        await bench.report(name, **leased)
        await bench.settle()
    await bench.pass_time(2)
    async with store.reading() as session:
        stored = (await bindingrows.bindings(session))[router_id("r")]
        assert await clusterrows.panel(session) is not None
    home, (successor,) = stored.assignment.host, stored.successors
    standby = successor.tenure
    assert {home, standby.host} == {"h1", "h2"}
    times = TakeoverTimes(silent_ms=200, claimed_ms=201, buried_ms=203, opened_ms=204, told_ms=250)
    took = Takeover(router_id=router_id("r"), epoch=Epoch(2), of=Tenure(home, Incarnation(1)), times=times)
    is_open = (Forwarding(router_id=router_id("r"), epoch=Epoch(2)),)
    await bench.report(standby.host, leased=Incarnation(1), forwarding=is_open, takeovers=(took,))
    await bench.settle()
    async with store.reading() as session:
        stored = (await bindingrows.bindings(session))[router_id("r")]
        move = await moverows.move(session, router_id("r"), 2)
    assert (stored.assignment.host, stored.assignment.epoch, stored.successors) == (standby.host, 2, ())
    assert (move.kind, move.outcome) == (MoveKind.TAKEOVER, "confirmed")
    steps = {each.step for each in move.timeline}
    assert steps >= {"missed", "silent", "decided", "buried", "opened", "bound", "confirmed"}
    assert bench.shell.pilot.routers()[router_id("r")].host == standby.host


async def test_a_switchover_is_recorded_from_what_both_hosts_say_in_the_order_in_which_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the standby told of its build is no part of it; nor is what the controller was busy with in between."""
    async with store.transaction() as session:
        session.add(RouterRow(id=router_id("r"), name="r", failover_mode="standby", ha=True))
    bench = await Bench.open(store)
    for each in (driver, recorder):
        monkeypatch.setattr(each, "utc_now", lambda: AT + timedelta(seconds=bench.clock.now))
    router, old_times = router_id("r"), BuildTimes(started_ms=1, built_ms=39, announced_ms=40, verified_ms=60)

    async def said(host: HostName, epoch: int, **guard: Any) -> None:
        built = RouterReport(
            router_id=router, epoch=Epoch(epoch), state=RouterState.ACTIVE, times=old_times, guarded=True
        )
        await bench.report(host, built, leased=Incarnation(1), is_held=True, **guard)
        bench.clock.now += 0.05  # until it is looked at
        await bench.settle()

    for name in ("h1", "h2"):
        await bench.connect(name, lease_address=f"{name}:9698")
        await bench.report(name, leased=Incarnation(1), forwarding=())
        await bench.settle()
    await bench.pass_time(2)
    async with store.reading() as session:
        stored = (await bindingrows.bindings(session))[router]
    home, (successor,) = stored.assignment.host, stored.successors
    there = successor.tenure.host
    await said(home, 1, forwarding=(Forwarding(router_id=router, epoch=Epoch(1)),))
    await said(there, 2, forwarding=())
    bench.shell.pilot.host_admin_changed(home, admin_up=False)
    await bench.pass_time(2)
    times = TakeoverTimes(buried_ms=0, opened_ms=0.8, announced_ms=1.5, forwarded_ms=3, told_ms=20)
    tenure = Tenure(home, Incarnation(1))
    took = Takeover(router_id=router, epoch=Epoch(2), of=tenure, times=times, is_released=True)
    is_open = (Forwarding(router_id=router, epoch=Epoch(2), is_released=True),)
    await said(there, 2, forwarding=is_open, takeovers=(took,))
    bench.shell.driver.plan_sent(there, [PlannedRouter(router=Router(id=router, name="r"), epoch=Epoch(2))], 0.0)
    await said(there, 2)

    async with store.reading() as session:
        move = await moverows.move(session, router, 2)
    assert (move.kind, move.outcome) == (MoveKind.DRAIN, "confirmed")
    at = {each.step: each.at for each in move.timeline}
    assert at.keys() == {"decided", "bound", "withdrawn", "opened", "announced", "forwarded", "sent", "confirmed"}
    steps = (MoveStep.OPENED, MoveStep.ANNOUNCED, MoveStep.FORWARDED)
    told_ms = [(at[step] - at[MoveStep.WITHDRAWN]) / timedelta(milliseconds=1) for step in steps]
    assert told_ms == pytest.approx([0.8, 1.5, 3], abs=0.01), "by that host's clock, whenever it was dealt with"
