"""A standby's table in the kernel that is full: what it refuses is counted, said, and taken when there is room.

How many there may be is said for the whole machine (net.netfilter.nf_conntrack_max, which is read-only in every network
namespace but its first), and counted by namespace. So one is filled: by some hundred thousand IPv6 flows, which no copy
of a router's touches.
"""

import errno
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from math import inf
from pathlib import Path

import pytest
from flow_fixtures import MOST, ROUTER, Pair, until
from flow_messages import udp_entry

from gapless.flows import entries
from gapless.flows import sink as sinks
from gapless.flows.entries import Entry, flow_of
from gapless.flows.sink import Sink
from gapless.flows.source import Source
from gapless.flows.table import Table
from gapless.kernel.netlink import CREATE, attribute, nested
from gapless.kernel.netns import DIRECTORY
from gapless.model.host import HostName
from gapless.model.router import RouterId
from logged import kept

pytestmark = pytest.mark.isolated

OTHER = RouterId("22222222-2222-4222-8222-222222222222")
ACTIVE = {ROUTER: DIRECTORY / "a", OTHER: DIRECTORY / "c"}
STANDBY = {ROUTER: DIRECTORY / "b", OTHER: DIRECTORY / "d"}
LIMIT = Path("/proc/sys/net/netfilter/nf_conntrack_max")
AT_ONCE = 10_000
SAID = ("not all flows are copied", "flows are copied again")


class Crowd:
    """Assured flows that take all the room in a namespace, and leave some of it."""

    def __init__(self, path: Path) -> None:
        self._table = Table(path)
        self._count = 0

    def fill(self) -> None:
        """The last one of them is refused."""
        most = int(LIMIT.read_text())
        for start in range(0, most, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, most))
            assert self._table._ask([(entries.NEW, CREATE, _creation(number)) for number in numbers]) == []
        assert self._table._ask([(entries.NEW, CREATE, _creation(most))]) == [(0, errno.ENOMEM)]
        self._count = most

    def leave(self, count: int) -> None:
        """So many of them."""
        self._count -= count
        numbers = range(self._count, self._count + count)
        assert self._table._ask([(entries.DELETE, 0, _flow(number)) for number in numbers]) == []

    def close(self) -> None:
        self._table.close()


def _flow(number: int) -> bytes:
    ends = struct.pack(">QQ", 0xFD << 56, number), struct.pack(">QQ", 0xFD << 56, 1 << 32)
    return struct.pack("!BBH", socket.AF_INET6, 0, 0) + _tuple(1, *ends)


def _creation(number: int) -> bytes:
    ends = struct.pack(">QQ", 0xFD << 56, 1 << 32), struct.pack(">QQ", 0xFD << 56, number)
    state = attribute(3, struct.pack(">I", 0xE)) + attribute(7, struct.pack(">I", 3600))  # answered, assured, confirmed
    return _flow(number) + _tuple(2, *ends) + state


def _tuple(kind: int, source: bytes, destination: bytes) -> bytes:
    port = struct.pack(">H", 53)
    protocol = attribute(1, bytes((socket.IPPROTO_UDP,))), attribute(2, port), attribute(3, port)
    return nested(kind, nested(1, attribute(3, source), attribute(4, destination)), nested(2, *protocol))


@pytest.fixture
def crowd(pair: Pair) -> Iterator[Crowd]:
    """Where the router is not active."""
    with closing(Crowd(STANDBY[ROUTER])) as made:
        yield made


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    with kept("flows") as written:
        yield written


def make(path: Path, *made: Entry) -> None:
    """Have these in a router's table, as if packets had made them."""
    with Table(path) as table:
        assert table.make(made) == []


def flows(path: Path) -> set[bytes]:
    """All of a router's."""
    with Table(path) as table:
        return {flow for step in table.assured() for said in step if (flow := flow_of(said)) is not None}


def there(path: Path, asked: Collection[bytes]) -> set[bytes]:
    """Which of them the kernel has: its list of all would be long."""
    with Table(path) as table:
        return {flow for said in table.some(list(asked)) if (flow := flow_of(said)) is not None}


def speak(client: socket.socket, server: socket.socket) -> None:
    """Both ways, the server first."""
    server.sendall(b"from outside")
    assert client.recv(100) == b"from outside"
    client.sendall(b"from inside")
    assert server.recv(100) == b"from inside"


async def test_what_a_full_table_refuses_is_counted_and_said_and_taken_when_there_is_room(
    pair: Pair, crowd: Crowd, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "cd":
        pair.make_router(name)
    crowd.fill()
    monkeypatch.setattr(sinks, "CALM_S", inf)
    first = pair.connected()
    make(ACTIVE[ROUTER], *map(udp_entry, range(2000, 2010)))
    make(ACTIVE[OTHER], udp_entry(3000))
    figures = pair.figures["b"]
    source = Source(pair.identity("a"), pair.figures["a"], lambda _: True, most=MOST, path_of=ACTIVE.__getitem__)
    sink = Sink(pair.identity("b"), HostName("a"), figures, path_of=STANDBY.__getitem__)
    sink.follow(frozenset(STANDBY), ("127.0.0.1", 9695))

    def is_copied(router_id: RouterId) -> bool | None:
        return sink.copied(time.monotonic())[router_id]

    def said() -> list[str]:
        return [each for line in lines for each in SAID if each in line]

    async with pair.following(source, sink):
        await until("the full table was tried", lambda: figures.refused == 11)
        await until("another router's is there", lambda: is_copied(OTHER) is True)
        assert not is_copied(ROUTER)
        assert [line for line in lines if "the kernel did not take 11 of them; its table may be full" in line]
        speak(*first)
        second = pair.connected(5003)
        await until("what begins is tried, too", lambda: figures.refused == 12)
        make(ACTIVE[OTHER], udp_entry(3001))
        await until("another router's goes on", lambda: bool(there(STANDBY[OTHER], [udp_entry(3001).flow])))
        with Table(ACTIVE[ROUTER]) as table:
            table.remove([udp_entry(2000).flow])
        remaining = flows(ACTIVE[ROUTER])
        assert len(remaining) == 11
        assert there(STANDBY[ROUTER], remaining) == set()
        crowd.leave(4)
        await until("some have room", lambda: len(there(STANDBY[ROUTER], remaining)) == 4)
        assert not is_copied(ROUTER)
        assert said() == [SAID[0]]
        crowd.leave(100)
        await until("all have room", lambda: is_copied(ROUTER) is True)
        asked = {*remaining, udp_entry(2000).flow}
        await until("and what is over is not there", lambda: there(STANDBY[ROUTER], asked) == remaining)
        assert said() == [SAID[0]], "it was so just now"
        monkeypatch.setattr(sinks, "CALM_S", 0.0)
        await until("that is said", lambda: said() == [*SAID])
        assert figures.refused == 12, "each is counted once"
    pair.plug_in("b")
    for connection in (first, second):
        speak(*connection)
