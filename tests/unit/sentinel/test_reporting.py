"""When a host reports and what, told as transcripts."""

from gapless.model.host import AgentState
from gapless.model.plan import BuildTimes, Epoch, Revision, RouterReport, RouterState
from gapless.model.router import RouterId
from gapless.sentinel.reporting import ALL_EACH_S, COALESCE_S, Reporting
from gapless.wire.messages import AgentReport, Report
from sizes import sizes

TIMES = BuildTimes(started_ms=1, built_ms=2, announced_ms=3, verified_ms=4)


def router(name: str, state: RouterState = RouterState.ACTIVE, epoch: int = 1, **more: object) -> RouterReport:
    return RouterReport(router_id=RouterId(name), epoch=Epoch(epoch), state=state, **more)  # type: ignore[arg-type] # test


class Bench:
    """Reporting with a hand-driven clock and a controller whose session may come and go."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reporting = Reporting()
        self.version = 1

    def session(self, interval_s: float = 30) -> None:
        self.reporting.session_began(interval_s, self.now)
        assert self.due() is not None, "a host speaks as soon as it may"

    def planned(self, revision: int) -> None:
        self.version += 1
        self.reporting.planned(self.version, Revision(revision), self.now)

    def agent(self, *routers: RouterReport, full: bool = False, version: int | None = None) -> None:
        said = AgentReport(revision=Revision(version or self.version), routers=routers, full=full)
        self.reporting.agent_said(said, self.now)

    def due(self) -> Report | None:
        return self.reporting.on_deadline(self.now)

    def soon(self) -> Report | None:
        """What is reported once the coalescing time is over."""
        assert self.due() is None
        self.now += COALESCE_S
        return self.due()


def names(report: Report | None) -> list[str]:
    assert report is not None
    return [f"{each.router_id}@{each.epoch} {each.state}" for each in report.routers] + ["full"] * report.full


def begun(*routers: RouterReport) -> Bench:
    """In its first session, and its agent has said all that is there."""
    bench = Bench()
    bench.session()
    bench.planned(1)
    bench.agent(*routers, full=True)
    assert bench.soon() is not None
    return bench


def test_one_report_each_interval_without_news() -> None:
    bench = Bench()
    assert bench.reporting.next_deadline() is None
    bench.session(interval_s=30)
    bench.now += 29.9
    assert bench.due() is None
    bench.now += 0.2
    report = bench.due()
    assert report == Report(revision=Revision(0), agent=AgentState.STARTING)


def test_news_go_at_once_and_together() -> None:
    bench = Bench()
    bench.session()
    bench.planned(1)
    bench.agent(full=True)
    assert bench.soon() is not None
    bench.agent(router("a", RouterState.BUILDING))
    bench.now += COALESCE_S / 2
    bench.agent(router("b", RouterState.BUILDING))
    bench.agent(router("a", times=TIMES))
    assert bench.due() is None
    bench.now += COALESCE_S / 2
    assert names(bench.due()) == ["a@1 active", "b@1 building"]
    assert bench.due() is None


def test_there_is_no_full_report_before_an_agent_has_looked() -> None:
    bench = Bench()
    bench.session()
    bench.planned(1)
    bench.agent(router("a"))
    assert names(bench.soon()) == ["a@1 active"]
    bench.agent(router("a"), router("b"), full=True)
    assert names(bench.soon()) == ["a@1 active", "b@1 active", "full"]


def test_the_revision_is_the_agents_not_the_newest() -> None:
    bench = Bench()
    bench.session()
    bench.planned(1)
    bench.agent(router("a"), full=True)
    assert bench.soon().revision == 1  # type: ignore[union-attr] # fails as it should
    bench.planned(2)
    bench.planned(3)
    bench.agent(router("a", RouterState.FAILED), version=bench.version - 1)
    assert bench.soon().revision == 2  # type: ignore[union-attr] # fails as it should
    bench.agent(router("a"), version=bench.version)
    assert bench.soon().revision == 3  # type: ignore[union-attr] # fails as it should


def test_a_new_session_hears_everything_twice_before_and_after_the_agent_took_its_plan() -> None:
    bench = Bench()
    bench.session()
    bench.planned(1)
    bench.agent(router("a"), router("gone", RouterState.REMOVED), full=True)
    bench.reporting.session_ended()
    assert bench.reporting.next_deadline() is None
    bench.agent(router("late", RouterState.REMOVED, epoch=4))
    bench.session()
    bench.planned(1)
    report = bench.soon()
    assert names(report) == ["a@1 active", "gone@1 removed", "late@4 removed", "full"]
    assert report is not None
    assert report.revision == 0, "it was made from no plan of this session, so it proves no removal"
    bench.agent()
    report = bench.soon()
    assert names(report) == ["a@1 active", "gone@1 removed", "late@4 removed", "full"]
    assert report is not None
    assert report.revision == 1
    bench.agent(router("a"), full=True)
    assert names(bench.soon()) == ["a@1 active", "full"]


def test_what_was_removed_and_told_is_forgotten_and_the_next_session_hears_so_in_its_full_report() -> None:
    bench = begun(router("a"))
    before = sizes(bench.reporting)
    for number in range(20):
        bench.agent(router(f"r{number}", RouterState.BUILDING))
        bench.agent(router(f"r{number}"))
        bench.soon()
        bench.agent(router(f"r{number}", RouterState.REMOVED))
        assert names(bench.soon()) == [f"r{number}@1 removed"]
    assert sizes(bench.reporting) == before
    bench.reporting.session_ended()
    bench.session()
    bench.planned(1)
    bench.agent()
    assert names(bench.soon()) == ["a@1 active", "full"]


def test_routers_outlive_the_agent_that_spoke_of_them() -> None:
    bench = Bench()
    bench.session()
    bench.planned(1)
    bench.agent(router("a", times=TIMES), full=True)
    bench.soon()
    bench.reporting.agent_is(AgentState.RESTARTING, "killed by SIGKILL", bench.now)
    report = bench.soon()
    assert report is not None
    assert (report.agent, report.agent_reason, report.routers) == (AgentState.RESTARTING, "killed by SIGKILL", ())
    bench.reporting.agent_is(AgentState.RUNNING, "", bench.now)
    bench.agent(router("a"))
    assert names(bench.soon()) == [], "the new agent repeats what is known"
    bench.reporting.session_ended()
    bench.session()
    bench.planned(1)
    assert names(bench.soon()) == ["a@1 active", "full"]


def test_what_the_agent_said_is_counted_as_far_as_it_is_planned() -> None:
    bench = Bench()
    bench.agent(router("a"), router("b", RouterState.FAILED), router("c", RouterState.BUILDING), router("gone"))
    planned = [RouterId(each) for each in ("a", "b", "c", "new")]
    assert bench.reporting.count(planned, RouterState.ACTIVE) == 1
    assert bench.reporting.count(planned, RouterState.FAILED) == 1


def test_a_full_word_of_the_agent_replaces_what_was_known() -> None:
    bench = begun(router("a"), router("b"))
    bench.agent(router("b"), full=True)
    assert names(bench.soon()) == ["b@1 active", "full"]


def test_an_unknown_epoch_is_filled_in_from_what_the_last_agent_said() -> None:
    bench = begun(router("a", epoch=6))
    bench.agent(router("a", RouterState.REMOVED, epoch=0), router("b", RouterState.REMOVED, epoch=0))
    assert names(bench.soon()) == ["a@6 removed", "b@0 removed"]


def test_the_same_agent_state_twice_is_no_news() -> None:
    bench = Bench()
    bench.session()
    bench.reporting.agent_is(AgentState.STARTING, "", bench.now)
    bench.now += 1
    assert bench.due() is None


def test_that_a_router_is_guarded_is_reported_when_it_is_proven_and_kept() -> None:
    bench = Bench()
    bench.session()
    bench.agent(router("a"), full=True)
    assert bench.soon() is not None
    bench.planned(1)
    bench.reporting.regroup([RouterId("a")], bench.version)
    bench.agent(router("a", guarded=True))
    report = bench.soon()
    assert report is not None
    assert not any(each.guarded for each in report.routers), "a restart from the disk would take the guard away"
    bench.reporting.kept(bench.version, bench.now)
    report = bench.soon()
    assert report is not None
    assert [each.guarded for each in report.routers] == [True]
    bench.reporting.regroup([RouterId("a")], bench.version + 1)
    bench.planned(2)
    bench.agent()
    bench.now += 30
    report = bench.due()
    assert report is not None
    assert [each.guarded for each in report.routers] == [False]


def test_of_copies_only_what_is_news_in_this_session_is_said() -> None:
    bench, (x, y) = Bench(), (RouterId("x"), RouterId("y"))
    bench.reporting.copied_are({x: True}, bench.now)
    bench.reporting.session_began(30, bench.now)
    first = bench.due()
    assert first is not None
    assert first.copied == {x: True}
    bench.reporting.copied_are({x: True, y: False}, bench.now)
    said = bench.soon()
    assert said is not None
    assert said.copied == {y: False}, "at once"
    bench.reporting.copied_are({y: True}, bench.now)
    said = bench.soon()
    assert said is not None
    assert said.copied == {x: None, y: True}
    bench.now += 30
    said = bench.due()
    assert said is not None
    assert said.copied == {}
    bench.reporting.session_began(30, bench.now)
    said = bench.due()
    assert said is not None
    assert said.copied == {y: True}, "another controller knows nothing"


def test_of_a_router_that_left_unguarded_no_proof_is_waited_for_once_agent_and_disk_have_that() -> None:
    bench = Bench()
    bench.session()
    bench.planned(1)
    bench.reporting.regroup([RouterId("a")], bench.version)
    bench.reporting.depart([RouterId("a")])
    bench.reporting.kept(bench.version, bench.now)
    assert sizes(bench.reporting._proofs) != {}
    bench.agent()
    assert sizes(bench.reporting._proofs) == {}


def test_what_a_plan_brings_back_is_said_again_as_it_is_found_then() -> None:
    """What was said of it before, when no plan had it, nobody believed; and it may be otherwise by now."""
    bench = begun(router("a"), router("b"))
    bench.planned(2)
    bench.reporting.arrive([RouterId("a"), RouterId("c")], bench.version)
    bench.agent(router("a"), router("b"), version=bench.version - 1)
    assert bench.soon() is None, "it was said from the plan without it"
    bench.agent(router("a"), router("b"))
    assert names(bench.soon()) == ["a@1 active"]
    bench.agent(router("a"))
    assert bench.soon() is None


def test_all_is_said_again_after_a_while_with_a_report_that_is_due_anyway() -> None:
    """A plan that this host never got may have taken a router away and given it back: its controller has forgotten."""
    bench = begun(router("a"), router("b"))
    bench.reporting.copied_are({RouterId("b"): True}, bench.now)
    said = bench.soon()
    assert said is not None
    assert said.copied == {"b": True}
    began, again = bench.now, []
    while bench.now < began + 2.5 * ALL_EACH_S:
        bench.now += 30
        if (said := bench.due()) is not None and said.full:
            again.append((bench.now - began, names(said), said.copied, said.forwarding))
    assert again == [(each, ["a@1 active", "b@1 active", "full"], {"b": True}, ()) for each in (300, 600)]


def test_of_what_leaves_again_no_word_is_owed() -> None:
    bench = begun(router("a"))
    before = sizes(bench.reporting)
    bench.reporting.arrive([RouterId("a"), RouterId("c")], bench.version)
    bench.reporting.depart([RouterId("a"), RouterId("c")])
    assert sizes(bench.reporting) == before
