"""A source that is woken again and again, and has nothing to tell, says in time that it lives."""

import asyncio

import pytest
from flow_source import identity, serving

from gapless.flows import session
from gapless.flows.figures import Figures
from gapless.model.host import HostName
from gapless.wire import flows as wire
from gapless.wire.flows import Kind


async def test_a_follower_that_speaks_often_hears_often_enough(
    free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ALIVE_S", 0.2)
    async with asyncio.timeout(10), serving(Figures(), free_tcp_port):
        stream = await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity("b"))

        async def speak() -> None:
            while True:
                await stream.send(Kind.APPLIED, wire.pack_number(0))
                await asyncio.sleep(0.01)

        speaking = asyncio.create_task(speak())
        try:
            assert await stream.receive(10.0) == (Kind.DATA, b"")
        finally:
            speaking.cancel()
            stream.close()
