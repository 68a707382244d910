"""Announcements: frames that say where a router's addresses are now, sent to where it matters and nowhere else.

**Never through the bridge**, which would copy each broadcast to all its ports: milliseconds where there are a thousand.
What is sent instead, see `preparing`; all of it is made beforehand, and a burst only sends. Of each router one
preparation is under way at most; a router that a burst needs is prepared before all others.

The rule: the thread that sends waits for nothing. Sockets are opened, and closed (which takes a grace period of the
kernel), by a thread of their own; frames are sent by index, as a name that is gone would make the kernel look for a
module, and interfaces are asked about by index too. A frame that the kernel does not take is one that a repeat makes up
for.

The second rule: these frames pass no guard, so before each of them it is asked whether it may leave. What is left is a
process that is stopped between that and the sending: one frame.

Invariant: what is ready belongs to the thread that sends; no socket is closed that it may still use.
"""

import ctypes
import errno
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from functools import partial
from typing import Final

from gapless.errors import Unavailable
from gapless.kernel.limits import allow_descriptors
from gapless.kernel.netlink import Netlink
from gapless.model.router import RouterId
from gapless.sentinel.beat.interfaces import name_of
from gapless.sentinel.beat.preparing import Frame, Port, Ready, get_ready, packet_socket

BREATH_S: Final = 0.001
"""How long preparing pauses after each router. Who always works waits longest for a busy machine's processor, and here
would make the beat wait for Python's lock meanwhile.
"""

_MSG_DONTWAIT = 0x40
_SIOCGIFHWADDR = 0x8927  # linux/sockios.h
_GONE = frozenset({errno.ENXIO, errno.ENODEV})

# It never waits, so it keeps Python's lock: to get that back from another thread takes longer than to send.
_sendto = ctypes.PyDLL(None, use_errno=True).sendto
_sendto.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_sendto.restype = ctypes.c_ssize_t


@dataclass(slots=True, eq=False)
class _Wish:
    """To have a router ready. The thread that prepares reads `version`, and then the rest."""

    router_id: RouterId
    ports: tuple[Port, ...] = ()
    version: int = 0
    """Grows with each reason to look anew."""
    ready: Ready | None = None
    is_under_way: bool = False
    """A preparation was asked for, and its answer was not taken yet."""
    is_waiting: bool = False
    """... and has not begun."""

    @property
    def is_ready(self) -> bool:
        """Nothing is missing, and nothing is wished for that came later."""
        return self.ready is not None and self.ready.is_whole and self.ready.ports == self.ports


Answers = queue.SimpleQueue[tuple[_Wish, int, Ready | None]]
"""Each with the version of the wish that it is for; None: the kernel did not tell."""


@dataclass(slots=True)
class Burst:
    """What a burst did."""

    frames: int = 0
    lost: int = 0
    """Those of them that the kernel did not take."""
    unsent: list[RouterId] = field(default_factory=list)
    """Routers of which not everything was sent, because it might not leave any more."""
    unready: list[RouterId] = field(default_factory=list)
    """Routers of which not everything was ready. They are prepared anew, before all others: see `became_whole`."""


