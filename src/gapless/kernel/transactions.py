"""nftables transactions by nfnetlink, answered before the call returns.

Why not libnftables: a table can be *owned* by the socket that made it, and then nobody else changes it; the library
keeps its socket to itself. And a renewal of the lease is two messages, a router's part in the steering table seven at
most, its rules some twenty that were copied, encoded in microseconds.

The rule: a transaction takes effect as a whole or not at all, and only while the ruleset's generation is the one that
was expected: whoever changed any table of this namespace in between is noticed by the next transaction. One that
changed nothing, such as the clearing of an empty set, leaves the generation as it is (nf_tables_commit in
nf_tables_api.c).

Formats: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h. Numbers are in network order.
"""

import errno
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from gapless.errors import Conflict, Unavailable
from gapless.kernel.netlink import ACK, ECHO, NETFILTER, REQUEST, attribute, attributes, nested
from gapless.kernel.numbering import Numbers

SUBSYSTEM: Final = 10 << 8
"""Of nftables, in the types of messages."""
GENERAL: Final = struct.Struct("!BBH")
"""struct nfgenmsg: family, version, and what depends on the message."""

_NEWGEN, _GETGEN = 15, 16
_GENERATION_ID = 1
_LAST_GENERATION = 0xFFFFFFFF
_BATCH_BEGIN, _BATCH_END, _BATCH_GENERATION = 16, 17, 1
_NETLINK_ERROR = 2
_TYPE_MASK = 0xFF
_HEADER = struct.Struct("=IHHII")
_SO_SNDBUFFORCE = 32
_SEND_BUFFER_BYTES = 4 << 20
_ANSWER_BYTES = 1 << 17


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a transaction: type within nftables, flags beside REQUEST, attributes."""

    type: int
    flags: int
    body: bytes


class Refusal(Unavailable):
    """The kernel refused a transaction; `number` is its error.

    `is_at_generation`: the ruleset is known to have been at the generation that was expected, so nobody had changed it.
    """

    def __init__(self, number: int, about: str, *, is_at_generation: bool = False) -> None:
        super().__init__(f"{about}: {os.strerror(number)}")
        self.number = number
        self.is_at_generation = is_at_generation


def element(key: bytes, value: bytes = b"") -> bytes:
    """An element of a set, or of a map where it has a value, as it stands in messages about elements."""
    return nested(1, nested(1, attribute(1, key)), nested(2, attribute(1, value)) if value else b"")


def following(generation: int) -> int:
    """The generation after a transaction that changed something: 32 bits, and never 0."""
    return generation % _LAST_GENERATION + 1


class Transactions:
    """A socket of the namespace in which it is made, for tables of one `family`; what it owns only it changes.

    `descriptor`: a socket that was inherited, in which answers to whoever had it before may wait; None: a new one.
    """

    def __init__(self, descriptor: int | None = None, *, family: int = socket.AF_BRIDGE) -> None:
        self._head = GENERAL.pack(family, 0, 0)
        if descriptor is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
        else:
            self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._forget_answers()
        with suppress(PermissionError):  # a transaction is one send; without it, some thousand names fit
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
        self._numbers = Numbers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; a table that it owned stays when it was made to persist."""
        self._socket.close()

    def generation(self) -> int:
        """The number of the ruleset's present state; `following` is the next one's. Raises Unavailable."""
        number = self._numbers.take(1)
        self._send(_pack(SUBSYSTEM | _GETGEN, REQUEST, number, GENERAL.pack(0, 0, 0)))
        for kind, sequence, answer in self._answers():
            if sequence == number and kind != _NETLINK_ERROR:
                return int.from_bytes(attributes(answer, GENERAL.size)[_GENERATION_ID], "big")
        raise Unavailable("the kernel told no generation of its nftables ruleset")

    def commit(self, messages: Sequence[Message], generation: int | None, about: str) -> list[tuple[int, bytes]]:
        """Carry `messages` out as one transaction, on a ruleset that is still at `generation`; None: whatever it is at.

        Returns (type within nftables, body) of what the kernel made of each message with the flag ECHO, in their order:
        it tells that while it carries out, so nobody else comes in between (nf_tables_commit in nf_tables_api.c).
        (Where the first message has it, the kernel tells the new generation, too: that is left out.)

        Raises Conflict when it is not, Refusal with the kernel's reason otherwise; then nothing was done. Unavailable
        of another kind: nobody knows whether it was.
        """
        first = self._numbers.take(len(messages) + 2)
        last = self._numbers.last
        begin = GENERAL.pack(socket.AF_UNSPEC, 0, SUBSYSTEM >> 8)
        expected = attribute(_BATCH_GENERATION, struct.pack("!I", generation)) if generation is not None else b""
        packed = [_pack(_BATCH_BEGIN, REQUEST, first, begin + expected)]
        for sequence, message in enumerate(messages, first + 1):
            # Errors are answered for each message; the last one's answer says that all went well.
            flags = message.flags | REQUEST | (ACK if sequence == last - 1 else 0)
            packed.append(_pack(SUBSYSTEM | message.type, flags, sequence, self._head + message.body))
        packed.append(_pack(_BATCH_END, REQUEST, last, begin))
        self._send(b"".join(packed))
        echoed = self._read_outcome(first, about, is_expecting=generation is not None)
        if len(echoed) != sum(bool(message.flags & ECHO) for message in messages):
            raise Unavailable(f"{about}: the kernel did not tell all that it made")
        return echoed

    def _read_outcome(self, first: int, about: str, *, is_expecting: bool) -> list[tuple[int, bytes]]:
        """The kernel compares generations before it looks at any message (nfnetlink_rcv_batch in nfnetlink.c): what it
        refuses before that it answers to the transaction's beginning.
        """
        answers = [each for each in self._answers() if each[1] >= first]
        errors = [
            (sequence, -struct.unpack_from("=i", answer)[0])
            for kind, sequence, answer in answers
            if kind == _NETLINK_ERROR
        ]
        if not errors:
            raise Unavailable(f"{about}: the kernel did not answer")
        if any(number == errno.ERESTART for _, number in errors):
            raise Conflict(f"{about}: the nftables ruleset was changed by somebody else")
        for sequence, number in errors:
            if number:
                raise Refusal(number, about, is_at_generation=is_expecting and sequence > first)
        return [
            (kind & _TYPE_MASK, answer)
            for kind, _, answer in answers
            if kind not in (_NETLINK_ERROR, SUBSYSTEM | _NEWGEN)
        ]

    def _send(self, packed: bytes) -> None:
        try:
            self._socket.send(packed)
        except OSError as error:
            raise Unavailable(f"the kernel took no nftables transaction: {error.strerror or error}") from error

    def _forget_answers(self) -> None:
        while True:
            try:
                self._socket.recv(_ANSWER_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # The kernel says once that an answer was lost.

    def _answers(self) -> list[tuple[int, int, bytes]]:
        """(type, sequence, body) of each answer. The kernel answers within the call that sends, so nobody waits."""
        answers: list[tuple[int, int, bytes]] = []
        while True:
            try:
                data = self._socket.recv(_ANSWER_BYTES)
            except BlockingIOError:
                return answers
            except OSError as error:
                raise Unavailable(f"an answer about nftables was lost: {error.strerror or error}") from error
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
                answers.append((kind, sequence, data[offset + _HEADER.size : offset + length]))
                offset += (length + 3) & ~3


def _pack(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body
