"""What drifted, was hinted at or failed: when the agent looks at it again, and when it gives it up."""

from dataclasses import replace

from kernel_in_memory import planned
from worklist_rig import BUILT, RIGHT, TIMES, Bench, name

from gapless.agent.jobs import Done, Failed, Remove, Removed
from gapless.agent.queues import IN_A_ROW
from gapless.agent.removals import REMOVED_AT_ONCE
from gapless.agent.worklist import PATIENT_TRIES, REST
from gapless.model.host import Incarnation
from gapless.model.plan import Guarded, Role
from gapless.model.router import RouterId

ACTIVE = Guarded(role=Role.ACTIVE, incarnation=Incarnation(1))
STANDBY = Guarded(role=Role.STANDBY, incarnation=Incarnation(1))


def test_drift_and_plans_take_turns_and_overtake_audits() -> None:
    bench = Bench()
    bench.plan(planned("a"), planned("b"), planned("c"))
    bench.work_off()
    bench.now += 1000
    bench.hear("a")
    bench.hear("b")
    bench.plan(planned("a"), planned("b"), planned("c"), planned("d"), planned("e"))
    assert bench.work_off(RIGHT) == ["drift a", "plan d", "drift b", "plan e", "audit c"]


def test_a_hundred_active_ones_that_broke_at_once_are_mended_before_standbys_are_mended_or_built() -> None:
    active = [f"active{number:03}" for number in range(100)]
    idle = [replace(planned(f"idle{number}"), guarded=STANDBY) for number in range(4)]
    bench = Bench()
    bench.plan(*idle[:3], *map(planned, active))
    bench.work_off()
    bench.now += 10
    bench.plan(*idle, *map(planned, active))
    for router_id in (*(each.router.id for each in idle[:3]), *active):
        bench.hear(router_id)
    names = bench.work_off(replace(RIGHT, looked_at=bench.now))
    first, second, third, last = [at for at, each in enumerate(names) if "idle" in each]
    assert (second - first, third - second, last) == (IN_A_ROW + 1, IN_A_ROW + 1, len(names) - 1)
    assert [each for each in names if "active" in each] == [f"drift {each}" for each in active]


def test_one_that_becomes_active_while_it_waits_to_be_mended_waits_with_the_active_ones() -> None:
    idle = [replace(planned(name), guarded=STANDBY) for name in ("a", "b")]
    bench = Bench()
    bench.plan(*idle)
    bench.work_off()
    bench.now += 10
    bench.hear("a")
    bench.hear("b")
    bench.plan(idle[0], replace(idle[1], guarded=ACTIVE))
    assert bench.work_off(replace(RIGHT, looked_at=bench.now)) == ["drift b", "drift a"]


def test_when_something_was_missed_the_active_ones_are_looked_at_first() -> None:
    bench = Bench()
    bench.plan(replace(planned("a"), guarded=STANDBY), planned("b"))
    bench.work_off()
    bench.now += 10
    bench.hear()
    looks = []
    while len(looks) < 2:
        (job,) = bench.jobs()
        bench.end(job, RIGHT, after_s=0.01)
        looks.append(name(job))
        bench.now += 0.01
    assert looks == ["audit b", "audit a"]


def test_repairs_of_what_forwards_here_take_turns_with_removals_and_all_else_waits() -> None:
    old = [f"old{number:03}" for number in range(3 * REMOVED_AT_ONCE)]
    mine = [planned("a"), planned("b"), replace(planned("standby"), guarded=STANDBY)]
    bench = Bench(*old)
    bench.plan(*mine, *map(planned, old))
    bench.work_off(RIGHT)
    bench.plan(*mine, planned("new"))
    (portion,) = bench.jobs()
    for router_id in ("standby", "a", "b"):
        bench.hear(router_id)
    (repair,) = bench.jobs(1)
    assert name(repair) == "drift a", "beside the portion that is at work"
    bench.end(portion)
    names = [name(job).split()[:2] for job in bench.jobs()]
    assert names == [["remove", "old032"], ["drift", "b"]], "and neither the standby nor the new one"


def test_a_removal_leaves_a_worker_to_repairs() -> None:
    old = [f"old{number:03}" for number in range(3 * REMOVED_AT_ONCE)]
    bench = Bench("a", *old)
    bench.plan(planned("a"), *map(planned, old))
    bench.work_off(RIGHT)
    bench.plan(planned("a"))
    (removal,) = bench.jobs()
    assert isinstance(removal, Remove)
    bench.hear("a")
    assert [name(job) for job in bench.jobs()] == ["drift a"]


def test_what_could_not_be_removed_is_tried_again_beside_no_other_removal() -> None:
    bench = Bench("x", "y")
    bench.plan(planned("a"), planned("b"))
    (removal,) = bench.jobs()
    bench.end(removal, Removed(left={RouterId("x"): "busy", RouterId("y"): "busy"}))
    bench.work_off()
    bench.now += 1
    (again,) = bench.jobs()
    assert name(again) == "remove x"
    bench.plan(planned("a"))
    assert bench.jobs() == []
    bench.end(again, Removed())
    assert bench.work_off() == ["remove y b", "sweep"]


