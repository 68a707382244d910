"""Netlink, as little of it as is needed: messages out in batches, attributes in, every error told by its message.

Why not a library's calls: one router is some fifteen requests. Sent in one `sendmsg` each direction they cost what the
kernel costs; encoding and decoding with pyroute2 took 0.2 and 0.4 ms a message, more than the kernel's own work.

Of requests that travel together the last one alone is acknowledged, unless it has an answer anyhow: the kernel works
them off within the call that sends, in order, and answers those that failed unasked. And the kernel keeps the time of a
wait. Each system call lets go of Python's global lock, and beside another thread at work it costs more to get that back
than to make the call.

The rule: a request may wait `TIMEOUT_S` for its answer and no longer. Formats: linux/netlink.h, RFC 3549.
"""

import contextlib
import errno
import fcntl
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from gapless.errors import Unavailable
from gapless.kernel import refusals
from gapless.kernel.numbering import Numbers

TIMEOUT_S = 10.0

REQUEST, ACK, ECHO, DUMP = 0x1, 0x4, 0x8, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800

ROUTE, NETFILTER = 0, 12
"""Netlink families."""

_ERROR, _DONE = 2, 3
_DUMP_INTERRUPTED = 0x10
_ACK_TLVS = 0x200
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_ERROR_TEXT = 1
_SIOCGSKNS = 0x894C  # linux/sockios.h
_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK, _STRICT_CHECK = 10, 11, 12
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TIMEVAL = struct.Struct("@ll")
_BATCH = 64
"""Requests in one `sendmsg`: their answers fit a default receive buffer."""
_ROOM_BYTES = 1 << 16
"""For what one `recv` brings. The kernel packs 32 KiB of a list at most."""
_DUMP_ATTEMPTS = 5

Attributes = Mapping[int, bytes]


class _OfThread(threading.local):
    """What each thread receives into: to clear so much memory for each socket takes longer than to open it."""

    def __init__(self) -> None:
        self.room = bytearray(_ROOM_BYTES)


_mine = _OfThread()


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel: type, flags beside REQUEST and ACK, body, and what it is about, for errors."""

    type: int
    flags: int
    body: bytes
    about: str
    forgives: frozenset[int] = frozenset()
    """Error numbers that mean that it is already so."""
    is_question: bool = False
    """The kernel answers it with one message, or with an error: no acknowledgement is needed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel said to one request; `messages` are bodies that it sent before the acknowledgement."""

    error: int
    text: str
    messages: tuple[bytes, ...]


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def text(kind: int, value: str) -> bytes:
    """An attribute with a zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """An attribute with a number in host order."""
    return attribute(kind, struct.pack("=I", value))


def u8(kind: int, value: int) -> bytes:
    """An attribute with one byte."""
    return attribute(kind, bytes((value,)))


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def attributes(data: bytes, offset: int = 0, *, only: frozenset[int] | None = None) -> dict[int, bytes]:
    """The attributes from `offset` on, by type; of a type that repeats, the last. Or `only` those of these types, which
    do not repeat.

    A link has some fifty, most of which nobody asks for: they are passed over without being copied, and those behind
    the last one are not looked at.
    """
    found = {}
    last = len(data) - 4
    while offset <= last:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        kind &= _TYPE_MASK
        if only is None or kind in only:
            found[kind] = data[offset + 4 : offset + length]
            if only is not None and len(found) == len(only):
                break
        offset += (length + 3) & ~3
    return found


