"""A router that fails wherever it is built: it must not tour the hosts, losing on each what still worked there.

The rule for one that fails at once: when it has failed for the same reason on two hosts, without having been active for
a while in between, the reason lies in the router and not in the hosts. So it stays where it is, where the agent goes on
trying, and may leave again only after a long pause, or when there is a host that was never there before; first for a
host that it has not failed on. A failure without a reason proves nothing of the kind.

The rule for one that breaks after a while, wherever it is: moves are counted, whatever the reasons were. The first
`AT_ONCE` are made at once, since more than one host may be broken. Each one after that waits until some time has passed
since the one before, twice as much each time, up to `MOST_S`; each hour that the router was active takes back one. This
is route-flap damping (RFC 2439), in steps that an operator can count instead of a penalty that decays.

The invariant: of one router there are never more than AT_ONCE + 3 + T / 3600 such moves within T seconds, new hosts
aside, five of them in an hour; and it is kept for an hour at most after the last.

What a controller knew of this is lost with it: the next one begins to count anew.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from gapless.model.host import HostName

PAUSE_S = 600.0
"""How long a router stays that failed on two hosts for one reason."""
STEADY_S = 60.0
"""Active for so long, it has left its tour behind. A host may have it built, open it, and only then see it break."""
NEW_HOST_S = 30.0
"""... but only so long once there is a new host: until then that one's agent runs and says so."""
AT_ONCE = 3
"""Moves that wait for nothing."""
FIRST_S = 600.0
"""Between the last of those and the next one."""
MOST_S = 3600.0
FORGOTTEN_S = 3600.0
"""Active for so long, it has one move less behind it."""
_LEVELS = AT_ONCE + 3
"""Moves that are counted: from here on the wait is `MOST_S`."""

_NAMED = re.compile(r"\S*\d\S*(?: \S*\d\S*)*")


class Why(StrEnum):
    """Why a router stays on a host that cannot run it."""

    REASON = "reason"
    """It failed for the same reason elsewhere."""
    MOVES = "moves"
    """It was moved again and again."""
    CAUSE = "cause"
    """Others were moved for the same reason, and that did not help, as far as is known (`ledger.trials`)."""


@dataclass(frozen=True, slots=True)
class Damping:
    """It stays until then, at most."""

    why: Why
    until: float


def cause_of(reason: str) -> str:
    """What two failures have in common that have the same reason: words without digits. Those with digits name one
    router's devices, or one host's addresses and counts.
    """
    return _NAMED.sub("*", reason)


@dataclass(slots=True)
class Tour:
    """Where a router failed since it was last active for a while, and how often it was moved for that."""

    reasons: dict[HostName, str] = field(default_factory=dict)
    """What each host said last."""
    until: float = 0.0
    active_since: float | None = None
    moves: int = 0
    """Those that count."""
    next_at: float = 0.0
    """The next move may be made then."""

    def failed(self, host: HostName, reason: str, now: float) -> None:
        """It failed there."""
        active_s = 0.0 if self.active_since is None else now - self.active_since
        if active_s >= STEADY_S:
            self.reasons.clear()
        self.moves = max(0, self.moves - int(active_s / FORGOTTEN_S))
        self.active_since = None
        self.reasons[host] = reason
        self.until = now + PAUSE_S if self.others(host) else 0.0

    def is_active(self, now: float) -> None:
        """It is active."""
        if self.active_since is None:
            self.active_since = now

    def moved(self, now: float) -> None:
        """It was moved because it failed."""
        self.moves = min(self.moves + 1, _LEVELS)
        self.next_at = now + self.wait_s

    @property
    def wait_s(self) -> float:
        """How long the next move has to wait after the last one."""
        return 0.0 if self.moves < AT_ONCE else min(FIRST_S * 2 ** (self.moves - AT_ONCE), MOST_S)

    def new_host(self, now: float) -> bool:
        """There is a host that was never there before; whether that shortens a wait."""
        if max(self.until, self.next_at) <= now + NEW_HOST_S:
            return False
        self.until, self.next_at = min(self.until, now + NEW_HOST_S), min(self.next_at, now + NEW_HOST_S)
        return True

    def damping(self, now: float) -> Damping | None:
        """Why it must not leave now; None: it may."""
        if now >= max(self.until, self.next_at):
            return None
        return Damping(Why.REASON, self.until) if self.until >= self.next_at else Damping(Why.MOVES, self.next_at)

    def others(self, host: HostName) -> list[HostName]:
        """The other hosts that said what `host` says; none if it gives no reason."""
        said = cause_of(self.reasons.get(host, ""))
        return sorted(name for name, it in self.reasons.items() if said and name != host and cause_of(it) == said)
