"""Of which routers a host tells others the flows, and which it follows: a function of its plan and its guard.

The rule: the follower asks. A host that may succeed another one knows from its plan whom (`Guarded.after`), and follows
the router's flows there; a host tells of a router's flows as long as the router is open here, under a lease, whoever
asks with the cluster's key. So no plan has to name a host's followers, and a takeover turns the direction round by
itself: what is open here is not followed any more, and the next host with a right follows this one.

The invariant: a router that is open here is not followed. What another host, which may be over, still says of it
must not change what this one is using: the last that it heard is added where it is missing (`flows.sink`), and no more.

The second invariant: who holds no lease tells nothing that happens from then on. Without one a successor may be active
already, and flows that are gone there would come back. What was open stays off the list of what is followed until a
guard says that it is shut.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gapless.core.hostplan import HostPlan
from gapless.model.host import HostName
from gapless.model.plan import Guarded, Role
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowDuties:
    """A level: what to tell, and what to follow where."""

    told: frozenset[RouterId] = frozenset()
    opening: frozenset[RouterId] = frozenset()
    """Planned to be active here, and not open yet: of what was followed, the last is heard."""
    followed: Mapping[RouterId, tuple[HostName, ...]]


def flow_duties(plan: HostPlan, is_open: Collection[RouterId], me: HostName, *, is_leased: bool) -> FlowDuties:
    """What this host has to do. `is_open`: what the newest guard opened, so far as is known; its beat may be over."""
    followed = {
        router_id: hosts
        for router_id, planned in plan.routers.items()
        if planned.guarded is not None and router_id not in is_open and (hosts := _preceding(planned.guarded, me))
    }
    opening = frozenset(
        router_id
        for router_id, planned in plan.routers.items()
        if router_id not in is_open and planned.guarded is not None and _is_to_open(planned.guarded)
    )
    return FlowDuties(told=frozenset(is_open if is_leased else ()), opening=opening, followed=followed)


def _is_to_open(guarded: Guarded) -> bool:
    return guarded.role is Role.ACTIVE and guarded.release is None


def _preceding(guarded: Guarded, me: HostName) -> tuple[HostName, ...]:
    """The hosts where the router may be active, of those that this one may succeed."""
    if guarded.role is not Role.STANDBY:
        return ()
    return tuple(sorted({tenure.host for tenure in guarded.after} - {me}))
