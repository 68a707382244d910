"""Whether the controller hears this host, as far as its sentinel knows. Pure: no clock."""

from math import inf

BACK_S = 5.0
"""How long a controller that was there a moment ago may be away and be waited for: one that is started anew is back."""
_CONNECTED = "connected"


class Contact:
    """Of one sentinel. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.words = ""
        """How it is, for people; "" until it was tried."""
        self._lost_at = -inf
        """When the last session ended, and not by the controller's word."""

    @property
    def is_there(self) -> bool:
        """There is a session."""
        return self.words == _CONNECTED

    def began(self) -> None:
        """A session began."""
        self.words = _CONNECTED

    def ended(self, now: float, *, is_refused: bool) -> None:
        """There is no session, or none came about; `is_refused`: by the controller's word."""
        if self.is_there:
            self._lost_at = -inf if is_refused else now
        self.words = "refuses this host" if is_refused else "not reached"

    def is_lost(self, now: float) -> bool:
        """Whether nobody can be told anything, soon either."""
        return now >= self.heard_until

    @property
    def heard_until(self) -> float:
        """Until when the controller hears this host, or may again, as far as is known now."""
        return inf if self.is_there else self._lost_at + BACK_S
