"""What a service manager hears: over a real datagram socket, in the order in which it was said, and never at a cost."""

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gapless.observe.notify import Condition, ServiceManager

STARTING = Condition(is_ready=False, status="the guard does not stand yet")
READY = Condition(is_ready=True, status="holds its lease")
PATIENCE_S = 10.0
WATCHDOG_S = 0.06


@pytest.fixture
def hears(tmp_path: Path) -> Iterator[socket.socket]:
    """The manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def told(hears: socket.socket) -> list[list[str]]:
    messages = []
    with suppress(BlockingIOError):
        while True:
            messages.append(hears.recv(4096).decode().split("\n"))
    return messages


def test_it_is_ready_once_and_a_level_is_told_when_it_changes(hears: socket.socket) -> None:
    with closing(ServiceManager(hears.getsockname())) as manager:
        for condition in (STARTING, STARTING, READY, READY):
            manager.tell(condition)
        manager.stops("ends its agent")
    assert told(hears) == [
        ["STATUS=the guard does not stand yet"],
        ["READY=1", "STATUS=holds its lease"],
        ["STOPPING=1", "STATUS=ends its agent"],
    ]


def test_who_needs_long_to_end_asks_for_patience(hears: socket.socket) -> None:
    with closing(ServiceManager(hears.getsockname())) as manager:
        manager.stops("routers leave", 60.0)
    assert told(hears) == [["STOPPING=1", "EXTEND_TIMEOUT_USEC=80000000", "STATUS=routers leave"]]


def test_an_abstract_socket() -> None:
    name = f"gapless-test-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        with closing(ServiceManager(f"@{name}")) as manager:
            manager.tell(READY)
        assert told(listening) == [["READY=1", "STATUS=holds its lease"]]


def test_a_status_cannot_say_more_than_a_status(hears: socket.socket) -> None:
    with closing(ServiceManager(hears.getsockname())) as manager:
        manager.tell(Condition(is_ready=False, status=f"x\nREADY=1\n{'y' * 9999}"))
    ((line,),) = told(hears)
    assert line.startswith("STATUS=x READY=1 y")
    assert len(line) < 600


def test_a_manager_that_is_away_or_does_not_read_costs_nothing_and_hears_the_level_later(
    tmp_path: Path, hears: socket.socket
) -> None:
    with closing(ServiceManager(str(tmp_path / "nobody"))) as manager:
        manager.tell(READY)
        manager.turns()
        manager.stops("")
    with closing(ServiceManager(hears.getsockname())) as manager:
        with suppress(BlockingIOError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
            others.setblocking(False)
            while True:
                others.sendto(b"X=1", hears.getsockname())
        manager.tell(READY)
        assert ["READY=1", "STATUS=holds its lease"] not in told(hears)
        manager.tell(READY)
        assert told(hears) == [["READY=1", "STATUS=holds its lease"]]


@pytest.mark.parametrize("address", ["", "/", "@", "vsock:2:1234", "relative"])
def test_where_there_is_no_manager_nothing_is_told(address: str) -> None:
    with closing(ServiceManager.found_in({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})) as manager:
        assert not manager.is_there
        asyncio.run(manager.follow(lambda: pytest.fail("nobody asks")))
        manager.stops("")


def test_children_inherit_nothing_of_it(hears: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": hears.getsockname(), "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1", "PATH": "/bin"}
    with closing(ServiceManager.found_in(environment)) as manager:
        assert manager.is_there
    assert environment == {"PATH": "/bin"}


class Clock:
    """Time that a test moves; the loop's own sleeps are as short as it says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.02
        return self.now


@pytest.mark.parametrize(("pid", "is_meant"), [(str(os.getpid()), True), ("", True), ("1", False)])
async def test_signs_of_life_come_from_the_loop_and_only_to_a_watchdog_of_this_process(
    hears: socket.socket, pid: str, is_meant: bool
) -> None:
    environment = {"NOTIFY_SOCKET": hears.getsockname(), "WATCHDOG_USEC": "60000", "WATCHDOG_PID": pid}
    looks = asyncio.Semaphore(0)

    def look() -> Condition:
        looks.release()
        return STARTING

    with closing(ServiceManager.found_in(environment)) as manager:
        following = asyncio.create_task(manager.follow(look, Clock()))
        for _ in range(3):
            await looks.acquire()
        following.cancel()
    said = told(hears)
    assert said[0] == ["STATUS=the guard does not stand yet"]
    assert set(map(tuple, said[1:])) == ({("WATCHDOG=1",)} if is_meant else set())


def hang() -> None:
    """For much longer than the watchdog waits."""
    time.sleep(5 * WATCHDOG_S)


async def next_said(hears: socket.socket) -> list[str]:
    async with asyncio.timeout(PATIENCE_S):
        return (await asyncio.get_running_loop().sock_recv(hears, 4096)).decode().split("\n")


async def test_a_loop_that_hangs_gives_no_sign_of_life_until_it_turns_again(hears: socket.socket) -> None:
    """Were the watchdog fed by a thread, a process that hangs would look alive."""
    environment = {"NOTIFY_SOCKET": hears.getsockname(), "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}"}
    with closing(ServiceManager.found_in(environment)) as manager:
        following = asyncio.create_task(manager.follow(lambda: STARTING))
        assert await next_said(hears) == ["STATUS=the guard does not stand yet"]
        assert await next_said(hears) == ["WATCHDOG=1"]
        told(hears)
        hang()
        assert told(hears) == [], "nobody else speaks for the loop"
        assert await next_said(hears) == ["WATCHDOG=1"]
        following.cancel()
