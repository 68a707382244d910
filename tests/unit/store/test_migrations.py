"""The steps lead to exactly the tables of the code, and a step that fails leaves the database as it was."""

import re
from pathlib import Path
from typing import Any

import pytest
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, select, text

from gapless.controller.store import migrate
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import BindingRow, Table
from gapless.errors import InvariantError


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return create_engine(f"sqlite:///{tmp_path}/gapless.db")


def schema(connection: Connection) -> dict[str, list[str]]:
    """What each table and index is made of, whatever the order of its parts."""
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {name: _parts(sql) for name, sql in rows if name != "alembic_version"}


def _parts(sql: str) -> list[str]:
    """The columns and constraints of a CREATE statement, in one order and one spelling."""
    flat = re.sub(r"\s+", " ", sql)
    head, _, body = flat.partition(" (")
    depth, parts = 0, [""]
    for letter in body.rpartition(")")[0]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [head.strip(), *sorted(part.strip() for part in parts)]


def test_the_migrated_schema_is_the_one_of_the_tables(engine: Engine) -> None:
    """Fails when tables.py changes without a step: add a file to migrations/versions that makes the same change."""
    wanted_engine = create_engine("sqlite://")
    with engine.begin() as migrated, wanted_engine.begin() as wanted:
        migrate.upgrade(migrated)
        Table.metadata.create_all(wanted)
        assert schema(migrated) == schema(wanted)
        assert compare_metadata(MigrationContext.configure(migrated), Table.metadata) == []
    engine.dispose()
    wanted_engine.dispose()


def test_the_steps_are_one_line() -> None:
    """Two steps on one parent, as after a merge, could be run in either order."""
    scripts = ScriptDirectory(str(migrate.MIGRATIONS))
    assert len(scripts.get_heads()) == 1
    assert all(isinstance(step.down_revision, str | None) for step in scripts.walk_revisions())


def test_the_one_that_might_succeed_is_the_first_successor(engine: Engine) -> None:
    bindings = "INSERT INTO bindings (router_id, host, epoch, bound_at, standby_host, standby_incarnation) VALUES "
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for values in ("'a', 'h1', 7, '2026-01-01', 'h2', 3", "'b', 'h1', 1, '2026-01-01', NULL, NULL"):
            connection.execute(text(f"{bindings} ({values})"))
        command.upgrade(config, "head")
        stored = connection.execute(select(BindingRow.router_id, BindingRow.successors)).all()
    assert {row.router_id: row.successors for row in stored} == {
        "a": [{"host": "h2", "incarnation": 3, "epoch": 8}],
        "b": [],
    }
    engine.dispose()


async def test_a_step_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    create_index = op.create_index

    def failing(name: str, *args: Any, **kwargs: Any) -> None:
        made.append(name)
        if len(made) == 5:
            raise OSError("out of luck")
        create_index(name, *args, **kwargs)

    url = f"sqlite:///{tmp_path}/gapless.db"
    with monkeypatch.context() as broken:
        broken.setattr(op, "create_index", failing)
        with pytest.raises(OSError, match="out of luck"):
            await Store.open(url)
    assert tables_in(tmp_path / "gapless.db") == set()
    store = await Store.open(url)
    await store.close()
    assert "routers" in tables_in(tmp_path / "gapless.db")


async def test_a_step_that_leaves_dangling_references_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_index = op.create_index

    def careless(name: str, table: str, *args: Any, **kwargs: Any) -> None:
        create_index(name, table, *args, **kwargs)
        if table == "router_ports":  # the last but few tables: what it refers to is there
            op.execute("INSERT INTO router_ports (port_id, router_id) VALUES ('nowhere', 'nothing')")

    with monkeypatch.context() as broken:
        broken.setattr(op, "create_index", careless)
        with pytest.raises(InvariantError, match="rows that refer to nothing"):
            await Store.open(f"sqlite:///{tmp_path}/gapless.db")
    assert tables_in(tmp_path / "gapless.db") == set()


def tables_in(path: Path) -> set[str]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        names = set(inspect(connection).get_table_names())
    engine.dispose()
    return names
