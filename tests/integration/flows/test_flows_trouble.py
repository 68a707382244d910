"""What goes wrong on the way of connections' state: streams that break, events that are lost, strangers."""

import asyncio
import contextlib
import time
from collections.abc import Iterable

import pytest
from flow_fixtures import PATIENCE_S, ROUTER, Pair, until
from flow_messages import udp_entry

from gapless.errors import Unavailable
from gapless.flows import hearing
from gapless.flows.entries import Entry, entry_of, messages_in
from gapless.flows.figures import Figures
from gapless.flows.source import Source
from gapless.flows.table import Table
from gapless.flows.telling import Telling
from gapless.kernel.netns import DIRECTORY
from gapless.model.flow import FlowPolicy
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.observe.log import get_logger
from gapless.wire import flows as wire
from gapless.wire.flowlink import Asking
from logged import kept

pytestmark = pytest.mark.isolated


def make(name: str, entries: list[Entry]) -> None:
    """Have these in a router's table, as if packets had made them."""
    with Table(DIRECTORY / name) as table:
        assert table.make(entries) == []


def has(pair: Pair, words: str) -> bool:
    return any(words in line for line in pair.tracked("b"))


async def heard_out(stream: wire.Stream) -> None:
    while True:
        await stream.receive(PATIENCE_S)


async def test_a_stream_that_breaks_is_made_anew_and_nothing_is_missing(pair: Pair) -> None:
    pair.connected()
    sink = pair.sink()
    async with pair.following(pair.source(), sink):
        await until("the flow is on b", lambda: len(pair.tracked("b")) == 1)
        assert sink._stream is not None
        sink._stream.close()
        pair.connected(5003)
        await until("both are on b", lambda: len(pair.tracked("b")) == 2)


async def test_events_that_are_lost_cost_a_copy_and_no_flow(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "BUFFER_BYTES", 4096)
    entries = [udp_entry(port) for port in range(2000, 2400)]
    async with pair.following(pair.source(), pair.sink()):
        await until("it is followed", lambda: pair.figures["a"].copies == 1)
        make("a", entries)  # faster than anybody hears
        await until("events were lost", lambda: pair.figures["a"].overruns > 0)
        await until("all are on b", lambda: len(pair.tracked("b")) == len(entries))


def told_at_last(sections: Iterable[wire.Section]) -> set[bytes]:
    """Flows that are there when all of this was taken in."""
    there = set[bytes]()
    for section in sections:
        for message in messages_in(section.messages):
            if (entry := entry_of(message)) is not None:
                (there.discard if entry.is_over else there.add)(entry.flow)
    return there


async def test_what_ends_while_a_piece_of_the_copy_waits_to_be_read_is_over_for_the_follower_too(pair: Pair) -> None:
    """The kernel makes a piece when the one before is read."""
    make("a", [udp_entry(port) for port in range(2000, 3000)])
    ears, policy = hearing.Ears(), FlowPolicy()
    where = DIRECTORY / "a"
    nothing = lambda: None  # noqa: E731
    telling = Telling(
        0, ROUTER, where, ears, Figures(), get_logger(), most=5000, policy=policy, wake=nothing, ask=nothing
    )
    try:
        telling.look(is_open=True)
        telling.step(1.0)
        told = list(telling.sections(1 << 24, 1.0))
        assert 0 < len(told_at_last(told)) < 1000, "there is more than one piece"
        with Table(DIRECTORY / "a") as table:
            table.remove([udp_entry(port).flow for port in range(2000, 3000)])
        while telling._hear():
            pass
        told += telling.sections(1 << 24, 1.0)
        assert told_at_last(told) == set()
        while telling.is_copying:
            telling.step(2.0)
        told += telling.sections(1 << 24, 2.0)
        assert told_at_last(told) == set()
    finally:
        telling.close()
        ears.close()


async def test_no_more_flows_of_a_router_are_copied_than_is_allowed(pair: Pair) -> None:
    make("a", [udp_entry(port) for port in range(2000, 2400)])
    async with pair.following(pair.source(most=100), pair.sink()):
        await until("the copy is over", lambda: pair.figures["a"].copies == 1)
        await until("and applied", lambda: pair.figures["b"].applied == 100)
        assert len(pair.tracked("b")) == 100


async def test_changes_after_the_copy_are_bounded_as_it_was(pair: Pair) -> None:
    make("a", [udp_entry(port) for port in range(2000, 2060)])
    source = pair.source(most=100)
    async with pair.following(source, pair.sink()):
        await until("the copy is applied", lambda: len(pair.tracked("b")) == 60)
        make("a", [udp_entry(port) for port in range(3000, 3400)])
        await until("all was heard", lambda: pair.figures["a"].left_out == 360)
        await until("what has room is applied", lambda: len(pair.tracked("b")) == 100)
        await until("nothing is under way", lambda: source.flushed({ROUTER: Asking(to=HostName("b"))}) == [ROUTER])
        assert (len(pair.tracked("b")), pair.figures["a"].overruns) == (100, 0)
        with Table(DIRECTORY / "a") as table:
            table.remove(udp_entry(port).flow for port in range(2000, 2060))
        await until("what is over is gone there, too", lambda: len(pair.tracked("b")) == 40)
        make("a", [udp_entry(4000)])
        await until("there is room again", lambda: has(pair, "sport=4000"))


