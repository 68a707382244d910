"""Plans: which router runs on which host, at which epoch, and what a host says of carrying it out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from gapless.model.host import HostName
from gapless.model.router import Router, RouterId

Epoch = NewType("Epoch", int)
"""Grows by one each time a router is bound to a host; nothing acts on an older one."""
Revision = NewType("Revision", int)
"""Numbers the states of one host's plan in one session of its control link; grows by one a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A router bound to a host. There is at most one a router, and once made it is moved, never dropped."""

    router_id: RouterId
    host: HostName
    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRouter:
    """A router that a host should run, and the epoch of the assignment that says so."""

    router: Router
    epoch: Epoch


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


class MoveKind(StrEnum):
    """Why a router was bound anew."""

    SCHEDULE = "schedule"
    """Its first host."""
    RESCHEDULE = "reschedule"
    """Its host went silent."""
    RETRY = "retry"
    """Its new host could not build it."""
    DRAIN = "drain"
    """Its host was taken out of service by an operator (`admin_state_up` false)."""
    MANUAL = "manual"
    """An operator named the host."""


class MoveStep(StrEnum):
    """The steps of a move, in the order in which they happen."""

    LAST_HEARD = "last_heard"
    """The last report of the host it leaves reached the controller."""
    DECIDED = "decided"
    BOUND = "bound"
    """The new assignment is in the store."""
    WITHDRAWN = "withdrawn"
    """The host it leaves confirmed that nothing is left there (not when that host is dead)."""
    SENT = "sent"
    """The plan left for the new host."""
    BUILT = "built"
    ANNOUNCED = "announced"
    CONFIRMED = "confirmed"
    """The controller heard that it is active."""
    FAILED = "failed"
    """The new host could not build it; another move follows."""
    SUPERSEDED = "superseded"
    """A newer epoch was decided before this one was confirmed."""
