"""The talker's loop over real sockets, all of them in this process's own network."""

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from gapless.lab.measuring.connections import Connection, Course, Endpoint, Kind, Orders
from gapless.lab.measuring.conversations import CONVERSATIONS, Way
from gapless.lab.measuring.talker import Talker
from gapless.lab.measuring.transports import OTHER_MAPPING

T = TypeVar("T")
INTERVAL_MS = 5.0
PATIENCE_S = 20.0
OUTSIDE, VM = "127.0.0.1", "127.0.0.2"


def here(path: Path, action: Callable[[], T]) -> T:
    del path
    return action()


def free_port() -> int:
    with socket.create_server(("127.0.0.3", 0)) as server:
        return int(server.getsockname()[1])


def connection(kind: Kind, target: str = "") -> Connection:
    accepts = VM if CONVERSATIONS[kind].way is Way.FLOATING else OUTSIDE
    return Connection(router_id="r1", kind=kind, vm=Endpoint(netns="", address=VM), target=target or accepts)


@contextmanager
def talker(*wanted: Connection, port: int = 0) -> Iterator[Talker]:
    orders = Orders(
        connections=wanted,
        outside=Endpoint(netns="", address=OUTSIDE),
        interval_ms=INTERVAL_MS,
        port=port or free_port(),
    )
    with closing(Talker(orders, here, Path)) as talks:
        talks.start()
        yield talks


def run_until(talks: Talker, holds: Callable[[], bool]) -> None:
    """Bounded by the test's own timeout."""
    while not holds():
        talks.step()


def everyone(talks: Talker, count: int) -> None:
    run_until(talks, lambda: talks.talk().heard == count)


def courses(talks: Talker, within_s: float = PATIENCE_S) -> tuple[Course, ...]:
    return talks.end(within_s).courses


def test_connections_of_every_kind_are_heard_and_survive() -> None:
    with talker(*(connection(kind) for kind in Kind)) as talks:
        everyone(talks, len(Kind))
        talks.begin()
        found = courses(talks)
        assert len(set(talks.opened().ports)) > 1
    assert [course.connection.kind for course in found] == list(Kind)
    assert [course for course in found if course.broken or not course.is_heard] == []
    assert all(course.datagrams_lost == 0 for course in found)


def test_connections_beside_each_other_are_told_apart() -> None:
    every = [kind for kind in Kind for _ in range(3)]
    with talker(*map(connection, every)) as talks:
        everyone(talks, len(every))
        assert [course.connection.kind for course in courses(talks)] == every


class Nat:
    """A NAT of one UDP connection between the VM and the outside, which may get another mapping, or lose all."""

    def __init__(self, inside: str, port: int) -> None:
        self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server.bind((inside, port))
        self._server.settimeout(0.05)
        self._outside = (OUTSIDE, port)
        self._mapped = self._mapping()
        self._is_over = threading.Event()
        self.drops = 0
        """Datagrams from inside that are still to be lost."""
        self.lost = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _mapping(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect(self._outside)
        made.settimeout(5.0)  # an answer that is not waited for counts as lost
        return made

    def remap(self) -> None:
        self._mapped, old = self._mapping(), self._mapped
        old.close()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                said, peer = self._server.recvfrom(1 << 16)
                if self.drops > 0:
                    self.drops, self.lost = self.drops - 1, self.lost + 1
                    continue
                self._mapped.send(said)
                self._server.sendto(self._mapped.recv(1 << 16), peer)
            except OSError:
                continue  # nothing came, or the mapping is another one now

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._server.close()
        self._mapped.close()


@contextmanager
def nat() -> Iterator[tuple[Nat, Talker]]:
    port = free_port()
    between = Nat("127.0.0.4", port)
    try:
        with talker(connection(Kind.UDP, target="127.0.0.4"), port=port) as talks:
            everyone(talks, 1)
            yield between, talks
    finally:
        between.close()


def test_datagrams_that_a_nat_loses_are_counted() -> None:
    with nat() as (between, talks):
        between.drops = 3
        run_until(talks, lambda: between.lost == 3)
        (course,) = courses(talks)
        assert (course.datagrams_lost, course.broken, course.is_heard) == (3, "", True)
        assert course.datagrams > 3


def test_a_udp_connection_that_gets_another_mapping_is_broken() -> None:
    with nat() as (between, talks):
        between.remap()
        (course,) = courses(talks)
        assert course.broken == OTHER_MAPPING


def test_a_udp_connection_whose_datagrams_all_vanish_is_broken() -> None:
    with nat() as (between, talks):
        between.drops = 1 << 30
        (course,) = courses(talks, within_s=0.1)
        assert (course.broken, course.is_heard) == ("nothing was heard any more", False)


@contextmanager
def cut(kind: Kind) -> Iterator[tuple[socket.socket, Talker]]:
    """A TCP connection whose other end is a stranger's: who connects is given, to be ended as one likes."""
    port = free_port()
    with (
        socket.create_server(("127.0.0.5", port)) as server,
        talker(connection(kind, target="127.0.0.5"), port=port) as talks,
    ):
        end, _ = server.accept()
        with end:
            yield end, talks


def test_an_end_that_nobody_asked_for_breaks_a_connection() -> None:
    with cut(Kind.UPLOAD) as (end, talks):
        end.shutdown(socket.SHUT_WR)
        (course,) = courses(talks)
        assert course.broken == "the other end closed it"


def test_a_reset_breaks_a_connection() -> None:
    with cut(Kind.UPLOAD) as (end, talks):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        end.close()
        (course,) = courses(talks)
        assert course.broken == "Connection reset by peer"


def test_one_that_is_open_and_silent_stalls() -> None:
    with cut(Kind.DOWNLOAD) as (_, talks):
        (course,) = courses(talks, within_s=0.1)
        assert (course.broken, course.is_heard) == ("", False)


def test_somebody_who_connects_and_does_not_say_who_it_is_is_let_go() -> None:
    port = free_port()
    with talker(connection(Kind.UPLOAD), port=port) as talks, socket.create_connection((OUTSIDE, port)) as stranger:
        stranger.shutdown(socket.SHUT_WR)
        stranger.setblocking(False)

        def is_let_go() -> bool:
            try:
                return stranger.recv(1) == b""
            except BlockingIOError:
                return False
            except OSError as error:
                return error.errno == errno.ECONNRESET

        run_until(talks, is_let_go)
        everyone(talks, 1)
        assert courses(talks)[0].broken == ""


def test_an_address_where_nobody_listens_is_an_error_at_once() -> None:
    with pytest.raises(ConnectionRefusedError), talker(connection(Kind.UPLOAD, target="127.0.0.9")):
        pass
