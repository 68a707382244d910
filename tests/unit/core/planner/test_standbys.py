"""Guarded routers: who stands by, and how a right to succeed is given and taken, in two steps."""

from dataclasses import replace
from typing import Any

import pytest
from planner_rig import facts, needs
from standby_rig import StandbyRig, binds, tenure, three, two

from gapless.core.effects import AskArbiters, ExplainRouter, PublishPlan, ReportArbiters, StoreSuccession
from gapless.core.events import HostAdminChanged, RouterNeeds, RouterWanted
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.looks import STANDBY_TURNS
from gapless.core.planner import placement
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, RouterReport, RouterState, Successor
from gapless.model.router import FailoverMode, RouterId

# Giving


def test_a_router_gets_a_host_and_a_standby() -> None:
    rig = StandbyRig("h1", "h2")
    rig.answers = False
    rig.protect("r1")
    rig.answer(rig.unanswered[0])
    assert rig.role("h1", "r1") == "active at 1"
    assert rig.role("h2", "r1") == "built", "the right is given only when it is stored"
    rig.answer(rig.unanswered[0])
    assert rig.role("h2", "r1") == "may succeed h1@1"
    assert rig.duty("h2", "r1").epoch == 2


def test_an_arbiter_without_routers_makes_two_hosts_enough_and_carries_nothing() -> None:
    rig = StandbyRig("h1", "h2")
    rig.pass_time(160, heard=("h1", "h2"))
    (short,) = rig.all_said(ReportArbiters)
    assert short.is_short
    rig.join(facts("a", capacity=0, lease_address="a:9698"))
    rig.protect("r1", "r2", "r3")
    for _ in range(4):
        rig.settle("h1", "h2", "a")
        rig.pass_time(1, heard=("h1", "h2", "a"))
    views = rig.planner.host_views(rig.now)
    assert [(name, view.arbiter, view.holds_lease) for name, view in sorted(views.items())] == [
        ("a", True, True),
        ("h1", True, True),
        ("h2", True, True),
    ]
    assert {rig.host(each) for each in ("r1", "r2", "r3")} == {"h1", "h2"}
    assert {rig.standby(each) for each in ("r1", "r2", "r3")} == {("h1", "ready"), ("h2", "ready")}
    assert [each.is_short for each in rig.all_said(ReportArbiters)] == [True, False]


def test_without_another_host_it_runs_alone_and_says_so() -> None:
    rig = StandbyRig("h1")
    rig.protect("r1")
    rig.settle("h1")
    assert rig.state("r1") == "active"
    assert rig.reason("r1") == "no standby: there is no other host"
    rig.join("h2")
    assert rig.standby("r1") == ("h2", "building")


def test_hosts_without_leases_take_no_guarded_router() -> None:
    rig = StandbyRig("h1", facts("h2"))
    rig.protect("r1")
    rig.settle("h1")
    assert rig.reason("r1") == "no standby: h2 takes no part in leases"


def test_the_routers_of_a_host_are_spread_over_all_others() -> None:
    rig = StandbyRig("h1", "h2", "h3", "h4")
    rig.protect(*(f"r{number}" for number in range(1, 13)))
    for _ in range(8):
        rig.settle("h1", "h2", "h3", "h4")
    views = rig.planner.router_views().values()
    for home in ("h1", "h2", "h3", "h4"):
        shares = [
            sum((view.host, view.standby) == (home, other) for view in views) for other in ("h1", "h2", "h3", "h4")
        ]
        others = [share for share, other in zip(shares, ("h1", "h2", "h3", "h4"), strict=True) if other != home]
        assert max(others) - min(others) <= 1


def test_another_zone_is_preferred_for_the_standby() -> None:
    def at(name: str, zone: str) -> object:
        return facts(name, availability_zone=zone, lease_address=f"{name}:1")

    rig = StandbyRig(at("h1", "a"), at("h2", "a"), at("h3", "b"))  # type: ignore[arg-type]
    rig.protect("r1")
    assert rig.standby("r1")[0] == "h3"


def test_few_standbys_are_built_at_a_time() -> None:
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    rig.protect(*(f"r{number}" for number in range(10, 20)))
    rig.settle("h1")
    rig.set_admin_up("h2", admin_up=True)
    rig.pass_time(1)
    assert len(rig.plan("h2")) == 4
    rig.obey("h2")
    rig.pass_time(1)
    assert len(rig.plan("h2")) == 8


