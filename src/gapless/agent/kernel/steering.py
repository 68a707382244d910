"""Steering: broadcasts on an external network go to the one router that they concern, and not to a thousand others.

A bridge copies each broadcast to all its ports: half a millisecond of processor time for 500 taps, on every host, for
each gratuitous ARP of a takeover. One nftables table of family bridge in the host's namespace keeps it from that:

- prerouting. A broadcast that comes in at an inlet (an uplink, a router's tap) gets another destination address. An ARP
  request from the uplink gets its router's *steering address*, for which the bridge has a static entry at the router's
  tap. What concerns no router gets `NO_ROUTERS`, a multicast address: the bridge floods it to all ports but routers'
  taps, whose multicast flooding is off. What may concern several (a next hop that announces itself, a request among
  routers of this host) stays a broadcast.
- postrouting, and input for the bridge itself. What was rewritten becomes a broadcast again, so no wire, no machine and
  no router ever sees a steering address. It is known by its packet type, which the kernel set when the frame came in.

The rule: **without the table, an inlet, an entry or a static address, a frame is flooded as on any bridge**, which
costs time and nothing else. The guard stands on both sides of this: a steered frame meets it as any other does.

Why a steering address and not the router's own: the bridge forgets after 300 s where a silent router is, a standby is
never heard here, and a frame to an unknown address would be flooded to every tap again.

`NO_ROUTERS` is a group address of the locally administered kind: nothing is assigned to it (01:80:c2 bridges keep to
themselves, 01:00:5e and 33:33 are looked at by snooping). On a bridge that snoops, the kernel looks for IP groups in
every multicast that carries IP; so where the bridge is the operator's, nothing but ARP is rewritten.

Why bridges are not named: `meta ibrname` is a module of its own, which kernels may lack. What has to be kept apart for
networks with the same addresses, who is asked, is known by the uplink. Everything else is common: an address of one
network that is another's next hop is flooded in both.

Sources: net/bridge/br_input.c and br_forward.c of Linux (prerouting comes before the destination is looked up), nft(8).
"""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from gapless.agent.kernel.nft import Nft
from gapless.errors import Unavailable
from gapless.kernel.netlink import (
    CREATE,
    NETFILTER,
    Netlink,
    as_text,
    attribute,
    attributes,
    each_attribute,
    nested,
    text,
)
from gapless.kernel.transactions import GENERAL, SUBSYSTEM, Message, Transactions
from gapless.model.router import RouterId
from gapless.model.steering import Entry, Kind

FAMILY, TABLE = "bridge", "gapless_arp"
NO_ROUTERS: Final = "47:61:70:6c:65:73"
_BROADCAST = "ff:ff:ff:ff:ff:ff"
FRESH_S: Final = 60.0
"""How long a listing of the table is believed that nobody doubts. With a thousand routers it takes some 70 ms of
processor time."""
_AT_ONCE: Final = 1000
"""Elements in one transaction; several thousand are more than a socket takes."""

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
_NEWSETELEM, _GETSETELEM, _DELSETELEM = 12, 13, 14

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

_Place = tuple[Kind, tuple[str, ...]]


