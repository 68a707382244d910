"""Keeps the guard while no beat does: its socket across beats, and its taps shut when the sentinel stops.

The guard is a table that the kernel lets only one netlink socket change (`sentinel.beat.guard`). Were that socket the
beat's alone, then from a beat's death to the next beat anybody's `flush ruleset` would remove the guard, and the taps
of a host that was succeeded would pass frames again. So the sentinel, which outlives its beats, keeps the socket open,
and each beat gets it.

Where the kernel keeps no table for one socket (before Linux 6.9) anybody may remove the guard while a beat lives. If
the beat cannot put it back, the taps that may pass nothing are set down, one after another.

When the sentinel itself stops, nobody is left to keep the socket. Then the guarded taps are set down. Either
stays whatever happens to the ruleset. Who brings them up again is the agent, and that waits until the guard stands.

The rule: guarded taps are up only while a process of this host keeps the guard, but for a sentinel that was killed.
"""

import errno
import socket
import struct
from collections.abc import Callable

from gapless.kernel.netlink import NETFILTER, Netlink, Request, as_text, as_u32, attributes, u32
from gapless.kernel.ownership import Owner, owner
from gapless.model.observed import DOOMED_GROUP, GUARD_MARKS, GUARDED_GROUP
from gapless.sentinel.beat.guard import TABLE
from gapless.sentinel.beat.nftables import counted

_NEWLINK, _GETLINK = 16, 18
_IFNAME, _GROUP, _EXT_MASK = 3, 27, 29
_SKIP_STATISTICS = 8
_UP = 1
_IFINFO = struct.Struct("=BxHiII")


class GuardKeeper:
    """Of the network namespace in which it is used first."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def descriptor(self) -> int:
        """The guard's socket, for beats to inherit; it stays this process's. Raises OSError where it cannot be had."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
        return self._socket.fileno()

    def shut(self) -> None:
        """Set every guarded tap down, in two messages however many there are, and let go of the guard's socket: from
        then on anybody may remove the guard. It waits for RTNL. Raises Unavailable with the kernel's reason.
        """
        # Of a whole group, as of `ip link set group N down`: a message that names no link.
        down = _IFINFO.pack(0, 0, 0, 0, _UP)
        requests = [
            Request(_NEWLINK, 0, down + u32(_GROUP, group), f"set the taps of device group {group} down")
            for group in (GUARDED_GROUP, DOOMED_GROUP)
        ]
        with Netlink() as links:
            links.carry_out(requests)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def shut_unguarded(self, must_be_shut: Callable[[str], bool]) -> int:
        """Set those guarded taps down, each by itself, that must be when it is their turn; returns how many were.

        It waits for RTNL for each, and others have their turns between. Raises Unavailable with the kernel's reason.
        """
        count = 0
        with Netlink() as links:
            for index, name in _guarded_taps_up(links):
                if must_be_shut(name):
                    down = _IFINFO.pack(0, 0, index, 0, _UP)
                    gone = frozenset({errno.ENODEV})
                    links.carry_out([Request(_NEWLINK, 0, down, f"set {name} down", gone)])
                    count += 1
        return count


def _guarded_taps_up(links: Netlink) -> list[tuple[int, str]]:
    """Indices and names of those that are set up."""
    every = _IFINFO.pack(0, 0, 0, 0, 0) + u32(_EXT_MASK, _SKIP_STATISTICS)
    taps = []
    for body in links.dump(_GETLINK, every, "list links"):
        _, _, index, flags, _ = _IFINFO.unpack_from(body)
        found = attributes(body, _IFINFO.size, only=frozenset({_IFNAME, _GROUP}))
        if flags & _UP and as_u32(found.get(_GROUP, b"")) in (GUARDED_GROUP, DOOMED_GROUP):
            taps.append((index, as_text(found.get(_IFNAME, b""))))
    return taps


def muted_frames() -> int:
    """Frames that the guard dropped since it was made, none where there is none; waits for the kernel, raises
    Unavailable.
    """
    with Netlink(NETFILTER) as reading:
        return counted(reading, TABLE) if owner(reading, TABLE, GUARD_MARKS) is Owner.GAPLESS else 0
