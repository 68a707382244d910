"""For how long a datagram lay unread: the kernel's stamp, where the clock that it is of is not set meanwhile."""

import socket
import time
from collections.abc import Iterator

import pytest

from gapless.config import Address
from gapless.sentinel.beat import clock, loop
from gapless.sentinel.beat.arrivals import NOTE_BYTES, Arrivals

HERE = Address(host="127.0.0.1", port=0)
Notes = list[tuple[int, int, bytes]]


@pytest.fixture
def notes() -> Iterator[Notes]:
    """Of a datagram that arrived at the beat's own socket a moment ago."""
    with loop.open_socket(HERE) as opened, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"datagram", opened.getsockname())
        raw, found, _, _ = opened.recvmsg(64, NOTE_BYTES)
        assert raw == b"datagram"
        yield found


def test_it_waited_from_the_kernel_s_stamp_on(notes: Notes) -> None:
    read_at, now = time.time(), clock.now()
    at_once = Arrivals(0.0, real_time=lambda: read_at).waited_s(notes, now)
    later = Arrivals(0.0, real_time=lambda: read_at + 0.25).waited_s(notes, now)
    assert at_once > 0.0
    assert later == pytest.approx(at_once + 0.25)


def test_no_longer_than_since_the_socket_was_empty_though_somebody_set_the_clock(notes: Notes) -> None:
    now = clock.now()
    arrivals = Arrivals(now - 60.0, real_time=lambda: time.time() + 3600.0)
    assert arrivals.waited_s(notes, now) == pytest.approx(60.0)
    arrivals.found_empty(now - 0.002)
    assert arrivals.waited_s(notes, now) == pytest.approx(0.002)


def test_not_less_than_nothing_though_somebody_set_the_clock_back(notes: Notes) -> None:
    assert Arrivals(0.0, real_time=lambda: time.time() - 3600.0).waited_s(notes, clock.now()) == 0.0


def test_where_there_is_no_stamp_it_did_not_wait() -> None:
    assert Arrivals(0.0).waited_s([], 10.0) == 0.0
    other = [(socket.IPPROTO_IP, 35, bytes(16)), (socket.SOL_SOCKET, 29, bytes(16))]
    assert Arrivals(0.0).waited_s(other, 10.0) == 0.0
