"""The source's end of flow streams: other hosts connect, prove the key, and are told of the flows that they want.

Each stream is served by itself. What its follower does not take waits in the feeds (`core.flows.feed`), bounded; a
follower that is silent for `SILENCE_S` is let go, and comes back when it can. Who cannot prove itself is told nothing
and is said once in a while: anybody on the data network can try. Who speaks otherwise does not hide who is refused: a
host of another version, or with another key, is an operator's to mend.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from gapless.core.flows.window import Window
from gapless.errors import GaplessError, Refused, Unavailable
from gapless.flows.figures import Figures
from gapless.flows.hearing import Ears
from gapless.flows.telling import Telling
from gapless.flows.turns import Turns
from gapless.kernel.netns import path_of
from gapless.model.flow import FlowPolicy
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger
from gapless.wire import flows as wire
from gapless.wire.flows import Identity, Kind, Section, Stream
from gapless.wire.messages import Malformed

FRAME_BYTES = 64 * 1024
ALIVE_S = 2.0
SILENCE_S = 10.0
TAKEN_S = 60.0
"""A follower that waits for its turn at its kernel's table takes nothing meanwhile, and says that it lives."""
MOST_STREAMS = 256
"""Connections at one time, those that have not proven themselves included."""
MOST_UNPROVEN = 8
"""Of one address, at one time, that have not proven themselves: a host needs one, and has `HANDSHAKE_S` for it."""
MOST_WAITING = 200_000
"""Changes of all routers that wait for one follower: some 50 MB."""
MOST_CHANNELS = 20_000
"""Of one stream, in its life: hosts carry some thousand routers, and channels are renewed with their namespaces."""


class Source:
    """All streams that this host is the source of."""

    def __init__(
        self,
        me: Identity,
        figures: Figures,
        is_open: Callable[[RouterId], bool],
        *,
        most: int,
        policy: FlowPolicy | None = None,
        path_of: Callable[[RouterId], Path] = path_of,
        turns: Turns | None = None,
    ) -> None:
        """`most`: flows of one router that are copied; `policy`: which are worth it (None: the default); `path_of`:
        where a router's namespace is; `turns`: those of this process, at the kernel's table.
        """
        self._turns = turns or Turns()
        self._me, self._figures, self._is_open, self._most, self._path_of = me, figures, is_open, most, path_of
        self._policy = policy or FlowPolicy()
        self._ears = Ears()
        self._sessions: set[_Session] = set()
        self._connections = 0
        self._unproven = Counter[str]()
        """By address."""
        self._strangers, self._refused, self._crowd = Ailment(), Ailment(), Ailment()
        self._log = get_logger()

    async def serve(self, address: str, port: int) -> None:
        """Until cancelled. Raises Unavailable when it cannot listen there."""
        self._ears.begin()
        try:
            server = await asyncio.start_server(self._connected, address, port, limit=wire.BODY_BYTES_MAX)
        except OSError as error:
            raise Unavailable(f"cannot listen on {address}:{port} for flow streams: {error.strerror}") from error
        try:
            async with server:
                await server.serve_forever()
        finally:
            for session in self._sessions:
                session.end()
            self._ears.close()

    def look(self, now: float, *, names: bool = True) -> None:
        """Converge: copies may be due, and what is open, and where, may have changed; not so without `names`."""
        for session in self._sessions:
            session.look(now, names=names)
            self._figures.lag_s = max(self._figures.lag_s, session.lag_s(now))

    def flushed(self, wanted: Mapping[RouterId, HostName]) -> list[RouterId]:
        """Of these routers, those of which the follower named has all that the kernel had said when they were asked
        about first (`Telling.is_flushed`). As long as they are asked about, their copies come first.
        """
        for session in self._sessions:
            session.hurry({each for each, follower in wanted.items() if follower == session.follower})
        return sorted({each for session in self._sessions for each in session.flushed()})

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        who = str((writer.get_extra_info("peername") or ("?",))[0])
        if self._connections >= MOST_STREAMS or self._unproven[who] >= MOST_UNPROVEN:
            self._turn_away(who)
            writer.transport.abort()
            return
        self._connections += 1
        try:
            await self._serve(await self._prove(reader, writer, who))
        except (GaplessError, Malformed) as error:
            self._figures.turned_away += 1
            what = "somebody who connected for flows was turned away, or a stream broke"
            ailment = self._refused if isinstance(error, Refused) else self._strangers
            ailment.persists(self._log.warning, what, address=who, reason=str(error))
        except asyncio.CancelledError:
            return  # asyncio's server would take it for an error of its own
        finally:
            self._connections -= 1
            writer.transport.abort()

    def _turn_away(self, who: str) -> None:
        self._figures.turned_away += 1
        what = "there are too many connections for flows; more are closed at once, and followers may be among them"
        unproven = self._unproven.total()
        self._crowd.persists(self._log.warning, what, address=who, open=self._connections, unproven=unproven)

    async def _prove(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: str) -> Stream:
        self._unproven[who] += 1
        try:
            return await wire.accept(reader, writer, self._me)
        finally:
            self._unproven[who] -= 1
            if not self._unproven[who]:
                del self._unproven[who]

    async def _serve(self, stream: Stream) -> None:
        session = _Session(stream, self._telling, self._is_open, self._figures, self._turns)
        self._sessions.add(session)
        self._figures.streams += 1
        self._log.info("flow stream up", follower=stream.peer)
        why = "it ended"
        try:
            await session.run()
        except (GaplessError, Malformed) as error:
            why = str(error)
        finally:
            self._sessions.discard(session)
            self._figures.streams -= 1
            session.close()
            self._log.info("flow stream down", follower=stream.peer, reason=why)

    def _telling(self, channel: int, router_id: RouterId, wake: Callable[[], None]) -> Telling:
        return Telling(
            channel,
            router_id,
            self._path_of(router_id),
            self._ears,
            self._figures,
            self._log,
            most=self._most,
            policy=self._policy,
            wake=wake,
        )


