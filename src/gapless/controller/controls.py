"""What the API may ask of the running controller, and what it may look at: the seam between `api/` and `driver.py`.

What the planner shows is handed on as it is, where the API shows the same. A view here has what only the shell knows
(when a host was heard, by the wall clock), or the API's own name for something.
"""

from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gapless.core.ledger.views import BrakeStatus, Prospect, RouterStatus
from gapless.core.planner.balance import Shift
from gapless.model.host import HostName, Incarnation
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host as the planner sees it now."""

    name: HostName
    alive: bool
    """Heard within agent_down_time."""
    standing: str
    """One word: alive, silent, dead, draining, ..."""
    reason: str
    heard_at: datetime | None
    """Wall-clock time of the last report, for people; None if not heard since the controller started."""
    routers: int
    """How many routers are bound to it."""
    takes_routers: bool
    """It is heard, in service, connected, and its agent runs."""
    holds_lease: bool
    """Guarded routers can be planned for it: it says that it holds its lease, is heard, and arbiters hear it renew."""
    arbiter: bool
    """Leases are granted, and dead hosts buried, by its word among others."""
    without_lease_s: float | None = None
    """Seconds for which it is heard and holds no lease, while others do; None where that is not so, or for a moment."""
    without_agent_s: float | None = None
    """Seconds for which its agent has not worked (`core.planner.agentless`); None where it does, or for a moment."""
    lost_ways: Mapping[str, float] = field(default_factory=dict)
    """What it has lost of its ways out (`core.planner.ways`), and for how many seconds."""
    tracked_most: int | None = None
    """The most connections that its kernel tracks of a router; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArbiterView:
    """An arbiter as the planner sees it now (`core.ledger.views.ArbiterStatus`)."""

    name: HostName
    panels: tuple[str, ...]
    heard: bool
    confirmed_off: bool
    standing: str
    heard_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelView:
    """The arbiters (`core.ledger.views.PanelStatus`)."""

    version: int
    floor: int
    level: str
    arbiters: tuple[ArbiterView, ...]
    holders: tuple[HostName, ...]
    lost: bool
    reason: str
    confirm: tuple[HostName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainView:
    """How far the routers of a host have left it (`core.ledger.views.DrainStatus`)."""

    host: HostName
    admin_state_up: bool
    standing: str
    at_once: int
    routers: int
    leaving: int
    on_their_way: int
    stuck: Mapping[RouterId, str]


class Controls(Protocol):
    """Implemented by the controller's driver; by a recording fake in the API's tests. Never blocks."""

    def routers_changed(self, router_ids: Iterable[RouterId]) -> None:
        """These routers were created, or something that a host must build or that placement needs has changed."""

    def router_deleted(self, router_id: RouterId) -> None:
        """This router is gone from the store."""

    def host_admin_changed(self, host: HostName, admin_up: bool) -> None:
        """An operator took a host out of service or put it back; already in the store."""

    def drain_paced(self, host: HostName, at_once: int) -> None:
        """An operator said how many routers may be on their way from this host at a time; already in the store."""

    def host_forgotten(self, host: HostName) -> None:
        """A host was deleted from the store."""

    def move_requested(self, router_id: RouterId, host: HostName | None) -> None:
        """An operator wants a router on `host` (None: anywhere but where it is)."""

    def release_brake(self, hosts: frozenset[HostName] | None = None) -> Awaitable[None]:
        """An operator says that the hosts that look dead are dead: these, or (None) all that do when it is acted on,
        which is when what this returns is done."""

    def objections_to_off(self, hosts: Collection[HostName]) -> Mapping[HostName, str]:
        """Why an operator's word that these machines are off is refused, by host; empty if it is taken. Raises NotFound
        for a name that no host ever had."""

    def bar(self, hosts: Collection[HostName]) -> Mapping[HostName, Incarnation]:
        """That these are off is about to be stored. From now on whoever comes under their names has to be above the
        incarnations that this returns, which are the ones to be stored."""

    def hosts_confirmed_off(self, words: Mapping[HostName, Incarnation]) -> None:
        """It is stored that an operator confirmed these machines to be off, up to these incarnations."""

    def panel(self) -> PanelView:
        """The arbiters as they are now."""

    def hosts(self) -> Mapping[HostName, HostView]:
        """Every host that is known."""

    def drain(self, host: HostName) -> DrainView | None:
        """How far a host's routers have left it; None: it is not known."""

    def prospects(self, host: HostName) -> Sequence[Prospect]:
        """Where each router of this host would go, were that taken out of service now."""

    def shifts(self) -> Sequence[Shift]:
        """Which routers should go elsewhere, so that hosts have about as many active; what helps most first."""

    def router(self, router_id: RouterId) -> RouterStatus | None:
        """One router; None: it is not known (any more, or yet)."""

    def routers(self) -> Mapping[RouterId, RouterStatus]:
        """Every router that is known."""

    def objections(self, router_id: RouterId) -> Mapping[HostName, str]:
        """Why each host other than its present one cannot take this router now, as a clause that follows the host's
        name (`core.planner.placement.objection`); "" for a host that can. Empty for a router that is not known."""

    def brake(self) -> BrakeStatus:
        """The brake as it is now."""
