"""The flow stream over a socket pair: proof of the key, frames that fit, and everything that does not."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from gapless.errors import Refused, Unavailable
from gapless.model.host import HostName
from gapless.wire import flows as wire
from gapless.wire.flows import Identity, Kind, Part, Section, Stream
from gapless.wire.messages import Malformed

SOURCE = Identity(name=HostName("a"), cluster="lab", key=b"k" * 32)
FOLLOWER = Identity(name=HostName("b"), cluster="lab", key=b"k" * 32)
PATIENCE_S = 10.0


@asynccontextmanager
async def listening(me: Identity = SOURCE) -> AsyncIterator[tuple[int, "asyncio.Queue[Stream | Exception]"]]:
    """A source; its port, and what became of each who connected."""
    opened: list[asyncio.StreamWriter] = []
    accepted: asyncio.Queue[Stream | Exception] = asyncio.Queue()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            opened.append(writer)
            accepted.put_nowait(await wire.accept(reader, writer, me))
        except (Refused, Unavailable, Malformed) as error:
            accepted.put_nowait(error)
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1], accepted
    finally:
        server.close()
        for writer in opened:
            writer.transport.abort()
        await asyncio.sleep(0)  # an aborted transport closes its socket in the loop's next turn


@asynccontextmanager
async def streams() -> AsyncIterator[tuple[Stream, Stream]]:
    """Source and follower, connected."""
    async with listening() as (port, accepted):
        follower = await wire.connect("127.0.0.1", port, SOURCE.name, FOLLOWER)
        source = await accepted.get()
        assert isinstance(source, Stream)
        yield source, follower
        follower.close()


async def test_both_prove_the_key_and_speak() -> None:
    async with streams() as (source, follower):
        assert (source.peer, follower.peer) == (FOLLOWER.name, SOURCE.name)
        await source.send(Kind.DATA, b"flows")
        await follower.send(Kind.APPLIED, wire.pack_number(7))
        assert await follower.receive(PATIENCE_S) == (Kind.DATA, b"flows")
        kind, body = await source.receive(PATIENCE_S)
        assert (kind, wire.unpack_number(body)) == (Kind.APPLIED, 7)
        assert (source.sent, follower.received, follower.sent) == (1, 1, 1)


@pytest.mark.parametrize(
    ("who", "whom"),
    [
        (Identity(name=HostName("b"), cluster="lab", key=b"x" * 32), "a"),
        (Identity(name=HostName("b"), cluster="other", key=b"k" * 32), "a"),
        (FOLLOWER, "c"),
    ],
    ids=["another key", "another cluster", "it looks for another host"],
)
async def test_who_is_not_meant_or_cannot_prove_itself_is_turned_away(who: Identity, whom: str) -> None:
    async with listening() as (port, accepted):
        with pytest.raises(Unavailable):
            await wire.connect("127.0.0.1", port, HostName(whom), who)
        assert isinstance(await accepted.get(), Refused)


async def speak(port: int, said: bytes) -> bytes:
    """Say these bytes to a source and hear it out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    if not said:
        writer.write_eof()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE_S):
            heard = await reader.read()
    writer.close()
    return heard


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff\xff" + b"x" * 100,
        struct.pack(">H", 3) + b"{}}",
        struct.pack(">H", 2) + b"[]",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["nothing", "too much", "no JSON", "no hello", "HTTP"],
)
async def test_who_speaks_otherwise_is_turned_away(said: bytes) -> None:
    async with listening() as (port, accepted):
        asking = asyncio.ensure_future(speak(port, said))
        assert isinstance(await accepted.get(), Unavailable | Malformed)
        await asking


@asynccontextmanager
async def posing(*words: msgspec.Struct) -> AsyncIterator[int]:
    """Somebody who says these words, whatever is said to it; its port."""
    opened: list[asyncio.StreamWriter] = []

    async def speak_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        for message in words:
            body = msgspec.json.encode(message)
            writer.write(struct.pack(">H", len(body)) + body)

    server = await asyncio.start_server(speak_on, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in opened:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_a_source_of_another_version_is_refused_in_words() -> None:
    async with posing(wire.Greeting(version=wire.VERSION + 1, nonce="00")) as port:
        with pytest.raises(Refused, match=f"speaks version {wire.VERSION + 1} .* install the same release"):
            await wire.connect("127.0.0.1", port, SOURCE.name, FOLLOWER)


async def test_a_source_without_the_key_is_refused() -> None:
    async with posing(wire.Greeting(version=wire.VERSION, nonce="00"), wire.Welcome(proof="00" * 32)) as port:
        with pytest.raises(Refused, match="does not have this cluster's key"):
            await wire.connect("127.0.0.1", port, SOURCE.name, FOLLOWER)


Spoil = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[:-1] + bytes((frame[-1] ^ 1,)),
        lambda frame: frame[:6] + bytes((frame[6] ^ 1,)) + frame[7:],
        lambda frame: b"\xff\xff\xff\xff" + frame[4:],
        lambda frame: b"\0\0\0\0" + frame[4:],
    ],
    ids=["the tag changed", "the body changed", "a frame without end", "an empty frame"],
)
async def test_a_frame_that_was_changed_ends_the_stream(spoil: Spoil) -> None:
    async with streams() as (source, follower):
        await _send_spoilt(source, spoil)
        with pytest.raises(Malformed):
            await follower.receive(PATIENCE_S)


async def test_a_frame_that_comes_twice_ends_the_stream() -> None:
    async with streams() as (source, follower):
        await _send_spoilt(source, lambda frame: frame * 2)
        assert await follower.receive(PATIENCE_S) == (Kind.DATA, b"flows")
        with pytest.raises(Malformed):
            await follower.receive(PATIENCE_S)


async def test_a_frame_of_the_other_direction_does_not_fit() -> None:
    async with streams() as (source, follower):
        frames: list[bytes] = []
        await _send_spoilt(source, lambda frame: frames.append(frame) or b"")
        follower._writer.write(frames[0])  # what an attacker in between would send back
        with pytest.raises(Malformed):
            await source.receive(PATIENCE_S)


async def _send_spoilt(stream: Stream, spoil: Spoil) -> None:
    frame = struct.pack(">IB", 6, Kind.DATA) + b"flows"
    stream._writer.write(spoil(frame + stream._ours.tag(frame)))
    await stream._writer.drain()


async def test_silence_and_the_end_are_told_apart_from_malice() -> None:
    async with streams() as (source, follower):
        with pytest.raises(Unavailable, match="nothing was heard"):
            await follower.receive(0.01)
        source.close()
        with pytest.raises(Unavailable, match="the stream ended"):
            await follower.receive(PATIENCE_S)


def test_sections_come_back_as_they_were() -> None:
    sections = [Section(3, Part.BEGIN), Section(3, Part.ENTRIES, b"abc"), Section(2**32 - 1, Part.CHANGES, b"d" * 9)]
    assert list(wire.unpack(wire.pack(sections))) == sections
    assert list(wire.unpack(b"")) == []


@pytest.mark.parametrize(
    "body", [b"x", wire.pack([Section(1, Part.END)])[:-1], b"\0" * 12, struct.pack(">IB3xI", 1, 2, 9)]
)
def test_what_is_no_section_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        list(wire.unpack(body))


def test_an_acknowledgement_of_another_size_is_malformed() -> None:
    with pytest.raises(Malformed):
        wire.unpack_number(b"1234567")