def test_while_only_an_end_can_bring_a_job_none_is_asked_for_before() -> None:
    """Who is told to ask at once, and gets none, asks all the time."""
    bench = Bench("old")
    bench.plan(planned("a"), planned("old"))
    bench.work_off(RIGHT)
    bench.now += 1000
    (audit,) = bench.jobs()
    assert bench.worklist.next_deadline() is None
    bench.end(audit, RIGHT)
    bench.now += 1000
    bench.plan(planned("a"))
    (removal,) = bench.jobs()
    assert bench.worklist.next_deadline() is None, "an audit is due, and waits for the removal"
    bench.end(removal)
    (sweep,) = bench.jobs()
    assert bench.worklist.next_deadline() is None, "nothing runs beside a sweep"
    bench.end(sweep)
    bench.hear("a")
    (repair,) = bench.jobs()
    assert name(repair) == "drift a"
    assert bench.worklist.next_deadline() is None, "the router whose turn it is is looked at"
    bench.end(repair, RIGHT)
    assert bench.worklist.next_deadline() is not None


def test_a_storm_of_repairs_ends_before_a_sweep_begins_and_nothing_runs_beside_it() -> None:
    bench = Bench("old")
    bench.plan(planned("a"), planned("old"))
    bench.work_off(RIGHT)
    bench.plan(planned("a"))
    bench.hear("a")
    removal, repair = bench.jobs()
    assert [name(removal), name(repair)] == ["remove old", "drift a"]
    bench.end(removal)
    assert bench.jobs() == [], "a sweep takes away what a repair may need"
    bench.end(repair)
    (sweep,) = bench.jobs()
    bench.now += 10
    bench.hear("a")
    assert bench.jobs() == []
    bench.end(sweep)
    assert bench.work_off() == ["drift a"]


def test_audits_take_turns_one_at_a_time() -> None:
    bench = Bench()
    bench.plan(planned("a"), planned("b"))
    bench.work_off()
    audited = []
    for _ in range(4):
        due = bench.worklist.next_deadline()
        assert due is not None
        bench.now = max(bench.now, due)
        (job,) = bench.jobs()
        audited.append(name(job))
        assert bench.worklist.next_deadline() is None, "no second audit beside the first"
        bench.end(job, RIGHT)
    assert audited == ["audit a", "audit b", "audit a", "audit b"]


def test_an_audit_that_found_drift_says_so_once_and_reports_no_build() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    bench.work_off()
    bench.said()
    bench.worklist.take_lines()
    bench.now += 1000
    (audit,) = bench.jobs()
    bench.end(audit, Done(changed=True, times=TIMES, what="added route 10.0.0.0/8"))
    (line,) = bench.worklist.take_lines()
    assert (line.text, line.fields["what"]) == ("router repaired in place", "added route 10.0.0.0/8")
    assert bench.said() == [], "it is active as before; nobody needs to hear times of a build"


def test_a_router_that_cannot_be_kept_right_fails_and_recovers() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    bench.work_off()
    bench.said()
    bench.worklist.take_lines()
    bench.now += 1000
    (job,) = bench.jobs()
    waits = []
    for _ in range(PATIENT_TRIES):
        bench.end(job, Failed(reason="the uplink is gone"))
        news = ["a@1 active"] if not waits else []
        assert bench.said() == news, "it may forward still: one failure is no reason to move it"
        (line,) = bench.worklist.take_lines()
        assert line.fields["reason"] == "the uplink is gone"
        due = bench.worklist.next_deadline()
        assert due is not None
        waits.append(due - bench.now)
        bench.now = due
        (job,) = bench.jobs()
        assert name(job) == "drift a"
    assert waits == [1, 2]
    bench.end(job, Failed(reason="the uplink is gone"))
    assert bench.said() == ["a@1 failed"]
    bench.now += 4
    assert bench.work_off() == ["drift a"]
    assert bench.said() == ["a@1 active"]


def test_a_failure_that_passes_makes_it_degraded_for_a_while_and_the_patience_is_whole_again() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    bench.work_off()
    bench.said()
    for _ in range(3):
        bench.now += 1000
        bench.work_off(Failed(reason="busy"))
        assert bench.ailments() == ["it could not be repaired yet: busy"]
        bench.now += 1
        assert bench.work_off(RIGHT) == ["drift a"]
        assert bench.ailments() == [""]


def test_a_change_of_an_active_router_that_fails_is_tried_again_before_it_is_told() -> None:
    bench = Bench()
    bench.plan(planned("a", epoch=1))
    bench.work_off()
    bench.said()
    bench.plan(planned("a", epoch=2, name="changed"))
    said = []
    for wait_s in (0, 1, 2):
        bench.now += wait_s
        assert bench.work_off(Failed(reason="no"))[0] == "plan a"
        said.append([each for each in bench.said() if "failed" in each])
    assert said == [[], [], ["a@2 failed"]]
    bench.plan(planned("a", epoch=3))
    bench.work_off(Failed(reason="no"))
    assert "a@3 failed" in bench.said(), "given up once, it is not active any more: the next failure is told at once"


