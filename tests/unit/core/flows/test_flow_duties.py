"""Whom a host tells of its routers' flows, and whom it follows."""

from dataclasses import replace

import pytest

from gapless.core.flows.duties import flow_duties
from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Revision, Role, Successor
from gapless.model.router import Router, RouterId

ME, OTHER, THIRD = HostName("me"), HostName("other"), HostName("third")
ROUTER = RouterId("r")
STANDBY = Guarded(role=Role.STANDBY, incarnation=Incarnation(1), after=(Tenure(OTHER, Incarnation(3)),))
ACTIVE = Guarded(role=Role.ACTIVE, incarnation=Incarnation(1))
RELEASE = Successor(tenure=Tenure(OTHER, Incarnation(3)), epoch=Epoch(2))


def plan(guarded: Guarded | None) -> HostPlan:
    router = PlannedRouter(router=Router(id=ROUTER, name=""), epoch=Epoch(1), guarded=guarded)
    return HostPlan.of(Revision(1), [router])


def test_a_successor_follows_the_host_that_it_may_succeed() -> None:
    duties = flow_duties(plan(STANDBY), (), ME, is_leased=True)
    assert duties.followed == {ROUTER: (OTHER,)}
    assert not duties.told


def test_what_is_open_here_is_told_and_not_followed() -> None:
    """Right after a takeover the plan still gives the right."""
    duties = flow_duties(plan(STANDBY), {ROUTER}, ME, is_leased=True)
    assert duties.told == {ROUTER}
    assert not duties.followed


def test_without_a_lease_nothing_is_told_and_what_was_open_is_not_followed_either() -> None:
    duties = flow_duties(plan(STANDBY), {ROUTER}, ME, is_leased=False)
    assert (duties.told, dict(duties.followed)) == (frozenset(), {})


def test_what_is_to_be_active_here_and_is_not_yet_is_neither_told_nor_followed() -> None:
    duties = flow_duties(plan(ACTIVE), (), ME, is_leased=True)
    assert (duties.told, duties.opening, dict(duties.followed)) == (frozenset(), {ROUTER}, {})
    assert not flow_duties(plan(ACTIVE), {ROUTER}, ME, is_leased=True).opening


@pytest.mark.parametrize(
    "guarded", [None, STANDBY, replace(ACTIVE, release=RELEASE)], ids=["classic", "standby", "it is to leave"]
)
def test_nothing_else_is_about_to_open(guarded: Guarded | None) -> None:
    assert not flow_duties(plan(guarded), (), ME, is_leased=True).opening


def test_of_several_hosts_each_is_followed_and_never_this_one() -> None:
    after = tuple(Tenure(host, Incarnation(1)) for host in (THIRD, ME, OTHER, THIRD))
    duties = flow_duties(
        plan(Guarded(role=Role.STANDBY, incarnation=Incarnation(1), after=after)), (), ME, is_leased=True
    )
    assert duties.followed == {ROUTER: (OTHER, THIRD)}


@pytest.mark.parametrize(
    "guarded",
    [
        None,
        ACTIVE,
        Guarded(role=Role.STANDBY, incarnation=Incarnation(1)),
        Guarded(role=Role.STANDBY, incarnation=Incarnation(1), after=(Tenure(ME, Incarnation(1)),)),
    ],
    ids=["classic", "active and not open yet", "no right", "after itself"],
)
def test_nobody_is_followed_without_a_right_to_succeed_another_host(guarded: Guarded | None) -> None:
    duties = flow_duties(plan(guarded), (), ME, is_leased=True)
    assert (duties.told, dict(duties.followed)) == (frozenset(), {})


def test_a_router_that_is_open_is_told_of_whatever_the_plan_says() -> None:
    assert flow_duties(EMPTY_PLAN, {ROUTER}, ME, is_leased=True).told == {ROUTER}
