"""Many routers that their hosts cannot run: a host is left that is the cause; what is common to hosts moves a few."""

from itertools import pairwise

from planner_rig import ACTIVE, FAILED, REMOVED, Rig
from standby_rig import StandbyRig

from gapless.core.effects import Bind, ReportCommonCause
from gapless.core.ledger.trials import FEW
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, RouterReport
from gapless.model.router import RouterId

WHY = "nft: too many elements"
HOSTS = ("h1", "h2", "h3")


def names(count: int) -> list[str]:
    return [f"r{number:03d}" for number in range(count)]


def loaded(count: int) -> Rig:
    """So many routers on h1, which was the first host."""
    rig = Rig("h1")
    rig.want(*names(count))
    for host in HOSTS[1:]:
        rig.join(host)
    rig.forget()
    return rig


def break_all(rig: Rig, host: str, why: str = WHY) -> None:
    for router_id in rig.plan(host):
        rig.say(host, router_id, FAILED, why)


def arrive(rig: Rig, *, well: bool, why: str = WHY) -> int:
    """What was bound anew is gone from where it was, and well or broken where it goes; how many these are."""
    moves = rig.all_said(Bind)
    for each in moves:
        rig.say(each.previous_host or "", each.router_id, REMOVED)
        rig.say(each.host, each.router_id, ACTIVE if well else FAILED, "" if well else why)
    rig.forget()
    return len(moves)


def damped_s(rig: Rig, router_id: str) -> float | None:
    return rig.planner.router_views()[RouterId(router_id)].damped_s


def test_a_host_that_is_the_cause_is_left_in_a_few_steps() -> None:
    rig = loaded(100)
    break_all(rig, "h1")
    steps = []
    while moved := arrive(rig, well=True):
        steps.append(moved)
        rig.pass_time(3, heard=HOSTS)
    assert steps == [4, 16, 64, 16]
    assert not rig.plan("h1")
    assert not rig.all_said(ReportCommonCause)


def test_a_common_cause_moves_a_few_and_the_others_say_so() -> None:
    rig = loaded(100)
    break_all(rig, "h1")
    assert rig.reason("r050") == (
        f"h1 cannot run it ({WHY}) and goes on trying; others were moved for the same reason, and it is not known "
        "whether that helps; it follows when one of them is well elsewhere, or 10 minutes after the last"
    )
    assert arrive(rig, well=False) == FEW
    rig.pass_time(500, heard=HOSTS)
    assert not rig.all_said(Bind)
    assert [each.reason for each in rig.all_said(ReportCommonCause)] == [
        f"4 routers were moved because their hosts could not run them ({WHY}), and none of them is well elsewhere: the "
        "cause may be a common one, so 96 more stay, for 10 minutes at most"
    ]
    assert damped_s(rig, "r050") == 100
    assert sorted(rig.planner.router_dampings()) == ["cause"] * 96 + ["reason"] * FEW


def test_what_one_report_names_finds_no_more_room_than_what_many_name() -> None:
    rig = loaded(20)
    epochs = rig.plan("h1").items()
    failed = [RouterReport(router_id=RouterId(each), epoch=Epoch(at), state=FAILED, reason=WHY) for each, at in epochs]
    rig.report("h1", *failed)
    assert len(rig.all_said(Bind)) == FEW


def test_after_a_pause_a_few_are_tried_again_and_the_next_pause_is_longer() -> None:
    rig = loaded(30)
    break_all(rig, "h1")
    times = []
    for _ in range(4):
        times.append(rig.now)
        assert arrive(rig, well=False) == FEW
        while not rig.all_said(Bind):
            rig.pass_time(10, heard=HOSTS)
    assert [later - earlier for earlier, later in pairwise(times)] == [600, 1200, 2400]


def test_what_recovers_where_it_is_needs_no_move() -> None:
    rig = loaded(20)
    break_all(rig, "h1")
    arrive(rig, well=False)
    for router_id in rig.plan("h1"):
        rig.say("h1", router_id, ACTIVE)
    rig.pass_time(700, heard=HOSTS)
    assert not [each for each in rig.all_said(Bind) if each.previous_host == "h1"]
    assert "cause" not in list(rig.planner.router_dampings())


def test_others_follow_once_moving_helps_after_all() -> None:
    rig = loaded(24)
    break_all(rig, "h1")
    assert arrive(rig, well=False) == FEW
    rig.pass_time(600, heard=HOSTS)
    assert arrive(rig, well=True) == FEW
    rig.pass_time(3, heard=HOSTS)
    assert len(rig.all_said(Bind)) == FEW * FEW


def test_failures_without_a_reason_and_for_other_reasons_do_not_wait() -> None:
    rig = loaded(30)
    for number, router_id in enumerate(names(30)):
        if number < 10:
            rig.say("h1", router_id, FAILED, WHY)
        elif number < 20:
            rig.say("h1", router_id, FAILED)
        elif number < 24:
            rig.say("h1", router_id, FAILED, f"create tap{number}-{number}: no memory")
    assert len(rig.all_said(Bind)) == FEW + 10 + 4


