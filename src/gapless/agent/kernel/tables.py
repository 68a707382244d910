"""What a table of nftables holds, read by nfnetlink: a look at a router needs no context of libnftables and no JSON.

The rule: whoever looks has begun to listen (`events`), so a change between two of the messages read here is heard of,
and leads to another look.

Formats: linux/netfilter/nf_tables.h. Numbers are in network order. A rule's comment: libnftnl/udata.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gapless.kernel.netlink import Netlink, Request, attributes, each_attribute, text

IPV4: Final = socket.AF_INET
"""The family `ip`."""
BRIDGE: Final = socket.AF_BRIDGE
MAP: Final = 0x8
"""The flag of a set that is a map, and nothing else."""
ADDRESS: Final = 7
"""The type `ipv4_addr`, in libnftables' numbers."""

_SUBSYSTEM = 10 << 8
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET, _GETSETELEM, _GETGEN, _GETOBJ, _GETFLOWTABLE = 1, 4, 7, 10, 13, 16, 19, 23
_GENERATION = 1
_GENERAL = struct.Struct("=BBH")
_GONE = frozenset({errno.ENOENT})
_HOOKS: Final = ("prerouting", "input", "forward", "output", "postrouting")
_POLICIES: Final = ("drop", "accept")
_COMMENT = 0
_KEY, _DATA = 1, 2
_PADDING, _ELEMENT_FLAGS = 8, 3
_DORMANT = 0x1


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as the kernel lists it. Of what we load, nothing in it counts or changes by itself."""

    comment: str = ""
    """"" for a rule without one."""
    expressions: bytes = b""
    """What it does, in the kernel's own form (NFTA_RULE_EXPRESSIONS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain, with its rules, in order."""

    name: str
    type: str = ""
    hook: str = ""
    """Of a base chain; "" of one that rules go to."""
    priority: int = 0
    policy: str = ""
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A set or map. `pairs` are the elements of a plain map, packed; None where any is more than a key and a value."""

    name: str
    flags: int
    key_type: int
    data_type: int
    pairs: frozenset[tuple[bytes, bytes]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All of it. `others`: how many objects and flow tables."""

    flags: int
    chains: tuple[Chain, ...]
    sets: tuple[Set, ...]
    others: int


def read(netlink: Netlink, family: int, name: str, *, with_elements: bool = True) -> Table | None:
    """A table of the namespace of `netlink`, a socket of the family NETFILTER; None where there is none of that name.

    Without elements, a set has none that anything is known of. Raises Unavailable.
    """
    head = _GENERAL.pack(family, 0, 0)
    named = head + text(1, name)
    found = _find(netlink, family, name)
    if found is None:
        return None
    rules: dict[str, list[Rule]] = {}
    for rule in _dump(netlink, _GETRULE, named, name):
        rules.setdefault(_text(rule, 2), []).append(Rule(_comment(rule.get(7, b"")), rule.get(4, b"")))
    chains = tuple(_chain(it, rules.get(_text(it, 3), ())) for it in _dump(netlink, _GETCHAIN, head, name))
    sets = tuple(_set(netlink if with_elements else None, it, named) for it in _dump(netlink, _GETSET, named, name))
    # The kernel counts all of them together (NFTA_TABLE_USE).
    others = 0
    if _number(found, 3) != len(chains) + len(sets):
        others = sum(1 for kind in (_GETOBJ, _GETFLOWTABLE) for _ in _dump(netlink, kind, named, name))
    return Table(flags=_number(found, 2), chains=chains, sets=sets, others=others)


def generation(netlink: Netlink) -> int | None:
    """Which transaction was the last one in the namespace of `netlink`, of whatever table; None where it is not told.

    As long as it is the same, so is all that can be read here. Raises Unavailable.
    """
    nothing = _GENERAL.pack(socket.AF_UNSPEC, 0, 0)
    asked = Request(_SUBSYSTEM | _GETGEN, 0, nothing, "ask for the last transaction", is_question=True)
    answer = netlink.ask([asked])[0]
    found = attributes(answer.messages[0], _GENERAL.size) if answer.messages else {}
    return _number(found, _GENERATION) if _GENERATION in found else None


