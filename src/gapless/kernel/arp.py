"""Gratuitous ARP and ARP probes as frames. Format: RFC 826, RFC 5227 section 1.1, RFC 5944 section 4.6."""

import struct
from ipaddress import IPv4Address
from typing import Final

ETHERTYPE: Final = 0x0806

_BROADCAST = b"\xff" * 6
REQUEST, REPLY = 1, 2
_ARP = struct.Struct("!HHBBH6s4s6s4s")
FRAME_BYTES: Final = 14 + _ARP.size
"""Without the padding of a short frame."""


def frames(mac: str, address: IPv4Address) -> tuple[bytes, bytes]:
    """The two frames that announce `address` at `mac`: a request and a reply (arping -U and -A).

    Both, because some devices heed only one of the two.
    """
    source = bytes.fromhex(mac.replace(":", ""))
    head = _BROADCAST + source + struct.pack("!H", ETHERTYPE)
    return (
        head + _ARP.pack(1, 0x0800, 6, 4, REQUEST, source, address.packed, b"\0" * 6, address.packed),
        head + _ARP.pack(1, 0x0800, 6, 4, REPLY, source, address.packed, source, address.packed),
    )


def probe(to: bytes, source: bytes, address: IPv4Address) -> bytes:
    """A question for `address` that says nothing of who asks (RFC 5227, 1.1); `to` and `source`: MAC addresses."""
    head = to + source + struct.pack("!H", ETHERTYPE)
    return head + _ARP.pack(1, 0x0800, 6, 4, REQUEST, source, b"\0" * 4, b"\0" * 6, address.packed)


def answer(frame: bytes) -> tuple[bytes, IPv4Address]:
    """Who answers, from the frame of a reply: the MAC address and the address. Raises struct.error."""
    *_, mac, address, _, _ = _ARP.unpack_from(frame, 14)
    return mac, IPv4Address(address)
