"""What happens in routers' namespaces, heard as it happens: links, addresses, routes and the rules that lead to them,
forwarding, nftables rules.

Two sockets of the host's namespace hear all routers' (NETLINK_LISTEN_ALL_NSID): the kernel tells them of each namespace
that has a number here, and every router's gets one. Sockets in each namespace would hear the same, at a price: every
message of any namespace is held against every socket of the machine that listens (ADR 16).

The rule: a hint says which router to look at, nothing else; the look decides. Nor is judged whose doing
it was: `catch_up` tells a job that all that it did has been heard, so what is heard later is another's. It reads what
was there when it was called: a storm that goes on holds up no job.

Invariant: a router is listened to before it is looked at. What happens later is heard, or the look has seen it; when
the kernel had to drop messages (ENOBUFS), or could not make one, that is a hint about every router.

Formats: rtnetlink(7), netlink(7), linux/netconf.h, linux/net_namespace.h, linux/netfilter/nf_tables.h.
"""

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gapless.agent.hint import Hint
from gapless.agent.kernel import filters, netns, nsnumbers
from gapless.errors import Unavailable
from gapless.kernel import bpf, comm, limits, refusals
from gapless.kernel.netlink import NETFILTER, ROUTE, Netlink, as_u32, attributes
from gapless.model.router import RouterId

_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP, _LISTEN_ALL_NSID = 1, 8
_LINKS, _ADDRESSES, _ROUTES, _ROUTING_RULES, _FORWARDING, _NUMBERS = 1, 5, 7, 8, 24, 28
"""RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV4_NETCONF, _NSID."""
_RULES: Final = 7
"""NFNLGRP_NFTABLES."""
_NEWLINK, _DELLINK, _DELNSID = 16, 17, 89
_SAID_OF_ROUTERS: Final = frozenset({20, 21, 24, 25, 33, 80})
"""An address, a route, a routing rule that went, a setting: RTM_NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE, _DELRULE,
_NEWNETCONF."""
_NEWGEN, _NEWSETELEM, _DELSETELEM = 10 << 8 | 15, 10 << 8 | 12, 10 << 8 | 14
"""A transaction is over; elements came or went."""
_NSID_OF: Final = 1
_PASSES: Final = 0x1 | 0x10000
"""IFF_UP and IFF_LOWER_UP."""
_IFNAME, _ADDRESS, _MTU, _IFALIAS = 3, 1, 4, 20
_BUFFER_BYTES: Final = 8 << 20
_MESSAGE_BYTES: Final = 1 << 16
_SO_MEMINFO: Final = 55
"""asm-generic/socket.h. What it tells begins with the bytes that wait to be read (SK_MEMINFO_RMEM_ALLOC)."""
_LEAST_BYTES: Final = 256
"""What one message takes of a socket's room, at least: the kernel's own notes on it are longer (SKB_TRUESIZE)."""
_TURN: Final = 256
"""Messages that are read in one turn. A storm leaves the loop, and the other routers, their time."""

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_HELD = struct.Struct("=I")


@dataclass(slots=True)
class _Room:
    """A namespace that is listened to."""

    router_id: RouterId
    path: Path
    links: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    """Its links as they were last told: name, MAC address, MTU, alias, by which a namespace is marked."""