class _Session:
    """One stream."""

    def __init__(
        self,
        stream: Stream,
        telling: Callable[[int, RouterId, Callable[[], None]], Telling],
        is_open: Callable[[RouterId], bool],
        figures: Figures,
        listing: Turns,
    ) -> None:
        self._stream, self._telling, self._is_open, self._figures = stream, telling, is_open, figures
        self.follower = stream.peer
        self._hurried: set[RouterId] = set()
        """Routers whose copies come first."""
        self._listing = listing
        self._channels: dict[int, Telling] = {}
        self._highest = -1
        self._window = Window()
        self._turns: dict[int, None] = {}
        """Channels that may have something to tell, in the order of their turns."""
        self._woken = asyncio.Event()
        """Something may be told."""
        self._copying: Telling | None = None
        """Whose copy is under way, or was last: one at a time, so that those that are first are protected soon."""
        self._may_list = asyncio.Event()
        """A step of a copy may be possible that was not."""
        self._may_be_due = True
        """A copy may be due that was not."""

    async def run(self) -> None:
        """Until it ends; raises why."""
        await first_to_end(self._listen(), self._tell(), self._copy())

    def look(self, now: float, *, names: bool) -> None:
        for telling in self._channels.values():
            if names:
                telling.look(is_open=self._is_open(telling.router_id))
            telling.ripen(now)
        self._look_for_copies()
        while sum(telling.waiting for telling in self._channels.values()) > MOST_WAITING:
            max(self._channels.values(), key=lambda telling: telling.waiting).give_up(now)

    def hurry(self, routers: set[RouterId]) -> None:
        """Those whose copies come first from now on, until their follower has all."""
        for each in self._channels.values() if routers != self._hurried else ():
            if each.router_id not in routers:
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
                case Kind.DATA:
                    raise Malformed("a follower sent flows")
            self._woken.set()
            self._may_list.set()

    def _want(self, wanted: wire.Wanted) -> None:
        for channel in wanted.drop:
            if (telling := self._channels.pop(channel, None)) is not None:
                telling.close()
        for channel, router_id in wanted.add.items():
            if not self._highest < channel < MOST_CHANNELS:
                raise Malformed(f"channel {channel} is used twice, or is too high")
            self._highest = channel
            self._channels[channel] = self._telling(channel, router_id, partial(self._has_news, channel))
            self._channels[channel].look(is_open=self._is_open(router_id))
        self._may_be_due = True

    def _has_news(self, channel: int) -> None:
        """It takes its turn to be told, behind those that wait for theirs."""
        self._turns.setdefault(channel)
        self._woken.set()

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
                await self._stream.send(Kind.DATA, b"")
                alive_at = time.monotonic() + ALIVE_S

    async def _send(self, body: bytes, since: float) -> None:
        try:
            async with asyncio.timeout(TAKEN_S):
                await self._stream.send(Kind.DATA, body)
        except TimeoutError:
            raise Unavailable(f"nothing was taken for {TAKEN_S:g} s") from None
        self._window.sent(self._stream.sent, len(body), since)

    def _frame(self) -> tuple[bytes, float]:
        """The next frame's body, and when the oldest thing in it was heard; empty: nothing can be sent now."""
        since = time.monotonic()
        sections: list[Section] = []
        room = FRAME_BYTES if self._window.has_room else 0
        for telling in self._next_turns():
            oldest_at = telling.oldest_at or since
            told = list(telling.sections(room)) if room > 0 else []
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

    def _next_turns(self) -> Iterator[Telling]:
        """Channels with something to tell, each once at most, from where the last frame ended."""
        for channel in list(self._turns):
            telling = self._channels.get(channel)
            if telling is not None and telling.has_something:
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
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
