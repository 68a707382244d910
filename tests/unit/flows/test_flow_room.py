"""Room for the connections of other hosts: as much as they have, said by their sources as it changes."""

import asyncio
import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import msgspec
import pytest
from flow_kernel import Kernel, router
from flow_source import identity, listens
from test_flow_behind import PATIENCE_S, SlowSource, running, until

from gapless.flows.driver import Driver
from gapless.flows.figures import Figures
from gapless.flows.room import Room
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.flows.turns import Turns
from gapless.kernel import tracked
from gapless.model.host import HostName
from gapless.wire import flows as wire
from gapless.wire.flowlink import FlowsBegin, FlowsDuties, from_flows, to_flows
from gapless.wire.flows import Kind, Part
from gapless.wire.local import LocalLink
from gapless.wire.messages import encode

A, C = HostName("a"), HostName("c")
ROUTER = router(1)
RAISED = "tracks more connections of a router than before"
REFUSED = "that cannot be raised from here"
Limits = Callable[[int | None], Path]


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    """Files in place of the kernel's; None: it tracks none yet, so there is no file."""

    numbers = count(1)

    def made(most: int | None) -> Path:
        file = tmp_path / f"nf_conntrack_max-{next(numbers)}"
        if most is not None:
            file.write_text(f"{most}\n")
        return file

    return made


def lines_with(lines: list[str], words: str) -> list[str]:
    return [line for line in lines if words in line]


def test_it_is_raised_to_what_a_source_has_and_that_is_said_with_both_figures(
    limits: Limits, log_lines: list[str]
) -> None:
    file = limits(65_536)
    room = Room(may_raise=True, file=file)
    room.source_has(A, 262_144)
    assert tracked.most(file) == 262_144
    (line,) = log_lines
    assert RAISED in line
    assert "before=65536" in line
    assert "now=262144" in line
    assert "source=a" in line
    room.look()
    assert len(log_lines) == 1


def test_it_is_never_lowered(limits: Limits, log_lines: list[str]) -> None:
    file = limits(65_536)
    room = Room(may_raise=True, file=file)
    room.source_has(A, 65_535)
    assert (tracked.most(file), log_lines) == (65_536, [])
    room.source_has(A, 262_144)
    room.source_has(A, 100_000)
    room.forget(A)
    room.look()
    assert tracked.most(file) == 262_144


def test_of_several_sources_the_one_with_the_most_counts(limits: Limits) -> None:
    file = limits(1_000)
    room = Room(may_raise=True, file=file)
    for source, most in ((A, 3_000), (C, 2_000)):
        room.source_has(source, most)
        assert tracked.most(file) == 3_000


def test_what_an_operator_lowers_is_raised_again_as_long_as_that_source_is_followed(limits: Limits) -> None:
    file = limits(1_000)
    room = Room(may_raise=True, file=file)
    room.source_has(A, 3_000)
    tracked.allow(2_000, file)
    room.look()
    assert tracked.most(file) == 3_000
    room.forget(A)
    tracked.allow(2_000, file)
    room.look()
    assert tracked.most(file) == 2_000


def test_a_kernel_that_tracks_none_yet_gets_room_when_it_does(limits: Limits) -> None:
    """A standby hears it when the router's namespace is there, and the first rule may come a moment later."""
    file = limits(None)
    room = Room(may_raise=True, file=file)
    room.source_has(A, 3_000)
    assert not file.exists()
    file.write_text("1000\n")
    room.look()
    assert tracked.most(file) == 3_000


def test_a_kernel_without_a_limit_is_given_none(limits: Limits) -> None:
    file = limits(0)
    room = Room(may_raise=True, file=file)
    room.source_has(A, 3_000)
    assert (file.read_text(), room.most) == ("0\n", None)


