"""What a host's guard reports: its lease, which routers are open, what it took over, what it buried as an arbiter.

The rule: a host is believed about its own guard, in the order in which it speaks within one connection; an older
connection is not heard any more (`planner.news`). A takeover is a fact: whoever had the right and used it is active,
and no plan that knows of it says otherwise, stored or not. Whose tenure is over by that is said, or follows from the
right; but what was released says nothing of anybody's tenure: that host lives, and carries its other routers.
"""

from dataclasses import replace
from math import inf

from gapless.core.effects import Bind, ReportHost
from gapless.core.events import HostReported
from gapless.core.ledger import bindings
from gapless.core.ledger.duties import ahead_of
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import MAY_SUCCEED, TookOver
from gapless.core.planner import leaseless
from gapless.model.host import MACHINE_STEP, Incarnation, machine_of
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, MoveStep, Takeover, TakeoverTimes
from gapless.model.router import RouterId


def take_in(ledger: Ledger, host: Host, event: HostReported) -> None:
    """Everything a report says of the guard; before what it says of routers."""
    host.link.heard = event.number
    if event.tracked_most is not None and event.tracked_most != host.facts.tracked_most:
        host.facts = replace(host.facts, tracked_most=event.tracked_most)
    _take_in_copies(ledger, host, event)
    if event.uplink_trouble != host.uplink_trouble:
        host.uplink_trouble = event.uplink_trouble
        ledger.lease_changed(host)
        ledger.looks.again()
    if host.ways.heard(event.ways, ledger.now):
        ledger.fleet.changed_standings.add(host.name)
        ledger.looks.at(*host.concerned)
        ledger.looks.again()
    _take_in_lease(ledger, host, event)
    _take_in_takeovers(ledger, host, event)
    if event.forwarding is not None:
        is_open = {each.router_id: each.epoch for each in event.forwarding}
        released = {each.router_id for each in event.forwarding if each.is_released}
        for router_id in host.guard.said_open(is_open):
            _take_in_opening(ledger, host, router_id, is_open.get(router_id), is_released=router_id in released)
    leaseless.heard(ledger, host, is_held=event.is_held)
    host.guard.acknowledged(event.guard_version)
    host.guard.expired = {each.host: each.incarnation for each in event.expired}
    if host.lease.must_follow and not ledger.is_panel_lost and host.follows_panel:
        ledger.follows_anew(host)
    ledger.looks.at(*host.guard.take_owing())
    for answer in event.buried:
        if ledger.burials.answered(host.name, answer, ledger.now):
            note_over(ledger, answer.tenure)


def _take_in_copies(ledger: Ledger, host: Host, event: HostReported) -> None:
    for router_id, is_copied in event.copied.items():
        if is_copied is None:
            host.copied.pop(router_id, None)
        else:
            host.copied[router_id] = is_copied
        router = ledger.routers.get(router_id)
        if router is not None and router.copying is not None:
            ledger.looks.at(router_id)


def note_over(ledger: Ledger, tenure: Tenure) -> None:
    """A tenure is over for certain: look at everything that it had, or waited for that. Said of each router that a host
    takes over, so what is known costs nothing.
    """
    if ledger.burials.is_over(tenure):
        return
    waiting = ledger.burials.bury(tenure)
    ledger.looks.at(*waiting)
    if host := ledger.fleet.get(tenure.host):
        host.tenures.bury(tenure.incarnation)
        if host.tenures.is_buried:
            host.lease.buried(ledger.now)
            host.ways.forget()
        ledger.lease_changed(host)


def _take_in_lease(ledger: Ledger, host: Host, event: HostReported) -> None:
    if host.tenures.was_reborn(event.reborn):
        ledger.lease_changed(host)
    if event.leased <= host.tenures.leased:
        return
    host.tenures.held_lease(event.leased)
    if before := machine_of(event.leased) * MACHINE_STEP:
        # An arbiter grants nothing to another machine before what it granted the one before has expired.
        note_over(ledger, Tenure(host.name, Incarnation(before)))
    ledger.lease_changed(host)
    ledger.looks.again()


def _take_in_takeovers(ledger: Ledger, host: Host, event: HostReported) -> None:
    for said in event.takeovers:
        if not said.is_released:
            note_over(ledger, said.of)
        if router := ledger.routers.get(said.router_id):
            _take_over(ledger, host, router, said.epoch, said.times, is_released=said.is_released)
            _take_in_rest(ledger, host, router, said)
    if event.takeovers:  # It repeats them until a plan says that they were heard.
        ledger.fleet.changed_plans.setdefault(host.name, "it took over")