def is_awake(netlink: Netlink, family: int, name: str) -> bool:
    """Whether there is a table of that name that frames or packets meet. Raises Unavailable."""
    found = _find(netlink, family, name)
    return found is not None and not _number(found, 2) & _DORMANT


def _find(netlink: Netlink, family: int, name: str) -> Mapping[int, bytes] | None:
    body = _GENERAL.pack(family, 0, 0) + text(1, name)
    asked = Request(_SUBSYSTEM | _GETTABLE, 0, body, f"look for nftables table {name}", _GONE, is_question=True)
    (answer,) = netlink.carry_out([asked])
    return attributes(answer.messages[0], _GENERAL.size) if answer.messages else None


def _dump(netlink: Netlink, kind: int, body: bytes, table: str) -> Iterator[Mapping[int, bytes]]:
    """What there is of a kind; the kernel tells some kinds of other tables too."""
    for message in netlink.dump(_SUBSYSTEM | kind, body, f"list nftables table {table}", empty=_GONE):
        found = attributes(message, _GENERAL.size)
        if _text(found, 1) == table:
            yield found


def _chain(found: Mapping[int, bytes], rules: Sequence[Rule]) -> Chain:
    name = _text(found, 3)
    if 4 not in found:
        return Chain(name=name, rules=tuple(rules))
    hook = attributes(found[4])
    return Chain(
        name=name,
        type=_text(found, 7),
        hook=_word(_HOOKS, _number(hook, 1)),
        priority=struct.unpack("!i", hook.get(2, bytes(4))[:4])[0],
        policy=_word(_POLICIES, _number(found, 5)),
        rules=tuple(rules),
    )


def _set(netlink: Netlink | None, found: Mapping[int, bytes], named: bytes) -> Set:
    name, flags = _text(found, 2), _number(found, 3)
    elements = list(_elements(netlink, named + text(2, name))) if netlink is not None and flags == MAP else []
    return Set(
        name=name,
        flags=flags,
        key_type=_number(found, 4),
        data_type=_number(found, 6),
        pairs=frozenset(map(_pair, elements)) if netlink is not None and all(map(_is_plain, elements)) else None,
    )


def _elements(netlink: Netlink, of_set: bytes) -> Iterator[Mapping[int, bytes]]:
    for message in netlink.dump(_SUBSYSTEM | _GETSETELEM, of_set, "list nftables elements", empty=_GONE):
        for _, each in each_attribute(attributes(message, _GENERAL.size).get(3, b"")):
            yield attributes(each)


def _pair(element: Mapping[int, bytes]) -> tuple[bytes, bytes]:
    key, data = (attributes(element[part]).get(1, b"") for part in (_KEY, _DATA))
    return key, data


def _is_plain(element: Mapping[int, bytes]) -> bool:
    """Whether there is nothing to it but a key and a value: no flag, time, comment or counter."""
    return not _number(element, _ELEMENT_FLAGS) and element.keys() - {_PADDING, _ELEMENT_FLAGS} == {_KEY, _DATA}


def _comment(userdata: bytes) -> str:
    """The comment in a rule's notes: pieces of one byte of type, one of length, and as many bytes."""
    while len(userdata) >= 2:
        kind, length = userdata[0], userdata[1]
        if kind == _COMMENT:
            return userdata[2 : 2 + length].rstrip(b"\0").decode(errors="replace")
        userdata = userdata[2 + length :]
    return ""


def _text(found: Mapping[int, bytes], kind: int) -> str:
    return found.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _number(found: Mapping[int, bytes], kind: int) -> int:
    return int.from_bytes(found.get(kind, b"")[:4], "big")


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if number < len(words) else str(number)
