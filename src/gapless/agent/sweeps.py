"""When what no router needs is swept, and how much of it in one job. Pure: time is an argument.

The rule: nothing is begun beside a portion, since it takes away what a repair may need. So it is short where a repair
may have to wait for it, and then a rest follows in which nothing is taken away: to delete a bridge holds RTNL for some
20 ms, in which nobody else may change anything, and to find what goes, all links of the host are listed. A host from
which a thousand routers move away, one after another, would do nothing else. Where nobody forwards, nobody waits.

Whatever is looked at as a whole is looked at once a sweep.
"""

from math import inf
from typing import Final

from gapless.agent.jobs import SWEPT_AT_ONCE, Done, Failed, Result, Sweep
from gapless.model.network import Network

SWEPT_BESIDE_TRAFFIC: Final = 2
"""Networks in one portion where this host forwards for a router; each takes some 20 ms."""
REST_TIMES: Final = 9
"""So many times as long as a portion took beside traffic the rest is after it: sweeps have a tenth of the time."""


class Sweeps:
    """The sweeps of one host, portion by portion. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.is_due = self.is_running = False
        self._is_first = True
        """No portion of this sweep was begun yet."""
        self._kept: frozenset[Network] | None = None
        """By the last one."""
        self._began_at = self._rests_until = -inf

    def take_networks(self, networks: frozenset[Network], *, removes: bool) -> None:
        """A confirmed plan needs these, and has routers removed."""
        if removes or self._kept is None or self._kept - networks:
            self.is_due = self._is_first = True

    def due_at(self, *, forwards: bool) -> float:
        """When the next portion may begin; infinity: there is none. `forwards`: this host forwards for a router."""
        if not self.is_due:
            return inf
        return self._rests_until if forwards else -inf

    def begin(self, keep: frozenset[Network], now: float, *, forwards: bool) -> Sweep:
        """The next portion."""
        most = SWEPT_BESIDE_TRAFFIC if forwards else SWEPT_AT_ONCE
        sweep = Sweep(keep=keep, most=most, is_first=self._is_first)
        self.is_due, self.is_running, self._is_first = False, True, False
        self._began_at = now
        return sweep

    def ended(self, sweep: Sweep, result: Result, now: float) -> str:
        """It is over; why it failed, or "". What came up meanwhile goes before another portion."""
        self.is_running, self._kept = False, sweep.keep
        self._rests_until = now + REST_TIMES * (now - self._began_at)
        if isinstance(result, Failed):
            return result.reason
        self.is_due |= isinstance(result, Done) and result.more_is_left
        return ""