class RouterEvents:
    """The ears of one agent, in the host's namespace. Thread-safe. Raises Unavailable where it may not listen."""

    def __init__(self) -> None:
        self.on_hint: Callable[[Hint], None] = lambda _: None
        """Called with each hint, in whatever thread read it."""
        self.on_steering: Callable[[], RouterId | None] = lambda: None
        """Called when the host's own tables changed in shape: which router to look at for that."""
        self._rooms: dict[int, _Room] = {}
        self._message = bytearray(_MESSAGE_BYTES)
        self._lock = threading.Lock()
        self._is_closed = False
        self._host = Netlink()
        opened: list[socket.socket] = []
        try:
            for family, groups, program, is_everywhere in (
                (
                    ROUTE,
                    (_LINKS, _ADDRESSES, _ROUTES, _ROUTING_RULES, _FORWARDING, _NUMBERS),
                    filters.NO_HOSTS_ENDS,
                    True,
                ),
                (NETFILTER, (_RULES,), filters.only(_NEWGEN, by_others_than=comm.BEAT), True),
                (NETFILTER, (_RULES,), filters.all_but(_NEWGEN, _NEWSETELEM, _DELSETELEM), False),
            ):
                opened.append(_listen(family, groups, program, is_everywhere=is_everywhere))
            self._any = _any_of(opened)
        except OSError as error:
            for each in opened:
                each.close()
            self._host.close()
            what = "cannot listen to what happens in routers' namespaces"
            raise Unavailable(f"{what}: {refusals.why(error)}") from error
        self._links, self._rules, self._tables = opened

    def fileno(self) -> int:
        """To wait for; when it is readable, call `read`. One for all: who waits now and then adds and removes one."""
        return self._any.fileno()

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Those that are read."""
        return self._links, self._rules, self._tables

    def follow(self, host: Netlink, router_id: RouterId, path: Path) -> None:
        """Listen to a router's namespace from now on, if there is one. `host` is a socket of the host's namespace."""
        try:
            with netns.opened(path) as descriptor:
                number = nsnumbers.numbered_namespace(host, descriptor)
        except FileNotFoundError:
            return
        if number is None:
            raise Unavailable(f"the kernel gives namespace {path.name} no number")
        with self._lock:
            room = self._rooms.get(number)
            if room is None or room.router_id != router_id:
                self._rooms[number] = _Room(router_id, path)

    def catch_up(self) -> float:
        """Hear everything that was said before this call, however much is said meanwhile.

        Returns a moment, in monotonic seconds, that is later than all that was heard of so far.
        """
        with self._lock:  # who reads now has told what it read
            left = {} if self._is_closed else {each: _most_unread(each) for each in self.sockets}
        while left:
            left = self._read(left)
        return time.monotonic()

    def read(self) -> None:
        """Read what is there, a turn's worth at most."""
        self._read(dict.fromkeys(self.sockets, _TURN))

    def _read(self, most: dict[socket.socket, int]) -> dict[socket.socket, int]:
        """Read so many messages at most, a turn's worth; how many are left to read where there may be more."""
        hints: dict[RouterId | None, None] = {}
        with self._lock:
            if self._is_closed:
                return {}
            unread = {each: many - _TURN for each, many in most.items() if self._read_socket(each, many, hints)}
            heard_at = time.monotonic()
        for router_id in hints:
            self.on_hint(Hint(heard_at=heard_at, router_id=router_id))
        return {each: many for each, many in unread.items() if many > 0}

    def close(self) -> None:
        """Listen no more."""
        with self._lock:
            self._is_closed = True
            self._any.close()
            for each in self.sockets:
                each.close()
            self._host.close()

    def _read_socket(self, opened: socket.socket, most: int, hints: dict[RouterId | None, None]) -> bool:
        """Whether there may be more."""
        for _ in range(min(most, _TURN)):
            try:
                size, about, _, _ = opened.recvmsg_into([self._message], 64)
            except BlockingIOError:
                return False
            except OSError:
                hints[None] = None  # something was not told: anything may have happened
                continue
            if opened is self._tables:
                hints |= dict.fromkeys(filter(None, (self.on_steering(),)))
                continue
            number = next((struct.unpack("=i", it)[0] for level, kind, it in about if (level, kind) == _NUMBERED), None)
            room = self._rooms.get(number) if number is not None else None
            if opened is self._rules:
                hints |= {room.router_id: None} if room is not None else {}
            else:
                data = bytes(memoryview(self._message)[:size])
                hints |= dict.fromkeys(self._hear_links(data, number, room))
        return True

    def _hear_links(self, data: bytes, number: int | None, room: _Room | None) -> set[RouterId]:
        hints = set()
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            body = data[offset + _HEADER.size : offset + length]
            offset += max(_HEADER.size, (length + 3) & ~3)
            if number is None and kind == _DELNSID:
                hints |= self._hear_end(as_u32(attributes(body, 4).get(_NSID_OF, b"\xff" * 4)))
            elif room is not None and (kind in _SAID_OF_ROUTERS or _is_news_of_a_link(room, kind, body)):
                hints.add(room.router_id)
        return hints

    def _hear_end(self, number: int) -> set[RouterId]:
        """A namespace of this number went. The next one that is numbered gets the number at once, and may be listened
        to by the time at which that is read: then it is the one before that went.
        """
        if (room := self._rooms.get(number)) is None:
            return set()
        if self._number_at(room.path) != number:
            del self._rooms[number]
        return {room.router_id}

    def _number_at(self, path: Path) -> int | None:
        """The number of the namespace that has this name now; None: there is none, or it is not told."""
        try:
            with netns.opened(path) as descriptor:
                return nsnumbers.namespace_number(self._host, descriptor)
        except (FileNotFoundError, Unavailable):
            return None


_NUMBERED: Final = (_SOL_NETLINK, _LISTEN_ALL_NSID)


def _is_news_of_a_link(room: _Room, kind: int, body: bytes) -> bool:
    """Whether a link went, passes no frames, or is another than it was. The kernel tells of much else."""
    if kind not in (_NEWLINK, _DELLINK) or body[:1] != b"\0":
        return False
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    if kind == _DELLINK:
        room.links.pop(index, None)
        return True
    found = attributes(body, _IFINFO.size)
    link = tuple(found.get(attribute, b"") for attribute in (_IFNAME, _ADDRESS, _MTU, _IFALIAS))
    was, room.links[index] = room.links.get(index), link
    return was != link or flags & _PASSES != _PASSES


def _most_unread(opened: socket.socket) -> int:
    """How many times a socket has to be read for all that it holds now, at most.

    Each message takes more than `_LEAST_BYTES`. One time more tells that some were lost before; if some are lost while
    it is read, that is told once, too, until all of it is read.
    """
    held_bytes: int = _HELD.unpack(opened.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _HELD.size))[0]
    return 2 + held_bytes // _LEAST_BYTES


def _any_of(sockets: Iterable[socket.socket]) -> select.epoll:
    """What is readable as soon as one of these is. Raises OSError."""
    made = select.epoll()
    try:
        for each in sockets:
            made.register(each, select.EPOLLIN)
    except OSError:
        made.close()
        raise
    return made


def _listen(family: int, groups: tuple[int, ...], program: bytes, *, is_everywhere: bool) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    try:
        opened.setblocking(False)
        limits.allow_unread(opened, _BUFFER_BYTES)
        bpf.attach(opened, program)
        if is_everywhere:
            opened.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        opened.bind((0, 0))
        for group in groups:
            opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except OSError:
        opened.close()
        raise
    return opened
