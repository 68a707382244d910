"""Gratuitous ARP: tells switches and neighbours where a router's addresses are now.

Each address is announced as a request and as a reply (arping -U and -A), because some devices heed only one of the
two, and again after 100 ms and 1 s, because any single frame may be lost. The repeats are sent by a thread of their
own: building goes on. Format: RFC 826, RFC 5227 section 1.1, RFC 5944 section 4.6.

Invariant: nothing is announced for a router once `forget` returned.
"""

import contextlib
import heapq
import itertools
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gapless.kernel import refusals
from gapless.kernel.arp import ETHERTYPE, frames
from gapless.model.operation import Announce
from gapless.model.router import RouterId

REPEATS_S: Final = (0.1, 1.0)
"""When a burst is sent again, in seconds after the first time."""


def open_socket() -> socket.socket:
    """A socket that sends frames in the calling thread's namespace and receives none."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    opened.setblocking(False)
    return opened


@dataclass(order=True, slots=True)
class _Burst:
    """A burst to repeat: due times still to come, the next one first."""

    due_s: float
    order: int
    router_id: RouterId = field(compare=False)
    by: socket.socket = field(compare=False)
    announcements: tuple[Announce, ...] = field(compare=False)
    later_s: tuple[float, ...] = field(compare=False)


class Announcer:
    """Sends announcements at once and repeats them in the background."""

    def __init__(self) -> None:
        """Raises Unavailable where there may be no thread for it."""
        self._change = threading.Condition()
        self._bursts: list[_Burst] = []
        self._spent: list[socket.socket] = []
        self._order = itertools.count()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        refusals.start(self._thread, "announce routers")

    def announce(self, router_id: RouterId, by: socket.socket, announcements: Iterable[Announce]) -> None:
        """Send now, and repeat. `by` belongs to the announcer from here on."""
        burst = tuple(announcements)
        _send(by, burst)
        now = time.monotonic()
        first, *later = (now + after for after in REPEATS_S)
        with self._change:
            if self._is_closed:
                self._spent.append(by)
                return
            heapq.heappush(self._bursts, _Burst(first, next(self._order), router_id, by, burst, tuple(later)))
            self._change.notify()

    def forget(self, router_id: RouterId) -> None:
        """Announce nothing more for a router."""
        with self._change:
            gone = [burst for burst in self._bursts if burst.router_id == router_id]
            if gone:
                self._bursts = [burst for burst in self._bursts if burst.router_id != router_id]
                heapq.heapify(self._bursts)
                self._spent += [burst.by for burst in gone]
                self._change.notify()

    def close(self) -> None:
        """Stop; repeats that are not due yet are not sent."""
        with self._change:
            self._is_closed = True
            self._spent += [burst.by for burst in self._bursts]
            self._bursts.clear()
            self._change.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._spent and not self._is_closed:
                    wait_s = self._bursts[0].due_s - time.monotonic() if self._bursts else None
                    if wait_s is not None and wait_s <= 0:
                        break
                    self._change.wait(wait_s)
                self._send_due()
                spent, self._spent = self._spent, []
                if self._is_closed and not spent:
                    return
            # Closing a packet socket waits for a grace period of the kernel, tens of milliseconds: not under the lock.
            for position, by in enumerate(spent):
                by.close()
                if self._is_due():
                    with self._change:
                        self._spent += spent[position + 1 :]
                    break

    def _is_due(self) -> bool:
        with self._change:
            return bool(self._bursts) and self._bursts[0].due_s <= time.monotonic()

    def _send_due(self) -> None:
        while self._bursts and self._bursts[0].due_s <= time.monotonic():
            burst = heapq.heappop(self._bursts)
            _send(burst.by, burst.announcements)
            if burst.later_s:
                burst.due_s, *later = burst.later_s
                burst.later_s = tuple(later)
                heapq.heappush(self._bursts, burst)
            else:
                self._spent.append(burst.by)


def _send(by: socket.socket, announcements: tuple[Announce, ...]) -> None:
    """A frame that the kernel does not take (the link is gone, a queue is full) is one that a repeat makes up for."""
    for announcement in announcements:
        for address in announcement.addresses:
            for frame in frames(announcement.mac, address):
                with contextlib.suppress(OSError):
                    by.sendto(frame, (announcement.link, ETHERTYPE))
