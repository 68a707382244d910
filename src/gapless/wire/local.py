"""The local link: sentinel and agent of one host, over a socket pair. Frames are a length and one JSON message.

A frame is 4 bytes of length, big-endian, and that many bytes of JSON. The length is bounded, so that a broken peer
cannot make the other one allocate without end. The end of the stream is a message too: to the agent it means that its
sentinel is gone, and it ends.
"""

import asyncio
import socket
import struct
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from gapless.config import HostSettings
from gapless.errors import InvalidRequest, Unavailable
from gapless.wire.messages import Decoder, Malformed, encode

FRAME_BYTES_MAX = 64 * 1024 * 1024
"""A plan of 1,000 routers has about 2 MB."""
LINGER_S = 1.0
_LENGTH = struct.Struct(">I")

Received = TypeVar("Received")


class AgentStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the sentinel gives an agent on its command line."""

    fd: int
    """The agent's end of the socket pair."""
    settings: HostSettings
    log_format: str = "text"


class LocalLink(Generic[Received]):
    """One end of the local link. `receive` may be cancelled only when the link is given up afterwards."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: Decoder[Received],
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder
        self._frame_bytes_max = frame_bytes_max

    @classmethod
    async def over(cls, end: socket.socket, decoder: Decoder[Received]) -> "LocalLink[Received]":
        """A link over one end of a socket pair, which it owns from then on."""
        reader, writer = await asyncio.open_connection(sock=end)
        return cls(reader, writer, decoder)

    async def send(self, message: msgspec.Struct) -> None:
        """Send one message; waits while the other side does not read. Raises Unavailable when it is gone."""
        body = encode(message)
        if len(body) > self._frame_bytes_max:
            raise InvalidRequest(f"a message of {len(body)} bytes is larger than the local link carries")
        try:
            self._writer.write(_LENGTH.pack(len(body)) + body)
            await self._writer.drain()
        except OSError as error:
            raise Unavailable(f"the other end of the local link is gone: {error}") from error

    async def receive(self) -> Received | None:
        """The next message; None at the end of the stream. Raises Unavailable for anything that is no frame of ours."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > self._frame_bytes_max:
                raise Unavailable(f"the local link announces a frame of {length} bytes, more than can be")
            return self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None  # also in the middle of a frame: whoever sent it was killed
        except Malformed as error:
            raise Unavailable(f"the local link carried something that is no message: {error}") from error

    async def close(self) -> None:
        """Close this end. What was sent gets a moment to be read: last words often say why they are the last."""
        self._writer.close()
        try:
            async with asyncio.timeout(LINGER_S):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self._writer.transport.abort()


def encode_start(start: AgentStart) -> str:
    """`AgentStart` as the agent's command line carries it."""
    return msgspec.json.encode(start, enc_hook=_encode_path).decode()


def decode_start(text: str) -> AgentStart:
    """The reverse. Raises InvalidRequest for anything else."""
    try:
        return msgspec.json.decode(text, type=AgentStart, dec_hook=_decode_path)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"the agent is started by the sentinel, with its settings as JSON: {error}") from error


def _encode_path(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no form on the command line")


def _decode_path(wanted: type, value: Any) -> Any:
    if issubclass(wanted, Path):
        return wanted(value)
    raise NotImplementedError(f"{wanted.__name__} has no form on the command line")
