"""Bytes that no peer says: whoever sends them is closed upon, one line says so, and nothing of them is applied."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from flow_kernel import Kernel, began, ended, flows, router
from flow_source import identity
from test_flow_behind import running
from test_flow_entries import IDENTITY, PROTOCOL, TIMEOUT, message
from test_flow_policy import following

from gapless.errors import Unavailable
from gapless.flows.figures import Figures
from gapless.flows.source import Source
from gapless.model.host import HostName
from gapless.wire import flows as wire
from gapless.wire.flows import Kind, Part, Section, Stream
from gapless.wire.messages import encode

ROUTER = router(1)
PATIENCE_S = 10.0
UNPROVEN = {
    "too much": b"\xff" * 5000,
    "no JSON": struct.pack(">H", 3) + b"{}}",
    "no words of ours": struct.pack(">H", 2) + b"[]",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
}


async def reached(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, as soon as somebody listens."""
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            await asyncio.sleep(0.01)


async def until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:  # it closed with some of it unread
        pass


async def heard_out(stream: Stream) -> None:
    while True:
        await stream.receive(PATIENCE_S)


async def until_ended(stream: Stream) -> None:
    with pytest.raises(Unavailable, match="the stream ended"):
        await heard_out(stream)


def about(lines: list[str], words: str) -> list[str]:
    return [line for line in lines if words in line]


@asynccontextmanager
async def source(port: int) -> AsyncIterator[Figures]:
    figures = Figures()
    async with running(Source(identity("a"), figures, lambda _: False, most=9).serve("127.0.0.1", port)):
        yield figures


@pytest.mark.parametrize("said", UNPROVEN.values(), ids=UNPROVEN.keys())
async def test_who_says_such_things_to_a_source_before_it_is_proven_is_closed_upon(
    free_tcp_port: int, log_lines: list[str], said: bytes
) -> None:
    async with source(free_tcp_port) as figures:
        reader, writer = await reached(free_tcp_port)
        writer.write(said)
        await until_closed(reader)
        writer.close()
        (line,) = about(log_lines, "was turned away")
        assert "address=127.0.0.1" in line
        assert (figures.turned_away, figures.streams) == (1, 0)
        (await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity("b"))).close()


def sealed(kind: int, body: bytes) -> tuple[Kind, bytes]:
    """A frame whose tag fits."""
    return cast(Kind, kind), body


PROVEN = {
    "no frame": b"\xff" * 200,
    "a tag that does not fit": struct.pack(">IB", 9, Kind.APPLIED) + b"\0" * 24,
    "a kind that is none": sealed(9, b""),
    "flows, to their source": sealed(Kind.DATA, wire.pack([Section(0, Part.END)])),
    "how many it tracks, to its source": sealed(Kind.MOST, b"\0" * 8),
    "a number of seven bytes": sealed(Kind.APPLIED, b"\0" * 7),
    "a wish that is no JSON": sealed(Kind.WANTED, b"\xff"),
    "a channel that is none": sealed(Kind.WANTED, encode(wire.Wanted(add={-1: ROUTER}))),
}


@pytest.mark.parametrize("said", PROVEN.values(), ids=PROVEN.keys())
async def test_a_follower_that_says_such_things_is_closed_upon_and_others_are_not(
    free_tcp_port: int, log_lines: list[str], said: bytes | tuple[Kind, bytes]
) -> None:
    async with source(free_tcp_port) as figures:
        (await reached(free_tcp_port))[1].close()
        hostile, other = [
            await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity(name)) for name in "bc"
        ]
        if isinstance(said, bytes):
            hostile._writer.write(said)
        else:
            await hostile.send(*said)
        await until_ended(hostile)
        (line,) = about(log_lines, "flow stream down")
        assert "follower=b" in line
        assert "reason=" in line
        assert figures.streams == 1
        hostile.close()
        other.close()


@asynccontextmanager
async def listening(port: int) -> AsyncIterator["asyncio.Queue[Stream]"]:
    """In a source's place; the streams that were asked for routers."""
    accepted: asyncio.Queue[Stream] = asyncio.Queue()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = await wire.accept(reader, writer, identity("a"))
        assert (await stream.receive(PATIENCE_S))[0] is Kind.WANTED
        accepted.put_nowait(stream)

    async with await asyncio.start_server(connected, "127.0.0.1", port):
        yield accepted
        while not accepted.empty():
            accepted.get_nowait().close()


