"""Who is alive: silence turns into death, but only silence that could have been broken.

The rule: silence counts, connections do not. A host that was not heard for `agent_down_time` is silent, for twice that
it is dead; only a dead host's routers move. Time is the controller's own monotonic clock at the moment a report is
handled; no clock of another machine is looked at.

An operator who has made sure that a machine is off is believed at once (`planner.confirmed`).

The invariant: a host is never held dead for a time in which nobody could have been heard. Two things make the
controller deaf without anybody being at fault:

- It was not there. At the start every stored host counts as heard at that moment (grace).
- It was stopped: SIGSTOP, a suspended virtual machine, a blocked process. Then the first thing it does afterwards, be
  it a timer or a report that had waited in a socket, comes long after the last thing it did before (`Attention`). That
  time is not counted, nor is as much again, up to a report interval: the time to be heard anew (`excused_s`). Silence
  before the pause does count, so a controller that stalls now and then still finds who is dead, only later. What was
  concluded with open ears stands: who was silent is silent until it is heard, and who was dead is dead.

Neutron judges by wall-clock timestamps in its database instead, which is why a stopped clock, a stopped server or a
slow database has moved routers of healthy agents there.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Timing(Protocol):
    """The numbers that the planner needs, in seconds and as a share; `config.Liveness` has them."""

    @property
    def report_interval_s(self) -> float:
        """How often a host reports."""

    @property
    def agent_down_time_s(self) -> float:
        """Silence after which a host is silent."""

    @property
    def dead_after_s(self) -> float:
        """Silence after which it is dead."""

    @property
    def brake_share(self) -> float:
        """See `planner.brake`."""

    @property
    def agent_patience_s(self) -> float:
        """See `planner.agentless`."""


class Standing(StrEnum):
    """What a host's silence says of it."""

    EXPECTED = "expected"
    """Known from the store and not heard since the controller's start. Counts as alive until its grace is over."""
    ALIVE = "alive"
    SILENT = "silent"
    DEAD = "dead"


@dataclass(slots=True, kw_only=True)
class Silence:
    """The silence of one host. `counted_from` is when it was heard, or when grace began if that was later."""

    counted_from: float
    heard_at: float | None = None
    """None: never since the controller's start."""
    standing: Standing = Standing.EXPECTED

    @property
    def is_alive(self) -> bool:
        """Heard within agent_down_time, grace included."""
        return self.standing in (Standing.ALIVE, Standing.EXPECTED)

    def end(self, now: float) -> None:
        """The host was heard."""
        self.counted_from = self.heard_at = now
        self.standing = Standing.ALIVE

    def confirm(self) -> None:
        """An operator has made sure that the host is off: it is dead until it is heard."""
        self.standing = Standing.DEAD

    def excuse(self, seconds: float, now: float) -> None:
        """Nobody could have been heard for so long until now. Moves what is counted, never the standing: only what is
        heard makes a host better than it was, and whoever waits for that is told."""
        self.counted_from = min(now, self.counted_from + seconds)

    def judge(self, now: float, timing: Timing) -> bool:
        """Whether the standing changed with the time."""
        silent_s = now - self.counted_from
        if self.standing is Standing.DEAD or silent_s >= timing.dead_after_s:
            standing = Standing.DEAD
        elif silent_s >= timing.agent_down_time_s:
            standing = Standing.SILENT
        else:
            return False
        changed = standing is not self.standing
        self.standing = standing
        return changed

    def length_s(self, now: float) -> float:
        """How long it has lasted; at least as long as is known, for a host not heard since the controller's start."""
        return now - (self.counted_from if self.heard_at is None else self.heard_at)

    def heard_ago_s(self, now: float) -> float | None:
        """How long ago it was heard last; None: never since the controller's start."""
        return None if self.heard_at is None else now - self.heard_at


def excused_s(away_s: float, timing: Timing) -> float:
    """How much of a silence is not counted after a pause of the controller.

    The pause itself, and as much again, up to a report interval, in which hosts may reach the controller again. Not a
    report interval for every pause: a controller that stalls often would never find anybody dead.
    """
    return away_s + min(away_s, timing.report_interval_s)


class Attention:
    """Notices when the controller itself was away, from the times at which it does anything at all.

    `tick_s` is how often it wants to be called: a second, or less where a host dies in a few seconds. A stretch without
    a call that exceeds `away_after_s` was a pause. The tolerance in that (two seconds, or half of agent_down_time if
    that is less) lets an event loop be late; it is short enough that a host which reported in time is never dead by it.
    """

    def __init__(self, timing: Timing, now: float) -> None:
        self.tick_s = min(1.0, timing.agent_down_time_s / 8)
        self.away_after_s = self.tick_s + min(2.0, timing.agent_down_time_s / 2)
        self._last = now

    @property
    def last(self) -> float:
        """When it was last called."""
        return self._last

    def notice(self, now: float) -> float | None:
        """Call first of all, with every event and every tick: the seconds of a pause that ended now, or None."""
        away_s, self._last = now - self._last, now
        return away_s if away_s > self.away_after_s else None
