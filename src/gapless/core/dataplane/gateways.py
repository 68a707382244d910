"""Whether the routers that are active on a host hear their gateways, and what it means that one does not. Pure.

Theory: a router may be as it should be in every setting and still get nowhere: somebody drops its frames on the way, or
entered a wrong address for its gateway. Its own kernel notices, since it asks the gateway by ARP before it sends. So a
probe is a look at that neighbour's entry, and where that has become old, a word to the kernel to ask as for a packet
(`agent.kernel.gateways`). No frame is made here, and none is sent that a packet would not have caused.

The rule: routers are judged by comparison. One ails if `MISSES` of its questions were not answered, and its gateway has
answered another one of this host between them, and again after the last one. So what strikes all is held against none,
however long it lasts and however late each is looked at: that is the gateway, or the uplink, which the beat looks at
(`edge.uplinks`). One outage explains any number of questions that nobody's answer came between, and who is still found
silent when it is over was last asked in it. What is lost for all is told once, and when it is back, everybody begins
anew. Compared are routers with the same gateway in the same network, and guarded ones with guarded ones: those are all
silent when their host loses its lease.

A guarded one that is still silent `MISSES_MORE` looks after that is given up here: nothing is to be repaired, and on
another host it may hear. But no more than `FEW` that have one gateway: what keeps many from it is likely to keep them
from it elsewhere, which shows after minutes only. And not for a silence that strikes all by now: the gateway must have
answered somebody after the one was found deaf, and looks while it was lost for all count for nothing. A classic
router stays: to be built elsewhere costs what still works of it, between its tenants' networks and to its neighbours
outside.

The pace is `RATE` looks a second at most, however many routers there are, and each `ROUND_S` at most for one of them.
With 1,000 routers a round takes 25 s.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from math import inf

from gapless.model.neighbour import Neighbour, Reach, WayOut
from gapless.model.network import NetworkId
from gapless.model.router import RouterId

RATE = 40
BATCH_S = 1.0
"""Between two batches of looks."""
ROUND_S = 10.0
MISSES = 2
MISSES_MORE = 2 * MISSES
FEW = 2
KEPT_S = 45.0
"""An entry that was used is kept by the kernel for longer, if the neighbour answered. Where many routers share the
kernel's table, those of neighbours that did not are thrown away after some seconds."""

ASKING_S = 8.0
"""For so long a question is under way: a kernel waits for 5 s before it doubts an old answer, and then asks three
times, a second apart."""

_Kind = tuple[NetworkId, IPv4Address, bool]
_BATCH = int(RATE * BATCH_S)


@dataclass(frozen=True, slots=True)
class Deafness:
    """What is concluded of a router that does not hear its gateway, and of one that does."""

    why: str = ""
    """As a clause; "": it hears."""
    is_given_up: bool = False
    """It was so for long."""


HEARS = Deafness()


@dataclass(slots=True)
class _Known:
    """Of one router."""

    way: WayOut
    silences: int = 0
    """Looks in a row that found it silent."""
    silent_since: float = inf
    """When the first of these was."""
    misses: int = 0
    """Its questions since it was answered last that were not answered, of those with others' answers in between."""
    open_since: float = inf
    """When the first of its questions was asked since which no answer to another one is known."""
    heard_at: float = -inf
    """When its gateway answered it last."""
    asked_at: float = -inf
    """When its kernel was told last that the entry is used; since then it was not found to be answered."""
    deafness: Deafness = HEARS
    deaf_since: float = inf
    """When it was found deaf; infinite where it was not, or not since everybody began anew."""
    silences_by_then: int = 0
    """After how many looks in a row it was found so."""

    def hears(self) -> None:
        """It was answered."""
        self.silences, self.silent_since = 0, inf
        self.begin_anew()

    def begin_anew(self) -> None:
        """Nothing is held against it so far, nor any question that it has asked. What was concluded of it stays."""
        self.misses, self.open_since, self.deaf_since = 0, inf, inf

    def is_deaf(self, now: float) -> None:
        """It is found so: looks are counted from here until it is given up."""
        if self.deaf_since == inf:
            self.deaf_since, self.silences_by_then = now, self.silences

    def is_silent(self, now: float, answered_at: float) -> None:
        """It was not answered; another one was at `answered_at`."""
        self.silences += 1
        self.silent_since = min(self.silent_since, now)
        if answered_at > self.open_since + ASKING_S:
            self.misses += 1
            self.open_since = self.asked_at if self.asked_at >= answered_at else inf

    def asks(self, now: float) -> None:
        """Its kernel was told to ask."""
        self.asked_at, self.open_since = now, min(self.open_since, now)


