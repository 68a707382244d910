"""What the agent works on next, told as transcripts: what came in, which jobs went out, what was said."""

from dataclasses import replace

import pytest
from kernel_in_memory import planned

from gapless.agent.hint import Hint
from gapless.agent.hold import MOST_S
from gapless.agent.jobs import Done, Failed, Job, Reconcile, Remove, Result, Sweep, Why
from gapless.agent.worklist import PATIENT_TRIES, REST, Worklist
from gapless.core.backoff import Backoff, Pace
from gapless.core.hostplan import HostPlan
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.network import NetworkId
from gapless.model.plan import BuildTimes, Guarded, PlannedRouter, Revision, Role
from gapless.model.router import RouterId

TIMES = BuildTimes(started_ms=1, built_ms=2, announced_ms=3, verified_ms=4)
BUILT = Done(changed=True, times=TIMES, what="everything")
RIGHT = Done()


class Bench:
    """A worklist, a hand-driven clock, and short names for what goes in and out."""

    def __init__(self, *running: str) -> None:
        self.now = 1000.0
        self.worklist = Worklist(audit_period_s=100, new_backoff=lambda: Backoff(Pace(first_s=1, most_s=8)))
        self.worklist.take_running(frozenset(map(RouterId, running)))
        self.revision = 0

    def plan(self, *routers: PlannedRouter, confirmed: bool = True) -> None:
        self.revision += 1
        self.worklist.take_plan(HostPlan.of(Revision(self.revision), routers), confirmed=confirmed, now=self.now)

    def jobs(self, most: int = 100) -> list[Job]:
        """Jobs that may all start now, one after another."""
        jobs: list[Job] = []
        while len(jobs) < most and (job := self.worklist.next_job(self.now)) is not None:
            jobs.append(job)
        return jobs

    def end(self, job: Job, result: Result = BUILT, after_s: float = 0.0) -> None:
        self.now += after_s
        self.worklist.ended(job, result, self.now)

    def hear(self, router_id: str | None = None, *, network: str | None = None, ago_s: float = 0.0) -> None:
        about = RouterId(router_id) if router_id is not None else None
        on = NetworkId(network) if network is not None else None
        hint = Hint(heard_at=self.now - ago_s, router_id=about, network_id=on)
        self.worklist.take_hint(hint, self.now)

    def work_off(self, result: Result = BUILT) -> list[str]:
        """Everything that can be done now; returns the names of the jobs in order."""
        names = []
        while jobs := self.jobs(1):
            names.append(name(jobs[0]))
            self.end(jobs[0], result)
        return names

    def ailments(self) -> list[str]:
        report = self.worklist.take_report()
        return [] if report is None else [each.ailment for each in report.routers]

    def said(self) -> list[str]:
        report = self.worklist.take_report()
        if report is None:
            return []
        return sorted(f"{each.router_id}@{each.epoch} {each.state}" for each in report.routers) + ["full"] * report.full


def name(job: Job) -> str:
    match job:
        case Reconcile():
            return f"{job.why} {job.planned.router.id}"
        case Remove():
            return f"remove {job.router_id}"
        case Sweep():
            return "sweep"


def test_removals_come_strictly_before_builds() -> None:
    bench = Bench("old1", "old2")
    bench.plan(planned("new1"), planned("new2"))
    first, second = bench.jobs()
    assert [name(first), name(second)] == ["remove old1", "remove old2"]
    bench.end(first)
    assert bench.jobs() == [], "a build began while a removal was at work"
    bench.end(second)
    assert bench.work_off() == ["plan new1", "plan new2", "sweep"]


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
    assert bench.work_off() == ["remove stuck"]
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


def test_drift_and_plans_take_turns_and_overtake_audits() -> None:
    bench = Bench()
    bench.plan(planned("a"), planned("b"), planned("c"))
    bench.work_off()
    bench.now += 1000
    bench.hear("a")
    bench.hear("b")
    bench.plan(planned("a"), planned("b"), planned("c"), planned("d"), planned("e"))
    assert bench.work_off(RIGHT) == ["drift a", "plan d", "drift b", "plan e", "audit c"]


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
    assert bench.work_off() == ["remove stray", "drift a"]


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


# Guarded routers


OF = Tenure(HostName("active"), Incarnation(4))
BUILT_ONLY = Guarded(role=Role.STANDBY, incarnation=Incarnation(2))
MAY_SUCCEED = replace(BUILT_ONLY, after=(OF,))
ACTIVE_HERE = Guarded(role=Role.ACTIVE, incarnation=Incarnation(2))


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
    assert not any(guarded_as_said(bench))


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
