"""The kernel's events about tracked connections, of many namespaces at once.

One socket a namespace, opened in it once; one epoll set of all of them, which the process's loop looks at as one
descriptor. Looked at in ticks: what happens to a flow within one tick is told as one change.

The kernel itself drops what is not worth hearing: a filter on the socket lets pass only what is said of assured flows
(TCP after its handshake, UDP that was answered more than once) of protocols that are wanted, before it costs a copy or
room in the buffer. So a port scan through a router is not heard at all.
"""

import asyncio
import contextlib
import ctypes
import errno
import select
import socket
import struct
from collections.abc import Callable, Collection
from pathlib import Path

from gapless.errors import Unavailable
from gapless.flows import entries
from gapless.kernel.netlink import NETFILTER
from gapless.kernel.netns import enter

TICK_S = 0.010
BUFFER_BYTES = 4 * 1024 * 1024
"""Room for some thousands of events; as much of it as the machine allows (net.core.rmem_max)."""
AT_ONCE = 1000
"""Events taken from one socket before the others have their turn."""
_EVENT_BYTES = 2048
"""No event of an assured flow is longer by far."""
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_NEW, _UPDATE, _DESTROY = 1, 2, 3
_SO_RCVBUFFORCE, _SO_ATTACH_FILTER = 33, 26
_NLATTR = (-0x1000 + 12) & 0xFFFFFFFF
"""SKF_AD_OFF + SKF_AD_NLATTR: where in the message the attribute is whose type X holds, looked for from A on."""


def _only_assured(protocols: Collection[int]) -> bytes:
    """A classic BPF program (linux/filter.h): it is one of these protocols', and the status attribute's word has the
    bit. A step is its code, how many steps to jump over where it holds and where it does not, and a number.
    """
    program = (
        (0x30, 0, 0, entries.PROTOCOL_AT),  # A = the protocol
        *((0x15, len(protocols) - place, 0, each) for place, each in enumerate(protocols)),  # wanted: to the status
        (0x06, 0, 0, 0),
        (0x00, 0, 0, entries.BODY + len(entries.NFGEN)),  # A = where attributes begin
        (0x01, 0, 0, entries.STATUS),  # X = the type that is looked for
        (0x20, 0, 0, _NLATTR),  # A = where it is, 0 if nowhere
        (0x15, 3, 0, 0),  # nowhere: drop
        (0x07, 0, 0, 0),  # X = A
        (0x40, 0, 0, 4),  # A = the word behind its head
        (0x45, 1, 0, entries.ASSURED),  # the bit is set: take
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 0xFFFFFFFF),
    )
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def listen(path: Path, protocols: Collection[int]) -> socket.socket:
    """A socket that hears of assured flows of these protocols in the namespace at `path`. Raises Unavailable,
    FileNotFoundError.
    """
    return enter(path, lambda: _open(protocols))


def only_assured(hears: socket.socket, protocols: Collection[int]) -> None:
    """Have the kernel drop whatever else comes to this socket."""
    said = _only_assured(protocols)
    code = ctypes.create_string_buffer(said)
    hears.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(said) // 8, ctypes.addressof(code)))


def _open(protocols: Collection[int]) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETFILTER)
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:  # in a user namespace, which may not have more than is allowed to everybody
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    only_assured(opened, protocols)
    opened.bind((0, 0))
    for group in (_NEW, _UPDATE, _DESTROY):
        opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    return opened


def take(listening: socket.socket, take_in: Callable[[bytes], bool]) -> int:
    """Hand in what is there, some at most, until that says no; returns how much it was. Raises Unavailable when events
    were lost.
    """
    for count in range(AT_ONCE):
        try:
            message = listening.recv(_EVENT_BYTES)
        except BlockingIOError:
            return count
        except OSError as error:
            why = "its buffer overran" if error.errno == errno.ENOBUFS else error.strerror
            raise Unavailable(f"events of the kernel were lost: {why}") from error
        if not take_in(message):
            return count + 1
    return AT_ONCE


class Ears:
    """All sockets of a process; each has a function that takes from it when there is something."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._poll = select.epoll()
        self._takers: dict[int, Callable[[], bool]] = {}
        self._tick_s = tick_s
        self._pause: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Listen in the running loop."""
        asyncio.get_running_loop().add_reader(self._poll.fileno(), self._hear)

    def add(self, listening: socket.socket, taker: Callable[[], bool]) -> None:
        """`taker` is called when there is something: once a tick, or again at once where it says that there is more.
        Raises Unavailable when the kernel watches no more; it is to be removed then, too.
        """
        self._takers[listening.fileno()] = taker
        try:
            self._poll.register(listening.fileno(), select.EPOLLIN)
        except OSError as error:
            raise Unavailable(f"events of the kernel cannot be waited for: {error.strerror or error}") from error

    def remove(self, listening: socket.socket) -> None:
        """And close it."""
        del self._takers[listening.fileno()]
        with contextlib.suppress(OSError):
            self._poll.unregister(listening.fileno())
        listening.close()

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._poll.fileno())
        if self._pause is not None:
            self._pause.cancel()

    def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        has_more = False
        for descriptor, _ in self._poll.poll(0):
            if (taker := self._takers.get(descriptor)) is not None:
                has_more |= taker()
        if has_more:
            return  # the loop comes here again when it has seen to everything else
        loop.remove_reader(self._poll.fileno())
        self._pause = loop.call_later(self._tick_s, self.begin)
