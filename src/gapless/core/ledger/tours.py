"""A router that fails wherever it is built: it must not tour the hosts, losing on each what still worked there.

The rule: once it has failed for the same reason on two hosts, without having been active for a while in between, the
reason lies in the router and not in the hosts. So it stays where it is, where the agent goes on trying, and may leave
again only after a long pause, or when there is a host that was never there before; first for a host that it has not
failed on.

A failure without a reason proves nothing of the kind. What a controller knew of a tour is lost with it: the next one
lets the router move once more before it knows again.
"""

from dataclasses import dataclass, field

from gapless.model.host import HostName

PAUSE_S = 600.0
"""How long a router stays that failed on two hosts for one reason."""
STEADY_S = 60.0
"""Active for so long, it has left its tour behind. A host may have it built, open it, and only then see it break."""
NEW_HOST_S = 30.0
"""... but only so long once there is a new host: until then that one's agent runs and says so."""


@dataclass(slots=True)
class Tour:
    """Where a router failed since it was last active for a while."""

    reasons: dict[HostName, str] = field(default_factory=dict)
    """What each host said last."""
    until: float = 0.0
    active_since: float | None = None

    def failed(self, host: HostName, reason: str, now: float) -> None:
        """It failed there."""
        if self.active_since is not None and now >= self.active_since + STEADY_S:
            self.reasons.clear()
            self.until = 0.0
        self.active_since = None
        self.reasons[host] = reason
        if reason and sum(each == reason for each in self.reasons.values()) > 1:
            self.until = now + PAUSE_S

    def is_active(self, now: float) -> None:
        """It is active."""
        if self.active_since is None:
            self.active_since = now

    def new_host(self, now: float) -> bool:
        """There is a host that was never there before; whether that shortens a pause."""
        if self.until <= now + NEW_HOST_S:
            return False
        self.until = now + NEW_HOST_S
        return True

    def stays_until(self, now: float) -> float | None:
        """The moment until which it must not leave; None: it may."""
        return self.until if now < self.until else None

    def others(self, host: HostName) -> str:
        """The other hosts that said what `host` says, for an explanation."""
        return " and ".join(
            sorted(name for name, reason in self.reasons.items() if name != host and reason == self.reasons.get(host))
        )
