"""What people are told of hosts and routers: one word, and a sentence that says why.

The rule: a host's line is said when its standing changes, its agent stops running, or it loses a way out for long, not
with every report.
"""

from collections.abc import Collection
from typing import assert_never

from gapless.core.dataplane.health import Health, judge
from gapless.core.effects import Bind, ReportHost
from gapless.core.ledger.fleet import Fleet, Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Standing, Timing
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right, RightState
from gapless.core.ledger.views import HostStatus, RouterStatus, StandbyStatus
from gapless.core.planner.ways import words
from gapless.core.planner.wishes import agent_trouble
from gapless.model.host import AgentState, HostName
from gapless.model.plan import RouterState


def tell(ledger: Ledger, timing: Timing) -> None:
    """Report every host whose standing changed."""
    changed, ledger.fleet.changed_standings = sorted(ledger.fleet.changed_standings), set()
    for name in changed:
        host = ledger.fleet.get(name)
        if host is None:
            continue
        if host.told.is_news(host.standing, _agent_reason(host) + _ways_reason(host, ledger.now)):
            reason = host_reason(host, timing, ledger.now)
            ledger.emit(
                ReportHost(
                    host=name,
                    standing=host.standing,
                    reason=reason,
                    cause=ledger.cause,
                    is_trouble=host.is_agentless or host.ways.is_left(ledger.now),
                )
            )


def host_reason(host: Host, timing: Timing, now: float) -> str:
    """Why a host stands as it does."""
    match host.silence.standing:
        case Standing.EXPECTED:
            return "not heard since the controller's start, which is when its silence is counted from"
        case Standing.SILENT:
            return f"not heard for {timing.agent_down_time_s:g} s; after {timing.dead_after_s:g} s it is dead"
        case Standing.DEAD if host.is_off:
            return "an operator confirmed that it is off"
        case Standing.DEAD:
            return f"not heard for {timing.dead_after_s:g} s"
        case Standing.ALIVE:
            return _alive_reason(host, now)
    assert_never(host.silence.standing)


def _alive_reason(host: Host, now: float) -> str:
    leaving = ", its routers leave" if host.holds_routers else ", empty"
    clauses = [] if host.admin_up else [f"taken out of service{leaving}"]
    if host.is_stopping:
        clauses.append("it is being stopped, its guarded routers leave")
    if host.is_leaseless:
        clauses.append(
            "it holds no lease, and others do: is its data network cut, or does its kernel refuse the guard?"
        )
    if reason := _ways_reason(host, now):
        clauses.append(reason)
    if not host.link.is_open:
        clauses.append("its control link is closed")
    else:
        clauses.append(_agent_reason(host) or "it reports")
    return "; ".join(clauses)


def _agent_reason(host: Host) -> str:
    """What is wrong with its agent; "" if nothing is. The rest of a sentence on what that means."""
    if host.is_to_be_left:
        return f"{_trouble(host)}: routers with standbys leave, the others go on forwarding"
    if host.is_agentless:
        return f"{_trouble(host)}: as on most hosts, so nothing leaves for it, and everything goes on forwarding"
    restarts = host.agent.state is AgentState.RESTARTING
    return "its agent is being restarted, its routers go on forwarding" if restarts else ""


def _ways_reason(host: Host, now: float) -> str:
    """What of its ways out it has lost; "" if nothing is, or for a moment. What that means for a router, it says."""
    if not host.ways.is_left(now):
        return ""
    lost = words(sorted(host.ways.lost, key=str))
    return f"it has lost its way out ({lost}): routers that use it leave, where another host has it"


def _trouble(host: Host) -> str:
    return f"its agent has not worked for long ({agent_trouble(host)})"


def of_host(host: Host, timing: Timing, now: float, arbiters: Collection[HostName] = ()) -> HostStatus:
    """A host as people may look at it."""
    return HostStatus(
        name=host.name,
        alive=host.silence.is_alive,
        standing=host.standing,
        reason=host_reason(host, timing, now),
        silent_s=None if host.silence.heard_at is None else now - host.silence.heard_at,
        routers=len(host.bound),
        takes_routers=not (host.unavailing or host.inability or host.is_agentless),
        holds_lease=host.holds_lease and host.lease.is_held and host.silence.is_alive and not host.is_expired,
        without_lease_s=host.lease.lasts_s(now),
        without_agent_s=host.agent.lasts_s(now),
        lost_ways={str(way): now - since for way, since in host.ways.lost.items()},
        tracked_most=host.facts.tracked_most,
        arbiter=host.name in arbiters,
    )


def of_router(router: RouterRecord, fleet: Fleet, now: float) -> RouterStatus:
    """A router as people may look at it."""
    home = fleet.get(router.host)
    health, ailment = _health_of(router, home)
    return RouterStatus(
        router_id=router.id,
        host=router.host,
        epoch=router.epoch,
        state=word_of(router, home),
        reason=router.reason or router.choice,
        standbys=tuple(_of_standby(router, right, fleet.get(right.tenure.host)) for right in router.succession.rights),
        health=health or "",
        ailment=ailment,
        damped_s=None if router.damping is None else max(0.0, router.damping.until - now),
    )


def _health_of(router: RouterRecord, home: Host | None) -> tuple[Health | None, str]:
    """By its host's last word, as long as that host is heard; where no agent works, nobody has looked since."""
    if home is None or not home.silence.is_alive:
        return None, ""
    said = router.succession.said.get(home.name)
    health, ailment = judge(said if said is not None and said.epoch == router.epoch else None)
    if health is Health.HEALTHY and home.is_agentless:
        return Health.DEGRADED, f"nobody looks whether it is right: on {home.name} {_trouble(home)}"
    return health, ailment


def health_of(router: RouterRecord, fleet: Fleet) -> str:
    """How a router is, in one word; "unknown" where there is nothing to say."""
    health, _ = _health_of(router, fleet.get(router.host))
    return health or "unknown"


def _of_standby(router: RouterRecord, right: Right, standby: Host | None) -> StandbyStatus:
    return StandbyStatus(
        host=right.tenure.host,
        state=_standby_word(router, right, standby),
        copied=None if standby is None else standby.has_copied(router.id),
    )


def _standby_word(router: RouterRecord, right: Right, standby: Host | None) -> str:
    if standby is None or not standby.silence.is_alive:
        return "silent"
    if right.state is RightState.CHOSEN:
        return "building"
    if right.state is not RightState.GIVEN or standby.is_between_leases or standby.is_expired:
        return "changing"
    words = {RouterState.ACTIVE: "ready", RouterState.FAILED: "failed"}
    return words.get(router.succession.word_of(standby.name, right.epoch), "building")


def word_of(router: RouterRecord, home: Host | None) -> str:
    """How a router is, in one word; `home`: the host that it is bound to."""
    if isinstance(router.asked, Bind):
        return "binding"
    if router.state is AssignmentState.UNBOUND:
        return "unplaced"
    if router.state is AssignmentState.WITHDRAWN:
        return AssignmentState.WITHDRAWING.value
    is_lost = home is None or home.is_dead  # whatever it was last heard to be
    if is_lost or (router.is_wishing and router.state is not AssignmentState.FAILED):
        return "waiting"
    return router.state.value
