"""The source's end of flow streams: other hosts connect, prove the key, and are told of the flows that they want.

Each stream is served by itself (`flows.session`). Who cannot prove itself is told nothing and is said once in a while:
anybody on the data network can try. Who speaks otherwise does not hide who is refused: a host of another version, or
with another key, is an operator's to mend.

The rule: who is turned away for want of room hears that, and may come again. A host has one stream: a newer one of the
same host ends the one before, which may be of a machine that has lost its power since, and takes its room.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from gapless.errors import GaplessError, Refused, Unavailable
from gapless.flows.figures import Figures
from gapless.flows.hearing import Ears
from gapless.flows.room import Room
from gapless.flows.session import Session
from gapless.flows.telling import Telling
from gapless.flows.turns import Turns
from gapless.kernel.netns import path_of
from gapless.model.flow import FlowPolicy
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger
from gapless.wire import flows as wire
from gapless.wire.flowlink import Asking
from gapless.wire.flows import Identity, Stream
from gapless.wire.messages import Malformed

MOST_FOLLOWERS = 4096
"""Streams at one time. Any other host of a fleet may be the standby of some router here, so a fleet may have as many;
what a stream costs is what its routers do."""
MOST_UNPROVEN = 256
"""Connections at one time that have not proven themselves. A host needs some milliseconds for it."""
MOST_UNPROVEN_OF_ONE = 8
"""Of one address: a host needs one, and has `HANDSHAKE_S` for it."""


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
        room: Room | None = None,
    ) -> None:
        """`most`: flows of one router that are copied; `policy`: which are worth it (None: the default); `path_of`:
        where a router's namespace is; `turns`: those of this process, at the kernel's table; `room`: what there is in
        that, for followers to have as much.
        """
        self._room = room
        self._turns = turns or Turns()
        self._me, self._figures, self._is_open, self._most, self._path_of = me, figures, is_open, most, path_of
        self._policy = policy or FlowPolicy()
        self._ears = Ears()
        self._sessions: set[Session] = set()
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
        most = None if self._room is None else self._room.most
        for session in self._sessions:
            session.tracks(most)
            session.look(now, names=names)
        self.measure(now)

    def measure(self, now: float) -> None:
        """Count how far behind followers are now."""
        for session in self._sessions:
            self._figures.lag_s = max(self._figures.lag_s, session.lag_s(now))

    def flushed(self, wanted: Mapping[RouterId, Asking]) -> list[RouterId]:
        """Of these routers, those of which the follower named has all that the kernel had said when they were asked
        about first (`Telling.is_flushed`) under that number. As long as they are asked about, their copies come first.
        """
        for session in self._sessions:
            session.hurry({each: asking.number for each, asking in wanted.items() if asking.to == session.follower})
        return sorted({each for session in self._sessions for each in session.flushed()})

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        who = str((writer.get_extra_info("peername") or ("?",))[0])
        if not self._may_try(who):
            self._say_crowded(who)
            wire.turn_away(writer)
            return
        try:
            await self._serve(await self._prove(reader, writer, who))
        except wire.NoRoom:
            self._say_crowded(who)
        except (GaplessError, Malformed) as error:
            self._figures.turned_away += 1
            what = "somebody who connected for flows was turned away, or a stream broke"
            ailment = self._refused if isinstance(error, Refused) else self._strangers
            ailment.persists(self._log.warning, what, address=who, reason=str(error))
        except asyncio.CancelledError:
            return  # asyncio's server would take it for an error of its own
        finally:
            writer.transport.abort()

    def _may_try(self, who: str) -> bool:
        """There is room for one more that has not proven itself."""
        return self._unproven.total() < MOST_UNPROVEN and self._unproven[who] < MOST_UNPROVEN_OF_ONE

    def _has_room(self, follower: HostName) -> bool:
        """For a stream of this host; one that it has makes room for it."""
        return sum(each.follower != follower for each in self._sessions) < MOST_FOLLOWERS

    def _say_crowded(self, who: str) -> None:
        """Count and say that there is no room."""
        self._figures.turned_away += 1
        what = "there are too many connections for flows; more are turned away, and followers may be among them"
        followers, unproven = len(self._sessions), self._unproven.total()
        self._crowd.persists(self._log.warning, what, address=who, followers=followers, unproven=unproven)

    async def _prove(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: str) -> Stream:
        self._unproven[who] += 1
        try:
            return await wire.accept(reader, writer, self._me, self._has_room)
        finally:
            self._unproven[who] -= 1
            if not self._unproven[who]:
                del self._unproven[who]

    async def _serve(self, stream: Stream) -> None:
        session = Session(stream, self._telling, self._is_open, self._figures, self._turns)
        for older in [each for each in self._sessions if each.follower == session.follower]:
            self._sessions.discard(older)
            older.end()
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

    def _telling(self, channel: int, router_id: RouterId, wake: Callable[[], None], ask: Callable[[], None]) -> Telling:
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
            ask=ask,
        )
