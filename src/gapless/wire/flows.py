"""The flow stream: tracked connections on their way from the host where a router is active to one that may succeed it.

The follower, which is to have the flows, connects to the source, which has them (TCP, on the data network). Both prove
the cluster's key first, follower on the right:

        Greeting ->        version, the source's nonce
                 <- Hello      who I am, whom I meant, my nonce; HMAC over both nonces and all of that
        Welcome  ->        the source's HMAC over the same

Three JSON messages, each after two bytes of length. The version is read first, for the rest of another one's words may
be otherwise; and a follower says its own also to a source of another one, so that both know why they part. A source
that has no room says so in its first word, and closes. Then frames, in both directions:

    offset  size
         0     4   length of what follows, without the tag
         4     1   kind (`Kind`)
         5     n   body
       5+n    16   HMAC-SHA-256 over the frame's number and all before, cut to 128 bits (RFC 2104), under a key of this
                   stream and direction

The number is not sent: both ends count. So a frame that is changed, left out, repeated or brought in from another
stream does not fit, and the rule is: what does not fit ends the stream, and nothing of it is applied. Flows travel in
the clear, as the tenants' packets on that network do.

DATA carries sections, each of one router: channel (4 bytes), `Part` (1), three of padding, length (4), and netlink
messages as the kernel made them, which nobody looks into on the way. A channel is a number that the follower gives a
router; it is used once in a stream, so what is late belongs to nothing.
"""

import asyncio
import contextlib
import hashlib
import hmac
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from gapless.errors import Refused, Unavailable
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire.messages import Decoder, Malformed
from gapless.wire.proof import fresh_nonce, is_valid

VERSION = 1
"""Grows by one with every change that an older peer would misread."""
TAG_BYTES = 16
BODY_BYTES_MAX = 256 * 1024
"""Of a frame. More is sent by nobody."""
GREETING_BYTES_MAX = 4096
HANDSHAKE_S = 5.0

_HELLO_LENGTH = struct.Struct(">H")
_FRAME = struct.Struct(">IB")
_NUMBER = struct.Struct(">Q")
_SECTION = struct.Struct(">IB3xI")
SECTION_BYTES = _SECTION.size


class Kind(IntEnum):
    """What a frame is."""

    WANTED = 1
    """The follower: these channels are wanted, these no more (`Wanted`)."""
    APPLIED = 2
    """The follower: all frames up to this number (8 bytes; the first is 1) are dealt with; also, it lives."""
    DATA = 3
    """The source: sections. Without any: it lives."""
    MOST = 4
    """The source, where its follower hears that: its kernel tracks so many connections of a router at most (8 bytes).
    """


