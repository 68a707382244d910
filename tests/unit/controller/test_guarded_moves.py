"""Takeovers and switchovers, from what hosts say to the tables, through the recorder."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from shell_fakes import Bench, router_id

from gapless.controller import wallclock
from gapless.controller.store import bindingrows, clusterrows, moverows
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import RouterRow
from gapless.model.host import HostName, Incarnation
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
from gapless.model.way import WayOut, WaysSaid

AT = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_standby_takes_over_and_the_store_has_it_step_by_step(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first plan to the takeover's record, through the recorder and the real tables."""
    async with store.transaction() as session:
        session.add(RouterRow(id=router_id("r"), name="r", failover_mode="standby", ha=True))
    bench = await Bench.open(store)
    monkeypatch.setattr(wallclock, "utc_now", lambda: AT + timedelta(seconds=bench.clock.now))
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
    await bench.report(standby.host, **leased, copied={router_id("r"): False})
    await bench.settle()
    (seen,) = bench.shell.pilot.routers()[router_id("r")].standbys
    assert (seen.host, seen.copied) == (standby.host, False)
    times = TakeoverTimes(granted_ms=-50, silent_ms=200, claimed_ms=201, buried_ms=203, opened_ms=204, told_ms=250)
    took = Takeover(router_id=router_id("r"), epoch=Epoch(2), of=Tenure(home, Incarnation(1)), times=times)
    is_open = (Forwarding(router_id=router_id("r"), epoch=Epoch(2)),)
    await bench.report(standby.host, leased=Incarnation(1), forwarding=is_open, takeovers=(took,))
    await bench.settle()
    bench.clock.now += 0.05
    whole = replace(took, times=replace(times, announced_ms=270, forwarded_ms=265, told_ms=300))
    await bench.report(standby.host, leased=Incarnation(1), forwarding=is_open, takeovers=(whole,))
    await bench.settle()
    async with store.reading() as session:
        stored = (await bindingrows.bindings(session))[router_id("r")]
        move = await moverows.move(session, router_id("r"), 2)
    assert (stored.assignment.host, stored.assignment.epoch, stored.successors) == (standby.host, 2, ())
    assert (move.kind, move.outcome) == (MoveKind.TAKEOVER, "confirmed")
    told = [
        "granted",
        "missed",
        "silent",
        "decided",
        "buried",
        "opened",
        "bound",
        "confirmed",
        "forwarded",
        "announced",
    ]
    assert [each.step for each in move.timeline] == told, "in time order"
    since_ms = [each.since_ms for each in move.timeline]
    assert since_ms == pytest.approx([-50, 0, 200, 201, 203, 204, 250, 250, 265, 270], abs=0.01)
    assert bench.shell.pilot.routers()[router_id("r")].host == standby.host


async def test_a_switchover_is_recorded_from_what_both_hosts_say_in_the_order_in_which_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the standby told of its build is no part of it; nor is what the controller was busy with in between."""
    async with store.transaction() as session:
        session.add(RouterRow(id=router_id("r"), name="r", failover_mode="standby", ha=True))
    bench = await Bench.open(store)
    monkeypatch.setattr(wallclock, "utc_now", lambda: AT + timedelta(seconds=bench.clock.now))
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
    bench.shell.driver.plan_sent(
        there, [PlannedRouter(router=Router(id=router, name="r"), epoch=Epoch(2))], bench.clock.now
    )
    await said(there, 2)

    async with store.reading() as session:
        move = await moverows.move(session, router, 2)
    assert (move.kind, move.outcome) == (MoveKind.DRAIN, "confirmed")
    at = {each.step: each.at for each in move.timeline}
    assert at.keys() == {"decided", "bound", "withdrawn", "opened", "announced", "forwarded", "sent", "confirmed"}
    steps = (MoveStep.OPENED, MoveStep.ANNOUNCED, MoveStep.FORWARDED)
    told_ms = [(at[step] - at[MoveStep.WITHDRAWN]) / timedelta(milliseconds=1) for step in steps]
    assert told_ms == pytest.approx([0.8, 1.5, 3], abs=0.01), "by that host's clock, whenever it was dealt with"


async def test_what_a_host_says_of_its_ways_out_is_shown_as_the_planner_knows_it(store: Store) -> None:
    bench = await Bench.open(store)
    await bench.connect("h1", physical_networks=("external",))
    await bench.report("h1", ways=WaysSaid(lost=(WayOut("external"),)))
    await bench.settle()
    bench.clock.now += 3
    assert bench.shell.pilot.hosts()[HostName("h1")].lost_ways == {"external": 3.0}
    assert "gapless_hosts_without_way_out 1.0" in bench.shell.metrics.page().decode()


async def test_what_arbiters_say_of_who_renews_no_more_reaches_the_planner(store: Store) -> None:
    """However alive the host seems."""
    async with store.transaction() as session:
        session.add(RouterRow(id=router_id("r"), name="r", failover_mode="standby", ha=True))
    bench = await Bench.open(store)
    leased = {"leased": Incarnation(1), "forwarding": (), "is_held": True}
    over = (Tenure(HostName("h1"), Incarnation(1)),)
    for name in ("h1", "h2", "h3"):
        await bench.connect(name, lease_address=f"{name}:9698", capacity=0 if name != "h1" else 100)
        await bench.report(name, **leased)
    for name in ("h2", "h3"):
        await bench.report(name, **leased, expired=over)
    await bench.pass_time(2)
    said = bench.shell.pilot.routers()[router_id("r")].reason
    assert said == "h1 holds no lease, and nobody can succeed it; asks the arbiters whether it is over"