def test_what_could_not_be_raised_is_tried_again(
    limits: Limits, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = limits(1_000)
    room = Room(may_raise=True, file=file)
    with monkeypatch.context() as patched:

        def refuse(most: int, file: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        patched.setattr(tracked, "allow", refuse)
        room.source_has(A, 3_000)
        room.look()
        assert len(log_lines) == 1
    room.look()
    assert tracked.most(file) == 3_000


def test_who_keeps_the_limit_to_himself_keeps_it(limits: Limits, log_lines: list[str]) -> None:
    file = limits(1_000)
    room = Room(may_raise=False, file=file)
    room.source_has(A, 3_000)
    assert (tracked.most(file), room.most, log_lines) == (1_000, 1_000, [])


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL])
def test_what_cannot_be_raised_is_said_once_for_each_figure(
    limits: Limits, log_lines: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As in a network namespace that is not the machine's first, or with a /proc that nobody may write."""

    def refuse(most: int, file: Path) -> None:
        raise OSError(number, os.strerror(number))

    room = Room(may_raise=True, file=limits(1_000))
    with monkeypatch.context() as refused:
        refused.setattr(tracked, "allow", refuse)
        for most in (3_000, 3_000, 2_500, 4_000):
            room.source_has(A, most)
            room.look()
    said = lines_with(log_lines, REFUSED)
    assert [each.rpartition("nf_conntrack_max=")[2].split()[0] for each in said] == ["3000", "2500", "4000"]
    assert "tracks 1000 connections of a router at most, and a, whose routers it may take over, 3000" in said[0]
    assert os.strerror(number) in said[0]
    room.source_has(A, 5_000)
    assert room.most == 5_000


def source_on_a(kernel: Kernel, file: Path) -> Source:
    room = Room(may_raise=True, file=file)
    turns = Turns(rest=0.0)
    return Source(identity("a"), Figures(), lambda _: True, most=9, path_of=kernel.path_of, turns=turns, room=room)


def sink_on_b(kernel: Kernel, port: int, room: Room | None) -> Sink:
    sink = Sink(identity("b"), A, Figures(), path_of=kernel.path_of, turns=Turns(rest=0.0), room=room)
    sink.follow(frozenset({ROUTER}), ("127.0.0.1", port))
    return sink


async def test_a_follower_has_as_much_room_as_its_source_also_when_that_gets_more(
    kernel: Kernel, free_tcp_port: int, limits: Limits
) -> None:
    there, here = limits(None), limits(1_000)
    source = source_on_a(kernel, there)
    sink = sink_on_b(kernel, free_tcp_port, Room(may_raise=True, file=here))
    async with running(source.serve("127.0.0.1", free_tcp_port), sink.run()):
        await until(lambda: bool(source._sessions))
        source.look(time.monotonic())
        await until(lambda: sink.copied(time.monotonic())[ROUTER] is True)
        assert tracked.most(here) == 1_000, "nothing is tracked there yet"
        for most in (3_000, 5_000):
            there.write_text(f"{most}\n")
            source.look(time.monotonic())
            await until(lambda most=most: tracked.most(here) == most)
        assert sink.copied(time.monotonic())[ROUTER] is True
    assert tracked.most(there) == 5_000


@pytest.mark.parametrize("hears", [True, False], ids=["newer", "older"])
async def test_a_follower_hears_it_once_and_an_older_one_not_at_all(
    kernel: Kernel, free_tcp_port: int, limits: Limits, hears: bool
) -> None:
    """It would take it for garbage, and end the stream."""
    source, kinds, parts = source_on_a(kernel, limits(3_000)), Counter[Kind](), set[Part]()
    async with running(source.serve("127.0.0.1", free_tcp_port)):
        await listens(free_tcp_port)
        stream = await wire.connect("127.0.0.1", free_tcp_port, A, identity("b"))
        await stream.send(Kind.WANTED, encode(wire.Wanted(add={0: ROUTER}, hears_most=hears)))
        for awaited in (Part.END, Part.CHANGES):
            while awaited not in parts:
                kind, body = await stream.receive(PATIENCE_S)
                kinds[kind] += 1
                parts |= {each.part for each in wire.unpack(body)} if kind is Kind.DATA else set()
            source.look(time.monotonic())
            await kernel.begins(ROUTER, [1])
        stream.close()
    assert kinds[Kind.MOST] == (1 if hears else 0)


async def test_an_older_source_says_nothing_of_it_and_is_followed(
    kernel: Kernel, free_tcp_port: int, limits: Limits
) -> None:
    here, source = limits(1_000), SlowSource()
    sink = sink_on_b(kernel, free_tcp_port, Room(may_raise=True, file=here))
    async with running(source.serve(free_tcp_port), sink.run()):
        said = await source.says((Part.BEGIN, b""), (Part.END, b""), (Part.WHOLE, b""))
        await until(lambda: source.applied == said)
        assert sink.copied(time.monotonic())[ROUTER] is True
    assert tracked.most(here) == 1_000


def test_an_older_source_reads_what_a_follower_asks_for() -> None:
    class Wanted(msgspec.Struct, frozen=True, kw_only=True):
        """As it was."""

        add: dict[int, str] = {}
        drop: tuple[int, ...] = ()

    asked = encode(wire.Wanted(add={0: ROUTER}, hears_whole=True, hears_last=True, hears_most=True))
    assert msgspec.json.decode(asked, type=Wanted) == Wanted(add={0: ROUTER})


@pytest.mark.parametrize("raises", [True, False])
async def test_a_process_is_told_whether_it_may_and_forgets_whom_it_follows_no_more(
    free_tcp_port: int, raises: bool
) -> None:
    ours, its = socket.socketpair()
    sentinel, link = await LocalLink.over(ours, from_flows), await LocalLink.over(its, to_flows)
    address = "127.0.0.1"
    begin = FlowsBegin(
        key="00", cluster="", name=HostName("b"), address=address, port=free_tcp_port, most=9, raises_most=raises
    )
    await sentinel.send(begin)
    received = await link.receive()
    assert isinstance(received, FlowsBegin)
    driver = Driver(link, received)
    assert driver._room._may_raise is raises
    driver._room._may_raise = False  # this machine's own limit stays as it is
    process = asyncio.create_task(driver.run())
    await sentinel.send(FlowsDuties(followed={ROUTER: (A,)}, addresses={A: f"{address}:1"}))
    async with asyncio.timeout(PATIENCE_S):
        await until(lambda: A in driver._sinks)
        driver._room.source_has(A, 3_000)
        await sentinel.send(FlowsDuties())
        await until(lambda: not driver._room._said)
        await sentinel.close()
        await process
    await link.close()