def each_attribute(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes from `offset` on, in order."""
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def as_text(payload: bytes) -> str:
    """A string attribute's value."""
    return payload.rstrip(b"\0").decode(errors="replace")


def as_u32(payload: bytes) -> int:
    """A number in host order."""
    return int.from_bytes(payload[:4], "little" if struct.pack("=H", 1)[0] else "big")


class Netlink:
    """A netlink socket of the network namespace in which it is made, wherever it is used from later.

    Raises Unavailable where the kernel gives none.
    """

    def __init__(self, family: int = ROUTE) -> None:
        with refusals.told("open a netlink socket"):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT_CHECK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        seconds = int(TIMEOUT_S)
        patience = _TIMEVAL.pack(seconds, int((TIMEOUT_S - seconds) * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        self._numbers = Numbers()
        self.is_answered = True
        """Whether all that was asked so far was answered."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_namespace(self) -> int:
        """A descriptor of the socket's namespace, by which nobody keeps any mount of it busy (ioctl SIOCGSKNS). Raises
        OSError.
        """
        return fcntl.ioctl(self._socket, _SIOCGSKNS)

    def close(self) -> None:
        """Close the socket; what it changed stays."""
        self._socket.close()

    def carry_out(self, requests: Sequence[Request]) -> list[Answer]:
        """Send `requests` in order and wait for every answer; raises Unavailable with the first one that failed."""
        answers = self.ask(requests)
        for request, answer in zip(requests, answers, strict=True):
            if answer.error and answer.error not in request.forgives:
                raise Unavailable(f"{request.about}: {refusals.words(answer.error, text=answer.text)}")
        return answers

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Send `requests` in order, many a system call; one answer each, errors included."""
        answers: list[Answer] = []
        for start in range(0, len(requests), _BATCH):
            answers += self._ask_batch(requests[start : start + _BATCH])
        return answers

    def _ask_batch(self, requests: Sequence[Request]) -> list[Answer]:
        first = self._numbers.take(len(requests))
        last = self._numbers.last
        packed = b"".join(
            _HEADER.pack(
                16 + len(request.body),
                request.type,
                request.flags | REQUEST | (ACK if sequence == last and not request.is_question else 0),
                sequence,
                0,
            )
            + request.body
            + b"\0" * (-len(request.body) % 4)
            for sequence, request in enumerate(requests, first)
        )
        self._send(packed)
        failures: dict[int, tuple[int, str]] = {}
        messages: dict[int, list[bytes]] = {}
        ends_with_question = bool(requests) and requests[-1].is_question
        while last not in failures and not (ends_with_question and last in messages):
            for kind, flags, sequence, body in self._receive():
                if not first <= sequence <= last:
                    continue  # a late answer to a request that was given up
                if kind == _ERROR:
                    failures[sequence] = _failure(flags, body)
                else:
                    messages.setdefault(sequence, []).append(body)
        return [
            Answer(*failures.get(sequence, (0, "")), tuple(messages.get(sequence, ())))
            for sequence in range(first, last + 1)
        ]

    def dump(self, kind: int, body: bytes, about: str, empty: frozenset[int] = frozenset()) -> list[bytes]:
        """The bodies of all messages of a dump; taken again when the kernel says that it changed meanwhile.

        Error numbers in `empty` mean that there is nothing. Raises Unavailable with the reason.
        """
        for _ in range(_DUMP_ATTEMPTS):
            messages, was_interrupted = self._dump_once(kind, body, about, empty)
            if not was_interrupted:
                return messages
        raise Unavailable(f"{about}: it changed faster than it could be read")

    def _dump_once(self, kind: int, body: bytes, about: str, empty: frozenset[int]) -> tuple[list[bytes], bool]:
        number = self._numbers.take(1)
        self._send(_HEADER.pack(16 + len(body), kind, REQUEST | DUMP, number, 0) + body)
        messages: list[bytes] = []
        was_interrupted = False
        while True:
            for answer_kind, flags, sequence, answer in self._receive():
                if sequence != number:
                    continue
                was_interrupted |= bool(flags & _DUMP_INTERRUPTED)
                if answer_kind in (_ERROR, _DONE):
                    error = -struct.unpack_from("=i", answer)[0] if len(answer) >= 4 else 0
                    if error > 0 and error not in empty:
                        raise Unavailable(f"{about}: {refusals.words(error)}")
                    return messages, was_interrupted
                messages.append(answer)

    def _send(self, packed: bytes) -> None:
        try:
            self._socket.send(packed)
        except OSError as error:
            raise Unavailable(f"the kernel took no netlink request: {refusals.why(error)}") from error

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        room = _mine.room
        try:
            size = self._socket.recv_into(room)
        except BlockingIOError as error:
            self.is_answered = False
            raise Unavailable(f"the kernel did not answer a netlink request within {TIMEOUT_S:g} s") from error
        except OSError as error:
            self.is_answered = False
            raise Unavailable(f"a netlink answer was lost: {error.strerror or error}") from error
        data = bytes(memoryview(room)[:size])
        offset = 0
        while offset + 16 <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            yield kind, flags, sequence, data[offset + 16 : offset + length]
            offset += (length + 3) & ~3


class Lent:
    """Sockets of the namespace of the threads that borrow them, used again and again. Thread-safe."""

    def __init__(self, family: int = ROUTE) -> None:
        self._family = family
        self._free: list[Netlink] = []
        self._is_closed = False

    @contextlib.contextmanager
    def one(self) -> Iterator[Netlink]:
        """One for as long as the block lasts. After an error in the block, or an answer that did not come, it is not
        used again: the kernel may be in the middle of a list, and would begin no other. Raises Unavailable.
        """
        try:
            lent = self._free.pop()
        except IndexError:
            lent = Netlink(self._family)
        try:
            yield lent
        except BaseException:
            lent.close()
            raise
        if not lent.is_answered:
            lent.close()
            return
        self._free.append(lent)
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Close those that nobody has, and the others when they are given back."""
        self._is_closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._free.pop().close()


def _failure(flags: int, body: bytes) -> tuple[int, str]:
    """An error's number and explanation; 0 is an acknowledgement."""
    # With NETLINK_CAP_ACK the request's header, without its body, stands between the number and the explanation.
    said = attributes(body, 20).get(_ERROR_TEXT, b"") if flags & _ACK_TLVS else b""
    return -struct.unpack_from("=i", body)[0], as_text(said)


ALREADY_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})
"""Errors of a removal that mean that there is nothing left to remove."""
