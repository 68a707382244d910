"""The IPv4 addresses in a network namespace, on interfaces that are up; asked of the kernel, without a process.

A lab of a thousand routers has two thousand namespaces to look into, and a process for each would keep two cores busy
for a quarter of a minute, while hosts are to be measured.

Source: netdevice(7), SIOCGIFCONF and SIOCGIFFLAGS.
"""

import array
import fcntl
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from gapless.lab.machines import linux

_SIOCGIFCONF, _SIOCGIFFLAGS = 0x8912, 0x8913
_IFF_UP = 0x1
_CONF = struct.Struct("iP")
"""struct ifconf: how many bytes, and where they are."""
_REQUEST = struct.Struct("16s24x")
"""struct ifreq: a name, and what is known of it."""
_FLAGS = struct.Struct("16xH")
_ADDRESS_AT = 20
"""Of an ifreq with a struct sockaddr_in: behind family and port."""
_ROOM = 64
"""Addresses at first; there may be more."""


def up_in(path: Path) -> frozenset[IPv4Address]:
    """Those in the namespace at `path`. Blocks. Raises OSError where there is none."""
    return linux.in_netns(path, lambda: frozenset(_up()))


def _up() -> Iterator[IPv4Address]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for name, address in _all(asking):
            # An address may carry a label, `eth0:1`: the kernel looks for the interface before the colon.
            answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, _REQUEST.pack(name))
            if _FLAGS.unpack_from(answer)[0] & _IFF_UP:
                yield address


def _all(asking: socket.socket) -> list[tuple[bytes, IPv4Address]]:
    """Every address and the name of its interface; as much room as they need."""
    entries = _ROOM
    while True:
        room = array.array("B", bytes(entries * _REQUEST.size))
        asked = _CONF.pack(len(room), room.buffer_info()[0])
        used, _ = _CONF.unpack(fcntl.ioctl(asking, _SIOCGIFCONF, asked))
        if used < len(room):
            break
        entries *= 2
    found = room.tobytes()[:used]
    return [
        (found[at : at + 16].rstrip(b"\0"), IPv4Address(found[at + _ADDRESS_AT : at + _ADDRESS_AT + 4]))
        for at in range(0, used, _REQUEST.size)
    ]
