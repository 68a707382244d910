"""Whose an nftables table of family bridge is: somebody else may have chosen the name of one of ours, too.

The rule: a table is ours by what is in it: sets of the names and key types that every release of ours has made there.
So one that an earlier release made, or that somebody changed, is known; a stranger's is not taken for it. An empty
table is nobody's, as an empty namespace of a router's name is.

Why no note in the table (NFTA_TABLE_USERDATA): kernels before 5.10 keep none, and earlier releases wrote none.

Formats: linux/netfilter/nf_tables.h.
"""

import errno
import socket
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final

from gapless.kernel.netlink import Netlink, attributes, text
from gapless.kernel.transactions import GENERAL, SUBSYSTEM

_GETTABLE, _GETSET = 1, 10
_TABLE_NAME, _TABLE_USE = 1, 3
_SET_TABLE, _SET_NAME, _SET_KEY_TYPE = 1, 2, 4
_HEAD = GENERAL.pack(socket.AF_BRIDGE, 0, 0)
_GONE: Final = frozenset({errno.ENOENT})


class Owner(Enum):
    """Whose a table is."""

    NOBODY = "nobody"
    """There is nothing in it."""
    GAPLESS = "gapless"
    SOMEBODY_ELSE = "somebody else"


def owner(netlink: Netlink, table: str, marks: Mapping[str, int]) -> Owner | None:
    """Whose the table is in the namespace of `netlink`, a socket of the family NETFILTER; None: there is none. `marks`:
    sets by which ours is known, each with the type of its keys, in libnftables' numbers. Raises Unavailable.
    """
    named = [it for it in _listed(netlink, _GETTABLE, _HEAD, table) if it.get(_TABLE_NAME) == _name(table)]
    if not named:
        return None
    if not int.from_bytes(named[0].get(_TABLE_USE, b""), "big"):
        return Owner.NOBODY
    sets = {
        it.get(_SET_NAME): int.from_bytes(it.get(_SET_KEY_TYPE, b""), "big")
        for it in _listed(netlink, _GETSET, _HEAD + text(_SET_TABLE, table), table)
    }
    return Owner.GAPLESS if all(sets.get(_name(it)) == type_ for it, type_ in marks.items()) else Owner.SOMEBODY_ELSE


def collision(table: str) -> str:
    """What an operator is told of a stranger's table that has the name of ours."""
    return (
        f"an nftables table bridge {table} exists on this host and was not made by Gapless, which needs that name and "
        f"leaves the table alone; rename it, or remove it (nft delete table bridge {table}) if nobody needs it"
    )


def _listed(netlink: Netlink, kind: int, body: bytes, table: str) -> Iterator[Mapping[int, bytes]]:
    for message in netlink.dump(SUBSYSTEM | kind, body, f"look whose nftables table bridge {table} is", empty=_GONE):
        yield attributes(message, GENERAL.size)


def _name(word: str) -> bytes:
    return word.encode() + b"\0"
