"""A takeover while the copies are behind: what is lost is what began since, and what comes late changes nothing."""

import pytest
from flow_fixtures import Pair, sh, until

pytestmark = pytest.mark.isolated

HELD = "add table ip held; add chain ip held in { type filter hook input priority 0; }; "
HELD += "add rule ip held in tcp sport 9695 drop; add rule ip held in tcp dport 9695 drop"


def ports(pair: Pair, name: str) -> set[str]:
    """To which ports of the server a router's connections go."""
    return {line.split("dport=")[1].split()[0] for line in pair.tracked(name)}


async def test_connections_that_were_copied_go_on_and_what_was_held_up_changes_nothing(pair: Pair) -> None:
    """The stream is cut as a link is, between two processes that live; the source goes on hearing. One connection of
    before the cut ends after it, one begins after it; both news arrive after the takeover.
    """
    client, server = pair.connected()
    ending = pair.connected(5002)
    source, sink = pair.source(), pair.sink()
    async with pair.following(source, sink):
        await until("both are on b", lambda: ports(pair, "b") == {"5001", "5002"})
        sh("nft -f -", given=HELD.replace("; add", "\nadd"))
        heard = pair.figures["a"].heard
        for each in ending:
            each.close()
        pair.connected(5003)
        await until("a knows, and tells of it", lambda: pair.figures["a"].heard > heard)
        assert "5003" in ports(pair, "a")
        assert ports(pair, "b") == {"5001", "5002"}, "the copy is behind"
        sink.follow(frozenset(), sink.address)  # b has taken over: what is open here is not followed
        pair.plug_in("b")
        server.sendall(b"nothing from inside speaks first")
        assert client.recv(100) == b"nothing from inside speaks first"
        client.sendall(b"and on")
        assert server.recv(100) == b"and on"
        before, received = ports(pair, "b"), sink._applied
        sh("nft delete table ip held")
        await until("what was held up arrives", lambda: sink._applied > received)
        assert ports(pair, "b") == before
        assert {"5001", "5002"} <= before
    server.sendall(b"still")
    assert client.recv(100) == b"still"
