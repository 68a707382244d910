"""The store: all or nothing, one writer at a time, and errors of the database in words that say what to do."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.store import engine
from gapless.controller.store.engine import Store, retry_conflicts
from gapless.controller.store.tables import NetworkRow, RouterRow, SubnetRow
from gapless.errors import Conflict, InvalidRequest, LostRace, Refused, StoreUnavailable


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/gapless.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url)
    yield opened
    await opened.close()


def router(name: str) -> RouterRow:
    return RouterRow(id=f"{name:0>36}", name=name, availability_zone_hints=[], failover_mode="reschedule")


async def names(session: AsyncSession) -> list[str]:
    return list(await session.scalars(select(RouterRow.name).order_by(RouterRow.name)))


async def test_a_transaction_is_stored_when_it_ends(store: Store) -> None:
    async with store.transaction() as session:
        session.add(router("a"))
    async with store.reading() as session:
        assert await names(session) == ["a"]


async def test_nothing_of_a_transaction_is_left_when_it_raises(store: Store) -> None:
    async def fail_half_way() -> None:
        async with store.transaction() as session:
            session.add(router("a"))
            await session.flush()
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        await fail_half_way()
    async with store.reading() as session:
        assert await names(session) == []


async def test_nothing_of_a_transaction_is_left_when_its_task_is_cancelled(store: Store) -> None:
    written = asyncio.Event()

    async def write() -> None:
        async with store.transaction() as session:
            session.add(router("a"))
            await session.flush()
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.transaction() as session:  # the write lock is free again
        assert await names(session) == []


async def test_what_is_written_while_reading_is_dropped(store: Store) -> None:
    async with store.reading() as session:
        session.add(router("a"))
        await session.flush()
    async with store.reading() as session:
        assert await names(session) == []


async def test_a_reader_sees_one_moment_and_waits_for_no_writer(store: Store) -> None:
    async with store.reading() as reader:
        assert await names(reader) == []
        async with store.transaction() as writer:
            writer.add(router("a"))
        assert await names(reader) == []
    async with store.reading() as reader:
        assert await names(reader) == ["a"]


async def test_writers_come_one_after_another_as_they_came(store: Store) -> None:
    served: list[int] = []

    async def append(number: int) -> None:
        async with store.transaction() as session:
            served.append(number)
            count = await session.scalar(select(func.count()).select_from(RouterRow))
            session.add(router(f"r{count}"))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(append(number))
    assert served == list(range(20))
    async with store.reading() as session:
        assert await names(session) == sorted(f"r{count}" for count in range(20))


async def test_each_transaction_begins_with_no_routers_marked(store: Store) -> None:
    async with store.transaction() as session:
        session.info["routers_changed"].add("a")
    async with store.transaction() as session:
        assert session.info == {"routers_changed": set(), "routers_deleted": set()}


async def test_what_is_stored_survives_closing(url: str, store: Store) -> None:
    async with store.transaction() as session:
        session.add(router("a"))
    await store.close()
    again = await Store.open(url)
    async with again.reading() as session:
        assert await names(session) == ["a"]
    await again.close()


async def test_commits_are_on_the_disk_before_they_are_told(store: Store) -> None:
    async with store.reading() as session:
        assert await session.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await session.scalar(text("PRAGMA foreign_keys")) == 1


# Lost races


async def test_a_violated_constraint_is_a_lost_race(store: Store) -> None:
    async with store.transaction() as session:
        session.add(router("a"))
    with pytest.raises(LostRace, match=r"UNIQUE constraint failed: routers\.id"):
        async with store.transaction() as session:
            session.add(router("a"))


async def test_a_dangling_reference_is_a_lost_race(store: Store) -> None:
    row = router("a")
    row.gateway_port_id = "gone"
    with pytest.raises(LostRace, match="FOREIGN KEY"):
        async with store.transaction() as session:
            session.add(row)


async def test_changing_what_another_changed_meanwhile_is_a_lost_race(store: Store) -> None:
    """As with several controllers on one database: what was read is not what is there any more."""
    async with store.transaction() as session:
        session.add(router("a"))
    async with store.reading() as early:
        row = (await early.scalars(select(RouterRow))).one()
        early.expunge(row)
    async with store.transaction() as session:
        (await session.scalars(select(RouterRow))).one().name = "b"
    row.name = "c"
    with pytest.raises(LostRace, match="at the same time"):
        async with store.transaction() as session:
            session.add(row)
    async with store.reading() as session:
        assert await names(session) == ["b"]


async def test_each_change_has_its_revision(store: Store) -> None:
    async with store.transaction() as session:
        session.add(router("a"))
    async with store.transaction() as session:
        row = (await session.scalars(select(RouterRow))).one()
        assert row.revision_number == 1
        before = row.updated_at
        row.touch()
        await session.flush()
        assert row.revision_number == 2
        assert row.updated_at > before


async def test_a_lost_race_is_run_again(store: Store) -> None:
    attempts: list[str] = []

    async def attempt() -> str:
        attempts.append("x")
        async with store.transaction() as session:
            session.add(router("b" if len(attempts) == 3 else "a"))
        return "stored"

    async with store.transaction() as session:
        session.add(router("a"))
    assert await retry_conflicts(attempt) == "stored"
    assert len(attempts) == 3


async def test_retries_are_bounded(store: Store) -> None:
    attempts: list[str] = []

    async def attempt() -> None:
        attempts.append("x")
        raise LostRace("always")

    with pytest.raises(LostRace):
        await retry_conflicts(attempt, attempts=4)
    assert len(attempts) == 4


async def test_a_refusal_is_not_retried() -> None:
    attempts: list[str] = []

    async def attempt() -> None:
        attempts.append("x")
        raise Conflict("in use")

    with pytest.raises(Conflict):
        await retry_conflicts(attempt)
    assert len(attempts) == 1


# What is wrong with the database


@pytest.mark.parametrize("bad", ["nonsense", "sqlite://", "sqlite:///:memory:", "postgresql://localhost/gapless"])
async def test_what_is_no_usable_url_is_refused(bad: str) -> None:
    with pytest.raises(InvalidRequest, match="sqlite:////"):
        await Store.open(bad)


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"directory .*/nowhere does not exist: create it"):
        await Store.open(f"sqlite:///{tmp_path}/nowhere/gapless.db")


async def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "gapless.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable, match=r"gapless.db is not a database: restore it from a backup"):
        await Store.open(f"sqlite:///{tmp_path}/gapless.db")


async def test_a_damaged_file_is_named(url: str, store: Store, tmp_path: Path) -> None:
    async with store.transaction() as session:
        session.add_all(router(f"r{number}") for number in range(500))
    await store.close()
    damage(tmp_path / "gapless.db")
    again = await Store.open(url)
    with pytest.raises(StoreUnavailable, match="is damaged: stop the server and restore it from a backup"):
        async with again.reading() as session:
            await names(session)
    await again.close()


def damage(path: Path) -> None:
    """Overwrite the pages that hold the routers."""
    with sqlite3.connect(path) as connection:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        roots = [row[0] for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'routers'")]
    connection.close()
    with path.open("r+b") as file:
        for root in roots:
            file.seek((root - 1) * page_size)
            file.write(os.urandom(page_size))


async def test_a_read_only_file_is_found_when_it_is_opened(url: str, store: Store, tmp_path: Path) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable, match="is read-only: give this user write permission"):
        await Store.open(f"sqlite:///file:{tmp_path}/gapless.db?mode=ro&uri=true")


async def test_a_file_that_becomes_read_only_can_still_be_read(url: str, store: Store) -> None:
    async with store.transaction() as session:
        session.add(router("a"))
        await session.flush()
        await session.execute(text("PRAGMA query_only=ON"))  # of the connection that the pool hands out next
    with pytest.raises(StoreUnavailable, match="is read-only"):
        async with store.transaction() as session:
            session.add(router("b"))
    async with store.reading() as session:
        assert await names(session) == ["a"]


async def test_a_full_disk_loses_nothing_and_needs_no_restart(store: Store) -> None:
    async with store.transaction() as session:
        session.add(router("a"))
        await session.execute(text("PRAGMA max_page_count=1"))  # SQLite takes what the file has now
    with pytest.raises(StoreUnavailable, match="the disk is full: free some space; nothing needs a restart"):
        async with store.transaction() as session:
            session.add_all(router(f"r{number}") for number in range(5000))
    async with store.reading() as session:
        assert await names(session) == ["a"]
        await session.execute(text("PRAGMA max_page_count=1000000"))
    async with store.transaction() as session:
        session.add(router("b"))
    async with store.reading() as session:
        assert await names(session) == ["a", "b"]


async def test_a_lock_held_by_another_process_is_named(store: Store, tmp_path: Path) -> None:
    async with store.reading() as session:
        await session.execute(text("PRAGMA busy_timeout=1"))
    other = sqlite3.connect(tmp_path / "gapless.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="is locked by another process"):
        async with store.transaction() as session:
            session.add(router("a"))
    other.execute("ROLLBACK")
    other.close()
    async with store.transaction() as session:
        session.add(router("a"))


async def test_more_readers_than_connections_wait_but_not_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECTIONS", 2)
    monkeypatch.setattr(engine, "CONNECTION_TIMEOUT_S", 0.01)
    crowded = await Store.open(url)
    async with crowded.reading() as one, crowded.reading() as two:
        assert (await names(one), await names(two)) == ([], [])
        with pytest.raises(StoreUnavailable, match=r"all 2 connections to .* are in use: too many requests"):
            async with crowded.reading() as three:
                await names(three)
    async with crowded.reading() as three:
        assert await names(three) == []
    await crowded.close()


async def test_a_crowd_of_readers_does_not_keep_the_writer_waiting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECTIONS", 2)
    monkeypatch.setattr(engine, "CONNECTION_TIMEOUT_S", 0.01)
    crowded = await Store.open(url)
    async with crowded.reading() as one, crowded.reading() as two:
        assert (await names(one), await names(two)) == ([], [])
        async with crowded.transaction() as session:
            session.add(router("a"))
    async with crowded.reading() as one:
        assert await names(one) == ["a"]
    await crowded.close()


async def test_who_reads_ahead_waits_for_no_crowd(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECTIONS", 1)
    monkeypatch.setattr(engine, "CONNECTION_TIMEOUT_S", 0.01)
    crowded = await Store.open(url)
    async with crowded.reading() as one, crowded.reading(ahead=True) as ours:
        assert (await names(one), await names(ours)) == ([], [])
    await crowded.close()


async def test_who_writes_ahead_waits_for_one_writer_and_not_for_the_queue(store: Store) -> None:
    written: list[str] = []

    async def write(name: str, *, ahead: bool = False) -> None:
        async with store.transaction(ahead=ahead) as session:
            session.add(router(name))
            written.append(name)

    async with asyncio.TaskGroup() as writers, store.transaction():
        for name in ("a", "b", "c"):
            writers.create_task(write(name))
        await asyncio.sleep(0)  # all of them are in the queue
        writers.create_task(write("ours", ahead=True))
        await asyncio.sleep(0)
    assert written == ["ours", "a", "b", "c"]


async def test_who_writes_ahead_again_and_again_leaves_turns_to_the_others(store: Store) -> None:
    written: list[str] = []

    async def write(*names_: str, ahead: bool = False) -> None:
        for name in names_:
            async with store.transaction(ahead=ahead) as session:
                session.add(router(name))
                written.append(name)

    async with asyncio.TaskGroup() as writers, store.transaction():
        writers.create_task(write("ours 1", "ours 2", "ours 3", ahead=True))
        writers.create_task(write("a"))
        writers.create_task(write("b"))
        await asyncio.sleep(0)
    assert written == ["ours 1", "a", "ours 2", "b", "ours 3"]


async def test_a_mistake_in_our_own_sql_is_not_dressed_up(store: Store) -> None:
    with pytest.raises(Exception, match="no such table: songs") as raised:
        async with store.reading() as session:
            await session.execute(text("SELECT * FROM songs"))
    assert not isinstance(raised.value, StoreUnavailable)


# Migrations


async def test_opening_twice_migrates_once(url: str, store: Store) -> None:
    await store.close()
    again = await Store.open(url)
    async with again.reading() as session:
        assert await session.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    await again.close()


async def test_a_database_of_a_newer_gapless_is_refused_and_left_alone(url: str, store: Store, tmp_path: Path) -> None:
    async with store.transaction() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await store.close()
    before = shutil.copy(tmp_path / "gapless.db", tmp_path / "before.db").read_bytes()
    with pytest.raises(Refused, match=r"made by a newer Gapless \(schema '9999'\): start that version again"):
        await Store.open(url)
    assert (tmp_path / "gapless.db").read_bytes() == before


async def test_a_database_of_another_program_is_refused(url: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "gapless.db")
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(Refused, match="holds tables that Gapless did not make: name another file"):
        await Store.open(url)


async def test_numbers_and_text_come_back_as_addresses(store: Store) -> None:
    async with store.transaction() as session:
        session.add(NetworkRow(id="n", mtu=1450, network_type="vxlan", segmentation_id=1))
        await session.flush()
        await session.execute(
            text(
                "INSERT INTO subnets (id, network_id, cidr, gateway_ip, enable_dhcp, dns_nameservers, host_routes, "
                "project_id, name, description, created_at, updated_at, revision_number) VALUES "
                "('s', 'n', '10.0.0.0/24', '10.0.0.1', 1, '[]', '[]', '', '', '', '2026-01-01', '2026-01-01', 1)"
            )
        )
        subnet = (await session.scalars(select(SubnetRow))).one()
        assert (subnet.cidr, subnet.gateway_ip) == (IPv4Network("10.0.0.0/24"), IPv4Address("10.0.0.1"))
