"""Guarded routers: a right to succeed moves in two steps, and what a successor did is never undone."""

from dataclasses import replace
from typing import Any

import pytest
from planner_rig import facts, needs
from standby_rig import TIMES, StandbyRig, tenure

from gapless.core import placement
from gapless.core.effects import (
    AskArbiters,
    Bind,
    ExplainRouter,
    PublishPlan,
    RecordStep,
    ReportArbiters,
    ReportHost,
    StoreSuccession,
)
from gapless.core.events import HostAdminChanged, HostDisconnected, RouterDeleted, RouterNeeds, RouterWanted
from gapless.core.fleet import Host
from gapless.core.ledger import Ledger
from gapless.core.looks import STANDBY_TURNS
from gapless.core.standbys import CALM_S, NEWS_S
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep, RouterReport, RouterState, Successor, Takeover
from gapless.model.router import FailoverMode, RouterId


def two() -> StandbyRig:
    """r1 active on h1, h2 ready to succeed."""
    rig = StandbyRig("h1", "h2")
    rig.protect("r1")
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.state("r1"), rig.standby("r1")) == ("h1", "active", ("h2", "ready"))
    rig.forget()
    return rig


def three() -> StandbyRig:
    """As `two`, with h3 idle."""
    rig = StandbyRig("h1", "h2", "h3")
    rig.protect("r1")
    rig.settle("h1", "h2", "h3")
    rig.pass_time(5, heard=())
    rig.settle("h1", "h2", "h3")
    rig.forget()
    return rig


def binds(rig: StandbyRig) -> list[tuple[str, MoveKind]]:
    return [(each.host, each.kind) for each in rig.all_said(Bind)]


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


# Takeovers


def test_a_takeover_is_recorded_with_the_successor_s_own_times() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"))
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.epoch, bind.leaving_host) == ("h2", MoveKind.TAKEOVER, 2, None)
    assert bind.reason == "h2 took over router r1: the lease of h1@1 is over"
    assert bind.decided_ago_s == (250 - 201) / 1000
    steps = rig.steps("r1", 2)
    assert {step: round(ago, 3) for step, ago in steps.items() if step is not MoveStep.CONFIRMED} == {
        MoveStep.MISSED: 0.250,
        MoveStep.SILENT: 0.050,
        MoveStep.BURIED: 0.047,
        MoveStep.OPENED: 0.046,
        MoveStep.ANNOUNCED: 0.020,
    }
    assert MoveStep.CONFIRMED in steps
    assert (rig.host("r1"), rig.epoch("r1"), rig.state("r1")) == ("h2", 2, "active")


OPENED = replace(TIMES, announced_ms=None, told_ms=210)
"""A takeover as it is told at once; `TIMES` is of the same one, told once more when it was announced."""


def announced(rig: StandbyRig) -> list[float]:
    """How long ago, each time it was recorded."""
    steps = [each for each in rig.all_said(RecordStep) if each.router_id == "r1" and each.step is MoveStep.ANNOUNCED]
    assert all(each.epoch == 2 for each in steps)
    return [round(each.ago_s, 3) for each in steps]


def test_a_takeover_is_recorded_before_it_is_announced_and_then_its_announcement_once() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    assert MoveStep.OPENED in rig.steps("r1", 2)
    assert announced(rig) == []
    for _ in range(2):
        rig.take_over("h2", "r1", tenure("h1"))
    assert announced(rig) == [0.020]
    assert len(rig.all_said(Bind)) == 1


def test_the_first_packet_is_recorded_when_it_is_told_once_and_after_the_rest() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    rig.take_over("h2", "r1", tenure("h1"))
    assert MoveStep.FORWARDED not in rig.steps("r1", 2)
    for _ in range(2):
        rig.take_over("h2", "r1", tenure("h1"), times=replace(TIMES, forwarded_ms=240, told_ms=260))
    forwarded = [each for each in rig.all_said(RecordStep) if each.step is MoveStep.FORWARDED]
    assert [(each.router_id, each.epoch, round(each.ago_s, 3)) for each in forwarded] == [("r1", 2, 0.020)]
    assert announced(rig) == [0.020]


def test_what_is_told_before_the_takeover_is_stored_is_recorded_with_it_once() -> None:
    rig = two()
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    whole = replace(TIMES, forwarded_ms=240)
    rig.take_over("h2", "r1", tenure("h1"), times=whole)
    rig.answers = True
    for effect in list(rig.unanswered):
        rig.answer(effect)
    rig.take_over("h2", "r1", tenure("h1"), times=whole)
    steps = [each.step for each in rig.all_said(RecordStep) if each.router_id == "r1" and each.epoch == 2]
    assert steps.count(MoveStep.FORWARDED) == steps.count(MoveStep.ANNOUNCED) == 1


