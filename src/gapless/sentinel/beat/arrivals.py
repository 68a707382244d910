"""For how long a datagram lay in its socket before it was read, by the kernel's stamp.

Theory: a beat counts from the moment at which it has read a datagram, and decides by that. But for how long a router
that was handed over was dark, it tells others; and a beat that could not run for a while reads late what was said in
time. On Linux each datagram is stamped as it arrives (SO_TIMESTAMPNS, socket(7)), by CLOCK_REALTIME. While any socket
asks for that, the kernel stamps all that the machine receives, for the price of reading a clock; whoever sets the clock
by the network (chrony, systemd-timesyncd) asks for it as well.

The rule: that clock may be set meanwhile. So no datagram is said to have waited for longer than since the socket was
last found empty, which is counted by the beat's own clock.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterable

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python has no name for it
_TIMESPEC = struct.Struct("@ll")
NOTE_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
"""Room for the stamp beside a datagram (`socket.recvmsg`)."""


def stamp(opened: socket.socket) -> None:
    """Have the kernel stamp what arrives from now on. Raises OSError."""
    opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


class Arrivals:
    """Those of one socket. `empty_at`: when it was opened, by the beat's clock."""

    def __init__(self, empty_at: float, real_time: Callable[[], float] = time.time) -> None:
        self._empty_at = empty_at
        self._real_time = real_time

    def found_empty(self, at: float) -> None:
        """All that had arrived at `at` was read."""
        self._empty_at = at

    def waited_s(self, notes: Iterable[tuple[int, int, bytes]], now: float) -> float:
        """Seconds that a datagram with these notes waited, read at `now`; 0.0 where there is no stamp among them."""
        for level, kind, note in notes:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack_from(note)
                arrived_at: float = seconds + nanoseconds / 1e9
                return max(0.0, min(self._real_time() - arrived_at, now - self._empty_at))
        return 0.0