def test_a_router_that_was_found_is_not_given_up_at_once_either() -> None:
    bench = Bench("a")
    bench.plan(planned("a"))
    bench.work_off(Failed(reason="no"))
    assert "a@1 failed" not in bench.said()


def test_what_drifted_while_no_agent_looked_is_told_as_a_repair() -> None:
    bench = Bench("a")
    bench.plan(planned("a"), confirmed=False)
    assert bench.work_off(Done(changed=True, what="LoadRules")) == ["plan a"]
    (line,) = bench.worklist.take_lines()
    assert (line.text, line.is_warning, line.fields["what"]) == ("router repaired in place", True, "LoadRules")
    bench.plan(planned("a", name="changed"))
    bench.work_off(Done(changed=True, what="LoadRules"))
    assert [line.text for line in bench.worklist.take_lines()] == ["router changed as planned"]


def test_a_change_that_comes_before_the_first_look_is_told_as_one() -> None:
    bench = Bench("a")
    bench.plan(planned("a"), confirmed=False)
    bench.plan(planned("a", name="changed"))
    bench.work_off(Done(changed=True, what="LoadRules"))
    assert [line.text for line in bench.worklist.take_lines()] == ["router changed as planned"]


def test_a_hint_that_was_heard_before_the_last_look_is_answered() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    (build,) = bench.jobs()
    bench.hear("a")
    bench.end(build, replace(BUILT, looked_at=bench.now + 0.01), after_s=0.02)
    assert bench.work_off() == ["sweep"], "what it did itself it has heard, and looked again"
    bench.hear("a", ago_s=0.015)
    assert bench.work_off() == [], "the hint was late, not what it tells of"
    bench.hear("a")
    assert bench.work_off(RIGHT) == ["drift a"]


def test_a_hint_that_was_heard_during_the_last_look_leads_to_another() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    (build,) = bench.jobs()
    bench.now += 0.02
    bench.hear("a")
    bench.end(build, replace(BUILT, looked_at=bench.now - 0.01))
    assert bench.work_off(replace(RIGHT, looked_at=bench.now)) == ["drift a", "sweep"]


def test_looks_at_a_router_that_somebody_fights_over_become_rare_and_peace_ends_that() -> None:
    bench = Bench()
    bench.plan(planned("a"), planned("b"))
    bench.work_off()
    waits = []
    for _ in range(8):
        bench.now += 0.001
        bench.hear("a")
        bench.hear("b") if not waits else None
        due = bench.worklist.next_deadline()
        assert due is not None
        waits.append(max(0.0, round(due - bench.now, 3)))
        bench.now = max(bench.now, due)
        looked_at = replace(BUILT, looked_at=bench.now)
        assert bench.work_off(looked_at) == (["drift a", "drift b"] if len(waits) == 1 else ["drift a"])
    assert waits == [99.999, 0.019, 0.039, 0.079, 0.159, 0.319, 0.639, 0.999], "the first deadline is an audit's"
    bench.now += REST.settled_s
    bench.hear("a")
    assert bench.work_off(RIGHT) == ["drift a"]


def test_a_router_that_does_not_stay_right_is_degraded_until_it_does() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    bench.work_off()
    said = [bench.ailments()]
    for _ in range(4):
        bench.now += 3
        bench.hear("a")
        bench.work_off(Done(changed=True, what="AddRoute qg-1", looked_at=bench.now))
        said.append(bench.ailments())
    often = "it had to be repaired 3 times within 60 s, the last time by AddRoute qg-1"
    assert said == [[""], [], [], [f"{often}: something on this host works against it"], []]
    bench.now += 100
    assert bench.work_off(RIGHT) == ["audit a"]
    assert bench.ailments() == [""]


def test_hints_about_everything_and_about_strangers() -> None:
    bench = Bench()
    bench.plan(planned("a"), planned("b"))
    bench.work_off()
    bench.now += 10
    bench.hear("stranger")
    assert bench.work_off() == []
    bench.hear()
    looks = []
    while len(looks) < 2:
        (job,) = bench.jobs()
        assert bench.jobs() == [], "in haste, and one at a time"
        bench.end(job, RIGHT, after_s=0.01)
        looks.append(name(job))
        bench.now += 0.01
    assert looks == ["audit a", "audit b"]
    assert bench.jobs() == []


def test_a_network_is_mended_by_one_of_its_routers_and_the_others_follow() -> None:
    bench = Bench()
    bench.plan(planned("a", network="n1"), planned("b", network="n2"), planned("c", network="n2"))
    bench.work_off()
    bench.now += 10
    bench.hear(network="n2")
    assert [name(job) for job in bench.jobs()] == ["drift b", "audit c"]


def test_a_namespace_that_vanished_is_rebuilt_and_a_stray_one_removed() -> None:
    bench = Bench()
    bench.plan(planned("a"))
    bench.work_off()
    bench.worklist.take_running(frozenset({RouterId("stray")}))
    assert bench.work_off() == ["remove stray", "drift a", "sweep"]