def test_an_announcement_that_is_heard_before_the_takeover_is_stored_is_recorded_with_it() -> None:
    rig = two()
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    rig.take_over("h2", "r1", tenure("h1"))
    assert announced(rig) == []
    rig.answers = True
    for effect in list(rig.unanswered):
        rig.answer(effect)
    assert announced(rig) == [0.020]
    rig.take_over("h2", "r1", tenure("h1"))
    assert announced(rig) == [0.020]


def test_an_announcement_by_another_host_or_of_another_epoch_is_none_of_this_takeover() -> None:
    rig = two()
    rig.take_over("h2", "r1", tenure("h1"), times=OPENED)
    said = Takeover(router_id=RouterId("r1"), epoch=Epoch(2), of=tenure("h1"), times=TIMES)
    rig.guard("h1", took=(said,))
    rig.guard("h2", took=(replace(said, epoch=Epoch(1)),))
    rig.guard("h2", took=(replace(said, router_id=RouterId("unknown")),))
    assert announced(rig) == []


def test_what_a_dead_host_had_is_looked_at_once_however_much_of_it_was_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    routers = [f"r{number}" for number in range(10, 22)]
    rig.protect(*routers)
    rig.settle("h1")
    rig.set_admin_up("h2", admin_up=True)
    for _ in range(4):
        rig.pass_time(1)
        rig.settle("h1", "h2")
    looked: list[str] = []
    lease_changed = Ledger.lease_changed

    def count(ledger: Ledger, host: Host) -> None:
        looked.append(host.name)
        lease_changed(ledger, host)

    monkeypatch.setattr(Ledger, "lease_changed", count)
    took = tuple(
        Takeover(router_id=RouterId(each), epoch=rig.duty("h2", each).epoch, of=tenure("h1"), times=TIMES)
        for each in routers
    )
    rig.open["h2"] = {each.router_id: each.epoch for each in took}
    rig.guard("h2", took=took)
    assert {rig.host(each) for each in routers} == {"h2"}
    assert looked == ["h1"]


def test_no_plan_that_knows_of_a_takeover_undoes_it_stored_or_not() -> None:
    rig = two()
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.role("h2", "r1") == "active at 1"
    assert rig.role("h1", "r1") == "built"
    assert rig.planner.heard(HostName("h2"), rig.sessions["h2"]) == rig.numbers["h2"]
    assert [each.host for each in rig.all_said(PublishPlan)] == ["h2", "h1"]


def test_a_takeover_that_cannot_be_stored_stays_true() -> None:
    rig = two()
    rig.store.is_failing = True
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.role("h2", "r1") == "active at 1"
    rig.store.is_failing = False
    rig.pass_time(5, heard=("h1", "h2"))
    assert (rig.host("r1"), rig.epoch("r1")) == ("h2", 2)


def test_a_controller_that_was_away_learns_of_it_from_what_is_open() -> None:
    rig = two()
    rig.restart()
    rig.open["h2"][RouterId("r1")] = rig.duty("h2", "r1").epoch
    rig.connect(facts("h2", lease_address="h2:9698"))
    assert rig.role("h2", "r1") == "may succeed h1@1", "a plan that has not heard of it"
    rig.guard("h2")
    assert binds(rig)[-1] == ("h2", MoveKind.TAKEOVER)
    assert rig.role("h2", "r1") == "active at 1"


def test_what_was_said_in_an_older_connection_is_not_heard() -> None:
    rig = two()
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.sessions["h2"] -= 1
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.host("r1") == "h1"
    assert rig.planner.heard(HostName("h2"), rig.sessions["h2"] + 1) == 0


def test_a_takeover_without_a_right_is_not_believed() -> None:
    rig = three()
    rig.open["h3"][RouterId("r1")] = 2  # type: ignore[assignment]
    rig.guard("h3")
    assert rig.host("r1") == "h1"


def test_a_successor_that_was_fenced_before_it_could_say_so_took_over_and_is_over() -> None:
    rig = two()
    said = Takeover(router_id=RouterId("r1"), epoch=rig.duty("h2", "r1").epoch, of=tenure("h1"), times=TIMES)
    rig.restart()
    rig.incarnations["h2"], rig.open["h2"] = 2, {}
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.guard("h2", took=(said,))
    assert not [each for each in rig.all_said(ReportHost) if "old copy" in each.reason]
    rig.restart_host("h1")
    rig.settle("h1", "h2")
    assert binds(rig)[-1] == ("h1", MoveKind.RESTART)
    assert (rig.state("r1"), rig.epoch("r1")) == ("active", 2)


def test_an_epoch_that_no_right_explains_is_wondered_at() -> None:
    rig = two()
    rig.open["h2"][RouterId("r1")] = Epoch(7)
    rig.guard("h2")
    assert any("was the database restored from an old copy?" in each.reason for each in rig.all_said(ReportHost))


