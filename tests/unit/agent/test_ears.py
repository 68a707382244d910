"""An ear hears at once, and hears on, whatever error it met: what was not told is looked for."""

import asyncio
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gapless.agent.hint import Hint
from gapless.agent.kernel import watch
from gapless.agent.kernel.events import RouterEvents, _Room
from gapless.agent.kernel.links import OUR_MARK, Outline
from gapless.agent.kernel.watch import DriftWatcher
from gapless.kernel.netlink import text
from gapless.model.router import RouterId
from gapless.observe.log import get_logger
from stopped_clock import stopped_clock

NEWLINK, DELLINK = 16, 17
INDEX = 7
PATIENCE_S = 20.0
TAP = Outline(index=INDEX, name="tapa", mtu=1500, up=True, operational=True, master=9, alias=f"{OUR_MARK}r1")
GONE = (
    struct.pack("=IHHII", 16 + 16 + 12, DELLINK, 0, 0, 0) + struct.pack("=BxHiII", 0, 0, INDEX, 0, 0) + text(3, "tapa")
)


class Heard(socket.socket):
    """A kernel's socket whose next calls fail with these errors; what waits to be read waits on."""

    def __init__(self, *numbers: int) -> None:
        self.said, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        super().__init__(fileno=its.detach())
        self.setblocking(False)
        self.errors = list(numbers)

    def recv(self, *arguments: Any) -> bytes:
        self._fail()
        return super().recv(*arguments)

    def recvmsg_into(self, *arguments: Any) -> Any:
        self._fail()
        return super().recvmsg_into(*arguments)

    def _fail(self) -> None:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        self.said.close()
        super().close()


class Watcher(DriftWatcher):
    """One that watches a tap, and hears by a socket of the test's."""

    def __init__(self, heard: Heard, events: object = None) -> None:
        self._uplinks = frozenset()
        self._loop = asyncio.get_running_loop()
        self._pending = {}
        self._news = asyncio.Event()
        self._is_closed = self._has_missed = self._is_stale = False
        self._events = cast(RouterEvents, events)
        self._passing = {INDEX: TAP}
        self._lister = ThreadPoolExecutor(1)
        self._log = get_logger()
        self._link_socket = heard
        self._hear_links()

    def close(self) -> None:
        self._is_closed = True
        self._loop.remove_reader(self._link_socket.fileno())
        self._link_socket.close()
        self._lister.shutdown()


async def hints(watcher: Watcher, most: int) -> list[RouterId | None]:
    async with asyncio.timeout(PATIENCE_S):
        waiting = aiter(watcher)
        return [(await anext(waiting)).router_id for _ in range(most)]


async def test_what_is_heard_of_links_is_a_hint_at_once() -> None:
    heard = Heard()
    watcher = Watcher(heard)
    with stopped_clock():
        heard.said.send(GONE)
        assert await hints(watcher, 1) == ["r1"]
    watcher.close()