def test_many_that_lack_a_standby_cost_little_in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts that suit one kind are found once a turn, and so many routers choose among them in a turn."""
    hosts = [f"h{number}" for number in range(10, 16)]
    rig = StandbyRig("h1", *hosts)
    for host in hosts:
        rig.set_admin_up(host, admin_up=False)
    routers = [f"r{number}" for number in range(100, 200)]
    rig.protect(*routers)
    rig.settle("h1")
    looked: list[str] = []
    look = placement.objection

    def count(host: Host, *rest: Any, **more: Any) -> str:
        looked.append(host.name)
        return look(host, *rest, **more)

    monkeypatch.setattr(placement, "objection", count)
    rig.pass_time(1)
    looked.clear()
    rig.set_admin_up("h10", admin_up=True)
    assert sum(rig.standby(each)[0] == "h10" for each in routers) == 4
    rig.pass_time(1)
    turns = 2 + 8 * 4  # Of the answers of the store, each is a turn as well.
    assert len(looked) <= turns * 2 * (len(hosts) + 1)
    for _ in range(40):
        rig.obey("h10")
        rig.pass_time(1, heard=("h1", "h10"))
    assert all(rig.standby(each)[0] == "h10" for each in routers), "everybody gets a turn"


def test_only_so_many_look_for_a_standby_in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    routers = [f"r{number}" for number in range(100, 200)]
    rig.protect(*routers)
    rig.settle("h1")
    placed: list[str] = []
    place = placement.StandbyPlacing.place

    def count(self: placement.StandbyPlacing, needs: RouterNeeds, *rest: Any, **more: Any) -> Any:
        placed.append(needs.router_id)
        return place(self, needs, *rest, **more)

    monkeypatch.setattr(placement.StandbyPlacing, "place", count)
    rig.planner._ledger.looks.at(*map(RouterId, routers))
    rig.planner.handle(HostAdminChanged(id="again", host=HostName("h2"), admin_up=False), rig.now)
    assert len(placed) == STANDBY_TURNS
    for _ in range(4):
        rig.pass_time(1)
    assert sorted(set(placed)) == routers


# Taking


def test_a_right_is_taken_and_acknowledged_and_stored_before_it_is_given_anew() -> None:
    rig = three()
    rig.answers = False
    rig.set_admin_up("h2", admin_up=False)
    assert rig.role("h2", "r1") == "built"
    assert rig.role("h3", "r1") == "nothing"
    rig.guard("h2", version=1)
    assert rig.unanswered == [], "an answer to an older plan proves nothing"
    rig.guard("h2")
    (taken,) = rig.unanswered
    assert isinstance(taken, StoreSuccession)
    assert taken.successors == ()
    assert rig.role("h3", "r1") == "nothing", "it is not stored yet"
    rig.answer(taken)
    (given,) = rig.unanswered
    assert isinstance(given, StoreSuccession)
    assert given.successors == (Successor(tenure=tenure("h3"), epoch=Epoch(3)),)
    rig.answer(given)
    assert rig.role("h3", "r1") == "may succeed h1@1"


def test_a_right_that_is_used_while_it_is_taken_was_used() -> None:
    rig = three()
    rig.set_admin_up("h2", admin_up=False)
    rig.take_over("h2", "r1", tenure("h1"))
    assert binds(rig) == [("h2", MoveKind.TAKEOVER)]
    assert rig.role("h2", "r1") == "active at 1"


def test_a_standby_that_restarted_has_lost_its_right() -> None:
    rig = two()
    rig.restart_host("h2")
    rig.settle("h2")
    assert rig.role("h2", "r1") == "may succeed h1@1"
    assert rig.store.bindings[RouterId("r1")].successors == (Successor(tenure=tenure("h2", 2), epoch=Epoch(2)),)
    assert rig.standby("r1") == ("h2", "ready")


def test_a_standby_that_cannot_build_is_replaced_and_avoided() -> None:
    rig = three()
    rig.failed("h2", "r1")
    rig.settle("h2", "h3")
    assert rig.standby("r1") == ("h3", "ready")


def test_a_dead_standby_keeps_its_right_until_the_arbiters_bury_it() -> None:
    rig = three()
    rig.pass_time(160, heard=("h1", "h3"))
    assert rig.standby("r1") == ("h2", "silent")
    assert "asks the arbiters" in rig.reason("r1")
    assert {each.tenure for each in rig.all_said(AskArbiters)} == {tenure("h2")}
    rig.bury("h1", "h3", subject=tenure("h2"))
    assert rig.standby("r1")[0] == "h3"


# Other modes


def test_a_classic_router_is_guarded_before_anybody_may_succeed() -> None:
    rig = StandbyRig("h1", "h2")
    rig.want(needs("r1"))
    assert rig.role("h1", "r1") == "runs"
    version = rig.planner.plan_version(HostName("h1"))
    rig.set_mode("r1", FailoverMode.STANDBY)
    assert rig.role("h1", "r1") == "active at 1"
    rig.guard("h1", version=version)
    assert rig.role("h2", "r1") == "nothing", "its host may still forward without a lease"
    rig.guard("h1")
    assert rig.role("h2", "r1") == "nothing", "it may be open, and its taps are not under the guard"
    word = RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=RouterState.ACTIVE)
    rig.guard("h1", word)
    assert rig.role("h2", "r1") == "nothing"
    rig.guard("h1", replace(word, guarded=True))
    assert rig.role("h2", "r1") == "may succeed h1@1"


def being_covered() -> StandbyRig:
    """r1, which was classic, is guarded by h1@1; that is being stored when h1 restarts and holds its lease anew."""
    rig = StandbyRig("h1", "h2")
    rig.want(needs("r1"))
    rig.set_mode("r1", FailoverMode.STANDBY)
    rig.answers = False
    word = RouterReport(router_id=RouterId("r1"), epoch=Epoch(1), state=RouterState.ACTIVE, guarded=True)
    rig.guard("h1", word)
    assert [type(each) for each in rig.unanswered] == [StoreSuccession]
    rig.restart_host("h1")
    return rig


def test_while_it_is_being_stored_that_it_is_guarded_its_host_is_told_nothing_else() -> None:
    """The store may know already. Who reads it next finds h1@1 to be over, and makes another host active."""
    rig = being_covered()
    assert rig.role("h1", "r1") == "active at 1"
    rig.answers = True
    rig.answer(rig.unanswered[0])
    assert rig.role("h1", "r1") == "active at 2"
    assert rig.epoch("r1") == 2, "bound anew, since h1@1 is over"


def test_where_it_could_not_be_stored_its_host_guards_it_by_its_newest_lease() -> None:
    rig = being_covered()
    rig.store.is_failing = True
    rig.answer(rig.unanswered[0])
    assert rig.role("h1", "r1") == "active at 2"
    assert rig.epoch("r1") == 1


def test_a_word_from_another_time_is_no_word() -> None:
    """It was guarded once, and is classic since: what its host said of it then counts no more."""
    rig = two()
    rig.set_mode("r1", FailoverMode.RESCHEDULE)
    rig.settle("h1", "h2")
    rig.set_mode("r1", FailoverMode.STANDBY)
    rig.guard("h1")
    assert rig.role("h2", "r1") == "nothing"
    rig.settle("h1")
    assert rig.role("h2", "r1") == "may succeed h1@1"


def test_a_guarded_router_becomes_classic_when_nobody_may_succeed_any_more() -> None:
    rig = two()
    rig.set_mode("r1", FailoverMode.RESCHEDULE)
    assert rig.role("h1", "r1") == "active at 1"
    rig.guard("h2")
    assert rig.role("h1", "r1") == "runs"
    assert rig.role("h2", "r1") == "nothing"
    assert rig.epoch("r1") == 1


# The store


def test_a_right_that_could_not_be_stored_is_not_given() -> None:
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    rig.protect("r1")
    rig.settle("h1")
    rig.store.is_failing = True
    rig.set_admin_up("h2", admin_up=True)
    assert rig.role("h2", "r1") != "may succeed h1@1"
    assert any("could not be stored" in each.reason for each in rig.all_said(ExplainRouter))
    rig.store.is_failing = False
    rig.pass_time(3, heard=("h1", "h2"))
    assert rig.role("h2", "r1") == "may succeed h1@1"


def test_a_planner_that_starts_from_the_store_gives_the_same_roles() -> None:
    rig = two()
    before = rig.role("h1", "r1"), rig.role("h2", "r1")
    rig.restart()
    assert (rig.role("h1", "r1"), rig.role("h2", "r1")) == before


def test_a_changed_router_is_told_to_its_standby_as_well() -> None:
    rig = two()
    rig.handle(RouterWanted(id="changed", needs=needs("r1", FailoverMode.STANDBY)))
    assert {each.host for each in rig.all_said(PublishPlan)} == {"h1", "h2"}
