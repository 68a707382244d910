"""What a host reports of its guard, told as transcripts: each thing once, and takeovers until they are heard."""

import pytest

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import NOBODY, Tenure
from gapless.model.plan import Burial, Epoch, Forwarding, Revision, Takeover, TakeoverTimes
from gapless.model.router import RouterId
from gapless.model.way import WayOut, WaysSaid
from gapless.sentinel.levels import Done, Levels
from gapless.sentinel.reporting import COALESCE_S, Reporting
from gapless.wire.messages import Report
from sizes import sizes

X, Y = RouterId("x"), RouterId("y")
OF = Tenure(HostName("net9"), Incarnation(4))


class Bench:
    """Reporting, and the levels of a beat that are changed by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reporting = Reporting()
        self.levels = Levels(tenure=Incarnation(1), leased=Incarnation(1))
        self.changed()

    def changed(self) -> None:
        self.reporting.guard_is(self.levels, self.now)

    def session(self) -> Report:
        self.reporting.session_began(30, self.now)
        first = self.reporting.on_deadline(self.now)
        assert first is not None
        return first

    def report(self) -> Report:
        """The next one, however long it takes."""
        due_at = self.reporting.next_deadline()
        assert due_at is not None
        self.now = max(self.now, due_at)
        report = self.reporting.on_deadline(self.now)
        assert report is not None
        return report

    def opens(self, *routers: RouterId, epoch: int = 2) -> None:
        self.levels.open |= dict.fromkeys(routers, Epoch(epoch))
        self.changed()

    def closes(self, *routers: RouterId) -> None:
        for router_id in routers:
            del self.levels.open[router_id]
        self.changed()

    def took(self, number: int, *routers: RouterId, whole: bool = True, epoch: int = 2) -> None:
        times = TakeoverTimes(buried_ms=200, opened_ms=201, told_ms=210)
        for router_id in routers:
            taken = Takeover(router_id=router_id, epoch=Epoch(epoch), of=OF, times=times)
            self.levels.takeovers[router_id] = Done(number=number, takeover=taken, told_at=self.now)
        if whole:
            self.levels.told_whole = number
        self.changed()

    def tenure(self, incarnation: int) -> None:
        self.levels.tenure = Incarnation(incarnation)
        self.levels.leased = Incarnation(incarnation or self.levels.leased)
        self.levels.takeovers, self.levels.told_whole = {}, 0
        self.changed()


def forwarding(report: Report) -> dict[RouterId, int] | None:
    return None if report.forwarding is None else {each.router_id: each.epoch for each in report.forwarding}


def taken(report: Report) -> list[RouterId]:
    return [each.router_id for each in report.takeovers]


def test_what_is_open_is_in_the_first_report_of_each_session_and_then_when_it_changed() -> None:
    bench = Bench()
    assert bench.session().forwarding == ()
    assert bench.report().forwarding is None
    bench.opens(X)
    assert bench.reporting.next_deadline() == bench.now + COALESCE_S
    assert bench.report().forwarding == (Forwarding(router_id=X, epoch=Epoch(2)),)
    assert bench.report().forwarding is None
    bench.opens(X, epoch=3)
    assert forwarding(bench.report()) == {X: 3}
    bench.opens(Y)
    bench.closes(Y)
    assert bench.report().forwarding is None, "as it was"
    bench.reporting.session_ended()
    assert forwarding(bench.session()) == {X: 3}


def test_the_lease_is_the_newest_that_was_held() -> None:
    bench = Bench()
    assert bench.session().leased == 1
    bench.tenure(0)
    assert bench.report().leased == 1
    bench.tenure(2)
    assert bench.report().leased == 2


def test_the_guards_revision_is_that_of_the_plan_it_has_settled() -> None:
    bench = Bench()
    bench.levels.settled = 6
    assert bench.session().guard_revision == 0, "it was made from no plan of this session"
    for version, revision in ((7, 1), (8, 2), (9, 3)):
        bench.reporting.guard_planned(version, Revision(revision))
    for settled, revision in ((6, 0), (7, 1), (9, 3)):
        bench.levels.settled = settled
        bench.changed()
        assert bench.report().guard_revision == revision
    bench.reporting.session_ended()
    assert bench.session().guard_revision == 0


def test_a_plan_is_acknowledged_while_routers_of_it_are_held_open_and_said_to_be_open() -> None:
    """Others do not wait for them: whether a router is closed follows from both words together."""
    bench = Bench()
    bench.session()
    bench.opens(X)
    bench.reporting.guard_planned(7, Revision(1), held=[X])
    bench.levels.settled = 7
    bench.changed()
    said = bench.report()
    assert (said.guard_revision, forwarding(said)) == (1, {X: 2})
    bench.closes(X)
    assert bench.report().guard_revision == 0, "the beat would open it again: that it is closed now proves nothing"
    bench.reporting.guard_planned(8, Revision(1))
    bench.levels.settled = 8
    bench.changed()
    assert bench.report().guard_revision == 1


def test_a_takeover_is_repeated_until_a_plan_has_heard_of_it() -> None:
    bench = Bench()
    bench.session()
    bench.opens(X, Y)
    bench.took(1, X, Y)
    assert [taken(bench.report()), taken(bench.report())] == [[X, Y], [X, Y]]
    assert bench.reporting.heard(1) == 0, "the first report did not name it"
    assert taken(bench.report()) == [X, Y]
    assert bench.reporting.heard(2) == 1
    assert taken(bench.report()) == []
    assert bench.reporting.heard(2) == 1, "what was heard stays heard"


def test_a_takeover_that_was_heard_of_is_told_once_more_when_there_is_more_to_tell() -> None:
    bench = Bench()
    bench.session()
    bench.opens(X, Y)
    bench.took(1, X, Y)
    bench.report()
    assert bench.reporting.heard(2) == 1
    assert taken(bench.report()) == []
    bench.took(1, X)  # It is announced by now.
    assert bench.reporting.next_deadline() == bench.now + COALESCE_S
    assert taken(bench.report()) == [X]
    assert taken(bench.report()) == []
    bench.closes(Y)
    bench.took(1, Y)
    assert taken(bench.report()) == [], "it is not open any more"


def test_what_was_told_later_is_told_at_that_time() -> None:
    bench = Bench()
    bench.session()
    bench.opens(X)
    bench.took(1, X)
    first, second = bench.report(), bench.report()
    assert first.takeovers[0].times.told_ms == pytest.approx(210 + COALESCE_S * 1000)
    assert second.takeovers[0].times.told_ms == pytest.approx(first.takeovers[0].times.told_ms + 30_000)


def test_a_takeover_that_is_told_in_parts_is_heard_when_all_of_it_is() -> None:
    bench = Bench()
    bench.session()
    bench.opens(X, Y)
    bench.took(1, X, whole=False)
    assert taken(bench.report()) == [X]
    assert bench.reporting.heard(2) == 0
    bench.took(1, Y)
    assert taken(bench.report()) == [X, Y]
    assert bench.reporting.heard(2) == 0
    assert bench.reporting.heard(3) == 1
    assert taken(bench.report()) == []


def test_what_is_told_once_more_is_told_once_more_though_it_was_heard() -> None:
    bench = Bench()
    bench.session()
    bench.opens(X)
    bench.took(1, X)
    bench.report()
    bench.reporting.heard(2)
    bench.took(1, X)
    assert [taken(bench.report()), taken(bench.report())] == [[X], []]


def test_a_new_tenure_counts_its_takeovers_anew() -> None:
    bench = Bench()
    bench.session()
    bench.opens(X)
    bench.took(1, X)
    bench.report()
    assert bench.reporting.heard(2) == 1
    bench.closes(X)
    bench.tenure(0)
    bench.tenure(2)
    assert bench.reporting.heard(2) == 0, "a plan that is on its way knows nothing of this tenure"
    bench.opens(Y)
    bench.took(1, Y)
    assert taken(bench.report()) == [Y]
    assert bench.reporting.heard(3) == 1


def test_of_takeovers_that_are_over_nothing_is_kept() -> None:
    bench = Bench()
    bench.session()
    counts = []
    for number in range(1, 20):
        taken_over = RouterId(f"r{number}")
        bench.opens(taken_over)
        bench.took(number, taken_over)
        assert taken(bench.report()) == [taken_over]
        del bench.levels.takeovers[taken_over]
        bench.closes(taken_over)
        bench.report()
        bench.reporting.heard(2 * number + 1)
        counts.append(sizes(bench.reporting))
    assert counts == [counts[0]] * len(counts)


def test_a_new_session_hears_of_all_takeovers_that_are_in_force() -> None:
    bench = Bench()
    bench.session()
    bench.opens(X, Y)
    bench.took(1, X, Y)
    bench.report()
    bench.reporting.heard(2)
    bench.closes(Y)
    bench.reporting.session_ended()
    assert bench.reporting.heard(2) == 0
    assert taken(bench.session()) == [X]
    assert bench.reporting.heard(1) == 1


def test_a_router_that_a_plan_has_given_a_higher_epoch_since_is_still_told() -> None:
    bench = Bench()
    bench.opens(X, epoch=5)
    bench.took(1, X, epoch=2)
    assert taken(bench.session()) == [X]


def test_burials_are_told_once_to_the_session_that_asked() -> None:
    bench = Bench()
    burial = Burial(tenure=OF, seq=3, is_buried=True)
    bench.reporting.buried(burial, bench.now)
    assert bench.session().buried == ()
    bench.reporting.buried(burial, bench.now)
    assert bench.reporting.next_deadline() == bench.now + COALESCE_S
    assert [bench.report().buried, bench.report().buried] == [(burial,), ()]


def test_what_a_beat_says_of_lower_incarnations_is_reported_with_the_lease() -> None:
    bench = Bench()
    bench.session()
    bench.levels.tenure, bench.levels.reborn = NOBODY, Incarnation(2)
    bench.changed()
    report = bench.report()
    assert (report.leased, report.is_held, report.reborn) == (1, False, 2)


def test_what_is_lost_is_reported_at_once_and_nothing_is_before_a_beat_has_looked() -> None:
    bench = Bench()
    assert bench.session().ways is None
    bench.levels.ways = WaysSaid(lost=(WayOut("external"),))
    bench.changed()
    assert bench.report().ways == bench.levels.ways
    assert bench.now == 100.0 + COALESCE_S


def test_who_has_expired_is_told_at_once_and_with_each_report() -> None:
    bench = Bench()
    assert bench.session().expired == ()
    bench.levels.expired = (OF,)
    bench.changed()
    assert bench.reporting.next_deadline() == bench.now + COALESCE_S
    assert [bench.report().expired for _ in range(2)] == [(OF,), (OF,)]