class Part(IntEnum):
    """What a section is."""

    BEGIN = 1
    """All flows of the router follow, in ENTRIES; those that are not among them are over."""
    ENTRIES = 2
    END = 3
    """That was all."""
    CHANGES = 4
    """Flows that began, changed or ended."""
    WHOLE = 5
    """With what was told before it the follower has all of the router's flows, and will have until it hears BEHIND."""
    BEHIND = 6
    """It has not all of them: they are to be copied yet, or anew, or some are left out or have waited for long."""
    LAST = 7
    """The source tells of the router no more, for it is not open there, or not for sure; all was told until then."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of what is told of one router."""

    channel: int
    part: Part
    messages: bytes = b""


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """The source's first word. `nonce`: 32 random bytes in hex. `is_full`: it takes no more connections now, and this
    is its last word; a follower that does not know that sees its stream closed.
    """

    version: int
    nonce: str
    is_full: bool = False


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The follower's first word."""

    version: int
    follower: HostName
    source: HostName
    """Whom it wanted to reach: an address may be another host's by now."""
    nonce: str
    proof: str


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """The source's last word before frames. `is_full`: there are none, for it takes no more followers now; a follower
    that does not know that sees its stream closed.
    """

    proof: str
    is_full: bool = False


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a WANTED frame, as JSON. `hears_whole`: of what is added the follower wants to hear WHOLE and BEHIND;
    an older one knows neither, and an older source says neither. `hears_last`: LAST; the same of older ones.
    `hears_most`: from now on it wants to hear MOST; the same again.
    """

    add: dict[int, RouterId] = {}
    drop: tuple[int, ...] = ()
    hears_whole: bool = False
    hears_last: bool = False
    hears_most: bool = False


class _Versioned(msgspec.Struct, frozen=True):
    """What a first word of any version has."""

    version: int


_versioned: Decoder[_Versioned] = Decoder(_Versioned)
_greeting: Decoder[Greeting] = Decoder(Greeting)
_hello: Decoder[Hello] = Decoder(Hello)
_welcome: Decoder[Welcome] = Decoder(Welcome)
wanted: Decoder[Wanted] = Decoder(Wanted)


def pack(sections: Iterable[Section]) -> bytes:
    """The body of a DATA frame."""
    return b"".join(_SECTION.pack(each.channel, each.part, len(each.messages)) + each.messages for each in sections)


def unpack(body: bytes) -> Iterator[Section]:
    """The sections of a DATA frame. Raises Malformed."""
    offset = 0
    while offset < len(body):
        if offset + SECTION_BYTES > len(body):
            raise Malformed("a section of flows is cut short")
        channel, part, length = _SECTION.unpack_from(body, offset)
        offset += SECTION_BYTES
        if length > len(body) - offset or part not in Part.__members__.values():
            raise Malformed("a section of flows is none")
        yield Section(channel, Part(part), body[offset : offset + length])
        offset += length


def pack_number(number: int) -> bytes:
    """The body of a frame that says one: APPLIED, MOST."""
    return _NUMBER.pack(number)


def unpack_number(body: bytes) -> int:
    """The number in such a frame. Raises Malformed."""
    if len(body) != _NUMBER.size:
        raise Malformed("a number of eight bytes was expected")
    return int(_NUMBER.unpack(body)[0])


class Seal:
    """Seals the frames of one direction, or checks them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.number = 0
        """Of the last frame."""

    def tag(self, frame: bytes) -> bytes:
        """The next frame's tag; `frame` is all before it."""
        self.number += 1
        return hmac.digest(self._key, _NUMBER.pack(self.number) + frame, "sha256")[:TAG_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who stands at this end."""

    name: HostName
    cluster: str
    key: bytes


class Stream:
    """One end of a stream after its handshake. `receive` may be cancelled only when the stream is given up then."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: HostName, ours: Seal, its: Seal
    ) -> None:
        self._reader, self._writer = reader, writer
        self.peer = peer
        self._ours, self._its = ours, its

    @property
    def sent(self) -> int:
        """The number of the last frame that was sent."""
        return self._ours.number

    @property
    def received(self) -> int:
        """The number of the last frame that was received."""
        return self._its.number

    async def send(self, kind: Kind, body: bytes) -> None:
        """Send one frame; waits while the peer does not read. Raises Unavailable when it is gone."""
        frame = _FRAME.pack(len(body) + 1, kind) + body
        try:
            self._writer.write(frame + self._ours.tag(frame))
            await self._writer.drain()
        except OSError as error:
            raise Unavailable(f"the stream broke: {error.strerror or error}") from error

    async def receive(self, within_s: float) -> tuple[Kind, bytes]:
        """The next frame. Raises Unavailable at the end of the stream or when nothing comes in time; Malformed for what
        is no frame of this stream.
        """
        try:
            async with asyncio.timeout(within_s):
                head = await self._reader.readexactly(_FRAME.size)
                length, kind = _FRAME.unpack(head)
                if not 1 <= length <= BODY_BYTES_MAX + 1:
                    raise Malformed(f"a frame of {length} bytes is announced")
                body = await self._reader.readexactly(length - 1)
                tag = await self._reader.readexactly(TAG_BYTES)
        except TimeoutError:
            raise Unavailable(f"nothing was heard for {within_s:g} s") from None
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Unavailable("the stream ended") from error
        if not hmac.compare_digest(self._its.tag(head + body), tag):
            raise Malformed("a frame's tag does not fit")
        if kind not in Kind.__members__.values():
            raise Malformed(f"there is no frame of kind {kind}")
        return Kind(kind), body

    def close(self) -> None:
        """End it at once."""
        self._writer.transport.abort()


class NoRoom(Unavailable):
    """A source has all the followers that it takes."""


