"""One tracked connection as bytes: from what a kernel says of it to what makes the same in another kernel. Pure.

A kernel's message names both directions after translation, and its translation only by that difference; a kernel that
is to make the entry wants the original direction, that direction turned round, and the translation by name (`_nat`). It
works the translated direction out itself, and marks the flow as translated only when it did so.

What is taken over: the tuples and the translation, that it was answered and assured, mark, labels, zone; of TCP the
state and the window scales. What is not: counters, helpers and the flows that they expect, sequence adjustments (no
router has helpers: ADR 26). TCP's windows are never told by a kernel, so both directions are made liberal: what the new
one sees first cannot be out of a window (nf_conntrack_proto_tcp.c, IP_CT_TCP_FLAG_BE_LIBERAL).

The timeout is at least `KEPT_S`: a flow that goes on is refreshed by its packets, on the host where they pass, and here
by nothing but the next copy. After a takeover its first packet sets the protocol's own.

Formats: linux/netfilter/nfnetlink_conntrack.h; attributes that the kernel writes for IPv4 have a fixed layout.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from gapless.core.flows.feed import KEPT_S
from gapless.kernel.netlink import attribute, attributes, each_attribute, nested
from gapless.model.flow import NUMBERS

CONNTRACK = 1 << 8
NEW, GET, DELETE, GET_STATS = CONNTRACK | 0, CONNTRACK | 1, CONNTRACK | 2, CONNTRACK | 5
(
    _ORIGINAL,
    _REPLY,
    STATUS,
    _PROTOCOL,
    _NAT_SOURCE,
    _TIMEOUT,
    _MARK,
    _NAT_DESTINATION,
    _ZONE,
    _LABELS,
    STATUS_MASK,
) = (1, 2, 3, 4, 6, 7, 8, 13, 18, 22, 26)
_SEEN_REPLY, ASSURED, _CONFIRMED, _SOURCE_TRANSLATED, _DESTINATION_TRANSLATED = 0x2, 0x4, 0x8, 0x10, 0x20

NFGEN = struct.pack("!BBH", socket.AF_INET, 0, 0)
BODY = 16
"""Where a message's body begins."""
_FLOW = BODY + len(NFGEN)
_TUPLE_BYTES = 52
_TUPLE_END = _FLOW + _TUPLE_BYTES
_REPLY_END = _TUPLE_END + _TUPLE_BYTES
_TUPLE_HEAD = struct.pack("=HH", _TUPLE_BYTES, _ORIGINAL | 0x8000)
_REPLY_HEAD = struct.pack("=HH", _TUPLE_BYTES, _REPLY | 0x8000)
_TUPLE = struct.Struct("=12x4s4x4s8xB3x4x2s2x4x2s2x")
"""Its addresses, protocol and ports; between them stand attributes' heads."""
_PROTOCOL_AT = 32
"""Of a tuple."""
PROTOCOL_AT = _FLOW + _PROTOCOL_AT
"""Of a message, whatever the protocol is."""
_KEPT = frozenset(NUMBERS.values())
_REMOVED = struct.pack("=H", DELETE)
_LENGTH = struct.Struct("=I")
_U32 = struct.Struct(">I")
_TCP_NEST = 1
_TCP_HEAD = struct.pack("=HHHH", 44, _TCP_NEST | 0x8000, 5, 1)
_TCP_HEAD_BYTES = 8
_TCP_PROTOCOL = struct.pack("=HH", 48, _PROTOCOL | 0x8000) + _TCP_HEAD
"""What stands before a TCP flow's state in a message."""
_TCP = struct.Struct("=8xB3x4xB3x4xB3x4xB3x4xB3x")
"""State, both window scales, both directions' flags."""
_TIME_WAIT = 7
"""TCP's states from here on (TIME_WAIT, CLOSE) are of flows that are over."""
_WINDOW_SCALE, _SACK, _LIBERAL = 0x1, 0x2, 0x8
_NAT = struct.Struct("=4s4s4s4s4s4s4s2s2x4s2s2x")
"""An attribute with a range of one address and of one port."""
_NAT_HEADS = {kind: struct.pack("=HH", _NAT.size, kind | 0x8000) for kind in (_NAT_SOURCE, _NAT_DESTINATION)}
_FIRST, _LAST = struct.pack("=HH", 8, 1), struct.pack("=HH", 8, 2)
_PORTS = struct.pack("=HH", 20, 3 | 0x8000)
_FIRST_PORT, _LAST_PORT = struct.pack("=HH", 6, 1), struct.pack("=HH", 6, 2)


