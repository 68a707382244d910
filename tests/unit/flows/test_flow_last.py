"""The last that is heard of a router where it was active, and what its next host makes of it."""

import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from flow_kernel import Kernel, began, ended, entry, flows, router
from flow_source import identity, listens
from test_flow_behind import running, until
from test_flow_policy import following

from gapless.flows import driver as driver_module
from gapless.flows import follower as follower_module
from gapless.flows import hearing
from gapless.flows import sink as sink_module
from gapless.flows.driver import Driver
from gapless.flows.figures import Figures
from gapless.flows.follower import Follower
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.flows.telling import Telling
from gapless.flows.turns import Turns
from gapless.model.host import HostName
from gapless.wire import flows as wire
from gapless.wire.flowlink import FlowsBegin, FlowsDuties, from_flows, to_flows
from gapless.wire.flows import Kind, Part
from gapless.wire.local import LocalLink
from gapless.wire.messages import encode

ROUTER = router(1)
A, B = HostName("a"), HostName("b")


class Moving:
    """A router that is open on a, whom b follows; both are looked at only when the test says so."""

    def __init__(self, kernel: Kernel, port: int) -> None:
        self.told = {ROUTER}
        self.figures = Figures()
        self._port = port
        self.source = Source(
            identity("a"),
            self.figures,
            self.told.__contains__,
            most=1000,
            path_of=kernel.path_of,
            turns=Turns(rest=0.0),
        )
        self.sink, self.table = following(kernel, port)

    @property
    def telling(self) -> Telling:
        """What the source says to b of the router."""
        (session,) = self.source._sessions
        (telling,) = session._channels.values()
        return telling

    @property
    def is_over(self) -> bool:
        """Nobody listens to the router any more, at either end."""
        return not any(session._channels for session in self.source._sessions) and not self.sink.is_parting

    def closes(self) -> None:
        """On a."""
        self.told.clear()
        self.source.look(time.monotonic())

    def opens(self) -> None:
        """On b."""
        self.sink.follow(frozenset(), self.sink.address, active=frozenset({ROUTER}))

    async def moves(self) -> None:
        """From a to b, until all is heard."""
        self.closes()
        self.opens()
        await until(lambda: self.is_over)


@pytest.fixture
async def moving(kernel: Kernel, free_tcp_port: int) -> AsyncIterator[Moving]:
    """Flow 1 is copied."""
    made = Moving(kernel, free_tcp_port)
    await kernel.begins(ROUTER, [1])
    async with serving(made.source, free_tcp_port), running(made.sink.run()):
        await until(lambda: made.table.there.keys() == flows([1]) and made.figures.copies == 1)
        yield made


@asynccontextmanager
async def serving(source: Source, port: int) -> AsyncIterator[None]:
    async with running(source.serve("127.0.0.1", port)):
        await listens(port)
        yield


