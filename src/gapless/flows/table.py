"""A router's table of tracked connections in the kernel: entries made, renewed and removed, and all of them read.

Through ctnetlink, many requests a system call, and one answer for all that went well: only the last one of a batch asks
for an acknowledgement, those that fail are answered anyway. A request that does not know whether its flow is there
already costs nothing more when it is not; when it is, that is what the kernel says, and it is removed and made anew,
because a flow's translation cannot be changed.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gapless.errors import Unavailable
from gapless.flows import entries
from gapless.flows.entries import BODY, Entry, messages_in
from gapless.kernel.netlink import ACK, CREATE, DUMP, EXCLUSIVE, NETFILTER, REQUEST, TIMEOUT_S, attribute, attributes
from gapless.kernel.netns import enter
from gapless.kernel.numbering import Numbers

BATCH = 100
"""Requests in one `sendmsg`: refusals of all of them fit a default receive buffer."""
_HEADER = struct.Struct("=IHHII")
_FLOW = BODY + len(entries.NFGEN)
_SOL_NETLINK, _CAP_ACK = 270, 10
_ERROR, _DONE = 2, 3
_ENDS = (struct.pack("=H", _ERROR), struct.pack("=H", _DONE))
_LISTED = struct.pack("=H", entries.NEW)
_ASSURED = struct.pack(">I", entries.ASSURED)
_ONLY_ASSURED = attribute(entries.STATUS, _ASSURED) + attribute(entries.STATUS_MASK, _ASSURED)
_COUNT = 1
"""CTA_STATS_GLOBAL_ENTRIES."""
_IS_THERE = frozenset({errno.EOPNOTSUPP, errno.EEXIST})
"""Or, of the second, its port is another flow's."""
_IS_FULL = frozenset({errno.ENOMEM, errno.ENOSPC})
"""There are `nf_conntrack_max` in the namespace, or too many in one place of the hash table."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that the kernel did not take. `is_full`: for want of room, of which there may be more later."""

    entry: Entry
    is_full: bool


