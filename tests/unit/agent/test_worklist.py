"""What the agent works on next, told as transcripts: what came in, which jobs went out, what was said."""

from dataclasses import replace

import pytest
from kernel_in_memory import planned
from worklist_rig import BUILT, RIGHT, TIMES, Bench, name

from gapless.agent.jobs import SWEPT_AT_ONCE, Done, Failed, Reconcile, Remove, Removed, Sweep, Why
from gapless.agent.removals import REMOVED_AT_ONCE
from gapless.agent.sweeps import SWEPT_BESIDE_TRAFFIC
from gapless.model.host import Incarnation
from gapless.model.plan import Guarded, PlannedRouter, Role
from gapless.model.router import RouterId

STANDBY = Guarded(role=Role.STANDBY, incarnation=Incarnation(1))
MORE_IS_LEFT = Done(changed=True, more_is_left=True)


def test_removals_come_strictly_before_builds() -> None:
    bench = Bench(*(f"old{number:03}" for number in range(REMOVED_AT_ONCE + 2)))
    bench.plan(planned("new1"), planned("new2"))
    (first,) = bench.jobs()
    assert isinstance(first, Remove)
    assert len(first.router_ids) == REMOVED_AT_ONCE
    bench.end(first)
    (second,) = bench.jobs()
    assert name(second) == "remove old032 old033"
    assert bench.jobs() == [], "a build began while a removal was at work"
    bench.end(second)
    assert bench.work_off() == ["plan new1", "plan new2", "sweep"]


def test_of_routers_that_are_removed_together_one_that_fails_holds_up_no_other() -> None:
    bench = Bench("a", "b", "c")
    bench.plan(planned("new"))
    (removal,) = bench.jobs()
    bench.end(removal, Removed(left={RouterId("b"): "device busy"}))
    assert bench.said() == ["a@0 removed", "b@0 failed", "c@0 removed", "full"]
    assert bench.work_off() == ["plan new", "sweep"]
    bench.now += 1
    assert bench.work_off(Removed()) == ["remove b", "sweep"]
    assert "b@0 removed" in bench.said()


def test_what_was_said_in_the_order_of_a_returning_host() -> None:
    bench = Bench("old", "mine")
    bench.plan(planned("mine"), planned("new"))
    (removal,) = bench.jobs()
    assert bench.said() == [], "the first word on this plan"
    bench.end(removal)
    assert bench.said() == ["old@0 removed"]
    build, adoption = bench.jobs()
    assert [name(build), name(adoption)] == ["plan new", "plan mine"], "what nobody forwards for goes first"
    assert bench.said() == ["new@1 building"]
    bench.end(adoption, RIGHT)
    assert bench.said() == ["mine@1 active", "new@1 building", "full"]
    bench.end(build)
    report = bench.worklist.take_report()
    assert report is not None
    assert [(each.router_id, each.times) for each in report.routers] == [("new", TIMES)]


def test_a_removal_that_fails_holds_up_nobody_and_is_tried_again() -> None:
    bench = Bench("stuck")
    bench.plan(planned("new"))
    (removal,) = bench.jobs()
    bench.end(removal, Failed(reason="device busy"))
    assert bench.work_off() == ["plan new", "sweep"]
    report = bench.worklist.take_report()
    assert report is not None
    assert report.full, "it is named, so the controller is not told that it is gone"
    by_id = {each.router_id: each for each in report.routers}
    assert by_id[RouterId("stuck")].state == "failed"
    assert "device busy" in by_id[RouterId("stuck")].reason
    assert bench.worklist.next_deadline() == bench.now + 1
    bench.plan(planned("new"), planned("new2"))
    assert bench.work_off() == ["plan new2"], "a newer plan does not make the failed removal a barrier again"
    bench.now += 1
    assert bench.work_off() == ["remove stuck", "sweep"]
    assert bench.said()[-1] == "stuck@0 removed"


def test_a_router_that_leaves_while_it_is_built_is_removed_after_that_and_before_other_builds() -> None:
    bench = Bench()
    bench.plan(planned("a", epoch=3))
    (build,) = bench.jobs()
    bench.plan(planned("b"))
    assert bench.jobs() == [], "one router's work runs in sequence, and removals are a barrier"
    bench.end(build)
    assert bench.work_off() == ["remove a", "plan b", "sweep"]
    assert bench.said() == ["a@3 removed", "b@1 active", "full"], "what the superseded build achieved is told to nobody"


