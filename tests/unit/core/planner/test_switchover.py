"""A planned move of a guarded router, whose old host releases it to the new one, as the planner hears of it."""

from dataclasses import replace

import pytest
from planner_rig import needs
from standby_rig import StandbyRig, tenure

from gapless.core.effects import Bind, StoreWithdrawal
from gapless.core.events import RouterWanted
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep, Successor, Takeover, TakeoverTimes
from gapless.model.router import FailoverMode, RouterId

R1, R2 = RouterId("r1"), RouterId("r2")
TIMES = TakeoverTimes(buried_ms=0, opened_ms=0.8, told_ms=6)
WHOLE = TakeoverTimes(buried_ms=0, opened_ms=0.8, announced_ms=1.5, forwarded_ms=3, told_ms=20)


def two() -> StandbyRig:
    """r1 and r2 active on h1, h2 ready to succeed both."""
    rig = StandbyRig("h1", "h2")
    rig.set_admin_up("h2", admin_up=False)
    rig.protect("r1", "r2")
    rig.settle("h1")
    rig.set_admin_up("h2", admin_up=True)
    rig.pass_time(3)
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.host("r2")) == ("h1", "h1")
    assert (rig.standby("r1"), rig.standby("r2")) == (("h2", "ready"), ("h2", "ready"))
    rig.forget()
    return rig


def released(rig: StandbyRig, router: RouterId = R1, *, times: TakeoverTimes = TIMES, says: bool = True) -> None:
    """h1 has closed it and said so to h2, which has opened it and says so, with the story or without."""
    epoch = rig.duty("h2", router).epoch
    rig.open["h2"][router] = epoch
    rig.released["h2"].add(router)
    took = Takeover(router_id=router, epoch=epoch, of=tenure("h1"), times=times, is_released=True)
    rig.guard("h2", took=(took,) if says else ())


def test_the_old_host_is_told_to_whom_it_releases_a_router() -> None:
    rig = two()
    rig.move("r1", "h2")
    guarded = rig.duty("h1", "r1").guarded
    assert guarded is not None
    assert guarded.incarnation == 1
    assert guarded.release == Successor(tenure=tenure("h2"), epoch=Epoch(2))
    assert rig.role("h2", "r1") == "may succeed h1@1", "which it could before, so it need not hear of anything"


def test_the_new_host_s_word_is_enough_and_nobody_is_over_by_it() -> None:
    rig = two()
    rig.move("r1", "h2")
    released(rig)
    (withdrawal,) = rig.all_said(StoreWithdrawal)
    assert withdrawal.reason == "h1 has closed it"
    assert (rig.host("r1"), rig.state("r1"), rig.role("h2", "r1")) == ("h2", "active", "active at 1")
    assert rig.role("h1", "r2") == "active at 1", "the other router is where it was"
    assert rig.role("h1", "r1") == "may succeed h2@1", "it has it built, and stands by from now on"
    assert [each.kind for each in rig.all_said(Bind)] == [MoveKind.MANUAL]


def test_what_is_open_is_enough_where_the_story_was_told_to_a_controller_that_is_gone() -> None:
    rig = two()
    rig.move("r1", "h2")
    released(rig, says=False)
    assert (rig.host("r1"), rig.role("h2", "r1"), rig.role("h1", "r2")) == ("h2", "active at 1", "active at 1")


def test_no_plan_that_knows_of_it_undoes_it_stored_or_not() -> None:
    rig = two()
    rig.move("r1", "h2")
    rig.answers = False
    released(rig)
    assert rig.state("r1") == "withdrawing", "that h1 has let go of it is being stored"
    assert rig.role("h2", "r1") == "active at 1"
    assert rig.planner.heard(HostName("h2"), rig.sessions["h2"]) == rig.numbers["h2"]
    rig.answer(rig.unanswered[0])
    assert (rig.state("r1"), rig.role("h2", "r1")) == ("active", "active at 1")


def test_the_old_host_s_word_is_enough_as_well() -> None:
    """The datagram was lost; so the new host hears from the controller."""
    rig = two()
    rig.move("r1", "h2")
    rig.obey("h1")
    assert rig.role("h2", "r1") == "active at 1"
    rig.settle("h2")
    assert rig.state("r1") == "active"


def test_a_controller_that_starts_in_between_asks_for_the_same() -> None:
    rig = two()
    rig.answers = True
    rig.move("r1", "h2")
    before = rig.duty("h1", "r1")
    rig.restart()
    assert rig.duty("h1", "r1") == before


