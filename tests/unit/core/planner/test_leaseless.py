"""Hosts that the controller hears and that hold no lease: what is waited for, what is replaced, and when nothing is."""

import pytest
from planner_rig import facts
from standby_rig import StandbyRig, tenure

from gapless.core.effects import Bind, ReportHost, StorePanel, StoreSuccession
from gapless.core.events import HostDisconnected
from gapless.core.planner.leaseless import CALM_S, LEASELESS_S
from gapless.core.planner.restarts import NEWS_S
from gapless.model.host import HostName
from gapless.model.plan import MoveKind

H1, H2, H3, H4 = map(HostName, ("h1", "h2", "h3", "h4"))
ALL = ("h1", "h2", "h3", "h4")
LONG_S = LEASELESS_S + 7


@pytest.fixture
def rig() -> StandbyRig:
    """r1 active on h1, h2 ready to succeed; h1, h2 and h3 are arbiters."""
    made = StandbyRig(*ALL)
    made.protect("r1")
    for _ in range(3):
        made.settle(*ALL)
        made.pass_time(5, heard=ALL)
    assert (made.host("r1"), made.standby("r1")) == ("h1", ("h2", "ready"))
    made.forget()
    return made


def settle(rig: StandbyRig, seconds: float) -> None:
    for _ in range(3):
        rig.pass_time(seconds / 3, heard=ALL)
        rig.settle(*ALL)


def arbiters(rig: StandbyRig) -> set[HostName]:
    return {name for name, view in rig.planner.host_views(rig.now).items() if view.arbiter}


def test_a_standby_that_is_back_in_a_moment_has_kept_what_it_built(rig: StandbyRig) -> None:
    rig.fence("h2")
    assert not rig.planner.host_views(rig.now)[H2].holds_lease
    rig.pass_time(LEASELESS_S - 2, heard=ALL)
    rig.settle(*ALL)
    assert rig.role("h2", "r1") == "may succeed h1@1", "of an incarnation that is over: it gives nothing"
    rig.hold("h2")
    rig.settle(*ALL)
    assert rig.standby("r1") == ("h2", "ready")
    stored = [[each.tenure for each in said.successors] for said in rig.all_said(StoreSuccession)]
    assert stored == [[], [tenure("h2", 2)]]
    assert not rig.all_said(Bind)


def test_a_standby_whose_data_network_is_cut_is_replaced(rig: StandbyRig) -> None:
    rig.fence("h2")
    settle(rig, LONG_S)
    assert rig.standby("r1") == ("h3", "ready")
    assert rig.role("h2", "r1") == "nothing"
    assert not rig.all_said(Bind)


def test_it_gets_no_routers_and_says_why(rig: StandbyRig) -> None:
    rig.fence("h4")
    settle(rig, LONG_S)
    told = [each.reason for each in rig.all_said(ReportHost) if each.host == "h4"]
    assert len(told) == 1
    assert told[0].endswith("and others do: is its data network cut, or does its kernel refuse the guard?")
    view = rig.planner.host_views(rig.now)[H4]
    assert (
        view.reason
        == "it holds no lease, and others do: is its data network cut, or does its kernel refuse the guard?; it reports"
    )
    assert view.without_lease_s is not None
    assert view.without_lease_s >= LEASELESS_S
    rig.protect("r2", "r3", "r4")
    settle(rig, LONG_S)
    assert not {rig.host(each) for each in ("r2", "r3", "r4")} & {"h4"}
    assert not {rig.standby(each)[0] for each in ("r2", "r3", "r4")} & {"h4"}
    rig.hold("h4")
    assert rig.planner.host_views(rig.now)[H4].without_lease_s is None
    assert rig.all_said(ReportHost)[-1].reason == "it holds its lease again"


def test_an_arbiter_that_reaches_nobody_is_replaced_and_stays_out_when_it_is_back(rig: StandbyRig) -> None:
    assert arbiters(rig) == {H1, H2, H3}
    rig.fence("h3")
    settle(rig, LONG_S)
    settle(rig, LONG_S)
    assert arbiters(rig) == {H1, H2, H4}
    assert rig.all_said(StorePanel)[0].reason.endswith(": h3 is heard, but holds no lease")
    rig.hold("h3")
    settle(rig, LONG_S)
    assert arbiters(rig) == {H1, H2, H4}


def test_an_arbiter_stays_where_no_other_host_can_be_one() -> None:
    rig = StandbyRig("h1", "h2", "h3")
    rig.fence("h3")
    rig.pass_time(LONG_S, heard=("h1", "h2", "h3"))
    rig.pass_time(LONG_S, heard=("h1", "h2", "h3"))
    assert arbiters(rig) == {H1, H2, H3}


def test_a_host_that_says_that_it_is_fenced_hands_over_to_its_standby_when_nobody_took_over(rig: StandbyRig) -> None:
    """The standby got its right when nobody hinted any more."""
    rig.fence("h1")
    assert not rig.all_said(Bind), "its successor may be about to say that it took over"
    rig.pass_time(NEWS_S, heard=ALL)
    assert [(each.host, each.kind) for each in rig.all_said(Bind)] == [("h2", MoveKind.RESTART)]
    rig.settle(*ALL)
    assert (rig.host("r1"), rig.state("r1")) == ("h2", "active")


