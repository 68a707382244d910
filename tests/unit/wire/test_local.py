"""Framing between sentinel and agent: whole messages, bounded, and an end that is seen as an end."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gapless.config import Address, HostSettings
from gapless.errors import InvalidRequest, Unavailable
from gapless.model.plan import Revision
from gapless.wire.local import AgentStart, LocalLink, decode_start, encode_start
from gapless.wire.messages import AgentAlive, AgentPlan, AgentReport, FromAgent, encode, from_agent, to_agent

PLAN = AgentPlan(confirmed=True, revision=Revision(3), routers=())


@pytest.fixture
async def ends() -> AsyncIterator[tuple[socket.socket, LocalLink[FromAgent]]]:
    """A bare socket, and the link at its other end."""
    ours, its = socket.socketpair()
    ours.setblocking(False)
    link = await LocalLink.over(its, from_agent)
    yield ours, link
    ours.close()
    await link.close()


async def test_messages_arrive_whole_and_in_order() -> None:
    one, other = socket.socketpair()
    sentinel, agent = await LocalLink.over(one, from_agent), await LocalLink.over(other, to_agent)
    await sentinel.send(PLAN)
    await agent.send(AgentAlive(busy_s=1.5))
    await agent.send(AgentReport(revision=Revision(3)))
    assert await agent.receive() == PLAN
    assert await sentinel.receive() == AgentAlive(busy_s=1.5)
    assert await sentinel.receive() == AgentReport(revision=Revision(3))
    await agent.close()
    assert await sentinel.receive() is None
    await sentinel.close()


async def test_a_frame_may_arrive_byte_by_byte(ends: tuple[socket.socket, LocalLink[FromAgent]]) -> None:
    ours, link = ends
    body = encode(AgentAlive(busy_s=2))
    receiving = asyncio.create_task(link.receive())
    for byte in struct.pack(">I", len(body)) + body:
        assert not receiving.done()
        ours.send(bytes([byte]))
        await asyncio.sleep(0)
    assert await receiving == AgentAlive(busy_s=2)


@pytest.mark.parametrize("kept", range(12))
async def test_an_end_in_the_middle_of_a_frame_is_an_end(
    ends: tuple[socket.socket, LocalLink[FromAgent]], kept: int
) -> None:
    ours, link = ends
    body = encode(AgentAlive())
    ours.send((struct.pack(">I", len(body)) + body)[:kept])
    ours.close()
    assert await link.receive() is None


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (b"\xff\xff\xff\xff", "4294967295 bytes"),
        (b"\x00\x00\x00\x00", "no message"),
        (b"\x00\x00\x00\x02{}", "no message"),
        (b"\x00\x00\x00\x03\xff\xfe\xfd", "no message"),
        (struct.pack(">I", 20000) + b"[" * 20000, "no message"),
    ],
    ids=["huge", "empty", "untagged", "not-utf8", "deep"],
)
async def test_what_is_no_frame_of_ours_is_refused(
    ends: tuple[socket.socket, LocalLink[FromAgent]], frame: bytes, complaint: str
) -> None:
    ours, link = ends
    ours.send(frame)
    with pytest.raises(Unavailable, match=complaint):
        await link.receive()


async def test_sending_to_somebody_who_is_gone() -> None:
    one, other = socket.socketpair()
    link = await LocalLink.over(one, from_agent)
    other.close()

    async def send_again_and_again() -> None:
        for _ in range(3):  # the first one may only find out
            await link.send(PLAN)
            await asyncio.sleep(0)

    with pytest.raises(Unavailable, match="is gone"):
        await send_again_and_again()
    await link.close()


async def test_a_message_beyond_the_bound_is_not_sent() -> None:
    one, other = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=one)
    link = LocalLink(reader, writer, from_agent, frame_bytes_max=10)
    with pytest.raises(InvalidRequest, match="larger than"):
        await link.send(PLAN)
    await link.close()
    other.close()


def test_the_start_survives_the_command_line() -> None:
    settings = HostSettings(
        name="net1",
        state_dir=Path("/var/lib/gapless"),
        key_file=Path("/etc/key"),
        server=Address(host="10.0.0.1", port=9),
        physical_networks=(("external", "eth2"),),
        vxlan_peers=("10.0.0.2",),
    )
    start = AgentStart(fd=7, settings=settings, log_format="json")
    assert decode_start(encode_start(start)) == start
    assert json.loads(encode_start(start))["settings"]["state_dir"] == "/var/lib/gapless"


@pytest.mark.parametrize("text", ["", "{}", "7", '{"fd": "x", "settings": {}}'])
def test_a_start_that_is_none(text: str) -> None:
    with pytest.raises(InvalidRequest, match="started by the sentinel"):
        decode_start(text)
