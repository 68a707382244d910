"""When a router that was taken over is seen to have forwarded its first packet."""

import asyncio
import threading
from collections.abc import Iterable, Mapping

import pytest
from beat_fakes import X, Y, Z
from fake_controller import PATIENCE_S

from gapless.errors import Unavailable
from gapless.model.router import RouterId
from gapless.sentinel import firstpacket
from gapless.sentinel.firstpacket import RESTING_AT_ONCE, WATCH_S, Count, FirstPackets, Watch


class Bench:
    """A watch, with counts that are set by hand."""

    def __init__(self, **packets: int) -> None:
        self.watch = Watch()
        self.packets = dict(packets)
        self.now = 100.0

    def look(self) -> dict[RouterId, float]:
        due = self.watch.due(self.now)
        counts = {each: Count(self.packets[each], self.now) for each in due if each in self.packets}
        return self.watch.seen(due, counts)


def test_what_is_forwarded_after_a_takeover_is_told_once_with_the_time_at_which_it_was_seen() -> None:
    bench = Bench(x=7, y=0)
    bench.watch.rest([X, Y])
    assert bench.look() == {}
    assert bench.watch.due(bench.now) == ()
    bench.watch.begin([X, Y], bench.now)
    assert bench.look() == {}
    bench.now += 0.5
    bench.packets["x"] = 8
    assert bench.look() == {X: 100.5}
    bench.packets |= {"x": 9, "y": 1}
    bench.now += 0.5
    assert bench.look() == {Y: 101.0}
    assert bench.watch.due(bench.now) == ()


def test_what_was_forwarded_before_the_first_look_counts_too() -> None:
    bench = Bench(x=7)
    bench.watch.rest([X])
    bench.look()
    bench.watch.begin([X], bench.now)
    bench.packets["x"] = 20
    assert bench.look() == {X: 100.0}


def test_who_was_not_looked_at_before_is_told_of_by_the_next_packet() -> None:
    """Late, and never early."""
    bench = Bench(x=7)
    bench.watch.begin([X], bench.now)
    assert bench.look() == {}
    bench.packets["x"] = 8
    assert bench.look() == {X: 100.0}


def test_a_router_that_forwards_nothing_is_given_up_and_not_told_of() -> None:
    bench = Bench(x=7)
    bench.watch.rest([X])
    bench.look()
    bench.watch.begin([X], bench.now)
    bench.now += WATCH_S
    bench.packets["x"] = 8
    assert bench.look() == {}


def test_a_router_that_was_closed_begins_anew() -> None:
    bench = Bench(x=7)
    bench.watch.begin([X], bench.now)
    bench.watch.rest([X])
    bench.packets["x"] = 9
    assert bench.look() == {}
    bench.watch.begin([X], bench.now)
    assert bench.look() == {}, "what it forwarded before it was closed says nothing"
    bench.packets["x"] = 10
    assert bench.look() == {X: 100.0}


def test_a_namespace_that_was_made_anew_counts_from_nothing() -> None:
    bench = Bench(x=700)
    bench.watch.rest([X])
    bench.look()
    bench.watch.begin([X], bench.now)
    for packets in (0, 0):
        bench.packets["x"] = packets
        assert bench.look() == {}
    del bench.packets["x"]
    assert bench.look() == {}
    bench.packets["x"] = 5
    assert bench.look() == {}, "not known how many those were before"


def test_what_is_not_planned_here_any_more_is_forgotten() -> None:
    bench = Bench(x=7, y=7)
    bench.watch.rest([X, Y])
    bench.look()
    bench.watch.keep({Y})
    bench.watch.begin([X, Y], bench.now)
    bench.packets = {"x": 8, "y": 8}
    assert bench.look() == {Y: 100.0}, "of the other nobody knows how many those were before"


def test_those_that_were_taken_over_come_before_those_at_rest() -> None:
    bench = Bench()
    bench.watch.rest(RouterId(f"{number:03}") for number in range(1000))
    bench.watch.begin([X], bench.now)
    assert (bench.watch.due(bench.now)[0], len(bench.watch.due(bench.now))) == (X, 1 + RESTING_AT_ONCE)
    looks = 0
    while len(bench.watch.due(bench.now)) > 1:
        bench.look()
        looks += 1
    assert looks == 1000 / RESTING_AT_ONCE


async def test_a_kernel_that_does_not_answer_costs_the_time_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firstpacket, "WATCH_S", 2 * PATIENCE_S)  # three looks may take a busy machine longer
    told: list[Mapping[RouterId, float]] = []
    is_told = asyncio.Event()
    looks = 0

    def counting(routers: Iterable[RouterId]) -> dict[RouterId, Count]:
        nonlocal looks
        looks += 1
        assert threading.current_thread() is not threading.main_thread()
        if looks == 1:
            raise Unavailable("the kernel did not let go")
        return {each: Count(looks, float(looks)) for each in routers if each != Z}

    def seen(first: Mapping[RouterId, float]) -> None:
        told.append(first)
        is_told.set()

    packets = FirstPackets(seen, counting)
    packets.begin([X, Z])
    running = asyncio.create_task(packets.run())
    async with asyncio.timeout(PATIENCE_S):
        await is_told.wait()
    running.cancel()
    assert told == [{X: 3.0}]
