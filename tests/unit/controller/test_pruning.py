"""Old records of moves are deleted, a few at a time, and never what the planner still needs."""

import asyncio
from datetime import timedelta

import pytest
from shell_fakes import PATIENCE_S, Trouble, add_routers, facts_of
from sqlalchemy import select

from gapless.controller import recorder as recorder_module
from gapless.controller.recorder import Recorder, Write
from gapless.controller.store import hostrows
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import BindingRow, MoveRow
from gapless.controller.wallclock import utc_now
from gapless.model.host import Incarnation
from gapless.observe.metrics import Metrics

DAY = timedelta(days=1)


def nobody(effect: Write, failure: str) -> None:
    raise AssertionError(effect)


async def moves(store: Store, router: str, *ages_days: float, ended: bool = True) -> None:
    """Moves of a router, at epochs from 1, each so old."""
    async with store.transaction() as session:
        for epoch, age in enumerate(ages_days, start=1):
            at = utc_now() - age * DAY
            session.add(
                MoveRow(
                    router_id=router,
                    epoch=epoch,
                    to_host="h1",
                    kind="schedule",
                    cause="test",
                    reason="test",
                    decided_at=at,
                    confirmed_at=at if ended else None,
                )
            )


async def bound(store: Store, router: str, epoch: int) -> None:
    async with store.transaction() as session:
        await hostrows.save_host(session, facts_of("h1"), Incarnation(1), utc_now())
        session.add(BindingRow(router_id=router, host="h1", epoch=epoch))


async def kept(store: Store) -> list[int]:
    async with store.reading() as session:
        return sorted(await session.scalars(select(MoveRow.epoch)))


async def test_old_moves_go_and_the_present_one_and_those_that_have_not_ended_stay(store: Store) -> None:
    (router,) = await add_routers(store, "r")
    await bound(store, router, 3)
    await moves(store, router, 400, 91, 200)
    other = "22222222-2222-4222-8222-222222222222"
    await moves(store, other, 300, 89)
    prune = Recorder(store, Metrics(), nobody, keep_moves_days=90)
    assert not await prune.prune()
    assert await kept(store) == [2, 3]


async def test_what_has_not_ended_goes_with_its_router(store: Store) -> None:
    routers = await add_routers(store, "r")
    await bound(store, routers[0], 9)
    await moves(store, routers[0], 400, ended=False)
    await moves(store, "22222222-2222-4222-8222-222222222222", 400, 400, ended=False)
    await Recorder(store, Metrics(), nobody, keep_moves_days=90).prune()
    assert await kept(store) == [1]


async def test_they_go_in_batches_oldest_first_and_only_if_somebody_wants_that(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "PRUNED_AT_ONCE", 2)
    monkeypatch.setattr(recorder_module, "PRUNE_AGAIN_S", 0.0)
    await moves(store, "22222222-2222-4222-8222-222222222222", 105, 104, 103, 102, 101, 1)
    prune = Recorder(store, Metrics(), nobody, keep_moves_days=90)
    assert await prune.prune()
    assert await kept(store) == [3, 4, 5, 6]
    running = asyncio.create_task(prune.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await kept(store) != [6]:  # noqa: ASYNC110 - nobody tells when it is done
                await asyncio.sleep(0.005)
    finally:
        running.cancel()


async def test_without_a_bound_everything_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Recorder(store, Metrics(), nobody)
    asked: list[bool] = []

    async def prune(self: Recorder) -> bool:
        asked.append(True)
        return False

    monkeypatch.setattr(Recorder, "prune", prune)
    running = asyncio.create_task(keep.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    assert asked == []


async def test_a_database_that_is_away_delays_it(store: Store, trouble: Trouble) -> None:
    await moves(store, "22222222-2222-4222-8222-222222222222", 105)
    prune = Recorder(store, Metrics(), nobody, keep_moves_days=90)
    trouble.read_only()
    assert not await prune.prune()
    trouble.over()
    assert not await prune.prune()
    assert await kept(store) == []
