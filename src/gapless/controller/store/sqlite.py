"""What SQLite needs to be a store that several tasks may use: pragmas, real transactions, errors that say what to do.

The rule: a transaction is what it says. Python's driver begins transactions late and implicitly, so a read that
decides what to write could run outside of one. Here SQLAlchemy says BEGIN: IMMEDIATE for writers, which therefore
read what they then change under the write lock; DEFERRED for readers, which see one consistent snapshot (WAL).

`synchronous` is FULL: a commit is on the disk before anybody is told. With NORMAL a power loss could take the last
commits back, and a binding that a host already acts on would be forgotten: the router could end up on two hosts.
The price is one fsync a commit; the planner stores bindings in batches.

Sources: sqlite.org/pragma.html, sqlite.org/wal.html, sqlite.org/rescode.html.
"""

import sqlite3
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from gapless.errors import GaplessError, LostRace, StoreUnavailable

BUSY_TIMEOUT_S = 5.0
"""How long to wait for a lock that another process holds; within this process writers queue before they get here."""
WRITES = "gapless_writes"
"""Execution option of connections whose transactions take the write lock when they begin."""

_ADVICE = {
    sqlite3.SQLITE_IOERR_SHMSIZE: "cannot be opened because the disk is full: free some space, and start again",
    sqlite3.SQLITE_READONLY: "is read-only: give this user write permission on the file and its directory",
    sqlite3.SQLITE_FULL: "cannot grow because the disk is full: free some space; nothing needs a restart",
    sqlite3.SQLITE_NOTADB: "is not a database: restore it from a backup, or move it away to start with an empty one",
    sqlite3.SQLITE_CORRUPT: "is damaged: stop the server and restore it from a backup",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its directory exists and that this user may write there",
    sqlite3.SQLITE_PERM: "cannot be opened: check that its directory exists and that this user may write there",
    sqlite3.SQLITE_IOERR: "cannot be read or written, the disk reports an error: look at the kernel's log",
    sqlite3.SQLITE_BUSY: f"is locked by another process for more than {BUSY_TIMEOUT_S:g} s: find it with `fuser`",
    sqlite3.SQLITE_LOCKED: f"is locked by another process for more than {BUSY_TIMEOUT_S:g} s: find it with `fuser`",
}


def prepare(engine: AsyncEngine, *, foreign_keys: bool = True) -> None:
    """Give every connection of `engine` the pragmas and transactions described above."""

    @event.listens_for(engine.sync_engine, "connect")
    def set_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        writes: Any = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")


def translated(error: DBAPIError | sqlite3.Error, database: str) -> GaplessError | None:
    """The error in Gapless's words; None if it is a mistake in our own SQL, which must be seen as it is.

    A violated constraint is a lost race: what code can check, it checks before it writes.
    """
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF  # the rest tells variants of one error apart, of which few need words of their own
    if primary == sqlite3.SQLITE_CONSTRAINT or code == sqlite3.SQLITE_BUSY_SNAPSHOT:
        return LostRace(f"another request was first: {original}")
    advice = _ADVICE.get(code) or _ADVICE.get(primary)
    if advice is None:
        return None
    return StoreUnavailable(f"the database {database} {advice} (SQLite says: {original})")
