"""Everything that can happen to the planner. The mirror image of `effects.py`.

Events are facts, in the past tense. `id` names an event in logs and records: every effect that follows from it
carries it as `cause`. Times are not in here: the shell hands `now` in beside the event.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gapless.model.host import AgentState, HostFacts, HostName, Incarnation
from gapless.model.lease import NOBODY, Panel, Tenure
from gapless.model.plan import Burial, Epoch, Forwarding, RouterReport, Takeover
from gapless.model.router import FailoverMode, RouterId
from gapless.model.way import WayOut, WaysSaid


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterNeeds:
    """What a router asks of a host."""

    router_id: RouterId
    mode: FailoverMode
    availability_zone_hints: tuple[str, ...] = ()
    physical_networks: frozenset[str] = frozenset()
    needs_vxlan: bool = False
    gateway: WayOut | None = None
    """The next hop of its default route, where that is in a physical network."""

    @property
    def ways(self) -> frozenset[WayOut]:
        """The ways out that it uses."""
        carriers = frozenset(map(WayOut, self.physical_networks))
        return carriers if self.gateway is None else carriers | {self.gateway}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnected:
    """A host proved the cluster's key and opened its control link; `session` tells this link from its others."""

    id: str
    facts: HostFacts
    incarnation: Incarnation
    admin_up: bool
    session: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReported:
    """A report arrived. `routers` holds what changed since the last one; all of them when `full`.

    A router of the host's plan that a full report does not name is not there (yet). `plan_version` is what
    `Planner.plan_version(host)` was when the plan that this report was made from was read for sending (0: unknown):
    only a report made from a plan without a router proves that the host has let go of it.

    `number` counts the reports of the `session`, from 1. The rest is its guard's (`wire.messages.Report`), with
    `guard_version` as `plan_version` is: from which plan it worked.
    """

    id: str
    host: HostName
    agent: AgentState
    routers: tuple[RouterReport, ...] = ()
    full: bool = False
    plan_version: int = 0
    session: int = 0
    number: int = 0
    leased: Incarnation = NOBODY
    guard_version: int = 0
    forwarding: tuple[Forwarding, ...] | None = None
    takeovers: tuple[Takeover, ...] = ()
    buried: tuple[Burial, ...] = ()
    uplink_trouble: str = ""
    is_held: bool = False
    """It holds its lease now."""
    agent_reason: str = ""
    """Why the agent is not running, in the sentinel's words."""
    reborn: Incarnation = NOBODY
    """Every lower incarnation of this machine is over, by its own word; NOBODY: not known."""
    is_stopping: bool = False
    """It is about to stop, in order."""
    tracked_most: int | None = None
    """As in `HostFacts`; None: not known now."""
    copied: Mapping[RouterId, bool | None] = field(default_factory=dict)
    """Whether it has all connections of a router that it stands by for: what is news; None: not known any more."""
    ways: WaysSaid | None = None
    """Which of its ways out are lost; None: it does not say (an older release, a beat that has just begun)."""
    expired: tuple[Tenure, ...] = ()
    """What it granted last, as an arbiter, to hosts that were granted nothing since; an older release says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDisconnected:
    """The control link closed. That alone means nothing: silence counts, not connections."""

    id: str
    host: HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAdminChanged:
    """An operator took a host out of service (drain), or put it back."""

    id: str
    host: HostName
    admin_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainPaced:
    """An operator said how many routers may be on their way from a host at a time, until it is back in service; that
    is stored, and a later planner begins with it (`ledger.views.StoredHost`).
    """

    id: str
    host: HostName
    at_once: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostForgotten:
    """An operator deleted a host that is down."""

    id: str
    host: HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfirmedOff:
    """An operator has made sure that a machine is off, and that is stored: every tenure of it, up to this incarnation,
    is over by that word.
    """

    id: str
    host: HostName
    incarnation: Incarnation


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterWanted:
    """A router was created, or what it asks of a host changed."""

    id: str
    needs: RouterNeeds


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDeleted:
    """A router is gone from the store."""

    id: str
    router_id: RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRequested:
    """An operator named a router and, maybe, the host to bind it to (None: any other than its present one)."""

    id: str
    router_id: RouterId
    host: HostName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingStored:
    """A `Bind` effect is in the store."""

    id: str
    router_id: RouterId
    host: HostName
    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingFailed:
    """A `Bind` effect could not be stored; what was bound before still is."""

    id: str
    router_id: RouterId
    epoch: Epoch
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalStored:
    """A `StoreWithdrawal` effect is in the store."""

    id: str
    router_id: RouterId
    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalFailed:
    """A `StoreWithdrawal` effect could not be stored; the new host has not heard of the router."""

    id: str
    router_id: RouterId
    epoch: Epoch
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessionStored:
    """A `StoreSuccession` effect is in the store."""

    id: str
    router_id: RouterId
    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessionFailed:
    """A `StoreSuccession` effect could not be stored; who might succeed still may."""

    id: str
    router_id: RouterId
    epoch: Epoch
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelStored:
    """A `StorePanel` effect is in the store."""

    id: str
    panel: Panel


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelFailed:
    """A `StorePanel` effect could not be stored; the arbiters are those of before."""

    id: str
    panel: Panel
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeReleased:
    """An operator says that the hosts that look dead are dead: move their routers."""

    id: str
    hosts: tuple[HostName, ...] | None = None
    """Those that the operator saw; None: all that look dead by now."""


Event = (
    HostConnected
    | HostReported
    | HostDisconnected
    | HostAdminChanged
    | DrainPaced
    | HostForgotten
    | HostConfirmedOff
    | RouterWanted
    | RouterDeleted
    | MoveRequested
    | BindingStored
    | BindingFailed
    | WithdrawalStored
    | WithdrawalFailed
    | SuccessionStored
    | SuccessionFailed
    | PanelStored
    | PanelFailed
    | BrakeReleased
)
