"""A follower whose kernel has no room: what it did not take is kept, and taken when there is room."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_flow_entries import DELETE, IDENTITY, ORIGINAL, PROTOCOL, REPLY, STATUS, TIMEOUT, message

from gapless.flows import follower
from gapless.flows.entries import Entry, entry_of
from gapless.flows.figures import Figures
from gapless.flows.follower import Follower
from gapless.flows.table import Refusal
from gapless.flows.turns import Turns
from gapless.wire.flows import Part


@dataclass
class SmallTable:
    """A kernel's table that holds so many flows."""

    room: int
    there: set[bytes] = field(default_factory=set)
    asked: int = 0

    def make(self, made: Sequence[Entry]) -> list[Refusal]:
        self.asked += len(made)
        return [Refusal(entry, is_full=True) for entry in made if not self._takes(entry.flow)]

    def _takes(self, flow: bytes) -> bool:
        if flow not in self.there and len(self.there) >= self.room:
            return False
        self.there.add(flow)
        return True

    def renew(self, there: Sequence[Entry]) -> list[Refusal]:
        return self.make(there)

    def remove(self, gone: Sequence[bytes]) -> None:
        self.there.difference_update(gone)

    def assured(self) -> Iterator[list[bytes]]:
        yield []

    def close(self) -> None:
        pass


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> SmallTable:
    made = SmallTable(room=3)
    monkeypatch.setattr(follower, "Table", lambda _: made)
    return made


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def it(table: SmallTable, figures: Figures) -> Follower:
    return Follower(Path("/"), figures, Turns(rest=0.0))


def entry(port: int, *, is_over: bool = False) -> Entry:
    original, reply = (part.replace("9b40", f"{port:04x}") for part in (ORIGINAL, REPLY))
    said = (IDENTITY, STATUS) if is_over else (IDENTITY, STATUS, TIMEOUT, PROTOCOL)
    made = entry_of(message(original, reply, *said, **({"kind": DELETE} if is_over else {})))
    assert made is not None
    return made


def entries(first: int, count: int) -> list[Entry]:
    return [entry(port) for port in range(first, first + count)]


def flows(first: int, count: int) -> set[bytes]:
    return {each.flow for each in entries(first, count)}


async def test_changes_that_found_no_room_are_tried_again_and_taken_when_there_is(
    it: Follower, table: SmallTable, figures: Figures
) -> None:
    assert await it.apply(Part.CHANGES, entries(1, 5)) == 2
    it.try_again()
    assert (table.there, figures.applied, figures.refused) == (flows(1, 3), 3, 2)
    table.room = 4
    it.try_again()
    assert (len(table.there), figures.refused) == (4, 2), "one is counted once, however often it is tried"
    table.room = 10
    it.try_again()
    assert (table.there, figures.applied) == (flows(1, 5), 5)
    table.there.clear()
    it.try_again()
    assert table.there == set(), "nothing is left to try"


async def test_what_ended_meanwhile_is_not_tried_again(it: Follower, table: SmallTable) -> None:
    await it.apply(Part.CHANGES, entries(1, 5))
    await it.apply(Part.CHANGES, [entry(4, is_over=True)])
    table.room = 10
    it.try_again()
    assert table.there == flows(1, 3) | flows(5, 1)


async def test_what_a_copy_brought_and_found_no_room_is_tried_again_and_forgotten_at_the_next(
    it: Follower, table: SmallTable
) -> None:
    await it.apply(Part.BEGIN, [])
    await it.apply(Part.ENTRIES, entries(1, 5))
    assert await it.apply(Part.END, []) == 2
    await it.apply(Part.BEGIN, [])
    table.room = 10
    it.try_again()
    assert table.there == flows(1, 3), "the new copy says what there is"


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
