"""The beat's loop, where its driver is a stand-in: what it waits for, and what for it does not."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from gapless.config import Address
from gapless.errors import Unavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT
from gapless.sentinel.beat import loop
from gapless.sentinel.beat.loop import DATAGRAMS_AT_ONCE, Loop
from gapless.wire import beat as wire
from gapless.wire.packets import BeatEnd, packet_pair

BEGIN = wire.Begin(
    key=bytes(32).hex(),
    cluster="cloud",
    zone="",
    name=HostName("h1"),
    incarnation=Incarnation(1),
    address="10.0.0.1:9698",
    interval_s=DEFAULT.interval_s,
    lease_s=DEFAULT.lease_s,
    panel=None,
    uplinks=(),
    networks=(),
)
FAR_S = 30.0


class Ended(Exception):
    """The test has seen what it wanted to."""


class Listening:
    """A driver to which what is in the socket decides something, and whose next beat is far away."""

    announced: Any = None

    def __init__(self, clock: Callable[[], float]) -> None:
        self.is_listening = True
        self.has_more = False
        self.read = 0
        self._due = clock() + FAR_S

    def next_deadline(self) -> float:
        return self._due

    def received(self, raw: bytes, now: float, waited_s: float) -> None:
        del raw, now
        assert waited_s == 0.0, "there is no stamp in a socket of this kind"
        self.read += 1

    def emptied(self, at: float) -> None:
        del at
        raise Ended

    def on_deadline(self, now: float) -> None:
        raise AssertionError(f"at {now} the beat came, and nobody had looked whether the socket is empty")

    def go_on(self) -> None:
        return


class Nothing:
    """Announcements of which there are none."""

    announced: Any = None

    def next_deadline(self) -> None:
        return None

    def work(self) -> None:
        return


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    its.setblocking(False)
    with closing(ours), closing(its):
        yield ours, its


@pytest.mark.parametrize("waiting", [0, 1, DATAGRAMS_AT_ONCE, DATAGRAMS_AT_ONCE + 1])
def test_while_the_socket_decides_something_it_is_read_until_it_is_empty(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    """Also where all that can be taken in one turn was all there was."""
    ours, its = ends
    drivers: list[Listening] = []

    def stand_in(*_: object, clock: Callable[[], float], **__: object) -> Listening:
        drivers.append(Listening(clock))
        return drivers[0]

    monkeypatch.setattr(loop, "Driver", stand_in)
    sentinel, beat = packet_pair()
    with closing(sentinel), closing(beat):
        link: BeatEnd[wire.ToBeat] = BeatEnd(beat, wire.to_beat)
        running = Loop(BEGIN, link, its, None, Nothing(), None)  # type: ignore[arg-type] # nobody asks them
        for _ in range(waiting):
            ours.send(b"datagram")
        with pytest.raises(Ended):
            running.run()
    assert drivers[0].read == waiting


def test_what_lay_unread_is_handed_on_with_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Noting(Listening):
        def received(self, raw: bytes, now: float, waited_s: float) -> None:
            del raw, now
            waits.append(waited_s)

    monkeypatch.setattr(loop, "Driver", lambda *_, clock, **__: Noting(clock))
    sentinel, beat = packet_pair()
    here = Address(host="127.0.0.1", port=0)
    with closing(sentinel), closing(beat), loop.open_socket(here) as its, loop.open_socket(here) as other:
        link: BeatEnd[wire.ToBeat] = BeatEnd(beat, wire.to_beat)
        running = Loop(BEGIN, link, its, None, Nothing(), None)  # type: ignore[arg-type] # nobody asks them
        for _ in range(2):
            other.sendto(b"datagram", its.getsockname())
        with pytest.raises(Ended):
            running.run()
    first, second = waits
    assert first > 0.0
    assert second > 0.0


def test_it_ends_with_its_sentinel(ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "Driver", lambda *_, clock, **__: quiet(clock))
    sentinel, beat = packet_pair()
    with closing(beat):
        link: BeatEnd[wire.ToBeat] = BeatEnd(beat, wire.to_beat)
        running = Loop(BEGIN, link, ends[1], None, Nothing(), None)  # type: ignore[arg-type] # nobody asks them
        sentinel.close()
        with pytest.raises(Unavailable, match="the sentinel is gone"):
            running.run()


def quiet(clock: Callable[[], float]) -> Listening:
    made = Listening(clock)
    made.is_listening = False
    return made
