"""Flows that no packet made: what a kernel would say of them."""

import socket
import struct

from flow_fixtures import CLIENT, GATEWAY, SERVER

from gapless.flows.entries import Entry, entry_of
from gapless.kernel.netlink import attribute, nested

_NEW = 0x100
_ANSWERED_ASSURED_SOURCE_TRANSLATED = 0x1E


def udp_entry(port: int, outer: int | None = None) -> Entry:
    """A UDP flow from this port of the client, through SNAT under port `outer` (None: the same)."""
    outer = port if outer is None else outer
    body = struct.pack("!BBH", socket.AF_INET, 0, 0)
    body += _tuple(1, CLIENT, SERVER, port, 53) + _tuple(2, SERVER, GATEWAY, 53, outer)
    body += attribute(3, struct.pack(">I", _ANSWERED_ASSURED_SOURCE_TRANSLATED)) + attribute(7, struct.pack(">I", 120))
    entry = entry_of(struct.pack("=IHHII", 16 + len(body), _NEW, 0, 0, 0) + body)
    assert entry is not None
    return entry


def _tuple(kind: int, source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    addresses = nested(1, attribute(1, socket.inet_aton(source)), attribute(2, socket.inet_aton(destination)))
    ports = [attribute(2, struct.pack(">H", source_port)), attribute(3, struct.pack(">H", destination_port))]
    return nested(kind, addresses, nested(2, attribute(1, bytes((socket.IPPROTO_UDP,))), *ports))
