"""A source that is woken again and again, and has nothing to tell, says in time that it lives; and whom it lets go."""

import asyncio
from typing import cast

import pytest
from flow_source import identity, serving

from gapless.errors import Unavailable
from gapless.flows import session
from gapless.flows.figures import Figures
from gapless.flows.session import Session
from gapless.flows.telling import Telling
from gapless.flows.turns import Turns
from gapless.model.host import HostName
from gapless.wire import flows as wire
from gapless.wire.flows import Kind, Stream


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


class Full:
    """The stream of a follower that lives, and reads nothing."""

    peer = HostName("b")

    async def receive(self, within_s: float) -> tuple[Kind, bytes]:
        await asyncio.sleep(0.01)
        return Kind.APPLIED, wire.pack_number(0)

    async def send(self, kind: Kind, body: bytes) -> None:
        await asyncio.Event().wait()


async def test_a_follower_that_takes_nothing_for_long_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ALIVE_S", 0.02)
    monkeypatch.setattr(session, "TAKEN_S", 0.02)

    def telling(*_: object) -> Telling:
        raise AssertionError("it wants nothing")

    made = Session(cast("Stream", Full()), telling, lambda _: False, Figures(), Turns(rest=0.0))
    with pytest.raises(Unavailable, match=r"nothing was taken for 0\.02 s"):
        async with asyncio.timeout(10):
            await made.run()
