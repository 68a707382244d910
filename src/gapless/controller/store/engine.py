"""The store: opened once, migrated, then used through two doors.

    async with store.transaction() as session: ...    all of it is stored when the block ends, or nothing
    async with store.reading() as session: ...        one consistent snapshot; what is written in it is dropped

Writers of this process queue (first come, first served), so none waits for a lock of SQLite while it holds the event
loop's attention; other processes are held off by SQLite itself. What the controller itself stores and reads goes
`ahead` of callers of the API, of whom there may be a crowd just when hosts have died. Errors of the database leave here
in Gapless's words: StoreUnavailable says what to do, LostRace says that doing it again is right.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm.exc import StaleDataError

from gapless.controller.store import migrate, sqlite, thread
from gapless.controller.store.health import Health
from gapless.errors import InvalidRequest, LostRace, StoreUnavailable

T = TypeVar("T")
RETRIES = 10
"""How often a transaction is begun when it loses races, before its error is shown."""
CONNECTIONS = 15
"""So many may read at once. The one writer has a connection of its own: no crowd of readers keeps it waiting."""
CONNECTIONS_AHEAD = 3
"""So many more may who read ahead of them."""
CONNECTION_TIMEOUT_S = 10.0
"""How long to wait for one of them."""
CLOSING_S = sqlite.BUSY_TIMEOUT_S + 1.0
"""How long its users have to end when it is closed: longer than they wait for a lock of another process."""


class Store:
    """The database. Make one with `await Store.open(url)`."""

    def __init__(self, *, reading: AsyncEngine, ahead: AsyncEngine, writing: AsyncEngine, database: str) -> None:
        self._engines = (reading, ahead, writing)
        self._database = database
        self._readers = async_sessionmaker(reading, expire_on_commit=False, autoflush=True)
        self._readers_ahead = async_sessionmaker(ahead, expire_on_commit=False, autoflush=True)
        as_writer = writing.execution_options(**{sqlite.WRITES: True})
        self._writers = async_sessionmaker(as_writer, expire_on_commit=False, autoflush=True)
        self._turn = asyncio.Lock()
        self._callers = asyncio.Lock()
        """Who is not ahead waits here, so that there is one of them at most in the queue for a turn."""
        self._health = Health()
        self._users = 0
        self._is_unused = asyncio.Event()
        self._is_unused.set()
        self._is_closed = False

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open `sqlite:///relative.db` or `sqlite:////absolute.db`, and bring its schema up to date.

        Raises InvalidRequest (not a URL that can be used), StoreUnavailable (missing directory, read-only, full,
        locked or damaged file) or Refused (made by a newer Gapless, or not by Gapless at all).
        """
        parsed = _checked(url)
        database = parsed.database or ""
        with _translating(database):
            await migrate.to_newest(parsed)
            store = cls(
                reading=_engine(parsed, CONNECTIONS),
                ahead=_engine(parsed, CONNECTIONS_AHEAD),
                writing=_engine(parsed, 1),
                database=database,
            )
            try:
                async with store.transaction() as session:
                    # A read-only file is found now, not by the first request. A transaction alone does not tell: SQLite
                    # makes it one that reads. Nothing is written, so a full disk is no obstacle: what is stored can
                    # be read, and hosts are heard.
                    await session.execute(text("UPDATE alembic_version SET version_num = version_num WHERE FALSE"))
            except BaseException:
                await store.close()
                raise
        return store

    async def close(self) -> None:
        """Close every connection, once who has one has given it back: nobody else could close that, and a transaction
        that was cancelled is rolled back in its thread. Who comes now is refused; who stays for `CLOSING_S` is left.
        """
        self._is_closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S):
                await self._is_unused.wait()
        for engine in self._engines:
            await engine.dispose()

    @asynccontextmanager
    async def transaction(self, *, ahead: bool = False) -> AsyncIterator[AsyncSession]:
        """A session whose changes are stored together when the block ends, or not at all when it raises.

        `ahead`: it waits for one that has begun, and for no other that is not ahead. `session.info` starts with empty
        sets `routers_changed` and `routers_deleted`, filled by operations.
        """
        info: dict[str, set[str]] = {"routers_changed": set(), "routers_deleted": set()}
        async with self._used(), nullcontext() if ahead else self._callers, self._turn:
            try:
                with _translating(self._database):
                    async with self._writers(info=info) as session, session.begin():
                        yield session
            except StoreUnavailable as error:
                self._health.failed(error)
                raise

    @asynccontextmanager
    async def reading(self, *, ahead: bool = False) -> AsyncIterator[AsyncSession]:
        """A session that sees one moment of the store, and stores nothing. Readers wait for no writer, and those ahead
        for no others.
        """
        readers = self._readers_ahead if ahead else self._readers
        with _translating(self._database):
            async with self._used(), readers() as session:
                yield session
                await session.rollback()

    @asynccontextmanager
    async def _used(self) -> AsyncIterator[None]:
        """Have `close` wait for the block."""
        if self._is_closed:
            raise StoreUnavailable(f"the database {self._database} is closed: the controller ends")
        self._users += 1
        self._is_unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._is_unused.set()

    async def trouble(self) -> StoreUnavailable | None:
        """Why nothing can be stored now; None: writes are stored. See `store.health`."""
        return await self._health.ask(self._write_a_little)

    async def _write_a_little(self) -> None:
        """Change the number that SQLite keeps in a file for whoever made it, and that we use for nothing else."""
        async with self.transaction() as session:
            number: int = await session.scalar(text("PRAGMA user_version")) or 0
            await session.execute(text(f"PRAGMA user_version = {(number + 1) % 2**31}"))


