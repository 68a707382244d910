"""Announcements: frames that say where a router's addresses are now, sent to where it matters and nowhere else.

**Never through the bridge**, which would copy each broadcast to all its ports: milliseconds where there are a thousand.
What is sent instead, see `preparing`; all of it is made beforehand, and a burst only sends.

The rule: the thread that sends waits for nothing. Sockets are opened, and closed (which takes a grace period of the
kernel), by a thread of their own; frames are sent by index, as a name that is gone would make the kernel look for a
module. A frame that the kernel does not take is one that a repeat makes up for.

Invariant: what is ready belongs to the thread that sends; no socket is closed that it may still use.
"""

import ctypes
import errno
import itertools
import queue
import resource
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from typing import Final

from gapless.errors import Unavailable
from gapless.kernel.netlink import Netlink
from gapless.model.router import RouterId
from gapless.sentinel.beat.preparing import Frame, Port, Ready, get_ready, packet_socket

CHUNK_S: Final = 0.0005
"""How long frames are sent in one go. One takes some microseconds."""
BREATH_S: Final = 0.001
"""How long preparing pauses after each router. Who always works waits longest for a busy machine's processor, and here
would make the beat wait for Python's lock meanwhile.
"""

_MSG_DONTWAIT = 0x40
_SIOCGIFHWADDR = 0x8927
_GONE = frozenset({errno.ENXIO, errno.ENODEV})

# It never waits, so it keeps Python's lock: to get that back from another thread takes longer than to send.
_sendto = ctypes.PyDLL(None, use_errno=True).sendto
_sendto.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_sendto.restype = ctypes.c_ssize_t


Answers = queue.SimpleQueue[tuple[int, RouterId, Ready]]


@dataclass(slots=True)
class Burst:
    """What a burst did."""

    frames: int = 0
    lost: int = 0
    """Those of them that the kernel did not take."""
    unready: list[RouterId] = field(default_factory=list)
    """Routers of which not everything was ready. It is prepared anew by the time of the repeats."""


class Announcer:
    """Sends what was prepared. All calls are for one thread; none waits, but `settle` and `close`."""

    def __init__(self) -> None:
        _allow_descriptors()
        self._wanted: dict[RouterId, tuple[int, tuple[Port, ...]]] = {}
        """With a number for each wish: an answer to an older one is not used."""
        self._numbers = itertools.count()
        self._ready: dict[RouterId, Ready] = {}
        self._socket = packet_socket()
        self._answers: Answers = queue.SimpleQueue()
        self._hands = _Hands(self._answers)

    def prepare(self, router_id: RouterId, ports: Sequence[Port]) -> None:
        """Get ready to announce a router. Call it again when it was built, repaired or changed."""
        self._take_answers()
        number, wanted = next(self._numbers), tuple(ports)
        self._wanted[router_id] = number, wanted
        self._hands.prepare(number, router_id, wanted, self._ready.get(router_id))

    def forget(self, router_id: RouterId) -> None:
        """Announce a router no more, and let go of its namespace."""
        self._take_answers()
        self._wanted.pop(router_id, None)
        self._put_away(self._ready.pop(router_id, None), None)

    def is_ready(self, router_id: RouterId) -> bool:
        """Whether everything is there that a burst needs for a router."""
        self._take_answers()
        ready = self._ready.get(router_id)
        return ready is not None and ready.is_whole

    def burst(self, routers: Iterable[RouterId], breathe: Callable[[], None]) -> Burst:
        """Announce these routers now, the most urgent first; `breathe` is called every `CHUNK_S`."""
        self._take_answers()
        done = Burst()
        bridges: dict[str, bytes | None] = {}
        pause_at = time.monotonic() + CHUNK_S
        for router_id in routers:
            ready = self._ready.get(router_id)
            is_whole = ready is not None and ready.is_whole
            for descriptor, frame in self._frames(ready, bridges) if ready is not None else ():
                error = _send(descriptor, frame)
                done.frames += 1
                done.lost += error != 0
                is_whole = is_whole and error not in _GONE
                if time.monotonic() >= pause_at:
                    breathe()
                    pause_at = time.monotonic() + CHUNK_S
            if not is_whole:
                done.unready.append(router_id)
        for router_id in done.unready:
            if router_id in self._wanted:
                self.prepare(router_id, self._wanted[router_id][1])
        return done

    def settle(self, timeout_s: float = 30.0) -> None:
        """Wait until all that was asked for is prepared, as far as it can be. Raises Unavailable."""
        self._hands.settle(timeout_s)
        self._take_answers()

    def close(self) -> None:
        """Let go of everything."""
        for router_id in tuple(self._wanted):
            self.forget(router_id)
        self._hands.close()
        self._take_answers()
        self._socket.close()

    def _frames(self, ready: Ready, bridges: dict[str, bytes | None]) -> Iterator[tuple[int, Frame]]:
        """Each frame and the descriptor that it is sent with; local bridges first, that is one frame a port."""
        if ready.inside is not None:
            inside = ready.inside.fileno()
            for nudge in ready.nudges:
                if nudge.bridge not in bridges:
                    bridges[nudge.bridge] = self._address_of(nudge.bridge)
                address = bridges[nudge.bridge]
                if address is not None:
                    yield inside, Frame(address + nudge.rest, nudge.by)
        out = self._socket.fileno()
        for frame in ready.frames:
            yield out, frame

    def _address_of(self, bridge: str) -> bytes | None:
        """A bridge's MAC address now: it may change with each port. By ioctl, which takes no RTNL."""
        try:
            return ioctl(self._socket, _SIOCGIFHWADDR, struct.pack("16s24x", bridge.encode()))[18:24]
        except OSError:
            return None

    def _take_answers(self) -> None:
        with suppress(queue.Empty):
            while True:
                number, router_id, ready = self._answers.get_nowait()
                known = self._ready.get(router_id)
                if number == self._wanted.get(router_id, (None,))[0]:
                    self._put_away(known, ready)
                    self._ready[router_id] = ready
                else:
                    self._put_away(ready, known)

    def _put_away(self, was: Ready | None, now: Ready | None) -> None:
        if was is not None and was.inside is not None and (now is None or now.inside is not was.inside):
            self._hands.close_later(was)


class _Hands:
    """A thread for what takes time: finding interfaces, opening and closing sockets."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._host = Netlink()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._thread.start()

    def prepare(self, number: int, router_id: RouterId, ports: tuple[Port, ...], was: Ready | None) -> None:
        def prepare() -> None:
            # What the kernel does not tell now stays as it was; the next burst asks for it anew.
            with suppress(Unavailable):
                self._answers.put((number, router_id, get_ready(self._host, router_id, ports, was)))

        self._work.put(prepare)

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
            work()
            time.sleep(BREATH_S)


def _send(descriptor: int, frame: Frame) -> int:
    """Send; returns the error's number, 0 for none. By the C function: Python's knows interfaces by name only."""
    sent = _sendto(descriptor, frame.data, len(frame.data), _MSG_DONTWAIT, frame.by, len(frame.by))
    return ctypes.get_errno() if sent < 0 else 0


def _allow_descriptors() -> None:
    """Let this process open as many files as it may: each prepared router is one.

    No library that still uses select(2) may be in the process: it ends at the first number above 1024.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
