"""What the worklist makes of routers that do not hear their gateways, told as transcripts."""

from dataclasses import replace

from kernel_in_memory import planned, with_gateway
from worklist_rig import BUILT, RIGHT, Bench

from gapless.agent.entry import way_out
from gapless.agent.jobs import Failed, Why
from gapless.core.dataplane.gateways import Deafness
from gapless.model.host import Incarnation
from gapless.model.plan import Guarded, PlannedRouter, Role, RouterState

DEAF = "its gateway 203.0.113.1 does not answer it, while it answers others here (2)"


def in_role(router_id: str, role: Role, epoch: int = 1) -> PlannedRouter:
    return replace(with_gateway(router_id, epoch), guarded=Guarded(role=role, incarnation=Incarnation(1)))


def ways(bench: Bench) -> list[tuple[str, bool]]:
    return [(way.router_id, way.guarded) for way in bench.worklist.ways_out()]


def find(bench: Bench, router_id: str, why: str, *, is_given_up: bool = False) -> None:
    (seen,) = [each for each in bench.worklist.ways_out() if each.router_id == router_id]
    bench.worklist.take_deafness({seen: Deafness(why, is_given_up)}, bench.now)


def given_up() -> Bench:
    """One guarded router that is active here, and was given up."""
    bench = Bench()
    bench.plan(in_role("r", Role.ACTIVE))
    bench.work_off()
    find(bench, "r", DEAF, is_given_up=True)
    return bench


def test_those_are_looked_at_that_are_built_and_forward_here_and_have_a_way_out() -> None:
    bench = Bench()
    down = replace(with_gateway("down"), router=replace(with_gateway("down").router, admin_up=False))
    bench.plan(
        with_gateway("classic"),
        in_role("active", Role.ACTIVE),
        in_role("standby", Role.STANDBY),
        planned("inner"),
        down,
    )
    assert ways(bench) == []
    bench.work_off()
    assert ways(bench) == [("classic", False), ("active", True)]


def test_one_that_hears_nothing_is_degraded_and_healthy_when_it_hears() -> None:
    bench = Bench()
    bench.plan(with_gateway("r"))
    bench.work_off()
    assert bench.ailments() == [""]
    find(bench, "r", DEAF)
    assert bench.ailments() == [DEAF]
    (line,) = [each for each in bench.worklist.take_lines() if each.is_warning]
    assert (line.text, line.fields) == ("router does not hear its gateway", {"router": "r", "epoch": 1, "reason": DEAF})
    find(bench, "r", "")
    assert bench.ailments() == [""]
    assert [each.text for each in bench.worklist.take_lines()] == ["router hears its gateway again"]


def test_what_was_found_of_a_router_that_does_not_forward_here_any_more_is_not_its_fault() -> None:
    bench = Bench()
    bench.plan(in_role("r", Role.ACTIVE))
    bench.work_off()
    (seen,) = bench.worklist.ways_out()
    stands_by = in_role("r", Role.STANDBY)
    bench.plan(replace(stands_by, router=replace(stands_by.router, name="new")))
    bench.worklist.take_deafness({seen: Deafness(DEAF, is_given_up=True)}, bench.now)
    bench.work_off()
    report = bench.worklist.take_report()
    assert report is not None
    assert [(each.state, each.ailment) for each in report.routers] == [(RouterState.ACTIVE, "")]


def test_a_look_that_finds_everything_right_does_not_make_it_healthy() -> None:
    bench = Bench()
    bench.plan(with_gateway("r"))
    bench.work_off()
    find(bench, "r", DEAF)
    assert bench.ailments() == [DEAF]
    bench.now += 200
    (audit,) = bench.jobs()
    assert getattr(audit, "why", None) is Why.AUDIT
    bench.end(audit, RIGHT)
    assert bench.ailments() == []
    bench.plan(with_gateway("r", epoch=1))
    find(bench, "r", "")
    assert bench.ailments() == [""]


