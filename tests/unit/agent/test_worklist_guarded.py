"""Guarded routers in the agent's worklist: roles that build nothing, and what waits while their host takes over."""

from dataclasses import replace

import pytest
from kernel_in_memory import planned
from worklist_rig import RIGHT, TIMES, Bench, name

from gapless.agent.hold import MOST_S
from gapless.agent.jobs import Done, Failed, Job
from gapless.agent.removals import LINGER_S
from gapless.agent.worklist import REST
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Role, Successor
from gapless.model.router import RouterId

OF = Tenure(HostName("active"), Incarnation(4))
BUILT_ONLY = Guarded(role=Role.STANDBY, incarnation=Incarnation(2))
MAY_SUCCEED = replace(BUILT_ONLY, after=(OF,))
ACTIVE_HERE = Guarded(role=Role.ACTIVE, incarnation=Incarnation(2))
RELEASED = replace(BUILT_ONLY, release=Successor(tenure=Tenure(HostName("next"), Incarnation(7)), epoch=Epoch(2)))


def guarded(role: Guarded | None, epoch: int = 1, content: str = "") -> PlannedRouter:
    return replace(planned("r", epoch, content), guarded=role)


def standing(role: Guarded | None = BUILT_ONLY) -> Bench:
    """A router that was built, and said to be."""
    bench = Bench()
    bench.plan(guarded(role))
    assert bench.work_off() == ["plan r", "sweep"]
    assert bench.said() == ["r@1 active", "full"]
    return bench


@pytest.mark.parametrize("role", [MAY_SUCCEED, ACTIVE_HERE])
def test_another_role_of_a_guarded_router_builds_nothing_and_is_said_at_its_epoch(role: Guarded) -> None:
    bench = standing()
    bench.plan(guarded(role, epoch=2))
    assert bench.jobs() == []
    assert bench.said() == ["r@2 active"]


def test_routers_that_forward_here_are_built_before_standbys() -> None:
    bench = Bench()
    standbys = [replace(planned(each), guarded=BUILT_ONLY) for each in ("s1", "s2", "s3")]
    bench.plan(*standbys, planned("classic"), replace(planned("open"), guarded=ACTIVE_HERE))
    (first,) = bench.jobs(1)
    bench.end(first, Failed(reason="no"))
    bench.plan(standbys[0], replace(standbys[1], epoch=Epoch(2)), replace(standbys[2], guarded=ACTIVE_HERE))
    assert name(first) == "plan classic"
    assert bench.work_off() == ["remove classic", "plan s3", "plan s1", "plan s2", "sweep"]


def test_a_retry_of_a_router_that_forwards_here_comes_before_standbys() -> None:
    bench = Bench()
    bench.plan(planned("classic"), *(replace(planned(each), guarded=BUILT_ONLY) for each in ("s1", "s2")))
    classic, s1 = bench.jobs(2)
    bench.end(classic, Failed(reason="no"))
    bench.end(s1, after_s=1)
    assert bench.work_off() == ["plan classic", "plan s2", "sweep"]


def test_after_a_change_of_role_the_next_one_and_a_change_of_content_are_told_apart() -> None:
    bench = standing()
    bench.plan(guarded(MAY_SUCCEED, epoch=2))
    bench.plan(guarded(ACTIVE_HERE, epoch=2))
    assert bench.jobs() == []
    bench.plan(guarded(ACTIVE_HERE, epoch=2, content="new"))
    assert bench.work_off() == ["plan r"]


def test_a_role_with_new_content_is_built() -> None:
    bench = standing()
    bench.plan(guarded(ACTIVE_HERE, epoch=2, content="new"))
    assert bench.work_off() == ["plan r"]
    assert bench.said() == ["r@2 active"]


@pytest.mark.parametrize(("was", "now"), [(None, ACTIVE_HERE), (ACTIVE_HERE, None)])
def test_a_router_that_comes_under_the_guard_or_leaves_it_is_looked_at(
    was: Guarded | None, now: Guarded | None
) -> None:
    """Its taps belong into another group."""
    bench = standing(was)
    bench.plan(guarded(now))
    assert bench.work_off() == ["plan r"]


