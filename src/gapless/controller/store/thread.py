"""One hop for a whole transaction: its work runs in the thread of the connection that it uses.

SQLite's calls block, so each connection has a thread of its own (aiosqlite). To go there and back for each of them
costs more than what they do: some forty statements of a request were two hundred turns of the event loop. Here the
coroutine that makes the calls goes there as a whole, and each of its calls is then a plain one.

The rule: such work waits for nothing but its session, and touches nothing that lives on the event loop. The first half
is kept here (what waits for something else is an InvariantError); the second half is its caller's to keep.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

import aiosqlite
from sqlalchemy import event
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import ConnectionPoolEntry

from gapless.errors import InvariantError

T = TypeVar("T")
_CHUNK = 64
"""Rows that aiosqlite would read at a time where it iterates; nothing here does."""


class Connection(aiosqlite.Connection):
    """aiosqlite's, but what is called in its own thread is done there and then."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, _CHUNK)
        self._thread.daemon = True  # A disk that hangs must not keep the process from ending.

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is self._thread:
            return fn(*args, **kwargs)
        return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in this connection's thread. If cancelled, wait for its end: nobody else may have its session."""
        running = asyncio.ensure_future(self._execute(_finish, work))
        try:
            return cast("T", await asyncio.shield(running))
        except asyncio.CancelledError:
            while not running.done():
                await _quietly(running)
            raise
        finally:
            work.close()  # Where the thread is gone, it was never begun.


def use(engine: AsyncEngine) -> None:
    """Have `engine` make its connections here."""

    @event.listens_for(engine.sync_engine, "do_connect")
    def open_here(_: Dialect, __: ConnectionPoolEntry, args: list[Any], options: dict[str, Any]) -> None:
        del args, __
        options["async_creator_fn"] = _open


async def run(session: AsyncSession, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, which uses this session and waits for nothing else, in the thread of the session's connection."""
    try:
        raw = await (await session.connection()).get_raw_connection()
    except BaseException:
        work.close()
        raise
    connection = raw.driver_connection
    assert isinstance(connection, Connection)
    return await connection.run(work)


def _open(*args: Any, **options: Any) -> Connection:
    return Connection(partial(sqlite3.connect, *args, **options))


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing to its end."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    work.close()
    raise InvariantError("work inside of a transaction waits for something else than its session")


async def _quietly(running: "asyncio.Future[Any]") -> None:
    """Wait for the end of `running`, whatever it is, even if cancelled once more."""
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        return
