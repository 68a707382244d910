"""Connection tracking through ctnetlink: entries whose translation is no longer true are dropped.

A flow keeps the translation of its first packet for as long as it sends. When a floating IP goes to another machine,
its running flows have to end here, or two machines speak under one address.
Formats: linux/netfilter/nfnetlink_conntrack.h.
"""

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address

from gapless.kernel.netlink import ALREADY_GONE, Netlink, Request, attribute, attributes

_CONNTRACK = 1 << 8
_GET, _DELETE, _GET_STATS = _CONNTRACK | 1, _CONNTRACK | 2, _CONNTRACK | 5
_HOW_MANY = 1
_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS = 1, 2, 3
_TUPLE_IP, _IPV4_DESTINATION = 1, 2
_SEEN_REPLY = 0x2
_NESTED = 0x8000
_NFGEN = struct.pack("!BBH", socket.AF_INET, 0, 0)


def forget_address(netlink: Netlink, address: IPv4Address) -> int:
    """Drop the flows that came in to `address` or went out under it; returns how many there were. `netlink`, here and
    below: a socket of the family NETFILTER. Raises Unavailable.
    """

    def concerns(entry: dict[int, bytes]) -> bool:
        return address.packed in (_destination(entry, _TUPLE_ORIGINAL), _destination(entry, _TUPLE_REPLY))

    return _forget(netlink, concerns, address.packed)


def forget_unanswered(netlink: Netlink) -> int:
    """Drop the flows that saw no reply; returns how many there were."""

    def concerns(entry: dict[int, bytes]) -> bool:
        return not int.from_bytes(entry.get(_STATUS, b"\0" * 4), "big") & _SEEN_REPLY

    return _forget(netlink, concerns, b"")


def _forget(netlink: Netlink, concerns: Callable[[dict[int, bytes]], bool], quick: bytes) -> int:
    """Drop what `concerns` says; entries without the bytes `quick` are passed over unread.

    In a namespace without entries none is looked for: the kernel would go through those of the whole machine.
    """
    if _is_empty(netlink):
        return 0
    requests = []
    for message in netlink.dump(_GET, _NFGEN, "list tracked connections"):
        if quick not in message:
            continue
        entry = attributes(message, len(_NFGEN))
        if _TUPLE_ORIGINAL in entry and concerns(entry):
            flow = attribute(_TUPLE_ORIGINAL | _NESTED, entry[_TUPLE_ORIGINAL])
            requests.append(Request(_DELETE, 0, _NFGEN + flow, "drop a tracked connection", ALREADY_GONE))
    netlink.carry_out(requests)
    return len(requests)


def _is_empty(netlink: Netlink) -> bool:
    """Whether the kernel counts no entry in this namespace; False where it does not tell."""
    (answer,) = netlink.ask([Request(_GET_STATS, 0, _NFGEN, "count tracked connections", is_question=True)])
    counted = [attributes(message, len(_NFGEN)).get(_HOW_MANY) for message in answer.messages]
    return counted == [bytes(4)]


def _destination(entry: dict[int, bytes], direction: int) -> bytes:
    addresses = attributes(attributes(entry.get(direction, b"")).get(_TUPLE_IP, b""))
    return addresses.get(_IPV4_DESTINATION, b"")