def test_a_role_that_comes_while_it_is_built_is_no_proof_that_it_was() -> None:
    bench = Bench()
    bench.plan(guarded(BUILT_ONLY))
    (build,) = bench.jobs()
    bench.plan(guarded(ACTIVE_HERE, epoch=2))
    assert bench.said() == ["r@1 building", "full"]
    bench.end(build)
    assert "r@2 active" not in bench.said(), "nobody has looked at it for this plan"
    assert bench.work_off(RIGHT) == ["plan r", "sweep"]
    assert bench.said() == ["r@2 active"]


def looked_at(bench: Bench) -> Job:
    bench.now += REST.settled_s
    bench.hear("r")
    (look,) = bench.jobs()
    return look


def test_a_look_during_which_only_the_role_changed_is_one_for_the_new_role() -> None:
    bench = standing()
    look = looked_at(bench)
    bench.plan(guarded(ACTIVE_HERE, epoch=2))
    bench.end(look, RIGHT)
    assert bench.said() == ["r@2 active"]
    assert bench.jobs() == []
    assert name(looked_at(bench)) == "drift r", "and hints are followed"


def test_a_look_that_fails_while_the_role_changes_is_tried_again() -> None:
    bench = standing()
    look = looked_at(bench)
    bench.plan(guarded(ACTIVE_HERE, epoch=2))
    bench.end(look, Failed(reason="no memory"))
    assert bench.jobs() == []
    due = bench.worklist.next_deadline()
    assert due is not None
    bench.now = due
    assert bench.work_off(RIGHT) == ["drift r"]


def test_a_look_is_nothing_to_a_plan_with_new_content() -> None:
    bench = standing()
    look = looked_at(bench)
    bench.plan(guarded(ACTIVE_HERE, epoch=2, content="new"))
    bench.end(look, RIGHT)
    assert bench.work_off() == ["plan r"]


def test_a_role_does_not_make_a_router_right_that_failed() -> None:
    bench = Bench()
    bench.plan(guarded(BUILT_ONLY))
    (build,) = bench.jobs()
    bench.end(build, Failed(reason="no memory"))
    bench.plan(guarded(MAY_SUCCEED, epoch=2))
    assert bench.work_off() == ["plan r", "sweep"]


def in_role(name: str, role: Role) -> PlannedRouter:
    return replace(planned(name), guarded=Guarded(role=role, incarnation=Incarnation(1)))


def test_while_this_host_takes_over_nothing_begins_that_can_wait() -> None:
    bench = Bench("old")
    bench.worklist.hold(bench.now, unbuilt=[])
    bench.plan(planned("new"), in_role("standby", Role.STANDBY))
    assert bench.jobs() == []
    assert bench.worklist.next_deadline() == bench.now + MOST_S
    bench.now += 0.25
    bench.worklist.hold(bench.now, unbuilt=None)
    assert bench.work_off() == ["remove old", "plan new", "plan standby", "sweep"]
    assert "building and removing waited for 250 ms while this host took over" in [
        line.text for line in bench.worklist.take_lines()
    ]


def test_what_was_opened_before_it_was_built_is_built_meanwhile_and_before_everything_else() -> None:
    bench = Bench("old")
    bench.plan(in_role("standby", Role.STANDBY), in_role("other", Role.STANDBY))
    bench.worklist.hold(bench.now, unbuilt=[])
    bench.worklist.hold(bench.now, unbuilt=[RouterId("standby")])
    assert bench.work_off() == ["plan standby"]
    bench.worklist.hold(bench.now, unbuilt=None)
    assert bench.work_off() == ["remove old", "plan other", "sweep"]


def test_what_was_open_for_a_moment_waits_with_standbys_again() -> None:
    bench, standby = Bench(), in_role("standby", Role.STANDBY)
    bench.plan(standby)
    bench.worklist.hold(bench.now, unbuilt=[RouterId("standby")])
    bench.worklist.hold(bench.now, unbuilt=None)
    bench.plan(standby, in_role("active", Role.ACTIVE))
    assert bench.work_off() == ["plan active", "plan standby", "sweep"]


def test_what_is_not_open_any_more_waits_with_standbys_while_the_takeover_goes_on() -> None:
    bench, standby = Bench(), in_role("standby", Role.STANDBY)
    bench.plan(standby)
    bench.worklist.hold(bench.now, unbuilt=[RouterId("standby")])
    bench.worklist.hold(bench.now, unbuilt=[])
    bench.plan(standby, in_role("active", Role.ACTIVE))
    bench.now += MOST_S
    assert bench.work_off() == ["plan active", "plan standby", "sweep"]


