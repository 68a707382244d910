"""Flows that no packet made: what a kernel would say of them."""

import socket
import struct

from flow_fixtures import CLIENT, GATEWAY, SERVER

from gapless.flows.entries import ASSURED, Entry, entry_of
from gapless.kernel.netlink import attribute, nested

_NEW = 0x100
_ANSWERED_ASSURED_SOURCE_TRANSLATED = 0x1E
_ANSWERED_SOURCE_TRANSLATED = _ANSWERED_ASSURED_SOURCE_TRANSLATED & ~ASSURED
_ANSWERED_ASSURED = _ANSWERED_ASSURED_SOURCE_TRANSLATED & ~0x10
_SCTP_ESTABLISHED = b"\4"  # linux/netfilter/nf_conntrack_sctp.h


def udp_entry(port: int, outer: int | None = None, *, is_assured: bool = True) -> Entry:
    """A UDP flow from this port of the client, through SNAT under port `outer` (None: the same)."""
    status = _ANSWERED_ASSURED_SOURCE_TRANSLATED if is_assured else _ANSWERED_SOURCE_TRANSLATED
    return _entry(socket.IPPROTO_UDP, port, port if outer is None else outer, status=status)


def labelled_entry(port: int, labels: bytes, answers_to: str = GATEWAY) -> Entry:
    """A UDP flow from this port of the client with these labels; through SNAT, unless answers go to the client."""
    status = _ANSWERED_ASSURED if answers_to == CLIENT else _ANSWERED_ASSURED_SOURCE_TRANSLATED
    return _entry(socket.IPPROTO_UDP, port, port, attribute(22, labels), status, answers_to)


def routed_entry(port: int) -> Entry:
    """A UDP flow from this port of the client that is not translated."""
    return _entry(socket.IPPROTO_UDP, port, port, status=_ANSWERED_ASSURED, answers_to=CLIENT)


def sctp_entry(port: int) -> Entry:
    """An SCTP association from this port of the client, established, through SNAT."""
    tags = attribute(2, struct.pack(">I", 1234)) + attribute(3, struct.pack(">I", 5678))
    return _entry(socket.IPPROTO_SCTP, port, port, nested(4, nested(3, attribute(1, _SCTP_ESTABLISHED), tags)))


def _entry(
    protocol: int,
    port: int,
    outer: int,
    state: bytes = b"",
    status: int = _ANSWERED_ASSURED_SOURCE_TRANSLATED,
    answers_to: str = GATEWAY,
) -> Entry:
    body = struct.pack("!BBH", socket.AF_INET, 0, 0)
    body += _tuple(1, protocol, CLIENT, SERVER, port, 53) + _tuple(2, protocol, SERVER, answers_to, 53, outer)
    body += attribute(3, struct.pack(">I", status)) + attribute(7, struct.pack(">I", 120))
    body += state
    entry = entry_of(struct.pack("=IHHII", 16 + len(body), _NEW, 0, 0, 0) + body)
    assert entry is not None
    return entry


def _tuple(kind: int, protocol: int, source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    addresses = nested(1, attribute(1, socket.inet_aton(source)), attribute(2, socket.inet_aton(destination)))
    ports = [attribute(2, struct.pack(">H", source_port)), attribute(3, struct.pack(">H", destination_port))]
    return nested(kind, addresses, nested(2, attribute(1, bytes((protocol,))), *ports))