class Announcer:
    """Sends what was prepared. All calls are for one thread; none waits, but `settle` and `close`."""

    def __init__(self) -> None:
        allow_descriptors()
        self._wishes: dict[RouterId, _Wish] = {}
        self._under_way = 0
        self._whole: list[RouterId] = []
        self._socket = packet_socket()
        self._answers: Answers = queue.SimpleQueue()
        self._hands = _Hands(self._answers)

    def prepare(self, router_id: RouterId, ports: Sequence[Port]) -> None:
        """Get ready to announce a router. Call it again when it was built, repaired or changed."""
        self._take_answers()
        wish = self._wishes.setdefault(router_id, _Wish(router_id))
        wish.ports = tuple(ports)
        wish.version += 1
        self._ask_for(wish)

    def forget(self, router_id: RouterId) -> None:
        """Announce a router no more, and let go of its namespace."""
        self._take_answers()
        if (wish := self._wishes.pop(router_id, None)) is not None:
            self._put_away(wish.ready, None)

    def is_ready(self, router_id: RouterId) -> bool:
        """Whether everything is there that a burst needs for a router."""
        self._take_answers()
        wish = self._wishes.get(router_id)
        return wish is not None and wish.is_ready

    @property
    def is_preparing(self) -> bool:
        """Whether preparations are under way: `became_whole` may have something to tell soon."""
        return self._under_way > 0

    def became_whole(self) -> list[RouterId]:
        """Routers that were made ready since this was asked last, with nothing missing."""
        if self._under_way:
            self._take_answers()
        whole, self._whole = self._whole, []
        return whole

    def burst(self, routers: Iterable[RouterId], may_send: Callable[[], bool], turn: int = 0) -> Burst:
        """Announce these routers now, in their order, as long as frames may leave, which is asked before each.

        `turn`: which of `Ready.passes` is sent, 0 the first time.
        """
        self._take_answers()
        done = Burst()
        bridges: dict[int, bytes | None] = {}
        waiting = deque(routers)
        while waiting:
            wish = self._wishes.get(waiting[0])
            ready = wish.ready if wish is not None else None
            is_whole = wish is not None and wish.is_ready
            for descriptor, frame in self._frames(ready, turn, bridges) if ready is not None else ():
                if not may_send():
                    done.unsent += waiting
                    waiting.clear()
                    break
                error = _send(descriptor, frame) if frame is not None else errno.ENODEV
                done.frames += 1
                done.lost += error != 0
                is_whole = is_whole and error not in _GONE
            else:
                router_id = waiting.popleft()
                if not is_whole:
                    done.unready.append(router_id)
        for router_id in done.unready:
            if (wish := self._wishes.get(router_id)) is not None:
                self._ask_for(wish)
                self._hands.hurry(wish)
        return done

    def settle(self, timeout_s: float = 30.0) -> None:
        """Wait until all that was asked for is prepared, as far as it can be. Raises Unavailable."""
        self._hands.settle(timeout_s)
        self._take_answers()

    def close(self) -> None:
        """Let go of everything."""
        for router_id in tuple(self._wishes):
            self.forget(router_id)
        self._hands.close()
        self._take_answers()
        self._socket.close()

    def _frames(self, ready: Ready, turn: int, bridges: dict[int, bytes | None]) -> Iterator[tuple[int, Frame | None]]:
        """Each frame and the descriptor that it is sent with, None where its bridge is gone; local bridges first."""
        if ready.inside is not None:
            inside = ready.inside.fileno()
            for nudge in ready.nudges:
                if nudge.bridge not in bridges:
                    bridges[nudge.bridge] = self._address_of(nudge.bridge)
                address = bridges[nudge.bridge]
                yield inside, Frame(address + nudge.rest, nudge.by) if address is not None else None
        out = self._socket.fileno()
        for frame in ready.passes[turn]:
            yield out, frame

    def _address_of(self, bridge: int) -> bytes | None:
        """A bridge's MAC address now: it may change with each port. By ioctls that take no RTNL; by the name that it
        has now, since a name that is gone would make the kernel look for a module.
        """
        try:
            name = name_of(self._socket.fileno(), bridge)
            return ioctl(self._socket, _SIOCGIFHWADDR, name + bytes(24))[18:24]
        except OSError:
            return None

    def _ask_for(self, wish: _Wish) -> None:
        """Have it prepared, unless that is under way: what is newer then is looked at after its answer."""
        if not wish.is_under_way:
            wish.is_under_way = wish.is_waiting = True
            self._under_way += 1
            self._hands.prepare(wish)

    def _take_answers(self) -> None:
        with suppress(queue.Empty):
            while self._under_way:  # Else there is none, which the queue would tell by an exception, in each turn.
                self._take(*self._answers.get_nowait())

    def _take(self, wish: _Wish, version: int, ready: Ready | None) -> None:
        wish.is_under_way = False
        self._under_way -= 1
        is_wanted = self._wishes.get(wish.router_id) is wish
        if not is_wanted:
            self._put_away(ready, None)
        elif ready is not None and ready.ports != wish.ports:
            self._put_away(ready, wish.ready)
        elif ready is not None:
            self._put_away(wish.ready, ready)
            wish.ready = ready
            if ready.is_whole:
                self._whole.append(wish.router_id)
        if is_wanted and version != wish.version:
            self._ask_for(wish)

    def _put_away(self, was: Ready | None, now: Ready | None) -> None:
        if was is not None and was.inside is not None and (now is None or now.inside is not was.inside):
            self._hands.close_later(was)


class _Hands:
    """A thread for what takes time: finding interfaces, opening and closing sockets."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._urgent: deque[_Wish] = deque()
        self._host = Netlink()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._thread.start()

    def prepare(self, wish: _Wish) -> None:
        self._work.put(partial(self._prepare, wish))

    def hurry(self, wish: _Wish) -> None:
        """It comes before what was asked for earlier."""
        if wish.is_waiting:
            self._urgent.append(wish)

    def close_later(self, ready: Ready) -> None:
        if ready.inside is not None:
            self._work.put(ready.inside.close)

    def settle(self, timeout_s: float) -> None:
        done = threading.Event()
        self._work.put(done.set)
        if not done.wait(timeout_s):
            raise Unavailable(f"announcements were not prepared within {timeout_s:g} s")

    def close(self) -> None:
        self._work.put(None)
        self._thread.join(timeout=30)
        self._host.close()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            while self._urgent:
                self._prepare(self._urgent.popleft())
            work()

    def _prepare(self, wish: _Wish) -> None:
        if not wish.is_waiting:
            return  # It was hurried, and its turn comes once more.
        wish.is_waiting = False
        version, ports, ready = wish.version, wish.ports, None
        with suppress(Unavailable):  # What the kernel does not tell now stays as it was.
            ready = get_ready(self._host, wish.router_id, ports, wish.ready)
        self._answers.put((wish, version, ready))
        time.sleep(BREATH_S)


def _send(descriptor: int, frame: Frame) -> int:
    """Send; returns the error's number, 0 for none. By the C function: Python's knows interfaces by name only."""
    sent = _sendto(descriptor, frame.data, len(frame.data), _MSG_DONTWAIT, frame.by, len(frame.by))
    return ctypes.get_errno() if sent < 0 else 0
