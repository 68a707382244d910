"""Moves of routers that their hosts could not run, as seen from outside: are there few enough of them?

Oracles 11 and 12 (`oracles.moves`) are judged here, each of them within one life of a controller and until a new host
comes. What is counted is what was asked for, once for each epoch, and not what was never stored.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from gapless.core.effects import Bind
from gapless.core.ledger.tours import PAUSE_S
from gapless.core.ledger.trials import FEW
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind
from gapless.model.router import RouterId

MOST_AN_HOUR = 5
HOUR_S = 3600.0


@dataclass(slots=True)
class Retries:
    """Of one life of a controller. `is_stored`: whether a binding was ever written."""

    is_stored: Callable[[RouterId, Epoch], bool]
    _times: dict[tuple[RouterId, Epoch], float] = field(default_factory=dict)
    _leaves: dict[RouterId, HostName | None] = field(default_factory=dict)
    """Whom each left, of those of which it is not known whether that helped."""
    _since: float = 0.0
    """The moves from here on are one episode: none is a pause after the one before."""
    _may_follow: int = 0
    """Others, by what is known of those that were moved."""

    def forget(self) -> None:
        """A new life, or a new host."""
        self._times.clear()
        self._leaves.clear()
        self._may_follow = 0

    def gone(self, router_id: RouterId) -> None:
        """It was deleted."""
        if router_id in self._leaves:
            del self._leaves[router_id]
            self._may_follow += 1

    def confirmed(self, router_id: RouterId) -> None:
        """It is active."""
        if router_id in self._leaves:
            del self._leaves[router_id]
            self._may_follow += FEW

    def asked(self, bind: Bind, now: float) -> str:
        """A binding is to be stored; what is wrong with that, or ""."""
        is_retry = bind.kind is MoveKind.RETRY and "cannot run it" in bind.reason
        if not is_retry and self._leaves.get(bind.router_id, "") == bind.host:
            self.gone(bind.router_id)  # It goes back.
        if not is_retry:
            self._times.pop((bind.router_id, bind.epoch), None)  # What was asked for at that epoch was never stored.
            return ""
        if (bind.router_id, bind.epoch) in self._times:
            return ""
        self._times = {each: at for each, at in self._times.items() if self.is_stored(*each)}
        if now - max(self._times.values(), default=now) >= PAUSE_S:
            self._since, self._may_follow = now, 0
            self._leaves.clear()
        self._times[bind.router_id, bind.epoch] = now
        self._leaves[bind.router_id] = bind.previous_host
        lately = [at for (router_id, _), at in self._times.items() if router_id == bind.router_id and now - at < HOUR_S]
        if len(lately) > MOST_AN_HOUR:
            return f"oracle 11: {bind.router_id} swings: {len(lately)} hosts could not run it within an hour"
        episode = sum(at >= self._since for at in self._times.values())
        if episode > FEW + self._may_follow:
            return f"oracle 12: {episode} routers were moved for one cause, and it helped {self._may_follow // FEW}"
        return ""
