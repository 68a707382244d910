"""How the two sides of the talker's connections meet, by TCP and by UDP: sockets, and nothing of what is said.

The side that opens says which connection it is: once by TCP, with each datagram by UDP. The one that accepts is a
listening socket that all connections to one place share, and for UDP stays that: so it is seen from where each datagram
comes. A UDP connection that comes from elsewhere than before has another mapping, and is over.

What TCP is told of a connection ends it. An error of UDP is one lost datagram: a neighbour or a route was away.
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gapless.lab.measuring.connections import Endpoint
from gapless.lab.measuring.conversations import Side, TransportProtocol

T = TypeVar("T")
CONNECT_WITHIN_S = 20.0
OTHER_MAPPING = "it comes from another mapping"
_NUMBER_BYTES = 8
_MOST_BYTES = 1 << 16
_BATCH = 64
"""Datagrams read from one socket before others have their turn."""
_ROOM_BYTES = 1 << 20
"""For datagrams that wait to be read; the kernel gives what it allows."""


@dataclass(frozen=True, slots=True)
class End:
    """One side of a connection: how it speaks, and the descriptor by which it alone is heard (None: it shares one)."""

    say: Callable[[bytes], object]
    """Raises OSError."""
    descriptor: int | None


class Floor(Protocol):
    """Who is told. A connection has a number."""

    def watch(self, descriptor: int, ready: Callable[[], None]) -> None:
        """Call this when there is something to read, in place of what was to be called before."""

    def forget(self, descriptor: int) -> None:
        """Call nothing any more."""

    def join(self, number: int, side: Side, end: End) -> None:
        """This side is there."""

    def heard(self, number: int, side: Side, said: bytes) -> None:
        """This side has heard this."""

    def over(self, number: int, why: str) -> None:
        """It is over."""


class Inside(Protocol):
    """Where sockets are made: runs what makes one in a network namespace."""

    def __call__(self, path: Path, action: Callable[[], T]) -> T: ...


class Transport(ABC):
    """One protocol's part."""

    def __init__(self, floor: Floor, inside: Inside, path_of: Callable[[str], Path]) -> None:
        """`path_of`: where a namespace is, by name."""
        self._floor, self._inside, self._path_of = floor, inside, path_of
        self._sockets: list[socket.socket] = []

    def close(self) -> None:
        """Every connection, and every place where it listens."""
        for each in self._sockets:
            each.close()

    def listen(self, where: Endpoint, port: int) -> None:
        """Accept connections there. Raises OSError."""
        server = self._inside(self._path_of(where.netns), lambda: self._server((where.address, port)))
        self._sockets.append(server)
        self._floor.watch(server.fileno(), lambda: self._ready(server))

    def open(self, number: int, where: Endpoint, to: tuple[str, int]) -> int:
        """Open one from there; from which port. Raises OSError."""
        opened = self._inside(self._path_of(where.netns), lambda: self._opened(number, where.address, to))
        self._sockets.append(opened)
        opened.setblocking(False)
        self._joined(number, Side.OPENER, opened)
        return int(opened.getsockname()[1])

    @abstractmethod
    def _server(self, at: tuple[str, int]) -> socket.socket: ...

    @abstractmethod
    def _ready(self, server: socket.socket) -> None:
        """There is something to read for who listens."""

    @abstractmethod
    def _opened(self, number: int, address: str, to: tuple[str, int]) -> socket.socket: ...

    @abstractmethod
    def _joined(self, number: int, side: Side, end: socket.socket) -> None: ...


class Tcp(Transport):
    """Who opens says its number first."""

    def _server(self, at: tuple[str, int]) -> socket.socket:
        server = socket.create_server(at, backlog=1024)
        server.setblocking(False)
        return server

    def _opened(self, number: int, address: str, to: tuple[str, int]) -> socket.socket:
        opened = socket.create_connection(to, CONNECT_WITHIN_S, (address, 0))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.sendall(_name(number))
        return opened

    def _ready(self, server: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                end, _ = server.accept()
                self._sockets.append(end)
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._floor.watch(end.fileno(), lambda end=end: self._recognise(end))  # type: ignore[misc]

    def _recognise(self, end: socket.socket) -> None:
        try:
            name = end.recv(_NUMBER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            name = b""
        if len(name) == _NUMBER_BYTES:
            self._joined(_number(name), Side.ACCEPTOR, end)
        else:
            self._floor.forget(end.fileno())
            end.close()

    def _joined(self, number: int, side: Side, end: socket.socket) -> None:
        self._floor.join(number, side, End(end.send, end.fileno()))
        self._floor.watch(end.fileno(), lambda: self._hear(number, side, end))

    def _hear(self, number: int, side: Side, end: socket.socket) -> None:
        try:
            said = end.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._floor.over(number, error.strerror or str(error))
            return
        if said:
            self._floor.heard(number, side, said)
        else:
            self._floor.over(number, "the other end closed it")


class Udp(Transport):
    """Each datagram of who opens begins with its number."""

    def __init__(self, floor: Floor, inside: Inside, path_of: Callable[[str], Path]) -> None:
        super().__init__(floor, inside, path_of)
        self._seen_at: dict[int, Any] = {}
        """Number -> address and port where it comes from."""

    def _server(self, at: tuple[str, int]) -> socket.socket:
        server = _datagrams()
        server.bind(at)
        server.setblocking(False)
        return server

    def _opened(self, number: int, address: str, to: tuple[str, int]) -> socket.socket:
        opened = _datagrams()
        opened.bind((address, 0))
        opened.connect(to)
        return opened

    def _ready(self, server: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                said, peer = server.recvfrom(_MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue
            self._take_in(server, _number(said), said[_NUMBER_BYTES:], peer)

    def _take_in(self, server: socket.socket, number: int, said: bytes, peer: Any) -> None:
        if number not in self._seen_at:
            self._seen_at[number] = peer
            self._floor.join(number, Side.ACCEPTOR, End(_careless(lambda words: server.sendto(words, peer)), None))
        if self._seen_at[number] == peer:
            self._floor.heard(number, Side.ACCEPTOR, said)
        else:
            self._floor.over(number, OTHER_MAPPING)

    def _joined(self, number: int, side: Side, end: socket.socket) -> None:
        name = _name(number)
        self._floor.join(number, side, End(_careless(lambda words: end.send(name + words)), end.fileno()))
        self._floor.watch(end.fileno(), lambda: self._hear(number, side, end))

    def _hear(self, number: int, side: Side, end: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                said = end.recv(_MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue
            self._floor.heard(number, side, said)


def _careless(send: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def say(words: bytes) -> None:
        with suppress(OSError):
            send(words)

    return say


def _datagrams() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM_BYTES)
    return made


def _name(number: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big")


def _number(name: bytes) -> int:
    return int.from_bytes(name[:_NUMBER_BYTES], "big")


TRANSPORTS: Mapping[TransportProtocol, type[Transport]] = {
    TransportProtocol.TCP: Tcp,
    TransportProtocol.UDP: Udp,
}
