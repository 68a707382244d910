"""Two things fail at once while a router changes hosts: it must not stay dark for longer than there is a doubt."""

from planner_rig import facts
from standby_rig import TIMES, StandbyRig, binds, tenure, three, two

from gapless.core.effects import AskArbiters, StoreWithdrawal
from gapless.core.events import HostConfirmedOff
from gapless.core.planner.standbys import MUTE_S
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, Successor, Takeover
from gapless.model.router import RouterId

R1 = RouterId("r1")


# A takeover by a host that is deleted before that is stored


def unrecorded() -> StandbyRig:
    """h2 has taken r1 over from h1, dies before that could be stored, and is deleted; h3 is idle."""
    rig = StandbyRig("h1", "h2", "h3", "h4", "h5")
    for idle in ("h3", "h4", "h5"):
        rig.set_admin_up(idle, admin_up=False)
    rig.protect("r1")
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.standby("r1")) == ("h1", ("h2", "ready"))
    for idle in ("h3", "h4", "h5"):
        rig.set_admin_up(idle, admin_up=True)
    rig.store.is_failing = True
    rig.take_over("h2", "r1", tenure("h1"))
    rig.delete("h2")
    rig.store.is_failing = False
    rig.forget()
    return rig


def test_a_takeover_by_a_deleted_host_is_asked_about() -> None:
    rig = unrecorded()
    rig.pass_time(3, heard=("h3", "h4", "h5"))
    assert tenure("h2") in {each.tenure for each in rig.all_said(AskArbiters)}
    assert rig.reason("r1") == "h2 took over, and was deleted by an operator; asks the arbiters whether it is over"
    assert binds(rig) == [], "it may forward there"


def test_it_is_bound_elsewhere_once_that_host_is_buried() -> None:
    rig = unrecorded()
    rig.restart_host("h1")
    rig.bury("h1", "h3", subject=tenure("h2"))
    rig.pass_time(1, heard=("h1", "h3", "h4", "h5"))
    rig.settle("h1", "h3", "h4", "h5")
    assert (rig.host("r1"), rig.state("r1"), rig.role("h1", "r1")) == ("h1", "active", "active at 2")


def test_or_once_an_operator_confirms_that_it_is_off() -> None:
    rig = unrecorded()
    up_to = rig.planner.highest(HostName("h2"))
    assert up_to == 1
    rig.confirm_off(HostName("h2"), up_to)
    rig.handle(HostConfirmedOff(id="word", host=HostName("h2"), incarnation=up_to))
    assert rig.role("h2", "r1") == "nothing"
    rig.pass_time(200, heard=("h3", "h4", "h5"))
    rig.settle("h3", "h4", "h5")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


def test_a_deleted_host_that_connects_again_keeps_what_it_took_over() -> None:
    rig = unrecorded()
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.guard("h2")
    rig.pass_time(3, heard=("h2", "h3", "h4", "h5"))
    assert (rig.host("r1"), binds(rig)) == ("h2", [("h2", MoveKind.TAKEOVER)])


# The host that a router goes to is over before it has it


def ranked(*, draining: bool, answers: bool = True) -> StandbyRig:
    """r1 leaves h1 for h2, which is over before h1 has closed it; h3 may succeed both. `answers`: the store, from then
    on.
    """
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    rig.protect("r1")
    for _ in range(4):
        rig.settle("h1", "h2", "h3")
        rig.pass_time(1)
    assert rig.standbys_of("r1") == [("h2", "ready"), ("h3", "ready")]
    rig.forget()
    if draining:
        rig.set_admin_up("h1", admin_up=False)
    else:
        rig.move("r1", "h2")
    rig.answers = answers
    rig.restart_host("h2")
    return rig


def test_what_is_open_still_stays_so_while_it_is_being_stored_that_it_stays() -> None:
    rig = two()
    rig.move("r1", "h2")
    assert rig.role("h1", "r1") == "built"
    rig.answers = False
    rig.restart_host("h2")
    assert (rig.role("h1", "r1"), rig.duty("h1", "r1").epoch) == ("active at 1", 1)
    rig.answer(rig.unanswered[0])
    assert (rig.host("r1"), rig.role("h1", "r1"), rig.duty("h1", "r1").epoch) == ("h1", "active at 1", 3)


