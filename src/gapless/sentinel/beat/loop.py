"""The beat's loop: one thread, no asyncio, nothing that waits but poll(2).

The order of a turn is the order of urgency: the beat if it is due, then datagrams (all that wait, before anybody is
called silent), then the sentinel, then one part of what is being closed, then one chunk of announcements if any are
due. So closing or announcing a thousand routers delays a beat by one part at most. As long as something is to be done
at once, or what is in the socket decides something, poll(2) does not wait.
"""

import select
import socket
from collections.abc import Callable
from contextlib import suppress

from gapless.config import Address
from gapless.errors import Unavailable
from gapless.kernel import limits
from gapless.sentinel.beat import arrivals
from gapless.sentinel.beat import clock as beatclock
from gapless.sentinel.beat.announcements import Announcements
from gapless.sentinel.beat.arrivals import Arrivals
from gapless.sentinel.beat.driver import Driver, Endpoint
from gapless.sentinel.beat.guard import Guard
from gapless.sentinel.beat.priority import tidy_memory
from gapless.sentinel.beat.uplinks import Uplinks
from gapless.wire import beat as wire
from gapless.wire.lease import DATAGRAM_BYTES
from gapless.wire.packets import BeatEnd

DATAGRAMS_AT_ONCE = 64
"""How many are taken in one turn: a flood delays a beat by less than a millisecond."""
TIDY_S = 1.0
ROOM_BYTES = 1 << 20
"""For datagrams that wait: seconds of what a large cluster says, since a machine that was stopped reads it all."""
IP_TOS, TOS_CS6 = 0x1, 0xC0
"""DSCP CS6, network control (RFC 4594): where a network keeps classes apart, this is the one of routing protocols."""


def open_socket(address: Address) -> socket.socket:
    """The socket for lease datagrams. Raises Unavailable."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.IPPROTO_IP, IP_TOS, TOS_CS6)
        limits.allow_unread(made, ROOM_BYTES)
        arrivals.stamp(made)
        made.bind((address.host, address.port))
    except OSError as error:
        made.close()
        raise Unavailable(f"lease datagrams cannot be received at {address}: {error.strerror}") from error
    return made


def room(datagrams: socket.socket) -> int:
    """The bytes that may wait. The kernel tells twice as much, half of it for its own use."""
    return datagrams.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


class Loop:
    """Runs until the sentinel is gone."""

    def __init__(
        self,
        begin: wire.Begin,
        link: BeatEnd[wire.ToBeat],
        datagrams: socket.socket,
        guard: Guard,
        announcements: Announcements,
        uplinks: Uplinks,
        clock: Callable[[], float] = beatclock.now,
    ) -> None:
        self._link = link
        self._datagrams = datagrams
        self._announcements = announcements
        self._clock = clock
        self._driver = Driver(
            begin,
            guard,
            announcements,
            uplinks,
            send=self._send,
            say=link.send,
            chat=link.chat,
            clock=clock,
            as_monotonic=beatclock.as_monotonic,
        )
        self._arrivals = Arrivals(clock())
        self._tidy_due = clock() + TIDY_S
        announcements.announced = self._driver.announced

    def run(self) -> None:
        """Raises Unavailable when the sentinel is gone."""
        poll = select.poll()
        poll.register(self._datagrams, select.POLLIN)
        asked = 0
        while True:
            wanted = select.POLLIN | (select.POLLOUT if self._link.has_backlog else 0)
            if wanted != asked:
                poll.register(self._link.socket, asked := wanted)
            ready = {descriptor for descriptor, _ in poll.poll(self._timeout_ms())}
            self._beat()
            if self._datagrams.fileno() in ready or self._driver.is_listening:
                self._receive()
            if self._link.socket.fileno() in ready:
                self._link.flush()
                self._listen()
            self._driver.go_on()
            self._beat()
            self._announcements.work()

    def _timeout_ms(self) -> float:
        if self._driver.has_more or self._driver.is_listening:
            return 0.0
        announcing = self._announcements.next_deadline()
        due = self._driver.next_deadline() if announcing is None else min(self._driver.next_deadline(), announcing)
        return max(0.0, (due - self._clock()) * 1000)

    def _beat(self) -> None:
        now = self._clock()
        if now >= self._driver.next_deadline():
            self._driver.on_deadline(now)
            if now >= self._tidy_due:  # Right after a beat, when the next one is as far away as it gets.
                self._tidy_due = now + TIDY_S
                tidy_memory()

    def _receive(self) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            looked_at = self._clock()
            try:
                raw, notes, _, _ = self._datagrams.recvmsg(DATAGRAM_BYTES + 1, arrivals.NOTE_BYTES)
            except BlockingIOError:
                self._arrivals.found_empty(looked_at)
                self._driver.emptied(looked_at)
                return
            except OSError:
                continue  # An earlier datagram's ICMP error: a host without a sentinel.
            # The clock is read after the datagram was taken: what it says was true before.
            now = self._clock()
            self._driver.received(raw, now, self._arrivals.waited_s(notes, now))
            self._beat()

    def _listen(self) -> None:
        if (message := self._link.receive()) is not None:
            self._driver.told(message, self._clock())

    def _send(self, to: Endpoint, raw: bytes) -> None:
        with suppress(OSError):  # No route, a full queue: a datagram that is lost, and the next one is due soon.
            self._datagrams.sendto(raw, to)
