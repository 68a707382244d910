"""The wall clock jumps an hour, forth and back: nobody is held dead or alive for it, and nothing moves."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from driver_rig import ONE, a_router_on_one
from row_rig import AT, R, bind, bind_of, record
from shell_fakes import CLASSIC, Bench, Clock, router_id

from gapless.controller import wallclock
from gapless.controller.api.agents import Agents
from gapless.controller.recorder import Recorder, Write
from gapless.controller.store import moverows
from gapless.controller.store.engine import Store
from gapless.controller.wallclock import Calendar
from gapless.model.plan import MoveStep
from gapless.observe.metrics import Metrics

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
NAMES = ("h1", "h2", "h3")


@dataclass
class Wall:
    """A clock on the wall that goes by no other."""

    now: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    hangs_there = Wall()
    monkeypatch.setattr(wallclock, "utc_now", hangs_there)
    return hangs_there


async def agents(bench: Bench) -> dict[str, tuple[bool, datetime]]:
    """Each host -> whether the API shows it as alive, and since when heard."""
    async with bench.store.reading() as session:
        shown = await Agents(bench.shell.pilot).list(session, {})
    return {each["host"]: (each["alive"], datetime.fromisoformat(f"{each['heartbeat_timestamp']}Z")) for each in shown}


@pytest.mark.parametrize("jumps", [(HOUR, -HOUR), (-HOUR, HOUR)])
async def test_who_is_alive_stays_so_and_was_heard_just_now(
    store: Store, wall: Wall, jumps: tuple[timedelta, ...]
) -> None:
    bench = await a_router_on_one(store, "r")
    for jump in jumps:
        wall.now += jump
        assert await agents(bench) == dict.fromkeys(NAMES, (True, wall.now)), "also before they are heard again"
        await bench.pass_time(20, *NAMES)
        assert await agents(bench) == dict.fromkeys(NAMES, (True, wall.now))
        assert {view.standing for view in bench.shell.pilot.hosts().values()} == {"alive"}
    async with store.reading() as session:
        assert [each.to_host for each in await moverows.moves(session)] == [ONE], "it has moved nowhere"


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_who_is_dead_stays_so_and_was_heard_when_it_was(store: Store, wall: Wall, jump: timedelta) -> None:
    bench = await a_router_on_one(store, "r")
    await bench.pass_time(CLASSIC.dead_after_s, "h2", "h3")
    wall.now += jump
    silent = timedelta(seconds=CLASSIC.dead_after_s)
    assert (await agents(bench))["h1"] == (False, wall.now - silent)
    await bench.pass_time(1, "h2", "h3")
    assert (await agents(bench))["h1"] == (False, wall.now - silent - SECOND)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_controller_that_starts_with_another_date_has_the_same_patience(
    store: Store, wall: Wall, jump: timedelta
) -> None:
    """As `agent_down_time` counts from its start, whatever date the store has of who was heard."""
    before = await a_router_on_one(store, "r")
    await before.shell.book.write()
    heard = wall.now
    wall.now += jump
    clock = Clock(now=5.0)  # after a reboot
    bench = await Bench.open(store, clock)
    await bench.settle()
    assert await agents(bench) == dict.fromkeys(NAMES, (True, heard)), "of nobody it knows better"
    await bench.pass_time(CLASSIC.agent_down_time_s - 1)
    assert {alive for alive, _ in (await agents(bench)).values()} == {True}
    await bench.pass_time(2)
    assert {alive for alive, _ in (await agents(bench)).values()} == {False}
    assert bench.host_of(router_id("r")) == ONE


@pytest.mark.parametrize("later", [MoveStep.FAILED, MoveStep.SUPERSEDED])
async def test_what_a_move_came_to_stays_so_when_the_clock_is_set_back(ready: Store, later: MoveStep) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    await record(ready, 1, MoveStep.CONFIRMED, AT)
    await record(ready, 1, later, AT - HOUR)
    async with ready.reading() as session:
        move = await moverows.move(session, R, 1)
    assert move.outcome == "confirmed"
    assert [each.step for each in move.timeline][-2:] == [MoveStep.CONFIRMED, later]


def test_what_is_past_is_so_by_both_clocks(wall: Wall) -> None:
    began, clock = wall.now, Clock()
    calendar = Calendar(clock)
    wall.now, clock.now = began + 400 * 24 * HOUR, clock.now + 60
    assert calendar.surely_past(HOUR) == began + 60 * SECOND - HOUR, "the clock was set ahead"
    wall.now = began - HOUR
    assert calendar.surely_past(HOUR) == began - 2 * HOUR, "it was set back"


async def test_a_clock_that_is_set_ahead_deletes_no_record(ready: Store, wall: Wall) -> None:
    await bind(ready, bind_of("r", "h1", 1), at=wall.now)
    await record(ready, 1, MoveStep.CONFIRMED, wall.now)
    await bind(ready, bind_of("r", "h2", 2), at=wall.now)
    recorder = Recorder(ready, Metrics(), nobody, clock=Clock(), keep_moves_days=90)
    wall.now += 365 * 24 * HOUR
    await recorder.prune()
    assert await epochs(ready) == [2, 1]
    await Recorder(ready, Metrics(), nobody, clock=Clock(), keep_moves_days=90).prune()
    assert await epochs(ready) == [2], "so old it is by both clocks of who starts now"


async def epochs(store: Store) -> list[int]:
    async with store.reading() as session:
        return [each.epoch for each in await moverows.moves(session, router_id=R)]


def nobody(effect: Write, failure: str) -> None:
    raise AssertionError(effect)
