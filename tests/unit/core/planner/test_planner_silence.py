"""What silence leads to, and what it must not lead to."""

import pytest
from planner_rig import ACTIVE, REMOVED, Rig, facts, needs

from gapless.core.effects import Bind, EngageBrake, ExplainRouter, ReleaseBrake, ReportPause
from gapless.core.events import BrakeReleased, HostConnected, HostDisconnected, HostForgotten, RouterWanted
from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.plan import Epoch, MoveKind, RouterReport
from gapless.model.router import FailoverMode, RouterId


def test_a_dead_hosts_router_is_rescheduled_with_neutrons_sentence() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.forget()
    rig.pass_time(149, heard=["h2"])
    assert rig.standings("h1") == ["silent"]
    assert rig.all_said(Bind) == []
    rig.pass_time(1, heard=["h2"])
    (bind,) = rig.all_said(Bind)
    assert bind.reason == (
        "Rescheduling router r1 from agent instance-of-h1 because the agent did not report to the server in the last "
        "150 seconds."
    )
    assert (bind.previous_host, bind.host, bind.epoch, bind.kind) == ("h1", "h2", 2, MoveKind.RESCHEDULE)
    assert bind.leaving_host is None
    assert bind.silent_s == pytest.approx(150)
    assert bind.choice == "h2 has 0 of 1000 routers: the only host that can take it"
    assert bind.cause == "tick-150"
    assert rig.plan("h2") == {"r1": 2}
    assert rig.plan("h1") == {}


def test_a_host_takes_routers_once_its_agent_runs_and_while_it_is_in_service() -> None:
    rig = Rig("h1")

    def takes(name: str) -> bool:
        return rig.planner.host_views(rig.now)[HostName(name)].takes_routers

    rig.handle(HostConnected(id="connect", facts=facts("h2"), incarnation=Incarnation(1), admin_up=True))
    assert (takes("h1"), takes("h2")) == (True, False), "h2 is alive, but its agent has not said that it runs"
    rig.report("h2")
    assert takes("h2")
    rig.set_admin_up("h2", False)
    assert not takes("h2")
    rig.pass_time(80, heard=["h2"])
    assert not takes("h1")


def test_a_closed_link_alone_moves_nothing() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.handle(HostDisconnected(id="gone", host=HostName("h1")))
    rig.pass_time(60, heard=["h2"])
    assert rig.host("r1") == "h1"
    assert rig.plan("h1") == {"r1": 1}


def test_every_stored_host_counts_as_heard_at_the_start() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.now = 10_000
    rig.restart()
    rig.join("h2")
    rig.forget()
    rig.pass_time(149, heard=["h2"])
    assert rig.all_said(Bind) == []
    rig.pass_time(2, heard=["h2"])
    assert rig.host("r1") == "h2"
    assert rig.all_said(Bind)[0].silent_s is None, "when it was heard last, this controller does not know"


@pytest.mark.parametrize("first", ["timer", "report"])
def test_a_pause_of_the_controller_is_held_against_no_host(first: str) -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.pass_time(140, heard=["h2"])
    rig.forget()
    rig.now += 100  # Stopped. h1 is long over its time, and so is h2.
    if first == "timer":
        rig.follow(rig.planner.on_deadline(rig.now))
    else:
        rig.report("h2")
        rig.follow(rig.planner.on_deadline(rig.now))
    assert [(pause.pause_s, pause.excused_s) for pause in rig.all_said(ReportPause)] == [(100, 130)]
    views = rig.planner.host_views(rig.now)
    assert {name: view.standing for name, view in views.items()} == {"h1": "silent", "h2": "alive"}
    rig.pass_time(39, heard=["h2"])
    assert rig.all_said(Bind) == [], "140 s before the pause, none of it, 30 s to be heard anew: 10 s and 30 s are left"
    rig.pass_time(2, heard=["h2"])
    assert rig.host("r1") == "h2"


def test_a_controller_that_stalls_often_still_finds_who_is_dead() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    for _ in range(3):
        rig.pass_time(100, heard=["h2"])
        rig.now += 4
        rig.report("h2")
    assert len(rig.all_said(ReportPause)) == 3
    assert rig.host("r1") == "h2"


def test_a_host_that_was_silent_before_a_pause_takes_what_waits_once_it_is_heard() -> None:
    rig = Rig(facts("h1"), facts("h2"), facts("h3", capacity=0), facts("h4", capacity=0))
    rig.want("r1")
    rig.pass_time(60, heard=["h2", "h3", "h4"])
    rig.pass_time(100, heard=["h3", "h4"])
    assert rig.reason("r1").startswith("h1 is dead, and no other host can take it: ")
    assert "h2 is silent" in rig.reason("r1")
    rig.forget()
    rig.now += 5
    rig.follow(rig.planner.on_deadline(rig.now))
    assert rig.host("r1") == "h1", "h2 was not heard yet"
    rig.report("h2")
    assert rig.standings("h2") == ["alive"]
    assert rig.host("r1") == "h2"