async def test_what_is_heard_of_namespaces_is_a_hint_at_once() -> None:
    ear, said = socket.socketpair()
    hint = Hint(heard_at=1.0, router_id=RouterId("r1"))
    watcher = Watcher(Heard(), SimpleNamespace(fileno=ear.fileno, read=lambda: watcher._hint_from_any_thread(hint)))
    watcher._hear_events()
    with stopped_clock():
        said.send(b"something")
        assert await hints(watcher, 1) == ["r1"]
    watcher.close()
    ear.close()
    said.close()


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EMSGSIZE, errno.ENOMEM])
async def test_links_are_listed_and_heard_of_after_any_error(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_listed", lambda: [TAP])
    heard = Heard(number)
    watcher = Watcher(heard)
    heard.said.send(b"")
    assert await hints(watcher, 1) == [None], "something was not told"
    heard.said.send(GONE)
    assert await hints(watcher, 1) == ["r1"]
    watcher.close()


async def test_links_are_heard_of_after_a_listing_that_met_a_mistake_of_our_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, is_listed, met = asyncio.get_running_loop(), asyncio.Event(), list[object]()

    def list_at_last() -> list[Outline]:
        loop.call_soon_threadsafe(is_listed.set)
        return [TAP]

    listings: list[Callable[[], list[Outline]]] = [lambda: {}["none"], list_at_last]
    monkeypatch.setattr(watch, "_listed", lambda: listings.pop(0)())
    monkeypatch.setattr(watch, "_LIST_AGAIN_S", 0.0)
    loop.set_exception_handler(lambda _, context: met.append(context["exception"]))
    heard = Heard(errno.ENOBUFS)
    watcher = Watcher(heard)
    heard.said.send(b"")
    assert await hints(watcher, 1) == [None]
    async with asyncio.timeout(PATIENCE_S):
        await is_listed.wait()
    heard.said.send(GONE)
    assert await hints(watcher, 1) == ["r1"]
    assert [type(it) for it in met] == [KeyError], "it is told"
    watcher.close()


async def test_links_are_heard_of_after_a_message_that_met_one() -> None:
    class Mistaken(Watcher):
        def _note(self, data: bytes) -> None:
            if data == b"odd":
                raise KeyError(data)
            super()._note(data)

    met: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: met.append(context["exception"]))
    heard = Heard()
    watcher = Mistaken(heard)
    heard.said.send(b"odd")
    heard.said.send(GONE)
    assert await hints(watcher, 1) == ["r1"]
    assert [type(it) for it in met] == [KeyError]
    watcher.close()


async def test_what_happens_in_namespaces_is_heard_after_a_turn_that_met_one_and_not_before_its_time() -> None:
    turns = 0
    is_enough = asyncio.Event()
    ear, said = socket.socketpair()
    said.send(b"there is always something to hear")

    def read() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            is_enough.set()
        raise KeyError("odd")

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    watcher = Watcher(Heard(), SimpleNamespace(fileno=ear.fileno, read=read))
    watcher._hear_events()
    with stopped_clock():
        for _ in range(10):
            await asyncio.sleep(0)
        assert turns == 1
    async with asyncio.timeout(PATIENCE_S):
        await is_enough.wait()
    asyncio.get_running_loop().remove_reader(ear)
    watcher.close()
    ear.close()
    said.close()


class Ears(RouterEvents):
    """Those of an agent, which hear by sockets of the test's."""

    def __init__(self, *sockets: Heard) -> None:
        self.told: list[RouterId | None] = []
        self.on_hint = lambda hint: self.told.append(hint.router_id)
        self.on_steering = lambda: RouterId("steered")
        self._rooms = {}
        self._message = bytearray(1 << 16)
        self._lock = threading.Lock()
        self._is_closed = False
        self._links, self._rules, self._tables = sockets


def test_each_time_that_a_namespaces_mark_is_altered_is_heard() -> None:
    links, room = Heard(), _Room(RouterId("r1"), Path("/run/netns/qrouter-r1"))
    ears = Ears(links, Heard(), Heard())
    heard = []
    for alias in ("gapless", "gapless", "", "gapless", "theirs"):
        said = struct.pack("=BxHiII", 0, 0, 1, 0x10001, 0) + text(3, "lo") + text(20, alias)
        message = struct.pack("=IHHII", 16 + len(said), NEWLINK, 0, 0, 0) + said
        heard.append(bool(ears._hear_links(message, 5, room)))
    assert heard == [True, False, True, True, True]
    for each in ears.sockets:
        each.close()


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EMSGSIZE, errno.ENOMEM])
def test_a_job_that_catches_up_is_not_stopped_by_any_error(number: int) -> None:
    sockets = Heard(number), Heard(number), Heard()
    ears = Ears(*sockets)
    sockets[2].said.send(b"something")
    ears.read()
    assert ears.told == [None, RouterId("steered")]
    for each in sockets:
        each.close()
