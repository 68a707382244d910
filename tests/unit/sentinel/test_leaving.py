"""A sentinel whose routers leave, one by one or since its host is about to stop."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_controller import PATIENCE_S, FakeController, controller, eventually
from sentinel_host import FLOWS, guarded, is_active, released, told_to_beat, told_to_flows, with_beat

from gapless.sentinel.driver import Sentinel


async def test_what_an_earlier_session_said_is_no_revision_of_this_one(tmp_path: Path) -> None:
    """A router waits for its connections when the link breaks, and is given to the beat when that is over."""
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")), report_interval_s=4.0)
    stand_in = [sys.executable, str(FLOWS), "good", "FD", str(tmp_path / "flows")]

    async with controller(fake), with_beat(fake, tmp_path, flows=stand_in):
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        await session.heard(lambda report: is_active(report, "x"))
        before, fake.says_no_plan = len(told_to_beat(tmp_path)), True
        await session.change(released("x"))
        await eventually(lambda: "flush x -> net2" in told_to_flows(tmp_path))
        await session.connection.close()
        again = await fake.session()
        await eventually(lambda: any(line.endswith(" +x -0") for line in told_to_beat(tmp_path)[before:]))
        count = len(again.reports)
        await eventually(lambda: len(again.reports) > count)
        assert {(each.revision, each.guard_revision) for each in again.reports} == {(0, 0)}


@pytest.mark.parametrize("behaviour", ["flushes", "good"])
async def test_a_router_that_leaves_waits_for_its_connections_and_not_for_ever(tmp_path: Path, behaviour: str) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    stand_in = [sys.executable, str(FLOWS), behaviour, "FD", str(tmp_path / "flows")]

    async with controller(fake), with_beat(fake, tmp_path, flows=stand_in):
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        await session.heard(lambda report: is_active(report, "x"))
        before = len(told_to_beat(tmp_path))
        await session.change(released("x"))
        await eventually(lambda: "flush x -> net2" in told_to_flows(tmp_path))
        await session.heard(lambda report: report.guard_revision == 2)
        await eventually(lambda: len(told_to_beat(tmp_path)) == before + 2)
        held, given = told_to_beat(tmp_path)[before:]
        assert held.endswith(" + -0"), "as it was"
        assert given.endswith(" +x -0")


async def test_a_host_that_stops_says_so_and_waits_until_nothing_is_open(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        await it.sentinel.leave(0.0)
        leaving = asyncio.create_task(it.sentinel.leave(60.0))
        await session.heard(lambda report: report.is_stopping)
        assert not leaving.done()
        await session.change(guarded("close:x"))
        await leaving


async def test_a_host_that_stops_waits_until_what_it_released_has_arrived(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        leaving = asyncio.create_task(it.sentinel.leave(60.0))
        await session.heard(lambda report: report.is_stopping)
        await session.change(guarded("close:x"), released("x"))
        await eventually(lambda: not it.sentinel.figures().levels.open)
        assert not leaving.done(), "the word that it is closed may have been lost"
        await session.change(guarded("x"))
        await leaving


async def test_a_host_that_stops_when_its_last_router_has_just_left_waits_for_that(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        await session.change(guarded("close:x"), released("x"))
        await eventually(lambda: not it.sentinel.figures().levels.open)
        leaving = asyncio.create_task(it.sentinel.leave(60.0))
        await session.heard(lambda report: report.is_stopping)
        assert not leaving.done(), "the word that it is closed may have been lost"
        await session.change(guarded("x"))
        await leaving


@contextlib.asynccontextmanager
async def leaving_while_served(
    fake: FakeController, serving: contextlib.AsyncExitStack, tmp_path: Path
) -> AsyncIterator[tuple[Sentinel, "asyncio.Task[None]"]]:
    """A host that has told its controller that it is about to stop; `serving` is that one's life."""
    await serving.enter_async_context(controller(fake))
    async with with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        leaving = asyncio.create_task(it.sentinel.leave(60.0))
        await session.heard(lambda report: report.is_stopping)
        yield it.sentinel, leaving


async def test_a_host_that_stops_waits_for_a_controller_that_is_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapless.sentinel.leaving.LOOK_S", 0.001)
    monkeypatch.setattr("gapless.sentinel.contact.BACK_S", 3 * PATIENCE_S)
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with (
        contextlib.AsyncExitStack() as serving,
        leaving_while_served(fake, serving, tmp_path) as (sentinel, leaving),
    ):
        await serving.aclose()
        await eventually(lambda: "controller not reached" in sentinel.condition().status)
        assert not (await asyncio.wait([leaving], timeout=0.1))[0]
        async with controller(fake):
            again = await fake.session()
            await again.heard(lambda report: report.is_stopping)
            await again.change(guarded("close:x"))
            await leaving


async def test_a_host_that_cannot_tell_its_controller_soon_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapless.sentinel.contact.BACK_S", 0.1)
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with (
        contextlib.AsyncExitStack() as serving,
        leaving_while_served(fake, serving, tmp_path) as (sentinel, leaving),
    ):
        await serving.aclose()
        await leaving
        await sentinel.leave(60.0)