def test_a_router_that_leaves_before_it_was_begun_is_removed_at_once() -> None:
    bench = Bench()
    bench.plan(planned("a", epoch=3), planned("b"))
    bench.plan(planned("b"))
    assert "a@3 removed" in bench.said()
    assert bench.work_off() == ["plan b", "sweep"]


def test_a_newer_plan_supersedes_work_in_progress() -> None:
    bench = Bench()
    bench.plan(planned("a", epoch=1))
    (build,) = bench.jobs()
    bench.plan(planned("a", epoch=2, name="other"))
    assert bench.jobs() == []
    bench.end(build)
    assert bench.said() == ["a@1 building"]
    (again,) = bench.jobs(1)
    assert isinstance(again, Reconcile)
    assert again.planned == planned("a", epoch=2, name="other")
    bench.end(again)
    assert "a@2 active" in bench.said()


def test_a_superseded_failure_is_told_to_nobody() -> None:
    bench = Bench()
    bench.plan(planned("a", epoch=1))
    (build,) = bench.jobs()
    bench.plan(planned("a", epoch=2))
    bench.end(build, Failed(reason="too late"))
    assert not any("failed" in each for each in bench.said())
    assert bench.work_off()[0] == "plan a"


def test_a_router_that_comes_back_while_it_is_removed_is_built_after_that() -> None:
    bench = Bench("a")
    bench.plan()
    (removal,) = bench.jobs()
    bench.plan(planned("a", epoch=5))
    assert bench.jobs() == []
    bench.end(removal)
    assert bench.work_off()[0] == "plan a"
    assert "a@5 active" in bench.said()


@pytest.mark.parametrize("is_tried", [False, True], ids=["nothing was removed", "its removal failed"])
def test_of_a_router_that_comes_back_it_is_said_how_it_is_found_then(is_tried: bool) -> None:
    """It is as it was, and the controller believed nothing of it while it was in no plan."""
    bench = Bench()
    bench.plan(planned("a", epoch=3))
    bench.work_off()
    bench.worklist.take_report()
    bench.plan()
    if is_tried:
        (removal,) = bench.jobs()
        bench.end(removal, Failed(reason="device busy"))
        assert bench.said() == ["a@3 failed"]
    bench.plan(planned("a", epoch=3))
    assert bench.said() == [], "that it could not be removed is over"
    assert "plan a" in bench.work_off(RIGHT)
    assert bench.said() == ["a@3 active"]


def test_an_unconfirmed_plan_adopts_and_repairs_and_nothing_else() -> None:
    bench = Bench("mine", "stranger")
    bench.plan(planned("mine"), planned("absent"), confirmed=False)
    assert bench.work_off(RIGHT) == ["plan mine"]
    assert bench.said() == ["mine@1 active"], "not full: nothing is known of the rest"
    bench.now += 10
    bench.hear("mine")
    assert bench.work_off() == ["drift mine"]
    bench.plan(planned("mine"), planned("absent"))
    assert bench.work_off() == ["remove stranger", "plan absent", "sweep"]
    assert bench.said()[-1] == "full"


def test_doubt_stops_what_was_not_begun() -> None:
    bench = Bench("old")
    bench.plan(planned("a"), planned("b"))
    (removal,) = bench.jobs()
    bench.end(removal)
    (build,) = bench.jobs(1)
    bench.plan(planned("a"), planned("b"), confirmed=False)
    bench.end(build, Failed(reason="no"))
    bench.now += 100
    assert bench.work_off() == [], "neither b, nor another try of a: both may run elsewhere by now"
    bench.plan(planned("a"), planned("b"))
    assert sorted(bench.work_off()) == ["plan a", "plan b", "sweep"]


def test_doubt_keeps_right_what_ran_even_when_its_namespace_goes() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    bench.work_off()
    bench.plan(planned("a"), confirmed=False)
    bench.worklist.take_running(frozenset())
    assert bench.work_off() == ["drift a"]


def test_a_failed_build_stays_failed_until_it_succeeds() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    waits = []
    assert bench.jobs(1)
    bench.end(Reconcile(planned=planned("a"), why=Why.PLAN, asked_at=bench.now), Failed(reason="no memory"))
    assert "a@1 failed" in bench.said()
    for _ in range(4):
        due = bench.worklist.next_deadline()
        assert due is not None
        waits.append(due - bench.now)
        bench.now = due
        job = next(job for job in bench.jobs() if isinstance(job, Reconcile))
        assert bench.said() == [], "BUILDING again would flap"
        bench.end(job, Failed(reason="no memory"))
    assert waits == [1, 2, 4, 8]
    bench.now += 8
    bench.work_off()
    assert bench.said() == ["a@1 active"]


