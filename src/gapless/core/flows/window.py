"""How much of what was sent to a follower it has not dealt with yet, and since when: back-pressure, and the lag.

The rule: more than `ROOM_BYTES` are never under way. What cannot be sent waits in the feeds, where a flow that changes
again takes no more room.
"""

from collections import deque
from collections.abc import Iterable

ROOM_BYTES = 1024 * 1024


class Window:
    """Of one stream."""

    def __init__(self, room_bytes: int = ROOM_BYTES) -> None:
        self._room = room_bytes
        self._under_way: deque[tuple[int, int, float]] = deque()
        self._worst_s = 0.0
        self.dealt_with = 0
        """The number of the last of these that the follower has dealt with."""

    @property
    def has_room(self) -> bool:
        """Whether something may be sent."""
        return self._room > 0

    def sent(self, number: int, size: int, since: float) -> None:
        """A frame left; the oldest thing in it was heard at `since`."""
        self._under_way.append((number, size, since))
        self._room -= size

    def applied(self, number: int, now: float) -> None:
        """The follower has dealt with all frames up to this number."""
        while self._under_way and self._under_way[0][0] <= number:
            self.dealt_with, size, since = self._under_way.popleft()
            self._room += size
            self._worst_s = max(self._worst_s, now - since)

    def lag_s(self, now: float, waiting: Iterable[float] = ()) -> float:
        """The most that the follower was behind since this was asked last; `waiting`: since when what is unsent is."""
        since = min((self._under_way[0][2] if self._under_way else now, *waiting), default=now)
        worst, self._worst_s = max(self._worst_s, now - since), 0.0
        return worst
