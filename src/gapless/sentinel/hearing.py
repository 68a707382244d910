"""What a beat says, made into what the sentinel keeps of it: levels, figures, when routers forward, lines of the log.

The rule: a beat says each thing once, when it happens; whoever reports it wants to know how things are. So what is said
becomes a level here, and the listener hears only that some level changed.

The invariant: what is open, and what was taken over, is the present beat's, and the takeovers are those of its present
tenure. A beat that is ready made the guard anew: nothing of the one before is open any more.
"""

import time
from collections.abc import Callable, Mapping
from typing import Protocol, assert_never

from gapless.model.host import Incarnation
from gapless.model.lease import NOBODY
from gapless.model.plan import Burial
from gapless.model.router import RouterId
from gapless.observe.log import get_logger
from gapless.sentinel.figures import BeatFigures
from gapless.sentinel.firstpacket import Counting, FirstPackets
from gapless.sentinel.levels import Done, Levels
from gapless.wire import beat as wire

LATE_SHARE = 0.5
"""A beat that is later than this share of the lease is worth a line in the log."""
SAY_LATE_AGAIN_S = 60.0

Word = (
    wire.Opened | wire.Passing | wire.Closed | wire.Level | wire.TookOver | wire.BurialAnswer | wire.Said | wire.Rhythm
)
"""What a beat says of itself, as long as it goes."""


class PulseListener(Protocol):
    """Who is told that levels of the pulse changed."""

    def guard_changed(self) -> None:
        """What is open, the lease, the plan that is settled, or takeovers: look at the pulse."""

    def buried(self, burial: Burial) -> None:
        """This host, as an arbiter, buried a tenure for the controller."""


class Hearing:
    """Over all beats of a pulse."""

    def __init__(self, listener: PulseListener, on_tenure: Callable[[], None], counting: Counting) -> None:
        """`on_tenure` is called when another tenure begins, or none is left, before anybody looks at the levels."""
        self.levels = Levels()
        self.figures = BeatFigures()
        self.first_packets = FirstPackets(self._forwarded, counting)
        self._listener = listener
        self._on_tenure = on_tenure
        self._late_said_at = -SAY_LATE_AGAIN_S
        self._log = get_logger()

    def begin_anew(self) -> None:
        """The guard was made anew: nothing of the beat before is open any more."""
        self.first_packets.rest(self.levels.open)
        self.levels = Levels(leased=self.levels.leased, reborn=self.levels.reborn)

    def take_in(self, message: Word, lease_s: float) -> None:
        """A beat said this. `lease_s`: how long its leases last."""
        match message:
            case wire.Opened():
                self.levels.open |= {each.router_id: each.epoch for each in message.routers}
                self.levels.released.update(each.router_id for each in message.routers if each.is_released)
                self._listener.guard_changed()
            case wire.Passing():
                self.levels.passing.update(message.routers)
                self._listener.guard_changed()
            case wire.Closed():
                self._closed(message)
            case wire.Level():
                self._level(message)
            case wire.TookOver():
                self._took_over(message)
            case wire.BurialAnswer():
                self._listener.buried(Burial(tenure=message.tenure, seq=message.seq, is_buried=message.is_buried))
            case wire.Said():
                getattr(self._log, message.level)(message.event, **message.details)
            case wire.Rhythm():
                self.figures.rhythm(message)
                self._judge(message, lease_s)
            case _:
                assert_never(message)

    def tenure_is(self, tenure: Incarnation) -> None:
        """At which incarnation the host holds its lease now; NOBODY: at none, so that nothing taken over is left."""
        if tenure == self.levels.tenure:
            return
        self.figures.fenced += tenure == NOBODY
        self.levels.tenure, self.levels.leased = tenure, tenure or self.levels.leased
        self.levels.takeovers, self.levels.told_whole = {}, 0
        self._on_tenure()

    def _closed(self, said: wire.Closed) -> None:
        for router_id in said.routers:
            self.levels.open.pop(router_id, None)
            self.levels.passing.discard(router_id)
            self.levels.released.discard(router_id)
        self.first_packets.rest(said.routers)
        self._listener.guard_changed()

    def _level(self, level: wire.Level) -> None:
        self.tenure_is(level.tenure)
        self.levels.settled, self.levels.told_whole, self.levels.trouble = level.settled, level.takeovers, level.trouble
        self.levels.ways, self.levels.is_taking_over = level.ways, level.is_taking_over
        self.levels.reborn = max(self.levels.reborn, level.reborn)
        self.levels.is_unguarded = level.is_unguarded
        self.levels.expired = level.expired
        self._listener.guard_changed()

    def _took_over(self, said: wire.TookOver) -> None:
        known = self.levels.takeovers
        self.figures.took_over(said, known)
        news = {each.router_id: Done(number=said.number, takeover=each, told_at=said.at) for each in said.takeovers}
        for router_id, done in news.items():
            if (before := known.get(router_id)) is not None and before.number == said.number:
                news[router_id] = done.forwarded(before.takeover.times.forwarded_ms)
        self.first_packets.begin(
            router_id for router_id in news if router_id not in known or known[router_id].number != said.number
        )
        # Of what is closed by now there is nothing to tell any more.
        self.levels.takeovers = {each: done for each, done in known.items() if each in self.levels.open} | news
        self._listener.guard_changed()

    def _forwarded(self, seen: Mapping[RouterId, float]) -> None:
        """The last step of a takeover, told once more."""
        for router_id, at in seen.items():
            if (done := self.levels.takeovers.get(router_id)) is not None:
                self.levels.takeovers[router_id] = done.forwarded(done.ms(at))
        self._listener.guard_changed()

    def _judge(self, rhythm: wire.Rhythm, lease_s: float) -> None:
        """Say when the beat is late: one that is later than the lease costs takeovers."""
        now = time.monotonic()
        if rhythm.latest_ms / 1000 < LATE_SHARE * lease_s or now - self._late_said_at < SAY_LATE_AGAIN_S:
            return
        self._late_said_at = now
        self._log.warning(
            f"the beat was {rhythm.latest_ms:.0f} ms late; a lease lasts {lease_s * 1000:.0f} ms: this "
            "machine is busy, see real-time priority in the manual"
        )
