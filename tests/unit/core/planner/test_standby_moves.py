"""Guarded routers that change hosts otherwise: hosts that die or restart, drains, and what operators ask for."""

import pytest
from planner_rig import facts, needs
from standby_rig import StandbyRig, binds, tenure, three, two

from gapless.core.effects import AskArbiters, Bind
from gapless.core.events import RouterDeleted, RouterWanted
from gapless.core.planner.leaseless import CALM_S
from gapless.core.planner.restarts import NEWS_S
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode, RouterId

# Hosts that die or restart


def test_a_host_that_restarted_before_anybody_took_over_hands_over_to_its_standby() -> None:
    rig = two()
    rig.restart_host("h1")
    assert binds(rig) == []
    assert not any("is over" in each for each in rig.explanations("r1")), "h2 may be about to say that it took over"
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


def asks_for_the_east(rig: StandbyRig) -> None:
    """r1 may be in zone east only; where it is, it stays."""
    asked = needs("r1", FailoverMode.STANDBY, availability_zone_hints=("east",))
    rig.store.needs[asked.router_id] = asked
    rig.handle(RouterWanted(id="zone", needs=asked))


@pytest.mark.parametrize("others", [(), ("h2",)])
def test_a_host_that_restarted_and_suits_no_more_keeps_what_no_other_can_take(others: tuple[str, ...]) -> None:
    rig = StandbyRig("h1")
    rig.protect("r1")
    rig.settle("h1")
    asks_for_the_east(rig)
    for name in others:
        rig.join(name)
    rig.forget()
    rig.restart_host("h1")
    rig.settle("h1", *others)
    assert binds(rig) == [("h1", MoveKind.RESTART)]
    assert (rig.role("h1", "r1"), rig.state("r1")) == ("active at 2", "active")
    rig.pass_time(2 * CALM_S, heard=("h1", *others))
    assert binds(rig) == [("h1", MoveKind.RESTART)]


def test_a_host_that_was_fenced_and_suits_no_more_loses_what_another_can_take() -> None:
    rig = StandbyRig("h1")
    rig.protect("r1")
    rig.settle("h1")
    asks_for_the_east(rig)
    rig.fence("h1")
    rig.join(facts("h2", availability_zone="east", lease_address="192.0.2.2"))
    rig.forget()
    rig.hold("h1")
    rig.pass_time(2 * CALM_S, heard=("h1", "h2"))
    assert binds(rig) == [("h2", MoveKind.RESTART)]


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


def test_what_was_taken_over_while_it_leaves_is_active_there_stored_or_not() -> None:
    """A plan that knows of the takeover and still said that it may succeed would have it taken over once more."""
    rig = two()
    rig.set_admin_up("h1", admin_up=False)
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"))
    assert (rig.state("r1"), rig.role("h2", "r1")) == ("withdrawing", "active at 1")


def test_what_was_taken_over_while_the_move_is_being_stored_is_active_there() -> None:
    rig = two()
    rig.answers = False
    rig.set_admin_up("h1", admin_up=False)
    (bind,) = rig.unanswered
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.role("h2", "r1") == "active at 1"
    rig.answer(bind)
    assert (rig.host("r1"), rig.role("h2", "r1")) == ("h2", "active at 1")


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
