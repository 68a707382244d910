"""Whether a follower has all that a router's kernel had said when that was asked for, whatever it goes on saying."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import pytest
from flow_kernel import Kernel, SmallTable, began, flows, router
from test_flow_behind import Reader, running, serving, until
from test_flow_policy import following

from gapless.core.backoff import Pace
from gapless.core.flows import feed
from gapless.flows import driver as driver_module
from gapless.flows import hearing
from gapless.flows.driver import Driver
from gapless.flows.figures import Figures
from gapless.flows.session import Session
from gapless.flows.source import Source
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire import flows as wire
from gapless.wire.flowlink import (
    Asking,
    FlowsAlive,
    FlowsBegin,
    FlowsDuties,
    FlowsFlushed,
    FromFlows,
    from_flows,
    to_flows,
)
from gapless.wire.flows import Kind
from gapless.wire.local import LocalLink

ROUTER = router(1)
ASKED = {ROUTER: Asking(to=HostName("b"))}


@asynccontextmanager
async def followed(
    kernel: Kernel, port: int, figures: Figures | None = None
) -> AsyncIterator[tuple[Source, SmallTable]]:
    """The router's source, and its follower's table."""
    sink, table = following(kernel, port)
    async with serving(kernel, figures or Figures(), port) as source, running(sink.run()):
        yield source, table


async def test_a_router_whose_flows_never_pause_is_flushed_with_all_that_was_there_when_it_was_asked(
    kernel: Kernel, free_tcp_port: int
) -> None:
    """Before each look another flow has begun, and nobody has heard of it yet."""
    await kernel.begins(ROUTER, [1])
    async with followed(kernel, free_tcp_port) as (source, table):
        await until(lambda: len(table.there) == 1)
        await kernel.begins(ROUTER, range(2, 200))
        ports = iter(range(200, 5000))
        while source.flushed(ASKED) != [ROUTER]:
            await asyncio.sleep(0)
            await kernel.begins(ROUTER, [next(ports)])
        assert flows(range(1, 200)) <= set(table.there)


async def test_each_answer_is_to_a_question_of_its_own(kernel: Kernel, free_tcp_port: int) -> None:
    async with followed(kernel, free_tcp_port) as (source, table):
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        await kernel.begins(ROUTER, [1])
        assert source.flushed(ASKED) == [], "it has begun since"
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        await kernel.begins(ROUTER, [2])
        assert source.flushed(ASKED) == []
        await until(lambda: len(table.there) == 2)
        source.flushed({})  # it is not to move any more
        await kernel.begins(ROUTER, [3])
        assert source.flushed(ASKED) == [], "what was asked before is over"


async def test_another_asking_is_another_question_also_about_the_same_host(kernel: Kernel, free_tcp_port: int) -> None:
    async with followed(kernel, free_tcp_port) as (source, table):
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        await kernel.begins(ROUTER, [1])
        assert source.flushed(ASKED) == []
        await until(lambda: len(table.there) == 1)
        await kernel.begins(ROUTER, [2])
        assert source.flushed({ROUTER: Asking(to=HostName("b"), number=2)}) == [], "it has begun since"


async def test_a_process_answers_each_asking_with_its_host_and_number(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an answer is on its way the router is asked about with another host; that is asked, and answered, too."""
    ours, its = socket.socketpair()
    sentinel, link = await LocalLink.over(ours, from_flows), await LocalLink.over(its, to_flows)
    begin = FlowsBegin(key="00", cluster="", name=HostName("a"), address="127.0.0.1", port=free_tcp_port, most=9)
    driver, asked, send = Driver(link, begin), list[Mapping[RouterId, Asking]](), link.send
    to_b, to_c = (FlowsDuties(flush={ROUTER: HostName(name)}, numbers={ROUTER: n}) for name, n in (("b", 7), ("c", 8)))

    def flushed(wanted: Mapping[RouterId, Asking]) -> list[RouterId]:
        asked.append(wanted)
        return list(wanted)

    async def send_late(message: msgspec.Struct) -> None:
        if isinstance(message, FlowsFlushed) and len(asked) == 1:
            await sentinel.send(to_c)
            await until(lambda: driver._flush == to_c.askings)
        await send(message)

    monkeypatch.setattr(driver._source, "flushed", flushed)
    monkeypatch.setattr(link, "send", send_late)
    async with running(driver.run()):
        await sentinel.send(to_b)
        answers = [said.answers async for said in said_by(sentinel, 2)]
        await sentinel.close()
    await link.close()
    assert answers == [to_b.askings, to_c.askings]
    assert to_c.askings == {ROUTER: Asking(to=HostName("c"), number=8)}


