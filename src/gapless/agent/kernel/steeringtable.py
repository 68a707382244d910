"""The steering table: what is in it, how the kernel is told so, and whether what the kernel has is that.

What it does is told in `steering`. Elements of sets are no part of its shape: they come and go with routers.

Formats: linux/netfilter/nf_tables.h.
"""

import errno
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Final

from gapless.agent.kernel import netns, tables
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.reference import AGAIN_S
from gapless.agent.kernel.tables import Table
from gapless.errors import Unavailable
from gapless.kernel.netlink import (
    CREATE,
    NETFILTER,
    Netlink,
    as_text,
    attributes,
    each_attribute,
    nested,
    text,
)
from gapless.kernel.transactions import GENERAL, SUBSYSTEM, Message, element
from gapless.model.steering import Kind
from gapless.observe.log import get_logger

FAMILY, TABLE = "bridge", "gapless_arp"
NO_ROUTERS: Final = "47:61:70:6c:65:73"
_BROADCAST = "ff:ff:ff:ff:ff:ff"

_TYPES: Final[Mapping[Kind, str]] = {
    Kind.ASKED: "ifname . ipv4_addr : ether_addr",
    Kind.ADDRESSES: "ipv4_addr",
    Kind.ANNOUNCED: "ipv4_addr . ipv4_addr",
    Kind.NEXT_HOPS: "ipv4_addr . ipv4_addr",
    Kind.INLETS: "ifname",
    Kind.ONLY_ARP: "ifname",
    Kind.STEERED: "ether_addr",
}
_PARTS: Final[Mapping[str, tuple[int, Callable[[bytes], str], Callable[[str], bytes]]]] = {
    "ifname": (16, as_text, lambda name: name.encode().ljust(16, b"\0")),
    "ipv4_addr": (4, socket.inet_ntoa, socket.inet_aton),
    "ether_addr": (6, lambda packed: packed.hex(":"), lambda mac: bytes.fromhex(mac.replace(":", ""))),
}
MARKS: Final[Mapping[str, int]] = {Kind.ASKED: 41 << 6 | 7, Kind.STEERED: 9}
"""Sets by which a table of ours is known (`kernel.ownership`), of every release: of names and addresses, of MACs."""
NEWSETELEM, DELSETELEM = 12, 14
_GETSETELEM = 13
Place = tuple[Kind, tuple[str, ...]]
"""A key in a set."""

_KEPT_AWAY = f"ether daddr set {NO_ROUTERS}"
_RESTORED = (
    ("meta pkttype != broadcast accept", "came as something else"),
    (f"ether daddr {_BROADCAST} accept", "was not rewritten"),
    (f"ether daddr {NO_ROUTERS} ether daddr set {_BROADCAST} accept", "a broadcast again"),
    (f"ether daddr @{Kind.STEERED} ether daddr set {_BROADCAST}", "a request again"),
)
_CHAINS: Final[Mapping[str, tuple[tuple[str, int] | None, tuple[tuple[str, str], ...]]]] = {
    "questions": (
        None,
        (
            (f"arp saddr ip . arp daddr ip @{Kind.NEXT_HOPS} accept", "next hops announce to all"),
            (f"arp saddr ip . arp daddr ip @{Kind.ANNOUNCED} {_KEPT_AWAY} accept", "routers announce to others"),
            (f"ether daddr set iifname . arp daddr ip map @{Kind.ASKED} accept", "to who is asked"),
            (f"arp daddr ip @{Kind.ADDRESSES} accept", "from inside: the router may be elsewhere"),
            (_KEPT_AWAY, "about others"),
        ),
    ),
    "arriving": (
        ("prerouting", -300),
        (
            (f"ether daddr != {_BROADCAST} accept", "no broadcast"),
            (f"iifname != @{Kind.INLETS} accept", "no inlet"),
            ("ether type arp goto questions", "ARP"),
            (f"iifname @{Kind.ONLY_ARP} accept", "a bridge that may snoop"),
            (_KEPT_AWAY, "routers take no other broadcasts"),
        ),
    ),
    "leaving": (("postrouting", 300), _RESTORED),
    "delivered": (("input", -300), _RESTORED),
}
"""name -> (hook and priority, None for a chain that is gone to; rules with what they are for)."""


def messages(verb: int, places: Sequence[Place], macs: Mapping[Place, str]) -> list[Message]:
    """One message a set: to put elements in (NEWSETELEM), or to take them out (DELSETELEM)."""
    elements: dict[Kind, list[bytes]] = {}
    for kind, key in places:
        mac = macs.get((kind, key))
        value = _PARTS["ether_addr"][2](mac) if mac else b""
        elements.setdefault(kind, []).append(element(_encoded(kind, key), value))
    flags = CREATE if verb == NEWSETELEM else 0
    return [
        Message(verb, flags, text(1, TABLE) + text(2, kind) + nested(3, *those)) for kind, those in elements.items()
    ]


