"""An operator's word that machines are off: when it is taken, and what follows."""

from standby_rig import StandbyRig, tenure

from gapless.core.effects import Bind, ReportArbiters, StorePanel
from gapless.core.events import HostConfirmedOff, HostForgotten
from gapless.core.planner.restarts import NEWS_S
from gapless.model.host import HostName, Incarnation
from gapless.model.plan import MoveKind

H1, H2, H3 = (HostName(name) for name in ("h1", "h2", "h3"))
SILENT_S, DEAD_S = 80, 160


def three() -> StandbyRig:
    """r1 to r3, one active on each of three hosts, which are the arbiters."""
    rig = StandbyRig("h1", "h2", "h3")
    rig.protect("r1", "r2", "r3")
    rig.settle("h1", "h2", "h3")
    assert {rig.host(each) for each in ("r1", "r2", "r3")} == {"h1", "h2", "h3"}
    rig.forget()
    return rig


def two_are_lost(seconds: float = SILENT_S) -> StandbyRig:
    """h2 and h3 are not heard; h1 has lost its lease."""
    rig = three()
    rig.can_hold = False
    rig.pass_time(seconds, heard=("h1",))
    return rig


def confirm(rig: StandbyRig, *hosts: str) -> None:
    """As the API does: stored, then told."""
    for name in map(HostName, hosts):
        up_to = rig.planner.highest(name)
        rig.confirm_off(name, up_to)
        rig.handle(HostConfirmedOff(id="operator", host=name, incarnation=up_to))


def objections(rig: StandbyRig, *hosts: str) -> dict[HostName, str]:
    return rig.planner.objections_to_off([HostName(each) for each in hosts], rig.now)


def back_with_a_lease(rig: StandbyRig, host: str) -> None:
    """It was fenced; the arbiters grant it another lease, and its guard works from the newest plan."""
    rig.incarnations[host] += 1
    rig.open[host] = {}
    rig.guard(host, held=True)


def test_two_of_three_arbiters_are_lost_and_the_one_that_is_left_carries_all() -> None:
    rig = two_are_lost()
    rig.forget()
    confirm(rig, "h2", "h3")
    rig.pass_time(3, heard=("h1",))
    (begun,) = rig.all_said(StorePanel)
    assert begun.panel.sets == (frozenset({H1}),)
    back_with_a_lease(rig, "h1")
    rig.settle("h1")
    assert {rig.host(each) for each in ("r1", "r2", "r3")} == {"h1"}
    assert {rig.role("h1", each) for each in ("r1", "r2", "r3")} == {"active at 2"}
    assert {each.kind for each in rig.all_said(Bind)} == {MoveKind.RESTART, MoveKind.RESCHEDULE}


def test_without_the_word_they_stay_dark() -> None:
    rig = two_are_lost(10 * DEAD_S)
    assert rig.all_said(Bind) == rig.all_said(StorePanel) == []
    assert rig.planner.brake_view().engaged


def test_both_come_back_and_stand_by() -> None:
    rig = two_are_lost()
    confirm(rig, "h2", "h3")
    rig.pass_time(3, heard=("h1",))
    back_with_a_lease(rig, "h1")
    rig.settle("h1")
    rig.can_hold = True
    rig.restart_host("h2")
    rig.restart_host("h3")
    for _ in range(6):
        rig.pass_time(10, heard=("h1", "h2", "h3"))
        rig.settle("h1", "h2", "h3")
    assert {rig.host(each) for each in ("r1", "r2", "r3")} == {"h1"}
    assert {rig.standby(each)[1] for each in ("r1", "r2", "r3")} == {"ready"}
    assert set(rig.all_said(StorePanel)[-1].panel.arbiters) == {"h1", "h2", "h3"}
    assert not rig.planner.panel_view(rig.now).confirm


def test_a_controller_that_starts_after_it_was_stored_goes_on_from_there() -> None:
    rig = two_are_lost()
    for name in (H2, H3):
        rig.confirm_off(name, rig.planner.highest(name))
    rig.restart()
    assert {rig.planner.host_views(rig.now)[name].standing for name in (H2, H3)} == {"dead"}
    rig.join("h1", 1)
    rig.guard("h1", held=False)
    rig.pass_time(3, heard=("h1",))
    back_with_a_lease(rig, "h1")
    rig.settle("h1")
    assert {rig.host(each) for each in ("r1", "r2", "r3")} == {"h1"}


