"""A host and its only standby die together: the arbiters say whom they do not hear, and the controller asks them."""

import pytest
from planner_rig import facts
from standby_rig import StandbyRig, binds, tenure

from gapless.core.effects import AskArbiters, Bind, StoreSuccession
from gapless.core.events import BrakeReleased, HostDisconnected
from gapless.core.planner.restarts import CALM_S, NEWS_S
from gapless.model.host import HostName
from gapless.model.lease import Tenure
from gapless.model.plan import MoveKind
from gapless.model.router import FailoverMode

ALL = ("h1", "h2", "h3", "h4", "h5")
ARBITERS = ("h1", "h2", "h3")
LIVING = ("h1", "h2", "h3")
DEAD = (tenure("h4"), tenure("h5"))
SOON_S = 3
"""From the arbiters' word to the question."""


def asked(rig: StandbyRig) -> set[Tenure]:
    return {each.tenure for each in rig.all_said(AskArbiters)}


def protected(*hosts: str, standby: str = "h5", home: str = "h4") -> StandbyRig:
    """r1 active on h4, with h5 as its only standby; h1, h2 and h3 are the arbiters."""
    rig = StandbyRig(*hosts)
    away = [each for each in hosts if each not in (home, standby)]
    for each in (*away, standby):
        rig.set_admin_up(each, admin_up=False)
    rig.protect("r1")
    rig.set_admin_up(standby, admin_up=True)
    for _ in range(3):
        rig.settle(*hosts)
        rig.pass_time(2)
    for each in away:
        rig.set_admin_up(each, admin_up=True)
    rig.settle(*hosts)
    assert (rig.host("r1"), rig.standby("r1")) == (home, (standby, "ready"))
    views = rig.planner.host_views(rig.now)
    assert tuple(sorted(name for name, view in views.items() if view.arbiter)) == ARBITERS
    rig.forget()
    return rig


@pytest.fixture
def rig() -> StandbyRig:
    return protected(*ALL)


def holds_lease(rig: StandbyRig, host: str) -> bool:
    return rig.planner.host_views(rig.now)[HostName(host)].holds_lease


def bury_both(rig: StandbyRig) -> None:
    for subject in DEAD:
        rig.bury("h1", "h2", subject=subject)


def wait(rig: StandbyRig, seconds: float) -> None:
    rig.pass_time(seconds, heard=LIVING)
    rig.settle(*LIVING)


def test_host_and_standby_die_together_and_the_router_is_built_elsewhere_within_seconds(rig: StandbyRig) -> None:
    began = rig.now
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.pass_time(SOON_S)
    assert asked(rig) == set(DEAD)
    assert rig.reason("r1") == "h4 holds no lease, and nobody can succeed it; asks the arbiters whether it is over"
    bury_both(rig)
    while not binds(rig) and rig.now - began < 2 * CALM_S:
        rig.pass_time(1, heard=LIVING)
    assert rig.timing.agent_down_time_s > 2 * CALM_S
    rig.settle(*LIVING)
    [bind] = rig.all_said(Bind)
    assert (bind.kind, bind.host in LIVING, rig.state("r1")) == (MoveKind.RESTART, True, "active")


def test_a_word_that_is_not_a_quorums_asks_nobody(rig: StandbyRig) -> None:
    rig.miss("h1", subjects=DEAD)
    rig.pass_time(20)
    assert not asked(rig)
    rig.miss("h2", subjects=DEAD[:1])
    rig.pass_time(SOON_S)
    assert asked(rig) == {tenure("h4")}, "h5 is said so by one, and may take over any time"