def test_what_waits_is_looked_at_now_and_then_should_a_change_ever_go_unnoticed() -> None:
    rig = Rig(facts("h1"), facts("h2", capacity=0))
    rig.want("r1")
    rig.pass_time(160, heard=["h2"])
    assert rig.planner.waiting_for_a_host() == ["r1"]
    host = rig.planner._ledger.fleet.get(HostName("h2"))
    assert host is not None
    host.facts = facts("h2", capacity=1)  # Nobody is told.
    rig.pass_time(60, heard=["h2"])
    assert rig.host("r1") == "h2"


def test_a_late_timer_is_no_pause() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    while rig.now < 151:
        rig.now += 2.9
        rig.follow(rig.planner.on_deadline(rig.now))
        rig.report("h2")
    assert rig.all_said(ReportPause) == []
    assert rig.host("r1") == "h2"


def test_a_host_that_was_dead_before_a_pause_stays_dead() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want(needs("r1", FailoverMode.OFF))
    rig.pass_time(150, heard=["h2", "h3"])
    rig.now += 100
    rig.follow(rig.planner.on_deadline(rig.now))
    views = rig.planner.host_views(rig.now)
    assert {name: view.standing for name, view in views.items()} == {"h1": "dead", "h2": "alive", "h3": "alive"}


def test_time_does_not_fall() -> None:
    rig = Rig("h1")
    rig.pass_time(10)
    with pytest.raises(InvariantError, match="time fell"):
        rig.planner.on_deadline(9.0)


def test_failover_mode_off_stays_and_says_why() -> None:
    rig = Rig("h1", "h2")
    rig.want(needs("r1", FailoverMode.OFF))
    rig.pass_time(400, heard=["h2"])
    assert rig.host("r1") == "h1"
    assert rig.reason("r1") == "h1 is dead, and this router's failover mode is off"
    rig.move("r1", None)
    assert rig.host("r1") == "h2"
    assert rig.plan("h2") == {"r1": 2}


def test_a_host_that_returns_before_anything_was_decided_keeps_its_routers() -> None:
    rig = Rig(facts("h1"), facts("h2", capacity=0))
    rig.want("r1")
    rig.pass_time(200, heard=["h2"])
    assert rig.reason("r1") == "h1 is dead, and no other host can take it: h2 carries no routers"
    rig.join("h1")
    assert rig.reason("r1").startswith("h1 has 0 of 1000")
    assert rig.explanations("r1")[-1] == ""
    assert rig.plan("h1") == {"r1": 1}


def test_a_host_that_returns_while_its_routers_move_does_not_get_them_back() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.answers = False
    rig.pass_time(150, heard=["h2"])
    rig.join("h1")
    assert rig.plan("h1") == {}, "it would build what is being bound elsewhere"
    rig.answer(rig.unanswered[0])
    rig.answer(rig.unanswered[0])
    assert rig.state("r1") == "withdrawing", "h1 lives, and may still run it"
    assert rig.plan("h2") == {}
    rig.answers = True
    rig.report("h1", full=True)
    assert rig.plan("h2") == {"r1": 2}


@pytest.mark.parametrize("answers", [0, 1])
def test_a_host_that_returns_with_nothing_while_its_routers_move_says_so_once(answers: int) -> None:
    """It never heard of them in this life, so it does not say that they are gone: its one full report does not name
    them. That may come before the new binding is stored, or before it is stored that h1 has to let go first.
    """
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.answers = False
    rig.pass_time(150, heard=["h2"])
    rig.join("h1")
    for _ in range(answers):
        rig.answer(rig.unanswered[0])
    rig.report("h1", full=True)
    rig.answers = True
    rig.answer(rig.unanswered[0])
    assert rig.plan("h2") == {"r1": 2}


def test_what_it_says_to_the_first_plan_without_a_router_counts_however_the_plan_goes_on() -> None:
    """Its one full report was made from a plan that is not the newest any more when the new binding is stored."""
    rig = Rig("h1")
    rig.want("r1", needs("r2", FailoverMode.OFF))
    rig.join("h2")
    rig.answers = False
    rig.pass_time(150, heard=["h2"])
    rig.join("h1")
    first = rig.planner.plan_version(HostName("h1"))
    rig.handle(RouterWanted(id="changed", needs=needs("r2", FailoverMode.OFF)))
    assert rig.planner.plan_version(HostName("h1")) > first
    rig.answers = True
    rig.answer(rig.unanswered[0])
    assert rig.state("r1") == "withdrawing"
    r2 = RouterReport(router_id=RouterId("r2"), epoch=Epoch(rig.epoch("r2")), state=ACTIVE)
    rig.report("h1", r2, full=True, plan_version=first)
    assert rig.plan("h2") == {"r1": 2}