def test_one_that_hears_nothing_for_long_is_given_up_until_it_hears() -> None:
    bench = Bench()
    bench.plan(in_role("r", Role.ACTIVE))
    bench.work_off()
    find(bench, "r", DEAF)
    bench.said()
    find(bench, "r", DEAF, is_given_up=True)
    report = bench.worklist.take_report()
    assert report is not None
    assert [(each.state, each.reason) for each in report.routers] == [(RouterState.FAILED, DEAF)]
    assert bench.jobs() == [], "there is nothing to be tried again"
    assert ways(bench) == [("r", True)], "it is looked at as before"
    bench.now += 200
    (audit,) = bench.jobs()
    bench.end(audit, RIGHT)
    assert bench.said() == [], "that its settings are right was so before"
    find(bench, "r", "")
    assert bench.said() == ["r@1 active"]
    assert [(each.text, each.is_warning) for each in bench.worklist.take_lines() if "gateway" in each.text] == [
        ("router does not hear its gateway", True),
        ("router still does not hear its gateway, and is given up here", True),
        ("router hears its gateway again", False),
    ]


def test_one_that_was_given_up_may_stand_by_here() -> None:
    bench = given_up()
    bench.said()
    later = Guarded(role=Role.ACTIVE, incarnation=Incarnation(2))
    bench.plan(replace(in_role("r", Role.ACTIVE), guarded=later))
    assert bench.said() == [], "it is the same router at the same epoch"
    bench.plan(in_role("r", Role.STANDBY, epoch=2))
    assert bench.said() == ["r@2 active"]


def test_one_that_is_repaired_while_it_is_given_up_is_not_well_by_that() -> None:
    bench = given_up()
    bench.said()
    bench.hear("r")
    (repair,) = bench.jobs()
    bench.end(repair, BUILT)
    assert bench.said() == []


def test_what_was_found_is_forgotten_when_it_is_planned_otherwise() -> None:
    bench = Bench()
    bench.plan(in_role("r", Role.ACTIVE))
    bench.work_off()
    find(bench, "r", DEAF)
    assert bench.ailments() == [DEAF]
    bench.plan(in_role("r", Role.STANDBY, epoch=2))
    assert bench.ailments() == [""]
    bench.plan(in_role("r", Role.ACTIVE, epoch=3))
    assert bench.ailments() == [""]


def test_what_is_found_of_a_router_that_is_gone_is_told_to_nobody() -> None:
    bench = Bench()
    gone = way_out(with_gateway("gone"))
    assert gone is not None
    bench.worklist.take_deafness({gone: Deafness(DEAF)}, bench.now)
    assert bench.ailments() == []
    assert bench.worklist.take_lines() == []


def test_what_was_seen_of_one_that_was_active_then_is_nothing_to_the_standby_that_it_is_now() -> None:
    bench = Bench()
    bench.plan(in_role("r", Role.ACTIVE))
    bench.work_off()
    (seen,) = bench.worklist.ways_out()
    bench.plan(in_role("r", Role.STANDBY, epoch=2))
    bench.said()
    bench.worklist.take_deafness({seen: Deafness(DEAF, is_given_up=True)}, bench.now)
    assert bench.said() == []


def test_what_was_given_up_and_hears_while_it_is_repaired_is_well_by_the_next_look() -> None:
    bench = given_up()
    bench.hear("r")
    (repair,) = bench.jobs()
    bench.end(repair, Failed(reason="no memory"))
    assert ways(bench) == []
    bench.now += 10
    (again,) = bench.jobs()
    bench.end(again, BUILT)
    bench.said()
    find(bench, "r", "")
    assert bench.said() == ["r@1 active"]


def test_one_that_is_given_up_is_built_all_the_same() -> None:
    bench = given_up()
    report = bench.worklist.take_report()
    assert report is not None
    assert [(each.state, each.guarded) for each in report.routers] == [(RouterState.FAILED, True)]


def test_while_the_host_takes_over_nobody_is_to_be_looked_at() -> None:
    bench = Bench()
    assert not bench.worklist.is_held(bench.now)
    bench.worklist.hold(bench.now, unbuilt=[])
    assert bench.worklist.is_held(bench.now)
    bench.worklist.hold(bench.now, unbuilt=None)
    assert not bench.worklist.is_held(bench.now)
