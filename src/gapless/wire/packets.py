"""The link between a sentinel and its beat: a pair of SOCK_SEQPACKET sockets, one JSON message a packet (unix(7)).

The beat never waits, so its end keeps what the socket does not take at once, in order, and the sentinel's end waits
like any other coroutine. Packets keep their bounds, so there is no framing that a half-written message could break.
"""

import asyncio
import contextlib
import errno
import socket
from collections import deque
from typing import Generic, TypeVar

import msgspec

from gapless.errors import Unavailable
from gapless.wire.messages import Decoder, Malformed, encode

PACKET_BYTES_MAX = 128 * 1024
"""Below what a socket buffer takes (212,992 bytes). Few messages have more than a few KiB, decoded in a fraction of a
millisecond.
"""
CHATTER_MOST = 256
"""With so many messages waiting, those that may be dropped are."""

Received = TypeVar("Received")
_NO_ROOM = (errno.ENOBUFS, errno.ENOMEM)


def packet_pair() -> tuple[socket.socket, socket.socket]:
    """The two ends, both non-blocking."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    its.setblocking(False)
    return ours, its


def _packet(message: msgspec.Struct) -> bytes:
    body = encode(message)
    if len(body) > PACKET_BYTES_MAX:
        raise ValueError(f"a message of {len(body)} bytes does not fit into one packet: send it in parts")
    return body


def _message(body: bytes, decoder: Decoder[Received]) -> Received:
    try:
        return decoder.decode(body)
    except Malformed as error:
        raise Unavailable(
            f"the link between sentinel and beat carried something that is no message: {error}"
        ) from error


class WaitingEnd(Generic[Received]):
    """The sentinel's end, for asyncio."""

    def __init__(self, end: socket.socket, decoder: Decoder[Received]) -> None:
        self._end = end
        self._decoder = decoder
        self._sending = asyncio.Lock()
        """asyncio knows one waiting writer a socket; a second one would make it forget the first."""

    async def send(self, message: msgspec.Struct) -> None:
        """Send one message; waits while the beat does not read. Raises Unavailable when it is gone."""
        packet = _packet(message)
        try:
            async with self._sending:
                await asyncio.get_running_loop().sock_sendall(self._end, packet)
        except OSError as error:
            raise Unavailable(f"the beat is gone: {error.strerror}") from error

    async def receive(self) -> Received | None:
        """The next message; None when the beat is gone. Raises Unavailable for what is no message."""
        try:
            body = await asyncio.get_running_loop().sock_recv(self._end, PACKET_BYTES_MAX)
        except OSError:
            return None
        return _message(body, self._decoder) if body else None

    def close(self) -> None:
        """The beat reads the end of the link, and ends."""
        self._end.close()


class BeatEnd(Generic[Received]):
    """The beat's end: nothing here waits. Poll `socket` for reading, and for writing while `has_backlog`."""

    def __init__(self, end: socket.socket, decoder: Decoder[Received]) -> None:
        self.socket = end
        self._decoder = decoder
        self._backlog: deque[bytes] = deque()

    @property
    def has_backlog(self) -> bool:
        """Something waits for the sentinel to read."""
        return bool(self._backlog)

    def send(self, message: msgspec.Struct) -> None:
        """Send one message now, or as soon as the sentinel reads again. Raises Unavailable when it is gone."""
        self._backlog.append(_packet(message))
        self.flush()

    def chat(self, message: msgspec.Struct) -> None:
        """As `send`, but the message is dropped when the sentinel has not read for a long time."""
        if len(self._backlog) < CHATTER_MOST:
            self.send(message)

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it. Raises Unavailable when the sentinel is gone."""
        try:
            while self._backlog:
                self.socket.send(self._backlog[0])
                self._backlog.popleft()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise Unavailable(f"the sentinel is gone: {error.strerror}") from error

    def last_words(self, message: msgspec.Struct) -> None:
        """Send one message if it can be sent now; this process ends anyway."""
        with contextlib.suppress(OSError):
            self.socket.send(_packet(message))

    def receive(self) -> Received | None:
        """The next message; None if there is none now. Raises Unavailable when the sentinel is gone."""
        try:
            body = self.socket.recv(PACKET_BYTES_MAX)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Unavailable(f"the sentinel is gone: {error.strerror}") from error
        if not body:
            raise Unavailable("the sentinel is gone")
        return _message(body, self._decoder)