def test_there_is_no_fail_back_and_the_host_that_returns_stands_by() -> None:
    rig = three()
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.standby("r1") == (None, ""), "nothing is built right after a takeover"
    assert rig.role("h1", "r1") == "built"
    rig.restart_host("h1")
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.standby("r1")) == ("h2", ("h1", "ready"))


def test_a_host_that_does_not_return_is_replaced_as_standby_when_things_are_calm() -> None:
    rig = three()
    rig.handle(HostDisconnected(id="gone", host=HostName("h1")))
    rig.take_over("h2", "r1", tenure("h1"))
    rig.pass_time(CALM_S - 1)
    assert rig.standby("r1") == (None, "")
    rig.pass_time(2)
    assert rig.standby("r1")[0] == "h3"
    assert rig.role("h1", "r1") == "nothing"


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


# Hosts that die or restart


def test_a_host_that_restarted_before_anybody_took_over_hands_over_to_its_standby() -> None:
    rig = two()
    rig.restart_host("h1")
    assert binds(rig) == []
    assert "h2, which may succeed it, is about to say" in rig.reason("r1")
    rig.pass_time(NEWS_S, heard=("h1", "h2"))
    assert binds(rig) == [("h2", MoveKind.RESTART)]
    assert rig.role("h2", "r1") == "active at 1"
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.state("r1"), rig.standby("r1")) == ("h2", "active", ("h1", "ready"))


def test_what_one_successor_says_is_not_held_against_another_that_is_about_to_say_it_too() -> None:
    rig = StandbyRig("h1", "h2", "h3")
    rig.protect(*(f"r{number}" for number in range(1, 7)))
    for _ in range(4):
        rig.settle("h1", "h2", "h3")
    on_h1 = {view.standby: view.router_id for view in rig.planner.router_views().values() if view.host == "h1"}
    first, second = on_h1["h2"], on_h1["h3"]
    rig.forget()
    rig.take_over("h2", first, tenure("h1"))
    assert (rig.host(first), rig.host(second)) == ("h2", "h1")
    rig.take_over("h3", second, tenure("h1"))
    rig.pass_time(2 * NEWS_S, heard=("h2", "h3"))
    assert {kind for _, kind in binds(rig)} == {MoveKind.TAKEOVER}
    assert (rig.host(first), rig.host(second)) == ("h2", "h3")


def test_a_host_that_restarted_without_a_standby_is_made_active_anew() -> None:
    rig = StandbyRig("h1")
    rig.protect("r1")
    rig.settle("h1")
    rig.forget()
    rig.restart_host("h1")
    assert binds(rig) == [("h1", MoveKind.RESTART)]
    assert rig.role("h1", "r1") == "active at 2"


def test_a_standby_that_is_not_ready_loses_its_right_first() -> None:
    rig = StandbyRig("h1", "h2")
    rig.protect("r1")
    rig.obey("h1")
    rig.forget()
    rig.restart_host("h1")
    assert binds(rig) == []
    assert rig.role("h2", "r1") == "built"
    rig.guard("h2")
    assert binds(rig) == [("h1", MoveKind.RESTART)]


def test_a_silent_host_whose_standby_did_not_take_over_keeps_its_router() -> None:
    rig = three()
    rig.pass_time(200, heard=("h2", "h3"))
    assert binds(rig) == []
    assert "it may still hold its lease" in rig.reason("r1")


def test_active_and_standby_dead_are_buried_before_it_is_rebuilt_elsewhere() -> None:
    rig = StandbyRig("h1", "h2", "h3", "h4", "h5")
    assert rig.store.panel is not None
    arbiters = rig.store.panel.arbiters
    assert arbiters == ("h1", "h2", "h3")
    rig.set_admin_up("h1", admin_up=False)
    rig.set_admin_up("h2", admin_up=False)
    rig.set_admin_up("h3", admin_up=False)
    rig.protect("r1")
    rig.settle("h4", "h5")
    assert (rig.host("r1"), rig.standby("r1")) == ("h4", ("h5", "ready"))
    for name in arbiters:
        rig.set_admin_up(name, admin_up=True)
    rig.forget()
    rig.pass_time(160, heard=arbiters)
    assert binds(rig) == [], "silence proves nothing"
    assert {each.tenure for each in rig.all_said(AskArbiters)} == {tenure("h4"), tenure("h5")}
    rig.bury("h1", "h2", subject=tenure("h5"))
    assert binds(rig) == []
    rig.bury("h1", "h2", subject=tenure("h4"))
    (bind,) = rig.all_said(Bind)
    assert (bind.kind, bind.leaving_host) == (MoveKind.RESCHEDULE, None)
    assert bind.host in arbiters
    assert bind.reason.startswith("Rescheduling router r1 from agent instance-of-h4")


