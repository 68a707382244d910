"""What is stored of hosts that are known: one that does not fit stops no other, and one that was deleted stays so."""

from datetime import datetime
from typing import Any

import pytest
from shell_fakes import Trouble, facts_of

from gapless.controller.hostbook import HostBook
from gapless.controller.store import hostrows, tables
from gapless.controller.store.engine import Store
from gapless.controller.store.hostrows import NameRecord
from gapless.model.host import HostName, Incarnation
from gapless.observe.metrics import Metrics


@pytest.fixture
async def book(store: Store) -> HostBook:
    """With h1 and h2 registered."""
    made = HostBook(store, Metrics(), every_s=1000)
    for name in ("h1", "h2"):
        await made.register(facts_of(name), at(1, name))
    return made


def at(incarnation: int, name: str = "h1") -> NameRecord:
    """A machine of that name that starts at this incarnation."""
    each = Incarnation(incarnation)
    return NameRecord(instance=facts_of(name).instance, started=each, highest=each, outlived=Incarnation(0))


async def heartbeats(store: Store) -> dict[HostName, datetime]:
    async with store.reading() as session:
        return {name: host.heartbeat_at for name, host in (await hostrows.hosts(session)).items()}


async def test_a_host_that_cannot_be_stored_costs_no_other_its_heartbeat(
    store: Store, book: HostBook, log: list[dict[str, Any]]
) -> None:
    before = await heartbeats(store)
    book.greeted(facts_of("h1", instance=facts_of("h2").instance), at(2))
    book.greeted(facts_of("h2"), at(7, "h2"))
    await book.write()
    after = await heartbeats(store)
    assert after[HostName("h1")] > before[HostName("h1")]
    assert after[HostName("h2")] > before[HostName("h2")]
    async with store.reading() as session:
        assert (await hostrows.hosts(session))[HostName("h2")].incarnation == 7
    (line,) = [line for line in log if "cannot be stored" in line["event"]]
    assert line["host"] == "h1"


async def test_a_host_that_is_deleted_while_it_is_being_written_stays_deleted(store: Store, book: HostBook) -> None:
    book.greeted(facts_of("h1"), at(2))
    async with store.transaction() as session:  # The API's transaction; what was gathered is on its way already.
        await session.delete(await session.get_one(tables.HostRow, "h1"))
    gone: list[HostName] = []
    book.on_gone = gone.append
    await book.write()
    assert list(await heartbeats(store)) == ["h2"]
    assert gone == ["h1"]


async def test_a_database_in_trouble_is_one_line_and_not_one_a_round(
    store: Store, book: HostBook, trouble: Trouble, log: list[dict[str, Any]]
) -> None:
    before = await heartbeats(store)
    trouble.read_only()
    for _ in range(5):
        book.heard(HostName("h1"))
        await book.write()
    (line,) = [line for line in log if line["event"].startswith("Hosts and heartbeats cannot be stored")]
    assert "is read-only" in line["reason"]
    trouble.over()
    await book.write()
    (line,) = [line for line in log if line["event"] == "Hosts and heartbeats are stored again"]
    assert (await heartbeats(store))[HostName("h1")] > before[HostName("h1")]


async def test_what_is_known_of_a_name_is_stored_also_once_its_host_is_deleted(store: Store, book: HostBook) -> None:
    async with store.transaction() as session:
        await session.delete(await session.get_one(tables.HostRow, "h1"))
    book.forget(HostName("h1"))
    book.risen(HostName("h1"), at(40))
    await book.write()
    async with store.reading() as session:
        assert (await hostrows.names(session))[HostName("h1")].highest == 40
        assert list(await hostrows.hosts(session)) == ["h2"]


async def test_what_could_not_be_written_of_a_name_is_written_later(
    store: Store, book: HostBook, trouble: Trouble
) -> None:
    trouble.read_only()
    book.risen(HostName("h1"), at(40))
    await book.write()
    trouble.over()
    await book.write()
    async with store.reading() as session:
        assert (await hostrows.names(session))[HostName("h1")].highest == 40
