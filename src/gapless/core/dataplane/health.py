"""Whether a router forwards as it should, as its host can tell: healthy, degraded or broken, and why. Pure.

The rule: health is judged by what repairs found, never by what a hint said. What a look proves right is healthy; what
could not be put right yet, or does not stay right, is degraded, and forwards as far as is known; what is given up is
broken. A degraded router stays where it is: somebody who works against it on this host may do so on the next.

One that is right in every setting and does not hear its gateway is degraded, and if it is guarded, given up after a
while (`dataplane.gateways`).

What is not judged here: whether its host lives, and whether it may forward. Those have words of their own.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from gapless.model.plan import RouterReport, RouterState

OFTEN = 3
LATELY_S = 60.0
"""Repaired so often within this time, a router does not stay right."""


class Health(StrEnum):
    """How a router is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    BROKEN = "broken"


@dataclass(slots=True)
class Repairs:
    """One router's repairs on one host. `now` is monotonic seconds."""

    _lately: deque[float] = field(default_factory=lambda: deque(maxlen=OFTEN))
    _what: str = ""

    def repaired(self, what: str, now: float) -> None:
        """Something was not as it should be, and is now."""
        self._lately.append(now)
        self._what = what

    def forget(self) -> None:
        """What was wanted changed: what was before tells nothing of it."""
        self._lately.clear()

    def ailment(self, now: float) -> str:
        """Why the router is degraded though it is right at this moment; "" if it is not."""
        if len(self._lately) < OFTEN or self._lately[0] < now - LATELY_S:
            return ""
        what = f", the last time by {self._what}" if self._what else ""
        return (
            f"it had to be repaired {OFTEN} times within {LATELY_S:g} s{what}: something on this host works against it"
        )


def judge(said: RouterReport | None) -> tuple[Health | None, str]:
    """How a router is by its host's last word on it, and why; None: there is nothing to say yet."""
    if said is None or said.state in (RouterState.BUILDING, RouterState.REMOVED):
        return None, ""
    if said.state is RouterState.FAILED:
        return Health.BROKEN, said.reason
    return (Health.DEGRADED, said.ailment) if said.ailment else (Health.HEALTHY, "")
