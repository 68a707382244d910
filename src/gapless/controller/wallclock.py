"""The wall clock: dates for people, in records, in logs and in what the API shows.

The rule: nothing is decided by it. It jumps, back as well as forth, when it is set or a machine goes on after a rest;
who is alive, what is late and when something is tried again is found out by the monotonic clock alone, and the two are
never compared. A moment that the monotonic clock has is given a date only when it is shown or stored (`date_of`), so
that a host which was heard a second ago is shown as heard a second ago, however often the clock was set meanwhile.

One thing is asked of dates, since nothing else outlives a restart: whether a record is so old that it may be deleted.
`Calendar.surely_past` answers that, and a clock that jumps ahead while the controller runs deletes nothing early.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """The date, by a clock that may be set at any time."""
    return datetime.now(UTC)


def date_of(moment_s: float, now_s: float) -> datetime:
    """The date of a moment of the monotonic clock, which reads `now_s` at this instant."""
    return ago(now_s - moment_s)


def ago(seconds: float) -> datetime:
    """The date so long before now."""
    return utc_now() - timedelta(seconds=seconds)


class Calendar:
    """Tells which dates are past by two clocks: the wall clock, and the monotonic one since the beginning."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began, self._began_s = utc_now(), clock()

    def surely_past(self, age: timedelta) -> datetime:
        """What was so long ago by either clock lies before this date."""
        carried_on = self._began + timedelta(seconds=self._clock() - self._began_s)
        return min(utc_now(), carried_on) - age
