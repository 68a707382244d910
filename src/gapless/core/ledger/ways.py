"""Which ways out one host has lost, by its own word, and since when. What follows for routers: `planner.ways`.

The rule: a word counts once it has stood for `SETTLED_S`. Hosts find out at different times that the same gateway is
silent, or answers again (`edge.uplinks`), and their reports take their time: until they would agree, a difference
between two of them says nothing. Only what a host said in this connection counts, and before it was buried: it may be
dead. One that says nothing of its ways, such as one of an older release, or one whose beat has just begun, has lost
none and is known to have none. Nor is a host known to have a gateway that it does not look at, as no router of its own
uses it.

A way that was lost again and again has to be there for longer before anything moves to it: twice as long with each
loss, up to `MOST_S`, until it was there for `FORGOTTEN_S` (as in route-flap damping, RFC 2439). So between two hosts
whose ways come and go, a router moves ever more seldom. To leave a host is not made harder by that: it is dark there.

The invariant: of no host is the same way at once lost and there. `now` is the planner's monotonic seconds.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

from gapless.core.events import RouterNeeds
from gapless.model.way import WayOut, WaysSaid

SETTLED_S = 5.0
"""A gateway is taken for lost when three questions had no answer and the fourth leaves, half a second apart, by each
host in its own time: two hosts agree after 2.5 s and what their reports take. Twice that is still short beside what
people need to find out."""
MOST_S = 320.0
FORGOTTEN_S = 3600.0


@dataclass(slots=True)
class _Way:
    """One that was lost once, or could not be vouched for, in this connection or before."""

    is_there: bool
    since: float
    losses: int = 0
    """Since it was last there for long."""

    def becomes(self, *, is_there: bool, now: float) -> None:
        self.is_there, self.since = is_there, now

    @property
    def proven_after_s(self) -> float:
        """For how long it has to be there."""
        doublings = min(max(0, self.losses - 1), 10)
        return min(SETTLED_S * (1 << doublings), MOST_S)


@dataclass(slots=True, kw_only=True)
class WaysRecord:
    """Of one host."""

    known_since: float | None = None
    """Since when it says, in this connection, how its ways are; None: it does not."""
    lost: dict[WayOut, float] = field(default_factory=dict)
    """What it has lost, and since when it says so."""
    unsure: frozenset[WayOut] = frozenset()
    there: frozenset[WayOut] = frozenset()
    """The gateways that answer it; carriers are there unless it says otherwise."""
    _ways: dict[WayOut, _Way] = field(default_factory=dict)
    _settles_at: float = inf

    def forget(self) -> None:
        """A connection is over, or another begins, or others buried the host: what was said does not count any more."""
        self.known_since, self.lost, self._settles_at = None, {}, inf
        self.unsure = self.there = frozenset()

    def heard(self, said: WaysSaid | None, now: float) -> bool:
        """It says how its ways are, or that it does not know; whether that is news."""
        if said is None:
            is_news = self.known_since is not None
            self.forget()
            return is_news
        lost = frozenset(said.lost)
        unsure = frozenset(said.unsure) - lost
        there = frozenset(said.there) - lost - unsure
        is_same = lost == self.lost.keys() and unsure == self.unsure and there == self.there
        if self.known_since is not None and is_same:
            return False
        begins = self.known_since is None
        if begins:
            self.known_since = now
        for way in lost - self.lost.keys():
            self._lose(way, now)
        missing = lost | unsure
        for way in missing | there | self._ways.keys():
            is_there = way in there if way.gateway is not None else way not in missing
            known = self._ways.setdefault(way, _Way(is_there=not is_there, since=now))
            if begins or known.is_there is not is_there:
                known.becomes(is_there=is_there, now=now)
        self.lost, self.unsure, self.there = {way: self.lost.get(way, now) for way in lost}, unsure, there
        self._forget(missing, now)
        self._settles_at = self._next_settling(now)
        return True

    def excuse(self, now: float) -> None:
        """Nobody could have been heard for a while: what was said before has to stand anew."""
        self.lost = dict.fromkeys(self.lost, now)
        for way in self._ways.values():
            way.since = now
        if self.known_since is not None:
            self.known_since = now
            self._settles_at = self._next_settling(now)

    def settled(self, now: float) -> bool:
        """With each tick: whether something has stood for long enough that had not when this was last asked."""
        if now < self._settles_at:
            return False
        self._settles_at = self._next_settling(now)
        return True

    def lost_of(self, needs: RouterNeeds) -> list[WayOut]:
        """Which of the ways that a router uses are lost here now."""
        return sorted(needs.ways & self.lost.keys(), key=str) if self.lost else []

    def lost_for_long(self, needs: RouterNeeds, now: float) -> list[WayOut]:
        """Which of those have been for so long that it should leave."""
        return [way for way in self.lost_of(needs) if now - self.lost[way] >= SETTLED_S]

    def has(self, ways: Collection[WayOut], lacking: Collection[WayOut], now: float) -> bool:
        """Whether all the ways that a router uses are there, by the host's word, for long enough to move to them.

        `lacking`: what the host that it is on has lost of them. A gateway of these has to be known to answer here,
        unless it is a carrier that took it there; of another one it is enough that nothing is held against it.
        """
        carriers = {way.network for way in lacking if way.gateway is None}
        return all(self.has_way(way, now, is_known=way in lacking and way.network not in carriers) for way in ways)

    def has_way(self, way: WayOut, now: float, *, is_known: bool = True) -> bool:
        """The same of one. `is_known`: a gateway has to be known to answer."""
        if self.known_since is None or now - self.known_since < SETTLED_S:
            return False
        if way.gateway is not None and is_known and way not in self.there:
            return False
        known = self._ways.get(way)
        return known is None or (known.is_there and now - known.since >= known.proven_after_s)

    def is_left(self, now: float) -> bool:
        """Whether it has lost a way for so long that routers leave, if they can."""
        return any(now - since >= SETTLED_S for since in self.lost.values())

    def _lose(self, way: WayOut, now: float) -> None:
        known = self._ways.setdefault(way, _Way(is_there=True, since=now))
        if known.is_there:  # Else it is only said once more, in another connection.
            known.losses = 1 if now - known.since >= FORGOTTEN_S else known.losses + 1

    def _forget(self, missing: frozenset[WayOut], now: float) -> None:
        """What has been there for long is as any other way, and what the host has not looked at for as long."""
        gone = [
            name
            for name, way in self._ways.items()
            if now - way.since >= FORGOTTEN_S and (way.is_there or name not in missing)
        ]
        for name in gone:
            del self._ways[name]

    def _next_settling(self, now: float) -> float:
        if self.known_since is None:
            return inf
        times = [self.known_since + SETTLED_S, *(since + SETTLED_S for since in self.lost.values())]
        times += [way.since + way.proven_after_s for way in self._ways.values() if way.is_there]
        return min((at for at in times if at > now), default=inf)
