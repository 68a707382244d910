"""One router's flows, told to one follower: the kernel's sockets behind a `core.flows.feed.Feed`.

The rule: events are heard before a copy begins, so that whatever happens meanwhile is told after it, or in it. It is
listed step by step, when there is a turn for it (`flows.turns`); until then nothing is heard, and nothing is open. A
namespace that another one has replaced is not the router any more: its flows are told anew, from the new one.

Whatever the kernel says of a flow in part is asked for whole (`entries.lacks_state`) before it is passed on, for the
follower can make nothing of it: some flows at a time, in turns with the lists. What a flow was when it is asked for is
newer than all that was heard of it; what is heard later is told later.

The second rule: the follower has a router's flows when it has dealt with the frame by which all was told that the
kernel had said when that was asked for; what is said later is on its way like any other change. So a router on which
connections begin all the time has its answer after one way to the follower and back, as a quiet one has. The question
is put where nothing is missing: after a whole copy, with the kernel heard to the end. What is lost puts it anew.

The third rule: of a router that is to be told of no more, for it is closed here, or its lease is not known to go on,
the kernel is heard to the end, and what it said is told, with LAST behind it. What begins while a router moves has
nothing else to go on with: the follower has it from here, or not at all.
"""

import socket
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

from gapless.core.flows.feed import BEHIND_S, MOST_WAITING, Feed, FeedState
from gapless.errors import GaplessError, Unavailable
from gapless.flows import hearing
from gapless.flows.entries import flow_of, is_end, lacks_state, name_of, protocol_of
from gapless.flows.figures import Figures
from gapless.flows.hearing import Ears
from gapless.flows.table import Table, namespace_of
from gapless.model.flow import FlowPolicy
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import Logger
from gapless.wire.flows import SECTION_BYTES, Part, Section

