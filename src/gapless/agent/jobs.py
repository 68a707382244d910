"""What a worker of the agent is given to do, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final

from gapless.model.network import Network
from gapless.model.plan import BuildTimes, PlannedRouter
from gapless.model.router import RouterId

SWEPT_AT_ONCE: Final = 8
"""Networks in one portion of a sweep, where nobody waits for it."""


class Why(StrEnum):
    """What a reconcile was asked for by."""

    PLAN = "plan"
    """A new plan; also the retry of what one asked for."""
    DRIFT = "drift"
    """A hint of the kernel or a namespace that is gone; also the retry of a repair."""
    AUDIT = "audit"
    """Nothing in particular: it was this router's turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """Bring one router's kernel state to the plan."""

    planned: PlannedRouter
    why: Why
    asked_at: float
    """When the plan that asked for it reached this host, in monotonic seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove every trace of these routers: together, since a deletion waits in the kernel, however many go by it."""

    router_ids: tuple[RouterId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Remove a few of the bridges and tunnels of ours that no router needs any more. Nothing else runs meanwhile."""

    keep: frozenset[Network]
    most: int
    """Networks, at most."""
    is_first: bool
    """All links of the host are listed for what goes; later portions have the rest of that list. And taps go whose
    other end is not in their router's namespace, for which each of these is looked up."""


Job = Reconcile | Remove | Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A job did what it should."""

    changed: bool = False
    """Something in the kernel had to be changed."""
    times: BuildTimes | None = None
    """Where the router was announced: when the steps of that were over."""
    what: str = ""
    """The changes, in a few words for the log."""
    looked_at: float = -inf
    """Of a reconcile: the moment when its last look began. What was heard of the router until then is answered."""
    more_is_left: bool = False
    """Of a sweep: there is another portion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A removal was tried: routers of which something is left, and why; nothing is left of the others."""

    left: Mapping[RouterId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A job could not be done."""

    reason: str


Result = Done | Removed | Failed