def test_nothing_is_planned_for_a_lease_before_its_host_follows_the_panel_that_begins_anew() -> None:
    """h2 and h3 are on again, unheard, with the old panel: what they grant h1 counts for nothing."""
    rig = two_are_lost()
    rig.answers = False
    confirm(rig, "h2", "h3")
    rig.pass_time(3, heard=("h1",))
    (begun,) = [each for each in rig.unanswered if isinstance(each, StorePanel)]
    version = rig.planner.plan_version(H1)
    back_with_a_lease(rig, "h1")
    assert not rig.planner.host_views(rig.now)[H1].holds_lease, "while that is being stored"
    rig.answer(begun)
    rig.guard("h1", held=True, version=version)
    assert not rig.planner.host_views(rig.now)[H1].holds_lease, "by the old panel still"
    rig.guard("h1", held=True)
    assert rig.planner.host_views(rig.now)[H1].holds_lease


def test_a_host_that_was_heard_is_not_off() -> None:
    rig = three()
    assert "was heard 0 s ago" in objections(rig, "h2")[H2]
    rig.pass_time(SILENT_S - 10, heard=("h1",))
    assert "wait until it has been silent for 75 s" in objections(rig, "h2", "h3")[H3]
    rig.pass_time(10, heard=("h1",))
    assert objections(rig, "h2") == {}


def test_a_controller_that_has_just_started_cannot_say_who_is_off() -> None:
    rig = three()
    rig.restart()
    assert "the controller has listened for less than 75 s" in objections(rig, "h2")[H2]
    rig.pass_time(SILENT_S)
    assert objections(rig, "h2") == {}


def test_a_host_that_holds_its_lease_proves_that_not_all_of_a_majority_are_off() -> None:
    rig = three()
    rig.guard("h1", held=True)
    rig.pass_time(SILENT_S, heard=())
    rig.guard("h1", held=True)
    assert objections(rig, "h2") == {}, "h3 may grant it"
    assert set(objections(rig, "h2", "h3")) == {H2, H3}
    assert "h1 says that it holds its lease" in objections(rig, "h2", "h3")[H2]
    rig.guard("h1", held=False)
    assert objections(rig, "h2", "h3") == {}


def test_an_arbiter_that_has_granted_it_a_lease_proves_that_it_is_on() -> None:
    rig = three()
    rig.pass_time(DEAD_S, heard=("h1", "h2"))
    rig.deny("h1", subject=tenure("h3"))
    assert "h1, an arbiter, has said" in objections(rig, "h3")[H3]
    rig.pass_time(SILENT_S, heard=("h1", "h2"))
    assert objections(rig, "h3") == {}


def test_to_say_it_twice_changes_nothing() -> None:
    rig = two_are_lost()
    confirm(rig, "h2", "h3")
    rig.pass_time(3, heard=("h1",))
    rig.forget()
    assert objections(rig, "h2", "h3") == {}
    confirm(rig, "h2", "h3")
    rig.pass_time(3, heard=("h1",))
    assert rig.all_said(StorePanel) == []


def test_a_host_that_is_heard_while_it_is_being_stored_is_not_off_and_what_it_was_is_over() -> None:
    rig = two_are_lost()
    rig.restart_host("h2")
    rig.handle(HostConfirmedOff(id="operator", host=H2, incarnation=Incarnation(1)))
    assert rig.planner.host_views(rig.now)[H2].alive
    rig.pass_time(3, heard=("h1", "h2"))
    assert rig.all_said(StorePanel) == [], "two of three are there"


def test_an_arbiter_whose_agent_was_deleted_can_be_confirmed_off() -> None:
    rig = two_are_lost(DEAD_S)
    rig.handle(HostForgotten(id="operator", host=H3))
    assert objections(rig, "h2", "h3") == {}
    confirm(rig, "h2", "h3")
    rig.pass_time(3, heard=("h1",))
    assert rig.all_said(StorePanel)[-1].panel.sets == (frozenset({H1}),)


def test_a_router_whose_host_and_standby_are_confirmed_off_is_made_active_elsewhere() -> None:
    """The other arbiters are there: nobody needs another panel."""
    rig = StandbyRig("h1", "h2", "h3", "h4", "h5")
    rig.protect("r1")
    rig.settle("h1", "h2", "h3", "h4", "h5")
    rig.move("r1", "h4")
    rig.settle("h1", "h2", "h3", "h4", "h5")
    home, standby = rig.host("r1"), rig.standby("r1")[0]
    assert home == "h4", "which is no arbiter"
    assert standby is not None
    left = [name for name in ("h1", "h2", "h3", "h5") if name != standby]
    rig.pass_time(SILENT_S, heard=left)
    assert rig.host("r1") == home
    confirm(rig, home, standby)
    rig.settle(*left)
    assert rig.host("r1") in left


