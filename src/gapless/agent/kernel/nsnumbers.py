"""The numbers by which one network namespace knows another (ip-netns(8): nsid)."""

import errno
import struct

from gapless.kernel.netlink import Answer, Netlink, Request, as_u32, attributes, u32

_NEWNSID, _GETNSID = 88, 90
_NSID, _NSID_OF_DESCRIPTOR = 1, 3
_UNASSIGNED = 0xFFFFFFFF
_RTGEN = struct.pack("=Bxxx", 0)


def namespace_number(netlink: Netlink, descriptor: int) -> int | None:
    """The number by which the socket's namespace knows another, given open; None if it has none."""
    return _number_in(netlink.ask([_get_number(descriptor)])[0])


def numbered_namespace(netlink: Netlink, descriptor: int) -> int | None:
    """As above; one that has none is given a number of the kernel's choice before. Raises Unavailable."""
    body = _RTGEN + u32(_NSID_OF_DESCRIPTOR, descriptor) + u32(_NSID, _UNASSIGNED)
    give = Request(_NEWNSID, 0, body, "number a namespace", frozenset({errno.EEXIST}))
    return _number_in(netlink.carry_out([give, _get_number(descriptor)])[1])


def _get_number(descriptor: int) -> Request:
    body = _RTGEN + u32(_NSID_OF_DESCRIPTOR, descriptor)
    return Request(_GETNSID, 0, body, "look for a namespace's number", is_question=True)


def _number_in(answer: Answer) -> int | None:
    if answer.error or not answer.messages:
        return None
    number = as_u32(attributes(answer.messages[0], len(_RTGEN)).get(_NSID, b"\xff" * 4))
    return None if number == _UNASSIGNED else number