@dataclass(slots=True)
class Entry:
    """A tracked connection, as bodies of netlink messages."""

    flow: bytes
    """The tuple of its original direction, and its zone: its name within a namespace."""
    reply: bytes
    """The tuple of the other direction, translated."""
    is_over: bool
    nat: bytes
    state: bytes
    labels: bytes = b""
    """Of a namespace in which some rule uses labels."""

    @property
    def creation(self) -> bytes:
        """The body that makes it where it is not."""
        return NFGEN + self.flow + _turned_round(self.flow) + self.nat + self.state + self.labels

    @property
    def renewal(self) -> bytes:
        """The body that brings it up to date where it is, translated as it should be."""
        return NFGEN + self.flow + self.state + self.labels

    @property
    def without_labels(self) -> "Entry":
        """The same for a namespace in which no rule uses them."""
        return replace(self, labels=b"")


def flow_of(message: bytes) -> bytes | None:
    """What names a message's flow; None for one of a kind that is not kept: without ports, or not of IPv4."""
    flow = message[_FLOW:_TUPLE_END]
    if (
        message[BODY] != socket.AF_INET
        or flow[:4] != _TUPLE_HEAD
        or len(flow) != _TUPLE_BYTES
        or flow[_PROTOCOL_AT] not in _KEPT
    ):
        return None
    return flow


def protocol_of(flow: bytes) -> int:
    """The number of a flow's protocol."""
    return flow[_PROTOCOL_AT]


def is_end(message: bytes) -> bool:
    """Whether a message of a flow that is kept says that it is over: what `Entry.is_over` says, in a tenth of the time.
    Looked for as bytes: no attribute that stands before it holds what a tenant chooses.
    """
    if message[4:6] == _REMOVED:
        return True
    at = message.find(_TCP_PROTOCOL, _REPLY_END)
    return at >= 0 and message[at + len(_TCP_PROTOCOL)] >= _TIME_WAIT


def lacks_state(message: bytes) -> bool:
    """Whether a message of a flow that is kept, and not over, says nothing of its protocol's state, without which no
    kernel makes it. An event says it only where the state changed with it (nf_conntrack_netlink.c, `IPCT_PROTOINFO`):
    a TCP flow that is picked up in the middle is established by its first packet and assured by a later one.
    """
    protocol = message[PROTOCOL_AT]
    if protocol == socket.IPPROTO_TCP:
        return message.find(_TCP_PROTOCOL, _REPLY_END) < 0
    return protocol == socket.IPPROTO_SCTP and _PROTOCOL not in attributes(message, _FLOW)


def name_of(message: bytes) -> bytes:
    """The flow of a message with its zone: what a kernel is asked for it by."""
    zone = attributes(message, _FLOW, only=frozenset({_ZONE}))
    return message[_FLOW:_TUPLE_END] + (attribute(_ZONE, zone[_ZONE]) if zone else b"")


def messages_in(packed: bytes) -> Iterator[bytes]:
    """The messages that stand one behind the other. Raises ValueError where they are none."""
    offset, end = 0, len(packed)
    while offset < end:
        if offset + _FLOW > end:
            raise ValueError("a message is cut short")
        (length,) = _LENGTH.unpack_from(packed, offset)
        if not _FLOW <= length <= end - offset:
            raise ValueError("a message is longer than there is room")
        yield packed[offset : offset + length]
        offset += (length + 3) & ~3


