"""What is still to be told of one router's flows to one follower.

    WAITING ──begins──► COPYING ──copied──► FOLLOWING ──due again──► COPYING
       ▲                   │                    │
       └──── lost ─────────┴────────────────────┘        and stopped: to WAITING, until the router is open here again

Theory: the kernel's events are differences, and may be lost (its buffer overran, or this one did); a copy is the level.
So there is one remedy for every loss: begin again with a copy. Events are heard before the copy begins and go on being
told while it does; whatever they say of a flow twice, the later one wins, and both ends agree when it is quiet.

The rule: what waits is bounded. Of a flow that changes faster than it can be told, only the last change waits; a
router with more waiting changes than `MOST_WAITING` loses them all, and is copied again after a pause that doubles each
time. So one tenant's storm costs that tenant's own flows their copy, and nobody else's. Nothing here holds up a
packet: the kernel throws events away rather than wait.

The second rule: no more than `most` flows are told at one time, be it by a copy or by a change, for so many the
follower may have room for. One is told from the moment that it was listed, or said to have changed, until it is over.
What was left out is told when it changes again or is copied again, if there is room then. The names that this takes are
the greatest part of a feed: some 120 bytes a flow.

The third rule: a flow that is too young to be worth it (`model.flow`) is held: neither a change nor a copy tells of it
until it has gone on for long enough, and if it is over by then, nobody hears of it. What a copy finds that was not
heard to become assured was there before, and is taken for old enough: so what a follower has is not over for it only
because something was lost here.

The fourth rule: a mark is told when each flow of which a change waited at the mark has been told of, as it was then or
as it became since. What happens after the mark is not waited for, so a mark is told also where changes never pause.

The fifth rule: what is heard of a flow is newer than what the copy's next piece says of it, and counts; be it that the
flow is over. For the kernel makes a piece when the one before is read, so it may be as old as that.

Once in a while a router is copied for no reason (`REFRESH_S`): a flow that goes on makes no events, and the copy would
time out where nothing refreshes it.
"""

from enum import StrEnum
from itertools import islice, takewhile
from math import inf
from random import Random

from gapless.core.backoff import Backoff, Pace

MOST_WAITING = 65_536
REFRESH_S = 600.0
BEHIND_S = 5.0
"""A follower that has not heard for so long what happened, or has not said that it lives, may lack flows. Where changes
never pause, one that is behind by half of it may be taken for one, since ages are known to the time of one round."""
KEPT_S = 1500
"""How long a copy lasts at least without being refreshed: two refreshes, and some more."""
PAUSE = Pace(first_s=0.5, most_s=60.0, settled_s=120.0, jitter=0.2)
_SPREAD = 0.2


class FeedState(StrEnum):
    """How far it has come."""

    WAITING = "waiting"
    COPYING = "copying"
    FOLLOWING = "following"