class Table:
    """One socket, in one namespace. Each call raises Unavailable where the kernel does not answer."""

    def __init__(self, path: Path) -> None:
        """Of the namespace at `path`. Raises Unavailable, FileNotFoundError."""
        self._socket = enter(path, _open)
        self._numbers = Numbers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the namespace; what was made in it stays."""
        self._socket.close()

    def make(self, made: Sequence[Entry]) -> list[Refusal]:
        """Have these in the table as they are given; those that the kernel did not take."""
        failed = self._ask_with_labels(CREATE, made, lambda entry: entry.creation)
        refused = [_refusal(made[place], number) for place, number in failed if number not in _IS_THERE]
        again = [made[place] for place, number in failed if number in _IS_THERE]
        if again:
            self.remove(entry.flow for entry in again)
            failed = self._ask([(entries.NEW, CREATE, entry.creation) for entry in again])
            refused += [_refusal(again[place], number) for place, number in failed]
        return refused

    def add(self, made: Sequence[Entry]) -> list[Refusal]:
        """Have those of these in the table that are not there; what is there stays as it is. Those that it did not
        take.

        Of a flow without a translation the kernel would bring up to date what is there. Of one with it, it does not
        (EOPNOTSUPP), and says otherwise when its port is another one's (EEXIST).
        """
        flags = [CREATE if entry.nat else CREATE | EXCLUSIVE for entry in made]
        failed = self._ask([(entries.NEW, flag, entry.creation) for flag, entry in zip(flags, made, strict=True)])
        there = [errno.EOPNOTSUPP if entry.nat else errno.EEXIST for entry in made]
        return [_refusal(made[place], number) for place, number in failed if number != there[place]]

    def renew(self, there: Sequence[Entry]) -> list[Refusal]:
        """Bring these up to date, which are there with the same translation; those that it did not take."""
        failed = self._ask_with_labels(0, there, lambda entry: entry.renewal)
        return [_refusal(there[place], number) for place, number in failed]

    def remove(self, gone: Iterable[bytes]) -> None:
        """Have none of these flows in the table."""
        self._ask([(entries.DELETE, 0, entries.NFGEN + flow) for flow in gone])

    def some(self, names: Sequence[bytes]) -> list[bytes]:
        """What the kernel says now of these flows (`entries.name_of`), those that are there: all of each."""
        said: list[bytes] = []
        for start in range(0, len(names), BATCH):
            said += self._some(names[start : start + BATCH])
        return said

    def _some(self, names: Sequence[bytes]) -> list[bytes]:
        """Each is answered once: by its entry, or by why there is none."""
        first = self._numbers.take(len(names))
        last = self._numbers.last
        self._send(
            b"".join(
                _HEADER.pack(_FLOW + len(name), entries.GET, REQUEST, sequence, 0) + entries.NFGEN + name
                for sequence, name in enumerate(names, first)
            )
        )
        said: list[bytes] = []
        while True:
            for message in messages_in(self._receive()):
                _, kind, _, sequence, _ = _HEADER.unpack_from(message)
                if kind == entries.NEW and first <= sequence <= last:
                    said.append(message)
                if sequence == last:
                    return said

    def assured(self) -> Iterator[list[bytes]]:
        """The messages of all assured entries, some a step: the kernel lists them as they are asked for.

        Of a namespace that has none, no list is asked for: the kernel would walk the entries of all others for it.
        """
        return self._listed(_ONLY_ASSURED)

    def all(self) -> Iterator[list[bytes]]:
        """The same of all entries, assured or not."""
        return self._listed(b"")

    def _listed(self, only: bytes) -> Iterator[list[bytes]]:
        if self._is_empty():
            return
        body = entries.NFGEN + only
        self._send(_HEADER.pack(BODY + len(body), entries.GET, REQUEST | DUMP, self._numbers.take(1), 0) + body)
        while True:
            listed = list(messages_in(self._receive()))
            yield [message for message in listed if message[4:6] == _LISTED]
            for message in listed:
                if message[4:6] in _ENDS:
                    _check_end(message)
                    return

    def _is_empty(self) -> bool:
        """Whether the kernel counts no entry in this namespace, assured or not; False where it does not tell."""
        asked = self._numbers.take(1)
        self._send(_HEADER.pack(_FLOW, entries.GET_STATS, REQUEST, asked, 0) + entries.NFGEN)
        while True:
            for message in messages_in(self._receive()):
                _, kind, _, sequence, _ = _HEADER.unpack_from(message)
                if sequence == asked:
                    return kind == entries.GET_STATS and not any(_counted(message))

    def _ask_with_labels(
        self, flags: int, asked: Sequence[Entry], body: Callable[[Entry], bytes]
    ) -> list[tuple[int, int]]:
        """As `_ask`. An entry that was made where no rule used labels has no room for any, and the kernel refuses it
        with them (ENOSPC, `nf_connlabels_replace`): then it is asked for without.
        """
        failed = self._ask([(entries.NEW, flags, body(entry)) for entry in asked])
        labelled = [place for place, number in failed if number == errno.ENOSPC and asked[place].labels]
        still = self._ask([(entries.NEW, flags, body(asked[place].without_labels)) for place in labelled])
        others = [(place, number) for place, number in failed if place not in set(labelled)] if labelled else failed
        return others + [(labelled[place], number) for place, number in still]

    def _ask(self, requests: Sequence[tuple[int, int, bytes]]) -> list[tuple[int, int]]:
        """Carry these out in order; the places of those that failed, with their error numbers."""
        failed: list[tuple[int, int]] = []
        for start in range(0, len(requests), BATCH):
            failed += self._ask_batch(start, requests[start : start + BATCH])
        return failed

    def _ask_batch(self, start: int, requests: Sequence[tuple[int, int, bytes]]) -> list[tuple[int, int]]:
        first = self._numbers.take(len(requests))
        last = self._numbers.last
        packed = b"".join(
            _HEADER.pack(BODY + len(body), kind, flags | REQUEST | (ACK if sequence == last else 0), sequence, 0) + body
            for sequence, (kind, flags, body) in enumerate(requests, first)
        )
        self._send(packed)
        failed = []
        while True:
            for sequence, number in _errors(self._receive()):
                if number and first <= sequence <= last:
                    failed.append((start + sequence - first, number))
                if sequence == last:
                    return failed

    def _send(self, packed: bytes) -> None:
        try:
            self._socket.send(packed)
        except OSError as error:
            raise Unavailable(f"the kernel took no request about flows: {error.strerror or error}") from error

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 18)
        except OSError as error:  # a TimeoutError too
            raise Unavailable(f"the kernel's answer about flows was lost: {error.strerror or error}") from error


def _refusal(entry: Entry, number: int) -> Refusal:
    return Refusal(entry, is_full=number in _IS_FULL)


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
    opened.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
    opened.settimeout(TIMEOUT_S)
    return opened


def _counted(message: bytes) -> bytes:
    """How many entries there are, in four bytes; a message that does not say so does not say none."""
    return attributes(message, _FLOW).get(_COUNT, b"?")


def _errors(packed: bytes) -> Iterator[tuple[int, int]]:
    """Sequence and error number of each answer; 0: an acknowledgement."""
    for message in messages_in(packed):
        _, kind, _, sequence, _ = _HEADER.unpack_from(message)
        if kind == _ERROR:
            yield sequence, -struct.unpack_from("=i", message, BODY)[0]


def _check_end(message: bytes) -> None:
    """The end of a list says whether it is one. Raises Unavailable."""
    number = -struct.unpack_from("=i", message, BODY)[0]
    if number:
        raise Unavailable(f"the kernel does not list flows: {os.strerror(number)}")


def namespace_of(path: Path) -> tuple[int, int] | None:
    """What tells one namespace from another one that gets its name later; None where there is none now."""
    try:
        found = os.stat(path)  # noqa: PTH116 -- asked of a thousand routers again and again; Path costs thrice as much
    except OSError:
        return None
    return found.st_dev, found.st_ino
