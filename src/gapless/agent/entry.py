"""What the agent knows of one router: what is wanted of it, what of it is in the kernel, and how work on it went.

All of it is levels; what is to be done follows from them (`agent.worklist`), in whatever order they came about.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from gapless.core.backoff import Backoff
from gapless.core.dataplane.desired import gateway_link
from gapless.core.dataplane.gateways import HEARS, Deafness
from gapless.core.dataplane.health import Repairs
from gapless.model.neighbour import WayOut
from gapless.model.network import Network, NetworkId
from gapless.model.plan import Epoch, PlannedRouter
from gapless.model.router import Router, RouterId


@dataclass(slots=True)
class Entry:
    """What is known of one router. Times are monotonic seconds."""

    id: RouterId
    tries: Backoff
    rest: Backoff
    wanted: PlannedRouter | None = None
    asked_at: float = 0.0
    epoch: Epoch = Epoch(0)  # noqa: RUF009 - a NewType: the call is the number itself
    """Of the last plan that named it; 0 for what an earlier agent left behind."""
    is_present: bool = False
    """Something of it is, or may be, in the kernel."""
    has_run: bool = False
    """It was found here when this agent started, or was proven right since: keeping it so builds nothing new."""
    is_as_found: bool = False
    """It was found here when this agent started, and nothing was wanted of it but what was wanted then."""
    tries_left: int = 0
    """How often it may still fail before that is told; none for one that was not active before."""
    ended_at: float = -inf
    """When the last job on it was over."""
    heard_at: float = -inf
    """When the last hint about it was heard."""
    looked_at: float = -inf
    """When the last look at it began, if that ended well."""
    repairs: Repairs = field(default_factory=Repairs)
    rest_until: float = -inf
    """It was looked at because of a hint: the next one waits until then."""
    verified: PlannedRouter | None = None
    """What the kernel was last proven to match."""
    is_unannounced: bool = False
    """Something of it may be new, and nobody was told: what was done to it did not end well."""
    was_standby: bool = False
    """Of what is not wanted any more: nothing but to stand by was wanted last, and it was proven to be under the guard.
    """
    deafness: Deafness = HEARS
    """Why it is degraded, or given up, though the kernel matches."""
    conflict: str = ""
    """Why it is degraded though the kernel matches: another machine uses an address of it."""

    @property
    def trouble(self) -> str:
        """Why it is degraded though the kernel matches. Only who forwards is in conflict with anybody."""
        is_active = self.wanted is not None and self.wanted.forwards
        return (self.conflict if is_active else "") or self.deafness.why

    def is_on(self, network_id: NetworkId | None) -> bool:
        """Whether the router is on this network; None: on any."""
        if network_id is None:
            return True
        return self.wanted is not None and any(it.id == network_id for it in networks_of(self.wanted.router))

    @property
    def way_out(self) -> WayOut | None:
        """By which gateway it leaves, if it forwards here, as far as the plan says, and is as it should be."""
        return way_out(self.verified) if self.verified is not None and self.verified.forwards else None


def differs_by_role(was: PlannedRouter, planned: PlannedRouter) -> bool:
    """Only who may forward a guarded router changed: that is the guard's business, and nothing is to be built."""
    return was != planned and was.router == planned.router and was.guarded is not None and planned.guarded is not None


def way_out(planned: PlannedRouter) -> WayOut | None:
    """By which gateway a router of the plan leaves; None: it has none, or is administratively down."""
    gateway = planned.router.gateway
    if gateway is None or gateway.next_hop is None or not planned.router.admin_up:
        return None
    return WayOut(
        router_id=planned.router.id,
        epoch=planned.epoch,
        link=gateway_link(gateway.port.id),
        gateway=gateway.next_hop,
        network_id=gateway.port.network.id,
        guarded=planned.guarded is not None,
    )


def networks_of(router: Router) -> Iterator[Network]:
    """The networks that it has ports on, that of its gateway last."""
    yield from (port.network for port in router.ports)
    if router.gateway is not None:
        yield router.gateway.port.network
