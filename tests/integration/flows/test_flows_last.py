"""Connections that begin just before their router moves: the last thing that its old host hears."""

import struct
import time
from dataclasses import replace

import pytest
from flow_fixtures import ROUTER, Pair, until
from flow_messages import routed_entry, udp_entry

from gapless.flows.table import Table
from gapless.kernel.netlink import attribute
from gapless.kernel.netns import DIRECTORY

pytestmark = pytest.mark.isolated

TIMEOUT = 7
"""CTA_TIMEOUT."""


async def test_a_download_that_begins_just_before_its_router_moves_goes_on(pair: Pair) -> None:
    """Nobody has heard of it when the router is open on its next host: from begin to end this process waits for none
    of its sockets.
    """
    source, sink = pair.source(), pair.sink()
    async with pair.following(source, sink):
        await until("there is a copy", lambda: pair.figures["a"].copies == 1)
        client, server = pair.connected()
        client.sendall(b"say something")
        assert server.recv(100) == b"say something"
        assert pair.figures["a"].heard == 0
        pair.plug_in("b")
        source.look(time.monotonic())
        sink.follow(frozenset(), sink.address, active=frozenset({ROUTER}))
        assert pair.tracked("b") == []
        await until("the flow is on b", lambda: len(pair.tracked("b")) == 1)
        server.sendall(b"and nothing from inside")
        assert client.recv(100) == b"and nothing from inside"
        await until("that was the last of it", lambda: not sink.is_parting)


def test_what_is_there_is_not_touched_by_what_is_added(pair: Pair) -> None:
    """One flow is there under another port outside than the one that is added, and one that is not translated, which
    will not last for long any more; another one's port is taken.
    """
    there, taken, new = udp_entry(2000, 3000), udp_entry(2001, 3000), udp_entry(2002)
    short = replace(routed_entry(2003), state=attribute(TIMEOUT, struct.pack(">I", 60)))
    with Table(DIRECTORY / "b") as table:
        assert table.make([there, short]) == []
        refused = table.add([udp_entry(2000), taken, new, routed_entry(2003)])
    assert [(each.entry.flow, each.is_full) for each in refused] == [(taken.flow, False)]
    after = {line.split("sport=")[1].split()[0]: line for line in pair.tracked("b")}
    assert {port: line.split("dport=")[2].split()[0] for port, line in after.items()} == {
        "2000": "3000",
        "2002": "2002",
        "2003": "2003",
    }
    assert int(after["2003"].split()[4]) <= 60