def test_the_steps_of_a_switchover_are_recorded_in_their_order() -> None:
    rig = two()
    rig.move("r1", "h2")
    released(rig)
    rig.now += 0.014
    released(rig, times=WHOLE)
    steps = rig.steps("r1", 2)
    assert {MoveStep.WITHDRAWN, MoveStep.OPENED, MoveStep.ANNOUNCED, MoveStep.FORWARDED} <= steps.keys()
    assert not {MoveStep.MISSED, MoveStep.SILENT, MoveStep.BURIED} & steps.keys()
    assert round(steps[MoveStep.WITHDRAWN] * 1000, 1) == 6, "when the new host heard of it"
    assert round(steps[MoveStep.OPENED] * 1000, 1) == 5.2
    assert round(steps[MoveStep.FORWARDED] * 1000, 1) == 17
    rig.forget()
    released(rig, times=WHOLE)
    assert rig.steps("r1", 2) == {}, "told again, and recorded once"


@pytest.mark.parametrize("later_s", [0.002, 0.1, 1.0])
def test_where_the_old_host_s_word_came_first_the_new_one_s_steps_count_from_that(later_s: float) -> None:
    """However long the second word was on its way: that is no time without traffic."""
    rig = two()
    rig.move("r1", "h2")
    rig.obey("h1")
    rig.now += later_s
    released(rig, times=WHOLE)
    steps = {step: round((later_s - ago_s) * 1000, 1) for step, ago_s in rig.steps("r1", 2).items()}
    assert steps[MoveStep.OPENED] == 0.8
    assert steps[MoveStep.ANNOUNCED] == 1.5
    assert steps[MoveStep.FORWARDED] == min(3, later_s * 1000), "not in the future"


def test_a_release_that_was_lost_and_said_again_is_in_the_new_host_s_count() -> None:
    """The first word of it was; the second says for how long the router has been closed."""
    rig = two()
    rig.move("r1", "h2")
    rig.obey("h1")
    rig.now += 1.2
    released(rig, times=TakeoverTimes(buried_ms=0, opened_ms=1000.9, told_ms=1006))
    assert round((1.2 - rig.steps("r1", 2)[MoveStep.OPENED]) * 1000, 1) == 1000.9


def test_a_story_that_is_told_again_and_was_quicker_changes_nothing() -> None:
    """Hosts say it with each report until a plan says that it was heard; each has a way of its own behind it."""
    rig = two()
    rig.move("r1", "h2")
    rig.answers = False
    released(rig, times=replace(WHOLE, told_ms=6))
    opened_at = rig.now - rig.steps("r1", 2)[MoveStep.OPENED]
    rig.now += 0.02
    released(rig, times=replace(WHOLE, told_ms=66))  # 40 ms less on its way than the first
    rig.answers = True
    rig.answer(rig.unanswered[0])
    withdrawn_at = rig.now - rig.steps("r1", 2)[MoveStep.WITHDRAWN]
    assert round((opened_at - withdrawn_at) * 1000, 3) == 0.8


def test_a_release_that_a_store_from_an_old_copy_knows_nothing_of_buries_nobody() -> None:
    """The binding is the one from before the move, and h2 has the router open by its right: h1 lives, and runs r2."""
    rig = two()
    released(rig)
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.reason) == ("h2", MoveKind.TAKEOVER, "h2 took over router r1: h1@1 released it")
    assert (rig.role("h2", "r1"), rig.role("h1", "r2"), rig.host("r2")) == ("active at 1", "active at 1", "h1")


def test_a_host_that_dies_before_it_releases_is_succeeded_as_ever() -> None:
    rig = two()
    rig.move("r1", "h2")
    rig.take_over("h2", "r1", tenure("h1"))
    assert (rig.host("r1"), rig.role("h2", "r1")) == ("h2", "active at 1")
    rig.take_over("h2", "r2", tenure("h1"))
    assert rig.host("r2") == "h2"


def test_a_router_that_becomes_classic_meanwhile_arrives_all_the_same() -> None:
    rig = two()
    rig.move("r1", "h2")
    asked = needs("r1", FailoverMode.RESCHEDULE)
    rig.store.needs[asked.router_id] = asked
    rig.handle(RouterWanted(id="mode", needs=asked))
    released(rig)
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.planner.plan_of(HostName("h2"))[R1].guarded) == ("h2", None)


def test_a_right_that_ends_meanwhile_takes_no_release_out_of_the_old_host_s_plan() -> None:
    """Else the old host would close the router, say so to nobody, and take it apart."""
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    rig.protect("r1")
    for _ in range(4):
        rig.pass_time(5, heard=())
        rig.settle("h1", "h2", "h3")
    (first, _), (second, _) = rig.standbys_of("r1")
    home = str(rig.host("r1"))
    rig.move("r1", first)
    to = rig.duty(home, "r1").guarded
    assert to is not None
    assert to.release is not None
    rig.restart_host(second)
    rig.guard(second)
    assert [host for host, _ in rig.standbys_of("r1")] == []
    assert rig.duty(home, "r1").guarded == to
