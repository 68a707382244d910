"""One router's flows, followed: what its source says of them, made true in this host's kernel.

The rule: only the kernel's table is kept, none of our own. While a copy arrives, what was there when it began is
remembered (`_unsaid`); what the copy did not name by its end is over and is removed. In between, an entry that is there
already is found out by making it.

Nothing of a frame is applied before all of it could be read.
"""

from collections.abc import Iterable
from pathlib import Path

from gapless.flows.entries import Entry, entry_of, messages_in
from gapless.flows.figures import Figures
from gapless.flows.table import Table
from gapless.wire.flows import Part, Section
from gapless.wire.messages import Malformed


class Follower:
    """One channel, at its follower. Raises Unavailable where the kernel does not answer."""

    def __init__(self, path: Path, figures: Figures) -> None:
        """Of the namespace at `path`. Raises FileNotFoundError, too."""
        self._table = Table(path)
        self._figures = figures
        self._unsaid: dict[bytes, Entry] | None = None
        """Of a copy that is under way: what was there before it, and was not named yet."""

    def close(self) -> None:
        """Let go of the namespace; the flows stay."""
        self._table.close()

    def apply(self, part: Part, entries: list[Entry]) -> int:
        """One section; returns how many entries the kernel did not take."""
        match part:
            case Part.BEGIN:
                self._unsaid = {each.flow: each for each in _read(self._table.assured())}
                return 0
            case Part.ENTRIES | Part.CHANGES:
                return self._bring(entries)
            case Part.END:
                over, self._unsaid = self._unsaid or {}, None
                self._remove(list(over.values()))
                return 0

    def _bring(self, entries: list[Entry]) -> int:
        """In their order as far as it matters: what is over makes room for what is new, translated alike."""
        unsaid = self._unsaid or {}
        over, new, there = [], [], []
        for entry in entries:
            before = unsaid.pop(entry.flow, None)
            if entry.is_over:
                over.append(entry)
            elif before is not None and before.reply == entry.reply:
                there.append(entry)
            else:
                new.append(entry)
        self._remove(over)
        refused = self._table.make(new) + self._table.renew(there)
        self._figures.applied += len(new) + len(there) - refused
        self._figures.refused += refused
        return refused

    def _remove(self, over: list[Entry]) -> None:
        self._table.remove(over)
        self._figures.applied += len(over)


def read(sections: Iterable[Section]) -> list[tuple[Section, list[Entry]]]:
    """Sections with their entries. Raises Malformed."""
    try:
        return [(section, list(_entries(section.messages))) for section in sections]
    except (ValueError, IndexError) as error:
        raise Malformed(f"what should be flows is not: {error}") from error


def _entries(packed: bytes) -> Iterable[Entry]:
    return (entry for message in messages_in(packed) if (entry := entry_of(message)) is not None)


def _read(steps: Iterable[list[bytes]]) -> Iterable[Entry]:
    return (entry for step in steps for message in step if (entry := entry_of(message)) is not None)
