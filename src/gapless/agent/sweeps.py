"""When what no router needs is swept, and how much of it in one job. Pure: no clock.

The rule: nothing is begun beside a portion, since it takes away what a repair may need. So it is short where a repair
may have to wait for it, and whatever is looked at as a whole is looked at once a sweep.
"""

from typing import Final

from gapless.agent.jobs import SWEPT_AT_ONCE, Done, Failed, Result, Sweep
from gapless.model.network import Network

SWEPT_BESIDE_TRAFFIC: Final = 2
"""Networks in one portion where this host forwards for a router; each takes some 20 ms."""


class Sweeps:
    """The sweeps of one host, portion by portion."""

    def __init__(self) -> None:
        self.is_due = self.is_running = False
        self._is_first = True
        """No portion of this sweep was begun yet."""
        self._kept: frozenset[Network] | None = None
        """By the last one."""

    def take_networks(self, networks: frozenset[Network], *, removes: bool) -> None:
        """A confirmed plan needs these, and has routers removed."""
        if removes or self._kept is None or self._kept - networks:
            self.is_due = self._is_first = True

    def begin(self, keep: frozenset[Network], *, forwards: bool) -> Sweep:
        """The next portion; `forwards`: this host forwards for a router."""
        most = SWEPT_BESIDE_TRAFFIC if forwards else SWEPT_AT_ONCE
        sweep = Sweep(keep=keep, most=most, strays=self._is_first)
        self.is_due, self.is_running, self._is_first = False, True, False
        return sweep

    def ended(self, sweep: Sweep, result: Result) -> str:
        """It is over; why it failed, or "". What came up meanwhile goes before another portion."""
        self.is_running, self._kept = False, sweep.keep
        if isinstance(result, Failed):
            return result.reason
        self.is_due |= isinstance(result, Done) and result.more_is_left
        return ""
