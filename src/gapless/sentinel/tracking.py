"""How many connections of a router this machine's kernel tracks: found out with each report.

Theory: the limit is known once the kernel tracks any connection, which on a machine that has just started is when the
first router is built, and an operator may raise it at any time, or the flows process (`flows.room`). To look costs a
few microseconds.
"""

from pathlib import Path

from gapless.config import HostSettings
from gapless.kernel import tracked
from gapless.observe.log import get_logger
from gapless.sentinel import prerequisites


class Tracking:
    """Of one host."""

    def __init__(self, flows_most: int, known: int | None, limit_file: Path = tracked.FILE) -> None:
        """`flows_most`: connections of one router that may be copied here; `known`: what was found out at the start,
        and said where it is too few.
        """
        self._flows_most, self._known, self._limit_file = flows_most, known, limit_file

    def look(self) -> int | None:
        """How many it is now, None where it tracks none; said each time that it has become too few."""
        before, self._known = self._known, tracked.most(self._limit_file)
        shortage = prerequisites.tracking_short_of(self._flows_most, self._known)
        if shortage and self._known != before:
            get_logger().warning(shortage)
        return self._known


def at_the_start(settings: HostSettings) -> int | None:
    """How many it is before anything runs; None where it tracks none yet, or nothing is copied."""
    return Tracking(settings.flows_most, None).look() if settings.sync_flows else None