def test_nobody_is_told_to_release_it_to_a_host_that_is_over_when_that_is_stored() -> None:
    rig = two()
    rig.answers = False
    rig.move("r1", "h2")
    rig.restart_host("h2")
    rig.forget()
    rig.answer(rig.unanswered[0])
    assert (rig.host("r1"), rig.role("h1", "r1")) == ("h2", "active at 1")
    rig.answers = True
    rig.answer(rig.unanswered[0])
    assert binds(rig) == [("h1", MoveKind.RETRY)]


def test_what_is_closed_is_not_opened_again_before_it_is_bound_again() -> None:
    """Its host may have said so to others; only a higher epoch is above its word."""
    rig = two()
    rig.move("r1", "h2")
    rig.answers = False
    rig.obey("h1")
    rig.restart_host("h2")
    assert rig.role("h1", "r1") == "built"


def test_a_drain_goes_on_to_the_second_and_nobody_closes_it_in_between() -> None:
    rig = ranked(draining=True)
    assert binds(rig) == [("h2", MoveKind.DRAIN), ("h3", MoveKind.DRAIN)]
    guarded = rig.duty("h1", "r1").guarded
    assert guarded is not None
    assert guarded.release == Successor(tenure=tenure("h3"), epoch=Epoch(3))
    rig.obey("h1")
    rig.settle("h2", "h3")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


def test_what_goes_on_is_waited_for_at_the_incarnation_of_the_host_that_has_it() -> None:
    """And not at that of the host that it did not reach."""
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    for _ in range(3):
        rig.restart_host("h1")
    rig.protect("r1")
    for _ in range(4):
        rig.settle("h1", "h2", "h3")
        rig.pass_time(1)
    assert (rig.host("r1"), rig.role("h3", "r1")) == ("h1", "may succeed h1@4 and h2@1")
    rig.set_admin_up("h1", admin_up=False)
    rig.restart_host("h2")
    assert (rig.host("r1"), rig.role("h3", "r1")) == ("h3", "may succeed h1@4")
    guarded = rig.duty("h1", "r1").guarded
    assert guarded is not None
    assert (guarded.incarnation, guarded.release) == (4, Successor(tenure=tenure("h3"), epoch=Epoch(3)))


def test_an_operator_s_move_stays_and_the_second_hears_first_that_it_may_not_succeed() -> None:
    rig = ranked(draining=False)
    assert (rig.role("h1", "r1"), rig.role("h3", "r1")) == ("active at 1", "built")
    rig.guard("h3")
    assert binds(rig) == [("h2", MoveKind.MANUAL), ("h1", MoveKind.RETRY)]
    rig.settle("h1", "h2", "h3")
    rig.pass_time(3)
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.state("r1"), len(rig.standbys_of("r1"))) == ("h1", "active", 2)


def test_a_second_that_took_over_from_both_unheard_is_where_it_is() -> None:
    """It used its right before it heard that it must not."""
    rig = ranked(draining=False)
    rig.open["h3"][R1] = Epoch(3)
    rig.guard("h3", took=(Takeover(router_id=R1, epoch=Epoch(3), of=tenure("h1"), times=TIMES),))
    assert rig.role("h3", "r1") == "active at 1"
    assert rig.host("r1") == "h3"


def test_it_stays_where_it_is_open_even_if_a_new_controller_hears_of_no_agent_there() -> None:
    """Only its guard is left to say that it is there, and that is enough: it forwards, and is to be covered again."""
    rig = three()
    rig.lose_agents("it ends again and again", "h1")
    rig.move("r1", "h2")
    rig.restart()
    for host in ("h1", "h3"):
        rig.connect(facts(host, lease_address=f"{host}:9698"))
        rig.guard(host)
    assert (rig.host("r1"), rig.state("r1"), rig.open["h1"]) == ("h2", "withdrawing", {R1: 1})
    rig.forget()
    rig.restart_host("h2")
    assert binds(rig) == [("h1", MoveKind.RETRY)]
    assert rig.role("h1", "r1") == "active at 1"
    rig.settle("h1", "h2", "h3")
    rig.pass_time(1)
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.standby("r1")[1]) == ("h1", "ready")


# The host that a router went to is over after the other one has closed it


