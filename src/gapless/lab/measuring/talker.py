"""The process at both ends of the lab's connections: one loop, one epoll, and what each conversation says.

A process of its own, as the prober is, and told what to do in the same way: one line of `Orders`, then `begin` (forget
what was so far) and `end FILE` (wait until every connection was heard once more, or for a while; write what became of
them; end). Standard output: `Opened`, then a `Talk` a line.

The rule: the loop knows neither kinds (`conversations`) nor protocols (`transports`). Whoever's turn it is speaks, what
is heard is answered, and what is over is left alone.
"""

import heapq
import os
import resource
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gapless.lab.machines import linux, netns
from gapless.lab.measuring.connections import Courses, Endpoint, Opened, Orders, Talk
from gapless.lab.measuring.conversations import CONVERSATIONS, Conversation, Side, Way, Words
from gapless.lab.measuring.transports import TRANSPORTS, End, Inside

LAST_WORDS_S = 15.0
"""How long the end waits for those that are silent: a segment that was lost is sent again after seconds at most."""
TALK_EACH_S = 0.25
STEP_S = 0.01


@dataclass(slots=True)
class _Line:
    """One conversation, and its sides as far as they are there."""

    conversation: Conversation
    ends: dict[Side, End] = field(default_factory=dict)


class Talker:
    """Speaks, listens, notes, from `start` to `close`. `step` does one round of what is due and returns."""

    def __init__(
        self, orders: Orders, inside: Inside = linux.in_netns, path_of: Callable[[str], Path] = netns.path_of
    ) -> None:
        """`inside`, `path_of`: how something is done in a network namespace."""
        self._orders = orders
        self._poll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._transports = {protocol: made(self, inside, path_of) for protocol, made in TRANSPORTS.items()}
        self._lines = [_Line(CONVERSATIONS[each.kind](each, orders.interval_ms)) for each in orders.connections]
        self._turns: list[tuple[int, int]] = []
        """When whose turn it is: a heap."""
        self._ports: list[int] = []

    def start(self) -> None:
        """Open all of them; what is open already speaks meanwhile. Raises OSError."""
        self._listen(self._orders)
        begin_ns, interval_ns = time.monotonic_ns(), int(self._orders.interval_ms * 1e6)
        for number, line in enumerate(self._lines):
            self._open(number, line.conversation, self._orders)
            heapq.heappush(self._turns, (begin_ns + interval_ns * number // len(self._lines), number))
            self.step(0.0)

    def _listen(self, orders: Orders) -> None:
        talks = [line.conversation for line in self._lines]
        for protocol, where in dict.fromkeys((talk.protocol, _sides(talk, orders)[1]) for talk in talks):
            self._transports[protocol].listen(where, orders.port)

    def _open(self, number: int, talk: Conversation, orders: Orders) -> None:
        opener, _ = _sides(talk, orders)
        to = (talk.connection.target, orders.port)
        self._ports.append(self._transports[talk.protocol].open(number, opener, to))

    def close(self) -> None:
        """Every socket of it."""
        for transport in self._transports.values():
            transport.close()
        self._poll.close()

    # -- what transports tell -------------------------------------------------------------------------------------

    def watch(self, descriptor: int, ready: Callable[[], None]) -> None:
        """Call this when there is something to read, in place of what was to be called before."""
        if descriptor not in self._ready:
            self._poll.register(descriptor, select.EPOLLIN)
        self._ready[descriptor] = ready

    def forget(self, descriptor: int) -> None:
        """Call nothing any more."""
        if self._ready.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def join(self, number: int, side: Side, end: End) -> None:
        """This side is there."""
        self._lines[number].ends[side] = end

    def heard(self, number: int, side: Side, said: bytes) -> None:
        """This side has heard this."""
        talk = self._lines[number].conversation
        if not talk.broken:
            self._say(number, talk.hear(side, said, time.monotonic_ns()))

    def over(self, number: int, why: str) -> None:
        """It is over, and nobody hears or says anything of it any more."""
        line = self._lines[number]
        line.conversation.broken = line.conversation.broken or why
        for end in line.ends.values():
            if end.descriptor is not None:
                self.forget(end.descriptor)

    # -- the loop -------------------------------------------------------------------------------------------------

    def step(self, wait_s: float = STEP_S) -> None:
        """Wait until something is due or has arrived, no longer than this, and see to it."""
        if self._turns:
            wait_s = max(0.0, min(wait_s, (self._turns[0][0] - time.monotonic_ns()) / 1e9))
        for descriptor, _ in self._poll.poll(wait_s):
            if descriptor in self._ready:  # and not over since
                self._ready[descriptor]()
        self._speak(time.monotonic_ns())

    def _speak(self, now_ns: int) -> None:
        while self._turns and self._turns[0][0] <= now_ns:
            _, number = heapq.heappop(self._turns)
            talk = self._lines[number].conversation
            if talk.broken:
                continue
            self._say(number, talk.tick(now_ns))
            heapq.heappush(self._turns, (now_ns + talk.pause_ns, number))

    def _say(self, number: int, words: Words) -> None:
        """What has nobody to say it, or finds no room, is not said."""
        ends = self._lines[number].ends
        for side, said in words:
            try:
                if side in ends:
                    ends[side].say(said)
            except BlockingIOError:
                continue
            except OSError as error:
                self.over(number, error.strerror or str(error))

    # -- what it is told ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Forget what was so far."""
        for line in self._lines:
            line.conversation.begin()

    def opened(self) -> Opened:
        """Where connections come from."""
        return Opened(ports=tuple(self._ports))

    def talk(self) -> Talk:
        """How things stand."""
        return Talk(heard=sum(line.conversation.heard > 0 for line in self._lines))

    def end(self, within_s: float = LAST_WORDS_S) -> Courses:
        """Wait for all that are silent, for a while; what became of them."""
        for line in self._lines:
            line.conversation.ask_end()
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and any(line.conversation.is_awaited for line in self._lines):
            self.step()
        return Courses(courses=tuple(line.conversation.course() for line in self._lines))


def _sides(talk: Conversation, orders: Orders) -> tuple[Endpoint, Endpoint]:
    """Who opens it, and who accepts."""
    vm, outside = talk.connection.vm, orders.outside
    return (vm, outside) if talk.way is Way.SNAT else (outside, vm)


def main() -> int:
    """Run until `end` or until standard input closes."""
    linux.die_with_parent()
    _allow_descriptors()
    talker = Talker(msgspec.json.decode(_line(), type=Orders))
    talker.start()
    _tell(talker.opened())
    orders: list[list[str]] = []
    talker.watch(sys.stdin.fileno(), lambda: orders.append(_line().split()))
    next_talk = time.monotonic()
    while True:
        talker.step()
        match orders:
            case [["begin"]]:
                talker.begin()
            case [["end", path]]:
                Path(path).write_bytes(msgspec.json.encode(talker.end()))
                return 0
            case [_, *_]:
                return 0
        orders.clear()
        if time.monotonic() >= next_talk:
            _tell(talker.talk())
            next_talk += TALK_EACH_S


def _allow_descriptors() -> None:
    """As many as this user may have: a connection's ends are two, and the usual soft limit is 1,024 (`room`)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _tell(words: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(words) + b"\n")
    sys.stdout.buffer.flush()


def _line() -> str:
    """A line of standard input, byte by byte: nothing may be read ahead, or epoll would not tell of it."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
        line += byte
    return line.decode()


if __name__ == "__main__":
    raise SystemExit(main())