def test_a_takeover_that_is_heard_of_in_time_is_a_takeover(rig: StandbyRig) -> None:
    rig.fence("h1")
    rig.take_over("h2", "r1", tenure("h1"))
    rig.pass_time(NEWS_S, heard=ALL)
    assert [(each.host, each.kind) for each in rig.all_said(Bind)] == [("h2", MoveKind.TAKEOVER)]


def test_without_a_standby_it_waits_for_its_host_and_then_goes_where_it_can(rig: StandbyRig) -> None:
    rig.fence("h2")
    rig.fence("h1")
    rig.pass_time(LEASELESS_S - 2, heard=ALL)
    rig.settle(*ALL)
    assert not rig.all_said(Bind)
    assert "waits for h1 to hold its lease again" in rig.reason("r1")
    settle(rig, CALM_S)
    assert [each.kind for each in rig.all_said(Bind)] == [MoveKind.RESTART]
    assert rig.host("r1") in ("h3", "h4")
    assert rig.state("r1") == "active"


def test_standby_cut_then_its_active_host_dies(rig: StandbyRig) -> None:
    rig.fence("h2")
    settle(rig, LONG_S)
    rig.take_over("h3", "r1", tenure("h1"))
    assert [(each.host, each.kind) for each in rig.all_said(Bind)] == [("h3", MoveKind.TAKEOVER)]


def test_when_all_leases_are_lost_at_once_every_host_gets_back_what_it_had(rig: StandbyRig) -> None:
    rig.protect("r2", "r3", "r4")
    settle(rig, LONG_S)
    before = {each: rig.host(each) for each in ("r1", "r2", "r3", "r4")}
    panel = arbiters(rig)
    rig.forget()
    rig.fence(*ALL)
    settle(rig, 20 * LONG_S)
    assert not rig.all_said(Bind)
    for host in ALL:  # One after another, and each is heard.
        rig.hold(host)
        rig.pass_time(0.5, heard=ALL)
        rig.settle(*ALL)
    settle(rig, LONG_S)
    assert {each: rig.host(each) for each in before} == before
    assert {each.kind for each in rig.all_said(Bind)} == {MoveKind.RESTART}
    assert arbiters(rig) == panel
    assert {rig.standby(each)[1] for each in before} == {"ready"}


def test_what_is_not_heard_any_more_does_not_say_that_leases_can_be_held(rig: StandbyRig) -> None:
    """A quorum of the arbiters died, having said that they hold their leases; they count as alive for a while."""
    rig.fence("h1")
    rig.fence("h4")
    rig.pass_time(3 * LONG_S, heard=("h1", "h4"))
    views = rig.planner.host_views(rig.now)
    assert [views[each].without_lease_s for each in (H1, H4)] == [None, None]


def test_while_the_controller_is_deaf_nobody_becomes_leaseless(rig: StandbyRig) -> None:
    rig.fence("h4")
    rig.now += 60.0
    rig.guard("h1")  # What waited in the sockets is read one after another.
    rig.pass_time(1, heard=())
    assert rig.planner.host_views(rig.now)[H4].without_lease_s is None
    rig.hold("h4")
    assert not [each for each in rig.all_said(ReportHost) if each.host == "h4"]


def test_a_link_that_breaks_does_not_make_a_host_leaseless(rig: StandbyRig) -> None:
    rig.handle(HostDisconnected(id="cut", host=H2))
    rig.pass_time(LONG_S, heard=("h1", "h3", "h4"))
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.pass_time(1, heard=("h1", "h3", "h4"))
    assert rig.planner.host_views(rig.now)[H2].without_lease_s is None
    rig.settle(*ALL)
    assert rig.standby("r1") == ("h2", "ready")


def test_a_host_whose_beat_is_gone_says_nothing_of_its_tenure_and_the_arbiters_are_asked(rig: StandbyRig) -> None:
    """It holds no lease, and says of no incarnation that it is over."""
    for _ in range(8):
        rig.pass_time(2, heard=("h2", "h3", "h4"))
        rig.guard("h1", held=False)
    assert "h1 holds no lease, and h2, which would succeed it, did not take over" in rig.reason("r1")
    rig.guard("h1", held=False)
    rig.bury("h2", "h3", subject=tenure("h1"))
    rig.pass_time(NEWS_S, heard=("h2", "h3", "h4"))
    assert [(each.host, each.kind) for each in rig.all_said(Bind)] == [("h2", MoveKind.RESTART)]


def test_an_active_host_that_is_dead_is_asked_about_although_its_successor_is_heard(rig: StandbyRig) -> None:
    rig.pass_time(200, heard=("h2", "h3", "h4"))
    rig.bury("h2", "h3", subject=tenure("h1"))
    rig.pass_time(NEWS_S, heard=("h2", "h3", "h4"))
    assert [(each.host, each.kind) for each in rig.all_said(Bind)] == [("h2", MoveKind.RESTART)]


