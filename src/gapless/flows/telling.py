"""One router's flows, told to one follower: the kernel's sockets behind a `core.flowfeed.Feed`.

The rule: events are heard before a copy begins, so that whatever happens meanwhile is told after it, or in it. A
namespace that another one has replaced is not the router any more: its flows are told anew, from the new one.
"""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from gapless.core.flowfeed import Feed, FeedState
from gapless.errors import GaplessError, Unavailable
from gapless.flows import hearing
from gapless.flows.entries import flow_of
from gapless.flows.figures import Figures
from gapless.flows.hearing import Ears
from gapless.flows.table import Table, namespace_of
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import Logger
from gapless.wire.flows import SECTION_BYTES, Part, Section


class Telling:
    """One channel of a stream, at its source."""

    def __init__(
        self,
        channel: int,
        router_id: RouterId,
        path: Path,
        ears: Ears,
        figures: Figures,
        log: Logger,
        *,
        most: int,
        wake: Callable[[], None],
    ) -> None:
        self.channel, self.router_id = channel, router_id
        self._path = path
        self._ears, self._figures, self._log = ears, figures, log.bind(router=router_id)
        self._most = most
        self._wake = wake
        self._trouble = Ailment()
        self._feed = Feed(Random())
        self._listening: socket.socket | None = None
        self._namespace: tuple[int, int] | None = None
        self._copy: Iterator[list[bytes]] | None = None
        self._table: Table | None = None
        self._copied = 0
        self._begins = False

    @property
    def oldest_at(self) -> float | None:
        """Since when something waits to be told."""
        return self._feed.oldest_at

    @property
    def waiting(self) -> int:
        """Changes that wait to be told."""
        return self._feed.waiting

    def give_up(self, now: float) -> None:
        """Begin anew later: the follower takes less than happens."""
        self._lose("its follower takes less than happens", now)

    @property
    def has_something(self) -> bool:
        """Something can be told."""
        return self._copy is not None or self._feed.waiting > 0

    def look(self, is_open: bool, now: float) -> None:
        """Converge: listen if the router is open here, in the namespace that it has now; copy when that is due."""
        namespace = namespace_of(self._path) if is_open else None
        if namespace != self._namespace:
            self.close()
            self._namespace = namespace
        if namespace is None or not self._feed.is_due(now):
            return
        try:
            self._begin(now)
        except (GaplessError, FileNotFoundError) as error:
            self._lose(str(error), now)

    def _begin(self, now: float) -> None:
        if self._listening is None:
            self._listening = hearing.listen(self._path)
            self._ears.add(self._listening, self._hear)
        self._table = Table(self._path)
        self._copy, self._copied, self._begins = self._table.assured(), 0, True
        self._feed.begin(now)
        self._wake()

    def close(self) -> None:
        """Let go of the namespace."""
        self._end_copy()
        if self._listening is not None:
            self._ears.remove(self._listening)
            self._listening = None
        self._namespace = None
        self._feed.stopped()

    def _hear(self) -> bool:
        """Take in what the kernel says; whether there is more."""
        assert self._listening is not None
        now = time.monotonic()

        def take_in(message: bytes) -> bool:
            flow = flow_of(message)
            return flow is None or self._feed.heard(flow, message, now)

        try:
            heard = hearing.take(self._listening, take_in)
        except Unavailable as error:
            self._lose(str(error), now)
            return False
        self._figures.heard += heard
        if self._feed.state is FeedState.WAITING:
            self._lose("more flows change than can be told", now, is_known=True)
            return False
        self._wake()
        return heard == hearing.AT_ONCE

    def _lose(self, why: str, now: float, *, is_known: bool = False) -> None:
        """Begin anew, after a pause in which nothing is heard."""
        if not is_known:
            self._feed.lost(now)
        self._figures.overruns += 1
        self._end_copy()
        if self._listening is not None:
            self._ears.remove(self._listening)
            self._listening = None
        self._trouble.persists(self._log.warning, "flows of this router are copied anew, after a pause", reason=why)

    def sections(self, room: int) -> Iterator[Section]:
        """What can be told now, in about `room` bytes: changes first, then a piece of the copy."""
        if self._begins:
            self._begins = False
            yield Section(self.channel, Part.BEGIN)
        if changes := self._feed.take(room - SECTION_BYTES):
            room -= len(changes)
            yield Section(self.channel, Part.CHANGES, changes)
        if self._copy is not None and room > 0:
            yield from self._piece(self._copy)

    def _piece(self, copy: Iterator[list[bytes]]) -> Iterator[Section]:
        try:
            listed = next(copy, None)
        except Unavailable as error:
            self._lose(str(error), time.monotonic())
            return
        if listed is not None:
            kept = [message for message in listed if flow_of(message) is not None][: self._most - self._copied]
            self._copied += len(kept)
            yield Section(self.channel, Part.ENTRIES, b"".join(kept))
        if listed is None or self._copied >= self._most:
            self._end_copy()
            self._feed.copied()
            self._figures.copies += 1
            self._say_how_it_went()
            yield Section(self.channel, Part.END)

    def _say_how_it_went(self) -> None:
        if self._copied >= self._most:
            what = f"this router has {self._most} assured flows or more; no more are copied, the others may not survive"
            self._trouble.persists(self._log.warning, what)
        else:
            self._trouble.ends(self._log.info, "all flows of this router are copied again", flows=self._copied)

    def _end_copy(self) -> None:
        self._copy = None
        if self._table is not None:
            self._table.close()
            self._table = None
