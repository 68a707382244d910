"""Work in the thread of its connection: one hop for all of it, and nothing of it is left when it is cut short."""

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store import engine, thread
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import Cluster
from gapless.errors import InvariantError, LostRace, StoreUnavailable


async def count(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).select_from(Cluster)) or 0


async def test_all_statements_of_a_work_run_in_one_thread_that_is_not_the_loops(store: Store) -> None:
    async def work(session: AsyncSession) -> set[int]:
        seen = {threading.get_ident()}
        sync = (await session.connection()).sync_connection
        assert sync is not None
        event.listen(sync, "before_cursor_execute", lambda *_: seen.add(threading.get_ident()))
        session.add(Cluster(id="a"))
        await session.flush()
        assert await count(session) == 1
        return seen

    async with store.transaction() as session:
        seen = await thread.run(session, work(session))
        assert len(seen) == 1
        assert threading.get_ident() not in seen
    async with store.reading() as session:
        assert await thread.run(session, count(session)) == 1


async def test_the_loop_goes_on_while_a_work_runs(store: Store) -> None:
    """A disk that hangs keeps nobody waiting but those who asked it."""
    reached, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    async def hang(session: AsyncSession) -> int:
        loop.call_soon_threadsafe(reached.set)
        go_on.wait()
        return await count(session)

    async with store.reading() as session:
        running = asyncio.create_task(thread.run(session, hang(session)))
        await reached.wait()
        async with store.transaction() as writer:
            writer.add(Cluster(id="a"))
        go_on.set()
        assert await running == 1


async def test_what_a_work_raises_is_raised_and_nothing_of_it_is_left(store: Store) -> None:
    async def fail(session: AsyncSession) -> None:
        session.add(Cluster(id="a"))
        await session.flush()
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        async with store.transaction() as session:
            await thread.run(session, fail(session))
    async with store.reading() as session:
        assert await count(session) == 0


async def test_a_violated_constraint_is_a_lost_race_here_too(store: Store) -> None:
    async def twice(session: AsyncSession) -> None:
        await session.execute(text("INSERT INTO cluster (id, created_at) VALUES ('a', 0), ('a', 0)"))

    with pytest.raises(LostRace, match="UNIQUE"):
        async with store.transaction() as session:
            await thread.run(session, twice(session))


async def test_a_work_that_waits_for_something_else_is_a_bug_and_nothing_of_it_is_left(store: Store) -> None:
    async def wait(session: AsyncSession) -> None:
        session.add(Cluster(id="a"))
        await session.flush()
        await asyncio.sleep(0)

    with pytest.raises(InvariantError, match="waits for something else than its session"):
        async with store.transaction() as session:
            await thread.run(session, wait(session))
    async with store.transaction() as session:
        assert await count(session) == 0


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_work_ends_before_its_session_is_given_back(store: Store, times: int) -> None:
    reached, go_on, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    async def write(session: AsyncSession) -> None:
        loop.call_soon_threadsafe(reached.set)
        go_on.wait()
        session.add(Cluster(id="a"))
        await session.flush()
        ended.set()

    async def request() -> None:
        try:
            async with store.transaction() as session:
                await thread.run(session, write(session))
        finally:
            assert ended.is_set()

    task = asyncio.create_task(request())
    await reached.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.transaction() as session:  # the write lock is free again
        assert await count(session) == 0


async def test_a_work_whose_connection_is_closed_does_not_begin(store: Store) -> None:
    async def on_a_closed_connection() -> None:
        async with store.reading() as session:
            connection = (await (await session.connection()).get_raw_connection()).driver_connection
            assert isinstance(connection, thread.Connection)
            await connection.close()
            await connection.run(count(session))

    with pytest.raises(ValueError, match="onnection"):
        await on_a_closed_connection()


async def test_a_work_for_which_no_connection_is_left_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CONNECTIONS", 1)
    monkeypatch.setattr(engine, "CONNECTION_TIMEOUT_S", 0.01)
    crowded = await Store.open(f"sqlite:///{tmp_path}/gapless.db")
    async with crowded.reading() as one:
        assert await thread.run(one, count(one)) == 0
        with pytest.raises(StoreUnavailable, match="too many requests"):
            async with crowded.reading() as two:
                await thread.run(two, count(two))
    await crowded.close()


async def test_a_store_is_closed_when_its_last_user_has_given_the_connection_back(store: Store) -> None:
    """Who was cancelled is not done yet: nobody but its session could close the connection."""
    reached, go_on, connections = asyncio.Event(), threading.Event(), list[thread.Connection]()
    loop = asyncio.get_running_loop()

    async def hang(session: AsyncSession) -> int:
        loop.call_soon_threadsafe(reached.set)
        go_on.wait()
        return await count(session)

    async def request() -> None:
        async with store.transaction() as session:
            connection = (await (await session.connection()).get_raw_connection()).driver_connection
            assert isinstance(connection, thread.Connection)
            connections.append(connection)
            await thread.run(session, hang(session))

    asking, waiting = asyncio.create_task(request()), asyncio.create_task(request())
    await reached.wait()
    closing = asyncio.create_task(store.close())
    asking.cancel()
    waiting.cancel()
    try:
        await asyncio.wait([waiting])
        assert not closing.done()
        for door in (store.transaction, store.reading):
            with pytest.raises(StoreUnavailable, match="is closed: the controller ends"):
                async with door():
                    pass
    finally:
        go_on.set()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await asking
    (connection,) = connections
    assert connection._connection is None, "else Python complains when it finds it, whatever runs then"


async def test_one_who_does_not_end_keeps_a_store_from_being_closed_for_a_while_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CLOSING_S", 0.01)
    async with store.reading():
        await store.close()
