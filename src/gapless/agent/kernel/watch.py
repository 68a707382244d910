"""Hints that a router may have drifted: something happened in its namespace (`events`); a tap, bridge, tunnel or uplink
went, went down, was unplugged or changed its device group, which says whether it is guarded; a namespace's name went.

The rule: a hint says "look at this router sooner", never what is wrong; the reconcile observes for itself. Hints may
be lost (the kernel drops notifications when a reader is slow, and says so); the periodic audit finds the rest. What
passes frames is listed anew then: of a link that was never heard of, nothing would be heard later either. Of links that
are down and stay so nothing is heard at all (`filters`): which ones passed frames is remembered from when they did.
Sources: rtnetlink(7) link notifications, inotify(7) on /run/netns.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from gapless.agent.hint import Hint
from gapless.agent.kernel import filters, linkformat, links, netns
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.links import Outline
from gapless.errors import Unavailable
from gapless.kernel import bpf, limits, refusals, threads
from gapless.kernel.netlink import Netlink
from gapless.kernel.refusals import Trying
from gapless.model.network import NetworkId
from gapless.model.observed import DOOMED_GROUP, NAMESPACE_PREFIX, TAP_PREFIX
from gapless.model.router import RouterId
from gapless.observe.log import get_logger

_LINK_CHANGES: Final = 0x1
"""RTMGRP_LINK."""
_BUFFER_BYTES: Final = 8 << 20
_REST_S: Final = 0.01
"""Between two turns of reading."""
_LIST_AGAIN_S: Final = 1.0
"""After a listing of links that failed."""
_TURN: Final = 256
_MESSAGE_BYTES: Final = 1 << 16
_IN_DELETE: Final = 0x200
_IN_Q_OVERFLOW: Final = 0x4000
_INOTIFY_HEADER = struct.Struct("=iIII")
_NETLINK_HEADER = struct.Struct("=IHHII")

_libc = ctypes.CDLL(None, use_errno=True)


class DriftWatcher:
    """`async for hint in watcher`. Hints that nobody has taken yet are merged, and come in the order of their arrival.

    Make it inside a running event loop, in the host's network namespace. It owns the events.
    """

    def __init__(self, events: RouterEvents, directory: Path = netns.DIRECTORY, *, uplinks: Iterable[str] = ()) -> None:
        """`uplinks`: the physical networks' interfaces. Raises Unavailable where the kernel does not let us watch."""
        self._uplinks = frozenset(uplinks)
        self._loop = asyncio.get_running_loop()
        self._pending: dict[tuple[RouterId | None, NetworkId | None], Hint] = {}
        self._news = asyncio.Event()
        self._is_closed = False
        self._events = events
        self._passing: dict[int, Outline] = {}
        self._has_missed = False
        """The kernel drops notifications until all that it holds is read."""
        self._is_stale = False
        """What passes frames is to be listed anew."""
        self._log = get_logger()
        with contextlib.ExitStack() as undo:
            self._link_socket = undo.enter_context(_open_link_socket())
            self._names = _watch_directory(directory)
            undo.callback(os.close, self._names)
            self._lister = threads.started(1, "watch this host's links", "links")
            undo.callback(self._lister.shutdown, wait=False)
            for link in self._lister.submit(_listed).result():
                self._note_link(link)
            undo.pop_all()
        self._hear_links()
        self._loop.add_reader(self._names, self._read_names)
        events.on_hint = self._hint_from_any_thread
        self._hear_events()

    async def __aiter__(self) -> AsyncIterator[Hint]:
        while True:
            await self._news.wait()
            if self._is_closed:
                return
            hint = self._pending.pop(next(iter(self._pending)))
            if not self._pending:
                self._news.clear()
            yield hint

    def close(self) -> None:
        """Stop watching; the iteration ends."""
        if self._is_closed:
            return
        self._is_closed = True
        self._events.on_hint = lambda _: None
        for descriptor in (self._link_socket.fileno(), self._names, self._events.fileno()):
            self._loop.remove_reader(descriptor)
        self._link_socket.close()
        self._lister.shutdown(wait=False)
        os.close(self._names)
        self._events.close()
        self._news.set()

    def _hint(self, router_id: RouterId | None, network_id: NetworkId | None = None) -> None:
        self._take(Hint(heard_at=time.monotonic(), router_id=router_id, network_id=network_id))

    def _hint_from_any_thread(self, hint: Hint) -> None:
        with contextlib.suppress(RuntimeError):  # a job outlives the loop
            self._loop.call_soon_threadsafe(self._take, hint)

    def _take(self, hint: Hint) -> None:
        self._pending[hint.router_id, hint.network_id] = hint
        self._news.set()

    def _hear_events(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._events.fileno(), self._read_events)

    def _read_events(self) -> None:
        """A turn's worth; then they wait. A storm, and a build, of which much is told, leave others their time.

        Whatever comes of it, the next turn comes.
        """
        try:
            self._events.read()
        finally:
            self._loop.remove_reader(self._events.fileno())
            self._loop.call_later(_REST_S, self._hear_events)

    def _hear_links(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._link_socket.fileno(), self._read_links)

    def _read_links(self) -> None:
        """As with events. Once all is read, what was dropped before is made up for."""
        if self._is_closed:
            return
        is_empty = False
        try:
            is_empty = self._read_turn()
        finally:
            self._loop.remove_reader(self._link_socket.fileno())
            self._go_on(is_empty)

    def _read_turn(self) -> bool:
        """Whether all was read. An error, whichever, says that something was not told."""
        for _ in range(_TURN):
            try:
                message = self._link_socket.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                self._has_missed = True
            else:
                self._note(message)
        return False

    def _go_on(self, is_empty: bool) -> None:
        if is_empty and self._has_missed:
            self._has_missed, self._is_stale = False, True
            self._hint(None)  # anything may have happened
        if is_empty and self._is_stale:
            self._list_anew()
        else:
            self._loop.call_later(_REST_S, self._read_links if self._has_missed or self._is_stale else self._hear_links)

    def _list_anew(self) -> None:
        """In a thread, for the kernel may take its time. Nothing is read meanwhile: what is said during the listing is
        heard after it, and has the last word.
        """
        listing = self._loop.run_in_executor(self._lister, _listed)
        listing.add_done_callback(self._take_listing)

    def _take_listing(self, listing: asyncio.Future[list[Outline]]) -> None:
        if listing.cancelled() or self._is_closed:
            return
        try:
            self._compare(listing.result())
            self._is_stale = False
        except Unavailable as error:
            self._log.warning("links cannot be listed, so some are not watched; trying again", reason=str(error))
        finally:
            if self._is_stale:
                self._loop.call_later(_LIST_AGAIN_S, self._read_links)
            else:
                self._hear_links()

    def _compare(self, found: Iterable[Outline]) -> None:
        """What passes frames now, with what did."""
        there = {link.index: link for link in found}
        for index in self._passing.keys() - there.keys():
            self._note_gone(self._passing[index])
        for link in there.values():
            self._note_link(link)

    def _note(self, data: bytes) -> None:
        offset = 0
        while offset + _NETLINK_HEADER.size <= len(data):
            length, kind, *_ = _NETLINK_HEADER.unpack_from(data, offset)
            body = data[offset + _NETLINK_HEADER.size : offset + length]
            offset += max(_NETLINK_HEADER.size, (length + 3) & ~3)
            if kind == linkformat.DELLINK:
                self._note_gone(links.outline(body))
            elif kind == linkformat.NEWLINK and (links.is_up(body) or links.index_in(body) in self._passing):
                self._note_link(links.outline(body))

    def _note_gone(self, link: Outline) -> None:
        was = self._passing.pop(link.index, None)
        if was is not None:
            self._hint_about(was)

    def _note_link(self, link: Outline) -> None:
        """Remember what passes frames; a hint when one that did no longer does, or is elsewhere than it was."""
        if not link.is_ours and link.name not in self._uplinks:
            self._note_gone(link)
            return
        if link.group == DOOMED_GROUP:
            self._passing.pop(link.index, None)  # it is about to be deleted by us
        elif self._passes(link):
            was = self._passing.get(link.index)
            self._passing[link.index] = link
            if was is not None and _place(was) != _place(link):
                self._hint_about(was)
        elif (was := self._passing.pop(link.index, None)) is not None:
            self._hint_about(was)

    def _passes(self, link: Outline) -> bool:
        """Whether a link does its part. An uplink that is no port is not in use; nobody can raise its wire."""
        if link.name in self._uplinks:
            return link.up and bool(link.master)
        return link.up and (not _is_tap(link) or (bool(link.master) and link.operational))

    def _hint_about(self, link: Outline) -> None:
        """A tap concerns its router; a bridge, a VXLAN device and an uplink the routers of their network."""
        if _is_tap(link):
            self._hint(RouterId(link.marked_id))
        else:
            carrier = link if link.is_ours else self._passing.get(link.master)
            network = NetworkId(carrier.marked_id) if carrier is not None and carrier.is_ours else None
            self._hint(None, network)

    def _read_names(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._names, 1 << 16)
            offset = 0
            while offset + _INOTIFY_HEADER.size <= len(data):
                _, mask, _, length = _INOTIFY_HEADER.unpack_from(data, offset)
                offset += _INOTIFY_HEADER.size
                name = data[offset : offset + length].rstrip(b"\0").decode(errors="replace")
                offset += length
                if mask & _IN_Q_OVERFLOW:
                    self._hint(None)
                elif name.startswith(NAMESPACE_PREFIX):
                    self._hint(RouterId(name.removeprefix(NAMESPACE_PREFIX)))


def _place(link: Outline) -> tuple[object, ...]:
    """Where a link is, and under which rules: a standby's tap that leaves its group forwards beside the active one.

    The agent moves taps, too, when a router becomes guarded or classic. Being heard of, that costs one look.
    """
    return link.name, link.master, link.mtu, link.group


def _is_tap(link: Outline) -> bool:
    return link.is_ours and link.name.startswith(TAP_PREFIX)


def _listed() -> list[Outline]:
    """The host's links."""
    with Netlink() as host:
        return links.outlines(host)


def _open_link_socket() -> socket.socket:
    with refusals.told("cannot watch this host's links"):
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    opened.setblocking(False)
    limits.allow_unread(opened, _BUFFER_BYTES)
    bpf.attach(opened, filters.OF_LINKS_THAT_PASS)
    opened.bind((0, _LINK_CHANGES))
    return opened


def _watch_directory(directory: Path) -> int:
    descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0 or _libc.inotify_add_watch(descriptor, os.fsencode(directory), _IN_DELETE) < 0:
        number = ctypes.get_errno()
        if descriptor >= 0:
            os.close(descriptor)
        raise Unavailable(f"cannot watch {directory}: {refusals.words(number, Trying.WATCH)}")
    return descriptor