def test_the_word_ends_the_right_of_each_rank() -> None:
    """Two of three standbys are off, and nobody is asked to bury them: the second is the first now."""
    rig = StandbyRig("h1", "h2", "h3", "h4", "h5", "h6", "h7", standbys=3)
    hosts = [f"h{number}" for number in range(1, 8)]
    rig.protect("r1")
    for _ in range(6):
        rig.settle(*hosts)
        rig.pass_time(1, heard=hosts)
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2", "h3", "h4"]
    left = [host for host in hosts if host not in ("h2", "h4")]
    rig.pass_time(SILENT_S, heard=left)
    confirm(rig, "h2", "h4")
    for _ in range(6):
        rig.settle(*left)
        rig.pass_time(1, heard=left)
    assert rig.host("r1") == "h1"
    assert rig.standbys_of("r1")[0] == ("h3", "ready"), "the second moved up"
    assert rig.role("h3", "r1") == "may succeed h1@1", "and waits for no tenure that is over"
    assert {"h2", "h4"}.isdisjoint(host for host, _ in rig.standbys_of("r1"))
    assert len(rig.standbys_of("r1")) == 3


def test_a_host_and_its_first_standby_are_confirmed_off_and_the_second_is_made_active() -> None:
    hosts = ["h1", "h2", "h3", "h4", "h5"]
    rig = StandbyRig(*hosts, standbys=2)
    rig.protect("r1")
    for _ in range(6):
        rig.settle(*hosts)
        rig.pass_time(1, heard=hosts)
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2", "h3"]
    left = ["h3", "h4", "h5"]
    rig.pass_time(SILENT_S, heard=left)
    assert rig.host("r1") == "h1"
    confirm(rig, "h1", "h2")
    rig.settle(*left)
    rig.pass_time(NEWS_S + 1, heard=left)
    rig.settle(*left)
    (bound,) = [(each.host, each.epoch) for each in rig.all_said(Bind) if each.epoch > 1]
    assert bound == ("h3", 3), "by its own right"


def test_from_the_word_that_leaves_no_majority_on_nothing_is_planned_for_a_lease() -> None:
    """Whoever grants it is on again, and was not heard; what it grants may be unknown to the panel that follows."""
    rig = two_are_lost()
    rig.guard("h1", held=False)
    confirm(rig, "h2", "h3")
    rig.incarnations["h1"] += 1
    rig.guard("h1", held=True)
    assert not rig.planner.host_views(rig.now)[H1].holds_lease
    rig.pass_time(3, heard=())
    assert rig.all_said(StorePanel) == [], "nor is the word believed, as long as a lease is held"
    rig.restart_host("h2")
    assert rig.planner.host_views(rig.now)[H1].holds_lease, "one of them is on, and the panel of before is one again"


def test_a_loss_is_told_with_what_to_do_and_its_end() -> None:
    rig = two_are_lost()
    (told,) = [each for each in rig.all_said(ReportArbiters) if "of 3 arbiters" in each.reason]
    assert told.is_short
    assert told.reason.startswith("2 of 3 arbiters are not heard: h2 for ")
    assert told.reason.endswith("gapless confirm-off h2 h3")
    assert rig.planner.panel_view(rig.now).confirm == (H2, H3)
    rig.forget()
    rig.guard("h2")
    rig.pass_time(1, heard=("h1", "h2"))
    assert [each.is_short for each in rig.all_said(ReportArbiters)] == [False]


def test_arbiters_that_only_the_controller_does_not_hear_are_not_lost() -> None:
    rig = three()
    rig.pass_time(SILENT_S)
    rig.guard("h1", held=True)
    view = rig.planner.panel_view(rig.now)
    assert (view.is_lost, view.holders, view.confirm) == (False, (H1,), ())
    assert "only this controller is cut off" in view.reason


def test_what_was_confirmed_off_is_not_doubted_by_the_brake() -> None:
    """Most hosts look dead besides: those are doubted, and the machines that somebody has looked at are not."""
    hosts = [f"h{number}" for number in range(1, 8)]
    rig = StandbyRig(*hosts)
    rig.protect("r1")
    rig.settle(*hosts)
    home, standby = rig.host("r1"), rig.standby("r1")[0]
    assert home is not None
    assert standby is not None
    left = [name for name in hosts if name not in (home, standby)][-2:]
    rig.can_hold = False
    rig.pass_time(DEAD_S, heard=left)
    assert rig.planner.brake_view().engaged
    assert rig.host("r1") == home
    confirm(rig, home, standby)
    rig.pass_time(3, heard=left)
    for name in left:
        back_with_a_lease(rig, name)
    rig.settle(*left)
    assert rig.planner.brake_view().engaged, "for the others"
    assert rig.host("r1") in left
