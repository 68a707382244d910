"""Hosts of different releases: each says which versions those are, in one line, and goes on with all others."""

import asyncio
import struct

import msgspec
import pytest
from flow_kernel import Kernel, router
from flow_source import identity, serving
from test_flow_behind import running, until
from test_flow_policy import following

from gapless.flows.figures import Figures
from gapless.model.host import HostName
from gapless.wire import flows as wire

OTHERS = pytest.mark.parametrize("version", [wire.VERSION - 1, wire.VERSION + 1], ids=["older", "newer"])
ROUTER = router(1)


def refusal(version: int) -> str:
    return f"it speaks version {version} of the flow stream, this host version {wire.VERSION}: install the same release"


async def say(writer: asyncio.StreamWriter, word: dict[str, object]) -> None:
    said = msgspec.json.encode(word)
    writer.write(struct.pack(">H", len(said)) + said)
    await writer.drain()


async def heard(reader: asyncio.StreamReader) -> dict[str, object]:
    (length,) = struct.unpack(">H", await reader.readexactly(2))
    word: dict[str, object] = msgspec.json.decode(await reader.readexactly(length))
    return word


@OTHERS
async def test_a_follower_of_another_version_is_refused_in_one_line_and_others_are_served(
    free_tcp_port: int, log_lines: list[str], version: int
) -> None:
    """Its words are otherwise, too. Somebody who said nothing was turned away before it, and hides it from nobody."""
    figures = Figures()
    async with asyncio.timeout(10), serving(figures, free_tcp_port):
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", free_tcp_port)
            assert (await heard(reader))["version"] == wire.VERSION, "so that it can say why, too"
            await say(writer, {"version": version, "whatever": "that has"})
            assert await reader.read() == b"", "closed"
            writer.close()
        (line,) = (each for each in log_lines if "speaks version" in each)
        assert "was turned away" in line
        assert refusal(version) in line
        assert (figures.turned_away, figures.streams) == (2, 0)
        stream = await wire.connect("127.0.0.1", free_tcp_port, HostName("a"), identity("b"))
        await until(lambda: figures.streams == 1)
        stream.close()


@OTHERS
async def test_a_source_of_another_version_is_refused_in_one_line_and_told_why_and_others_are_followed(
    kernel: Kernel, free_tcp_port: int, log_lines: list[str], version: int
) -> None:
    words: list[dict[str, object]] = []

    async def pose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await say(writer, {"version": version, "whatever": "that has"})
        words.append(await heard(reader))
        assert await reader.read() == b"", "closed"
        writer.close()

    figures, follows = Figures(), following(kernel, free_tcp_port)[0]
    async with await asyncio.start_server(pose, "127.0.0.1") as server:
        refused, _ = following(kernel, server.sockets[0].getsockname()[1])
        async with serving(figures, free_tcp_port), running(refused.run(), follows.run()):
            await until(lambda: len(words) >= 2 and figures.streams == 1)
            (line,) = (each for each in log_lines if "speaks version" in each)
            assert "no flow stream: flows of this host are not copied" in line
            assert refusal(version) in line
            assert [(word["version"], word["follower"], word["proof"]) for word in words[:2]] == [
                (wire.VERSION, "b", "")
            ] * 2, "nothing is proven to it"
