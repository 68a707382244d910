"""The brake: when most hosts look dead at once, the controller is more likely blind than the hosts are dead.

The rule: nothing moves for silence while more than `share` of the considered hosts look dead.

- *Looks dead*: not heard for agent_down_time (silent or dead). Silent ones count, because hosts that fall silent at one
  moment become dead up to a report interval apart, and the first of them must not move before the last is seen.
- *Considered*: hosts that are heard, and hosts in service that look dead and either still hold routers that silence
  would move, or fell silent lately (`at_once_s`), with routers or without: an empty host that falls silent together
  with a loaded one says as much about the controller's sight. A host that has been dead and empty for long counts for
  nothing, nor does one that an operator took out of service before switching it off. Who counts while it is engaged
  goes on counting until heard.
- It engages when a considered host is dead (before that there is nothing to hold back) and the share is exceeded.
- It ends by itself when nobody looks dead any more, or when the share has not been exceeded for agent_down_time: after
  a cut hosts come back one after another, and those that come second must not lose their routers for it.
- With one of two hosts dead it never engages (half is not more than half); with the only host dead it does, and says
  so, which changes nothing: there is nowhere to go.
- An operator's release is about the hosts that look dead at that moment: they no longer count, neither as heard nor
  as dead, until they are heard again. Should most of the others fall silent later, the brake engages again.

Neutron has no brake; a wrong join once moved every router when one agent died (LP#1359460).
"""

from collections.abc import Collection
from dataclasses import dataclass

from gapless.core.ledger.liveness import Timing
from gapless.model.host import HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What the brake looks at."""

    heard: Collection[HostName]
    down: Collection[HostName]
    """Look dead, in service, and were expected to be heard."""
    any_dead: bool
    """Whether one of `down` is dead, not only silent, and holds routers that would move now."""


def at_once_s(timing: Timing) -> float:
    """Silence up to which two hosts fell silent at once: their deaths are up to a report interval apart."""
    return timing.dead_after_s + 2 * timing.report_interval_s


class Brake:
    """Engaged or not, and why."""

    def __init__(self, share: float, linger_s: float) -> None:
        """`linger_s`: how long the share must not have been exceeded before it ends by itself."""
        self._share = share
        self._linger_s = linger_s
        self._fewer_since: float | None = None
        self._released_for: set[HostName] = set()
        self._release_reason = ""
        self.engaged = False
        self.hosts: tuple[HostName, ...] = ()
        """The hosts that look dead, while it is engaged."""
        self.reason = ""

    def judge(self, census: Census, now: float) -> bool:
        """Take in how things are now; whether it engaged or ended by that."""
        self._released_for.difference_update(census.heard)
        down = sorted(set(census.down) - self._released_for)
        considered = len(census.heard) + len(down)
        exceeded = len(down) > self._share * considered
        engaged = (exceeded and (self.engaged or census.any_dead)) or self._lingers(exceeded, bool(down), now)
        changed = engaged is not self.engaged
        self.engaged, self.hosts = engaged, tuple(down) if engaged else ()
        if engaged and not exceeded:
            self.reason = (
                f"hosts come back: {len(down)} of {considered} look dead now; nothing moves for silence until they "
                f"had {self._linger_s:g} s to come back too, or an operator releases the brake"
            )
        elif engaged:
            self.reason = (
                f"{len(down)} of {considered} hosts look dead at once, more than {self._share:.0%}: nothing moves for "
                "silence until fewer do or an operator releases the brake"
            )
            self._release_reason = ""
        elif changed and self._release_reason:
            self.reason = self._release_reason
        elif changed:
            self.reason = f"{len(down)} of {considered} hosts look dead, not more than {self._share:.0%}"
        if self.reason == self._release_reason and not self._released_for:
            self._release_reason = self.reason = ""  # every host that it was about has been heard
        return changed

    def _lingers(self, exceeded: bool, some_down: bool, now: float) -> bool:
        """Whether it stays on although the share is not exceeded any more."""
        if exceeded or not (self.engaged and some_down):
            self._fewer_since = None
            return False
        if self._fewer_since is None:
            self._fewer_since = now
        return now - self._fewer_since < self._linger_s

    def release(self, hosts: Collection[HostName] | None = None) -> None:
        """An operator says that the hosts which look dead are dead, or those of them that are named; `judge` follows.
        Nothing, if it is not engaged.
        """
        meant = [host for host in self.hosts if hosts is None or host in hosts]
        self._released_for.update(meant)
        self._release_reason = f"an operator says that these hosts are dead: {', '.join(meant)}"
