"""How many connections of a router this machine's kernel tracks: found out with each report.

Theory: the limit is known once the kernel tracks any connection, which on a machine that has just started is when the
first router is built, and an operator may raise it at any time. To look costs a few microseconds.
"""

from pathlib import Path

from gapless.observe.log import get_logger
from gapless.sentinel import prerequisites


class Tracking:
    """Of one host."""

    def __init__(self, flows_most: int, known: int | None, limit_file: Path = prerequisites.TRACKED) -> None:
        """`flows_most`: connections of one router that may be copied here; `known`: what was found out at the start,
        and said where it is too few.
        """
        self._flows_most, self._known, self._limit_file = flows_most, known, limit_file

    def look(self) -> int | None:
        """How many it is now, None where it tracks none; said each time that it has become too few."""
        before, self._known = self._known, prerequisites.tracked_most(self._limit_file)
        shortage = prerequisites.tracking_short_of(self._flows_most, self._known)
        if shortage and self._known != before:
            get_logger().warning(shortage)
        return self._known
