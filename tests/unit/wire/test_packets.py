"""The link between a sentinel and its beat: nobody waits for who does not read, and what is no message ends it."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from gapless.errors import Unavailable
from gapless.wire.beat import Built, FromBeat, Said, ToBeat, from_beat, to_beat
from gapless.wire.packets import CHATTER_MOST, PACKET_BYTES_MAX, BeatEnd, WaitingEnd, packet_pair

PATIENCE_S = 20.0


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, its = packet_pair()
    with ours, its:
        yield ours, its


def said(number: int, size: int = 1000) -> Said:
    return Said(level="info", event=str(number), details={"padding": "x" * size})


def built(number: int, size: int = 20_000) -> Built:
    return Built(routers=(f"{number}:".ljust(size, "x"),))  # type: ignore[arg-type] # any text is an id


async def test_messages_arrive_whole_and_in_order(ends: tuple[socket.socket, socket.socket]) -> None:
    sentinel, beat = WaitingEnd[FromBeat](ends[0], from_beat), BeatEnd[ToBeat](ends[1], to_beat)
    assert beat.receive() is None
    await sentinel.send(built(1))
    await sentinel.send(built(2))
    assert [beat.receive(), beat.receive(), beat.receive()] == [built(1), built(2), None]
    beat.send(said(1))
    assert await sentinel.receive() == said(1)


async def test_the_beat_keeps_what_the_sentinel_does_not_read(ends: tuple[socket.socket, socket.socket]) -> None:
    sentinel, beat = WaitingEnd[FromBeat](ends[0], from_beat), BeatEnd[ToBeat](ends[1], to_beat)
    for number in range(500):
        beat.send(said(number))
    assert beat.has_backlog
    for number in range(500):
        assert await sentinel.receive() == said(number)
        beat.flush()
    assert not beat.has_backlog


async def test_chatter_is_dropped_before_it_fills_memory(ends: tuple[socket.socket, socket.socket]) -> None:
    sentinel, beat = WaitingEnd[FromBeat](ends[0], from_beat), BeatEnd[ToBeat](ends[1], to_beat)
    for number in range(5 * CHATTER_MOST):
        beat.chat(said(number))
    beat.send(said(-1))
    heard = []
    while not heard or heard[-1] != "-1":
        message = await sentinel.receive()
        assert isinstance(message, Said)
        heard.append(message.event)
        beat.flush()
    assert heard[:-1] == [str(number) for number in range(len(heard) - 1)], "the first ones are kept, in order"
    assert CHATTER_MOST < len(heard) < 4 * CHATTER_MOST


async def test_two_who_send_while_the_beat_does_not_read_both_come_through(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    sentinel, beat = WaitingEnd[FromBeat](ends[0], from_beat), BeatEnd[ToBeat](ends[1], to_beat)

    async def send(numbers: range) -> None:
        for number in numbers:
            await sentinel.send(built(number))

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(send(range(50))), tasks.create_task(send(range(100, 150)))]
        await asyncio.sleep(0)
        got = set()
        while len(got) < 100:
            if (message := beat.receive()) is not None:
                assert isinstance(message, Built)
                got.add(message.routers[0].partition(":")[0])
            await asyncio.sleep(0)
    assert all(task.done() for task in both)


async def test_each_end_notices_that_the_other_is_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    sentinel, beat = WaitingEnd[FromBeat](ends[0], from_beat), BeatEnd[ToBeat](ends[1], to_beat)
    sentinel.close()
    with pytest.raises(Unavailable, match="sentinel is gone"):
        beat.receive()
    with pytest.raises(Unavailable, match="sentinel is gone"):
        beat.send(said(1))
    beat.last_words(said(2))
    ours, its = packet_pair()
    other = WaitingEnd[FromBeat](ours, from_beat)
    its.close()
    assert await other.receive() is None
    with pytest.raises(Unavailable, match="beat is gone"):
        await other.send(built(1))
    other.close()


async def test_what_was_said_before_the_end_is_still_heard(ends: tuple[socket.socket, socket.socket]) -> None:
    sentinel, beat = WaitingEnd[FromBeat](ends[0], from_beat), BeatEnd[ToBeat](ends[1], to_beat)
    beat.last_words(said(1))
    ends[1].close()
    assert [await sentinel.receive(), await sentinel.receive()] == [said(1), None]


@pytest.mark.parametrize("raw", [b"no message", b"{}", b'{"type":"said"}', b"\xff" * 1000])
async def test_what_is_no_message_is_refused_by_either_end(
    ends: tuple[socket.socket, socket.socket], raw: bytes
) -> None:
    sentinel, beat = WaitingEnd[FromBeat](ends[0], from_beat), BeatEnd[ToBeat](ends[1], to_beat)
    ends[0].send(raw)
    ends[1].send(raw)
    with pytest.raises(Unavailable, match="is no message"):
        beat.receive()
    with pytest.raises(Unavailable, match="is no message"):
        await sentinel.receive()


async def test_what_does_not_fit_into_a_packet_is_a_mistake_of_who_sends(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(ValueError, match="send it in parts"):
        await WaitingEnd[FromBeat](ends[0], from_beat).send(built(1, PACKET_BYTES_MAX))
    with contextlib.suppress(BlockingIOError):
        assert not ends[1].recv(1)
