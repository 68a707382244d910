"""A guard that was away and is back, as a hint: who may have been misheard meanwhile can put that right.

The rule: it is said twice, since a datagram may be lost, and heeded once, since whoever hears it announces everything.
So each return has a number, within one incarnation. Hosts of earlier releases say 0: of these each word counts.
"""

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure


class Unguarded:
    """What one host says of its guard, and hears of others'."""

    def __init__(self) -> None:
        self.number = 0
        """Of the last return."""
        self._is_to_be_repeated = False
        self._heard: dict[HostName, tuple[Incarnation, int]] = {}

    def restored(self) -> None:
        """It is back: to be said now."""
        self.number += 1
        self._is_to_be_repeated = True

    def take_repeat(self) -> bool:
        """Whether it is to be said once more; asked each interval, and true once."""
        is_due, self._is_to_be_repeated = self._is_to_be_repeated, False
        return is_due

    def hear(self, sender: Tenure, number: int) -> bool:
        """Another host says it; whether that is news."""
        before, self._heard[sender.host] = self._heard.get(sender.host), (sender.incarnation, number)
        return number == 0 or before != (sender.incarnation, number)