def test_a_newer_plan_does_not_wait_for_the_back_off() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    bench.work_off(Failed(reason="no"))
    bench.plan(planned("a", name="corrected"))
    assert bench.work_off() == ["plan a"]


def test_the_same_plan_again_changes_no_back_off_and_looks_at_nothing() -> None:
    bench = Bench()
    bench.plan(planned("a"), planned("b"))
    build, other = bench.jobs()
    bench.end(build, Failed(reason="no"))
    bench.end(other)
    bench.plan(planned("a"), planned("b"))
    assert bench.work_off() == ["sweep"]


def test_a_plan_asks_for_nothing_of_a_router_that_it_does_not_name_anew() -> None:
    """It is being built, and that is enough."""
    bench, a = Bench(), planned("a")
    bench.plan(a)
    (job,) = bench.jobs()
    bench.plan(a, planned("b"))
    bench.end(job)
    assert bench.work_off() == ["plan b", "sweep"]


def test_a_router_that_a_later_plan_does_not_name_goes_and_its_networks_are_swept() -> None:
    bench, a, b = Bench(), planned("a"), planned("b")
    bench.plan(a, b)
    bench.work_off()
    bench.plan(a)
    assert bench.work_off() == ["remove b", "sweep"]
    bench.plan(a)
    assert bench.work_off() == []


def test_nothing_runs_beside_a_sweep_and_a_network_that_goes_is_swept() -> None:
    bench = Bench()
    bench.plan(planned("a", network="n1"), planned("b", network="n2"))
    bench.work_off()
    bench.plan(planned("a", network="n1"), planned("b", network="n1"))
    (change,) = bench.jobs()
    assert name(change) == "plan b"
    bench.end(change)
    (sweep,) = bench.jobs()
    assert isinstance(sweep, Sweep)
    assert [network.id for network in sweep.keep] == ["n1"]
    bench.plan(planned("a", network="n1"), planned("b", network="n3"))
    assert bench.jobs() == []
    bench.end(sweep)
    assert bench.work_off()[0] == "plan b"


def test_what_came_up_goes_between_two_portions_of_a_sweep() -> None:
    bench = Bench()
    bench.plan(planned("a"), planned("b"))
    for build in bench.jobs():
        bench.end(build)
    (portion,) = bench.jobs()
    bench.hear("a")
    assert bench.jobs() == []
    bench.end(portion, MORE_IS_LEFT)
    (repair,) = bench.jobs()
    assert name(repair) == "drift a"
    bench.end(repair)
    (portion,) = bench.jobs()
    bench.plan(planned("a", network="n1"))
    bench.end(portion, MORE_IS_LEFT)
    for due in ("remove b", "plan a", "sweep"):
        (job,) = bench.jobs()
        assert name(job) == due
        bench.end(job)
    assert isinstance(job, Sweep)
    assert [network.id for network in job.keep] == ["n1"], "what is needed since then is kept"
    assert not job.is_first, "the last portion of what was listed before b went"
    (again,) = bench.jobs()
    assert isinstance(again, Sweep)
    assert again.is_first
    bench.end(again)
    assert bench.jobs() == []


@pytest.mark.parametrize("forwards", [True, False])
def test_beside_traffic_a_sweep_rests_nine_times_as_long_as_its_portion_took(forwards: bool) -> None:
    role = Guarded(role=Role.ACTIVE if forwards else Role.STANDBY, incarnation=Incarnation(1))
    bench = Bench("gone")
    bench.plan(replace(planned("stays"), guarded=role))
    jobs = ["remove gone", "plan stays"]
    assert [name(job) for job in bench.jobs(1) if bench.end(job) is None] == jobs[:1]
    assert [name(job) for job in bench.jobs(1) if bench.end(job) is None] == jobs[1:]
    (portion,) = bench.jobs()
    assert isinstance(portion, Sweep)
    bench.end(portion, Done(more_is_left=True), after_s=0.1)
    if forwards:
        assert bench.jobs() == []
        due = bench.worklist.next_deadline()
        assert due == pytest.approx(bench.now + 0.9)
        bench.now = due or bench.now
    assert [type(job) for job in bench.jobs()] == [Sweep]


def test_a_takeover_stops_a_sweep_between_two_portions() -> None:
    bench = Bench()
    bench.plan()
    (portion,) = bench.jobs()
    bench.worklist.hold(bench.now, unbuilt=())
    bench.end(portion, MORE_IS_LEFT)
    assert bench.jobs() == []
    bench.worklist.hold(bench.now, unbuilt=None)
    assert bench.work_off() == ["sweep"]


