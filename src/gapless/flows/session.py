"""One flow stream at its source: what its follower wants is told, in turns, as fast as it takes it.

What the follower does not take waits in the feeds (`core.flows.feed`), bounded; one that is silent for `SILENCE_S` is
let go. All routers of a stream have their turns; copies are made one after another, so that the first are protected
soon.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

from gapless.core.flows.window import Window
from gapless.errors import Unavailable
from gapless.flows.figures import Figures
from gapless.flows.telling import Telling
from gapless.flows.turns import Turns
from gapless.model.router import RouterId
from gapless.wire import flows as wire
from gapless.wire.flows import Kind, Section, Stream
from gapless.wire.messages import Malformed

FRAME_BYTES = 64 * 1024
ALIVE_S = 2.0
SILENCE_S = 10.0
TAKEN_S = 60.0
"""A follower that waits for its turn at its kernel's table takes nothing meanwhile, and says that it lives."""
MOST_WAITING = 200_000
"""Changes of all routers that wait for one follower: some 50 MB."""
MOST_CHANNELS = 20_000
"""Of one stream, in its life: hosts carry some thousand routers, and channels are renewed with their namespaces."""


class Session:
    """One stream."""

    def __init__(
        self,
        stream: Stream,
        telling: Callable[[int, RouterId, Callable[[], None], Callable[[], None]], Telling],
        is_open: Callable[[RouterId], bool],
        figures: Figures,
        listing: Turns,
    ) -> None:
        self._stream, self._telling, self._is_open, self._figures = stream, telling, is_open, figures
        self.follower = stream.peer
        self._hurried: Mapping[RouterId, int] = {}
        """Routers whose copies come first, with the numbers of the askings for them."""
        self._listing = listing
        self._channels: dict[int, Telling] = {}
        self._highest = -1
        self._window = Window()
        self._turns: dict[int, None] = {}
        """Channels that may have something to tell, in the order of their turns."""
        self._woken = asyncio.Event()
        """Something may be told."""
        self._partial: dict[int, None] = {}
        """Channels with flows of which the kernel said a part, in the order of their turns."""
        self._may_ask = asyncio.Event()
        """There are such."""
        self._copying: Telling | None = None
        """Whose copy is under way, or was last: one at a time, so that those that are first are protected soon."""
        self._may_list = asyncio.Event()
        """A step of a copy may be possible that was not."""
        self._may_be_due = True
        """A copy may be due that was not."""
        self._hears_most = False
        """The follower wants to know how many connections this kernel tracks."""
        self._most: int | None = None
        """How many it is; None: not known."""
        self._told_most: int | None = None

    async def run(self) -> None:
        """Until it ends; raises why."""
        await first_to_end(self._listen(), self._tell(), self._copy(), self._ask())

    def look(self, now: float, *, names: bool) -> None:
        for telling in self._channels.values():
            if names:
                telling.look(is_open=self._is_open(telling.router_id))
            telling.ripen(now)
        self._look_for_copies()
        while sum(telling.waiting for telling in self._channels.values()) > MOST_WAITING:
            max(self._channels.values(), key=lambda telling: telling.waiting).give_up(now)

    def tracks(self, most: int | None) -> None:
        """How many connections of a router this kernel tracks at most; None: none yet."""
        if most != self._most:
            self._most = most
            self._woken.set()

    def hurry(self, routers: Mapping[RouterId, int]) -> None:
        """Those whose copies come first from now on, until their follower has all. Another number asks anew."""
        for each in self._channels.values() if routers != self._hurried else ():
            if routers.get(each.router_id) != self._hurried.get(each.router_id):
                each.ask_no_more()
        self._hurried = routers

    def flushed(self) -> list[RouterId]:
        """Of those that are hurried."""
        if not self._hurried:
            return []
        hurried = [each for each in self._channels.values() if each.router_id in self._hurried]
        self._look_for_copies()
        return [each.router_id for each in hurried if each.is_flushed(self._window.dealt_with)]

    def lag_s(self, now: float) -> float:
        waiting = (each.oldest_at for each in self._channels.values())
        return self._window.lag_s(now, [at for at in waiting if at is not None])

    def end(self) -> None:
        self._stream.close()

    def close(self) -> None:
        for telling in self._channels.values():
            telling.close()

    async def _listen(self) -> None:
        while True:
            kind, body = await self._stream.receive(SILENCE_S)
            match kind:
                case Kind.APPLIED:
                    self._window.applied(wire.unpack_number(body), time.monotonic())
                case Kind.WANTED:
                    self._want(wire.wanted.decode(body))
                case _:
                    raise Malformed("a follower said what a source says")
            self._woken.set()
            self._may_list.set()

    def _want(self, wanted: wire.Wanted) -> None:
        self._hears_most |= wanted.hears_most
        for channel in wanted.drop:
            if (telling := self._channels.pop(channel, None)) is not None:
                telling.close()
        for channel, router_id in wanted.add.items():
            if not self._highest < channel < MOST_CHANNELS:
                raise Malformed(f"channel {channel} is used twice, or is too high")
            self._highest = channel
            self._channels[channel] = self._telling(
                channel, router_id, partial(self._has_news, channel), partial(self._has_partial, channel)
            )
            self._channels[channel].hears_whole = wanted.hears_whole
            self._channels[channel].hears_last = wanted.hears_last
            self._has_news(channel)
            self._channels[channel].look(is_open=self._is_open(router_id))
        self._may_be_due = True

    def _has_news(self, channel: int) -> None:
        """It takes its turn to be told, behind those that wait for theirs."""
        self._turns.setdefault(channel)
        self._woken.set()

    def _has_partial(self, channel: int) -> None:
        self._partial.setdefault(channel)
        self._may_ask.set()

    async def _ask(self) -> None:
        """Have the kernel say all of what it said in part: of one router after another some, each in its turn."""
        while True:
            await self._may_ask.wait()
            self._may_ask.clear()
            while self._partial:
                await self._listing.take(self._ask_for_some)

    def _ask_for_some(self) -> None:
        for channel in list(self._partial)[:1]:
            del self._partial[channel]
            if (telling := self._channels.get(channel)) is not None:
                telling.ask_for_some(time.monotonic())
                if telling.has_partial:
                    self._partial[channel] = None

    def _look_for_copies(self) -> None:
        self._may_be_due = True
        self._may_list.set()

    async def _copy(self) -> None:
        """One router's copy after another, step by step, each in its turn."""
        while True:
            self._may_list.clear()
            if not self._can_list():
                await self._may_list.wait()
                continue
            await self._listing.take(self._step)

    def _can_list(self) -> bool:
        """Whether there is a copy to go on with, or to begin: in `_copying` then, and all of it so far is told."""
        if not self._window.has_room or (self._copying is not None and self._copying.has_copy_untold):
            return False
        if self._copying is None or not self._copying.is_copying:
            self._copying = self._next_copy(time.monotonic()) if self._may_be_due else None
            self._may_be_due = self._copying is not None
        return self._copying is not None

    def _next_copy(self, now: float) -> Telling | None:
        due = (each for each in self._channels.values() if each.is_due(now))
        if not self._hurried:
            return next(due, None)
        return min(due, key=lambda each: (each.router_id not in self._hurried, each.channel), default=None)

    def _step(self) -> None:
        """Looked at again: much may have happened while others had their turns."""
        if self._can_list() and self._copying is not None:
            self._copying.step(time.monotonic())
            self._has_news(self._copying.channel)

    async def _tell(self) -> None:
        alive_at = time.monotonic() + ALIVE_S
        while True:
            self._woken.clear()
            await self._tell_most()
            body, since = self._frame()
            if body:
                await self._send(body, since)
                await asyncio.sleep(0)  # the kernel's events and other streams have their turn
                alive_at = time.monotonic() + ALIVE_S
                continue
            try:
                async with asyncio.timeout(alive_at - time.monotonic()):
                    await self._woken.wait()
            except TimeoutError:
                await self._hand_over(Kind.DATA, b"")
                alive_at = time.monotonic() + ALIVE_S

    async def _tell_most(self) -> None:
        if self._hears_most and self._most is not None and self._most != self._told_most:
            self._told_most = self._most
            await self._hand_over(Kind.MOST, wire.pack_number(self._most))

    async def _send(self, body: bytes, since: float) -> None:
        await self._hand_over(Kind.DATA, body)
        self._window.sent(self._stream.sent, len(body), since)

    async def _hand_over(self, kind: Kind, body: bytes) -> None:
        try:
            async with asyncio.timeout(TAKEN_S):
                await self._stream.send(kind, body)
        except TimeoutError:
            raise Unavailable(f"nothing was taken for {TAKEN_S:g} s") from None

    def _frame(self) -> tuple[bytes, float]:
        """The next frame's body, and when the oldest thing in it was heard; empty: nothing can be sent now."""
        since = now = time.monotonic()
        sections: list[Section] = []
        room = FRAME_BYTES if self._window.has_room else 0
        for telling in self._next_turns(now):
            oldest_at = telling.oldest_at or now
            told = list(telling.sections(room, now)) if room > 0 else []
            if not told:  # there is no room, or too little for what it has: the next frame begins with it
                break
            sections += told
            telling.last_frame = self._stream.sent + 1
            room -= sum(wire.SECTION_BYTES + len(section.messages) for section in told)
            since = min(since, oldest_at)
            del self._turns[telling.channel]
            self._turns[telling.channel] = None
        self._figures.told += len(sections)
        if sections:
            self._may_list.set()
        return wire.pack(sections), since

    def _next_turns(self, now: float) -> Iterator[Telling]:
        """Channels with something to tell, each once at most, from where the last frame ended."""
        for channel in list(self._turns):
            telling = self._channels.get(channel)
            if telling is not None and telling.has_something(now):
                yield telling
            else:
                del self._turns[channel]


async def first_to_end(*works: Awaitable[None]) -> None:
    """Run these beside each other until one ends, end the others, and raise what the first one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
