"""A router's rules as the messages that make them, copied from what the kernel lists of the same rules (ADR 32).

libnftables reads text, asks the kernel for what is there, and needs a context of each namespace: that takes longer than
the kernel takes for the rules. But what the kernel lists of a table, it takes as well. So what it lists of one router's
rules makes those of all that have the same, with the words put right in which they differ (`reference`): it is one
transaction of some twenty messages. Elements of maps are each router's own.

The rule: nothing is copied that was not proved (`proved`); and what was made is looked at as ever.

Formats: linux/netfilter/nf_tables.h. Numbers are in network order.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gapless.agent.kernel import netns, ruleset, tables
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.tables import Table
from gapless.errors import Unavailable
from gapless.kernel.netlink import (
    APPEND,
    CREATE,
    EXCLUSIVE,
    NETFILTER,
    Netlink,
    attribute,
    each_attribute,
    nested,
    text,
)
from gapless.kernel.transactions import GENERAL, SUBSYSTEM, Message, Transactions, element
from gapless.model.observed import Ruleset

Words = Sequence[tuple[bytes, bytes]]
"""What of one router's rules is its own, as the kernel has it, and what another has in its place: as long."""

_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN = 0, 1, 2, 3, 4
_NEWRULE, _GETRULE, _NEWSET, _GETSET, _NEWSETELEM = 6, 7, 9, 10, 12
_NAME: Final = 1
"""Of a table, in messages about it and about what is in it."""
_SET_NUMBER: Final = 10
"""By which messages of one transaction may name a set; the kernel asks for it."""
_CONTAINERS: Final = (
    (_GETTABLE, _NEWTABLE, CREATE | EXCLUSIVE, frozenset((1, 6))),
    (_GETCHAIN, _NEWCHAIN, CREATE | EXCLUSIVE, frozenset((1, 3, 4, 5, 7, 12))),
    (_GETSET, _NEWSET, CREATE | EXCLUSIVE, frozenset((1, 2, 3, 4, 5, 6, 7, 13))),
)
_RULES: Final = (_GETRULE, _NEWRULE, CREATE | APPEND, frozenset((1, 2, 4, 7)))
"""How each kind of thing is asked for, and made; with which flags; and what of it is not the kernel's own to say, as
handles and counts of uses are: names, hooks, policies, types and lengths, expressions, and notes of libnftables."""
_ELEMENTS_AT_ONCE: Final = 1000
"""In one message: the length of an attribute is a number of 16 bits."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What makes the rules of one router."""

    fingerprint: str
    containers: tuple[Message, ...]
    """The table, its chains and sets."""
    rules: tuple[Message, ...]

    def of_another(self, rules: Ruleset, words: Words) -> list[Message]:
        """What makes those of another one."""
        seals = self.fingerprint.encode(), rules.fingerprint.encode()

        def changed(messages: Iterable[Message]) -> Iterator[Message]:
            return (Message(it.type, it.flags, in_other_words(it.body, (*words, seals))) for it in messages)

        return [*changed(self.containers), *_elements(rules), *changed(self.rules)]


def in_other_words(part: bytes, words: Words) -> bytes:
    """What the kernel has of one router's rules, as it has it of another's."""
    for was, becomes in words:
        part = part.replace(was, becomes)
    return part


def load(transactions: Transactions, messages: Sequence[Message], *, is_there: bool) -> None:
    """Make our table, in the namespace of the socket, in place of one that `is_there`. Raises Refusal where the kernel
    does not take it; then nothing was done. Unavailable of another kind: nobody knows whether it was.
    """
    first = [Message(_DELTABLE, 0, text(_NAME, ruleset.TABLE))] if is_there else []
    transactions.commit([*first, *messages], None, "load the router's rules")


def proved(first: Ruleset, second: Ruleset, words: Words) -> Copied | None:
    """What makes the first rules; None where, in other words, it does not make the second. The calling thread is used
    for nothing else. Raises Unavailable where the kernel cannot be asked, or does not take what it lists.
    """
    netns.go_into_new()
    _load_text(first)
    copied = _copied(first)
    netns.go_into_new()
    _load_text(second)
    as_text = _table()
    netns.go_into_new()
    with Transactions(family=tables.IPV4) as transactions:
        load(transactions, copied.of_another(second, words), is_there=False)
    return copied if _table() == as_text else None


def _load_text(rules: Ruleset) -> None:
    with Nft() as nft:
        ruleset.load(nft, rules, replace=False)


def _table() -> Table:
    """Ours, in the namespace of the calling thread."""
    with Netlink(NETFILTER) as netlink:
        found = tables.read(netlink, tables.IPV4, ruleset.TABLE)
    if found is None:
        raise Unavailable("rules that were loaded are not listed")
    return found


def _copied(rules: Ruleset) -> Copied:
    """What makes the table of the namespace of the calling thread, which these rules were loaded into."""
    with Netlink(NETFILTER) as netlink:
        table, chains, sets = (tuple(_listed(netlink, *kind)) for kind in _CONTAINERS)
        listed = tuple(_listed(netlink, *_RULES))
    numbered = (
        replace(it, body=it.body + attribute(_SET_NUMBER, struct.pack("!I", n))) for n, it in enumerate(sets, 1)
    )
    return Copied(rules.fingerprint, (*table, *chains, *numbered), listed)


def _listed(netlink: Netlink, get: int, new: int, flags: int, kept: frozenset[int]) -> Iterator[Message]:
    """What makes all of one kind, in the kernel's order."""
    asked = GENERAL.pack(tables.IPV4, 0, 0) + (text(_NAME, ruleset.TABLE) if get != _GETTABLE else b"")
    for said in netlink.dump(SUBSYSTEM | get, asked, "list rules to copy them"):
        found = each_attribute(said, GENERAL.size)
        yield Message(new, flags, b"".join(attribute(kind, it) for kind, it in found if kind in kept))


def _elements(rules: Ruleset) -> Iterator[Message]:
    """What fills the maps of a router's floating IPs."""
    for name, pairs in ruleset.translations(rules.floating).items():
        for start in range(0, len(pairs), _ELEMENTS_AT_ONCE):
            part = (element(key.packed, value.packed) for key, value in pairs[start : start + _ELEMENTS_AT_ONCE])
            yield Message(_NEWSETELEM, CREATE, text(1, ruleset.TABLE) + text(2, name) + nested(3, *part))
