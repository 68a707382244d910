"""Operators move and drain what has several standbys: it goes to the first that can take it, and no right is lost."""

from collections.abc import Callable

import pytest
from ranked_rig import binds, four, rig_of, three
from standby_rig import TIMES, StandbyRig, tenure

from gapless.core.effects import AskArbiters, Bind
from gapless.core.planner.restarts import NEWS_S
from gapless.model.host import HostName
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, MoveKind, Takeover
from gapless.model.router import RouterId


def test_a_drain_goes_to_the_first_and_the_second_keeps_its_right_throughout() -> None:
    rig = four()
    rig.set_admin_up("h1", admin_up=False)
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.epoch, bind.leaving_host) == ("h2", MoveKind.DRAIN, 2, "h1")
    assert rig.role("h2", "r1") == "may succeed h1@1"
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1"
    rig.obey("h1")
    assert rig.role("h2", "r1") == "active at 1"
    assert rig.role("h3", "r1") == "may succeed h2@1"
    rig.settle("h2", "h3", "h4")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h3", "h4"]


def test_the_second_takes_over_from_both_ends_of_a_move() -> None:
    rig = four()
    rig.set_admin_up("h1", admin_up=False)
    assert rig.state("r1") == "withdrawing"
    rig.take_over("h3", "r1", tenure("h2"))
    assert binds(rig) == [("h2", MoveKind.DRAIN, 2), ("h3", MoveKind.TAKEOVER, 3)]
    assert (rig.host("r1"), rig.epoch("r1"), rig.state("r1")) == ("h3", 3, "active")


def test_the_second_takes_over_while_a_move_to_the_first_is_being_stored() -> None:
    rig = four()
    rig.answers = False
    rig.set_admin_up("h1", admin_up=False)
    rig.take_over("h3", "r1", tenure("h2"))
    assert rig.role("h3", "r1") == "active at 1"
    rig.answer(rig.unanswered[0])
    assert rig.role("h3", "r1") == "active at 1"
    rig.answer(rig.unanswered[0])
    assert (rig.host("r1"), rig.epoch("r1"), rig.state("r1")) == ("h3", 3, "active")


def test_a_target_that_restarts_on_the_way_leaves_the_router_to_the_second() -> None:
    rig = four()
    rig.set_admin_up("h1", admin_up=False)
    rig.restart_host("h2")
    assert binds(rig) == [("h2", MoveKind.DRAIN, 2), ("h3", MoveKind.DRAIN, 3)]
    rig.settle("h1", "h2", "h3", "h4")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


def test_a_target_and_the_second_that_restart_on_the_way_leave_it_where_it_was() -> None:
    rig = three()
    rig.move("r1", "h2")
    rig.restart_host("h3")
    rig.restart_host("h2")
    rig.guard("h3")
    assert binds(rig)[-1][:2] == ("h1", MoveKind.RETRY)
    assert rig.role("h1", "r1") == "active at 1"


def test_a_move_to_the_second_takes_the_right_of_the_first() -> None:
    rig = four()
    rig.move("r1", "h3")
    assert binds(rig) == []
    assert rig.role("h2", "r1") == "built"
    rig.guard("h2")
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.epoch, bind.replaces) == ("h3", MoveKind.MANUAL, 3, 1)
    rig.settle("h1", "h2", "h3", "h4")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")
    assert len(rig.standbys_of("r1")) == 2


def test_a_move_to_a_host_that_does_not_stand_by_takes_all_rights_first() -> None:
    rig = four()
    rig.move("r1", "h4")
    assert {rig.role("h2", "r1"), rig.role("h3", "r1")} == {"built"}
    assert rig.reason("r1") == "waits until h2 and h3 say that they will not succeed h1 any more"
    rig.guard("h2")
    rig.guard("h3")
    assert rig.role("h4", "r1") == "may succeed h1@1"
    for _ in range(4):
        rig.obey("h2", "h3", "h4")
    assert [each[:2] for each in binds(rig)] == [("h4", MoveKind.MANUAL)]
    rig.settle("h1", "h2", "h3", "h4")
    assert (rig.host("r1"), rig.state("r1")) == ("h4", "active")
    assert len(rig.standbys_of("r1")) == 2


@pytest.mark.parametrize("standbys", [1, 2])
def test_a_move_to_a_standby_that_is_dead_is_refused_and_the_arbiters_are_asked(standbys: int) -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5", standbys=standbys)
    rig.pass_time(160, heard=("h1", "h3", "h4", "h5"))
    rig.move("r1", "h2")
    rig.pass_time(2, heard=("h1", "h3", "h4", "h5"))
    assert any("refused" in said and "h2 is dead" in said for said in rig.explanations("r1"))
    assert tenure("h2") in {each.tenure for each in rig.all_said(AskArbiters)}


@pytest.mark.parametrize("standbys", [1, 2])
def test_a_drain_does_not_wait_for_ever_for_a_standby_that_is_dead(standbys: int) -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5", standbys=standbys)
    rig.pass_time(160, heard=("h1", "h3", "h4", "h5"))
    rig.forget()
    rig.set_admin_up("h1", admin_up=False)
    rig.bury("h1", "h3", "h4", subject=tenure("h2"))
    for _ in range(6):
        rig.settle("h1", "h3", "h4", "h5")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


# A first that cannot take it now


