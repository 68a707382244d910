"""Rows of moves."""

from datetime import timedelta
from typing import Any

import pytest
from row_rig import R, bind, bind_of, ms, record, taken
from shell_fakes import add_routers, delete_router, router_id
from sqlalchemy import event

from gapless.controller.store import bindingrows, moverows
from gapless.controller.store.engine import Store
from gapless.errors import NotFound
from gapless.model.plan import MoveKind, MoveStep


async def test_a_timeline_is_in_time_order_with_the_time_between_steps(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, silent_s=150.0, kind=MoveKind.RESCHEDULE))
    await record(ready, 1, MoveStep.CONFIRMED, ms(90))
    await record(ready, 1, MoveStep.SENT, ms(10))
    await record(ready, 1, MoveStep.BUILT, ms(60))

    async with ready.reading() as session:
        move = await moverows.move(session, R, 1)

    assert [(each.step.value, each.after_ms, each.since_ms) for each in move.timeline] == [
        ("last_heard", None, 0),
        ("decided", 150_000, 150_000),
        ("bound", 0, 150_000),
        ("sent", 10, 150_010),
        ("built", 50, 150_060),
        ("confirmed", 30, 150_090),
    ]
    assert (move.outcome, move.total_ms, move.detail) == ("confirmed", 150_090, "the only host")
    shown = move.as_json()
    assert shown["timeline"][0] == {
        "step": "last_heard",
        "at": "2026-01-01T11:57:30Z",
        "after_ms": None,
        "since_ms": 0,
    }
    assert shown["kind"] == "reschedule"


async def test_the_first_time_of_a_step_counts(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    assert await record(ready, 1, MoveStep.SENT, ms(1)) is not None
    assert await record(ready, 1, MoveStep.SENT, ms(2)) is None
    assert await record(ready, 9, MoveStep.SENT, ms(2)) is None, "no such move"

    built = await record(ready, 1, MoveStep.BUILT, ms(31))
    assert built is not None
    assert built.since_sent_s == pytest.approx(0.03)
    assert not built.ended


async def test_steps_of_many_moves_are_recorded_with_one_read_and_few_writes(ready: Store) -> None:
    names = [f"r{number}" for number in range(40)]
    await add_routers(ready, *names)
    await bind(ready, *(bind_of(name, "h1", 1) for name in names))
    said: list[str] = []

    async with ready.transaction() as session:
        connection = await session.connection()

        def note(*said_to: Any) -> None:
            said.append(said_to[2])

        event.listen(connection.sync_connection, "before_cursor_execute", note)
        steps = [taken(step, ms(1), router=name) for name in names for step in (MoveStep.SENT, MoveStep.BUILT)]
        recorded = await moverows.record_steps(session, [*steps, taken(MoveStep.SENT, ms(9), router=names[0])])

    assert [each is not None for each in recorded] == [True] * 80 + [False], "the first time of a step counts"
    assert len(said) <= 3, said
    async with ready.reading() as session:
        moves = await moverows.moves(session)
    assert all(MoveStep.BUILT in [step.step for step in move.timeline] for move in moves)


async def test_a_move_ends_once(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    failed = await record(ready, 1, MoveStep.FAILED, ms(5))
    superseded = await record(ready, 1, MoveStep.SUPERSEDED, ms(6))
    assert failed is not None
    assert failed.ended
    assert superseded is not None
    assert not superseded.ended
    async with ready.reading() as session:
        assert (await moverows.move(session, R, 1)).outcome == "failed"


async def test_open_moves_are_those_of_the_present_epoch(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1), bind_of("s", "h1", 1))
    await record(ready, 1, MoveStep.CONFIRMED, ms(1))
    await bind(ready, bind_of("r", "h2", 2, kind=MoveKind.RESCHEDULE))
    async with ready.reading() as session:
        assert await moverows.open_moves(session) == {R: MoveKind.RESCHEDULE, router_id("s"): MoveKind.SCHEDULE}
    await record(ready, 2, MoveStep.CONFIRMED, ms(2))
    async with ready.reading() as session:
        assert await moverows.open_moves(session) == {router_id("s"): MoveKind.SCHEDULE}


async def test_moves_are_listed_newest_first_by_router_or_host(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1), at=ms(1))
    await bind(ready, bind_of("s", "h2", 1), at=ms(2))
    await bind(ready, bind_of("r", "h2", 2, previous_host="h1"), at=ms(3))

    async def listed(**asked: Any) -> list[tuple[str, int]]:
        async with ready.reading() as session:
            return [(move.router_name, move.epoch) for move in await moverows.moves(session, **asked)]

    assert await listed() == [("r", 2), ("s", 1), ("r", 1)]
    assert await listed(router_id=R) == [("r", 2), ("r", 1)]
    assert await listed(host="h1") == [("r", 2), ("r", 1)]
    assert await listed(limit=1) == [("r", 2)]
    assert await listed(router_id="nobody") == []


