"""What the agent's netlink sockets are not to hear (`kernel.bpf`).

A word is only looked at where it is sure to be, since a program that reads past a message's end drops it. Formats:
linux/netlink.h, linux/rtnetlink.h, linux/netfilter/nf_tables.h.
"""

import socket
from typing import Final

from gapless.kernel.bpf import AND, JUMP_EQUAL, LOAD_BYTE, LOAD_HALF, LOAD_WORD, NOTHING, WHOLE, Step, packed
from gapless.model.observed import BRIDGE_PREFIX, JOINT_PREFIX, TAP_PREFIX, VXLAN_PREFIX

_TYPE: Final = 4
"""Where a message's type is."""
_FAMILY, _FIRST_ATTRIBUTE, _FIRST_WORD = 16, 34, 36
"""In what is said of a link: its family, the type of the first attribute, which is its name, and that name."""
_GENERATION_COMM: Final = 40
"""Where a NEWGEN says who changed the ruleset: after its headers (16 and 4 bytes), NFTA_GEN_ID and _PROC_PID (8 each)
and the head of NFTA_GEN_PROC_NAME (4). Zero-terminated and padded to words."""
_FLAGS, _CHANGE = 24, 28
"""There, too: its flags, and those that changed: all ones for a link that is told of for the first time."""
_NEWLINK, _DELLINK, _IFNAME = 16, 17, 3
_UP: Final = socket.htonl(0x1)
_ALL_ONES: Final = 0xFFFFFFFF


def only(kind: int, *, by_others_than: str) -> bytes:
    """Messages that begin with this type, but for what a process of that name did, whose letters are a whole number of
    words.

    A word is only looked at when those before it fitted, so there is always one more.
    """
    words = _words(by_others_than)
    steps: list[Step] = [(LOAD_HALF, 0, 0, _TYPE), (JUMP_EQUAL, 0, 2 * len(words), socket.htons(kind))]
    for place, word in enumerate(words):
        others = 2 * (len(words) - place) - 1
        steps += [(LOAD_WORD, 0, 0, _GENERATION_COMM + 4 * place), (JUMP_EQUAL, 0, others, word)]
    return packed(*steps, NOTHING, WHOLE)


def all_but(*kinds: int) -> bytes:
    """Messages that begin with none of these types."""
    jumps = [(JUMP_EQUAL, len(kinds) - place, 0, socket.htons(kind)) for place, kind in enumerate(kinds)]
    return packed((LOAD_HALF, 0, 0, _TYPE), *jumps, WHOLE, NOTHING)


def _but_links(*names: str) -> bytes:
    """All but what a bridge says of its ports, which the ports say too, and what is said of links of such names."""
    heads = [(int.from_bytes(name[:4].encode().ljust(4, b"\0"), "big"), len(name)) for name in names]
    by_name: list[Step] = [
        (LOAD_HALF, 0, 0, _FIRST_ATTRIBUTE),
        (JUMP_EQUAL, 0, 3 * len(heads), socket.htons(_IFNAME)),
    ]
    for place, (head, letters) in enumerate(heads):
        mask = _ALL_ONES if letters >= 4 else _ALL_ONES << 8 * (4 - letters) & _ALL_ONES
        to_nothing = 3 * (len(heads) - place) - 2
        by_name += [(LOAD_WORD, 0, 0, _FIRST_WORD), (AND, 0, 0, mask), (JUMP_EQUAL, to_nothing, 0, head)]
    return packed(
        (LOAD_HALF, 0, 0, _TYPE),
        (JUMP_EQUAL, 1, 0, socket.htons(_NEWLINK)),
        (JUMP_EQUAL, 0, 2 + len(by_name), socket.htons(_DELLINK)),
        (LOAD_BYTE, 0, 0, _FAMILY),
        (JUMP_EQUAL, 0, len(by_name) + 1, socket.AF_UNSPEC),
        *by_name,
        WHOLE,
        NOTHING,
    )


def _of_links_that_pass() -> bytes:
    """Of links: that one went, is up, or went down. All else that is said of one that is down is of no interest to who
    knows which ones were up: a third of what a new router has the kernel say. And as above, of ports.
    """
    return packed(
        (LOAD_HALF, 0, 0, _TYPE),
        (JUMP_EQUAL, 3, 0, socket.htons(_NEWLINK)),
        (JUMP_EQUAL, 0, 11, socket.htons(_DELLINK)),
        (LOAD_BYTE, 0, 0, _FAMILY),
        (JUMP_EQUAL, 9, 10, socket.AF_UNSPEC),
        (LOAD_BYTE, 0, 0, _FAMILY),
        (JUMP_EQUAL, 0, 8, socket.AF_UNSPEC),
        (LOAD_WORD, 0, 0, _FLAGS),
        (AND, 0, 0, _UP),
        (JUMP_EQUAL, 4, 0, _UP),
        (LOAD_WORD, 0, 0, _CHANGE),
        (JUMP_EQUAL, 3, 0, _ALL_ONES),
        (AND, 0, 0, _UP),
        (JUMP_EQUAL, 0, 1, _UP),
        WHOLE,
        NOTHING,
    )


def _words(name: str) -> list[int]:
    letters = name.encode()
    return [int.from_bytes(letters[at : at + 4], "big") for at in range(0, len(letters), 4)]


OF_LINKS_THAT_PASS: Final = _of_links_that_pass()
NO_HOSTS_ENDS: Final = _but_links(TAP_PREFIX, BRIDGE_PREFIX, VXLAN_PREFIX, JOINT_PREFIX)
"""For a socket that is to hear of routers' namespaces, and hears the host's too: what is ours there has these names."""