async def accept(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    me: Identity,
    has_room: Callable[[HostName], bool] = lambda _: True,
) -> Stream:
    """The source's side of the handshake. Raises Refused, NoRoom, Unavailable or Malformed; the writer is then the
    caller's. `has_room`: for that follower, which has proven itself.
    """
    nonce = fresh_nonce()
    async with _in_time():
        _say(writer, Greeting(version=VERSION, nonce=nonce))
        word = await _hear(reader)
        _check_version(word)
        hello = _hello.decode(word)
        said = _Said(me, hello.follower, hello.source, nonce, hello.nonce)
        if hello.source != me.name:
            raise Refused(f"it looks for host {hello.source}, and this is {me.name}")
        if not is_valid(said.proof("follower"), hello.proof):
            raise Refused("it does not have this cluster's key")
        is_full = not has_room(hello.follower)
        _say(writer, Welcome(proof=said.proof("source"), is_full=is_full))
        if is_full:
            raise NoRoom(f"there is no room for {hello.follower}, which was told so")
    return Stream(reader, writer, hello.follower, said.seal("source"), said.seal("follower"))


def turn_away(writer: asyncio.StreamWriter) -> None:
    """Say that there is no room now, and close."""
    _say(writer, Greeting(version=VERSION, nonce="", is_full=True))
    writer.close()


async def connect(host: str, port: int, source: HostName, me: Identity) -> Stream:
    """The follower's side, from the connection on. Raises Refused, Unavailable or Malformed; then nothing is open."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            reader, writer = await asyncio.open_connection(host, port, limit=BODY_BYTES_MAX)
    except (OSError, TimeoutError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
        raise Unavailable(f"it cannot be reached: {reason}") from error
    try:
        async with _in_time():
            greeting = await _greeted(reader, writer, source, me)
            nonce = fresh_nonce()
            said = _Said(me, me.name, source, greeting.nonce, nonce)
            hello = Hello(version=VERSION, follower=me.name, source=source, nonce=nonce, proof=said.proof("follower"))
            _say(writer, hello)
            welcome = _welcome.decode(await _hear(reader))
            if not is_valid(said.proof("source"), welcome.proof):
                raise Refused("it does not have this cluster's key")
            _check_room(welcome)
    except BaseException:
        writer.transport.abort()
        raise
    return Stream(reader, writer, source, said.seal("follower"), said.seal("source"))


async def _greeted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: HostName, me: Identity
) -> Greeting:
    """The source's first word. One of another version is told this one, and nothing is proven to it."""
    word = await _hear(reader)
    try:
        _check_version(word)
    except Refused:
        _say(writer, Hello(version=VERSION, follower=me.name, source=source, nonce="", proof=""))
        raise
    greeting = _greeting.decode(word)
    _check_room(greeting)
    return greeting


def _check_room(word: Greeting | Welcome) -> None:
    if word.is_full:
        raise Unavailable(
            "it has all the connections for flows that it takes; when there is room, it takes this host's"
        )


class _in_time(contextlib.AbstractAsyncContextManager[None]):  # noqa: N801 - reads like the timeout that it is
    """A handshake ends in time, and what its socket says is told as what it means."""

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout(HANDSHAKE_S)
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)  # type: ignore[arg-type]
        except TimeoutError:
            raise Unavailable("it did not prove itself in time") from None
        if isinstance(error, asyncio.IncompleteReadError | OSError):
            raise Unavailable("it closed the stream") from error


@dataclass(frozen=True, slots=True)
class _Said:
    """All that both ends say before they trust each other."""

    me: Identity
    follower: HostName
    source: HostName
    source_nonce: str
    follower_nonce: str

    def proof(self, role: str) -> str:
        return self._digest("proof", role).hex()

    def seal(self, role: str) -> Seal:
        return Seal(self._digest("frames", role))

    def _digest(self, use: str, role: str) -> bytes:
        said = (
            "gapless flow stream",
            VERSION,
            use,
            role,
            self.me.cluster,
            self.source_nonce,
            self.follower_nonce,
            self.source,
            self.follower,
        )
        return hmac.new(self.me.key, msgspec.json.encode(said), hashlib.sha256).digest()


def _check_version(word: bytes) -> None:
    """Raises Refused, Malformed."""
    if (version := _versioned.decode(word).version) != VERSION:
        raise Refused(
            f"it speaks version {version} of the flow stream, this host version {VERSION}: install the same release of "
            "Gapless on both; until then connections do not survive a takeover between them"
        )


def _say(writer: asyncio.StreamWriter, message: msgspec.Struct) -> None:
    body = msgspec.json.encode(message)
    writer.write(_HELLO_LENGTH.pack(len(body)) + body)


async def _hear(reader: asyncio.StreamReader) -> bytes:
    (length,) = _HELLO_LENGTH.unpack(await reader.readexactly(_HELLO_LENGTH.size))
    if length > GREETING_BYTES_MAX:
        raise Malformed(f"a greeting of {length} bytes is announced")
    return await reader.readexactly(length)
