"""When what no router needs is swept, and how much of it in one job. Pure: time is an argument.

The rule: nothing is begun beside a portion, since it takes away what a repair may need. So it is short where a repair
may have to wait for it, and then a rest follows in which nothing is taken away: to delete a bridge holds RTNL for some
20 ms, in which nobody else may change anything, and to find what goes, all links of the host are listed. A host from
which a thousand routers move away, one after another, would do nothing else. Where nobody forwards, nobody waits.

What goes is listed once a sweep: what comes up meanwhile is for the next one.
"""

from math import inf
from typing import Final

from gapless.agent.jobs import SWEPT_AT_ONCE, Done, Failed, Result, Sweep
from gapless.model.network import Network

SWEPT_BESIDE_TRAFFIC: Final = 2
"""Networks in one portion where this host forwards for a router; each takes some 20 ms."""
SHARE: Final = 0.1
"""Beside traffic sweeps take so much of the time."""
REST_MOST_S: Final = 10.0
"""However long the kernel kept a portion waiting, no rest is longer."""


class Sweeps:
    """The sweeps of one host, portion by portion. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.is_running = False
        self._is_wanted = False
        """What goes is to be listed anew, after the portions that are left."""
        self._is_left = False
        """There are more portions of what was listed."""
        self._kept: frozenset[Network] | None = None
        """By the last one."""
        self._began_at = self._rests_until = -inf

    @property
    def is_due(self) -> bool:
        """There is a portion to begin."""
        return self._is_wanted or self._is_left

    def take_networks(self, networks: frozenset[Network], *, removes: bool) -> None:
        """A confirmed plan needs these, and has routers removed."""
        if removes or self._kept is None or self._kept - networks:
            self._is_wanted = True

    def again(self) -> None:
        """A router is gone: what it left may have been in use when it was listed what goes."""
        self._is_wanted = True

    def due_at(self, *, forwards: bool) -> float:
        """When the next portion may begin; infinity: there is none. `forwards`: this host forwards for a router."""
        if not self.is_due:
            return inf
        return self._rests_until if forwards else -inf

    def begin(self, keep: frozenset[Network], now: float, *, forwards: bool) -> Sweep:
        """The next portion."""
        most = SWEPT_BESIDE_TRAFFIC if forwards else SWEPT_AT_ONCE
        sweep = Sweep(keep=keep, most=most, is_first=not self._is_left)
        self._is_wanted &= self._is_left
        self.is_running, self._is_left = True, False
        self._kept, self._began_at = keep, now
        return sweep

    def ended(self, result: Result, now: float) -> str:
        """It is over; why it failed, or "". What came up meanwhile goes before another portion."""
        self.is_running = False
        self._rests_until = now + min(REST_MOST_S, (now - self._began_at) * (1 / SHARE - 1))
        if isinstance(result, Failed):
            return result.reason
        self._is_left = isinstance(result, Done) and result.more_is_left
        return ""