async def test_the_record_outlives_the_router_and_an_unknown_move_is_not_found(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1))
    await delete_router(ready, R)
    async with ready.reading() as session:
        assert (await moverows.move(session, R, 1)).router_name == "r"
        assert R not in await bindingrows.bindings(session)
        with pytest.raises(NotFound, match="to epoch 2"):
            await moverows.move(session, R, 2)


async def test_why_a_router_is_where_it_is_is_known_later(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1), bind_of("s", "h1", 1, reason="it has no host"))
    await record(ready, 1, MoveStep.CONFIRMED, ms(1))
    await bind(ready, bind_of("r", "h2", 2, choice="h2 has room"))
    await record(ready, 1, MoveStep.SUPERSEDED, ms(2))
    await record(ready, 2, MoveStep.SENT, ms(3))
    async with ready.transaction() as session:
        await moverows.record_steps(session, [taken(MoveStep.FAILED, ms(4), router="s")])
    async with ready.reading() as session:
        assert await moverows.choices(session) == {R: "h2 has room", router_id("s"): "it has no host"}
        details = {move.epoch: move.detail for move in await moverows.moves(session, router_id=R)}
        assert details == {2: "h2 has room", 1: "superseded it is"}
        assert (await moverows.move(session, router_id("s"), 1)).detail == "failed it is"


async def test_long_reasons_are_cut_not_refused(ready: Store) -> None:
    await bind(ready, bind_of("r", "h1", 1, reason="because " * 1000, choice="since " * 1000))
    async with ready.reading() as session:
        move = await moverows.move(session, R, 1)
    assert len(move.reason) == len(move.detail) == 1024


async def test_a_takeover_s_record_begins_before_the_controller_heard_of_it(ready: Store) -> None:
    ago_s = {"granted": 0.3, "missed": 0.25, "silent": 0.05, "decided": 0.049, "buried": 0.047, "opened": 0.046}
    over = tuple((MoveStep(step), seconds) for step, seconds in ago_s.items())
    await bind(ready, bind_of("r", "h1", 1, kind=MoveKind.TAKEOVER, over=over))
    assert await record(ready, 1, MoveStep.OPENED, ms(7)) is None, "the first time of a step counts"
    assert await record(ready, 1, MoveStep.DECIDED, ms(7)) is None, "known for certain, and told once more"
    async with ready.reading() as session:
        move = await moverows.move(session, R, 1)
    assert [each.step for each in move.timeline] == [*ago_s, "bound"]
    assert [each.since_ms for each in move.timeline] == [-50, 0, 200, 201, 203, 204, 250]
    assert move.total_ms == 250


async def test_when_a_successor_decided_is_put_right_once_it_says_so(ready: Store) -> None:
    """A report may name a router as open before it tells of the takeover."""
    await bind(ready, bind_of("r", "h1", 1, kind=MoveKind.TAKEOVER, over=((MoveStep.DECIDED, 0.0),)))
    told = {MoveStep.MISSED: -210, MoveStep.SILENT: -10, MoveStep.DECIDED: -9, MoveStep.BURIED: -7, MoveStep.OPENED: -6}
    async with ready.transaction() as session:
        await moverows.record_steps(session, [taken(step, ms(at)) for step, at in told.items()])
    async with ready.reading() as session:
        move = await moverows.move(session, R, 1)
    assert [each.step for each in move.timeline] == [*told, "bound"]
    assert [each.since_ms for each in move.timeline] == [0, 200, 201, 203, 204, 210]


async def test_when_the_controller_decided_is_not_put_right(ready: Store) -> None:
    """The host that it was to leave died, and its successor took it over at the epoch of the drain."""
    await bind(ready, bind_of("r", "h1", 1, kind=MoveKind.DRAIN))
    assert await record(ready, 1, MoveStep.DECIDED, ms(7)) is None


@pytest.mark.parametrize("step", [MoveStep.ANNOUNCED, MoveStep.FORWARDED])
async def test_nothing_is_announced_or_forwarded_before_it_is_open_however_the_clock_is_set(
    ready: Store, step: MoveStep
) -> None:
    await bind(ready, bind_of("r", "h1", 1, kind=MoveKind.TAKEOVER))
    await record(ready, 1, MoveStep.OPENED, ms(7))
    await record(ready, 1, step, ms(6.999))
    async with ready.reading() as session:
        move = await moverows.move(session, R, 1)
    assert [(each.step, each.at) for each in move.timeline][-2:] == [(MoveStep.OPENED, ms(7)), (step, ms(7))]


async def test_a_host_s_own_times_break_no_calendar(ready: Store) -> None:
    over = ((MoveStep.MISSED, 1e15), (MoveStep.DECIDED, 1e15), (MoveStep.OPENED, -1e15))
    await bind(ready, bind_of("r", "h1", 1, kind=MoveKind.TAKEOVER, over=over))
    async with ready.reading() as session:
        move = await moverows.move(session, R, 1)
    assert move.total_ms == timedelta(days=30) / timedelta(milliseconds=1)
