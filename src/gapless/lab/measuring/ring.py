"""Frames in memory that the kernel shares with who reads them (packet_mmap, TPACKET_V3; linux/if_packet.h).

The kernel fills block after block and hands each over when it is full, or old. What a reader is too slow for is lost,
and counted by the kernel.
"""

import mmap
import struct
from collections.abc import Iterable, Sequence

from gapless.lab.measuring import packets
from gapless.lab.measuring.packets import Line

BLOCK_BYTES = 1 << 18
BLOCKS = 64
"""Room for about 100,000 frames: more than ten seconds of the most that the prober sends."""
RETIRE_MS = 20
"""A block that is not full is handed over after so long."""

_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 5, 6, 10
_TPACKET_V3 = 2
_FRAME_BYTES = 2048
_TP_STATUS_KERNEL, _TP_STATUS_USER = 0, 1

_REQUEST = struct.Struct("=7I")
_STATISTICS = struct.Struct("=3I")
_BLOCK = struct.Struct("=3I")
"""tpacket_hdr_v1 from its beginning: status, frames, offset of the first."""
_BLOCK_AT = 8
_FRAME = struct.Struct("=3I")
"""tpacket3_hdr: offset of the next, seconds, nanoseconds."""
_PORT = struct.Struct("=i")
_PORT_AT = 48 + 4
"""Of the interface in the sockaddr_ll behind the header."""
_PACKET = struct.Struct("=H")
_PACKET_AT = 24
"""Of the packet itself, counted from the header."""


class Ring:
    """The frames that pass a filter. Raises OSError without the right to hear them."""

    def __init__(self, lines: Sequence[Line], *, blocks: int = BLOCKS, block_bytes: int = BLOCK_BYTES) -> None:
        self._socket = packets.hearing(lines)
        self._socket.setsockopt(packets.SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        sizes = (block_bytes, blocks, _FRAME_BYTES, blocks * block_bytes // _FRAME_BYTES, RETIRE_MS, 0, 0)
        # Frames from before it had a ring are discarded here; only what the filter passed is counted from now on.
        self._socket.setsockopt(packets.SOL_PACKET, _PACKET_RX_RING, _REQUEST.pack(*sizes))
        self.memory = mmap.mmap(self._socket.fileno(), blocks * block_bytes)
        self._starts = [number * block_bytes for number in range(blocks)]
        self._next = 0
        self.dropped()

    def fileno(self) -> int:
        """For poll(2): readable when a block is handed over."""
        return self._socket.fileno()

    def dropped(self) -> int:
        """How many frames there was no room for since it was last asked."""
        said = self._socket.getsockopt(packets.SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        _, dropped, _ = _STATISTICS.unpack(said)
        return int(dropped)

    def frames(self) -> Iterable[tuple[int, int, int]]:
        """Of all blocks handed over: nanoseconds of the wall clock, the port's index, where in `memory` it begins."""
        memory = self.memory
        while True:
            start = self._starts[self._next]
            status, count, offset = _BLOCK.unpack_from(memory, start + _BLOCK_AT)
            if not status & _TP_STATUS_USER:
                return
            at = start + offset
            for _ in range(count):
                following, seconds, nanoseconds = _FRAME.unpack_from(memory, at)
                (port,) = _PORT.unpack_from(memory, at + _PORT_AT)
                (packet,) = _PACKET.unpack_from(memory, at + _PACKET_AT)
                yield seconds * 1_000_000_000 + nanoseconds, port, at + packet
                at += following
            struct.pack_into("=I", memory, start + _BLOCK_AT, _TP_STATUS_KERNEL)
            self._next = (self._next + 1) % len(self._starts)

    def close(self) -> None:
        """Let go of it."""
        self.memory.close()
        self._socket.close()