class Gateways:
    """Who is looked at next, and what came of it. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._known: dict[RouterId, _Known] = {}
        self._queue: list[WayOut] = []
        self._next_round = -inf
        self._answered_at: dict[_Kind, float] = {}
        """When a gateway answered any of these last."""
        self._macs: dict[_Kind, str] = {}
        """Where it was then."""
        self._lost: set[_Kind] = set()
        self._lines: list[str] = []

    def next_batch(self, now: float, ways: Callable[[], Iterable[WayOut]]) -> list[WayOut]:
        """Whom to look at now. `ways`: of all routers that are active here, asked for at the beginning of a round."""
        if not self._queue and now >= self._next_round:
            self._queue, self._next_round = list(ways()), now + ROUND_S
            self._keep(self._queue)
        batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
        return batch

    def _keep(self, ways: Collection[WayOut]) -> None:
        """Forget routers that are not active here any more, or have another way out, and gateways that nobody has."""
        before = self._known
        kept = ((way, before.get(way.router_id)) for way in ways)
        self._known = {way.router_id: it if it is not None and it.way == way else _Known(way) for way, it in kept}
        kinds = {_kind(way) for way in ways}
        self._answered_at = {kind: at for kind, at in self._answered_at.items() if kind in kinds}
        self._macs = {kind: mac for kind, mac in self._macs.items() if kind in kinds}
        self._lost &= kinds

    def take(self, found: Mapping[RouterId, Neighbour], now: float) -> dict[WayOut, Deafness]:
        """What was seen of a batch. Returns what is concluded, news or not, of those of which anything is."""
        seen = [(self._known[each], neighbour) for each, neighbour in found.items() if each in self._known]
        for known, neighbour in seen:
            self._hear(known, neighbour, now)
        for known, neighbour in seen:
            self._note(known, neighbour, now)
        for kind in {_kind(known.way) for known, _ in seen}:
            self._judge_kind(kind)
        concluded = {}
        for known, neighbour in seen:
            if (deafness := self._judge(known, neighbour)) is not None:
                if deafness.why:
                    known.is_deaf(now)
                concluded[known.way] = known.deafness = deafness
        return concluded

    def take_lines(self) -> list[str]:
        """What struck all routers alike, since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def _hear(self, known: _Known, neighbour: Neighbour, now: float) -> None:
        """When a gateway has answered, and where it is."""
        if neighbour.confirmed_ago_s is not None:
            known.heard_at = max(known.heard_at, now - neighbour.confirmed_ago_s)
        if neighbour.reach is Reach.HEARD:
            kind = _kind(known.way)
            self._answered_at[kind] = max(self._answered_at.get(kind, -inf), known.heard_at)
            self._macs[kind] = neighbour.mac

    def _note(self, known: _Known, neighbour: Neighbour, now: float) -> None:
        """What was known of it by then, and that it is asked now, where that is done."""
        kind = _kind(known.way)
        answered_at = self._answered_at.get(kind, -inf)
        match neighbour.reach:
            case Reach.PINNED if self._macs.get(kind, neighbour.mac) != neighbour.mac:
                known.is_silent(now, answered_at)
                known.misses += 1  # Needs no question: others have said where the gateway is.
            case Reach.HEARD | Reach.PINNED:
                known.hears()  # As right as can be told.
            case Reach.SILENT:
                known.is_silent(now, answered_at)
            case Reach.UNKNOWN if now - known.asked_at <= KEPT_S:
                known.is_silent(now, answered_at)
            case Reach.ASKED if known.heard_at > known.asked_at > -inf:
                known.hears()
            case _:
                pass  # It is being asked: the next look tells.
        if neighbour.reach in (Reach.HEARD, Reach.PINNED):
            known.asked_at = -inf
        else:
            known.asks(now)

    def _judge(self, known: _Known, neighbour: Neighbour) -> Deafness | None:
        """None: that cannot be said yet, or what is so strikes all."""
        if known.misses < MISSES:
            is_open = known.silences or neighbour.reach in (Reach.ASKED, Reach.UNKNOWN)
            return None if is_open else HEARS
        if known.deafness.why:
            return replace(known.deafness, is_given_up=known.deafness.is_given_up or self._is_to_give_up(known))
        return Deafness(self._why(known, neighbour))

    def _is_to_give_up(self, known: _Known) -> bool:
        kind = _kind(known.way)
        is_long = known.silences - known.silences_by_then >= MISSES_MORE
        # Of one that is only now found deaf again `deaf_since` is infinite: nothing has followed yet.
        if not known.way.guarded or not is_long or self._answered_at.get(kind, -inf) <= known.deaf_since:
            return False
        return sum(_kind(it.way) == kind and it.silences >= MISSES for it in self._known.values()) <= FEW

    def _why(self, known: _Known, neighbour: Neighbour) -> str:
        kind, gateway = _kind(known.way), known.way.gateway
        if neighbour.reach is Reach.PINNED:
            return (
                f"somebody entered {neighbour.mac} as the address of its gateway {gateway}, which others here find at "
                f"{self._macs[kind]}"
            )
        others = sum(_kind(it.way) == kind and it.heard_at > known.silent_since for it in self._known.values())
        return f"its gateway {gateway} does not answer it, while it answers others here ({others})"

    def _judge_kind(self, kind: _Kind) -> None:
        """Say it once when no router hears a gateway, and once when one does again."""
        alike = [it for it in self._known.values() if _kind(it.way) == kind]
        _, gateway, guarded = kind
        if kind not in self._lost and all(it.silences >= MISSES for it in alike):
            self._lost.add(kind)
            who = _many(len(alike), "guarded router" if guarded else "unguarded router")
            causes = "is it down, or this host's way to it" + (", or its lease gone?" if guarded else "?")
            self._lines.append(f"gateway {gateway} answers none of {who} here: {causes}")
        elif kind in self._lost and any(it.silences == 0 and it.heard_at > -inf for it in alike):
            self._lost.discard(kind)
            self._lines.append(f"gateway {gateway} answers routers here again")
            for it in alike:
                it.begin_anew()


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _kind(way: WayOut) -> _Kind:
    return way.network_id, way.gateway, way.guarded