def entry_of(message: bytes) -> Entry | None:
    """What a kernel said of a flow; None for one that is not kept, or that is said in a way which is not known.
    Raises ValueError for what no kernel says.
    """
    flow, reply = flow_of(message), message[_TUPLE_END:_REPLY_END]
    if flow is None or reply[:4] != _REPLY_HEAD or len(reply) != _TUPLE_BYTES:
        return None
    said = dict(each_attribute(message, _REPLY_END))
    name = flow + attribute(_ZONE, said[_ZONE]) if _ZONE in said else flow
    if message[4:6] == _REMOVED or _is_over(said):
        return Entry(name, reply, True, b"", b"")
    if not {STATUS, _TIMEOUT} <= said.keys() or (protocol := _protocol(flow, said)) is None:
        return None
    status, timeout_s = _number(said[STATUS]), _number(said[_TIMEOUT])
    state = [
        attribute(STATUS, _U32.pack(status & (_SEEN_REPLY | ASSURED) | _CONFIRMED)),
        attribute(_TIMEOUT, _U32.pack(max(timeout_s, KEPT_S))),
        protocol,
        attribute(_MARK, said[_MARK]) if _MARK in said else b"",
    ]
    labels = attribute(_LABELS, said[_LABELS]) if _LABELS in said else b""
    return Entry(name, reply, False, _nat(reply, status), b"".join(state), labels)


def _is_over(said: dict[int, bytes]) -> bool:
    """A TCP flow that both ends have closed: what the kernel keeps of it is for stragglers."""
    protocol = said.get(_PROTOCOL, b"")
    return (
        protocol[:_TCP_HEAD_BYTES] == _TCP_HEAD
        and len(protocol) > _TCP_HEAD_BYTES
        and protocol[_TCP_HEAD_BYTES] >= _TIME_WAIT
    )


def _number(value: bytes) -> int:
    if len(value) != _U32.size:
        raise ValueError(f"a number of {len(value)} bytes")
    return int(_U32.unpack(value)[0])


def _protocol(flow: bytes, said: dict[int, bytes]) -> bytes | None:
    """What is kept of the protocol's own state, as an attribute; None where it is not known."""
    protocol = said.get(_PROTOCOL, b"")
    if flow[_PROTOCOL_AT] == socket.IPPROTO_UDP:
        return b""
    if flow[_PROTOCOL_AT] == socket.IPPROTO_SCTP:
        return nested(_PROTOCOL, protocol) if protocol else None
    if len(protocol) < _TCP.size or protocol[:_TCP_HEAD_BYTES] != _TCP_HEAD:
        return None
    state, scale, reply_scale, flags, reply_flags = _TCP.unpack_from(protocol)
    return _tcp(state, scale, reply_scale, flags, reply_flags)


@lru_cache(maxsize=4096)
def _tcp(state: int, scale: int, reply_scale: int, flags: int, reply_flags: int) -> bytes:
    """TCP's attribute, as it is made: flags come with a mask of what they say. There are few different ones."""
    values = [attribute(kind, bytes((value,))) for kind, value in ((1, state), (2, scale), (3, reply_scale))]
    for kind, of_direction in ((4, flags), (5, reply_flags)):
        liberal = of_direction & (_WINDOW_SCALE | _SACK) | _LIBERAL
        values.append(attribute(kind, bytes((liberal, _WINDOW_SCALE | _SACK | _LIBERAL))))
    return nested(_PROTOCOL, nested(_TCP_NEST, *values))


def _nat(reply: bytes, status: int) -> bytes:
    """The translation by name: what answers are addressed to, and what they come from."""
    if not status & (_SOURCE_TRANSLATED | _DESTINATION_TRANSLATED):
        return b""
    source, destination, _, source_port, destination_port = _TUPLE.unpack(reply)
    named = b""
    if status & _SOURCE_TRANSLATED:
        named += _range(_NAT_SOURCE, destination, destination_port)
    if status & _DESTINATION_TRANSLATED:
        named += _range(_NAT_DESTINATION, source, source_port)
    return named


def _range(kind: int, address: bytes, port: bytes) -> bytes:
    return _NAT.pack(_NAT_HEADS[kind], _FIRST, address, _LAST, address, _PORTS, _FIRST_PORT, port, _LAST_PORT, port)


def _turned_round(flow: bytes) -> bytes:
    """The reply's tuple before translation: addresses and ports change places."""
    return b"".join(
        (
            _REPLY_HEAD,
            flow[4:12],
            flow[20:24],
            flow[16:20],
            flow[12:16],
            flow[24:40],
            flow[48:50],
            flow[42:48],
            flow[40:42],
            flow[50:52],
        )
    )
