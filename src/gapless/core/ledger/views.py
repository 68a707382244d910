"""What goes into the planner at its start and what may be looked at from outside: plain, frozen, no behaviour.

The shell adds what only it knows (wall-clock times, names for people). The status of a router and of the brake, and a
prospect, are also what the API answers, field by field: a name that changes here changes there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gapless.core.events import RouterNeeds
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.model.plan import Epoch, MoveKind, Successor
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHost:
    """A host as the store has it when the controller starts."""

    facts: HostFacts
    incarnation: Incarnation
    admin_up: bool
    drains_at_once: int | None = None
    """How many routers may be on their way from it at a time, as an operator said; None: nobody did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWord:
    """An operator's word that a host's machine was off, as the store has it when the controller starts."""

    host: HostName
    up_to: Incarnation
    """Its tenures up to this incarnation are over by that word."""
    is_off: bool
    """It did not come back since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRouter:
    """A router as the store has it when the controller starts: what it asks for, and its binding if it has one."""

    needs: RouterNeeds
    host: HostName | None = None
    epoch: Epoch = field(default=Epoch(0))
    leaving_host: HostName | None = None
    open_move: MoveKind | None = None
    """The kind of the move that brought it to `epoch`, if its record is neither confirmed nor superseded."""
    incarnation: Incarnation | None = None
    """That of `host` at which the router is guarded; None: a classic binding."""
    leaving_incarnation: Incarnation | None = None
    """That of `leaving_host`, where the router is guarded there."""
    successors: tuple[Successor, ...] = ()
    """Who may have the right to succeed `host`, by rank."""
    choice: str = ""
    """Why it was bound to `host`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """A host as the planner sees it."""

    name: HostName
    alive: bool
    """Heard within agent_down_time, counted from the controller's start or pause if that was later."""
    standing: str
    """One word: expected, alive, silent, dead, draining, drained."""
    reason: str
    silent_s: float | None
    """Seconds since its last report; None if not heard since the controller started."""
    routers: int
    """How many routers are bound to it."""
    takes_routers: bool
    """It is heard, in service, connected, and its agent runs; whether a router fits is another question."""
    holds_lease: bool
    """Guarded routers can be planned for it: it says that it holds its lease, is heard, and arbiters hear it renew."""
    arbiter: bool
    """Leases are granted, and dead hosts buried, by its word among others."""
    without_lease_s: float | None = None
    """Seconds for which it is heard and holds no lease, while others do; None where that is not so, or for a moment."""
    without_agent_s: float | None = None
    """Seconds for which its agent has not worked (`planner.agentless`); None where that is not so, or for a moment."""
    lost_ways: Mapping[str, float] = field(default_factory=dict)
    """What it has lost of its ways out (`planner.ways`), and for how many seconds."""
    tracked_most: int | None = None
    """The most connections that its kernel tracks of a router; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStatus:
    """How far the routers of a host have left it."""

    host: HostName
    admin_up: bool
    """False: it is out of service, and its routers leave."""
    standing: str
    """One word, as of a host; `drained` once nothing is left there."""
    at_once: int
    """How many may be on their way."""
    routers: int
    """Bound to it still, and not about to be bound elsewhere."""
    leaving: int
    """Bound elsewhere, or that is being stored; and this host has not said yet that it let go of them."""
    on_their_way: int
    """Left, and their new hosts have not said yet that they are active."""
    stuck: Mapping[RouterId, str]
    """Those that no host can take, or stand by for, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """Where a router would go if its host were taken out of service; each looked at alone."""

    router_id: RouterId
    kind: str
    """One word: `switchover` (a standby has it built), `build` (somebody has to build it first), `stuck`."""
    host: HostName | None
    """Where, as far as that is known beforehand."""
    reason: str
    copied: bool | None = None
    """Whether it has all of the router's connections now; None: it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyStatus:
    """A host that takes over by itself should the router's host die and all standbys before it, or is made one."""

    host: HostName
    state: str
    """One word: ready, building, failed, silent, changing."""
    copied: bool | None = None
    """Whether it has all of the router's connections now; None: it does not say, or is not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterStatus:
    """A router's placement as the planner sees it."""

    router_id: RouterId
    host: HostName | None
    epoch: Epoch
    state: str
    """One word: unplaced, binding, withdrawing, planned, building, active, failed, waiting."""
    reason: str
    standbys: tuple[StandbyStatus, ...] = ()
    """The hosts that take over by themselves, by rank, or are being made to."""
    health: str = ""
    """One word, by the host's last word: healthy, degraded, broken; "" if it has not said yet, or is not heard."""
    ailment: str = ""
    """Why it is not healthy."""
    damped_s: float | None = None
    """Its host cannot run it, and it is not moved for so long yet, at most; None: it is not damped."""

    @property
    def standby(self) -> HostName | None:
        """The first of its standbys."""
        return self.standbys[0].host if self.standbys else None

    @property
    def standby_state(self) -> str:
        """How far that one is; "" without any."""
        return self.standbys[0].state if self.standbys else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeStatus:
    """The brake on mass moves."""

    engaged: bool
    hosts: tuple[HostName, ...]
    """The hosts that look dead, while it is engaged."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArbiterStatus:
    """One arbiter as the planner sees it."""

    name: HostName
    panels: tuple[str, ...]
    """Of which sets it is: "old" and "new" while one replaces the other, else "present"."""
    is_heard: bool
    """By this controller, within agent_down_time."""
    is_off: bool
    """An operator confirmed that it is off."""
    silent_s: float | None
    """Seconds since its last report; None if not heard since the controller started."""
    standing: str
    """As of a host; "unknown" where its agent was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelStatus:
    """The panel as the planner sees it."""

    version: int
    floor: int
    level: str
    """One word: none, single, joint, raised."""
    arbiters: tuple[ArbiterStatus, ...]
    holders: tuple[HostName, ...]
    """Hosts that say that they hold their leases."""
    is_lost: bool
    """No quorum of arbiters is heard, and nobody is heard to hold a lease."""
    reason: str
    """What that means, or what the panel waits for, as a sentence."""
    confirm: tuple[HostName, ...]
    """Arbiters whose machines somebody should look at: confirmed off, they would not be waited for any more."""
