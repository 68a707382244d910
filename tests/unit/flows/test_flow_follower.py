"""A follower whose kernel has no room: what it did not take is kept, and taken when there is room."""

import asyncio

import pytest
from flow_kernel import Kernel, SmallTable, began, ended, entry, flows, router

from gapless.flows import follower
from gapless.flows.entries import Entry
from gapless.flows.figures import Figures
from gapless.flows.follower import Follower
from gapless.flows.turns import Turns
from gapless.wire.flows import Part


@pytest.fixture
def table(kernel: Kernel) -> SmallTable:
    made = kernel.table(router(1))
    made.room = 3
    return made


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def it(kernel: Kernel, table: SmallTable, figures: Figures) -> Follower:
    return Follower(kernel.path_of(router(1)), figures, Turns(rest=0.0))


def entries(first: int, count: int) -> list[Entry]:
    return [entry(began(port)) for port in range(first, first + count)]


async def test_changes_that_found_no_room_are_tried_again_and_taken_when_there_is(
    it: Follower, table: SmallTable, figures: Figures
) -> None:
    assert await it.apply(Part.CHANGES, entries(1, 5)) == 2
    it.try_again()
    assert (set(table.there), figures.applied, figures.refused) == (flows(range(1, 4)), 3, 2)
    table.room = 4
    it.try_again()
    assert (len(table.there), figures.refused) == (4, 2), "one is counted once, however often it is tried"
    table.room = 10
    it.try_again()
    assert (set(table.there), figures.applied) == (flows(range(1, 6)), 5)
    table.there.clear()
    it.try_again()
    assert not table.there, "nothing is left to try"


async def test_what_ended_meanwhile_is_not_tried_again(it: Follower, table: SmallTable) -> None:
    await it.apply(Part.CHANGES, entries(1, 5))
    await it.apply(Part.CHANGES, [entry(ended(4))])
    table.room = 10
    it.try_again()
    assert set(table.there) == flows([1, 2, 3, 5])


async def test_what_a_copy_brought_and_found_no_room_is_tried_again_and_forgotten_at_the_next(
    it: Follower, table: SmallTable
) -> None:
    await it.apply(Part.BEGIN, [])
    await it.apply(Part.ENTRIES, entries(1, 5))
    assert await it.apply(Part.END, []) == 2
    await it.apply(Part.BEGIN, [])
    table.room = 10
    it.try_again()
    assert set(table.there) == flows([1, 2, 3]), "the new copy says what there is"


async def test_what_a_copy_brought_and_was_over_before_its_end_is_not_brought_again(
    it: Follower, table: SmallTable
) -> None:
    await it.apply(Part.BEGIN, [])
    await it.apply(Part.ENTRIES, entries(1, 5))
    await it.apply(Part.CHANGES, [entry(ended(4))])
    table.room = 10
    assert await it.apply(Part.END, []) == 0
    assert set(table.there) == flows([1, 2, 3, 5])


async def test_a_router_is_not_copied_while_the_next_copy_brings_anew_what_found_no_room(
    it: Follower, table: SmallTable
) -> None:
    copy = (Part.BEGIN, []), (Part.ENTRIES, entries(1, 5)), (Part.END, []), (Part.WHOLE, [])

    async def is_copied_after_each() -> list[bool | None]:
        return [(await it.apply(*step), it.is_copied)[1] for step in copy]

    assert await is_copied_after_each() == [None, None, None, False]
    assert await is_copied_after_each() == [False, False, False, False]
    table.room = 10
    assert await is_copied_after_each() == [False, False, True, True]


async def test_what_is_kept_is_bounded(it: Follower, table: SmallTable) -> None:
    assert await it.apply(Part.CHANGES, entries(1, follower.MOST_KEPT + 10)) == follower.MOST_KEPT + 7
    assert len(it._kept) == follower.MOST_KEPT
    before = table.asked
    it.try_again()
    assert table.asked - before == follower.BATCH, "no more is asked of a table that takes nothing"
    assert len(it._kept) == follower.MOST_KEPT
    table.room = 10_000
    it.try_again()
    assert len(table.there) == follower.MOST_KEPT + 3


async def test_what_is_over_is_removed_a_part_at_a_time_and_no_more_of_it_once_it_is_let_go(
    it: Follower, table: SmallTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the router becomes active here meanwhile."""
    monkeypatch.setattr(follower, "OVER_AT_ONCE", 2)
    table.room = 5
    await it.apply(Part.CHANGES, entries(1, 5))
    await it.apply(Part.BEGIN, [])
    ending = asyncio.create_task(it.apply(Part.END, []))
    await asyncio.sleep(0)
    assert len(table.there) == 3, "others have their turn"
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert len(table.there) == 3
