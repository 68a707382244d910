"""Connections through a router that goes on elsewhere: with their state copied ahead of time, in real namespaces."""

import pytest
from flow_fixtures import Pair, until

pytestmark = pytest.mark.isolated


async def test_a_download_goes_on_where_its_state_was_copied(pair: Pair) -> None:
    client, server = pair.connected()
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: len(pair.tracked("b")) == 1)
    pair.plug_in("b")
    server.sendall(b"nothing from inside speaks first")
    assert client.recv(100) == b"nothing from inside speaks first"