def test_hosts_on_which_it_did_not_help_come_last() -> None:
    rig = Rig("h1")
    rig.want(*names(9))
    rig.join("h2")
    rig.forget()
    break_all(rig, "h1")
    assert arrive(rig, well=False) == FEW
    rig.join("h3")
    rig.pass_time(1, heard=HOSTS)
    for router_id in rig.plan("h2"):
        rig.say("h2", router_id, ACTIVE)
    rig.want(*(f"x{number}" for number in range(9)))
    assert len(rig.plan("h3")) >= len(rig.plan("h2"))
    rig.forget()
    rig.pass_time(40, heard=HOSTS)
    moved = [each for each in rig.all_said(Bind) if each.previous_host == "h1"]
    assert [each.host for each in moved] == ["h3"] * FEW, "a new host is tried soon"


def test_what_could_not_be_stored_was_no_try() -> None:
    rig = loaded(20)
    rig.store.is_failing = True
    break_all(rig, "h1")
    rig.store.is_failing = False
    rig.forget()
    rig.pass_time(10, heard=HOSTS)
    assert len({each.router_id for each in rig.all_said(Bind)}) >= FEW


def test_a_dead_hosts_routers_wait_for_nothing() -> None:
    rig = loaded(20)
    break_all(rig, "h1")
    arrive(rig, well=False)
    rig.pass_time(160, heard=("h2", "h3"))
    moved = [each.kind for each in rig.all_said(Bind) if each.previous_host == "h1"]
    assert moved == [MoveKind.RESCHEDULE] * (20 - FEW)


def test_who_stays_leaves_a_host_that_is_drained_a_few_at_a_time() -> None:
    rig = loaded(20)
    break_all(rig, "h1")
    arrive(rig, well=False)
    rig.pass_time(5, heard=HOSTS)
    rig.set_admin_up("h1", False)
    assert [each.kind for each in rig.all_said(Bind)] == [MoveKind.DRAIN] * 4


def test_a_router_that_breaks_slowly_wherever_it_is_stays_and_says_for_how_long() -> None:
    rig = Rig("h1", "h2")
    rig.want("r1")
    for _ in range(3):
        rig.pass_time(100, heard=("h1", "h2"))
        home = rig.host("r1") or ""
        rig.say(home, "r1", FAILED, WHY)
        assert rig.host("r1") != home
        rig.say(home, "r1", REMOVED)
        rig.say(rig.host("r1") or "", "r1", ACTIVE)
    rig.pass_time(100, heard=("h1", "h2"))
    home = rig.host("r1") or ""
    rig.forget()
    rig.say(home, "r1", FAILED, WHY)
    assert rig.reason("r1") == (
        f"{home} cannot run it ({WHY}) and goes on trying; it was moved again and again for that, so it is not moved "
        "on within 10 minutes of the last time"
    )
    assert damped_s(rig, "r1") == 500
    assert list(rig.planner.router_dampings()) == ["moves"]
    rig.pass_time(499, heard=("h1", "h2"))
    assert not rig.all_said(Bind)
    rig.pass_time(2, heard=("h1", "h2"))
    assert [each.kind for each in rig.all_said(Bind)] == [MoveKind.RETRY]
    assert damped_s(rig, "r1") is None


def guarded(count: int) -> StandbyRig:
    """So many on h1, which h2 and h3 stand by for."""
    rig = StandbyRig("h1")
    rig.protect(*names(count))
    rig.settle("h1")
    for host in HOSTS[1:]:
        rig.join(host)
    for _ in range(12):
        rig.pass_time(5, heard=HOSTS)
        rig.settle(*HOSTS)
    assert all(rig.standby(each)[1] == "ready" for each in names(count))
    rig.forget()
    return rig


def test_guarded_routers_follow_as_well_though_their_standbys_are_ready() -> None:
    rig = guarded(20)
    for router_id in names(20):
        rig.failed("h1", router_id)
    assert len(rig.all_said(Bind)) == FEW
    for each in rig.all_said(Bind):
        del rig.open["h1"][each.router_id]
    rig.guard("h1")
    rig.settle("h2", "h3")
    rig.pass_time(3, heard=("h2", "h3"))
    assert len(rig.all_said(Bind)) == 20, "each of the four that are well makes room for four"


def test_the_standby_of_a_router_that_stays_is_replaced_if_it_is_over_and_not_if_it_fails_too() -> None:
    rig = guarded(9)
    for router_id in names(9):
        rig.failed("h1", router_id)
    stays = [each for each in names(9) if rig.host(each) == "h1"]
    standby = {each: rig.standby(each)[0] or "" for each in stays}
    for router_id in stays:
        rig.failed(standby[router_id], router_id)
    rig.pass_time(5, heard=HOSTS)
    assert {each: rig.standby(each)[0] for each in stays} == standby
    lost = next(each for each in stays if standby[each] == "h2")
    rig.set_admin_up("h2", False)
    rig.settle("h3")
    rig.settle("h2")
    rig.settle("h3")
    assert rig.standby(lost)[0] == "h3"
    assert HostName("h1") == rig.host(lost)