class Steering:
    """The steering table of the namespace in which it is made, and what each router needs in it. Thread-safe.

    The kernel's copy is listed now and then; in between it is what it was made. Every call may raise Unavailable.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        with contextlib.ExitStack() as undo:
            self._nft = undo.enter_context(Nft())
            self._writing = undo.enter_context(Transactions())
            self._reading = Netlink(NETFILTER)
            undo.pop_all()
        self._lock = threading.Lock()
        self._wanted: dict[RouterId, frozenset[Entry]] = {}
        self._left: dict[RouterId, frozenset[Entry]] = {}
        """What a router needed before, as far as it is not taken out yet."""
        self._claims: dict[_Place, dict[RouterId, str]] = {}
        self._unknown: set[RouterId] = set()
        self._there: dict[_Place, str] | None = None
        """What the table holds; None: it is not there, or not as it was made."""
        self._listed_at = -FRESH_S
        self._is_doubted = False

    def expect(self, router_id: RouterId) -> None:
        """A router may be in the table that has not told yet what it needs: until then nothing is swept."""
        with self._lock:
            if router_id not in self._wanted:
                self._unknown.add(router_id)

    def doubt(self) -> RouterId | None:
        """The table was made, changed in shape or taken away, maybe by us: a look at the router that is returned tells,
        and mends it for all. None: no router needs it. Waits for nothing.
        """
        self._is_doubted = True
        return next((router_id for router_id, entries in list(self._wanted.items()) if entries), None)

    def want(self, router_id: RouterId, entries: frozenset[Entry]) -> None:
        """From now on a router needs these entries. Nothing is changed in the kernel."""
        with self._lock:
            was = self._wanted.get(router_id, frozenset())
            self._left[router_id] = (self._left.get(router_id, frozenset()) | was) - entries
            self._claim_no_more(router_id, was - entries)
            for entry in entries:
                self._claims.setdefault((entry.kind, entry.key), {})[router_id] = entry.mac
            self._wanted[router_id] = entries
            self._unknown.discard(router_id)

    def observe(self, router_id: RouterId) -> frozenset[Entry]:
        """Entries of a router that the table holds: those that it needs, and those that it needed before."""
        with self._lock:
            there = self._look()
            if there is None:
                return frozenset()
            wanted, left = self._wanted.get(router_id, frozenset()), self._left.get(router_id, frozenset())
            left = frozenset(entry for entry in left if there.get((entry.kind, entry.key)) == entry.mac)
            if router_id in self._left:
                self._left[router_id] = left
            # What another router needs just so is not this one's to take out.
            stale = (entry for entry in left if entry.mac not in self._claims.get((entry.kind, entry.key), {}).values())
            return frozenset(entry for entry in (*wanted, *stale) if there.get((entry.kind, entry.key)) == entry.mac)

    def put(self, entries: Iterable[Entry]) -> None:
        """Put entries into the table, in place of others with the same keys. Makes the table where it is broken."""
        places = {(entry.kind, entry.key): entry.mac for entry in entries}
        with self._lock:
            if self._look() is None:
                self._make()
            try:
                self._put(places)
            except Unavailable:
                # It was changed since it was listed, such as by a firewall's reload.
                if self._look() is None:
                    self._make()
                self._put(places)

    def take_out(self, entries: Iterable[Entry]) -> None:
        """Take entries out of the table that no router needs."""
        with self._lock:
            self._take_out([(entry.kind, entry.key) for entry in entries])

    def forget(self, router_ids: Iterable[RouterId]) -> None:
        """Routers are gone: take out what only they needed."""
        with self._lock:
            gone: list[Entry] = []
            for router_id in router_ids:
                entries = self._wanted.pop(router_id, frozenset()) | self._left.pop(router_id, frozenset())
                self._claim_no_more(router_id, entries)
                self._unknown.discard(router_id)
                gone += entries
            if self._look() is not None:
                self._take_out([(entry.kind, entry.key) for entry in gone])

    def sweep(self) -> None:
        """Take out what no router needs, as an earlier agent may have left; without routers, the table itself."""
        with self._lock:
            if self._unknown:
                return
            if not self._claims:
                self._nft.transact(f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}", "remove steering")
                self._listed_at = -FRESH_S
            elif self._look() is not None:
                self._take_out([place for place in self._there or () if place not in self._claims])

    def close(self) -> None:
        """Let go; the table stays."""
        self._nft.close()
        self._writing.close()
        self._reading.close()

    def _claim_no_more(self, router_id: RouterId, entries: Iterable[Entry]) -> None:
        for entry in entries:
            claimants = self._claims.get((entry.kind, entry.key), {})
            claimants.pop(router_id, None)
            if not claimants:
                self._claims.pop((entry.kind, entry.key), None)

    def _look(self) -> dict[_Place, str] | None:
        if self._is_doubted or self._now() - self._listed_at >= FRESH_S:
            self._is_doubted = False
            # What is listed stays with a context and slows down what follows, so it is one of its own.
            with Nft(terse=True) as nft:
                listed = nft.list_table(FAMILY, TABLE)
            self._there = self._elements() if listed is not None and _is_as_made(listed) else None
            self._listed_at = self._now()
        return self._there

    def _elements(self) -> dict[_Place, str]:
        """What is in the sets, each read for itself: the beat's transactions interrupt a reading that takes long."""
        return {(kind, key): mac for kind in Kind for key, mac in _elements_of(self._reading, kind)}

    def _make(self) -> None:
        """The table, with what all routers need as far as they have told, in place of what is there."""
        anew = f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n{_TEXT}"
        self._nft.transact(anew, f"make nftables table {FAMILY} {TABLE}")
        self._there = {}
        self._put({place: next(reversed(claimants.values())) for place, claimants in self._claims.items()})

    def _put(self, places: Mapping[_Place, str]) -> None:
        there = self._there if self._there is not None else {}
        wanted = {place: mac for place, mac in places.items() if there.get(place) != mac}
        names = sorted(wanted)
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            replaced = [place for place in part if place in there]
            self._change(
                [*_messages(_DELSETELEM, replaced, {}), *_messages(_NEWSETELEM, part, wanted)], "steer to a router"
            )
            there |= {place: wanted[place] for place in part}

    def _take_out(self, places: Sequence[_Place]) -> None:
        there = self._there if self._there is not None else {}
        unwanted = sorted(place for place in set(places) if place in there and place not in self._claims)
        for start in range(0, len(unwanted), _AT_ONCE):
            part = unwanted[start : start + _AT_ONCE]
            self._change(_messages(_DELSETELEM, part, {}), "steer to a router no longer")
            for place in part:
                del there[place]
        # What another router needs under the same key was overwritten by the one that needs it no longer.
        self._put({it: next(reversed(self._claims[it].values())) for it in places if it in self._claims})

    def _change(self, messages: Sequence[Message], about: str) -> None:
        if not messages:
            return
        try:
            self._writing.commit(messages, None, f"{about} (nftables table {FAMILY} {TABLE})")
        except Unavailable:
            self._listed_at = -FRESH_S  # somebody else changed it: look before the next try
            raise


