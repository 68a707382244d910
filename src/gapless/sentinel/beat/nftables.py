"""What nftables is told and says, as bytes: tables, chains and sets to make, elements, expressions, and what is there.

Messages for `transactions`, in tables of family bridge. What is made is told back (ECHO), by which `made` knows it
again. Formats: linux/netfilter/nf_tables.h; what `nft` shows of a set is its own note in it (libnftnl/udata.h).
"""

import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from gapless.kernel.netlink import APPEND, CREATE, ECHO, Netlink, attribute, attributes, each_attribute, nested, text
from gapless.kernel.transactions import GENERAL, SUBSYSTEM, Message

_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE, _GETRULE = 0, 1, 2, 3, 4, 6, 7
_NEWSET, _GETSET, _NEWSETELEM, _GETSETELEM, _DELSETELEM = 9, 10, 12, 13, 14
_ELEMENTS_A_MESSAGE = 2000
"""An attribute holds 64 KiB."""
_HEAD = GENERAL.pack(socket.AF_BRIDGE, 0, 0)


def number(kind: int, value: int) -> bytes:
    """An attribute with 32 bits in network order."""
    return attribute(kind, struct.pack("!I", value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A base chain of a table of family bridge; `hook` as in linux/netfilter_bridge.h. What no rule decides passes."""

    name: str
    hook: int
    priority: int
    rules: tuple[tuple[bytes, ...], ...]
    """Each a sequence of expressions."""


OWNER, PERSIST = 2, 4
"""Flags of a table: only its maker's socket changes it; it stays when that socket is closed."""
INTERVAL, TIMEOUT = 4, 16
"""Flags of a set: elements are ranges; elements end by themselves."""
PREROUTING, INPUT, OUTPUT, POSTROUTING = 0, 1, 3, 4
_ACCEPT, _DROP = 1, 0


def new_table(table: str, flags: int | None) -> Message:
    """Make a table; with `flags` None it is also fine when there is one, and is not told back."""
    if flags is None:
        return Message(_NEWTABLE, CREATE, text(1, table))
    return Message(_NEWTABLE, CREATE | ECHO, text(1, table) + number(2, flags))


def delete_table(table: str) -> Message:
    """Delete a table and what is in it."""
    return Message(_DELTABLE, 0, text(1, table))


def new_chain(table: str, chain: Chain) -> list[Message]:
    """Make a chain with its rules."""
    hook = nested(4, number(1, chain.hook), attribute(2, struct.pack("!i", chain.priority)))
    head = text(1, table) + text(3, chain.name) + hook + number(5, _ACCEPT) + text(7, "filter")
    rules = [
        Message(_NEWRULE, CREATE | APPEND | ECHO, text(1, table) + text(2, chain.name) + nested(4, *expressions))
        for expressions in chain.rules
    ]
    return [Message(_NEWCHAIN, CREATE | ECHO, head), *rules]


def new_set(
    table: str, name: str, *, identity: int, key_type: int, key_bytes: int, flags: int, size: int, note: bytes
) -> Message:
    """Make a set. `key_type` and `note` are nft's, for showing it. `size` 0: as many elements as come."""
    described = (
        text(1, table)
        + text(2, name)
        + number(3, flags)
        + number(4, key_type)
        + number(5, key_bytes)
        + number(10, identity)
        + (nested(9, number(1, size)) if size else b"")
        + attribute(13, note)
    )
    return Message(_NEWSET, CREATE | ECHO, described)


def clear_set(table: str, name: str) -> Message:
    """Take all elements out of a set."""
    return Message(_DELSETELEM, 0, text(1, table) + text(2, name))


def add_elements(table: str, name: str, elements: Sequence[bytes]) -> list[Message]:
    """Put elements into a set; those that are in it stay."""
    return _of_elements(_NEWSETELEM, CREATE, table, name, elements)


def remove_elements(table: str, name: str, elements: Sequence[bytes]) -> list[Message]:
    """Take elements out of a set; each must be in it."""
    return _of_elements(_DELSETELEM, 0, table, name, elements)


def _of_elements(kind: int, flags: int, table: str, name: str, elements: Sequence[bytes]) -> list[Message]:
    head = _set_of(table, name)
    return [
        Message(kind, flags, head + nested(3, *elements[start : start + _ELEMENTS_A_MESSAGE]))
        for start in range(0, len(elements), _ELEMENTS_A_MESSAGE)
    ]


@cache
def _set_of(table: str, name: str) -> bytes:
    """Which set it is about: there are two, and each beat names one."""
    return text(1, table) + text(2, name)


def elements(keys_of_one_size: Sequence[bytes]) -> list[bytes]:
    """Elements of a set. Their heads are packed once: of a thousand routers, the rest is one addition each."""
    if not keys_of_one_size:
        return []
    size = len(keys_of_one_size[0])
    head = nested(1, nested(1, attribute(1, bytes(size))))[:-size]
    return [head + key for key in keys_of_one_size]


def range_element(start: bytes, end: bytes, timeout_ms: int) -> bytes:
    """A range of a set of ranges, from `start` up to and without `end`, that ends by itself."""
    opening, lasting, closing, ending = _range_frame(len(start))
    return b"".join((opening, start, lasting, struct.pack("!Q", timeout_ms), closing, end, ending))


@cache
def _range_frame(size: int) -> tuple[bytes, bytes, bytes, bytes]:
    """What is around a range's start, timeout and end, for keys of so many bytes: each beat puts one in place."""
    key, timeout, ending = bytes(size), attribute(4, bytes(8)), number(3, 1)
    opening = nested(1, nested(1, attribute(1, key)), timeout)
    closing = nested(1, nested(1, attribute(1, key)), ending)
    return opening[: -size - len(timeout)], timeout[:-8], closing[: -size - len(ending)], ending


# Expressions of rules


IIFNAME, OIFNAME, IIFGROUP, OIFGROUP, TIME = 6, 7, 21, 22, 30
"""Keys of `meta`: what is loaded of a frame."""


def load(key: int) -> bytes:
    """Load something about the frame into the register."""
    return _expression("meta", number(2, key), number(1, 1))


def mask(bits: int) -> bytes:
    """Keep these bits of the register, 32 of them in host order."""
    packed, nothing = struct.pack("=I", bits), bytes(4)
    return _expression(
        "bitwise",
        number(1, 1),
        number(2, 1),
        number(3, 4),
        nested(4, attribute(1, packed)),
        nested(5, attribute(1, nothing)),
    )


def differs(value: int) -> bytes:
    """Go on only when the register differs from 32 bits in host order."""
    return _expression("cmp", number(1, 1), number(2, 1), nested(3, attribute(1, struct.pack("=I", value))))


def ordered() -> bytes:
    """Turn the register's 64 bits from host into network order, as sets of ranges keep them."""
    return _expression("byteorder", number(1, 1), number(2, 1), number(3, 1), number(4, 8), number(5, 8))


def is_in(name: str, identity: int) -> bytes:
    """Go on only when the register is in a set, made in the same transaction with this identity."""
    return _expression("lookup", text(1, name), number(2, 1), number(4, identity))


def count() -> bytes:
    """Count the frame."""
    return _expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))


