"""The follower's end of flow streams: one to each host that this one may succeed.

It asks for a router's flows once the router's namespace is there, and again, under a new channel, when another
namespace takes its place. Each frame is applied when it arrives, and then acknowledged: the source sends no more than
this host can take.

The rule: what is not followed any more is not touched (`core.flows.duties`). Of a router that becomes active here the
last that its source heard is still on its way then: of that, until LAST, and for `PARTS_S` at most, what is not there
yet is added, and nothing else is done. A stream that breaks is made anew; what was copied stays.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from gapless.core.backoff import Backoff, Pace
from gapless.core.flows.feed import BEHIND_S
from gapless.errors import GaplessError, Unavailable
from gapless.flows.figures import Figures
from gapless.flows.follower import Follower, read
from gapless.flows.room import Room
from gapless.flows.session import ALIVE_S, SILENCE_S, first_to_end
from gapless.flows.table import namespace_of
from gapless.flows.turns import Turns
from gapless.kernel.netns import path_of
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger
from gapless.wire import flows as wire
from gapless.wire.flows import Identity, Kind, Part, Stream
from gapless.wire.messages import Malformed, encode

RETRY = Pace(first_s=0.2, most_s=5.0, settled_s=10.0, jitter=0.5)
CALM_S = 10.0
"""How long nothing has to lack until that is said: a table that is nearly full has room now and then."""
PARTS_S = 1.0
"""What its source says of a router so long after it became active here may be long over."""
AT_ONCE = 1000
"""Channels that one frame asks for, or drops: some 45 KiB."""


@dataclass(slots=True)
class _Channel:
    """A router that was asked for in the stream that is up."""

    number: int
    router_id: RouterId
    namespace: tuple[int, int]
    follower: Follower
    parts_at: float | None = None
    """Until when what its source says is heard to the end, for the router is active here; None: it is followed."""


class Sink:
    """Follows one host."""

    def __init__(
        self,
        me: Identity,
        source: HostName,
        figures: Figures,
        *,
        path_of: Callable[[RouterId], Path] = path_of,
        turns: Turns | None = None,
        room: Room | None = None,
    ) -> None:
        """`path_of`: where a router's namespace is; `turns`: those of this process, at the kernel's table; `room`: what
        there is in that, for as many connections as the source's kernel tracks.
        """
        self._turns, self._room = turns or Turns(), room
        self._lacking: set[RouterId] = set()
        """Routers of which something was refused since it was said last that flows are copied again."""
        self._lacked_at = -inf
        """When one of them lacked something, as far as was looked."""
        self._me, self._source, self._figures, self._path_of = me, source, figures, path_of
        self._wanted: dict[RouterId, Path] = {}
        """Routers to follow, with the paths of their namespaces."""
        self._active: frozenset[RouterId] = frozenset()
        """Routers that are active here, or are about to be."""
        self.address = ("", 0)
        self._stream: Stream | None = None
        self._channels: dict[RouterId, _Channel] = {}
        self._by_number: dict[int, _Channel] = {}
        """The same, and those that are heard to the end."""
        self._next = 0
        self._asked = asyncio.Event()
        """Something is to be said to the source."""
        self._added: dict[int, RouterId] = {}
        self._dropped: list[int] = []
        """Channels that the source has not been told of yet."""
        self._applied = 0
        """The number of the last frame that was dealt with."""
        self._dealt_at = -inf
        """When that was."""
        self._trouble, self._refusals = Ailment(), Ailment()
        self._log = get_logger().bind(source=source)

    @property
    def followed(self) -> int:
        """Routers whose flows are asked for now."""
        return len(self._channels)

    @property
    def is_parting(self) -> bool:
        """Something is heard to the end."""
        return len(self._by_number) > len(self._channels)

    def copied(self, now: float) -> Mapping[RouterId, bool | None]:
        """Of each router to follow, whether its flows of that host are all here now. Not where the stream is cut, or
        where what was told is not dealt with for a while; None: that host does not say whether it told all.
        """
        is_behind = self._stream is None or now - self._dealt_at >= BEHIND_S
        channels: Mapping[RouterId, _Channel] = {} if is_behind else self._channels
        return {each: channels[each].follower.is_copied if each in channels else False for each in self._wanted}

    def follow(
        self, routers: frozenset[RouterId], address: tuple[str, int], *, active: frozenset[RouterId] = frozenset()
    ) -> None:
        """A level: the routers to follow there, and those that are active here, or about to be, of which the last is
        heard. All others are not touched from now on.
        """
        self._active = active
        self._wanted = {router_id: self._wanted.get(router_id) or self._path_of(router_id) for router_id in routers}
        if address != self.address:
            self.address = address
            if self._stream is not None:
                self._stream.close()
        self.look()

    def look(self, *, names: bool = True) -> None:
        """Converge: ask for what is wanted and has a namespace, drop what is not or has another one; without `names`
        none has changed. What a kernel had no room for is tried again.
        """
        if self._stream is not None:
            self._converge(names=names)
            self._look_whether_all_are_copied()

    def _converge(self, *, names: bool) -> None:
        self._part_with_what_is_late()
        if not names and self._channels.keys() == self._wanted.keys():
            self._try_again()
            return
        namespaces = {router_id: namespace_of(path) for router_id, path in self._wanted.items()}
        for channel in [each for each in self._channels.values() if namespaces.get(each.router_id) != each.namespace]:
            if channel.router_id in self._active:
                self._hear_to_the_end(channel)
            else:
                self._drop_and_say(channel)
        self._try_again()
        added = {}
        for router_id in sorted(self._wanted.keys() - self._channels.keys()):
            if (namespace := namespaces[router_id]) is not None and self._add(router_id, namespace):
                added[self._channels[router_id].number] = router_id
        if added:
            self._added |= added
            self._asked.set()

    def _hear_to_the_end(self, channel: _Channel) -> None:
        """Its router is active here."""
        del self._channels[channel.router_id]
        channel.parts_at, channel.follower.is_active = time.monotonic() + PARTS_S, True

    def _part_with_what_is_late(self) -> None:
        """Or what is not active here any more."""
        if not self.is_parting:
            return
        now = time.monotonic()
        parting = ((each, each.parts_at) for each in self._by_number.values() if each.parts_at is not None)
        for channel in [each for each, at in parting if at <= now or each.router_id not in self._active]:
            self._drop_and_say(channel)

    def _try_again(self) -> None:
        for channel in [self._channels[each] for each in sorted(self._lacking & self._channels.keys())]:
            try:
                channel.follower.try_again()
            except Unavailable as error:
                self._refused(channel, str(error))
                self._drop_and_say(channel)

    def _add(self, router_id: RouterId, namespace: tuple[int, int]) -> bool:
        try:
            follower = Follower(self._wanted[router_id], self._figures, self._turns)
        except FileNotFoundError:
            return False  # it is being made, or has gone meanwhile; the next look finds what is there then
        except GaplessError as error:
            self._lacks_some(router_id, str(error))
            return False
        channel = _Channel(self._next, router_id, namespace, follower)
        self._next += 1
        self._channels[router_id] = self._by_number[channel.number] = channel
        return True

    def _drop(self, channel: _Channel) -> None:
        if self._by_number.pop(channel.number, None) is not None:
            if channel.parts_at is None:
                del self._channels[channel.router_id]
            channel.follower.close()

    async def run(self) -> None:
        """Until cancelled: one stream after another."""
        backoff = Backoff(RETRY)
        while True:
            began_at = time.monotonic()
            why = await self._one_stream()
            self._trouble.persists(self._log.warning, "no flow stream: flows of this host are not copied", reason=why)
            await asyncio.sleep(backoff.after(time.monotonic() - began_at))

    async def _one_stream(self) -> str:
        try:
            stream = await wire.connect(*self.address, self._source, self._me)
        except (GaplessError, Malformed) as error:
            return str(error)
        self._trouble.ends(self._log.info, "the flow stream is up again")
        self._stream, self._next, self._applied = stream, 0, 0
        self._added, self._dropped = {}, []
        self._dealt_at = time.monotonic()
        self._figures.streams += 1
        try:
            self.look()
            await first_to_end(self._listen(stream), self._ask(stream))
        except (GaplessError, Malformed) as error:
            return str(error)
        finally:
            self._figures.streams -= 1
            self._stream = None
            for channel in list(self._by_number.values()):
                self._drop(channel)
            stream.close()
        return "it ended"

    async def _ask(self, stream: Stream) -> None:
        """Say what is wanted as it changes, and now and then that this end lives."""
        while True:
            try:
                async with asyncio.timeout(ALIVE_S):
                    await self._asked.wait()
            except TimeoutError:
                await stream.send(Kind.APPLIED, wire.pack_number(self._applied))
                continue
            self._asked.clear()
            words = wire.Wanted(add=self._added, drop=tuple(self._dropped))
            self._added, self._dropped = {}, []
            for part in _parts(words):
                await stream.send(Kind.WANTED, encode(part))

    async def _listen(self, stream: Stream) -> None:
        while True:
            kind, body = await stream.receive(SILENCE_S)
            match kind:
                case Kind.DATA:
                    await self._apply(body)
                case Kind.MOST:
                    self._take_in_most(wire.unpack_number(body))
                case _:
                    raise Malformed("a source asked for flows")
            self._applied, self._dealt_at = stream.received, time.monotonic()
            await stream.send(Kind.APPLIED, wire.pack_number(self._applied))

    def _take_in_most(self, most: int) -> None:
        if self._room is not None:
            self._room.source_has(self._source, most)

    async def _apply(self, body: bytes) -> None:
        """All sections of a frame, if all can be read."""
        for told in read(wire.unpack(body)):
            section, entries = told.section, told.entries
            channel = self._by_number.get(section.channel)
            if channel is None or not self._is_heard(channel):
                continue
            if section.part is Part.LAST and channel.parts_at is not None:
                self._drop_and_say(channel)
                continue
            try:
                refused = await channel.follower.apply(section.part, entries)
            except Unavailable as error:
                if self._by_number.get(section.channel) is not channel:
                    continue  # it was let go of while it waited for its turn
                self._refused(channel, str(error))
                self._drop_and_say(channel)
                continue
            self._figures.unread += told.unread
            if told.unread:
                channel.follower.lacks_some()
                total = told.unread + len(entries)
                why = f"{told.unread} of {total} are not said whole, or in a way that this host does not know"
                self._refused(channel, why)
            if refused:
                why = f"the kernel did not take {refused} of them; its table may be full, or their ports others'"
                self._refused(channel, why)

    def _is_heard(self, channel: _Channel) -> bool:
        if channel.parts_at is None:
            return channel.router_id in self._wanted
        return time.monotonic() < channel.parts_at

    def _refused(self, channel: _Channel, why: str) -> None:
        if channel.parts_at is None:
            self._lacks_some(channel.router_id, why)
            return
        what = "not all flows that began just before a router moved here were copied; these may break"
        self._log.warning(what, router=channel.router_id, reason=why)

    def _lacks_some(self, router_id: RouterId, why: str) -> None:
        self._lacking.add(router_id)
        self._lacked_at = time.monotonic()
        self._refusals.persists(self._log.warning, "not all flows are copied", router=router_id, reason=why)

    def _look_whether_all_are_copied(self) -> None:
        """That one router's flows are all here ends nothing while others' are not, or were not just now."""
        now = time.monotonic()
        if any(map(self._lacks, self._lacking)):
            self._lacked_at = now
        elif self._lacking and now - self._lacked_at >= CALM_S:
            self._lacking.clear()
            self._refusals.ends(self._log.info, "flows are copied again")

    def _lacks(self, router_id: RouterId) -> bool:
        """Whether a router is to be followed, and is not, or something of it that was told is not here."""
        channel = self._channels.get(router_id)
        return router_id in self._wanted and (channel is None or not channel.follower.has_what_was_told)

    def _drop_and_say(self, channel: _Channel) -> None:
        """If its router is to be followed, the next look asks for it anew."""
        self._drop(channel)
        if self._added.pop(channel.number, None) is None:
            self._dropped.append(channel.number)
            self._asked.set()


def _parts(words: wire.Wanted) -> Iterator[wire.Wanted]:
    """What is dropped first, then what is added in the order of its numbers: as much at once as a frame holds."""
    for start in range(0, len(words.drop), AT_ONCE):
        yield wire.Wanted(drop=words.drop[start : start + AT_ONCE])
    numbers = sorted(words.add)
    for start in range(0, len(numbers), AT_ONCE):
        some = {number: words.add[number] for number in numbers[start : start + AT_ONCE]}
        yield wire.Wanted(add=some, hears_whole=True, hears_last=True, hears_most=True)
