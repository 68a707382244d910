"""Routers that are about to leave wait for their connections: once, for a while, and only if they work."""

from dataclasses import replace

from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Revision, Role, Successor
from gapless.model.router import Router, RouterId
from gapless.sentinel.flushing import PATIENCE_S, Flushing
from gapless.wire.flowlink import FlowsFlushed, from_flows

X, Y = RouterId("x"), RouterId("y")
ACTIVE = Guarded(role=Role.ACTIVE, incarnation=Incarnation(1))
TO = Successor(tenure=Tenure(HostName("b"), Incarnation(7)), epoch=Epoch(2))
LEAVES = Guarded(role=Role.STANDBY, incarnation=Incarnation(1), release=TO)


def planned(router_id: RouterId, guarded: Guarded | None, epoch: int = 1) -> PlannedRouter:
    router = Router(id=router_id, name=router_id, ports=(), gateway=None, floating_ips=(), routes=())
    return PlannedRouter(router=router, epoch=Epoch(epoch), guarded=guarded)


def plan(revision: int, **routers: Guarded | None) -> HostPlan:
    return HostPlan.of(Revision(revision), [planned(RouterId(name), each) for name, each in routers.items()])


BEFORE = plan(1, x=ACTIVE, y=ACTIVE)
LEAVING = plan(2, x=LEAVES, y=ACTIVE)


def flushing() -> Flushing:
    """x is about to leave, at 100 s."""
    made = Flushing()
    made.planned(LEAVING, BEFORE, {X, Y}, 100.0)
    return made


def to(waits: Flushing) -> dict[RouterId, HostName]:
    return {router_id: asking.to for router_id, asking in waits.wanted.items()}


def test_a_router_stays_as_it_is_until_its_connections_are_there() -> None:
    waits = flushing()
    assert to(waits) == {X: "b"}
    held = waits.held(LEAVING)
    assert (held.revision, held.routers[X], held.routers[Y]) == (2, BEFORE.routers[X], LEAVING.routers[Y])
    assert not waits.flushed({Y: waits.wanted[X]})
    assert waits.flushed(waits.wanted)
    assert (waits.wanted, waits.next_deadline()) == ({}, None)
    assert waits.held(LEAVING) is LEAVING


def test_what_one_host_has_is_no_answer_about_another() -> None:
    """The router was to go to b; c is its successor by now."""
    waits, elsewhere = flushing(), replace(LEAVES, release=replace(TO, tenure=Tenure(HostName("c"), Incarnation(3))))
    about_b = waits.wanted
    to_c = plan(3, x=elsewhere, y=ACTIVE)
    waits.planned(to_c, waits.held(LEAVING), {X, Y}, 100.1)
    assert to(waits) == {X: "c"}
    assert not waits.flushed(about_b)
    assert waits.held(to_c).routers[X] == BEFORE.routers[X]
    assert waits.flushed(waits.wanted)
    assert waits.held(to_c) is to_c


def test_what_a_host_had_when_it_was_asked_before_is_no_answer_to_the_next_asking() -> None:
    waits, back = flushing(), plan(3, x=ACTIVE, y=ACTIVE)
    before = waits.wanted
    waits.planned(back, waits.held(LEAVING), {X, Y}, 100.1)
    waits.planned(plan(4, x=LEAVES, y=ACTIVE), back, {X, Y}, 100.2)
    assert to(waits) == {X: "b"}
    assert not waits.flushed(before)
    assert waits.flushed(waits.wanted)


def test_an_answer_that_names_no_host_as_of_an_older_release_is_none() -> None:
    waits = flushing()
    said = from_flows.decode(b'{"type":"flows-flushed","routers":["x"]}')
    assert isinstance(said, FlowsFlushed)
    assert not waits.flushed(said.answers)
    assert waits.overdue(100.0 + PATIENCE_S) == {X: "b"}, "it moves when it has waited for long enough"


def test_the_wait_is_bounded_and_said() -> None:
    waits = flushing()
    assert waits.next_deadline() == 100.0 + PATIENCE_S
    assert waits.overdue(100.0 + PATIENCE_S / 2) == {}
    assert waits.overdue(100.0 + PATIENCE_S) == {X: "b"}
    assert waits.held(LEAVING) is LEAVING


def test_a_release_is_waited_for_once() -> None:
    waits = flushing()
    waits.flushed(waits.wanted)
    waits.planned(plan(3, x=LEAVES), waits.held(LEAVING), {X, Y}, 101.0)
    assert waits.wanted == {}


def test_a_plan_that_asks_for_no_release_any_more_is_followed_at_once() -> None:
    waits = flushing()
    back = plan(3, x=ACTIVE, y=ACTIVE)
    waits.planned(back, waits.held(LEAVING), {X, Y}, 100.1)
    assert waits.held(back) is back
    again = plan(4, x=LEAVES, y=ACTIVE)
    waits.planned(again, back, {X, Y}, 100.2)
    assert to(waits) == {X: "b"}


def test_a_later_plan_changes_nothing_for_what_waits() -> None:
    waits = flushing()
    later = plan(3, x=LEAVES)
    waits.planned(later, waits.held(LEAVING), {X, Y}, 101.0)
    assert waits.held(later).routers[X] == BEFORE.routers[X]
    assert waits.next_deadline() == 100.0 + PATIENCE_S, "it does not begin to wait anew"


def test_what_does_not_work_or_is_not_active_leaves_at_once() -> None:
    for before, works in ((BEFORE, {Y}), (EMPTY_PLAN, {X, Y}), (plan(1, x=None), {X}), (plan(1, x=LEAVES), {X})):
        waits = Flushing()
        waits.planned(LEAVING, before, works, 100.0)
        assert waits.held(LEAVING) is LEAVING


def test_what_is_shut_meanwhile_has_nothing_to_wait_for() -> None:
    waits = flushing()
    assert not waits.shut({X, Y})
    assert waits.shut({Y})
    assert waits.held(LEAVING) is LEAVING