class Feed:
    """One router's, for one follower."""

    def __init__(self, random: Random, most: int, most_waiting: int = MOST_WAITING) -> None:
        """`most`: flows that are told at one time; `most_waiting`: changes that wait."""
        self._random = random
        self._pause = Backoff(PAUSE, random)
        self._most, self._most_waiting = most, most_waiting
        self._changes: dict[bytes, bytes] = {}
        self._held: dict[bytes, tuple[float, bytes]] = {}
        """Flows that are too young, with when they are not any more, and what was said of each last."""
        self._told: set[bytes] = set()
        """Flows that the follower has, or will have when it has read all that is told."""
        self._unnamed: set[bytes] = set()
        """Of a copy that is under way: what was told before it, and was not named since."""
        self._marked: set[bytes] = set()
        """Flows of which a change waits since before the mark."""
        self._heard: set[bytes] = set()
        """Flows of which something was heard since the kernel made the piece of the copy that comes next."""
        self._due_at = -inf
        self._began_at = 0.0
        self.state = FeedState.WAITING
        self.is_whole = False
        """All of it was told once, and nothing was lost since: a copy, with the changes after it."""
        self.oldest_at: float | None = None
        """Not after the oldest change that waits was heard; None: nothing waits."""
        self._older: set[bytes] = set()
        """Flows of which a change waits since before `_older_until`."""
        self._older_until = 0.0
        self.left_out = 0
        """How often a flow was not told because `most` are."""

    @property
    def told(self) -> int:
        """Flows that are told; `most` at most."""
        return len(self._told)

    @property
    def held(self) -> int:
        """Flows that are too young to be told."""
        return len(self._held)

    @property
    def may_end(self) -> bool:
        """Whatever else a copy lists would be left out."""
        return len(self._told) >= self._most and not self._unnamed

    @property
    def waiting(self) -> int:
        """Changes that wait to be told."""
        return len(self._changes)

    @property
    def is_mark_told(self) -> bool:
        """What waited at the last mark was told."""
        return not self._marked

    def mark(self) -> None:
        """What waits now is what the mark stands for; there is one mark."""
        self._marked = set(self._changes)

    def is_due(self, now: float) -> bool:
        """Whether a copy should begin now."""
        return self.state is not FeedState.COPYING and now >= self._due_at

    def begin(self, now: float) -> None:
        """A copy begins; events are heard from before this moment on."""
        if self.state is FeedState.WAITING:
            self._forget()
            self._began_at = now
        # What waits was heard before the copy began, and is told after that: the follower takes it for named.
        self._unnamed = self._told.difference(self._changes)
        self._heard.clear()
        self.state = FeedState.COPYING
        self._due_at = now + REFRESH_S * (1 - _SPREAD * self._random.random())

    def listed(self, flow: bytes) -> bool:
        """The copy has come to this flow. False: it is left out, or held, or what was heard of it is newer."""
        self._unnamed.discard(flow)
        return flow not in self._heard and flow not in self._held and self._admit(flow)

    def went_on(self) -> None:
        """A piece of the copy was read, and the kernel has made the next one."""
        self._heard.clear()

    def copied(self) -> None:
        """The last entry of the copy was told: what it did not name is over, and the follower takes it so, too."""
        self._told -= self._unnamed
        self._unnamed.clear()
        self._heard.clear()
        self.state, self.is_whole = FeedState.FOLLOWING, True

    def heard(self, flow: bytes, message: bytes, now: float, *, is_over: bool = False, hold_s: float = 0.0) -> bool:
        """The kernel says that this flow changed, or is over. `hold_s`: how long one is held that has just become
        assured; the same each time. False: there are too many changes, and they are lost.
        """
        self._unnamed.discard(flow)
        if self.state is FeedState.COPYING and not self._remember(flow):
            self.lost(now)
            return False
        if hold_s and not is_over and self._hold(flow, message, now + hold_s):
            return True
        self._held.pop(flow, None)
        if not (self._release(flow) if is_over else self._admit(flow)):
            return True
        return self._wait(flow, message, now)

    def _remember(self, flow: bytes) -> bool:
        """That it was heard of; False: too many were since the last piece of the copy was read."""
        self._heard.add(flow)
        return len(self._heard) <= self._most_waiting

    def ripen(self, now: float) -> None:
        """What was held until now is told."""
        for flow in [flow for flow, _ in takewhile(lambda each: each[1][0] <= now, self._held.items())]:
            _, message = self._held.pop(flow)
            if self._admit(flow) and not self._wait(flow, message, now):
                return

    def _hold(self, flow: bytes, message: bytes, until: float) -> bool:
        """Whether it is held: not what is told already, and no more than may wait. What is held keeps its time."""
        if flow in self._told or (flow not in self._held and len(self._held) >= self._most_waiting):
            return False
        self._held[flow] = self._held.get(flow, (until,))[0], message
        return True

    def _wait(self, flow: bytes, message: bytes, now: float) -> bool:
        """What is said of a flow waits to be told; false: it is lost, with all others."""
        if len(self._changes) >= self._most_waiting and flow not in self._changes:
            self.lost(now)
            return False
        # Taken out first: what is told later also happened later, of whatever flow.
        self._changes.pop(flow, None)
        self._changes[flow] = message
        if self.oldest_at is None:
            self.oldest_at = self._older_until = now
        return True

    def lost(self, now: float) -> float:
        """Changes were lost; returns the pause before the next copy, in seconds."""
        held_s = now - self._began_at if self.state is not FeedState.WAITING else 0.0
        pause_s = self._pause.after(held_s)
        self._forget_all()
        self.state, self.is_whole, self._due_at = FeedState.WAITING, False, now + pause_s
        return pause_s

    def stopped(self) -> None:
        """The router is not open here any more, or its namespace is another one: a copy begins as soon as it can."""
        if self.state is not FeedState.WAITING:
            self._due_at = -inf
        self._forget_all()
        self.state, self.is_whole = FeedState.WAITING, False

    def take(self, room: int, now: float) -> bytes:
        """Changes, oldest first, as many as fit into `room` bytes; they do not wait any more."""
        taken: list[bytes] = []
        for message in self._changes.values():
            room -= len(message)
            if room < 0:
                break
            taken.append(message)
        if len(taken) == len(self._changes):
            self._forget()
        else:
            for flow in list(islice(self._changes, len(taken))):
                del self._changes[flow]
                self._marked.discard(flow)
                self._older.discard(flow)
            if taken and not self._older:
                self.oldest_at, self._older_until, self._older = self._older_until, now, set(self._changes)
        return b"".join(taken)

    def _admit(self, flow: bytes) -> bool:
        """Whether it is told from now on, or was."""
        if flow in self._told:
            return True
        if len(self._told) >= self._most:
            self.left_out += 1
            return False
        self._told.add(flow)
        return True

    def _release(self, flow: bytes) -> bool:
        """It is told no more; whether it was."""
        if flow not in self._told:
            return False
        self._told.remove(flow)
        return True

    def _forget(self) -> None:
        self._changes.clear()
        self._marked.clear()
        self._older.clear()
        self.oldest_at = None

    def _forget_all(self) -> None:
        self._forget()
        self._told.clear()
        self._unnamed.clear()
        self._heard.clear()
        self._held.clear()
