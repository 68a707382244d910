"""How long a process rests after it had the kernel list a table: no more than a share of one processor goes there.

Theory: connections of all namespaces of a machine are in one hash table. To list those of one namespace the kernel
walks all of it, with soft interrupts off: 4 to 6 ms where it has 262,144 buckets, however few there are of that
namespace. Back to back, for a thousand routers, this takes packets their processor for seconds.

The rule: after a step that took t, `REST` times t pass before the next one.
"""

REST = 9.0
"""So a tenth of one processor at most."""


class Rest:
    """Of one process. Times in seconds."""

    def __init__(self, rest: float = REST) -> None:
        self._rest = rest
        self._until = 0.0

    def wait_s(self, now: float) -> float:
        """How long until the next step may begin."""
        return max(0.0, self._until - now)

    def worked(self, took_s: float, now: float) -> None:
        """A step ended now that took so long."""
        self._until = now + took_s * self._rest
