"""What one host's guard said last: from which version of the plan it works, which routers are open there, and whom it
has not heard as an arbiter.

What follows from it: `planner.guards`.

The rule: an acknowledgement says two things at once, that a plan is settled and what is open. So a router is closed
once a guard works from a plan that takes it *and* does not name it as open; nothing else is a proof. What was said in
an earlier connection is none either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gapless.model.host import HostName, Incarnation
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

NOTHING: Mapping[RouterId, Epoch] = MappingProxyType({})
"""Nothing is open."""


@dataclass(slots=True, kw_only=True)
class GuardRecord:
    """Of one host."""

    version: int = 0
    """The version of the plan that it worked from when it last spoke in this connection; 0: none."""
    forwarding: Mapping[RouterId, Epoch] | None = None
    """Guarded routers that are open here; None: not said in this connection."""
    expired: Mapping[HostName, Incarnation] = field(default_factory=dict)
    """As an arbiter: to which incarnation of each host it granted something last, where that has been over for a while.
    """
    owing: set[RouterId] = field(default_factory=set)
    """Routers that wait for what it says next."""

    def connected(self) -> None:
        """It has said nothing yet."""
        self.version, self.forwarding, self.expired = 0, None, {}

    def said_open(self, forwarding: Mapping[RouterId, Epoch]) -> list[RouterId]:
        """Just these are open; of which that is news, by id."""
        changed = forwarding.items() ^ (self.forwarding or NOTHING).items()
        self.forwarding = forwarding
        return sorted({router_id for router_id, _ in changed})

    def acknowledged(self, version: int) -> None:
        """It works from this version."""
        self.version = max(self.version, version)

    def take_owing(self) -> set[RouterId]:
        """Who waited for what it said now; whoever still waits says so again."""
        owing, self.owing = self.owing, set()
        return owing

    def open_at(self, router_id: RouterId) -> Epoch | None:
        """The epoch at which the router is open here; None: it is not, as far as was said."""
        return (self.forwarding or NOTHING).get(router_id)

    def has_closed(self, router_id: RouterId, version: int) -> bool:
        """Whether it works from this version of the plan, or a later one, and the router is not open. If that is not
        known, the router waits for its next word.
        """
        if self.version >= version and self.forwarding is not None:
            return router_id not in self.forwarding
        self.owing.add(router_id)
        return False