@pytest.fixture
def forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is heard to the end is so for as long as it takes."""
    monkeypatch.setattr(sink_module, "PARTS_S", 1000.0)


@pytest.mark.usefixtures("forever")
async def test_what_begins_just_before_a_router_moves_is_on_its_next_host(kernel: Kernel, moving: Moving) -> None:
    """The source has not heard of it yet when it hears that the router is closed."""
    await kernel.begins(ROUTER, range(2, 100))
    moving.closes()
    moving.opens()
    assert moving.table.there.keys() == flows([1])
    assert moving.sink.followed == 0
    await until(lambda: moving.is_over)
    assert moving.table.there.keys() == flows(range(1, 100))


@pytest.mark.usefixtures("forever")
async def test_what_was_taken_up_in_the_middle_just_before_is_asked_for_whole(kernel: Kernel, moving: Moving) -> None:
    await kernel.picks_up(ROUTER, range(2, 250))
    await moving.moves()
    assert moving.table.there.keys() == flows(range(1, 250))


@pytest.mark.usefixtures("forever")
async def test_all_that_the_kernel_said_is_heard_however_much_that_is(
    kernel: Kernel, moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "AT_ONCE", 10)
    await kernel.begins(ROUTER, range(2, 100))
    await moving.moves()
    assert moving.table.there.keys() == flows(range(1, 100))


@pytest.mark.usefixtures("forever")
async def test_what_its_next_host_has_stays_as_it_is(kernel: Kernel, moving: Moving) -> None:
    """Flow 1 has ended there; flow 2 was taken up here, under another port, before anybody told of it."""
    taken_up = began(2).replace(bytes.fromhex("c6336401"), bytes.fromhex("c6336402"))
    assert entry(taken_up).flow == entry(began(2)).flow
    await kernel.says(ROUTER, ended(1), began(2), began(3), began(4), ended(4))
    moving.closes()
    moving.opens()
    here = moving.table.there
    here[entry(began(2)).flow] = taken_up
    before = dict(here)
    await until(lambda: moving.is_over)
    assert {flow: said for flow, said in here.items() if flow in before} == before
    assert here.keys() - before.keys() == flows([3])


async def test_who_is_not_active_takes_the_last_as_it_takes_all_and_goes_on(kernel: Kernel, moving: Moving) -> None:
    await kernel.says(ROUTER, ended(1), began(2))
    moving.closes()
    await until(lambda: moving.table.there.keys() == flows([2]))
    await until(lambda: moving.telling._is_parting is False)
    assert moving.sink.followed == 1
    await kernel.begins(ROUTER, [3])
    moving.told.add(ROUTER)
    moving.source.look(time.monotonic())
    await until(lambda: moving.table.there.keys() == flows([2, 3]))


async def test_what_is_late_is_not_taken(kernel: Kernel, moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "PARTS_S", 0.0)
    await kernel.begins(ROUTER, [2])
    moving.opens()
    assert moving.sink.is_parting
    telling, before = moving.telling, moving.telling.last_frame
    moving.closes()
    await until(lambda: telling.last_frame > before and not telling._is_parting)
    await until(lambda: moving.sink._applied == telling.last_frame)
    assert moving.table.there.keys() == flows([1])
    moving.sink.look()
    assert not moving.sink.is_parting
    await until(lambda: moving.is_over)


@pytest.mark.usefixtures("forever")
@pytest.mark.parametrize("becomes", ["followed again", "another host's"])
async def test_who_is_not_active_any_more_does_not_go_on_to_the_end(moving: Moving, becomes: str) -> None:
    moving.opens()
    assert (moving.sink.is_parting, moving.sink.followed) == (True, 0)
    followed = frozenset({ROUTER} if becomes == "followed again" else ())
    moving.sink.follow(followed, moving.sink.address)
    assert (moving.sink.is_parting, moving.sink.followed) == (False, len(followed))


@pytest.mark.usefixtures("forever")
async def test_a_stream_that_breaks_has_no_end_to_hear(moving: Moving) -> None:
    moving.opens()
    assert moving.sink._stream is not None
    moving.sink._stream.close()
    await until(lambda: not moving.sink.is_parting)


@pytest.mark.usefixtures("forever")
async def test_of_what_was_lost_only_the_end_is_told(
    kernel: Kernel, moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapless.flows.telling.MOST_WAITING", 0)
    await kernel.picks_up(ROUTER, [2])
    moving.closes()
    assert moving.figures.overruns == 1
    moving.opens()
    await until(lambda: moving.is_over)
    assert moving.table.there.keys() == flows([1])


async def test_a_router_that_opens_again_before_its_end_was_told_is_copied(kernel: Kernel, moving: Moving) -> None:
    """In the same moment, so that nobody has told anything in between."""
    await kernel.begins(ROUTER, [2])
    telling = moving.telling
    moving.closes()
    assert telling._is_parting
    moving.told.add(ROUTER)
    moving.source.look(time.monotonic())
    assert not telling._is_parting
    await until(lambda: moving.figures.copies == 2 and moving.table.there.keys() == flows([1, 2]))


@pytest.mark.parametrize("steps", [1, 2], ids=["in the middle", "before its end is told"])
async def test_a_copy_that_is_cut_short_by_the_end_removes_nothing_and_what_it_listed_is_told(
    kernel: Kernel, moving: Moving, steps: int
) -> None:
    """Of flow 8 the source knows from its list alone, and flow 9 is only on b."""
    kernel.table(ROUTER).there[entry(began(8)).flow] = began(8)
    moving.table.there[entry(began(9)).flow] = began(9)
    telling = moving.telling
    telling._feed._due_at = 0.0
    for _ in range(steps):
        telling.step(time.monotonic())
    assert telling.is_copying is (steps == 1)
    moving.closes()
    await until(lambda: not telling._is_parting)
    await until(lambda: moving.sink._applied == telling.last_frame)
    assert moving.table.there.keys() == flows([1, 8, 9])


async def test_a_channel_that_was_not_asked_for_yet_is_not_asked_for_when_it_is_dropped(moving: Moving) -> None:
    """Else its source would hear of it after it was dropped, and tell of it for as long as the stream lasts."""
    sink = moving.sink
    sink.follow(frozenset(), sink.address)
    sink.follow(frozenset({ROUTER}), sink.address)
    sink.follow(frozenset(), sink.address)
    assert (sink._added, sink._dropped) == ({}, [0])
    await until(lambda: moving.is_over)


@pytest.mark.parametrize("hears", [True, False], ids=["newer", "older"])
async def test_a_follower_hears_the_end_once_and_an_older_one_not_at_all(
    kernel: Kernel, free_tcp_port: int, hears: bool
) -> None:
    """It would take it for garbage, and end the stream."""
    moving, parts = Moving(kernel, free_tcp_port), list[Part]()
    async with serving(moving.source, free_tcp_port):
        stream = await wire.connect("127.0.0.1", free_tcp_port, A, identity("b"))
        await stream.send(Kind.WANTED, encode(wire.Wanted(add={0: ROUTER}, hears_whole=True, hears_last=hears)))
        for awaited, times in ((Part.WHOLE, 1), (Part.BEHIND, 2)):
            while parts.count(awaited) < times:
                _, body = await stream.receive(10.0)
                parts += [each.part for each in wire.unpack(body)]
            moving.closes()
        stream.close()
    assert parts.count(Part.LAST) == (1 if hears else 0)


async def test_who_becomes_active_while_what_is_over_is_removed_loses_no_more(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "OVER_AT_ONCE", 1)
    table = kernel.table(ROUTER)
    await kernel.begins(ROUTER, [1, 2, 3])
    follower = Follower(kernel.path_of(ROUTER), Figures(), Turns(rest=0.0))
    remove = table.remove

    def remove_and_become_active(gone: Iterable[bytes]) -> None:
        remove(gone)
        follower.is_active = True

    monkeypatch.setattr(table, "remove", remove_and_become_active)
    await follower.apply(Part.BEGIN, [])
    assert await follower.apply(Part.END, []) == 0
    assert len(table.there) == 2
    follower.close()


@pytest.mark.usefixtures("forever")
async def test_what_there_is_no_room_for_is_counted(kernel: Kernel, moving: Moving, log_lines: list[str]) -> None:
    moving.table.room = 2
    await kernel.begins(ROUTER, [2, 3])
    await moving.moves()
    assert moving.table.there.keys() == flows([1, 2])
    (line,) = (each for each in log_lines if "these may break" in each)
    assert "the kernel did not take 1 of them" in line
    assert moving.sink._lacking == set(), "nobody follows it any more"


@pytest.mark.usefixtures("forever")
@pytest.mark.parametrize("is_by_plan", [False, True], ids=["it was released", "it opens by its plan"])
async def test_a_process_stays_with_a_host_until_it_has_heard_the_end(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch, is_by_plan: bool
) -> None:
    """The last router that is followed there. Where it opens by its plan it is not followed from then on."""
    moving = Moving(kernel, free_tcp_port)
    monkeypatch.setattr(driver_module, "Sink", partial(Sink, path_of=moving.sink._path_of))
    monkeypatch.setattr(driver_module, "LOOK_S", 0.01)
    ours, its = socket.socketpair()
    sentinel, link = await LocalLink.over(ours, from_flows), await LocalLink.over(its, to_flows)
    begin = FlowsBegin(key=(b"k" * 32).hex(), cluster="lab", name=B, address="127.0.0.2", port=free_tcp_port, most=9)
    driver = Driver(link, begin)
    here = {A: "127.0.0.1"}
    await kernel.begins(ROUTER, [1])
    async with serving(moving.source, free_tcp_port), running(driver.run()):
        await sentinel.send(FlowsDuties(followed={ROUTER: (A,)}, addresses=here))
        await until(lambda: moving.table.there.keys() == flows([1]) and moving.figures.copies == 1)
        if is_by_plan:
            await sentinel.send(FlowsDuties(opening=(ROUTER,), addresses=here))
        await sentinel.send(FlowsDuties(told=(ROUTER,), addresses=here))
        await until(lambda: driver._told == {ROUTER})
        assert set(driver._sinks) == {A}
        await kernel.begins(ROUTER, [2])
        moving.closes()
        await until(lambda: not driver._sinks)
        assert moving.table.there.keys() == flows([1, 2])
        await sentinel.close()
    await link.close()