GOOD = wire.pack([Section(0, Part.CHANGES, began(1) + ended(7))])
ODD_STATUS = "0600030000ff"
FRAMES = {
    "a section that is cut short": b"\0" * 11,
    "a part that is none": struct.pack(">IB3xI", 0, 9, 0),
    "a section longer than its frame": struct.pack(">IB3xI", 0, Part.CHANGES, 99),
    "messages that are none": wire.pack([Section(0, Part.CHANGES, b"\xff" * 40)]),
    "a message that is cut short": wire.pack([Section(0, Part.CHANGES, began(2)[:-4])]),
    "a status of two bytes": wire.pack(
        [Section(0, Part.CHANGES, message(began(2)[20:124].hex(), IDENTITY, ODD_STATUS, "0000", TIMEOUT, PROTOCOL))]
    ),
    "a bad one of a router that nobody follows": wire.pack([Section(9, Part.CHANGES, b"\xff" * 40)]),
}


@pytest.mark.parametrize("bad", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.parametrize("is_first", [True, False], ids=["before a good one", "after a good one"])
async def test_of_a_frame_with_one_bad_section_nothing_is_applied(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str], bad: bytes, *, is_first: bool
) -> None:
    sink, table = following(kernel, free_tcp_port)
    table.there = {each: began(7) for each in flows([7])}
    async with listening(free_tcp_port) as accepted, running(sink.run()):
        stream = await accepted.get()
        await stream.send(Kind.DATA, bad + GOOD if is_first else GOOD + bad)
        await until_ended(stream)
        assert (set(table.there), table.asked, sink._figures.applied) == (flows([7]), 0, 0)
        (line,) = about(log_lines, "no flow stream: flows of this host are not copied")
        assert "source=a" in line
        stream.close()
        stream = await accepted.get()  # it asks anew
        await stream.send(Kind.DATA, GOOD)
        while (await stream.receive(PATIENCE_S))[0] is not Kind.APPLIED:
            pass
        assert set(table.there) == flows([1])
        stream.close()


@pytest.mark.parametrize(
    ("kind", "body"), [(Kind.APPLIED, b"\0" * 8), (Kind.MOST, b"\0" * 7)], ids=["a follower's word", "seven bytes"]
)
async def test_a_source_that_says_what_is_none_of_its_words_is_closed_upon(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str], kind: Kind, body: bytes
) -> None:
    sink, _ = following(kernel, free_tcp_port)
    async with listening(free_tcp_port) as accepted, running(sink.run()):
        stream = await accepted.get()
        await stream.send(kind, body)
        await until_ended(stream)
        assert len(about(log_lines, "no flow stream: flows of this host are not copied")) == 1
        stream.close()


@pytest.mark.parametrize(
    "said", [b"\xff" * 200, struct.pack(">IB", 1 + len(GOOD), Kind.DATA) + GOOD + b"\0" * wire.TAG_BYTES],
    ids=["no frame", "a tag that does not fit"],
)  # fmt: skip
async def test_of_what_was_not_sealed_by_the_source_nothing_is_applied(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str], said: bytes
) -> None:
    sink, table = following(kernel, free_tcp_port)
    async with listening(free_tcp_port) as accepted, running(sink.run()):
        stream = await accepted.get()
        stream._writer.write(said)
        await until_ended(stream)
        assert (table.there, table.asked) == ({}, 0)
        assert len(about(log_lines, "no flow stream: flows of this host are not copied")) == 1
        stream.close()


@pytest.mark.parametrize("said", UNPROVEN.values(), ids=UNPROVEN.keys())
async def test_who_says_such_things_in_a_sources_place_is_closed_upon(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str], said: bytes
) -> None:
    sink, table = following(kernel, free_tcp_port)
    closed = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await until_closed(reader)
        writer.close()
        closed.set()

    async with await asyncio.start_server(speak, "127.0.0.1", free_tcp_port), running(sink.run()):
        await closed.wait()
        assert len(about(log_lines, "no flow stream: flows of this host are not copied")) == 1
        assert (table.there, table.asked) == ({}, 0)