@pytest.mark.parametrize(
    ("stays", "most"),
    [
        (planned("a"), SWEPT_BESIDE_TRAFFIC),
        (replace(planned("a"), guarded=STANDBY), SWEPT_AT_ONCE),
        (None, SWEPT_AT_ONCE),
    ],
)
def test_where_a_router_forwards_a_portion_of_a_sweep_is_small(stays: PlannedRouter | None, most: int) -> None:
    bench = Bench("old")
    bench.plan(*([stays] if stays is not None else []))
    sweeps = []
    while jobs := bench.jobs(1):
        sweeps += [job for job in jobs if isinstance(job, Sweep)]
        bench.end(jobs[0])
    assert [sweep.most for sweep in sweeps] == [most]


def test_what_is_removed_at_a_later_try_is_swept_as_well() -> None:
    """When it was listed what goes, its taps were in its bridges."""
    bench = Bench("busy", "gone")
    bench.plan(planned("a"))
    (removal,) = bench.jobs(1)
    bench.end(removal, Removed(left={RouterId("busy"): "busy"}))
    assert name(bench.jobs(1)[0]) == "plan a"
    bench.end(Reconcile(planned=planned("a"), why=Why.PLAN, asked_at=bench.now))
    (sweep,) = bench.jobs()
    assert isinstance(sweep, Sweep)
    bench.end(sweep, MORE_IS_LEFT)
    bench.now += 1
    (retry,) = bench.jobs()
    assert name(retry) == "remove busy"
    bench.end(retry, Removed())
    portions = []
    while jobs := bench.jobs():
        portions += jobs
        bench.end(jobs[0], Done(more_is_left=len(portions) == 1))
    assert [portion.is_first for portion in portions if isinstance(portion, Sweep)] == [False, False, True]


def test_stray_ends_are_looked_for_once_a_sweep() -> None:
    bench = Bench()
    bench.plan(planned("a"), planned("b"))
    for build in bench.jobs():
        bench.end(build)
    firsts = []
    for result in (MORE_IS_LEFT, MORE_IS_LEFT, BUILT):
        (portion,) = bench.jobs()
        assert isinstance(portion, Sweep)
        firsts.append(portion.is_first)
        bench.end(portion, result)
    bench.plan(planned("a"))
    (removal,) = bench.jobs()
    bench.end(removal)
    (portion,) = bench.jobs()
    assert isinstance(portion, Sweep)
    assert [*firsts, portion.is_first] == [True, False, False, True]


def test_a_sweep_that_fails_is_one_line() -> None:
    bench = Bench()
    bench.plan()
    (sweep,) = bench.jobs()
    bench.worklist.take_lines()
    bench.end(sweep, Failed(reason="busy"))
    (line,) = bench.worklist.take_lines()
    assert line.is_warning
    assert "busy" in line.text
    assert bench.jobs() == []


def test_removals_and_adoptions_are_told_in_one_line_each() -> None:
    bench = Bench("old1", "old2", "mine")
    bench.plan(planned("mine"))
    bench.work_off(RIGHT)
    bench.said()
    texts = [line.text for line in bench.worklist.take_lines()]
    assert texts == [
        "removed 2 routers no longer this host's: old1, old2",
        "adopted 1 router; nothing had to be changed",
    ]


def test_of_many_that_were_removed_the_first_are_named() -> None:
    bench = Bench(*(f"old{number:04}" for number in range(1000)))
    bench.plan()
    bench.work_off(RIGHT)
    (line,) = bench.worklist.take_lines()
    named = "old0000, old0001, old0002, old0003, old0004"
    assert line.text == f"removed 1,000 routers no longer this host's: {named} and 995 more"


def test_a_report_is_made_even_when_only_the_revision_is_new() -> None:
    bench = Bench()
    bench.plan()
    bench.said()
    bench.plan()
    report = bench.worklist.take_report()
    assert report is not None
    assert (report.revision, report.routers) == (2, ())
    assert bench.worklist.take_report() is None


@pytest.mark.parametrize("moved_back", [2, 3])
def test_an_adopted_router_is_active_at_the_epoch_of_the_newest_plan(moved_back: int) -> None:
    bench = Bench("a")
    bench.plan(planned("a", epoch=1), confirmed=False)
    bench.work_off(RIGHT)
    assert bench.said() == ["a@1 active"]
    bench.plan(planned("a", epoch=moved_back))
    assert bench.work_off(RIGHT) == ["plan a", "sweep"]
    assert bench.said() == [f"a@{moved_back} active", "full"]
