"""One router's flows, followed: what its source says of them, made true in this host's kernel.

The rule: only the kernel's table is kept, none of our own. While a copy arrives, what was there when it began is
remembered (`_unsaid`); what the copy did not name by its end is over and is removed. In between, an entry that is there
already is found out by making it. And what the kernel had no room for is kept, `MOST_KEPT` at most, and tried again.

The second rule: once the router is active here, only what is not there is taken: what began just before it moved. What
is there is in use, and this kernel knows better.

Nothing of a frame is applied before all of it could be read.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from gapless.flows.entries import Entry, entry_of, messages_in
from gapless.flows.figures import Figures
from gapless.flows.table import BATCH, Refusal, Table
from gapless.flows.turns import Turns
from gapless.wire.flows import Part, Section
from gapless.wire.messages import Malformed

OVER_AT_ONCE = 1000
"""Flows that are removed in one go: some milliseconds."""
MOST_KEPT = 1000
"""Of one router, half a kilobyte each; the others have to wait for the next copy."""


class Follower:
    """One channel, at its follower. Raises Unavailable where the kernel does not answer."""

    def __init__(self, path: Path, figures: Figures, turns: Turns) -> None:
        """Of the namespace at `path`. Raises FileNotFoundError, too."""
        self._turns = turns
        self._table = Table(path)
        self._figures = figures
        self._unsaid: dict[bytes, bytes] = {}
        """Of a copy that is under way: flows that were there before it and that it did not name yet, with their other
        directions.
        """
        self._is_copying = False
        """A copy is under way."""
        self._refused: dict[bytes, Entry] = {}
        """What the kernel did not take meanwhile: there may be room, or a port free, when what is over is gone."""
        self._kept: dict[bytes, Entry] = {}
        """What the kernel has no room for."""
        self._is_brought = False
        """A copy came to its end."""
        self._lacks = False
        """Something that was told is not in the kernel, and is not tried again."""
        self._copy_lacks = False
        """The same, of what was told since the last copy began."""
        self._is_told_whole: bool | None = None
        self.is_active = False
        """The router is, here, or is about to be: from now on."""

    @property
    def is_copied(self) -> bool | None:
        """Whether all flows are in this kernel; None: the source does not say whether it told all."""
        return self._is_told_whole and self.has_what_was_told

    @property
    def has_what_was_told(self) -> bool:
        """Whether that was a whole copy at least, and this kernel took all of it."""
        return self._is_brought and not (self._lacks or self._kept or self._refused)

    def lacks_some(self) -> None:
        """Of what was told, some could not be read."""
        self._lacks = self._copy_lacks = True

    def close(self) -> None:
        """Let go of the namespace; the flows stay."""
        self._table.close()

    async def apply(self, part: Part, entries: list[Entry]) -> int:
        """One section; returns how many entries the kernel did not take."""
        if self.is_active:
            return self._add(entries)
        match part:
            case Part.BEGIN:
                await self._look()
                return 0
            case Part.ENTRIES | Part.CHANGES if self._is_copying:
                self._refused |= {refusal.entry.flow: refusal.entry for refusal in self._bring(entries)}
                return 0
            case Part.ENTRIES | Part.CHANGES:
                return self._keep(self._bring(entries))
            case Part.END:
                over, self._unsaid = list(self._unsaid), {}
                for start in range(0, len(over), OVER_AT_ONCE):
                    self._remove(over[start : start + OVER_AT_ONCE])
                    await asyncio.sleep(0)  # Other streams have their turn: a scan may have left very many.
                    if self.is_active:
                        return 0
                refused, self._refused = list(self._refused.values()), {}
                self._lacks, self._is_copying, self._is_brought = self._copy_lacks, False, True
                return self._keep(self._bring(refused))
            case Part.WHOLE | Part.BEHIND:
                self._is_told_whole = part is Part.WHOLE
                return 0
            case Part.LAST:
                return 0

    def _add(self, entries: list[Entry]) -> int:
        """Of these, those that are not there; returns how many the kernel did not take."""
        new = [entry for entry in entries if not entry.is_over]
        refused = self._table.add(new)
        self._figures.applied += len(new) - len(refused)
        self._figures.refused += len(refused)
        return len(refused)

    def try_again(self) -> None:
        """Have the kernel take what it had no room for: as much as it takes, and not all where it takes nothing."""
        if not self._kept:
            return
        kept, self._kept = list(self._kept.values()), {}
        for start in range(0, len(kept), BATCH):
            some = kept[start : start + BATCH]
            still = self._bring(some)
            refused = [refusal.entry for refusal in still if refusal.is_full]
            if len(refused) < len(still):
                self.lacks_some()
            self._kept |= {entry.flow: entry for entry in refused}
            if len(refused) == len(some):
                self._kept |= {entry.flow: entry for entry in kept[start + BATCH :]}
                return

    async def _look(self) -> None:
        """What is there; in turns with all others who look."""
        self._lacks |= bool(self._kept or self._refused)  # until this copy has brought that again, or not
        self._unsaid, self._refused, self._kept = {}, {}, {}
        self._copy_lacks, self._is_copying = False, True
        steps = self._table.all()  # What is not assured may be left of when this host was active, and keep a port.
        while (listed := await self._turns.take(lambda: next(steps, None))) is not None:
            there = (entry for message in listed if (entry := entry_of(message)) is not None)
            self._unsaid |= {entry.flow: entry.reply for entry in there}

    def _bring(self, entries: list[Entry]) -> list[Refusal]:
        """Make these true; those that the kernel did not take. What is over first: it makes room for what is new."""
        over, new, there = [], [], []
        for entry in entries:
            before = self._unsaid.pop(entry.flow, None)
            self._kept.pop(entry.flow, None)
            self._refused.pop(entry.flow, None)
            if entry.is_over:
                over.append(entry.flow)
            elif before == entry.reply:
                there.append(entry)
            else:
                new.append(entry)
        self._remove(over)
        refused = self._table.make(new) + self._table.renew(there)
        self._figures.applied += len(new) + len(there) - len(refused)
        return refused

    def _keep(self, refused: list[Refusal]) -> int:
        """Those for which there may be room later; how many there are of all."""
        full = [refusal.entry for refusal in refused if refusal.is_full][: MOST_KEPT - len(self._kept)]
        self._kept |= {entry.flow: entry for entry in full}
        if len(full) < len(refused):
            self.lacks_some()
        self._figures.refused += len(refused)
        return len(refused)

    def _remove(self, over: Collection[bytes]) -> None:
        self._table.remove(over)
        self._figures.applied += len(over)


@dataclass(frozen=True, slots=True)
class Told:
    """A section that was read."""

    section: Section
    entries: list[Entry]
    unread: int
    """Messages that are none which this host knows, or that do not say all that an entry is made of."""


def read(sections: Iterable[Section]) -> list[Told]:
    """Sections with their entries. Raises Malformed."""
    try:
        return [_read(section) for section in sections]
    except ValueError as error:
        raise Malformed(f"what should be flows is not: {error}") from error


def _read(section: Section) -> Told:
    said = [entry_of(message) for message in messages_in(section.messages)]
    entries = [entry for entry in said if entry is not None]
    return Told(section, entries, len(said) - len(entries))
