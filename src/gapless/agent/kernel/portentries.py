"""Entries of bridges' forwarding databases that send an address to one port for good (linux/neighbour.h, bridge(8))."""

import socket

from gapless.kernel.neighbours import GETNEIGH, LLADDR, NDMSG, NEWNEIGH
from gapless.kernel.netlink import ALREADY_GONE, CREATE, REPLACE, Netlink, Request, attribute

_NTF_MASTER = 0x04
_NUD_STATIC = 0x40


def send_to_port(name: str, index: int, mac: str) -> Request:
    """Let a port's bridge send frames to `mac` there for good, in place of any other port."""
    header = NDMSG.pack(socket.AF_BRIDGE, 0, index, _NUD_STATIC, _NTF_MASTER, 0)
    body = header + attribute(LLADDR, bytes.fromhex(mac.replace(":", "")))
    return Request(NEWNEIGH, CREATE | REPLACE, body, f"send frames to {mac} to {name}")


def ports_sent_to(netlink: Netlink, wanted: list[tuple[int, str]]) -> frozenset[int]:
    """Of (index of a bridge port, MAC address), the ports to which their bridge sends that address for good."""
    requests = [
        Request(
            GETNEIGH,
            0,
            NDMSG.pack(socket.AF_BRIDGE, 0, index, 0, _NTF_MASTER, 0)
            + attribute(LLADDR, bytes.fromhex(mac.replace(":", ""))),
            f"look for {mac}",
            ALREADY_GONE,
            is_question=True,
        )
        for index, mac in wanted
    ]
    found = set()
    for (index, _), answer in zip(wanted, netlink.ask(requests), strict=True):
        for message in answer.messages:
            _, _, port, state, _, _ = NDMSG.unpack_from(message)
            if port == index and state & _NUD_STATIC:
                found.add(index)
    return frozenset(found)