@pytest.mark.parametrize("back", [False, True])
def test_a_host_that_lets_go_while_the_router_is_bound_anew_is_not_waited_for_again(back: bool) -> None:
    """r1 goes from h1 to h2, which dies before h1 has let go; it is bound anew, and just then h1 lets go."""
    rig = Rig(facts("h1"), facts("h2"), facts("h3", capacity=0 if back else 1000), facts("h4"))
    rig.want("r1")
    rig.move("r1", "h2")
    rig.set_admin_up("h4", False)
    rig.set_admin_up("h1", back)
    rig.answers = False
    rig.pass_time(150, heard=["h1", "h3", "h4"])
    (bind,) = rig.unanswered
    rig.say("h1", "r1", REMOVED)
    rig.answers = True
    rig.answer(bind)
    target = "h1" if back else "h3"
    assert rig.host("r1") == target
    assert rig.plan(target) == {"r1": 3}


def test_that_a_host_which_returns_has_to_let_go_outlives_the_controller() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.answers = False
    rig.pass_time(150, heard=["h2"])
    rig.join("h1")
    rig.answer(rig.unanswered[0])  # The binding; that h1 has to let go first is still to be stored.
    assert (rig.state("r1"), rig.plan("h1"), rig.plan("h2")) == ("binding", {}, {})
    rig.answer(rig.unanswered[0])
    rig.restart()
    rig.join("h2")
    assert rig.plan("h2") == {}, "h1 may still run it"
    rig.answers = True
    rig.join("h1")
    rig.report("h1", full=True)
    assert rig.plan("h2") == {"r1": 2}


def test_a_host_that_returns_is_waited_for_even_if_that_cannot_be_stored() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.answers = False
    rig.pass_time(150, heard=["h2"])
    rig.join("h1")
    rig.answer(rig.unanswered[0])
    rig.store.is_failing = True
    rig.answer(rig.unanswered[0])
    assert (rig.host("r1"), rig.state("r1"), rig.plan("h2")) == ("h2", "withdrawing", {})
    rig.store.is_failing, rig.answers = False, True
    rig.report("h1", full=True)
    assert rig.plan("h2") == {"r1": 2}


def test_a_host_that_returns_and_whose_routers_could_not_be_bound_gets_them_back() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.answers, rig.store.is_failing = False, True
    rig.pass_time(150, heard=["h2"])
    rig.join("h1")
    rig.answer(rig.unanswered[0])
    assert rig.plan("h1") == {"r1": 1}
    rig.pass_time(60, heard=["h1", "h2"])
    assert rig.unanswered == []
    assert rig.host("r1") == "h1"


# The brake


def test_one_of_two_hosts_is_not_more_than_half() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1", "r2")
    rig.pass_time(150, heard=["h2"])
    assert rig.all_said(EngageBrake) == []
    assert rig.host("r1") == "h2"


def test_most_hosts_dead_at_once_engage_the_brake_until_they_return() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1", "r2", "r3")
    rig.pass_time(150, heard=["h3"])
    (brake,) = rig.all_said(EngageBrake)
    assert brake.hosts == ("h1", "h2")
    assert rig.all_said(Bind)[3:] == []
    assert rig.reason("r1") == "h1 looks dead, but the brake is engaged: nothing moves for silence"
    rig.join("h2")
    rig.pass_time(70, heard=["h2", "h3"])
    assert rig.host("r1") == "h1", "it may come back a little later than h2"
    rig.pass_time(10, heard=["h2", "h3"])
    assert len(rig.all_said(ReleaseBrake)) == 1
    assert rig.host("r1") in ("h2", "h3")
    assert rig.host("r2") == "h2"


def test_hosts_that_are_only_silent_count_as_well() -> None:
    """The first of many to be found dead must not move before the others are."""
    rig = Rig("h1", "h2", "h3")
    rig.want("r1", "r2", "r3")
    rig.pass_time(25, heard=["h2", "h3"])
    rig.pass_time(130, heard=["h3"])  # h1 is dead since 150, h2 will be at 170.
    assert len(rig.all_said(EngageBrake)) == 1
    assert rig.host("r1") == "h1"


def test_an_operator_releases_the_brake_for_these_hosts_only() -> None:
    rig = Rig("h1", "h2", "h3", "h4", "h5", "h6", "h7")
    rig.want(*(f"r{number}" for number in range(1, 8)))
    living = ["h5", "h6", "h7"]
    rig.pass_time(160, heard=living)
    assert rig.planner.brake_view().hosts == ("h1", "h2", "h3", "h4")
    rig.handle(BrakeReleased(id="operator"))
    assert {rig.host(f"r{number}") for number in range(1, 8)} == set(living)
    rig.pass_time(100, heard=living)
    assert not rig.planner.brake_view().engaged
    rig.pass_time(160, heard=["h7"])  # Now two of the three that count fall silent.
    assert rig.planner.brake_view().hosts == ("h5", "h6")
    assert "h5" in {rig.host(f"r{number}") for number in range(1, 8)}


