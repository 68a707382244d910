"""What a host's report says of routers, and what follows from it.

The rule: a host is believed about a router only at the epoch at which it is in that host's plan, and about having let
go of one only if the report was made from a plan without it. Everything else is a leftover of earlier days: the host
will find out from its plan, and nothing here changes.

A guarded router is active when two things are said of it at its epoch: by the agent, that it is built, and by the
guard, that it is open. So both are remembered, and looked at together (`assess`).
"""

from dataclasses import replace

from gapless.core.effects import ReportHost
from gapless.core.events import HostReported
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import IN_PLAN, AssignmentState, Trigger
from gapless.core.ledger.plans import Duty
from gapless.core.ledger.routers import RouterRecord
from gapless.core.planner import guards
from gapless.model.plan import BuildTimes, Epoch, MoveStep, RouterReport, RouterState

_SEEN = {
    RouterState.BUILDING: Trigger.SEEN_BUILDING,
    RouterState.ACTIVE: Trigger.SEEN_ACTIVE,
    RouterState.FAILED: Trigger.SEEN_FAILED,
    RouterState.REMOVED: Trigger.SEEN_ABSENT,
}


def take_in(ledger: Ledger, host: Host, event: HostReported) -> None:
    """Everything a report says of routers."""
    for report in event.routers:
        router = ledger.routers.get(report.router_id)
        if router is None:
            continue  # Deleted: the host's plan says so.
        duty = host.plan.duties.get(router.id)
        if duty is not None and duty.epoch == report.epoch:
            said = router.succession.said
            said[host.name] = _with_own_times(said.get(host.name), duty, report)
            if router.is_guarded:
                ledger.looks.at(router.id)  # There it is assessed.
            else:
                _take_in_own(ledger, host, router, report, report.state)
        elif report.epoch > _highest_known(router):
            guards.note_ahead(ledger, host, report.router_id, report.epoch)
        elif report.state is RouterState.REMOVED:
            _take_in_removal(ledger, host, router, event.plan_version)
        elif report.state is RouterState.FAILED and _is_waited_for(host, router, event.plan_version):
            router.why_not_removed = report.reason
            ledger.looks.at(router.id)
    if event.full:
        _take_in_absence(ledger, host, event)


def _with_own_times(known: RouterReport | None, duty: Duty, report: RouterReport) -> RouterReport:
    """A build's times count from the plan that asked for it: a standby's are no part of the move that makes it active,
    and what is built already is only told of again.
    """
    if duty.is_standby:
        times = None
    elif known is not None and (known.epoch, known.state) == (report.epoch, RouterState.ACTIVE):
        times = known.times
    else:
        return report
    return report if report.times == times else replace(report, times=times)


def _highest_known(router: RouterRecord) -> Epoch:
    """At which a host may have it in its plan: after a takeover, one above the successor's."""
    if not router.is_guarded:
        return router.epoch
    return max(Epoch(router.epoch + 2), router.succession.next_epoch(router.epoch))


def assess(ledger: Ledger, router: RouterRecord) -> None:
    """Draw the conclusions from what is said of a guarded router by the hosts that have it."""
    succession, home = router.succession, ledger.fleet.get(router.host)
    if router.state in IN_PLAN and home is not None and succession.took is None:
        state = succession.word_of(router.host, router.epoch)
        is_open = home.guard.open_at(router.id) == router.epoch
        if state is RouterState.ACTIVE and not is_open:
            state = RouterState.BUILDING
        if state is not RouterState.REMOVED:
            _take_in_own(ledger, home, router, succession.said[home.name], state)
        else:
            router.see(Trigger.SEEN_ABSENT)
    for right in succession.rights:
        if host := ledger.fleet.get(right.tenure.host):
            _assess_standby(ledger, host, router, succession.word_of(host.name, right.epoch))


def _assess_standby(ledger: Ledger, host: Host, router: RouterRecord, state: RouterState) -> None:
    if router.id in host.preparing and state in (RouterState.ACTIVE, RouterState.FAILED):
        host.preparing.discard(router.id)
        ledger.looks.next_standby()
        if state is RouterState.FAILED:
            router.hosts.failed(host.name, ledger.now)


