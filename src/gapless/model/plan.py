"""Plans: which router runs on which host, at which epoch, and what a host says of carrying it out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import LeaseTiming, Panel, Tenure
from gapless.model.router import Router, RouterId

Epoch = NewType("Epoch", int)
"""Grows each time that a router is bound to a host, by more than one past successors that were skipped; nothing acts on
an older one."""
Revision = NewType("Revision", int)
"""Numbers the states of one host's plan in one session of its control link; grows by one a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A router bound to a host. There is at most one a router, and once made it is moved, never dropped."""

    router_id: RouterId
    host: HostName
    epoch: Epoch


class Role(StrEnum):
    """What a host is to a guarded router."""

    ACTIVE = "active"
    """It forwards, at the epoch of its plan, for as long as it holds its lease."""
    STANDBY = "standby"
    """It has the router built, and nothing passes; it may have the right to succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """Who may become active for a router at this epoch, once its host and all successors of lower epochs are over."""

    tenure: Tenure
    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What a host may do with a router that only the holder of a lease forwards.

    It is meant for one incarnation of the host: any other may do nothing with it but keep it built. With STANDBY and a
    non-empty `after` the host has the right to become active at the router's epoch, once all tenures in it are buried,
    or have released the router. With STANDBY and a `release` it closes the router, and then releases it to that host.
    """

    role: Role
    incarnation: Incarnation
    after: tuple[Tenure, ...] = ()
    release: Successor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRouter:
    """A router that a host should run, and the epoch of the assignment that says so.

    `guarded` is None for a classic router (failover modes `reschedule` and `off`): it forwards without a lease. The
    epoch of a standby is the one that it would be active at.
    """

    router: Router
    epoch: Epoch
    guarded: Guarded | None = None

    @property
    def forwards(self) -> bool:
        """Whether it is this host that forwards for it, by the plan."""
        return self.guarded is None or self.guarded.role is Role.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseAddress:
    """Where a host's lease datagrams go: `address` is "ADDRESS:PORT"."""

    host: HostName
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelPlan:
    """The arbiters, and where every host that takes part in leases is reached (arbiters and all others).

    `timing` is everybody's: leases mean something only among hosts that count them alike.
    """

    panel: Panel
    timing: LeaseTiming
    addresses: tuple[LeaseAddress, ...]


class RouterState(StrEnum):
    """What a host says of one router of its plan."""

    BUILDING = "building"
    ACTIVE = "active"
    """Built, verified against the kernel, announced."""
    FAILED = "failed"
    """It could not be built or kept right here; `reason` says why. The agent goes on trying."""
    REMOVED = "removed"
    """Nothing of it is left on this host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTimes:
    """When the steps of a build were over, in milliseconds after the plan that asked for it reached the host."""

    started_ms: float
    built_ms: float
    announced_ms: float
    verified_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterReport:
    """One router's state on one host, at the epoch of the plan it was made from."""

    router_id: RouterId
    epoch: Epoch
    state: RouterState
    reason: str = ""
    times: BuildTimes | None = None
    """With ACTIVE after a build; None where a running router was adopted or only changed."""
    guarded: bool = False
    """Its taps are guarded and stay so over a restart; with FAILED: for all that, and it is as planned in the kernel.
    False says nothing."""
    ailment: str = ""
    """With ACTIVE: why it is degraded; "" if it is healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """A guarded router that is open on a host: its frames pass as long as the host's lease lasts.

    `is_released`: it was opened because the host before released it, which says nothing of that host's tenure.
    """

    router_id: RouterId
    epoch: Epoch
    is_released: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverTimes:
    """When the steps of a takeover were over, in milliseconds after the first beat that the arbiters missed.

    All by the successor's own monotonic clock; `told_ms` is the moment at which this report was made. Of a router that
    was released they count from when it was closed, which is also what `buried_ms` stands for: from the moment that
    the word of this arrived, less the time for which it had been so, as the host before said. The way of that datagram
    is not in it; for how long it lay unread is, and that it was lost and said again.
    """

    buried_ms: float
    """A quorum of arbiters had buried the host."""
    opened_ms: float
    """The router's frames pass here."""
    told_ms: float
    granted_ms: float | None = None
    """The arbiters had granted it its lease for the last time: before that beat, so this is negative. None: of a router
    that was released there is nothing to say, and a host of an older release says nothing."""
    silent_ms: float | None = None
    """A quorum had said that it is silent. None, as is `claimed_ms`: it was buried long before."""
    claimed_ms: float | None = None
    announced_ms: float | None = None
    """None: not announced yet, or there was nothing to announce."""
    forwarded_ms: float | None = None
    """It was seen that the router had forwarded a packet here. None: nothing so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """This host became active for a router by its right to succeed `of`, at `epoch`: because that tenure is over, or
    because it released the router.
    """

    router_id: RouterId
    epoch: Epoch
    of: Tenure
    times: TakeoverTimes
    is_released: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Burial:
    """An arbiter's answer to the controller's `Bury` with this `seq`.

    `is_buried`: the tenure is over for good; if not, this arbiter has an unexpired grant for it.
    """

    tenure: Tenure
    seq: int
    is_buried: bool


class MoveKind(StrEnum):
    """Why a router was bound anew."""

    SCHEDULE = "schedule"
    """Its first host."""
    RESCHEDULE = "reschedule"
    """Its host is dead: silent for long, or confirmed to be off."""
    RETRY = "retry"
    """Its host could not build it, or keep it right; or the host that it was going to was over first."""
    DRAIN = "drain"
    """Its host is to be left: an operator took it out of service or deleted it, it is about to stop, or no agent works
    there.
    """
    MANUAL = "manual"
    """An operator named the host, or asked for any other, or to even hosts out."""
    TAKEOVER = "takeover"
    """Its host's lease ended, and its successor became active by itself."""
    RESTART = "restart"
    """Its host came back at a higher incarnation, with nothing forwarding, and nobody had taken over."""


class MoveStep(StrEnum):
    """The steps of a move, in the order in which they happen."""

    LAST_HEARD = "last_heard"
    """The last report of the host it leaves reached the controller."""
    GRANTED = "granted"
    """The arbiters granted the host it leaves its lease for the last time (the steps from here to OPENED: takeovers
    only)."""
    MISSED = "missed"
    """The arbiters missed the first beat of that host."""
    SILENT = "silent"
    """A quorum of arbiters had told the successor that that host is silent."""
    DECIDED = "decided"
    """Where it goes: by the controller; in a takeover by the successor, which claims."""
    BURIED = "buried"
    """A quorum of arbiters had buried that host's tenure."""
    OPENED = "opened"
    """The router's frames pass on its new host (takeovers, and where it was released)."""
    BOUND = "bound"
    """The new assignment is in the store."""
    WITHDRAWN = "withdrawn"
    """The host it leaves confirmed that it is closed, or that nothing is left there (not when that host is dead)."""
    SENT = "sent"
    """The plan left for the new host."""
    BUILT = "built"
    """... after that plan asked for it: not where it was built as a standby."""
    ANNOUNCED = "announced"
    FORWARDED = "forwarded"
    """It was seen that the new host had forwarded a packet for it (where there is an OPENED)."""
    CONFIRMED = "confirmed"
    """The controller heard that it is active."""
    FAILED = "failed"
    """The new host could not build it; another move follows."""
    SUPERSEDED = "superseded"
    """A newer epoch was decided before this one was confirmed."""
