"""Whether one host holds its lease by its own word, since when it does or does not, and whether that word counts.

At which incarnation it held one is said in `ledger.tenures`; who is leaseless, and what for, in `planner.leaseless`.

The rule: a host is believed about its own lease within one connection. Time counts as far as it could be heard.

The invariant: it is never at once with and without a lease since some time.
"""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class LeaseRecord:
    """Of one host."""

    is_held: bool = False
    """It holds its lease, as it said last in this connection."""
    held_since: float | None = None
    """Since when it says that it holds its lease, as far as that is known; None: it does not."""
    without_since: float | None = None
    """Since when it is not known to hold its lease, as far as that counts against it; None: it holds it."""
    buried_at: float | None = None
    """When others said that it is over as it is; None: nobody did, or it had its time to come back."""
    is_lacking: bool = False
    """It held none for long, and others did: the host is leaseless."""
    must_follow: bool = False
    """The panel is lost, or began anew: what lease this host says it held may rest on the arbiters of before, until its
    guard works from the new panel."""

    @property
    def counts(self) -> bool:
        """Whether it may be planned for, as far as this says."""
        return not (self.must_follow or self.is_lacking)

    def connected(self, now: float) -> None:
        """What it said in an earlier connection does not count any more."""
        self.is_held = False
        self._is_not_known_to_be_held(now)

    def heard(self, now: float, *, is_held: bool) -> bool:
        """It says whether it holds it; whether that is news."""
        is_news, self.is_held = is_held is not self.is_held, is_held
        if not is_held:
            self._is_not_known_to_be_held(now)
            return is_news
        self.without_since = None
        if self.held_since is None:
            self.held_since = now
        return is_news

    def buried(self, now: float) -> None:
        """Others say that it is over as it is. Of what it says itself that changes nothing."""
        self.buried_at = now

    def disconnected(self) -> None:
        """Nothing is said of it now."""
        self.is_held = False

    def excuse(self, seconds: float, now: float) -> None:
        """Nobody could have been heard for so long until now."""
        if self.without_since is not None:
            self.without_since = min(now, self.without_since + seconds)
        if self.held_since is not None:
            self.held_since = min(now, self.held_since + seconds)
        if self.buried_at is not None:
            self.buried_at = min(now, self.buried_at + seconds)

    def lasts_s(self, now: float) -> float | None:
        """For how long the host has been without one; None: it is not leaseless."""
        return None if self.without_since is None or not self.is_lacking else now - self.without_since

    def _is_not_known_to_be_held(self, now: float) -> None:
        self.held_since = None
        if self.without_since is None:
            self.without_since = now
