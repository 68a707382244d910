"""Announcements in turn: which routers are announced next, a few at a time between beats, and again later.

The rule: what was just opened comes before repeats, and first of all what was opened and could not be announced, as
soon as it can. A chunk takes well under a millisecond, and the loop goes on with the beat after each. What is urgent of
a router that was opened is one frame a port. Of one that was given an address while it was open it is all of them,
since neighbours may know that address elsewhere, and another may come before the repeat; these come in between.

The second rule: nothing is announced when the lease is over, not even the rest of a chunk: a process may be stopped
anywhere, and what it sends when it goes on would point switches to a host that is over. Then everything waits, until
the lease is renewed or the routers are silenced.

Invariant: a router that was asked for, and not silenced since, was announced, waits in a queue, or is not whole.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from gapless.model.router import RouterId
from gapless.sentinel.beat import clock as beatclock
from gapless.sentinel.beat.announce import Burst
from gapless.sentinel.beat.preparing import Port
from gapless.sentinel.beat.repeats import Repeats
from gapless.wire.beat import BeatRouter

ROUTERS_AT_ONCE = (8, 2, 1)
"""The first time, and at each repeat, which has more frames."""
EVERY_ADDRESS = 1
"""The first turn that has a frame for each address of a router."""
LOOK_S = 0.01
"""How often it is looked whether a router that could not be announced can be now."""
LATE_MOST = 10
"""So often a router that is said to be ready and cannot be announced is tried; then it has to be asked for anew."""


class Announcing(Protocol):
    """`sentinel.beat.announce.Announcer`, as far as it is used here."""

    def prepare(self, router_id: RouterId, ports: Sequence[Port]) -> None:
        """Get ready to announce a router."""

    def forget(self, router_id: RouterId) -> None:
        """Let go of a router."""

    def burst(self, routers: Iterable[RouterId], may_send: Callable[[], bool], turn: int = 0) -> Burst:
        """Announce these as long as frames may leave; `turn`: 0 the first time, then the number of the repeat."""

    def became_whole(self) -> list[RouterId]:
        """Routers that were made ready since this was asked last."""

    @property
    def is_preparing(self) -> bool:
        """Whether `became_whole` may have something to tell soon."""


@dataclass(slots=True)
class _Unready:
    """Of a router that was asked for, and of which not everything could be sent."""

    wants_whole: bool
    """All of it was to be sent, and not only what is urgent of a router that was just opened."""
    tries: int = 0
    """How often it was said to be ready since."""


class Announcements:
    """Of one beat. `announced` is told of routers once all of them that is announced first was sent."""

    def __init__(
        self,
        announcer: Announcing,
        clock: Callable[[], float] = beatclock.now,
        *,
        lease_until: Callable[[], float],
    ) -> None:
        """`lease_until`: when the lease ends, as the kernel was told last."""
        self._announcer = announcer
        self._lease_until = lease_until
        self._clock = clock
        self._repeats = Repeats()
        # Each router is in a queue once, in the order of the first wish, with its turn: 0, or the number of a repeat.
        self._first: dict[RouterId, int] = {}
        self._whole: dict[RouterId, int] = {}
        """Were given more while they were open. One that waits in `_first` may wait here, too."""
        self._burst: dict[RouterId, None] = {}
        """Announced since both were empty: they are repeated together."""
        self._again: dict[RouterId, int] = {}
        self._unready: dict[RouterId, _Unready] = {}
        """Asked for, and not announced whole yet."""
        self._late: dict[RouterId, int] = {}
        """Those of them that can be announced now."""
        self.announced: Callable[[tuple[RouterId, ...], float], None] = lambda *_: None

    def prepare(self, router: BeatRouter) -> None:
        """Have what there is to announce of this router ready."""
        ports = [
            Port(link=port.link, mac=port.mac, addresses=port.addresses, bridge=port.bridge, way_out=port.way_out)
            for port in router.ports
            if port.way_out
        ]
        self._announcer.prepare(router.router_id, ports)

    def forget(self, router_id: RouterId) -> None:
        """It is not planned here any more."""
        self.silence([router_id])
        self._announcer.forget(router_id)

    def announce(self, routers: Iterable[RouterId]) -> None:
        """Announce these as soon as the beat leaves time, in their order, and again later."""
        for router_id in routers:
            self._first.setdefault(router_id, 0)
            self._unready.pop(router_id, None)
            self._again.pop(router_id, None)

    def announce_whole(self, routers: Iterable[RouterId]) -> None:
        """Announce every address of these: they were open before, and some are new."""
        for router_id in routers:
            self._whole.setdefault(router_id, EVERY_ADDRESS)
            for queue in (self._late, self._unready, self._again):
                queue.pop(router_id, None)

    def announce_again(self, routers: Iterable[RouterId]) -> None:
        """Announce these once more, when nothing else waits."""
        for router_id in routers:
            if router_id not in self._first:
                self._again.setdefault(router_id, 0)

    def silence(self, routers: Iterable[RouterId]) -> None:
        """Announce these no more, also if their turn had not come."""
        for router_id in routers:
            for queue in (self._late, self._first, self._whole, self._again):
                queue.pop(router_id, None)
            self._burst.pop(router_id, None)
            self._unready.pop(router_id, None)
            self._repeats.forget(router_id)

    def next_deadline(self) -> float | None:
        """When `work` has something to do, monotonic seconds; None: nothing waits for a time."""
        if self._is_at_rest or not self._may_send():
            return None
        now = self._clock()
        if self._late or self._first or self._whole or self._again:
            return now
        repeat = self._repeats.next_deadline()
        if self._unready and self._announcer.is_preparing:
            return now + LOOK_S if repeat is None else min(repeat, now + LOOK_S)
        return repeat

    def work(self) -> None:
        """Send one chunk, if one is due."""
        for router_id in self._announcer.became_whole():
            unready = self._unready.get(router_id)
            if router_id in self._first or router_id in self._whole or unready is None or unready.tries >= LATE_MOST:
                continue
            unready.tries += 1
            queue = self._whole if unready.wants_whole else self._late
            queue[router_id] = EVERY_ADDRESS if unready.wants_whole else 0
        if self._is_at_rest or not self._may_send():
            return
        if waiting := self._late or self._first or self._whole:
            self._send_first(waiting)
            return
        self._again |= self._repeats.due(self._clock())
        if self._again:
            self._send(self._again)

    def _send_first(self, waiting: dict[RouterId, int]) -> None:
        chunk = self._send(waiting)
        self._burst |= dict.fromkeys(chunk)
        now = self._clock()
        self.announced(tuple(router_id for router_id in chunk if router_id not in self._unready), now)
        if not (self._first or self._whole):
            self._repeats.begin(self._burst, now)
            self._burst = {}

    def _send(self, waiting: dict[RouterId, int]) -> list[RouterId]:
        """Announce the first few that have the turn of the first one; returns those that are not to wait any more."""
        turn = next(iter(waiting.values()))
        chunk = list(islice((each for each in waiting if waiting[each] == turn), ROUTERS_AT_ONCE[turn]))
        done = self._announcer.burst(chunk, self._may_send, turn)
        chunk = chunk[: len(chunk) - len(done.unsent)]
        for router_id in chunk:
            del waiting[router_id]
            if router_id in done.unready:
                self._unready.setdefault(router_id, _Unready(wants_whole=turn > 0))
            else:
                self._unready.pop(router_id, None)
        return chunk

    @property
    def _is_at_rest(self) -> bool:
        """Nothing waits, whatever the time: so it is nearly always, in each turn of the beat's loop."""
        waits = self._late or self._first or self._whole or self._again or self._unready
        return not waits and self._repeats.next_deadline() is None

    def _may_send(self) -> bool:
        return self._clock() < self._lease_until()