def test_an_arbiter_whose_beat_is_gone_is_replaced_once_the_others_have_buried_it(rig: StandbyRig) -> None:
    """It follows no panel; by the word of the others it holds no lease by an earlier one."""
    for _ in range(8):
        rig.pass_time(2, heard=("h1", "h2", "h4"))
        rig.guard("h3", held=False, version=0)
    rig.bury("h1", "h2", "h4", subject=tenure("h3"))
    for _ in range(8):
        rig.pass_time(2, heard=("h1", "h2", "h4"))
        rig.guard("h3", held=False, version=0)
    assert arbiters(rig) == {H1, H2, H4}


# Several standbys


FIVE = ("h1", "h2", "h3", "h4", "h5")


@pytest.fixture
def ranked() -> StandbyRig:
    """r1 active on h1, h2 ready to succeed, and h3 after it."""
    made = StandbyRig(*FIVE, standbys=2)
    made.protect("r1")
    for _ in range(4):
        pass_on(made, 5)
    assert (made.host("r1"), made.standbys_of("r1")) == ("h1", [("h2", "ready"), ("h3", "ready")])
    made.forget()
    return made


def pass_on(rig: StandbyRig, seconds: float) -> None:
    for _ in range(4):
        rig.pass_time(seconds / 4, heard=FIVE)
        rig.settle(*FIVE)


def test_a_first_standby_without_a_lease_loses_its_right_and_the_second_moves_up(ranked: StandbyRig) -> None:
    ranked.fence("h2")
    pass_on(ranked, LONG_S)
    assert ranked.standbys_of("r1") == [("h3", "ready"), ("h4", "ready")]
    assert ranked.role("h3", "r1") == "may succeed h1@1"
    assert ranked.role("h2", "r1") == "nothing"
    assert not ranked.all_said(Bind)


def test_a_second_standby_without_a_lease_is_replaced_behind_the_first(ranked: StandbyRig) -> None:
    ranked.fence("h3")
    pass_on(ranked, LONG_S)
    assert ranked.standbys_of("r1") == [("h2", "ready"), ("h4", "ready")]
    assert ranked.role("h4", "r1") == "may succeed h1@1 and h2@1"


def test_a_first_that_is_back_in_a_moment_is_the_last_and_has_kept_what_it_built(ranked: StandbyRig) -> None:
    ranked.fence("h2")
    pass_on(ranked, LEASELESS_S - 2)
    assert ranked.role("h3", "r1") == "may succeed h1@1 and h2@1", "which is over, as h3 finds out by itself"
    assert not ranked.all_said(StoreSuccession)
    ranked.hold("h2")
    assert ranked.role("h2", "r1") == "may succeed h1@1 and h3@1", "at once, though h4 is idle"
    pass_on(ranked, 1)
    assert ranked.standbys_of("r1") == [("h3", "ready"), ("h2", "ready")]


def test_the_second_takes_over_while_the_first_is_between_leases(ranked: StandbyRig) -> None:
    ranked.fence("h2")
    ranked.take_over("h3", "r1", tenure("h2"))
    assert [(each.host, each.kind, each.epoch) for each in ranked.all_said(Bind)] == [("h3", MoveKind.TAKEOVER, 3)]


def test_a_host_and_its_first_standby_are_fenced_and_the_second_is_made_active(ranked: StandbyRig) -> None:
    """It got its right when nobody hinted any more."""
    ranked.fence("h1")
    ranked.fence("h2")
    ranked.pass_time(NEWS_S, heard=FIVE)
    pass_on(ranked, NEWS_S)
    assert [(each.host, each.kind, each.epoch) for each in ranked.all_said(Bind)] == [("h3", MoveKind.RESTART, 3)]


def test_a_first_whose_beat_is_gone_is_asked_about_when_the_second_is_ready(ranked: StandbyRig) -> None:
    """It holds no lease, and says of no incarnation that it is over."""
    for _ in range(8):
        ranked.pass_time(2, heard=("h1", "h3", "h4", "h5"))
        ranked.guard("h2", held=False, version=0)
    assert ranked.standbys_of("r1") == [("h2", "changing"), ("h3", "ready")]
    ranked.bury("h1", "h3", "h4", subject=tenure("h2"))
    pass_on(ranked, 2)
    assert [host for host, _ in ranked.standbys_of("r1")] == ["h3", "h4"]


def test_all_leases_are_lost_at_once_and_every_host_gets_back_what_it_had_with_several_standbys(
    ranked: StandbyRig,
) -> None:
    ranked.fence(*FIVE)
    pass_on(ranked, 20 * LONG_S)
    assert not ranked.all_said(Bind)
    ranked.hold(*FIVE)
    for _ in range(3):
        pass_on(ranked, LONG_S)
    assert [(each.host, each.kind) for each in ranked.all_said(Bind)] == [("h1", MoveKind.RESTART)]
    assert [state for _, state in ranked.standbys_of("r1")] == ["ready", "ready"]
