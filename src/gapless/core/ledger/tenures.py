"""The tenures of one host's name: the incarnation that it is at, at which one it held its lease, and which are over.

The rule: a machine is believed about its own incarnations. One that is at a higher incarnation says that every lower
one is over; of another machine that had its name before it says nothing, since that one may still forward. The arbiters
are believed about anybody's, by name.

The invariant: no lease is known of at a higher incarnation than the host is at.
"""

from dataclasses import dataclass

from gapless.model.host import Incarnation, machine_of
from gapless.model.lease import NOBODY


@dataclass(slots=True, kw_only=True)
class Tenures:
    """Of one host."""

    incarnation: Incarnation
    """That at which it is."""
    leased: Incarnation = NOBODY
    """The newest incarnation at which it said that it held its lease; NOBODY: not known."""
    reborn: Incarnation = NOBODY
    """Every lower incarnation of this machine is over: it said so itself, by being at this one. Of another machine that
    had its name before, it says nothing."""
    buried: Incarnation = NOBODY
    """Up to here its incarnations are over by the arbiters' word, whatever it says of itself yet."""

    expired: Incarnation = NOBODY
    """Up to here a quorum of arbiters say that nothing they granted lasts, for a while (`planner.expired`)."""

    @property
    def highest(self) -> Incarnation:
        """The highest that was heard of from the host itself."""
        return max(self.incarnation, self.leased, self.reborn)

    @property
    def has_been_leased(self) -> bool:
        """It is at the incarnation at which it held its lease last, and that is not over."""
        return self.buried < self.leased == self.incarnation and self.leased >= self.reborn

    @property
    def is_buried(self) -> bool:
        """It is over as it is now, as far as is known: it was not heard to be at a higher incarnation."""
        return self.incarnation <= self.buried

    def is_of(self, incarnation: Incarnation) -> bool:
        """Whether that is an incarnation of its machine, and not of another that had its name."""
        return machine_of(incarnation) == machine_of(self.incarnation)

    def has_outlived(self, incarnation: Incarnation) -> bool:
        """Whether its machine says that this incarnation is over; False: it is not known, nor is it of another one."""
        return incarnation < self.reborn and machine_of(incarnation) == machine_of(self.reborn)

    def met(self, incarnation: Incarnation, *, is_same_machine: bool) -> None:
        """A machine connected, at this incarnation: the one that had the name, or another."""
        if is_same_machine:
            self.reborn = max(self.reborn, incarnation)
        if not is_same_machine or incarnation > self.incarnation:
            self.incarnation, self.leased = incarnation, NOBODY

    def held_lease(self, incarnation: Incarnation) -> None:
        """It says that it held its lease at this one, which is the newest."""
        self.leased = incarnation
        self.incarnation = max(self.incarnation, incarnation)
        self.reborn = max(self.reborn, incarnation)

    def was_reborn(self, incarnation: Incarnation) -> bool:
        """It says that every lower one is over; whether that is news. A machine that was installed anew counts from 1
        until it has heard where its range begins, and says nothing of the machine before it.
        """
        if incarnation <= self.reborn or not self.is_of(incarnation):
            return False
        self.incarnation, self.reborn = max(self.incarnation, incarnation), incarnation
        return True

    def bury(self, incarnation: Incarnation) -> None:
        """The arbiters say that all up to this one are over."""
        self.buried = max(self.buried, incarnation)