async def test_a_flow_whose_port_is_taken_on_the_standby_has_it_when_the_copy_is_over(pair: Pair) -> None:
    """Another flow has it there, which the source knows nothing of: it is over."""
    make("a", [udp_entry(2000, outer=3000), udp_entry(2001)])
    make("b", [udp_entry(2002, outer=3000)])
    async with pair.following(pair.source(), pair.sink()):
        await until("the copy is over", lambda: pair.figures["a"].copies == 1)
        await until("what the source does not know is gone", lambda: not has(pair, "sport=2002"))
        await until("both are there, translated alike", lambda: has(pair, "sport=2001") and has(pair, "dport=3000"))


async def test_strangers_and_hostile_bytes_are_closed_upon_and_said_and_change_nothing(pair: Pair) -> None:
    pair.connected()
    strange = (b"\xff" * 5000, b"\0\2{}", b"GET / HTTP/1.1\r\n\r\n")
    with kept("flows") as lines:
        async with pair.following(pair.source(), pair.sink()):
            await until("the flow is on b", lambda: len(pair.tracked("b")) == 1)
            for said in strange:
                reader, writer = await asyncio.open_connection("127.0.0.1", 9695)
                writer.write(said)
                with contextlib.suppress(ConnectionError):
                    await reader.read()  # until it is closed there
                writer.close()
            proven = await wire.connect("127.0.0.1", 9695, HostName("a"), pair.identity("c"))
            proven._writer.write(b"\xff" * 200)
            with pytest.raises(Unavailable, match="the stream ended"):
                await heard_out(proven)
            proven.close()
            assert pair.figures["a"].turned_away == len(strange)
            assert len([line for line in lines if "was turned away" in line]) == 1
            assert len([line for line in lines if "flow stream down" in line and "follower=c" in line]) == 1
            pair.connected(5003)
            await until("the next one is copied too", lambda: len(pair.tracked("b")) == 2)


async def test_a_frame_with_one_bad_section_leaves_the_kernel_as_it_was(pair: Pair) -> None:
    make("b", [udp_entry(2000)])
    heard: asyncio.Queue[wire.Stream] = asyncio.Queue()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await wire.accept(reader, writer, pair.identity("a")))

    good = wire.pack([wire.Section(0, wire.Part.BEGIN), wire.Section(0, wire.Part.END)])
    bad = wire.pack([wire.Section(0, wire.Part.CHANGES, b"\xff" * 40)])
    async with await asyncio.start_server(connected, "127.0.0.1", 9695):
        following = asyncio.ensure_future(pair.sink().run())
        try:
            for body, remains in ((good + bad, 1), (good, 0)):
                stream = await heard.get()
                assert (await stream.receive(PATIENCE_S))[0] is wire.Kind.WANTED
                await stream.send(wire.Kind.DATA, body)
                with contextlib.suppress(Unavailable):
                    # Of this frame: with the number of the one before, a follower says that it lives.
                    applied = (wire.Kind.APPLIED, wire.pack_number(stream.sent))
                    while await stream.receive(PATIENCE_S) != applied:
                        pass
                assert len(pair.tracked("b")) == remains
                stream.close()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def test_who_has_another_key_is_told_nothing(pair: Pair) -> None:
    pair.connected()
    good, bad = pair.source(), pair.sink(key=b"x" * 32)
    async with pair.following(good, bad):
        await until("it was turned away", lambda: good._refused._since_s is not None)
        assert pair.figures["a"].streams == 0
    assert pair.tracked("b") == []


async def test_a_source_that_cannot_listen_says_so(pair: Pair) -> None:
    with pytest.raises(Unavailable, match=r"cannot listen on 203\.0\.113\.1:9695"):
        await pair.source().serve("203.0.113.1", 9695)


async def test_a_router_whose_namespace_is_not_there_is_waited_for(pair: Pair) -> None:
    source = Source(
        pair.identity("a"), pair.figures["a"], lambda _: True, most=9, path_of=lambda _: DIRECTORY / "later"
    )
    async with pair.following(source, pair.sink()):
        await until("the stream is up", lambda: pair.figures["a"].streams == 1)
        source.look(time.monotonic())
        pair.make_router("later")
        await until("it is copied", lambda: pair.figures["a"].copies == 1)


async def test_many_routers_are_copied_one_after_another_and_none_is_forgotten(pair: Pair) -> None:
    """All of them in one namespace: what is copied is the same, and is looked for once for each."""
    pair.connected()
    sink = pair.sink()
    routers = frozenset(RouterId(f"{number:08}-1111-4111-8111-111111111111") for number in range(30))
    sink.follow(routers, sink.address)
    source = pair.source()
    async with pair.following(source, sink):
        await until("each was copied", lambda: pair.figures["a"].copies == len(routers))
        await until("each was applied", lambda: pair.figures["b"].applied >= len(routers))
        (session,) = source._sessions
        assert not any(each.is_copying for each in session._channels.values())
        pair.connected(5003)
        await until("changes are told after it", lambda: len(pair.tracked("b")) == 2)
    assert pair.figures["a"].overruns == 0
