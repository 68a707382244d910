"""What operators hear of it: lines of the log, figures, and what the API shows."""

import re
from datetime import UTC, datetime

import pytest
from driver_rig import ONE, THREE, TWO, Log, a_router_on_one, lines
from shell_fakes import Bench, facts_of, router_id

from gapless.controller.store import hostrows, moverows
from gapless.controller.store.engine import Store
from gapless.model.host import AgentState, Incarnation
from gapless.model.plan import Epoch, RouterReport, RouterState

AT = datetime(2026, 1, 1, tzinfo=UTC)


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
    bench.shell.link._roster.admit(facts_of("h1"), Incarnation(1), bench.clock.now)
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
    assert 'gapless_routers_health{health="broken"} 6.0' in page
    views = bench.shell.pilot.routers()
    assert all(views[each].damped_s == pytest.approx(600, abs=10) for each in routers)


class TestTheEndOfAMove:
    """A reschedule to h2, at epoch 2, that comes to each of its ends."""

    @staticmethod
    async def begun(store: Store, log: Log) -> Bench:
        """It is under way: h2 has its plan, and has not said that it is active."""
        bench = await a_router_on_one(store, "r")
        await bench.pass_time(149, "h2", "h3")
        bench.clock.now += 2
        await bench.settle()
        assert bench.host_of(router_id("r")) == TWO
        log.clear()
        return bench

    async def test_confirmed(self, store: Store, log: Log) -> None:
        bench = await self.begun(store, log)
        await bench.pass_time(2, "h2", "h3")
        (line,) = lines(log, "Move of router")
        assert line["event"] == f"Move of router {router_id('r')} confirmed: active on h2"
        assert (line["log_level"], line["router"], line["epoch"]) == ("info", router_id("r"), 2)
        assert line["cause"]

    async def test_failed(self, store: Store, log: Log) -> None:
        bench = await self.begun(store, log)
        failed = RouterState.FAILED
        await bench.report(
            "h2", RouterReport(router_id=router_id("r"), epoch=Epoch(2), state=failed, reason="no such device")
        )
        await bench.settle()
        (line,) = lines(log, "Move of router")
        assert line["event"] == f"Move of router {router_id('r')} failed: no such device"
        assert (line["log_level"], line["router"], line["epoch"]) == ("warning", router_id("r"), 2)
        assert line["cause"]

    async def test_superseded(self, store: Store, log: Log) -> None:
        """Its new host dies, too: the line that tells of it is that of the move which follows."""
        bench = await self.begun(store, log)
        await bench.pass_time(155, "h3")
        (follows,) = lines(log, "Rescheduling router")
        assert (follows["from"], follows["to"], follows["epoch"]) == (TWO, THREE, 3)
        (line,) = lines(log, "Move of router")
        assert (line["event"], line["epoch"]) == (f"Move of router {router_id('r')} confirmed: active on h3", 3)
        async with store.reading() as session:
            outcomes = {move.epoch: move.outcome for move in await moverows.moves(session)}
        assert (outcomes[Epoch(2)], outcomes[Epoch(3)]) == ("superseded", "confirmed")