def test_nothing_is_buried_while_the_brake_doubts_that_anybody_is_dead() -> None:
    rig = three()
    rig.pass_time(160, heard=("h3",))
    assert rig.planner.brake_view().engaged
    assert rig.all_said(AskArbiters) == []
    assert binds(rig) == []


def test_a_host_that_is_over_and_alive_gets_a_while_to_hold_its_lease_again() -> None:
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    rig.protect("r1")
    rig.settle("h1")
    rig.set_admin_up("h2", admin_up=True)
    rig.guard("h2", version=0)
    rig.forget()
    rig.incarnations["h1"] = 2
    rig.open["h1"].clear()
    rig.connect(facts("h1", lease_address="h1:9698"))
    rig.guard("h1", leased=0)
    rig.pass_time(CALM_S - 1)
    assert [each for each in binds(rig) if each[0] == "h1"] == []
    rig.guard("h1")
    rig.settle("h1", "h2")
    assert rig.state("r1") == "active"


# Operators


def test_a_drain_goes_to_the_standby_in_two_steps() -> None:
    rig = two()
    rig.set_admin_up("h1", admin_up=False)
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.leaving_host, bind.leaving_incarnation) == ("h2", MoveKind.DRAIN, "h1", 1)
    assert rig.role("h1", "r1") == "built"
    assert rig.role("h2", "r1") == "may succeed h1@1", "should h1 die now, it need not wait for a plan"
    rig.guard("h1")
    assert rig.state("r1") == "withdrawing", "it is still open there"
    rig.obey("h1")
    assert rig.role("h2", "r1") == "active at 1"
    rig.settle("h2")
    assert rig.state("r1") == "active"
    assert "no standby: h1 is taken out of service" in rig.reason("r1")


def test_a_host_that_dies_while_its_router_leaves_is_succeeded() -> None:
    rig = two()
    rig.set_admin_up("h1", admin_up=False)
    rig.take_over("h2", "r1", tenure("h1"))
    assert (rig.host("r1"), rig.epoch("r1")) == ("h2", 2)
    assert rig.role("h2", "r1") == "active at 1"
    assert len(rig.all_said(Bind)) == 1


def test_a_move_to_a_third_host_builds_there_first() -> None:
    rig = three()
    third = "h3" if rig.standby("r1")[0] == "h2" else "h2"
    rig.move("r1", third)
    assert binds(rig) == []
    for _ in range(4):
        rig.obey("h2", "h3")
    assert binds(rig) == [(third, MoveKind.MANUAL)]
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.state("r1")) == (third, "active")


def test_a_move_that_nobody_can_take_is_refused_with_the_reason() -> None:
    rig = two()
    rig.move("r1", "h9")
    rig.pass_time(1)
    assert rig.host("r1") == "h1"
    assert "refused, since no host can take it: no host h9 is known" in rig.explanations("r1")[0]


def test_a_router_that_its_host_cannot_run_goes_to_its_standby() -> None:
    rig = two()
    rig.failed("h1", "r1")
    assert binds(rig) == [("h2", MoveKind.RETRY)]
    rig.obey("h1", "h2")
    rig.obey("h1", "h2")
    assert (rig.host("r1"), rig.state("r1")) == ("h2", "active")


def test_a_router_that_breaks_on_each_host_for_one_reason_goes_to_its_standby_once_and_stays_there() -> None:
    rig = three()
    hosts = ["h1", "h2", "h3"]
    rig.failed("h1", "r1")
    rig.obey(*hosts)
    rig.obey(*hosts)
    assert (rig.host("r1"), rig.state("r1")) == ("h2", "active")
    rig.settle(*hosts)
    rig.failed("h2", "r1")
    assert "h1 failed with it for the same reason, so it is not moved on for 10 minutes" in rig.reason("r1")
    rig.pass_time(300, heard=hosts)
    assert binds(rig) == [("h2", MoveKind.RETRY)]


def test_a_target_that_restarts_on_the_way_leaves_the_router_where_it_was() -> None:
    rig = two()
    rig.move("r1", "h2")
    rig.restart_host("h2")
    assert binds(rig)[-1] == ("h1", MoveKind.RETRY)
    assert rig.role("h1", "r1") == "active at 1"
    assert rig.epoch("r1") == 3


def test_a_deleted_router_is_in_nobody_s_plan() -> None:
    rig = two()
    rig.store.delete_router(RouterId("r1"))
    rig.handle(RouterDeleted(id="gone", router_id=RouterId("r1")))
    assert (rig.plan("h1"), rig.plan("h2")) == ({}, {})
    rig.open["h2"][RouterId("r1")] = 2  # type: ignore[assignment]
    rig.guard("h2")
    assert rig.plan("h2") == {}


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