def test_releasing_a_brake_that_is_not_engaged_means_nothing() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1", "r2", "r3")
    rig.pass_time(100, heard=["h3"])
    rig.handle(BrakeReleased(id="operator"))
    rig.pass_time(60, heard=["h3"])
    assert rig.planner.brake_view().engaged


def test_the_only_host_engages_the_brake_and_nothing_can_move_anyway() -> None:
    rig = Rig("h1")
    rig.want("r1")
    rig.pass_time(200)
    assert rig.planner.brake_view().engaged
    assert rig.plan("h1") == {"r1": 1}


def test_hosts_out_of_service_or_empty_do_not_count() -> None:
    rig = Rig("h1", "h2", "h3", "h4", "h5")
    rig.want("r1", "r2", "r3")  # On h1, h2, h3; h4 and h5 are empty.
    rig.set_admin_up("h2", False)
    rig.say("h2", "r2", REMOVED)
    assert rig.host("r2") == "h4"
    rig.pass_time(160, heard=["h3", "h4"])  # h2 is drained and off, h5 is empty and off, h1 dies.
    assert rig.all_said(EngageBrake) == []
    assert rig.host("r1") in ("h3", "h4")


def test_a_brake_holds_back_what_a_dead_host_would_have_to_confirm() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1", "r2", "r3")
    rig.move("r1", "h3")
    assert rig.state("r1") == "withdrawing"
    rig.pass_time(160, heard=["h3"])
    assert rig.planner.brake_view().hosts == ("h1", "h2"), "h1 is bound nothing, but fell silent with h2"
    assert rig.plan("h3") == {"r3": 1}, "h1 may live, and has not let go of r1"
    rig.handle(BrakeReleased(id="operator"))
    assert rig.plan("h3") == {"r1": 2, "r2": 2, "r3": 1}


def test_empty_hosts_that_fall_silent_together_with_a_loaded_one_tell_of_the_controllers_sight() -> None:
    rig = Rig("h1", "h2", "h3", "h4")
    rig.want("r1")
    assert rig.host("r1") == "h1"
    rig.pass_time(160, heard=["h4"])
    assert rig.planner.brake_view().hosts == ("h1", "h2", "h3")
    rig.pass_time(1000, heard=["h4"])
    assert rig.host("r1") == "h1", "they go on counting for as long as the brake is engaged"
    rig.join("h2")
    rig.join("h3")
    assert rig.host("r1") == "h1"
    rig.join("h1")
    assert not rig.planner.brake_view().engaged
    assert rig.plan("h1") == {"r1": 1}, "nothing has moved for the controller's own blindness"


def test_a_host_that_died_long_before_and_is_empty_does_not_count() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1")
    rig.pass_time(100, heard=["h1", "h3"])
    rig.pass_time(160, heard=["h1", "h3"])  # h2 has been silent for 260 s, and holds nothing.
    rig.pass_time(160, heard=["h3"])
    assert rig.all_said(EngageBrake) == []
    assert rig.host("r1") == "h3"


def test_explanations_are_said_once() -> None:
    rig = Rig("h1", "h2", "h3")
    rig.want("r1", "r2", "r3")
    rig.forget()
    rig.pass_time(400, heard=["h3"])
    assert len(rig.explanations("r1")) == 1
    assert [each.router_id for each in rig.all_said(ExplainRouter)] == ["r1", "r2"]


# Hosts that are deleted


def test_routers_of_a_deleted_host_leave_its_name() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1", needs("r2", FailoverMode.OFF))
    rig.move("r2", "h1")
    rig.say("h2", "r2", REMOVED)
    rig.forget()
    rig.handle(HostForgotten(id="operator", host=HostName("h1")))
    (bind,) = rig.all_said(Bind)
    assert (bind.router_id, bind.host, bind.kind) == ("r1", "h2", MoveKind.DRAIN)
    assert rig.reason("r2") == "h1 was deleted, and this router's failover mode is off"
    assert rig.plan("h1") == {}
    connected = HostConnected(id="back", facts=facts("h1"), incarnation=Incarnation(2), admin_up=True)
    rig.handle(connected)
    assert rig.plan("h1") == {"r2": 2}


def test_a_router_that_leaves_a_deleted_host_is_not_held_up() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    rig.move("r1", "h2")
    assert rig.plan("h2") == {}
    rig.handle(HostForgotten(id="operator", host=HostName("h1")))
    assert rig.plan("h2") == {"r1": 2}