def _take_in_opening(
    ledger: Ledger, host: Host, router_id: RouterId, epoch: Epoch | None, *, is_released: bool
) -> None:
    router = ledger.routers.get(router_id)
    if router is None:
        return
    if epoch is not None:
        _take_over(ledger, host, router, epoch, None, is_released=is_released)
    ledger.looks.at(router_id)


def _take_over(
    ledger: Ledger,
    host: Host,
    router: RouterRecord,
    epoch: Epoch,
    times: TakeoverTimes | None,
    *,
    is_released: bool,
) -> None:
    """The router is open on a host; by its right to succeed, if it is not active there by a plan."""
    succession = router.succession
    if router.host == host.name and epoch == router.epoch and succession.leaving is not None:
        assert router.leaving is not None
        if is_released:
            _let_go(ledger, router, times)
        else:
            note_over(ledger, Tenure(router.leaving, succession.leaving))
            _has_arrived(ledger, router)
    if not router.is_guarded or (router.host == host.name and epoch <= router.epoch):
        return
    if succession.took is not None and epoch <= succession.took.epoch:
        return  # Told before; or by one that took over first, and is over.
    by = Tenure(host.name, host.tenures.leased)
    right = succession.right_of(host.name)
    if right is not None and (right.tenure, right.epoch) == (by, epoch) and right.state in MAY_SUCCEED:
        if not is_released:
            for each in ahead_of(router, right):
                note_over(ledger, each)
        succession.took = TookOver(by=by, epoch=epoch, times=times, heard_at=ledger.now, is_released=is_released)
        ledger.sync(router, f"it took over router {router.id}")
        ledger.looks.at(router.id)
    elif not is_released and _has_lost_its_right(host, router, epoch):
        # It took over, and is over: it was fenced before it could say so. It does not have the router open.
        assert router.host is not None
        assert succession.covered is not None
        note_over(ledger, Tenure(router.host, succession.covered))
        ledger.looks.at(router.id)
    elif epoch > router.epoch:
        note_ahead(ledger, host, router.id, epoch)


def _let_go(ledger: Ledger, router: RouterRecord, times: TakeoverTimes | None) -> None:
    """Its new host has it open: so the one that it leaves has closed it, and said so to that host. No plan that knows
    of it says otherwise, stored or not.
    """
    _has_arrived(ledger, router)
    if router.state is AssignmentState.WITHDRAWING:
        bindings.let_go(ledger, router, confirmed=True)
    # Of two hosts' words the earlier one, until that is recorded, or steps that count from it: what is told again has a
    # way of its own behind it.
    if times is not None and router.state is AssignmentState.WITHDRAWN and _is_first(router):
        closed_at = ledger.now - times.told_ms / 1000
        router.let_go_at = min(router.let_go_at or closed_at, closed_at)


def _has_arrived(ledger: Ledger, router: RouterRecord) -> None:
    if not router.succession.has_arrived:
        bindings.arrived(ledger, router)


def _has_lost_its_right(host: Host, router: RouterRecord, epoch: Epoch) -> bool:
    """Whether an earlier incarnation of the host may have taken the router over."""
    once = (*router.succession.lost, *router.succession.rights)
    return any(
        each.epoch == epoch and each.tenure.host == host.name and host.tenures.has_outlived(each.tenure.incarnation)
        for each in once
    )


def _take_in_rest(ledger: Ledger, host: Host, router: RouterRecord, said: Takeover) -> None:
    """What is not in its record yet: it is announced, and forwards, when everything else may be stored already; and all
    of its steps come so late where a report said before that it is open, and no more.
    """
    succession, times = router.succession, said.times
    if succession.took is not None and succession.took.epoch == said.epoch:
        succession.took = _with_rest(succession.took, times, ledger.now)
    elif router.host == host.name and router.epoch == said.epoch:
        rest, begun_at = _rest(times), _begun_at(ledger, router, said)
        earliest = -inf
        if _is_first(router):
            rest = _steps(times, is_released=said.is_released)
            if succession.opened_at is not None:  # It was heard to be open before: this word was longer on its way.
                begun_at = min(begun_at, succession.opened_at - times.opened_ms / 1000)
            succession.opened_at = begun_at + times.opened_ms / 1000
        elif succession.opened_at is not None:
            # What was said before of the same may have come late: nothing is told to have been before it was open.
            earliest = succession.opened_at
        for step in [each for each in rest if each not in succession.told]:
            at = max(begun_at + rest[step] / 1000, earliest)
            ledger.record(router, step, ago_s=max(0.0, ledger.now - at))
        succession.told |= rest.keys()