def closed(*, draining: bool = True) -> StandbyRig:
    """r1 left h1, which has closed it, for h2, which is not heard to have opened it. r2 is on h2, and there is no other
    host.
    """
    rig = two()
    rig.set_admin_up("h1", admin_up=False)
    rig.protect("r2")
    rig.set_admin_up("h1", admin_up=True)
    rig.move("r1", "h1")
    rig.settle("h1", "h2")
    assert [(rig.host(each), rig.standby(each)) for each in ("r1", "r2")] == [
        ("h1", ("h2", "ready")),
        ("h2", ("h1", "ready")),
    ]
    if draining:
        rig.set_admin_up("h1", admin_up=False)
    else:
        rig.move("r1", "h2")
    rig.obey("h1")
    assert (rig.host("r1"), rig.role("h2", "r1")) == ("h2", "active at 1")
    rig.forget()
    return rig


def test_it_goes_back_as_soon_as_that_is_known_even_to_a_host_out_of_service() -> None:
    rig = closed()
    assert rig.role("h1", "r1") == "built", "it is kept until its new host has said that it has it open"
    epoch = rig.epoch("r1")
    rig.take_over("h1", "r2", tenure("h2"))
    assert ("h1", MoveKind.RESTART) in binds(rig)
    assert (rig.host("r1"), rig.role("h1", "r1"), rig.epoch("r1")) == ("h1", "active at 1", epoch + 1)


def test_it_is_removed_there_once_it_has_arrived() -> None:
    rig = closed()
    rig.settle("h1", "h2")
    assert (rig.state("r1"), rig.role("h1", "r1")) == ("active", "nothing")


def test_a_new_host_that_does_not_answer_is_asked_about() -> None:
    rig = closed()
    rig.pass_time(MUTE_S - 1)
    assert rig.all_said(AskArbiters) == []
    rig.pass_time(2)
    assert {each.tenure for each in rig.all_said(AskArbiters)} == {tenure("h2")}
    rig.bury("h1", subject=tenure("h2"))
    rig.obey("h1")
    assert (rig.host("r1"), rig.state("r1")) == ("h1", "active")


def test_a_new_host_that_answers_is_not_asked_about() -> None:
    rig = closed()
    rig.guard("h2")
    rig.pass_time(20, heard=("h1", "h2"))
    assert rig.all_said(AskArbiters) == []


def test_in_service_it_stands_by_at_once_and_takes_it_back_by_itself() -> None:
    rig = closed(draining=False)
    assert rig.role("h1", "r1") == "may succeed h2@1"


def building_elsewhere() -> StandbyRig:
    """As `closed`, and h3 builds r1 to stand by for it."""
    rig = closed()
    rig.join("h3")
    assert (rig.role("h3", "r1"), rig.role("h1", "r1")) == ("may succeed h2@1", "built")
    return rig


def test_a_standby_that_has_to_build_gives_way_to_the_host_that_has_it() -> None:
    rig = building_elsewhere()
    rig.take_over("h1", "r2", tenure("h2"))
    assert rig.role("h3", "r1") == "built"
    rig.guard("h3")
    assert (rig.host("r1"), rig.role("h1", "r1")) == ("h1", "active at 1")


def test_the_host_that_has_it_is_not_needed_any_more_once_it_has_arrived_and_has_standbys() -> None:
    rig = building_elsewhere()
    rig.settle("h1", "h2", "h3")
    assert (rig.standby("r1"), rig.role("h1", "r1")) == (("h3", "ready"), "nothing")


# An opening that failed is tried again, so that it is not open proves nothing of a plan that gives it


def test_what_stays_is_not_closed_for_good_if_it_is_not_open_for_a_moment() -> None:
    rig = ranked(draining=False)
    assert rig.role("h1", "r1") == "active at 1"
    rig.open["h1"] = {}
    rig.guard("h1")
    assert rig.all_said(StoreWithdrawal) == []
    assert (rig.state("r1"), rig.role("h1", "r1")) == ("withdrawing", "active at 1")


def test_what_goes_on_is_closed_when_the_plan_that_takes_it_is_acknowledged() -> None:
    rig = ranked(draining=True, answers=False)
    kept = rig.planner.plan_version(HostName("h1"))
    rig.answer(rig.unanswered[0])
    assert rig.planner.plan_version(HostName("h1")) > kept
    rig.open["h1"] = {}
    rig.guard("h1", version=kept)
    assert [each for each in rig.unanswered if isinstance(each, StoreWithdrawal)] == []
    rig.guard("h1")
    assert [each.leaving_host for each in rig.unanswered if isinstance(each, StoreWithdrawal)] == ["h1"]
