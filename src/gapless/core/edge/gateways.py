"""Which gateways a host asks whether they are there, when, and which of them are lost by that.

The rule: one that has answered once and leaves `MISSES` questions unanswered in a row is lost. One that never answered
is not judged: there are gateways that do not answer at all. All are asked each `QUESTION_S`, but for those behind an
uplink that is cut. These are lost with it, whatever they would answer, and what is known of them stays as it was until
the uplink is back. The others are asked as ever: one uplink that is cut hides no loss behind another.
"""

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address

QUESTION_S = 0.5
"""Between two questions to a gateway."""
MISSES = 3

Gateway = tuple[str, IPv4Address]
"""The uplink that it is behind, and its address."""


class Reachability:
    """Of one gateway."""

    def __init__(self) -> None:
        self._has_answered = False
        self._unanswered = 0

    def asked(self) -> None:
        """A question left."""
        self._unanswered += 1

    def answered(self) -> None:
        """It answered."""
        self._has_answered, self._unanswered = True, 0

    @property
    def is_awaited(self) -> bool:
        """The last question has no answer yet."""
        return self._unanswered > 0

    @property
    def is_unknown(self) -> bool:
        """It never answered, as far as this life of the beat knows."""
        return not self._has_answered

    @property
    def is_doubtful(self) -> bool:
        """It may have another MAC address than it had: everybody is to be asked."""
        return self._unanswered > 1

    @property
    def is_lost(self) -> bool:
        """It used to answer, and does not any more."""
        return self._has_answered and self._unanswered > MISSES


class Gateways:
    """Of one host. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._known: dict[Gateway, Reachability] = {}
        self._reached: list[Gateway] = []
        """Those that are not behind an uplink that is cut."""
        self._cut: frozenset[str] = frozenset()
        self._next_question = 0.0

    def watch(self, wanted: Iterable[Gateway]) -> None:
        """These, and no others. What is known of one stays known."""
        self._known = {each: self._known.get(each) or Reachability() for each in wanted}
        self._reach()

    def cut(self, uplinks: Collection[str]) -> None:
        """Whatever is behind these is not asked; behind all others it is."""
        self._cut = frozenset(uplinks)
        self._reach()

    def _reach(self) -> None:
        self._reached = [each for each in self._known if each[0] not in self._cut]

    def is_due(self, now: float) -> bool:
        """Whether there is somebody to be asked now: what has been answered is to be taken in before."""
        return bool(self._reached) and now >= self._next_question

    @property
    def are_awaited(self) -> bool:
        """Some have not answered yet who could."""
        return any(self._known[each].is_awaited for each in self._reached)

    def ask(self, now: float) -> list[tuple[Gateway, bool]]:
        """All that are to be asked leave a question now: whom, and whether everybody is to be asked for it, as it may
        have another MAC address than it had.
        """
        self._next_question = now + QUESTION_S
        for each in self._reached:
            self._known[each].asked()
        return [(each, self._known[each].is_doubtful) for each in self._reached]

    def answered(self, address: IPv4Address) -> bool:
        """Somebody answers for this address, on whichever uplink: whether that is a gateway that is asked."""
        found = [self._known[each] for each in self._reached if each[1] == address]
        for reachability in found:
            reachability.answered()
        return bool(found)

    @property
    def watched(self) -> frozenset[Gateway]:
        """All of them."""
        return frozenset(self._known)

    @property
    def silent(self) -> list[Gateway]:
        """Those that answered once, and do not any more."""
        return [each for each, reachability in self._known.items() if reachability.is_lost]

    @property
    def unknown(self) -> frozenset[Gateway]:
        """Those that never answered."""
        return frozenset(each for each, reachability in self._known.items() if reachability.is_unknown)
