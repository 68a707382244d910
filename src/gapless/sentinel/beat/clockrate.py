"""Whether this machine's monotonic clock runs as the lease assumes: within `DRIFT` of real time.

CLOCK_MONOTONIC is slewed like the wall clock: a time daemon that has to make up for a second may run it 10 % too fast
(chrony's `maxslewrate` is about 8.3 % unless it is set). The kernel tells by how much: adjtimex(2), read-only.
"""

import ctypes
import os
from collections.abc import Callable

from gapless.errors import Unavailable
from gapless.model.lease import DRIFT

LIMIT = DRIFT - 0.001
"""What is left is the crystal's own error and the phase correction, each at most 0.05 % (adjtimex(2))."""
_TICK_US = 10_000
"""Of 100 ticks a second, whatever the kernel's own are."""
_PPM = 65_536e6


class _Timex(ctypes.Structure):
    """struct timex (linux/timex.h), as far as it is read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_byte * 128),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def read() -> tuple[int, int]:
    """(tick in microseconds, frequency in 1/65536 ppm) as the kernel is told to run. Raises Unavailable."""
    timex = _Timex()
    if _libc.adjtimex(ctypes.byref(timex)) < 0:
        raise Unavailable(f"adjtimex: {os.strerror(ctypes.get_errno())}")
    return int(timex.tick), int(timex.freq)


def fault(reading: Callable[[], tuple[int, int]] = read) -> str:
    """Why the clock cannot be trusted, as a clause; "" if it can. One that cannot be read is trusted."""
    try:
        tick_us, frequency = reading()
    except Unavailable:
        return ""
    rate = tick_us / _TICK_US - 1 + frequency / _PPM
    if abs(rate) <= LIMIT:
        return ""
    return f"the clock is slewed by {rate * 100:+.1f} %, and a lease allows {LIMIT * 100:.1f} % (chrony: maxslewrate)"
