"""Machines behind one router that would have the same port of it, in real packets: each has its own, where the router
goes on as well, and answers reach who asked.
"""

import socket
import struct

import pytest
from flow_fixtures import CLIENT, GATEWAY, PATIENCE_S, SERVER, Pair, at, until
from flow_messages import udp_entry

from gapless.flows.entries import flow_of
from gapless.flows.figures import Figures
from gapless.flows.follower import Follower
from gapless.flows.table import Table
from gapless.flows.turns import Turns
from gapless.kernel.netns import DIRECTORY
from gapless.wire.flows import Part

pytestmark = pytest.mark.isolated

PORT = 4000
"""From which each machine connects, and which the router keeps where it is free (nf_nat_core.c, get_unique_tuple)."""
MACHINES = {"client": CLIENT, "second": "10.0.0.3", "third": "10.0.0.4"}


class Connections:
    """Of machines, from one port, to one port of the server."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._listening = at("server", lambda: socket.create_server((SERVER, 5001)))
        self._listening.settimeout(PATIENCE_S)
        pair.opened.append(self._listening)
        self._ends: dict[str, tuple[socket.socket, socket.socket]] = {}

    def begin(self, name: str) -> int:
        """From this machine; returns which port of the router's the server sees."""

        def connect() -> socket.socket:
            return socket.create_connection((SERVER, 5001), timeout=PATIENCE_S, source_address=(MACHINES[name], PORT))

        inside = at(name, connect)
        outside, (address, port) = self._listening.accept()
        outside.settimeout(PATIENCE_S)
        self._pair.opened += [inside, outside]
        self._ends[name] = inside, outside
        assert address == GATEWAY
        return int(port)

    def all_go_on(self) -> None:
        """The server speaks first: nothing from inside has told the router anew whose port is which."""
        for name, (_, outside) in self._ends.items():
            outside.sendall(f"to {name}".encode())
        for name, (inside, outside) in self._ends.items():
            assert inside.recv(100) == f"to {name}".encode()
            inside.sendall(f"from {name}".encode())
            assert outside.recv(100) == f"from {name}".encode()

    def forget(self, name: str) -> None:
        """Both ends go at once, as where they lose their power."""
        for end in self._ends.pop(name):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
            end.close()


@pytest.fixture
def connections(pair: Pair) -> Connections:
    """Of the client and two more machines; none has begun."""
    pair.add_machine("second", 3)
    pair.add_machine("third", 4)
    return Connections(pair)


def knows(pair: Pair, host: str, *names: str) -> bool:
    """Whether a router tracks connections of these machines, and no others."""
    return sorted(line.split("src=")[1].split()[0] for line in pair.tracked(host)) == sorted(
        MACHINES[name] for name in names
    )


async def test_who_wants_a_port_that_a_copied_connection_has_gets_another_one(
    pair: Pair, connections: Connections
) -> None:
    """On the first host, which made both translations, and on its standby, which knows the first two by copy only; and
    when the router comes back.
    """
    assert connections.begin("client") == PORT
    second = connections.begin("second")
    assert second != PORT
    async with pair.following(pair.source(), pair.sink()):
        await until("both are on b", lambda: knows(pair, "b", "client", "second"))
    pair.plug_in("b")
    third = connections.begin("third")
    assert third not in (PORT, second)
    connections.all_go_on()
    async with pair.following(pair.source("b"), pair.sink("a", of="b")):
        await until("all are on a", lambda: knows(pair, "a", "client", "second", "third"))
    pair.plug_in("a")
    connections.all_go_on()
    assert [pair.figures[host].refused for host in "ab"] == [0, 0]


async def test_a_port_that_one_connection_gives_up_and_another_one_takes_at_once_is_the_other_ones(
    pair: Pair, connections: Connections
) -> None:
    """Both in one tick of who tells of it, and so in one frame."""
    assert connections.begin("second") == PORT
    async with pair.following(pair.source(), pair.sink()):
        await until("the first is on b", lambda: knows(pair, "b", "second"))
        with Table(DIRECTORY / "a") as table:  # as when its time is over
            table.remove([flow for step in table.assured() for said in step if (flow := flow_of(said)) is not None])
        connections.forget("second")
        assert connections.begin("client") == PORT
        await until("the other one is on b", lambda: knows(pair, "b", "client"))
    assert pair.figures["b"].refused == 0
    pair.plug_in("b")
    connections.all_go_on()


async def test_a_port_that_a_connection_has_on_the_standby_which_is_long_over_is_the_copied_ones(
    pair: Pair, connections: Connections
) -> None:
    """The router ran there before, and nobody heard that the connection's ends went."""
    pair.plug_in("b")
    assert connections.begin("second") == PORT
    pair.plug_in("a")
    connections.forget("second")
    assert connections.begin("client") == PORT
    assert knows(pair, "b", "second")
    async with pair.following(pair.source(), pair.sink()):
        await until("it is on b, in place of that one", lambda: knows(pair, "b", "client"))
    pair.plug_in("b")
    connections.all_go_on()


@pytest.mark.parametrize("in_copy", [True, False], ids=["that changes while it is copied", "that begins meanwhile"])
@pytest.mark.parametrize("was_assured", [True, False], ids=["of an assured one", "of one that never was"])
async def test_a_connection_is_copied_whose_port_one_has_that_is_over_at_the_end_of_the_copy(
    pair: Pair, in_copy: bool, was_assured: bool
) -> None:
    """The kernel refuses it until then, each time that it is told."""
    over, wanted = udp_entry(2002, outer=3000, is_assured=was_assured), udp_entry(2000, outer=3000)
    figures = Figures()
    with Table(DIRECTORY / "b") as table:
        assert table.make([over]) == []
        assert [(each.entry, each.is_full) for each in table.make([wanted])] == [(wanted, False)]
    follower = Follower(DIRECTORY / "b", figures, Turns(rest=0.0))
    try:
        await follower.apply(Part.BEGIN, [])
        await follower.apply(Part.ENTRIES, [wanted] if in_copy else [])
        assert await follower.apply(Part.CHANGES, [wanted]) == 0, "there may be room later"
        assert await follower.apply(Part.END, []) == 0
        assert follower.has_what_was_told
    finally:
        follower.close()
    with Table(DIRECTORY / "b") as table:
        assert [flow_of(said) for said in table.some([over.flow, wanted.flow])] == [wanted.flow]


async def test_a_connection_that_was_not_assured_when_its_host_left_is_as_its_new_host_says(pair: Pair) -> None:
    before, now = udp_entry(2000, is_assured=False), udp_entry(2000)
    with Table(DIRECTORY / "b") as table:
        assert table.make([before]) == []
        assert list(table.assured()) == [[]]
    follower = Follower(DIRECTORY / "b", Figures(), Turns(rest=0.0))
    try:
        await follower.apply(Part.BEGIN, [])
        await follower.apply(Part.ENTRIES, [now])
        await follower.apply(Part.END, [])
        assert follower.has_what_was_told
    finally:
        follower.close()
    with Table(DIRECTORY / "b") as table:
        assert [flow_of(said) for step in table.assured() for said in step] == [now.flow]