def accept() -> bytes:
    """Let the frame pass."""
    return _verdict(_ACCEPT)


def drop() -> bytes:
    """Drop the frame."""
    return _verdict(_DROP)


def _verdict(code: int) -> bytes:
    return _expression("immediate", number(1, 0), nested(2, nested(2, number(1, code))))


def _expression(name: str, *data: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *data))


# What is there


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as the kernel knows it: every part by its handle, which a part that was changed does not keep."""

    flags: int
    table: int
    chains: frozenset[tuple[str, int, int]]
    """(name, handle, policy)."""
    rules: tuple[tuple[str, int], ...]
    """(chain, handle), in order."""
    sets: frozenset[tuple[str, int]]


def shape(netlink: Netlink, table: str) -> Shape | None:
    """A table's shape; None where there is no such table. Raises Unavailable."""
    head = _HEAD
    found = [it for it in _dump(netlink, _GETTABLE, head, "tables") if it.get(1) == table.encode() + b"\0"]
    if not found:
        return None
    chains = [it for it in _dump(netlink, _GETCHAIN, head, "chains") if it.get(1) == found[0][1]]
    rules = [it for it in _dump(netlink, _GETRULE, head + text(1, table), "rules") if it.get(1) == found[0][1]]
    sets = [it for it in _dump(netlink, _GETSET, head + text(1, table), "sets") if it.get(1) == found[0][1]]
    return _shape(found[0], chains, rules, sets)


def made(echoed: Iterable[tuple[int, bytes]]) -> Shape:
    """The shape of the one table that a transaction made, as `Transactions.commit` returns it; whatever else it made is
    no part of that.
    """
    told: dict[int, list[dict[int, bytes]]] = {_NEWTABLE: [], _NEWCHAIN: [], _NEWRULE: [], _NEWSET: []}
    for kind, body in echoed:
        if kind in told:
            told[kind].append(attributes(body, GENERAL.size))
    (table,) = told[_NEWTABLE]
    return _shape(table, told[_NEWCHAIN], told[_NEWRULE], told[_NEWSET])


def _shape(
    table: dict[int, bytes],
    chains: Iterable[dict[int, bytes]],
    rules: Iterable[dict[int, bytes]],
    sets: Iterable[dict[int, bytes]],
) -> Shape:
    return Shape(
        flags=_value(table, 2),
        table=_value(table, 4),
        chains=frozenset((_name(it, 3), _value(it, 2), _value(it, 5)) for it in chains),
        rules=tuple((_name(it, 2), _value(it, 3)) for it in rules),
        sets=frozenset((_name(it, 2), _value(it, 16)) for it in sets),
    )


def keys(netlink: Netlink, table: str, name: str) -> frozenset[bytes]:
    """The keys in a set; none where there is no such set. Raises Unavailable."""
    head = _HEAD + text(1, table) + text(2, name)
    found = set()
    for message in _dump(netlink, _GETSETELEM, head, f"elements of {name}"):
        for _, each in each_attribute(message.get(3, b"")):
            found.add(attributes(attributes(each).get(1, b"")).get(1, b""))
    return frozenset(found)


def counted(netlink: Netlink, table: str) -> int:
    """Frames counted by a table's rules. Raises Unavailable."""
    head = _HEAD + text(1, table)
    packets = 0
    for rule in _dump(netlink, _GETRULE, head, "rules"):
        for _, each in each_attribute(rule.get(4, b"")):
            expression = attributes(each)
            if expression.get(1) == b"counter\0":
                packets += int.from_bytes(attributes(expression[2])[2], "big")
    return packets


def _dump(netlink: Netlink, kind: int, body: bytes, about: str) -> Iterable[dict[int, bytes]]:
    gone = frozenset({errno.ENOENT})
    messages = netlink.dump(SUBSYSTEM | kind, body, f"list nftables {about}", empty=gone)
    return [attributes(message, GENERAL.size) for message in messages]


def _value(found: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(found.get(kind, b""), "big")


def _name(found: dict[int, bytes], kind: int) -> str:
    return found.get(kind, b"").rstrip(b"\0").decode(errors="replace")
