"""What hosts and operators say, entered into the ledger. Nothing is decided here; what may follow is marked to be seen.

The rule: one function an event, and each only notes facts. Whatever should come of them is decided afterwards, from how
things are then, in `planner.planner`.
"""

from typing import assert_never

from gapless.core.effects import Bind
from gapless.core.events import (
    DrainPaced,
    HostAdminChanged,
    HostConfirmedOff,
    HostConnected,
    HostDisconnected,
    HostForgotten,
    HostReported,
    MoveRequested,
    RouterDeleted,
    RouterWanted,
)
from gapless.core.ledger.fleet import DRAINS_AT_ONCE, Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Standing
from gapless.core.ledger.routers import RouterRecord, Wanted
from gapless.core.planner import confirmed, guards, reports

News = (
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
)


def take_in(ledger: Ledger, event: News) -> None:
    """Enter what the event says."""
    match event:
        case HostReported():
            _host_reported(ledger, event)
        case HostConnected():
            _host_connected(ledger, event)
        case HostDisconnected():
            _host_disconnected(ledger, event)
        case HostAdminChanged():
            _host_admin_changed(ledger, event)
        case DrainPaced():
            _drain_paced(ledger, event)
        case HostForgotten():
            _host_forgotten(ledger, event)
        case HostConfirmedOff():
            confirmed.take_in(ledger, event)
        case RouterWanted():
            _router_wanted(ledger, event)
        case RouterDeleted():
            _router_deleted(ledger, event)
        case MoveRequested():
            _move_requested(ledger, event)
        case _:
            assert_never(event)


def _host_reported(ledger: Ledger, event: HostReported) -> None:
    host = ledger.fleet.get(event.host)
    if host is None:
        return  # Deleted by an operator; its link is being closed.
    if event.session != host.link.session:
        return  # Said in a connection that is over; whatever of it still holds, it says again.
    _heard(ledger, host)
    if host.agent.heard(event.agent, event.agent_reason, ledger.now):
        _abilities_changed(ledger, host)
    if event.is_stopping and not host.is_stopping:
        host.is_stopping = True
        _abilities_changed(ledger, host)
    guards.take_in(ledger, host, event)
    reports.take_in(ledger, host, event)


def _host_connected(ledger: Ledger, event: HostConnected) -> None:
    """A host is there, for the first time or again. It gets its whole plan; what it runs it reports."""
    host = ledger.fleet.get(event.facts.name)
    address = None if host is None else host.facts.lease_address
    if host is None:
        host = ledger.add_host(event.facts, event.incarnation, admin_up=event.admin_up)
        ledger.looks.at(*(each.id for each in ledger.routers.values() if each.tour.new_host(ledger.now)))
        ledger.trials.new_host(ledger.now)
    is_restarted = event.incarnation > host.tenures.incarnation
    _meet(ledger, host, event)
    host.is_stopping = False
    host.link.opened(event.session)
    host.agent.connected(host.silence.heard_ago_s(ledger.now), ledger.now, is_restarted=is_restarted)
    host.guard.connected()
    host.copied.clear()
    host.lease.connected(ledger.now)
    host.ways.forget()
    host.told.connected()
    _heard(ledger, host)
    _abilities_changed(ledger, host)
    ledger.fleet.changed_plans.setdefault(host.name, "it connected")
    if host.facts.lease_address != address:
        ledger.panel_changed(f"{host.name} is reached elsewhere than before")


def _meet(ledger: Ledger, host: Host, event: HostConnected) -> None:
    """What it says of itself."""
    host.tenures.met(event.incarnation, is_same_machine=host.facts.instance == event.facts.instance)
    host.facts, host.admin_up = event.facts, event.admin_up
    ledger.lease_changed(host)


def _host_disconnected(ledger: Ledger, event: HostDisconnected) -> None:
    """That alone moves nothing, but nothing new is sent there."""
    if host := ledger.fleet.get(event.host):
        host.link.closed()
        host.lease.disconnected()
        host.ways.forget()
        _abilities_changed(ledger, host)


def _host_admin_changed(ledger: Ledger, event: HostAdminChanged) -> None:
    if host := ledger.fleet.get(event.host):
        host.admin_up = event.admin_up
        if host.admin_up:
            host.drains_at_once = DRAINS_AT_ONCE
        ledger.census_due = True
        _abilities_changed(ledger, host)


def _drain_paced(ledger: Ledger, event: DrainPaced) -> None:
    if host := ledger.fleet.get(event.host):
        host.drains_at_once = event.at_once
        ledger.looks.at(*host.bound)


def _host_forgotten(ledger: Ledger, event: HostForgotten) -> None:
    if host := ledger.fleet.forget(event.host):
        ledger.census_due = True
        ledger.looks.at(*host.concerned)


def _router_wanted(ledger: Ledger, event: RouterWanted) -> None:
    """A new router, or one whose host must look at it again."""
    router = ledger.routers.get(event.needs.router_id)
    if router is None:
        router = ledger.routers[event.needs.router_id] = RouterRecord(needs=event.needs)
    router.needs = event.needs
    ledger.looks.at(router.id)
    ledger.sync(router, f"router {router.id} is guarded otherwise than before")
    for name in sorted(router.planned_on):
        ledger.fleet.touch(name, router.id)


def _router_deleted(ledger: Ledger, event: RouterDeleted) -> None:
    if router := ledger.routers.get(event.router_id):
        ledger.remove(router)


def _move_requested(ledger: Ledger, event: MoveRequested) -> None:
    if router := ledger.routers.get(event.router_id):
        going_to = router.asked.host if isinstance(router.asked, Bind) else router.host
        is_there = event.host is not None and event.host == going_to
        router.wanted, router.refused = None if is_there else Wanted(event.host), ""
        ledger.looks.at(router.id)


def _heard(ledger: Ledger, host: Host) -> None:
    was = host.silence.standing
    host.silence.end(ledger.now)
    if not host.may_be_over:
        ledger.burials.forget(host.tenure)
    if host.name in ledger.off:
        ledger.is_back(host)
    if was is not Standing.ALIVE:
        ledger.census_due = True
        _abilities_changed(ledger, host)


def _abilities_changed(ledger: Ledger, host: Host) -> None:
    """Whether the host can take routers, or let go of some, may be otherwise than before."""
    ledger.fleet.changed_standings.add(host.name)
    ledger.looks.at(*host.concerned)
    if not host.inability:
        ledger.looks.again()
