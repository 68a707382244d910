"""What routers' kernels know of their gateways, and a word to ask those of which nothing new is known.

One thread visits many namespaces, one after another, and ends (`kernel.netns`). A visit costs some tens of
microseconds: no descriptor is kept for a router, and no packet socket is made, whose closing would wait for a grace
period of the kernel. Netlink is spoken by hand, in one message each way: `kernel.netlink` has room for large answers,
and making that room would cost as much again as all the rest.

The rule: a foreign entry is read and left as it is. The kernel is told to *use* an entry (NTF_USE) only where it would
ask by itself if a packet came: that asks the gateway, and changes nothing that a packet would not.

Formats: linux/neighbour.h; NTF_USE on an entry that somebody pinned would unpin it (net/core/neighbour.c).
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

from gapless.errors import Unavailable
from gapless.kernel import netns
from gapless.kernel.neighbours import DST, GETNEIGH, NDMSG, NEWNEIGH
from gapless.kernel.netlink import CREATE, REQUEST, ROUTE, attribute, attributes
from gapless.model.neighbour import Neighbour, Reach, WayOut
from gapless.model.router import RouterId

_NDA_LLADDR, _NDA_CACHEINFO = 2, 3
_NTF_USE = 0x01
_HEADER = struct.Struct("=IHHII")
_ERROR = 2
_ERROR_NUMBER = struct.Struct("=i")
_ANSWER_BYTES: Final = 512
"""One entry takes less than 100."""
_CACHEINFO = struct.Struct("=IIII")
_TICKS_A_SECOND: Final = 100
"""USER_HZ, in which the kernel tells of times."""
_NUD_INCOMPLETE, _NUD_REACHABLE, _NUD_FAILED = 0x01, 0x02, 0x20
_NUD_NOARP, _NUD_PERMANENT = 0x40, 0x80
_REACH = {
    _NUD_INCOMPLETE: Reach.SILENT,
    _NUD_FAILED: Reach.SILENT,
    _NUD_REACHABLE: Reach.HEARD,
    _NUD_NOARP: Reach.PINNED,
    _NUD_PERMANENT: Reach.PINNED,
}
_NOTHING = Neighbour(reach=Reach.UNKNOWN)


def look(ways: Sequence[WayOut]) -> dict[RouterId, Neighbour]:
    """What is known of each gateway; of a router whose namespace or link is not there, nothing is said."""
    return netns.in_own_thread(lambda: _visit(ways), "look at the gateways of routers")


def _visit(ways: Sequence[WayOut]) -> dict[RouterId, Neighbour]:
    found = {}
    for way in ways:
        try:
            netns.go_into(netns.path_of(way.router_id))
            with contextlib.closing(_netlink()) as inside:
                seen = _look(inside, way)
        except (OSError, Unavailable):
            continue  # It is being removed or repaired; what is wrong with it is found elsewhere.
        if seen is not None:
            found[way.router_id] = seen
    return found


def _netlink() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, ROUTE)
    opened.setblocking(False)  # The kernel has answered when `send` returns.
    return opened


def _look(inside: socket.socket, way: WayOut) -> Neighbour | None:
    index = socket.if_nametoindex(way.link)
    inside.send(_message(GETNEIGH, 0, index, 0, way.gateway))
    seen = _read(inside.recv(_ANSWER_BYTES))
    if seen is not None and seen.reach not in (Reach.HEARD, Reach.PINNED):
        # Nothing is answered to this but an error, and what came of it the next look tells.
        inside.send(_message(NEWNEIGH, CREATE, index, _NTF_USE, way.gateway))
    return seen


def _message(kind: int, flags: int, index: int, entry_flags: int, gateway: IPv4Address) -> bytes:
    body = NDMSG.pack(socket.AF_INET, 0, index, 0, entry_flags, 0) + attribute(DST, gateway.packed)
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, 1, 0) + body


def _read(answer: bytes) -> Neighbour | None:
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _ERROR:
        (error,) = _ERROR_NUMBER.unpack_from(answer, _HEADER.size)
        return _NOTHING if -error == errno.ENOENT else None
    _, _, _, state, _, _ = NDMSG.unpack_from(answer, _HEADER.size)
    held = attributes(answer, _HEADER.size + NDMSG.size)
    reach = _REACH.get(state, Reach.ASKED) if state else Reach.UNKNOWN
    confirmed_ago_s = None
    if reach in (Reach.HEARD, Reach.ASKED) and _NDA_CACHEINFO in held:
        confirmed_ago_s = _CACHEINFO.unpack_from(held[_NDA_CACHEINFO])[0] / _TICKS_A_SECOND
    return Neighbour(reach=reach, mac=held.get(_NDA_LLADDR, b"").hex(":"), confirmed_ago_s=confirmed_ago_s)