AT_ONCE = 100
"""Flows that are asked for in one step: their answers fit a default receive buffer."""


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
        policy: FlowPolicy,
        wake: Callable[[], None],
        ask: Callable[[], None],
    ) -> None:
        """`wake` is called when something can be told, `ask` when there is something to ask for (`ask_for_some`)."""
        self.channel, self.router_id = channel, router_id
        self._path = path
        self._ears, self._figures, self._log = ears, figures, log.bind(router=router_id)
        self._most, self._holds_s = most, policy.holds_s
        self._wake, self._ask_for = wake, ask
        self._trouble, self._limit = Ailment(), Ailment()
        self._feed = Feed(Random(), most)
        self._listening: socket.socket | None = None
        self._namespace: tuple[int, int] | None = None
        self._copy: Iterator[list[bytes]] | None = None
        self._table: Table | None = None
        self._left_out = 0
        """How often the feed had left a flow out when the copy began."""
        self._leaves_out = False
        """Since the last copy that found room for all."""
        self.hears_whole = False
        """The follower wants to know whether it has all."""
        self._told_whole: bool | None = None
        """What it was told of that last."""
        self.hears_last = False
        """The follower wants to know when it has the last that is told."""
        self._is_parting = False
        """The router is not open any more, and not all is told that was said until then."""
        self._partial: dict[bytes, tuple[float, bytes]] = {}
        """Flows of which the kernel said a part: since when, and what it is asked for them by."""
        self._ready: list[Section] = []
        """Of the copy: what was listed and is not told yet."""
        self.last_frame = 0
        """The number of the last frame with something of this router's."""
        self._is_asked = False
        """What had been said when the follower was to have all is marked."""
        self._is_copy_untold = False
        """Of what is marked: a piece of the copy."""
        self._answer: int | None = None
        """The number of a frame by which all that is marked was told; None: not yet."""

    @property
    def oldest_at(self) -> float | None:
        """Since when something waits to be told."""
        partial = (since for since, _ in islice(self._partial.values(), 1))
        return min((since for since in (self._feed.oldest_at, *partial) if since is not None), default=None)

    @property
    def waiting(self) -> int:
        """Changes that wait to be told, to be worth it, or to be asked for."""
        return self._feed.waiting + self._feed.held + len(self._partial)

    @property
    def has_partial(self) -> bool:
        """There is something to ask for."""
        return bool(self._partial)

    def give_up(self, now: float) -> None:
        """Begin anew later: the follower takes less than happens."""
        self._lose("its follower takes less than happens", now)

    def has_something(self, now: float) -> bool:
        """Something can be told: `sections` of the same time has some, if there is room."""
        return bool(self._ready) or self._feed.waiting > 0 or self._is_parting or self._is_whole_news(now)

    def is_whole(self, now: float) -> bool:
        """Whether the follower has all, once it has dealt with what was told."""
        since = self.oldest_at
        return self._feed.is_whole and not self._leaves_out and (since is None or now - since < BEHIND_S)

    def _is_whole_news(self, now: float) -> bool:
        return self.hears_whole and self.is_whole(now) is not self._told_whole

    @property
    def has_copy_untold(self) -> bool:
        """A piece of the copy waits to be told."""
        return bool(self._ready)

    @property
    def is_copying(self) -> bool:
        """A copy has begun, and more of it is to be listed."""
        return self._copy is not None

    def is_due(self, now: float) -> bool:
        """A copy should begin."""
        return self._namespace is not None and self._feed.is_due(now)

    def is_flushed(self, dealt_with: int) -> bool:
        """Whether the follower has all that the kernel had said when this was asked first; it has dealt with frames up
        to that number. With that answer the question is over: who asks again asks for what is said until then.
        """
        if not self._is_asked:
            self._ask()
        if self._is_asked and self._answer is None and self._feed.is_mark_told and not self._is_copy_untold:
            self._answer = self.last_frame
        if self._answer is None or self._answer > dealt_with:
            return False
        self.ask_no_more()
        return True

    def _ask(self) -> None:
        if self._listening is None or self._hear():
            return
        self.ask_for_some(time.monotonic())
        if self._feed.is_whole and not self._partial:
            self._feed.mark()
            self._is_asked, self._is_copy_untold = True, bool(self._ready)

    def ask_no_more(self) -> None:
        """Nobody wants to know whether the follower has all."""
        self._is_asked, self._answer = False, None

    def look(self, *, is_open: bool) -> None:
        """Converge: let go of a namespace where the router is not open any more, or that another one has replaced."""
        namespace = namespace_of(self._path) if is_open else None
        if namespace == self._namespace:
            return
        if self.hears_last and not is_open:
            self._part(time.monotonic())
        else:
            self.close()
        self._namespace = namespace

    def step(self, now: float) -> None:
        """Have the kernel list the next piece of the copy; the first one if none is under way."""
        try:
            self._list(self._begin(now) if self._copy is None else self._copy)
        except (GaplessError, FileNotFoundError) as error:
            self._lose(str(error), now)

    def _begin(self, now: float) -> Iterator[list[bytes]]:
        if self._listening is None:
            self._listening = hearing.listen(self._path, self._holds_s)
            self._ears.add(self._listening, self._hear)
        self._table = Table(self._path)
        self._copy, self._left_out = self._table.assured(), self._feed.left_out
        self._ready = [Section(self.channel, Part.BEGIN)]
        self._feed.begin(now)
        return self._copy

    def _list(self, copy: Iterator[list[bytes]]) -> None:
        listed, before = next(copy, None), self._feed.left_out
        if kept := [message for message in listed or () if self._is_told(message)]:
            self._ready.append(Section(self.channel, Part.ENTRIES, b"".join(kept)))
        self._feed.went_on()
        self._say_what_is_left_out(before)
        if listed is None or (self._feed.may_end and self._feed.left_out > self._left_out):
            self._close_table()
            self._feed.copied()
            self._figures.copies += 1
            self._say_how_it_went()
            self._ready.append(Section(self.channel, Part.END))

    def _is_told(self, message: bytes) -> bool:
        """Whether what was listed belongs into the copy."""
        flow = flow_of(message)
        if flow is None or protocol_of(flow) not in self._holds_s or is_end(message):
            return False
        return self._feed.listed(flow)

    def close(self) -> None:
        """Let go of the namespace."""
        self._let_go()
        self._is_parting = False
        self._feed.stopped()

    def _part(self, now: float) -> None:
        """Let go of the namespace when all is heard that happened in it. A copy that is under way ends where it is: the
        follower has nothing removed that was not named.
        """
        while self._listening is not None and self._hear():
            pass
        while self._partial:
            self.ask_for_some(now)
        self.ripen(now)
        listed = [each for each in self._ready if each.part is Part.ENTRIES]
        self._let_go()
        self._ready, self._is_parting = listed, True

    def _let_go(self) -> None:
        self._end_copy()
        self._hear_no_more()
        self._namespace = None
        self.ask_no_more()
        self._wake()

    def _hear(self) -> bool:
        """Take in what the kernel says; whether there is more."""
        assert self._listening is not None
        now, before = time.monotonic(), self._feed.left_out

        def take_in(message: bytes) -> bool:
            flow = flow_of(message)
            if flow is None or (hold_s := self._holds_s.get(protocol_of(flow))) is None:
                return True
            if is_over := is_end(message):
                self._partial.pop(flow, None)
            elif lacks_state(message):
                return self._keep_partial(flow, message, now)
            return self._feed.heard(flow, message, now, is_over=is_over, hold_s=hold_s)

        try:
            heard = hearing.take(self._listening, take_in)
        except Unavailable as error:
            self._lose(str(error), now)
            return False
        finally:
            self._say_what_is_left_out(before)
        self._figures.heard += heard
        if self._partial:
            self._ask_for()
        return self._may_tell(now) and heard == hearing.AT_ONCE

    def _keep_partial(self, flow: bytes, message: bytes, now: float) -> bool:
        """It is to be asked for; false: there are too many, and all that waits is lost."""
        if len(self._partial) >= MOST_WAITING and flow not in self._partial:
            self._feed.lost(now)
            return False
        self._partial.setdefault(flow, (now, name_of(message)))
        return True

    def ask_for_some(self, now: float) -> None:
        """Have the kernel say all of some flows of which it said a part. Those that it does not have are over, which is
        heard, if it was not.
        """
        if not self._partial:
            return
        some = dict(islice(self._partial.items(), AT_ONCE))
        before = self._feed.left_out
        try:
            with Table(self._path) as table:
                said = table.some([name for _, name in some.values()])
        except (GaplessError, FileNotFoundError) as error:
            self._lose(str(error), now)
            return
        for flow in some:
            del self._partial[flow]
        for message in said:
            if (flow := flow_of(message) or b"") in some and not self._feed.heard(
                flow, message, now, is_over=is_end(message)
            ):
                break
        self._say_what_is_left_out(before)
        self._may_tell(now)

    def ripen(self, now: float) -> None:
        """Tell of what has gone on for long enough by now, and whether that is all."""
        if self._is_whole_news(now):
            self._wake()
        if self._listening is None or not self._feed.held:
            return
        before = self._feed.left_out
        self._feed.ripen(now)
        self._say_what_is_left_out(before)
        self._may_tell(now)

    def _may_tell(self, now: float) -> bool:
        """Have told what waits, if anything does; false: all of that was lost."""
        if self._feed.state is FeedState.WAITING:
            self._lose("more flows change than can be told", now, is_known=True)
            return False
        if self._feed.waiting:  # else it was of flows that nobody keeps, or not yet
            self._wake()
        return True

    def _lose(self, why: str, now: float, *, is_known: bool = False) -> None:
        """Begin anew, after a pause in which nothing is heard."""
        if not is_known:
            self._feed.lost(now)
        self._figures.overruns += 1
        self.ask_no_more()
        self._end_copy()
        self._hear_no_more()
        self._wake()
        self._trouble.persists(self._log.warning, "flows of this router are copied anew, after a pause", reason=why)

    def sections(self, room: int, now: float) -> Iterator[Section]:
        """What can be told now, in about `room` bytes: what was listed first, for changes that are heard are newer, or
        are followed by what is.
        """
        ready, self._ready, self._is_copy_untold = self._ready, [], False
        for section in ready:
            room -= SECTION_BYTES + len(section.messages)
            yield section
        if changes := self._feed.take(room - SECTION_BYTES, now):
            yield Section(self.channel, Part.CHANGES, changes)
        if self._is_parting and not self._feed.waiting:
            self._is_parting = False
            self._feed.stopped()
            yield Section(self.channel, Part.LAST)
        if self._is_whole_news(now):
            self._told_whole = self.is_whole(now)
            yield Section(self.channel, Part.WHOLE if self._told_whole else Part.BEHIND)

    def _say_what_is_left_out(self, before: int) -> None:
        """Since the feed had left out so many."""
        if (left_out := self._feed.left_out - before) > 0:
            self._figures.left_out += left_out
            self._leaves_out = True
            what = (
                f"this router has more than {self._most} assured flows; the others are not copied, and may not survive"
            )
            self._limit.persists(self._log.warning, what)

    def _say_how_it_went(self) -> None:
        """A copy is over: the level of what is told, and of what is not."""
        self._trouble.ends(self._log.info, "flows of this router are copied again", flows=self._feed.told)
        self._leaves_out = self._feed.left_out != self._left_out
        if not self._leaves_out:
            self._limit.ends(self._log.info, "all flows of this router are copied again", flows=self._feed.told)

    def _hear_no_more(self) -> None:
        self._partial.clear()
        if self._listening is not None:
            self._ears.remove(self._listening)
            self._listening = None

    def _end_copy(self) -> None:
        self._ready = []
        self._close_table()

    def _close_table(self) -> None:
        self._copy = None
        if self._table is not None:
            self._table.close()
            self._table = None
