"""Tracked connections that nobody opened, as messages for ctnetlink: TCP through SNAT, as a router with many has them.

To the kernel's table and to its events they are as good as others: answered, assured, translated. A flow has a number,
from which its addresses and its port follow. Pure.
"""

import socket
import struct

from gapless.kernel.netlink import attribute, nested

ESTABLISHED, FIN_WAIT, LAST_ACK, TIME_WAIT = 3, 4, 6, 7
_HEADER = struct.Struct("=IHHII")


def established(number: int) -> bytes:
    """A flow through SNAT begins."""
    inside, outside, gateway, port = parts(number)
    translation = nested(3, attribute(1, port), attribute(2, port))
    nat = nested(6, attribute(1, gateway), attribute(2, gateway), translation)
    both_ways = endpoints(1, inside, outside, port, b"\x13\x89") + endpoints(2, outside, inside, b"\x13\x89", port)
    return message(0x100, 0x401, both_ways + nat + state(ESTABLISHED))


def in_state(number: int, tcp: int) -> bytes:
    """It goes into another state of TCP."""
    inside, outside, _, port = parts(number)
    return message(0x100, 0x1, endpoints(1, inside, outside, port, b"\x13\x89") + state(tcp))


def forgotten(number: int) -> bytes:
    """The kernel forgets it."""
    inside, outside, _, port = parts(number)
    return message(0x102, 0x1, endpoints(1, inside, outside, port, b"\x13\x89"))


def all_forgotten() -> bytes:
    """The kernel forgets every connection of its namespace, whoever made it."""
    return message(0x102, 0x1, b"")


def parts(number: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Addresses and port of a flow."""
    block, port = divmod(number, 60_000)
    return (
        bytes((10, 0, 1, block)),
        bytes((198, 51, 100, 10 + block)),
        b"\xc6\x33\x64\x01",
        struct.pack(">H", 1024 + port),
    )


def endpoints(kind: int, source: bytes, destination: bytes, source_port: bytes, destination_port: bytes) -> bytes:
    """A tuple of TCP."""
    addresses = nested(1, attribute(1, source), attribute(2, destination))
    return nested(
        kind, addresses, nested(2, attribute(1, b"\x06"), attribute(2, source_port), attribute(3, destination_port))
    )


def state(tcp: int) -> bytes:
    """Answered and assured, in this state of TCP."""
    values = [attribute(1, bytes((tcp,))), attribute(2, b"\x07"), attribute(3, b"\x07")]
    flags = [attribute(kind, b"\x0b\x0b") for kind in (4, 5)]
    timeout_s = 432_000 if tcp == ESTABLISHED else 120
    return (
        attribute(3, struct.pack(">I", 0xE))
        + attribute(7, struct.pack(">I", timeout_s))
        + nested(4, nested(1, *values, *flags))
    )


def message(kind: int, flags: int, body: bytes) -> bytes:
    """For ctnetlink, of IPv4."""
    return _HEADER.pack(20 + len(body), kind, flags, 0, 0) + struct.pack("!BBH", socket.AF_INET, 0, 0) + body
