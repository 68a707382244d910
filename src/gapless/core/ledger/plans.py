"""What one host has to do: the plan that is sent to it, as duties with a version.

The rule: each change raises the version, by which a later report proves what the host knew when it made it.

The invariant: what is to be sent of a move is in the plan.
"""

from dataclasses import dataclass, field

from gapless.model.plan import Epoch, Guarded, Role
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What a host has to do with one router of its plan."""

    epoch: Epoch
    guarded: Guarded | None = None
    """None: it runs it, unguarded."""

    @property
    def is_standby(self) -> bool:
        """It keeps the router built and forwards nothing (yet)."""
        return self.guarded is not None and self.guarded.role is Role.STANDBY


@dataclass(slots=True, kw_only=True)
class Plan:
    """Of one host."""

    duties: dict[RouterId, Duty] = field(default_factory=dict)
    version: int = 1
    unsent: set[RouterId] = field(default_factory=set)
    """Routers whose moves have not been sent yet."""
    panel_version: int = 1
    """The first version with the panel as it is."""

    def put(self, router_id: RouterId, duty: Duty, *, unsent: bool) -> bool:
        """The host has this duty; false if it had it before."""
        if self.duties.get(router_id) == duty:
            return False
        self.duties[router_id] = duty
        self.version += 1
        if unsent:
            self.unsent.add(router_id)
        return True

    def drop(self, router_id: RouterId) -> Duty | None:
        """The host has nothing to do with the router (any more); what it had to do with it."""
        if (duty := self.duties.pop(router_id, None)) is not None:
            self.version += 1
            self.unsent.discard(router_id)
        return duty

    def touch(self, router_id: RouterId) -> bool:
        """The router is another than before; whether it is in the plan."""
        if router_id not in self.duties:
            return False
        self.version += 1
        return True

    def change_panel(self) -> None:
        """It is sent with another panel than before, or with another address of a host."""
        self.version += 1
        self.panel_version = self.version

    def take_unsent(self) -> list[RouterId]:
        """The routers whose moves are sent now, by id."""
        sent, self.unsent = sorted(self.unsent), set()
        return sent