def building() -> StandbyRig:
    """r1 active on h1, h3 ready to succeed; h2, which is before it, builds still."""
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    rig.protect("r1")
    rig.settle("h1", "h3")
    assert rig.standbys_of("r1") == [("h2", "building"), ("h3", "ready")]
    rig.forget()
    return rig


def fenced() -> StandbyRig:
    """As `three`; h2's lease lapsed a moment ago."""
    rig = three()
    rig.fence("h2")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2", "h3"]
    return rig


UNSAID = "and does not say whether it has its connections"


def prospect(rig: StandbyRig) -> tuple[str, str | None, str]:
    (only,) = rig.planner.prospects(HostName("h1"))
    return only.kind, only.host, only.reason


@pytest.mark.parametrize("rig_of_first", [building, fenced])
def test_a_drain_goes_to_the_first_that_can_take_it_now(rig_of_first: Callable[[], StandbyRig]) -> None:
    rig = rig_of_first()
    assert prospect(rig) == ("switchover", "h3", f"h3 has it built, {UNSAID}")
    rig.set_admin_up("h1", admin_up=False)
    rig.obey("h2")
    assert binds(rig) == [("h3", MoveKind.DRAIN, 3)]
    rig.obey("h1")
    rig.settle("h3")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


def test_a_first_that_is_not_heard_is_asked_about_and_the_second_gets_the_drain() -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5")
    rig.pass_time(80, heard=("h1", "h3", "h4", "h5"))
    assert rig.standbys_of("r1") == [("h2", "silent"), ("h3", "ready")]
    assert prospect(rig) == ("switchover", "h3", f"h3 has it built, {UNSAID}")
    rig.forget()
    rig.set_admin_up("h1", admin_up=False)
    assert rig.reason("r1") == "waits until h2 says that it will not succeed h1 any more"
    rig.bury("h1", "h3", "h4", subject=tenure("h2"))
    assert binds(rig) == [("h3", MoveKind.DRAIN, 3)]


def test_where_nobody_can_take_it_now_the_first_that_suits_is_waited_for() -> None:
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    rig.protect("r1")
    rig.settle("h1")
    assert prospect(rig) == ("build", "h2", "h2 stands by for it, and builds it")
    rig.set_admin_up("h1", admin_up=False)
    assert rig.reason("r1").endswith("as soon as h2 has it built")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2", "h3"]


def test_only_the_last_of_several_standbys_is_left_and_that_one_is_fenced() -> None:
    rig = fenced()
    rig.fence("h3")
    rig.set_admin_up("h1", admin_up=False)
    assert rig.reason("r1").endswith("as soon as h2 has it built"), "either is back in a moment"
    rig.hold("h2")
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.state("r1")) == ("h2", "active")


# A first that is over, or that nobody hears

FIVE = ("h1", "h2", "h3", "h4", "h5")
LIVING = ("h1", "h3", "h4", "h5")
"""All but h2, the first."""


def missed() -> StandbyRig:
    """r1 active on h1, then h2 and h3 ready to succeed. The arbiters do not hear h2 any more."""
    rig = rig_of(*FIVE)
    rig.miss(*LIVING, subjects=[tenure("h2")])
    rig.pass_time(1, heard=LIVING)
    rig.forget()
    return rig


def buried() -> StandbyRig:
    """As `missed`; others have buried h2, and it has its time to come back."""
    rig = missed()
    died = Takeover(router_id=RouterId("another"), epoch=Epoch(2), of=tenure("h2"), times=TIMES)
    rig.guard("h4", took=(died,))
    assert rig.role("h2", "r1") == "may succeed h1@1"
    return rig


def asked(rig: StandbyRig) -> set[Tenure]:
    return {each.tenure for each in rig.all_said(AskArbiters)}


def test_what_leaves_a_host_that_stops_does_not_wait_for_a_first_that_is_buried() -> None:
    rig = buried()
    rig.guard("h1", stopping=True)
    rig.pass_time(2)
    assert binds(rig) == [("h3", MoveKind.DRAIN, 3)]
    assert not asked(rig), "it is known"


def test_what_its_host_cannot_run_has_a_first_asked_about_that_nobody_hears_and_goes_to_the_second() -> None:
    rig = missed()
    rig.failed("h1", "r1")
    rig.pass_time(2)
    assert asked(rig) == {tenure("h2")}
    rig.bury("h1", "h3", "h4", subject=tenure("h2"))
    rig.pass_time(1)
    assert binds(rig) == [("h3", MoveKind.RETRY, 3)]


def test_so_has_what_is_made_active_on_the_second() -> None:
    rig = missed()
    rig.fence("h1")
    rig.pass_time(NEWS_S + 2)
    assert asked(rig) == {tenure("h2")}
    rig.bury("h1", "h3", "h4", subject=tenure("h2"))
    rig.pass_time(1)
    assert binds(rig) == [("h3", MoveKind.RESTART, 3)]


def test_so_has_what_goes_on_to_the_third_since_the_host_that_it_went_to_is_over() -> None:
    rig = rig_of(*FIVE, standbys=3)
    rig.set_admin_up("h1", admin_up=False)
    rig.miss("h1", "h4", "h5", subjects=[tenure("h3")])
    rig.pass_time(1, heard=("h1", "h2", "h4", "h5"))
    rig.forget()
    rig.fence("h2")
    rig.pass_time(2)
    assert asked(rig) == {tenure("h3")}
    rig.bury("h1", "h4", "h5", subject=tenure("h3"))
    rig.pass_time(1)
    assert binds(rig) == [("h4", MoveKind.DRAIN, 4)]
