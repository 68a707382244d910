"""The process at both ends of the lab's TCP connections: one loop, one epoll, two sockets a connection.

A process of its own, as the prober is, and told what to do in the same way: one line of `Orders`, then `begin` (forget
the stalls so far) and `end FILE` (wait until every connection was heard once more, or for a while; write what became of
them; end). Standard output: a `Talk` a line.
"""

import os
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gapless.lab.machines import linux, netns
from gapless.lab.measuring.connections import Connection, Course, Courses, Kind, Orders, Talk, pause_ms

LAST_WORDS_S = 15.0
"""How long the end waits for those that are silent: a segment that was lost is sent again after seconds at most."""
TALK_EACH_S = 0.25
CONNECT_WITHIN_S = 20.0
_LINE = b"x" * 63 + b"\n"
_NUMBER_BYTES = 8


@dataclass(slots=True)
class _Line:
    """One connection's two ends; `due_ns`: when its speaker speaks next."""

    connection: Connection
    inside: socket.socket
    due_ns: int
    outside: socket.socket | None = None
    broken: str = ""
    heard: int = 0
    last_ns: int = 0
    stall_ns: int = 0
    asked_at: int = field(default=-1)
    """`heard` when the end was asked for."""

    @property
    def speaker(self) -> socket.socket | None:
        return self.inside if self.connection.kind is Kind.UPLOAD else self.outside

    @property
    def listener(self) -> socket.socket | None:
        return self.outside if self.connection.kind is Kind.UPLOAD else self.inside


class Talker:
    """Speaks, listens, notes stalls. `step` does one round of what is due and returns."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self._poll = select.epoll()
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._server = linux.in_netns(netns.path_of(orders.netns), self._listen)
        self._poll.register(self._server.fileno(), select.EPOLLIN)
        self._ends: dict[int, _Line] = {}
        self._strangers: dict[int, socket.socket] = {}
        """Accepted, and not told yet which connection they are."""
        interval_ns, begin_ns = int(orders.interval_ms * 1e6), time.monotonic_ns()
        count = max(1, len(orders.connections))
        self.lines: list[_Line] = []
        for number, connection in enumerate(orders.connections):
            self._open(number, connection, begin_ns + interval_ns * number // count)

    def _listen(self) -> socket.socket:
        server = socket.create_server((self.orders.target, self.orders.port), backlog=1024)
        server.setblocking(False)
        return server

    def _open(self, number: int, connection: Connection, due_ns: int) -> None:
        def connect() -> socket.socket:
            opened = socket.socket()
            opened.bind((connection.source, 0))
            opened.settimeout(CONNECT_WITHIN_S)
            opened.connect((self.orders.target, self.orders.port))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.sendall(number.to_bytes(_NUMBER_BYTES, "big"))
            opened.setblocking(False)
            return opened

        line = _Line(connection, linux.in_netns(netns.path_of(connection.netns), connect), due_ns)
        self.lines.append(line)
        self._ends[line.inside.fileno()] = line
        self._poll.register(line.inside.fileno(), select.EPOLLIN)
        self.step(0.0)

    def step(self, wait_s: float) -> bool:
        """Wait a moment, take in what arrived; True when standard input has something to say."""
        spoken_to = False
        for descriptor, _ in self._poll.poll(wait_s):
            if descriptor == sys.stdin.fileno():
                spoken_to = True
            elif descriptor == self._server.fileno():
                self._accept()
            elif descriptor in self._strangers:
                self._recognise(descriptor)
            else:
                self._hear(descriptor)
        return spoken_to

    def _accept(self) -> None:
        try:
            while True:
                end, _ = self._server.accept()
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._strangers[end.fileno()] = end
                self._poll.register(end.fileno(), select.EPOLLIN)
        except BlockingIOError:
            return

    def _recognise(self, descriptor: int) -> None:
        end = self._strangers.pop(descriptor)
        number = int.from_bytes(end.recv(_NUMBER_BYTES), "big")
        line = self.lines[number]
        line.outside = end
        self._ends[descriptor] = line

    def _hear(self, descriptor: int) -> None:
        line = self._ends[descriptor]
        end = line.inside if line.inside.fileno() == descriptor else line.outside
        assert end is not None
        try:
            said = end.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            self._break(line, error.strerror or str(error))
            return
        if not said:
            self._break(line, "the other end closed it")
        elif end is line.listener:
            self._note(line)

    def _note(self, line: _Line) -> None:
        now = time.monotonic_ns()
        if line.last_ns:
            line.stall_ns = max(line.stall_ns, now - line.last_ns)
        line.last_ns = now
        line.heard += 1

    def _break(self, line: _Line, why: str) -> None:
        line.broken = line.broken or why
        for end in (line.inside, line.outside):
            if end is not None and self._ends.pop(end.fileno(), None) is not None:
                self._poll.unregister(end.fileno())

    def speak(self) -> None:
        """A line of every connection whose turn it is. What TCP does not take waits for the next turn."""
        now = time.monotonic_ns()
        for line in self.lines:
            if now < line.due_ns or line.broken or line.speaker is None:
                continue
            kind = line.connection.kind if line.heard else Kind.DOWNLOAD  # its first line comes soon, whatever it is
            line.due_ns = now + int(pause_ms(kind, self.orders.interval_ms) * 1e6)
            try:
                line.speaker.send(_LINE)
            except BlockingIOError:
                continue
            except OSError as error:
                self._break(line, error.strerror or str(error))

    def begin(self) -> None:
        """Forget the stalls so far."""
        for line in self.lines:
            line.stall_ns = 0

    def talk(self) -> Talk:
        """How things stand."""
        return Talk(heard=sum(line.heard > 0 for line in self.lines))

    def end(self, path: Path) -> None:
        """Wait for all that are silent, for a while; then write what became of them."""
        for line in self.lines:
            line.asked_at = line.heard
        deadline = time.monotonic() + LAST_WORDS_S
        while time.monotonic() < deadline and any(
            not line.broken and line.heard == line.asked_at for line in self.lines
        ):
            self.step(0.01)
            self.speak()
        path.write_bytes(msgspec.json.encode(Courses(courses=tuple(map(_course, self.lines)))))


def _course(line: _Line) -> Course:
    return Course(
        connection=line.connection,
        broken=line.broken,
        is_heard=line.heard > line.asked_at,
        stall_ms=round(line.stall_ns / 1e6, 1),
    )


def main() -> int:
    """Run until `end` or until standard input closes."""
    linux.die_with_parent()
    talker = Talker(msgspec.json.decode(_line(), type=Orders))
    next_talk = time.monotonic()
    while True:
        if talker.step(0.01):
            words = _line().split()
            if words == ["begin"]:
                talker.begin()
            elif words:
                talker.end(Path(words[1]))
                return 0
            else:
                return 0
        talker.speak()
        if time.monotonic() >= next_talk:
            sys.stdout.buffer.write(msgspec.json.encode(talker.talk()) + b"\n")
            sys.stdout.buffer.flush()
            next_talk += TALK_EACH_S


def _line() -> str:
    """A line of standard input, byte by byte: nothing may be read ahead, or epoll would not tell of it."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
        line += byte
    return line.decode()


if __name__ == "__main__":
    raise SystemExit(main())
