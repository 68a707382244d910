"""When something that failed may be tried again: twice as long each time, up to a bound, per thing tried.

A failure is remembered for a while after its wait is over, so that what fails again and again waits longer and
longer, even if it worked for a moment in between.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gapless.core.backoff import Pace

Thing = TypeVar("Thing", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Failure:
    wait_s: float
    until: float


class Retries(Generic[Thing]):
    """The waits of several things, without jitter: everything here happens in one process."""

    __slots__ = ("_failures", "_pace")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._failures: dict[Thing, _Failure] = {}

    def failed(self, thing: Thing, now: float) -> None:
        """It failed, and waits from now on."""
        before = self._failures.get(thing)
        if before is None or now > before.until + self._pace.settled_s:
            wait_s = self._pace.first_s
        else:
            wait_s = min(2 * before.wait_s, self._pace.most_s)
        self._failures[thing] = _Failure(wait_s, now + wait_s)

    def waits_until(self, thing: Thing, now: float) -> float | None:
        """The moment from which it may be tried again; None: it may be tried now."""
        return self.waiting(now).get(thing)

    def waiting(self, now: float) -> dict[Thing, float]:
        """Everything that waits, and until when."""
        return {thing: failure.until for thing, failure in self._failures.items() if now < failure.until}

    def forget(self, thing: Thing) -> None:
        """It succeeded: the next failure is a first one."""
        self._failures.pop(thing, None)
