"""What neighbours are told of this host's addresses, and what waits for theirs.

What waits are packets that the kernel keeps until somebody answers its ARP request.

When a cable is pulled the kernel forgets all neighbours behind it at once. From then on what is sent there is kept, up
to a hundred packets or so for each neighbour (`unres_qlen_bytes`, net/core/neighbour.c), for the three seconds in which
it asks; and when the cable is plugged in again meanwhile, all of it leaves.
"""

import socket
import struct
from ipaddress import IPv4Address

from gapless.errors import Unavailable
from gapless.kernel import arp
from gapless.kernel.netlink import ALREADY_GONE, Netlink, Request, attribute, attributes

NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NDMSG = struct.Struct("=BxHiHBB")
"""linux/neighbour.h: family, padding, interface, state, flags, type."""
DST, LLADDR = 1, 2
_INCOMPLETE = 0x01


def forget_unresolved(interface: str) -> int:
    """Forget every IPv4 neighbour behind `interface` that has not answered yet, and what waits for it; how many.

    Whoever sends there next asks anew. Takes RTNL. Raises Unavailable with the kernel's reason.
    """
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return 0  # It is gone, and what waited for it too.
    with Netlink() as netlink:
        waiting = [
            attributes(body, NDMSG.size)[DST]
            for body in netlink.dump(GETNEIGH, NDMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0), "list neighbours")
            if _is_waited_for(body, index)
        ]
        netlink.carry_out([_forget(index, address) for address in waiting])
    return len(waiting)


def _is_waited_for(body: bytes, index: int) -> bool:
    _, _, behind, state, _, _ = NDMSG.unpack_from(body)
    return behind == index and bool(state & _INCOMPLETE)


def _forget(index: int, address: bytes) -> Request:
    body = NDMSG.pack(socket.AF_INET, 0, index, 0, 0, 0) + attribute(DST, address)
    return Request(DELNEIGH, 0, body, f"forget the neighbour {socket.inet_ntoa(address)}", ALREADY_GONE)


def announce(interface: str, address: IPv4Address) -> None:
    """Say by gratuitous ARP that `address` is behind `interface` of this host; who knew it elsewhere, knows it here.

    Waits for nothing: what finds no room is lost. Raises Unavailable with the kernel's reason.
    """
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        with socket.socket(socket.AF_PACKET, kind, 0) as opened:
            opened.bind((interface, 0))
            for frame in arp.frames(opened.getsockname()[4].hex(":"), address):
                opened.send(frame)
    except OSError as error:
        raise Unavailable(f"announce {address} at {interface}: {error.strerror or error}") from error
