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

A table of that name that is not ours (`kernel.ownership`) is left alone. Then nothing is steered, and no router is
built here that has to be: so it is found when a host is set up, and not when a thousand routers are flooded.

Sources: net/bridge/br_input.c and br_forward.c of Linux (prerouting comes before the destination is looked up), nft(8).
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.steeringtable import (
    DELSETELEM,
    FAMILY,
    MARKS,
    NEWSETELEM,
    TABLE,
    TEXT,
    AsMade,
    Place,
    elements_of,
    messages,
)
from gapless.errors import Unavailable
from gapless.kernel.netlink import NETFILTER, Netlink
from gapless.kernel.ownership import Owner, collision, owner
from gapless.kernel.transactions import Message, Transactions
from gapless.model.router import RouterId
from gapless.model.steering import Entry, Kind

FRESH_S: Final = 60.0
"""How long a listing of the table is believed that nobody doubts. With a thousand routers it takes some 70 ms of
processor time."""
_AT_ONCE: Final = 1000
"""Elements in one transaction; several thousand are more than a socket takes."""


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
        self._made = AsMade(now=now)
        self._lock = threading.Lock()
        self._wanted: dict[RouterId, frozenset[Entry]] = {}
        self._left: dict[RouterId, frozenset[Entry]] = {}
        """What a router needed before, as far as it is not taken out yet."""
        self._claims: dict[Place, dict[RouterId, str]] = {}
        self._unknown: set[RouterId] = set()
        self._there: dict[Place, str] | None = None
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
                if self._owner() is Owner.GAPLESS:
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

    def _look(self) -> dict[Place, str] | None:
        if self._is_doubted or self._now() - self._listed_at >= FRESH_S:
            self._is_doubted = False
            self._there = self._elements() if self._made.is_here(self._reading) else None
            self._listed_at = self._now()
        return self._there

    def _owner(self) -> Owner | None:
        return owner(self._reading, TABLE, MARKS)

    def _elements(self) -> dict[Place, str]:
        """What is in the sets, each read for itself: the beat's transactions interrupt a reading that takes long."""
        return {(kind, key): mac for kind in Kind for key, mac in elements_of(self._reading, kind)}

    def _make(self) -> None:
        """The table, with what all routers need as far as they have told, in place of one that is ours or empty."""
        whose = self._owner()
        if whose is Owner.SOMEBODY_ELSE:
            raise Unavailable(collision(TABLE))
        # Where there is none, there may be a stranger's a moment later: then it is not this one that goes.
        before = f"create table {FAMILY} {TABLE}" if whose is None else f"delete table {FAMILY} {TABLE}"
        self._nft.transact(f"{before}\n{TEXT}", f"make nftables table {FAMILY} {TABLE}")
        self._there = {}
        self._put({place: next(reversed(claimants.values())) for place, claimants in self._claims.items()})

    def _put(self, places: Mapping[Place, str]) -> None:
        there = self._there if self._there is not None else {}
        wanted = {place: mac for place, mac in places.items() if there.get(place) != mac}
        names = sorted(wanted)
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            replaced = [place for place in part if place in there]
            self._change(
                [*messages(DELSETELEM, replaced, {}), *messages(NEWSETELEM, part, wanted)], "steer to a router"
            )
            there |= {place: wanted[place] for place in part}

    def _take_out(self, places: Sequence[Place]) -> None:
        there = self._there if self._there is not None else {}
        unwanted = sorted(place for place in set(places) if place in there and place not in self._claims)
        for start in range(0, len(unwanted), _AT_ONCE):
            part = unwanted[start : start + _AT_ONCE]
            self._change(messages(DELSETELEM, part, {}), "steer to a router no longer")
            for place in part:
                del there[place]
        # What another router needs under the same key was overwritten by the one that needs it no longer.
        self._put({it: next(reversed(self._claims[it].values())) for it in places if it in self._claims})

    def _change(self, changes: Sequence[Message], about: str) -> None:
        if not changes:
            return
        try:
            self._writing.commit(changes, None, f"{about} (nftables table {FAMILY} {TABLE})")
        except Unavailable:
            self._listed_at = -FRESH_S  # somebody else changed it: look before the next try
            raise