def test_a_word_alone_moves_nothing(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.pass_time(60, heard=LIVING)
    for arbiter in ARBITERS:
        rig.deny(arbiter, subject=tenure("h4"))
    assert not binds(rig)
    assert not rig.all_said(StoreSuccession)
    assert (rig.role("h4", "r1"), rig.role("h5", "r1")) == ("active at 1", "may succeed h4@1")


def test_where_the_standby_lives_it_keeps_its_right_and_a_dead_standby_alone_is_nobodys_business(
    rig: StandbyRig,
) -> None:
    rig.miss(*ARBITERS, subjects=DEAD[1:])
    rig.pass_time(20, heard=(*LIVING, "h4"))
    assert not asked(rig)
    assert rig.role("h5", "r1") == "may succeed h4@1"


def test_a_standby_that_is_expired_is_not_said_to_be_ready_nor_to_hold_its_lease(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD[1:])
    rig.pass_time(SOON_S, heard=(*LIVING, "h4"))
    assert (rig.standby("r1"), holds_lease(rig, "h5")) == (("h5", "changing"), False)
    rig.miss(*ARBITERS)
    rig.pass_time(SOON_S, heard=(*LIVING, "h4"))
    assert (rig.standby("r1"), holds_lease(rig, "h5")) == (("h5", "ready"), True)


def test_a_host_that_is_back_in_time_gets_its_router_back(rig: StandbyRig) -> None:
    """Both were cut off for seconds; h4 is the first to hold its lease again, at its next incarnation."""
    rig.miss(*ARBITERS, subjects=DEAD)
    bury_both(rig)
    rig.pass_time(CALM_S - 3, heard=LIVING)
    rig.miss(*ARBITERS)
    rig.restart_host("h4")
    rig.settle("h4", *LIVING)
    rig.pass_time(30, heard=(*LIVING, "h4"))
    assert binds(rig) == [("h4", MoveKind.RESTART)]
    assert rig.role("h4", "r1") == "active at 2"
    assert asked(rig) == set(DEAD), "of what it is now nothing was said"


def test_a_standby_that_is_back_first_gets_the_router_that_it_has_built(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD)
    bury_both(rig)
    wait(rig, 1)
    assert (rig.host("r1"), rig.role("h5", "r1")) == ("h4", "built")
    rig.miss(*ARBITERS, subjects=DEAD[:1])
    rig.restart_host("h5")
    rig.settle("h5")
    rig.pass_time(2 * NEWS_S, heard=(*LIVING, "h5"))
    assert binds(rig) == [("h5", MoveKind.RESTART)]
    assert rig.role("h5", "r1") == "active at 2"


def test_so_does_one_that_hung_and_says_nothing_of_the_router_when_it_holds_its_lease_again(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD)
    bury_both(rig)
    wait(rig, 1)
    rig.miss(*ARBITERS, subjects=DEAD[:1])
    rig.fence("h5")
    rig.pass_time(2 * NEWS_S, heard=(*LIVING, "h5"))
    assert not binds(rig)
    rig.hold("h5")
    rig.pass_time(2 * NEWS_S, heard=(*LIVING, "h5"))
    assert binds(rig) == [("h5", MoveKind.RESTART)]


def test_a_host_that_is_fenced_by_its_own_word_is_waited_for_and_not_the_standby_that_was(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD[1:])
    rig.fence("h4")
    rig.bury("h1", "h2", subject=tenure("h5"))
    assert (rig.host("r1"), rig.role("h5", "r1")) == ("h4", "built")
    rig.miss(*ARBITERS)
    rig.restart_host("h5")
    rig.settle("h5")
    rig.pass_time(2 * NEWS_S, heard=(*LIVING, "h4", "h5"))
    assert not binds(rig)
    rig.hold("h4")
    rig.settle("h4")
    assert binds(rig) == [("h4", MoveKind.RESTART)]


def test_a_host_that_says_itself_that_it_was_fenced_is_not_expired_any_more(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.fence("h4", "h5")
    rig.hold("h5")
    rig.pass_time(SOON_S)
    assert not asked(rig), "what they were is over by their own word, and of what they are nothing was said"


def test_what_an_arbiter_said_before_counts_only_while_it_is_heard(rig: StandbyRig) -> None:
    rig.miss("h1", "h2", subjects=DEAD)
    rig.handle(HostDisconnected(id="gone", host=HostName("h2")))
    rig.pass_time(20)
    assert not asked(rig)
    rig.connect(facts("h2", lease_address="h2:9698"))
    rig.pass_time(20)
    assert not asked(rig), "it has said nothing in this connection"
    rig.guard("h2")
    rig.pass_time(SOON_S)
    assert asked(rig) == set(DEAD)


def test_while_most_hosts_are_said_to_be_expired_the_controller_goes_by_what_it_hears(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=(*DEAD, tenure("h3")))
    rig.pass_time(20, heard=LIVING)
    assert not asked(rig)
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.pass_time(SOON_S)
    assert asked(rig) == set(DEAD)


def test_while_the_brake_is_engaged_nobody_is_asked_and_that_is_said(rig: StandbyRig) -> None:
    for host in ("h6", "h7", "h8", "h9", "h10", "h11"):
        rig.join(facts(host))
        rig.set_mode(f"classic-of-{host}", FailoverMode.RESCHEDULE)
    rig.pass_time(rig.timing.dead_after_s + 2, heard=ALL)
    assert rig.planner.brake_view().engaged
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.pass_time(SOON_S, heard=ALL)
    assert not asked(rig) & set(DEAD)
    absent = "h4 holds no lease, and nobody can succeed it"
    assert rig.reason("r1") == f"{absent}; the brake is engaged, so nobody is asked whether it is over"
    rig.handle(BrakeReleased(id="release"))
    rig.pass_time(SOON_S, heard=ALL)
    assert asked(rig) >= set(DEAD)
    assert rig.reason("r1") == f"{absent}; asks the arbiters whether it is over"


def test_a_controller_that_begins_meanwhile_goes_on_where_it_was(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.restart()
    for each in LIVING:
        rig.connect(facts(each, lease_address=f"{each}:9698"))
    rig.settle(*LIVING)
    rig.pass_time(SOON_S)
    assert asked(rig) == set(DEAD)
    bury_both(rig)
    wait(rig, CALM_S + 1)
    wait(rig, 1)
    assert (binds(rig)[0][1], rig.state("r1")) == (MoveKind.RESTART, "active")


def test_nothing_new_goes_to_a_host_that_is_expired_and_has_nothing_to_lose() -> None:
    """h4 and its standby h5 die with h6, which is idle, and so would be the first choice."""
    everybody = (*ALL, "h6")
    rig = protected(*everybody)
    rig.protect("r2", "r3", "r4")
    for _ in range(3):
        rig.settle(*LIVING)
        rig.pass_time(1)
    rig.miss(*ARBITERS, subjects=(*DEAD, tenure("h6")))
    rig.protect("r5")
    bury_both(rig)
    wait(rig, CALM_S + 1)
    wait(rig, 1)
    assert rig.host("r5") != "h6"
    assert rig.host("r1") in LIVING


def test_a_standby_that_has_just_died_is_not_made_active_when_its_host_is_over(rig: StandbyRig) -> None:
    """The arbiters' answers on the one come before those on the other."""
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.bury("h1", "h2", subject=tenure("h4"))
    rig.pass_time(5)
    assert not binds(rig)
    assert rig.reason("r1") == "h4 is over; waits until h5, which stands by for it, has it built"
    rig.bury("h1", "h2", subject=tenure("h5"))
    wait(rig, CALM_S + 1)
    assert binds(rig)[0][0] in LIVING


def test_a_right_that_was_being_taken_from_the_dead_standby_is_asked_about_too(rig: StandbyRig) -> None:
    rig.set_admin_up("h5", admin_up=False)
    rig.pass_time(1)
    assert rig.standby("r1") == ("h5", "changing")
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.pass_time(SOON_S)
    assert asked(rig) == {tenure("h5")}
    rig.bury("h1", "h2", subject=tenure("h5"))
    rig.bury("h1", "h2", subject=tenure("h4"))
    wait(rig, CALM_S + 1)
    wait(rig, 1)
    assert rig.host("r1") in LIVING


def test_a_router_that_leaves_does_not_wait_for_a_standby_that_has_just_died(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD[1:])
    rig.pass_time(1)
    rig.failed("h4", "r1")
    rig.pass_time(SOON_S)
    assert asked(rig) == {tenure("h5")}
    rig.bury("h1", "h2", subject=tenure("h5"))
    wait(rig, 1)
    assert rig.host("r1") in LIVING


def test_a_host_that_reports_and_does_not_renew_is_asked_about_until_that_is_known(rig: StandbyRig) -> None:
    """Its beat hangs."""
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.pass_time(SOON_S)
    rig.forget()
    rig.guard("h4")
    rig.pass_time(SOON_S)
    assert tenure("h4") in asked(rig)


def test_host_is_over_by_its_own_word_and_its_standby_dies(rig: StandbyRig) -> None:
    rig.miss(*ARBITERS, subjects=DEAD[1:])
    rig.fence("h4")
    rig.pass_time(SOON_S)
    assert asked(rig) == {tenure("h5")}


def test_both_die_while_the_router_is_on_its_way_from_one_to_the_other(rig: StandbyRig) -> None:
    rig.set_admin_up("h4", admin_up=False)
    assert (rig.host("r1"), rig.state("r1")) == ("h5", "withdrawing")
    rig.miss(*ARBITERS, subjects=DEAD)
    rig.pass_time(SOON_S)
    assert asked(rig) == set(DEAD)


def test_of_several_standbys_those_before_the_one_that_lives_are_asked_about() -> None:
    rig = StandbyRig(*ALL, standbys=2)
    rig.protect("r1")
    for _ in range(6):
        rig.settle(*ALL)
        rig.pass_time(2)
    (first, _), (second, _) = rig.standbys_of("r1")
    home = rig.host("r1")
    assert home is not None
    rig.forget()
    others = [each for each in ALL if each not in (home, first)]
    rig.miss(*others, subjects=(tenure(home), tenure(first)))
    rig.pass_time(SOON_S)
    assert asked(rig) == {tenure(home), tenure(first)}
    assert rig.role(second, "r1") == f"may succeed {home}@1 and {first}@1"


def test_a_router_that_waits_for_a_host_gets_it_when_that_renews_again() -> None:
    apart = facts("h9", lease_address="h9:9698", availability_zone="apart")
    rig = StandbyRig(*ALL, apart)
    rig.miss(*ALL, subjects=[tenure("h9")])
    rig.pass_time(1)
    rig.protect("r1", availability_zone_hints=frozenset({"apart"}))
    assert rig.host("r1") is None
    rig.miss(*ALL)
    rig.pass_time(2)
    assert rig.host("r1") == "h9"