def test_repairs_of_what_forwards_go_on_meanwhile_and_those_of_standbys_wait() -> None:
    bench = Bench()
    bench.plan(planned("classic"), in_role("active", Role.ACTIVE), in_role("standby", Role.STANDBY))
    bench.work_off()
    bench.now += REST.settled_s
    bench.worklist.hold(bench.now, unbuilt=[])
    for each in ("classic", "active", "standby"):
        bench.hear(each)
    assert bench.work_off(RIGHT) == ["drift classic", "drift active"]
    bench.worklist.hold(bench.now, unbuilt=None)
    assert bench.work_off(RIGHT) == ["drift standby"]


def test_without_another_word_work_goes_on_after_a_while() -> None:
    """The beat died in the middle of its takeover."""
    bench = Bench()
    bench.worklist.hold(bench.now, unbuilt=[])
    bench.plan(planned("new"))
    assert bench.jobs() == []
    assert bench.worklist.next_deadline() == bench.now + MOST_S
    bench.now += MOST_S
    assert bench.work_off() == ["plan new", "sweep"]
    assert (bench.worklist.next_deadline() or bench.now) >= bench.now


def test_a_hold_that_held_nothing_is_not_worth_a_line() -> None:
    bench = Bench()
    bench.worklist.hold(bench.now, unbuilt=[])
    bench.jobs()
    bench.worklist.hold(bench.now, unbuilt=None)
    assert bench.worklist.take_lines() == []


def guarded_as_said(bench: Bench) -> list[bool]:
    report = bench.worklist.take_report()
    return [] if report is None else [each.guarded for each in report.routers]


def test_that_taps_are_guarded_is_said_when_they_were_seen_so_and_taken_back_before_they_change() -> None:
    bench = Bench()
    bench.plan(planned("r"))
    bench.work_off()
    assert guarded_as_said(bench) == [False]
    bench.plan(in_role("r", Role.ACTIVE))
    assert guarded_as_said(bench) == [], "a plan alone guards nothing"
    bench.work_off(Done(changed=True))
    assert guarded_as_said(bench) == [True]
    bench.plan(planned("r"))
    assert guarded_as_said(bench) == [False]
    bench.plan(in_role("r", Role.ACTIVE))
    (job,) = bench.jobs()
    bench.end(job, Failed(reason="device busy"))
    assert guarded_as_said(bench) == [False]


def test_a_repair_that_fails_takes_back_nothing_that_was_said_of_its_guard() -> None:
    bench = Bench()
    bench.plan(in_role("r", Role.ACTIVE))
    bench.work_off()
    assert guarded_as_said(bench) == [True]
    bench.now += 10
    bench.hear("r")
    (job,) = bench.jobs()
    bench.end(job, Failed(reason="device busy"))
    report = bench.worklist.take_report()
    assert report is not None
    assert [(it.guarded, it.ailment) for it in report.routers] == [(True, "it could not be repaired yet: device busy")]


def leaving() -> PlannedRouter:
    """Another router, which is handed over."""
    return replace(planned("s"), guarded=RELEASED)


def handed_over() -> Bench:
    """Of two routers one is gone, and the other is still being handed over."""
    bench = Bench()
    bench.plan(guarded(ACTIVE_HERE), replace(planned("s"), guarded=ACTIVE_HERE))
    bench.work_off()
    bench.said()
    bench.plan(guarded(RELEASED), leaving())
    bench.plan(leaving())
    assert bench.work_off() == [], "a sweep neither: what serves the router may go with it"
    return bench


def test_what_is_left_of_a_router_waits_until_no_more_is_handed_over() -> None:
    bench = handed_over()
    bench.plan()
    assert bench.work_off() == []
    deadline = bench.worklist.next_deadline()
    assert deadline == bench.now + LINGER_S
    bench.now = deadline
    assert bench.work_off() == ["remove r s", "sweep"]
    assert bench.said() == ["r@1 removed", "s@1 removed"]