def _begun_at(ledger: Ledger, router: RouterRecord, said: Takeover) -> float:
    """When that began from which a successor counts its steps. Of a release this is when the host before had closed the
    router, as far as that is known already: the words of two hosts are on their way for different times, tens of
    milliseconds and more where machines are busy, and what is between them would count as time without traffic. That a
    release was lost, or was read late, is in the successor's own count. Later tellings count from the first.
    """
    by_its_word = ledger.now - said.times.told_ms / 1000
    if not said.is_released or router.let_go_at is None:
        return by_its_word
    if router.succession.opened_at is not None and not _is_first(router):
        return router.succession.opened_at - said.times.opened_ms / 1000
    return router.let_go_at


def _is_first(router: RouterRecord) -> bool:
    """Whether nothing was recorded yet of how its present host opened it."""
    return MoveStep.OPENED not in router.succession.told


def _with_rest(took: TookOver, times: TakeoverTimes, now: float) -> TookOver:
    """The same takeover, told once more before it is stored. All of it counts from when it was told first: the claim
    does already, and another report may have been quicker on its way. Or slower, where the first only named the router
    as open: so it was by then.
    """
    if took.times is None:
        latest = took.heard_at + (times.told_ms - times.opened_ms) / 1000
        return replace(took, times=times, heard_at=min(now, latest))
    return replace(took, times=replace(times, told_ms=took.times.told_ms))


def _rest(times: TakeoverTimes) -> dict[MoveStep, float]:
    """Steps that are told later than the others, as far as they are over."""
    steps = {MoveStep.ANNOUNCED: times.announced_ms, MoveStep.FORWARDED: times.forwarded_ms}
    return {step: after_ms for step, after_ms in steps.items() if after_ms is not None}


def _steps(times: TakeoverTimes, *, is_released: bool) -> dict[MoveStep, float]:
    """All of them, in order, as far as they are over; what was released was not lost first. A successor decides by its
    claim.
    """
    lost = {
        MoveStep.GRANTED: times.granted_ms,
        MoveStep.MISSED: 0.0,
        MoveStep.SILENT: times.silent_ms,
        MoveStep.DECIDED: times.buried_ms if times.claimed_ms is None else times.claimed_ms,
        MoveStep.BURIED: times.buried_ms,
    }
    steps = ({} if is_released else lost) | {MoveStep.OPENED: times.opened_ms}
    return {step: after_ms for step, after_ms in steps.items() if after_ms is not None} | _rest(times)


def record(ledger: Ledger, router: RouterRecord, took: TookOver, bind: Bind) -> None:
    """Tell the steps of a takeover that were not known when its binding was asked for, now that this is stored."""
    router.succession.told, router.succession.opened_at = frozenset(), took.heard_at
    if took.times is None:
        return
    steps, stored = dict(over(ledger, took)), dict(bind.over)
    if MoveStep.OPENED not in stored:
        stored = {}  # Nothing was known then but that it is open: when that was decided, was guessed.
    router.succession.told |= steps.keys()
    router.succession.opened_at = ledger.now - steps[MoveStep.OPENED]
    for step, step_ago_s in steps.items():
        if step not in stored:
            ledger.record(router, step, ago_s=step_ago_s)


def over(ledger: Ledger, took: TookOver) -> tuple[tuple[MoveStep, float], ...]:
    """The steps of a takeover as far as they are known, and how long ago each was. The host's clock is not compared,
    only durations.
    """
    heard_ago_s = ledger.now - took.heard_at
    if (times := took.times) is None:
        return ((MoveStep.DECIDED, heard_ago_s),)
    steps = {MoveStep.DECIDED: times.buried_ms} | _steps(times, is_released=took.is_released)
    return tuple((step, max(0.0, heard_ago_s + (times.told_ms - after_ms) / 1000)) for step, after_ms in steps.items())


def note_ahead(ledger: Ledger, host: Host, router_id: RouterId, epoch: Epoch) -> None:
    """A host knows a higher epoch than the store: somebody put back an old copy of the database."""
    if not host.told.ahead:
        host.told.ahead = True
        reason = (
            f"it knows router {router_id} at epoch {epoch}, which the store has never seen: was the database restored "
            "from an old copy?"
        )
        ledger.emit(ReportHost(host=host.name, standing=host.standing, reason=reason, cause=ledger.cause))