def _take_in_own(ledger: Ledger, host: Host, router: RouterRecord, report: RouterReport, state: RouterState) -> None:
    """The host speaks of a router of its plan, at its epoch; it is in this `state`, all told."""
    is_news = router.see(_SEEN[state])
    if router.state is AssignmentState.ACTIVE:
        if router.open_move:
            _confirm(ledger, router, report.times)
        router.fault = ""
        router.tour.is_active(ledger.now)
        ledger.counts.end_drain(router)
    elif state is RouterState.FAILED:
        router.fault = report.reason
        if is_news:
            _fail(ledger, host, router)
    if not router.is_guarded:
        ledger.looks.at(router.id)


def _confirm(ledger: Ledger, router: RouterRecord, times: BuildTimes | None) -> None:
    """The move is over: record when its last steps were. The host's clock is not compared, only its durations."""
    if times is not None and router.sent_at is not None:
        for step, after_ms in ((MoveStep.BUILT, times.built_ms), (MoveStep.ANNOUNCED, times.announced_ms)):
            over_at = router.sent_at + after_ms / 1000
            ledger.record(router, step, ago_s=max(0.0, ledger.now - over_at), counts_from_plan=True)
    ledger.record(router, MoveStep.CONFIRMED, reason=f"active on {router.host}")
    router.open_move = False


def _fail(ledger: Ledger, host: Host, router: RouterRecord) -> None:
    """It goes back into the queue, visibly, and keeps away from this host for a while once it has left it."""
    if router.open_move and not router.failure_told:
        ledger.record(router, MoveStep.FAILED, reason=router.fault)
        router.failure_told = True
    router.hosts.failed(host.name, ledger.now)
    router.tour.failed(host.name, router.fault, ledger.now)
    ledger.counts.end_drain(router)


def _take_in_removal(ledger: Ledger, host: Host, router: RouterRecord, plan_version: int) -> None:
    if router.succession.leaving is not None:
        return  # There, its guard speaks for it.
    if _is_waited_for(host, router, plan_version):
        router.removed_from, router.why_not_removed = host.name, ""
        ledger.looks.at(router.id)
    elif (
        router.host == host.name
        and router.id not in host.plan.duties
        and router.dropped_version is not None
        and plan_version >= router.dropped_version
    ):
        router.removed_from = host.name


def _is_waited_for(host: Host, router: RouterRecord, plan_version: int) -> bool:
    """Whether the host has to let go of the router, and speaks from a plan without it."""
    is_leaving = router.id in host.letting_go and router.state is AssignmentState.WITHDRAWING
    return is_leaving and plan_version >= router.leaving_version


def _take_in_absence(ledger: Ledger, host: Host, event: HostReported) -> None:
    """What a full report does not name, or names as removed, is not there."""
    host.link.has_told_all = True
    there = {report.router_id for report in event.routers if report.state is not RouterState.REMOVED}
    withheld = {each for each in host.bound - host.plan.duties.keys() if ledger.routers[each].is_withheld}
    for router_id in sorted((host.letting_go | withheld) - there):
        _take_in_removal(ledger, host, ledger.routers[router_id], event.plan_version)
    named = {report.router_id for report in event.routers}
    for router_id in host.plan.duties.keys() - named:
        router = ledger.routers[router_id]
        router.succession.said.pop(host.name, None)
        if router.is_guarded:
            ledger.looks.at(router_id)
        elif router.state in IN_PLAN:
            router.see(Trigger.SEEN_ABSENT)
    leftovers = there - host.plan.duties.keys() - host.letting_go
    if leftovers and not host.told.leftovers:
        host.told.leftovers = True
        what = "router that is" if len(leftovers) == 1 else "routers that are"
        _tell(ledger, host, f"it still has {len(leftovers)} {what} bound elsewhere or deleted, and removes them")


def _tell(ledger: Ledger, host: Host, reason: str) -> None:
    ledger.emit(ReportHost(host=host.name, standing=host.standing, reason=reason, cause=ledger.cause))