def _messages(verb: int, places: Sequence[_Place], macs: Mapping[_Place, str]) -> list[Message]:
    """One message a set. Format: linux/netfilter/nf_tables.h."""
    elements: dict[Kind, list[bytes]] = {}
    for kind, key in places:
        mac = macs.get((kind, key))
        value = nested(2, attribute(1, _PARTS["ether_addr"][2](mac))) if mac else b""
        elements.setdefault(kind, []).append(nested(1, nested(1, attribute(1, _encoded(kind, key))), value))
    flags = CREATE if verb == _NEWSETELEM else 0
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


_TEXT: Final = _text()


def _is_as_made(listed: Sequence[dict[str, Any]]) -> bool:
    """Whether the chains, rules and sets in a listing of the table are as they were made."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for entry in listed:
        for kind, thing in entry.items():
            kinds.setdefault(kind, []).append(thing)
    shape = {
        chain["name"]: (chain.get("hook"), chain.get("prio"), chain.get("policy"), _comments(chain["name"], kinds))
        for chain in kinds.get("chain", [])
    }
    made = {
        name: (*(hook or (None, None)), "accept" if hook is not None else None, [comment for _, comment in rules])
        for name, (hook, rules) in _CHAINS.items()
    }
    sets = {it["name"] for it in (*kinds.get("set", []), *kinds.get("map", []))}
    is_asleep = any(table.get("flags") for table in kinds.get("table", []))
    return shape == made and sets == {kind.value for kind in _TYPES} and not is_asleep


def _comments(chain: str, kinds: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    return [rule.get("comment", "") for rule in kinds.get("rule", []) if rule["chain"] == chain]


def _elements_of(netlink: Netlink, kind: Kind) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each key in a set, and what it leads to. Format: linux/netfilter/nf_tables.h."""
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