class Behind:
    """A session of a follower that is."""

    def lag_s(self, now: float) -> float:
        return 5.0

    def end(self) -> None:
        """Nothing is open."""


async def test_a_process_says_each_time_how_far_behind_its_followers_are(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is looked at more rarely, as where there are many routers."""
    monkeypatch.setattr(driver_module, "ALIVE_S", 0.01)
    monkeypatch.setattr(driver_module, "LOOK_S", 1000.0)
    monkeypatch.setattr(driver_module, "LOOK_MOST_S", 1000.0)
    ours, its = socket.socketpair()
    sentinel, link = await LocalLink.over(ours, from_flows), await LocalLink.over(its, to_flows)
    begin = FlowsBegin(key="00", cluster="", name=HostName("a"), address="127.0.0.1", port=free_tcp_port, most=9)
    driver = Driver(link, begin)
    driver._source._sessions.add(cast("Session", Behind()))
    async with running(driver.run()):
        said = [await sentinel.receive() for _ in range(3)]
        await sentinel.close()
    await link.close()
    assert [each.figures.lag_ms for each in said if isinstance(each, FlowsAlive)] == [5000.0] * 3


async def said_by(sentinel: LocalLink[FromFlows], count: int) -> AsyncIterator[FlowsFlushed]:
    """The first answers that it hears."""
    while count:
        if isinstance(said := await sentinel.receive(), FlowsFlushed):
            yield said
            count -= 1


async def test_events_that_are_not_heard_to_their_end_are_no_answer(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "AT_ONCE", 10)
    async with followed(kernel, free_tcp_port) as (source, table):
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        await kernel.begins(ROUTER, range(1, 100))
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        assert set(table.there) == flows(range(1, 100))


async def test_who_lost_something_is_flushed_when_it_was_copied_again(
    kernel: Kernel, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAUSE", Pace(first_s=0.05, most_s=0.05))
    figures = Figures()
    async with followed(kernel, free_tcp_port, figures) as (source, table):
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        await kernel.begins(ROUTER, range(1, 100))
        assert source.flushed(ASKED) == []
        (session,) = source._sessions
        (telling,) = session._channels.values()
        telling.give_up(0.0)
        assert source.flushed(ASKED) == [], "whatever the follower has dealt with"
        await until(lambda: source.flushed(ASKED) == [ROUTER])
        assert (set(table.there), figures.copies) == (flows(range(1, 100)), 2)


async def test_a_follower_that_has_read_all_and_dealt_with_nothing_has_nothing(
    kernel: Kernel, free_tcp_port: int
) -> None:
    figures = Figures()
    async with serving(kernel, figures, free_tcp_port) as source, Reader.of(free_tcp_port, ROUTER) as follower:
        await follower.reads(lambda: source.flushed(ASKED) == [ROUTER])
        await kernel.begins(ROUTER, [1])
        assert source.flushed(ASKED) == []
        while began(1) not in (await follower._stream.receive(10.0))[1]:
            pass
        assert source.flushed(ASKED) == []
        await follower._stream.send(Kind.APPLIED, wire.pack_number(follower._stream.received))
        await until(lambda: source.flushed(ASKED) == [ROUTER])