async def retry_conflicts(attempt: Callable[[], Awaitable[T]], attempts: int = RETRIES) -> T:
    """Run `attempt`, a whole transaction, until it loses no race, at most `attempts` times; then raise LostRace.

    Refusals that a request earned (Neutron's 409s) are Conflicts too, but no LostRace: they pass at once.
    """
    for _ in range(attempts - 1):
        try:
            return await attempt()
        except LostRace:
            await asyncio.sleep(0)  # let the winner finish
    return await attempt()


def file_of(url: str) -> Path:
    """The file behind a URL, by its one true name. Raises as `Store.open` does for a URL that cannot be used."""
    return Path((_checked(url).database or "").removeprefix("file:")).resolve()


def _engine(url: URL, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=connections, max_overflow=0, pool_timeout=CONNECTION_TIMEOUT_S, pool_use_lifo=True
    )
    thread.use(engine)
    sqlite.prepare(engine)
    return engine


@contextmanager
def _translating(database: str) -> Iterator[None]:
    try:
        yield
    except StaleDataError as error:
        raise LostRace(f"another request changed the same at the same time: {error}") from error
    except NoConnectionLeft as error:
        raise StoreUnavailable(f"all {CONNECTIONS} connections to {database} are in use: too many requests") from error
    except (DBAPIError, sqlite3.Error) as error:
        ours = sqlite.translated(error, database)
        if ours is None:
            raise
        raise ours from error


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidRequest(f"'{url}' is not a database URL: write sqlite:////absolute/path/to/file") from error
    if parsed.get_backend_name() != "sqlite":
        raise InvalidRequest(
            f"the database '{parsed.get_backend_name()}' is not supported: use sqlite:////path/to/file"
        )
    if not parsed.database or parsed.database == ":memory:":
        raise InvalidRequest("a database in memory would be lost, and not even shared: write sqlite:////path/to/file")
    directory = Path(parsed.database.removeprefix("file:")).parent
    if not directory.is_dir():
        raise StoreUnavailable(f"the database's directory {directory} does not exist: create it first")
    return parsed.set(drivername="sqlite+aiosqlite")
