"""Routers read once for all who ask, and never kept when they are otherwise by now."""

import asyncio
import threading
from collections.abc import Collection
from pathlib import Path

import pytest
from shell_fakes import PATIENCE_S, add_routers, delete_router, rename_router
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller import blueprints
from gapless.controller.blueprints import Blueprints
from gapless.controller.store import engine, projection
from gapless.controller.store.engine import Store
from gapless.errors import StoreUnavailable
from gapless.model.router import Router, RouterId


class Reads:
    """What is read of the store, in the thread that reads; it may be held up before it is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[set[RouterId]] = []
        self.is_read, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        self._read = projection.routers
        monkeypatch.setattr(projection, "routers", self._note)

    async def _note(self, session: AsyncSession, ids: Collection[RouterId]) -> dict[RouterId, Router]:
        self.asked.append(set(ids))
        found = await self._read(session, ids)
        self.is_read.set()
        assert self.may_answer.wait(PATIENCE_S)
        return found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


async def test_who_asks_at_once_is_answered_by_one_read(store: Store, reads: Reads) -> None:
    a, b, c = await add_routers(store, "a", "b", "c")
    made = Blueprints(store)
    first, second = await asyncio.gather(made.of([a, b]), made.of([b, c]))
    assert (first.keys(), second.keys()) == ({a, b}, {b, c})
    assert reads.asked == [{a, b, c}]
    assert first[b] is second[b]


async def test_what_was_read_is_kept(store: Store, reads: Reads) -> None:
    a, b = await add_routers(store, "a", "b")
    made = Blueprints(store)
    await made.of([a])
    assert (await made.of([a, b])).keys() == {a, b}
    assert reads.asked == [{a}, {b}]


async def test_what_changed_is_read_again(store: Store) -> None:
    a, b = await add_routers(store, "a", "b")
    made = Blueprints(store)
    await made.of([a, b])
    await rename_router(store, a, "other")
    await delete_router(store, b)
    made.changed([a, b])
    assert {router_id: each.name for router_id, each in (await made.of([a, b])).items()} == {a: "other"}


async def test_what_changed_while_it_was_read_is_not_kept(store: Store, reads: Reads) -> None:
    a, b = await add_routers(store, "a", "b")
    made = Blueprints(store)
    reads.may_answer.clear()
    asking = asyncio.create_task(made.of([a, b]))
    assert await asyncio.to_thread(reads.is_read.wait, PATIENCE_S)
    await rename_router(store, a, "other")
    made.changed([a])
    reads.may_answer.set()
    assert (await asking)[a].name == "a"
    assert (await made.of([a, b]))[a].name == "other"
    assert reads.asked == [{a, b}, {a}]


async def test_so_many_are_read_at_once_and_not_more(
    store: Store, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blueprints, "READ_AT_ONCE", 2)
    a, b, c = await add_routers(store, "a", "b", "c")
    made = Blueprints(store)
    await asyncio.gather(made.of([a]), made.of([b]), made.of([c]))
    assert reads.asked == [{a, b}, {c}]


async def test_a_store_that_is_away_is_everybodys_trouble_and_is_asked_again(store: Store) -> None:
    (a,) = await add_routers(store, "a")
    made = Blueprints(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "reading", _away)
        answers = await asyncio.gather(made.of([a]), made.of([a]), return_exceptions=True)
    assert [type(each) for each in answers] == [StoreUnavailable, StoreUnavailable]
    assert (await made.of([a])).keys() == {a}


async def test_what_hosts_have_to_build_is_read_whoever_else_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CONNECTIONS", 1)
    monkeypatch.setattr(engine, "CONNECTION_TIMEOUT_S", 0.01)
    crowded = await Store.open(f"sqlite:///{tmp_path}/gapless.db")
    (a,) = await add_routers(crowded, "a")
    async with crowded.reading() as session:
        assert await session.scalar(text("SELECT 1")) == 1
        assert (await Blueprints(crowded).of([a])).keys() == {a}
    await crowded.close()


def _away(**_: bool) -> None:
    raise StoreUnavailable("the database is gone")


async def test_one_who_leaves_takes_the_answer_from_nobody(store: Store) -> None:
    (a,) = await add_routers(store, "a")
    made = Blueprints(store)
    leaving, staying = asyncio.create_task(made.of([a])), asyncio.create_task(made.of([a]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).keys() == {a}
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_at_the_end_nothing_is_read_any_more(store: Store) -> None:
    (a,) = await add_routers(store, "a")
    made = Blueprints(store)
    asking = asyncio.create_task(made.of([a]))
    await asyncio.sleep(0)
    await made.end()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not made._reads