def test_what_is_left_of_a_router_is_not_built_anew_when_it_comes_back() -> None:
    bench = handed_over()
    bench.plan(guarded(BUILT_ONLY, epoch=2), leaving())
    assert bench.work_off(RIGHT) == ["plan r"]
    bench.plan(guarded(BUILT_ONLY, epoch=2))
    bench.now += LINGER_S
    assert bench.work_off() == ["remove s", "sweep"]


def test_what_is_left_of_a_router_waits_no_more_when_something_is_to_be_built() -> None:
    bench = handed_over()
    bench.plan(leaving(), replace(planned("new"), guarded=BUILT_ONLY))
    assert bench.work_off() == ["remove r", "plan new", "sweep"]


def test_what_is_left_of_a_router_waits_no_more_when_a_hint_says_that_it_changed() -> None:
    bench = handed_over()
    bench.hear("r")
    assert bench.work_off() == ["remove r", "sweep"]


def test_what_was_to_forward_is_removed_at_once_while_others_are_handed_over() -> None:
    """Whether the guard keeps it dark, or had it by then, or it is deleted, or somebody waits for its end."""
    bench = Bench("found")
    active = [replace(planned(each), guarded=ACTIVE_HERE) for each in ("deleted", "uncovered")]
    bench.plan(planned("classic"), planned("found"), leaving(), *active)
    bench.work_off()
    bench.plan(leaving(), active[0], planned("uncovered"))
    assert bench.work_off() == ["remove found classic", "plan uncovered", "sweep"]
    bench.plan(leaving(), active[0], active[1])
    (covering,) = bench.jobs()
    bench.plan(leaving())
    bench.end(covering)
    assert bench.work_off() == ["remove deleted uncovered", "sweep"]


def test_a_standby_that_is_looked_at_for_another_content_is_not_known_to_be_dark() -> None:
    bench = standing()
    bench.plan(guarded(BUILT_ONLY, content="new"), leaving())
    jobs = bench.jobs()
    bench.plan(leaving())
    for job in jobs:
        bench.end(job)
    assert bench.work_off() == ["remove r", "plan s", "sweep"]


def test_before_its_first_report_an_agent_removes_at_once() -> None:
    bench = handed_over()
    bench.plan(leaving(), confirmed=False)
    bench.plan(leaving())
    assert bench.work_off(RIGHT) == ["remove r", "sweep"]
    assert bench.said()[-1] == "full"


def announced(bench: Bench) -> list[str]:
    """What is to be announced by the beat, by the next report."""
    report = bench.worklist.take_report()
    return [] if report is None else list(report.unannounced)


NEW, REPAIRED = Done(changed=True, times=TIMES, what="AddAddress"), Done(changed=True, what="LoadRules")


@pytest.mark.parametrize("role", [BUILT_ONLY, ACTIVE_HERE])
def test_that_something_of_a_guarded_router_is_new_is_said_each_time_though_it_is_active_as_before(
    role: Guarded,
) -> None:
    """As a floating IP that it was given. Nothing else is said of it."""
    bench = Bench()
    bench.plan(guarded(role))
    bench.work_off(NEW)
    assert announced(bench) == ["r"]
    for content in ("one", "two"):
        bench.plan(guarded(role, content=content))
        bench.work_off(NEW)
        report = bench.worklist.take_report()
        assert report is not None
        assert (report.routers, report.unannounced) == ((), ("r",))
    bench.hear("r")
    assert bench.work_off(NEW) == ["drift r"]
    assert announced(bench) == ["r"]
    bench.plan(guarded(role, content="three"))
    bench.work_off(REPAIRED)
    assert announced(bench) == [], "nothing of it is new outside"


def test_a_router_without_a_guard_is_announced_by_who_built_it() -> None:
    bench = Bench()
    bench.plan(planned("r"))
    bench.work_off(NEW)
    assert announced(bench) == []


def test_what_is_new_is_said_also_where_the_work_failed_or_was_superseded() -> None:
    bench = standing(ACTIVE_HERE)
    bench.plan(guarded(ACTIVE_HERE, content="one"))
    (job,) = bench.jobs()
    bench.plan(guarded(ACTIVE_HERE, content="two"))
    bench.end(job, NEW)
    assert announced(bench) == ["r"]
    bench.work_off(Failed(reason="no"))
    assert announced(bench) == []
    bench.now += 1
    bench.work_off(REPAIRED)
    assert announced(bench) == ["r"], "before it failed, it may have been at work"