def _text() -> str:
    sets = [f"  {'map' if ':' in type_ else 'set'} {kind} {{ type {type_}; }}" for kind, type_ in _TYPES.items()]
    chains = []
    for name, (hook, rules) in _CHAINS.items():
        head = [f"type filter hook {hook[0]} priority {hook[1]}; policy accept;"] if hook is not None else []
        lines = [*head, *(f'{rule} comment "{comment}"' for rule, comment in rules)]
        chains.append("\n    ".join((f"  chain {name} {{", *lines)) + "\n  }")
    return "\n".join((f"table {FAMILY} {TABLE} {{", *sets, *chains, "}"))


TEXT: Final = _text()


class AsMade:
    """The table as the kernel lists it where nobody but us can have changed it. Not thread-safe.

    What the kernel lists depends on the library that loads the text, so it is found out in a namespace that nobody else
    has, as what routers' rules are held against is (`reference`, ADR 29).
    """

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._listed: Table | None = None
        self._ask_at = -inf
        self._is_told = False
        self._log = get_logger()

    def is_here(self, netlink: Netlink) -> bool:
        """Whether there is such a table in the namespace of `netlink`, a socket of the family NETFILTER: with its
        chains, all that their rules do, and its sets. Raises Unavailable.
        """
        found = _shape(netlink)
        if found is None:
            return False
        if self._listed is None and self._now() >= self._ask_at:
            self._find_out()
        return found == self._listed if self._listed is not None else has_our_comments(found)

    def _find_out(self) -> None:
        """Ask the kernel; that it cannot be asked is told once, and it is asked again after `AGAIN_S`."""
        try:
            self._listed = netns.in_own_thread(_listed_apart, "list the steering table in a namespace apart")
        except Unavailable as error:
            self._ask_at = self._now() + AGAIN_S
            if not self._is_told:
                self._is_told = True
                self._log.warning("rules of the steering table are known by their comments alone", reason=str(error))


def _listed_apart() -> Table:
    """The calling thread is used for nothing else."""
    netns.go_into_new()
    with Nft() as nft, Netlink(NETFILTER) as netlink:
        nft.transact(TEXT, "load the steering table to list it")
        listed = _shape(netlink)
    if listed is None:
        raise Unavailable("a steering table that was loaded is not listed")
    return listed


def _shape(netlink: Netlink) -> Table | None:
    """The table without elements, its parts in the order of their names."""
    found = tables.read(netlink, tables.BRIDGE, TABLE, with_elements=False)
    if found is None:
        return None
    return replace(
        found,
        chains=tuple(sorted(found.chains, key=lambda it: it.name)),
        sets=tuple(sorted(found.sets, key=lambda it: it.name)),
    )


def has_our_comments(found: Table) -> bool:
    """Whether it has our chains, with rules of our comments, and sets of our names, as far as that tells."""
    chains = {
        chain.name: (chain.hook, chain.priority, chain.policy, [rule.comment for rule in chain.rules])
        for chain in found.chains
    }
    made = {
        name: (*(hook or ("", 0)), "accept" if hook is not None else "", [comment for _, comment in rules])
        for name, (hook, rules) in _CHAINS.items()
    }
    sets = {it.name for it in found.sets}
    return chains == made and sets == {kind.value for kind in Kind} and not found.flags and not found.others


def elements_of(netlink: Netlink, kind: Kind) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each key in a set, and what it leads to. Raises Unavailable."""
    body = GENERAL.pack(socket.AF_BRIDGE, 0, 0) + text(1, TABLE) + text(2, kind)
    about, gone = f"list nftables set {kind}", frozenset({errno.ENOENT})
    for message in netlink.dump(SUBSYSTEM | _GETSETELEM, body, about, empty=gone):
        for _, each in each_attribute(attributes(message, GENERAL.size).get(3, b"")):
            element = attributes(each)
            key, data = (attributes(element.get(part, b"")).get(1, b"") for part in (1, 2))
            yield _decoded(kind, key), data.hex(":")


def _encoded(kind: Kind, key: Iterable[str]) -> bytes:
    return b"".join(_PARTS[part][2](word) for part, word in zip(_parts_of(kind), key, strict=True))


def _decoded(kind: Kind, key: bytes) -> tuple[str, ...]:
    words = []
    for part in _parts_of(kind):
        length, decode, _ = _PARTS[part]
        words.append(decode(key[:length]))
        key = key[length:]
    return tuple(words)


def _parts_of(kind: Kind) -> list[str]:
    """What a key is made of, each part whole words of 32 bits where there are several."""
    return _TYPES[kind].partition(" : ")[0].split(" . ")
