"""Who claims a silent host's tenure: heard on the data network, where the hosts' cables meet the switch.

A successor's log says it too, but later than its takeover may last. A claim is a datagram of the lease, whose kind
stands in the clear (`wire.lease`); the cable that it came by says whose it is.
"""

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gapless.errors import Unavailable
from gapless.lab.machines import enter
from gapless.lab.measuring import packets
from gapless.model.lease import DatagramKind
from gapless.wire import lease

_PROTOCOL, _UDP, _PAYLOAD = 23, 17, 42
"""Offsets in a frame with an IPv4 header without options, and the number of UDP (RFC 791, RFC 768)."""
_CLAIMS = (
    (packets.LD_H, None, None, 12),
    (packets.JEQ, None, 9, packets.ETH_P_IPV4),
    (packets.LD_B, None, None, _PROTOCOL),
    (packets.JEQ, None, 9, _UDP),
    (packets.LD_H, None, None, _PAYLOAD),
    (packets.JEQ, None, 9, int.from_bytes(lease.MAGIC)),
    (packets.LD_B, None, None, _PAYLOAD + 3),
    (packets.JEQ, None, 9, DatagramKind.CLAIM),
    (packets.RET, None, None, 64),
    (packets.RET, None, None, 0),
)


class Claims:
    """Hears the claims of hosts. `host_of_port`: a cable's switch end -> its host."""

    def __init__(self, ear: socket.socket, host_of_port: Mapping[str, str]) -> None:
        self._ear, self._host_of_port = ear, host_of_port

    async def first(self, within_s: float) -> str:
        """The host whose claim is the next one. Raises Unavailable when there is none."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    frame, (port, *_) = await asyncio.get_running_loop().sock_recvfrom(self._ear, 64)
                    if port in self._host_of_port and _is_claim(frame):
                        return self._host_of_port[port]
        except TimeoutError:
            raise Unavailable(f"no host has claimed another one's routers within {within_s:g} s") from None


def _is_claim(frame: bytes) -> bool:
    return frame[_PAYLOAD : _PAYLOAD + 4] == lease.MAGIC + bytes((lease.VERSION, DatagramKind.CLAIM))


@contextmanager
def listening(host_of_port: Mapping[str, str]) -> Iterator[Claims]:
    """Hear claims from here on, until the block is left."""
    enter.require_inside()
    with packets.hearing(_CLAIMS) as ear:
        ear.setblocking(False)
        yield Claims(ear, host_of_port)
