"""Bring a database to the schema of this code, step by step, in one transaction; refuse what is not ours.

Every change of `tables.py` has a file in `migrations/versions/`; a test holds the two together. A step that fails
leaves the database as it was. Foreign keys are off while steps run, because SQLite changes a table by making it anew
(sqlite.org/lang_altertable.html), and are all checked before the end.
"""

from collections.abc import Iterable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from gapless.controller.store import sqlite
from gapless.errors import InvariantError, Refused

MIGRATIONS = Path(__file__).with_name("migrations")


async def to_newest(url: URL) -> None:
    """Migrate the database at `url` (made if it is not there). Raises Refused if it is newer or foreign."""
    engine = create_async_engine(url, poolclass=NullPool).execution_options(**{sqlite.WRITES: True})
    sqlite.prepare(engine, foreign_keys=False)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


def upgrade(connection: Connection) -> None:
    """Run the steps that are missing, on a connection with an open transaction that the caller commits."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_heads()
    _refuse_foreign(connection, current, {script.revision for script in known.walk_revisions()})
    if current == (known.get_current_head(),):
        return
    command.upgrade(config, "head")
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise InvariantError(f"a migration left rows that refer to nothing, and was rolled back: {broken[:5]}")


def _refuse_foreign(connection: Connection, current: Iterable[str], known: set[str]) -> None:
    name = connection.engine.url.database
    for revision in current:
        if revision not in known:
            raise Refused(
                f"the database {name} was made by a newer Gapless (schema '{revision}'): "
                "start that version again, or restore the backup made before the upgrade"
            )
    if not current and inspect(connection).get_table_names():
        raise Refused(f"the database {name} holds tables that Gapless did not make: name another file")
