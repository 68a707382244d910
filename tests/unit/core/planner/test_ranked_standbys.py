"""Several standbys: the second waits for the first, keeps its right while others come and go, and moves up."""

from collections.abc import Callable

import pytest
from planner_rig import facts
from standby_rig import TIMES, StandbyRig, tenure

from gapless.core.effects import AskArbiters, Bind, ReportHost, StoreSuccession
from gapless.core.events import HostAdminChanged, RouterDeleted
from gapless.core.planner.restarts import CALM_S, NEWS_S
from gapless.model.host import HostName
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, MoveKind, Successor, Takeover
from gapless.model.router import FailoverMode, RouterId

R1 = RouterId("r1")


def rig_of(*hosts: str, standbys: int = 2) -> StandbyRig:
    """r1 active on h1, then h2, h3, ... ready to succeed, as many as there should be."""
    rig = StandbyRig(*hosts, standbys=standbys)
    rig.protect("r1")
    for _ in range(4):
        rig.settle(*hosts)
        rig.pass_time(1, heard=hosts)
    assert (rig.host("r1"), rig.state("r1")) == ("h1", "active")
    assert rig.standbys_of("r1") == [(host, "ready") for host in hosts[1 : standbys + 1]]
    rig.forget()
    return rig


def three() -> StandbyRig:
    return rig_of("h1", "h2", "h3")


def four() -> StandbyRig:
    """As `three`, with h4 idle."""
    return rig_of("h1", "h2", "h3", "h4")


def binds(rig: StandbyRig) -> list[tuple[str, MoveKind, int]]:
    return [(each.host, each.kind, each.epoch) for each in rig.all_said(Bind)]


def stored(rig: StandbyRig) -> list[tuple[Tenure, int]]:
    return [(each.tenure, each.epoch) for each in rig.store.bindings[R1].successors]


# Giving


def test_each_standby_waits_for_all_before_it() -> None:
    rig = rig_of("h1", "h2", "h3", "h4", standbys=3)
    assert rig.role("h2", "r1") == "may succeed h1@1"
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1"
    assert rig.role("h4", "r1") == "may succeed h1@1 and h2@1 and h3@1"
    assert [rig.duty(host, "r1").epoch for host in ("h1", "h2", "h3", "h4")] == [1, 2, 3, 4]
    assert stored(rig) == [(tenure("h2"), 2), (tenure("h3"), 3), (tenure("h4"), 4)]


def test_the_second_gets_its_right_when_that_is_stored_too() -> None:
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    rig.answers = False
    rig.protect("r1")
    rig.answer(rig.unanswered[0])
    rig.answer(rig.unanswered[0])
    (second,) = rig.unanswered
    assert isinstance(second, StoreSuccession)
    assert [each.tenure for each in second.successors] == [tenure("h2"), tenure("h3")]
    assert rig.role("h3", "r1") == "built"
    rig.answer(second)
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1"


def test_with_too_few_hosts_it_has_as_many_as_there_are_and_says_so() -> None:
    rig = StandbyRig("h1", "h2", standbys=2)
    rig.protect("r1")
    rig.settle("h1", "h2")
    assert rig.standbys_of("r1") == [("h2", "ready")]
    assert rig.reason("r1") == "no other standby: there is no other host"
    rig.join("h3")
    assert rig.standbys_of("r1") == [("h2", "ready"), ("h3", "building")]


def test_what_hosts_leave_when_they_die_is_spread_over_all_that_are_left() -> None:
    hosts = ("h1", "h2", "h3", "h4", "h5")
    rig = StandbyRig(*hosts, standbys=2)
    for number in range(1, 41):
        rig.protect(f"r{number:02}")
        rig.settle(*hosts)
    views = rig.planner.router_views().values()
    falls = [(view.host, *(each.host for each in view.standbys)) for view in views]
    assert {len(each) for each in falls} == {3}
    for home in hosts:
        others = [host for host in hosts if host != home]
        firsts = [sum(each[:2] == (home, other) for each in falls) for other in others]
        assert max(firsts) - min(firsts) <= 1
        for first in others:
            left = [host for host in others if host != first]
            seconds = [sum(each == (home, first, other) for each in falls) for other in left]
            assert max(seconds) - min(seconds) <= 1


def test_both_standbys_are_in_other_zones_where_there_are_any() -> None:
    def at(name: str, zone: str) -> object:
        return facts(name, availability_zone=zone, lease_address=f"{name}:1")

    hosts = (at("h1", "a"), at("h2", "a"), at("h3", "b"), at("h4", "c"))
    rig = StandbyRig(*hosts, standbys=2)  # type: ignore[arg-type]
    rig.protect("r1")
    assert {host for host, _ in rig.standbys_of("r1")} == {"h3", "h4"}


def test_fewer_are_wanted_after_a_restart_and_the_last_one_goes() -> None:
    rig = three()
    rig.standbys = 1
    rig.restart()
    for host in ("h1", "h2", "h3"):
        rig.connect(facts(host, lease_address=f"{host}:9698"))
        rig.guard(host)
    rig.settle("h1", "h2", "h3")
    assert rig.standbys_of("r1") == [("h2", "ready")]
    assert rig.role("h3", "r1") in ("built", "nothing")
    assert stored(rig) == [(tenure("h2"), 2)]


def test_a_planner_that_starts_from_the_store_gives_the_same_roles() -> None:
    rig = three()
    before = [rig.role(host, "r1") for host in ("h1", "h2", "h3")]
    rig.restart()
    assert [rig.role(host, "r1") for host in ("h1", "h2", "h3")] == before


# Takeovers


def test_after_the_first_took_over_the_second_is_its_successor_at_once() -> None:
    rig = four()
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"))
    assert rig.role("h2", "r1") == "active at 1"
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1", "stored or not"
    rig.answer(rig.unanswered[0])
    assert rig.role("h3", "r1") == "may succeed h2@1"
    assert rig.standbys_of("r1") == [("h3", "ready")]
    assert stored(rig) == [(tenure("h3"), 3)]


def test_the_second_takes_over_from_a_first_that_nobody_heard() -> None:
    """Home and first died together, or one after the other and unheard: the second's epoch is above the first's."""
    rig = four()
    rig.take_over("h3", "r1", tenure("h2"))
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.epoch, bind.replaces) == ("h3", MoveKind.TAKEOVER, 3, 1)
    assert bind.reason == "h3 took over router r1: the leases of h1@1 and h2@1 are over"
    assert (rig.host("r1"), rig.epoch("r1"), rig.state("r1")) == ("h3", 3, "active")
    assert stored(rig) == []
    assert rig.role("h2", "r1") == "nothing"


def test_a_first_that_is_heard_after_the_second_is_over_all_the_same() -> None:
    rig = four()
    rig.answers = False
    rig.take_over("h3", "r1", tenure("h2"))
    said = Takeover(router_id=R1, epoch=Epoch(2), of=tenure("h1"), times=TIMES)
    rig.open["h2"][R1] = Epoch(2)
    rig.guard("h2", took=(said,))
    assert rig.role("h3", "r1") == "active at 1"
    assert rig.role("h2", "r1") == "built"
    rig.answer(rig.unanswered[0])
    rig.guard("h2")
    assert binds(rig) == [("h3", MoveKind.TAKEOVER, 3)]


def test_a_second_that_is_heard_while_the_first_is_being_stored_is_not_undone() -> None:
    rig = four()
    rig.answers = False
    rig.take_over("h2", "r1", tenure("h1"))
    rig.take_over("h3", "r1", tenure("h2"))
    assert rig.role("h3", "r1") == "active at 1", "a plan that says it was heard must not close it"
    assert rig.role("h2", "r1") == "built"
    rig.answer(rig.unanswered[0])
    assert rig.role("h3", "r1") == "active at 1"
    rig.answer(rig.unanswered[0])
    assert binds(rig) == [("h2", MoveKind.TAKEOVER, 2), ("h3", MoveKind.TAKEOVER, 3)]
    assert (rig.host("r1"), rig.epoch("r1")) == ("h3", 3)


def test_a_controller_that_was_away_learns_of_the_second_from_what_is_open() -> None:
    rig = four()
    rig.restart()
    rig.open["h3"][R1] = Epoch(3)
    rig.connect(facts("h3", lease_address="h3:9698"))
    rig.guard("h3")
    assert binds(rig)[-1] == ("h3", MoveKind.TAKEOVER, 3)
    assert rig.role("h3", "r1") == "active at 1"
    assert not [each for each in rig.all_said(ReportHost) if "old copy" in each.reason]


def test_a_controller_that_was_away_for_two_takeovers_hears_of_the_last() -> None:
    rig = four()
    rig.restart()
    for host, epoch in (("h2", 2), ("h3", 3)):
        rig.open[host][R1] = Epoch(epoch)
        rig.connect(facts(host, lease_address=f"{host}:9698"))
    rig.guard("h3")
    rig.guard("h2")
    assert (rig.host("r1"), rig.epoch("r1")) == ("h3", 3)
    assert rig.role("h3", "r1") == "active at 1"


def test_a_second_that_was_fenced_before_it_could_say_so_took_over_and_is_over() -> None:
    rig = four()
    said = Takeover(router_id=R1, epoch=Epoch(3), of=tenure("h2"), times=TIMES)
    rig.incarnations["h3"], rig.open["h3"] = 2, {}
    rig.connect(facts("h3", lease_address="h3:9698"))
    rig.guard("h3", took=(said,))
    rig.pass_time(2 * NEWS_S, heard=("h3", "h4"))
    assert rig.planner.host_views(rig.now)[HostName("h2")].holds_lease is False, "it took over from h2"
    assert not [each for each in rig.all_said(ReportHost) if "old copy" in each.reason]


def test_an_old_takeover_that_is_heard_late_buries_nobody_who_stands_by_since() -> None:
    """h3@1 took over after h2@1, was fenced unheard, and stands by anew; so does h2, which is before it again."""
    rig = three()
    for host in ("h2", "h3"):
        rig.incarnations[host], rig.open[host] = 2, {}
        rig.connect(facts(host, lease_address=f"{host}:9698"))
    rig.guard("h2")
    rig.guard("h3")
    rig.settle("h2", "h3")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2", "h3"]
    rig.guard("h3", took=(Takeover(router_id=R1, epoch=Epoch(3), of=tenure("h2"), times=TIMES),))
    assert rig.planner.host_views(rig.now)[HostName("h2")].holds_lease
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@2"


def test_there_are_as_many_again_when_things_are_calm() -> None:
    rig = four()
    rig.take_over("h2", "r1", tenure("h1"))
    rig.pass_time(1, heard=("h2", "h3", "h4"))
    assert rig.standbys_of("r1") == [("h3", "ready")], "nothing is built right after a takeover"
    assert "no other standby until things have been calm" in rig.reason("r1")
    rig.pass_time(CALM_S, heard=("h2", "h3", "h4"))
    rig.settle("h2", "h3", "h4")
    assert [host for host, _ in rig.standbys_of("r1")][:1] == ["h3"]
    assert len(rig.standbys_of("r1")) == 2


# Taking


def test_while_the_first_is_replaced_the_second_keeps_its_right_and_waits_for_it() -> None:
    rig = four()
    rig.answers = False
    rig.set_admin_up("h2", admin_up=False)
    assert rig.role("h2", "r1") == "built"
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1", "h2 has not acknowledged yet"
    rig.guard("h2", version=1)
    assert rig.unanswered == [], "an answer to an older plan proves nothing"
    rig.guard("h2")
    (erased,) = rig.unanswered
    assert isinstance(erased, StoreSuccession)
    assert erased.successors == (Successor(tenure=tenure("h3"), epoch=Epoch(3)),)
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1", "it is not stored yet"
    rig.answer(erased)
    assert rig.role("h3", "r1") == "may succeed h1@1"
    (given,) = rig.unanswered
    assert isinstance(given, StoreSuccession)
    assert [(each.tenure, each.epoch) for each in given.successors] == [(tenure("h3"), 3), (tenure("h4"), 4)]
    rig.answer(given)
    assert rig.role("h4", "r1") == "may succeed h1@1 and h3@1", "who comes last waits for all"


def test_a_first_that_uses_its_right_while_that_is_taken_leaves_the_second_as_it_is() -> None:
    rig = four()
    rig.set_admin_up("h2", admin_up=False)
    rig.take_over("h2", "r1", tenure("h1"))
    assert binds(rig) == [("h2", MoveKind.TAKEOVER, 2), ("h3", MoveKind.DRAIN, 3)], "h2 is out of service"
    assert rig.role("h3", "r1") == "may succeed h2@1"


def test_the_second_may_take_over_while_the_first_s_right_is_taken() -> None:
    rig = four()
    rig.set_admin_up("h2", admin_up=False)
    rig.take_over("h3", "r1", tenure("h2"))
    assert binds(rig) == [("h3", MoveKind.TAKEOVER, 3)]
    assert rig.role("h3", "r1") == "active at 1"


def test_one_that_does_not_suit_goes_even_if_nobody_can_replace_it_as_long_as_another_suits() -> None:
    rig = three()
    rig.set_admin_up("h2", admin_up=False)
    rig.guard("h2")
    assert rig.standbys_of("r1") == [("h3", "ready")]
    assert rig.role("h3", "r1") == "may succeed h1@1"
    assert "no other standby: h2 is taken out of service" in rig.reason("r1")


def test_the_last_one_that_does_not_suit_stays_until_there_is_another() -> None:
    rig = three()
    rig.handle(HostAdminChanged(id="drain", host=HostName("h3"), admin_up=False))
    rig.guard("h3")
    rig.handle(HostAdminChanged(id="drain", host=HostName("h2"), admin_up=False))
    rig.guard("h2")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2"]
    assert "its standby h2 is taken out of service, and there is no other yet" in rig.reason("r1")


def test_a_standby_that_restarted_comes_last() -> None:
    rig = three()
    rig.restart_host("h2")
    rig.settle("h2", "h3")
    assert rig.standbys_of("r1") == [("h3", "ready"), ("h2", "ready")]
    assert rig.role("h3", "r1") == "may succeed h1@1"
    assert rig.role("h2", "r1") == "may succeed h1@1 and h3@1"
    assert stored(rig) == [(tenure("h3"), 3), (tenure("h2", 2), 4)]


def test_a_dead_first_keeps_its_right_until_the_arbiters_bury_it() -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5")
    rig.pass_time(160, heard=("h1", "h3", "h4", "h5"))
    assert {each.tenure for each in rig.all_said(AskArbiters)} == {tenure("h2")}
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1"
    rig.bury("h1", "h3", "h4", subject=tenure("h2"))
    assert rig.standbys_of("r1")[0][0] == "h3"
    assert rig.role("h3", "r1") == "may succeed h1@1"


# Hosts that die or restart


def test_if_nobody_says_so_the_second_is_made_active_when_home_and_first_are_over() -> None:
    rig = four()
    rig.restart_host("h1")
    rig.restart_host("h2")
    assert binds(rig) == []
    rig.pass_time(2 * NEWS_S, heard=("h1", "h2", "h3", "h4"))
    assert binds(rig) == [("h3", MoveKind.RESTART, 3)]
    assert rig.role("h3", "r1") == "active at 1"


def test_a_first_that_has_it_not_built_gives_way_to_a_second_that_has() -> None:
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    rig.protect("r1")
    rig.settle("h1", "h3")
    rig.forget()
    rig.restart_host("h1")
    rig.pass_time(NEWS_S, heard=("h1", "h3"))
    assert binds(rig) == []
    assert rig.role("h2", "r1") == "built"
    rig.guard("h2")
    assert rig.role("h3", "r1") == "may succeed h1@1", "so it may say by itself that it took over"
    rig.pass_time(NEWS_S, heard=("h1", "h3"))
    assert binds(rig) == [("h3", MoveKind.RESTART, 3)]


def test_home_and_both_standbys_over_brings_it_back_to_whoever_can() -> None:
    rig = four()
    for host in ("h2", "h3", "h1"):
        rig.restart_host(host)
        rig.guard(host)
    for _ in range(3):
        rig.pass_time(2 * NEWS_S, heard=("h1", "h2", "h3", "h4"))
        rig.settle("h1", "h2", "h3", "h4")
    assert rig.state("r1") == "active"
    assert len(rig.standbys_of("r1")) == 2


def test_home_and_first_unheard_are_not_moved_while_the_second_is_there() -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5")
    rig.pass_time(200, heard=("h3", "h4", "h5"))
    assert binds(rig) == []
    assert "h3, which would succeed it, did not take over" in rig.reason("r1")


# Operators


def test_a_drain_goes_to_the_first_and_the_second_keeps_its_right_throughout() -> None:
    rig = four()
    rig.set_admin_up("h1", admin_up=False)
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.epoch, bind.leaving_host) == ("h2", MoveKind.DRAIN, 2, "h1")
    assert rig.role("h2", "r1") == "may succeed h1@1"
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1"
    rig.obey("h1")
    assert rig.role("h2", "r1") == "active at 1"
    assert rig.role("h3", "r1") == "may succeed h2@1"
    rig.settle("h2", "h3", "h4")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h3", "h4"]


def test_the_second_takes_over_from_both_ends_of_a_move() -> None:
    rig = four()
    rig.set_admin_up("h1", admin_up=False)
    assert rig.state("r1") == "withdrawing"
    rig.take_over("h3", "r1", tenure("h2"))
    assert binds(rig) == [("h2", MoveKind.DRAIN, 2), ("h3", MoveKind.TAKEOVER, 3)]
    assert (rig.host("r1"), rig.epoch("r1"), rig.state("r1")) == ("h3", 3, "active")


def test_the_second_takes_over_while_a_move_to_the_first_is_being_stored() -> None:
    rig = four()
    rig.answers = False
    rig.set_admin_up("h1", admin_up=False)
    rig.take_over("h3", "r1", tenure("h2"))
    assert rig.role("h3", "r1") == "active at 1"
    rig.answer(rig.unanswered[0])
    assert rig.role("h3", "r1") == "active at 1"
    rig.answer(rig.unanswered[0])
    assert (rig.host("r1"), rig.epoch("r1"), rig.state("r1")) == ("h3", 3, "active")


def test_a_target_that_restarts_on_the_way_leaves_the_router_to_the_second() -> None:
    rig = four()
    rig.set_admin_up("h1", admin_up=False)
    rig.restart_host("h2")
    assert binds(rig) == [("h2", MoveKind.DRAIN, 2), ("h3", MoveKind.DRAIN, 3)]
    rig.settle("h1", "h2", "h3", "h4")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


def test_a_target_and_the_second_that_restart_on_the_way_leave_it_where_it_was() -> None:
    rig = three()
    rig.move("r1", "h2")
    rig.restart_host("h3")
    rig.restart_host("h2")
    rig.guard("h3")
    assert binds(rig)[-1][:2] == ("h1", MoveKind.RETRY)
    assert rig.role("h1", "r1") == "active at 1"


def test_a_move_to_the_second_takes_the_right_of_the_first() -> None:
    rig = four()
    rig.move("r1", "h3")
    assert binds(rig) == []
    assert rig.role("h2", "r1") == "built"
    rig.guard("h2")
    (bind,) = rig.all_said(Bind)
    assert (bind.host, bind.kind, bind.epoch, bind.replaces) == ("h3", MoveKind.MANUAL, 3, 1)
    rig.settle("h1", "h2", "h3", "h4")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")
    assert len(rig.standbys_of("r1")) == 2


def test_a_move_to_a_host_that_does_not_stand_by_takes_all_rights_first() -> None:
    rig = four()
    rig.move("r1", "h4")
    assert {rig.role("h2", "r1"), rig.role("h3", "r1")} == {"built"}
    assert rig.reason("r1") == "waits until h2 and h3 say that they will not succeed h1 any more"
    rig.guard("h2")
    rig.guard("h3")
    assert rig.role("h4", "r1") == "may succeed h1@1"
    for _ in range(4):
        rig.obey("h2", "h3", "h4")
    assert [each[:2] for each in binds(rig)] == [("h4", MoveKind.MANUAL)]
    rig.settle("h1", "h2", "h3", "h4")
    assert (rig.host("r1"), rig.state("r1")) == ("h4", "active")
    assert len(rig.standbys_of("r1")) == 2


@pytest.mark.parametrize("standbys", [1, 2])
def test_a_move_to_a_standby_that_is_dead_is_refused_and_the_arbiters_are_asked(standbys: int) -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5", standbys=standbys)
    rig.pass_time(160, heard=("h1", "h3", "h4", "h5"))
    rig.move("r1", "h2")
    rig.pass_time(2, heard=("h1", "h3", "h4", "h5"))
    assert any("refused" in said and "h2 is dead" in said for said in rig.explanations("r1"))
    assert tenure("h2") in {each.tenure for each in rig.all_said(AskArbiters)}


@pytest.mark.parametrize("standbys", [1, 2])
def test_a_drain_does_not_wait_for_ever_for_a_standby_that_is_dead(standbys: int) -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5", standbys=standbys)
    rig.pass_time(160, heard=("h1", "h3", "h4", "h5"))
    rig.forget()
    rig.set_admin_up("h1", admin_up=False)
    rig.bury("h1", "h3", "h4", subject=tenure("h2"))
    for _ in range(6):
        rig.settle("h1", "h3", "h4", "h5")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


def test_a_router_that_need_not_be_guarded_loses_all_rights_first() -> None:
    rig = three()
    rig.set_mode("r1", FailoverMode.RESCHEDULE)
    rig.guard("h2")
    assert rig.role("h1", "r1") == "active at 1", "h3 may still succeed"
    rig.guard("h3")
    assert [rig.role(host, "r1") for host in ("h1", "h2", "h3")] == ["runs", "nothing", "nothing"]


def test_a_deleted_router_is_in_nobody_s_plan() -> None:
    rig = three()
    rig.store.delete_router(R1)
    rig.handle(RouterDeleted(id="gone", router_id=R1))
    assert [rig.plan(host) for host in ("h1", "h2", "h3")] == [{}, {}, {}]


# A first that cannot take it now


def building() -> StandbyRig:
    """r1 active on h1, h3 ready to succeed; h2, which is before it, builds still."""
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    rig.protect("r1")
    rig.settle("h1", "h3")
    assert rig.standbys_of("r1") == [("h2", "building"), ("h3", "ready")]
    rig.forget()
    return rig


def fenced() -> StandbyRig:
    """As `three`; h2's lease lapsed a moment ago."""
    rig = three()
    rig.fence("h2")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2", "h3"]
    return rig


UNSAID = "and does not say whether it has its connections"


def prospect(rig: StandbyRig) -> tuple[str, str | None, str]:
    (only,) = rig.planner.prospects(HostName("h1"))
    return only.kind, only.host, only.reason


@pytest.mark.parametrize("rig_of_first", [building, fenced])
def test_a_drain_goes_to_the_first_that_can_take_it_now(rig_of_first: Callable[[], StandbyRig]) -> None:
    rig = rig_of_first()
    assert prospect(rig) == ("switchover", "h3", f"h3 has it built, {UNSAID}")
    rig.set_admin_up("h1", admin_up=False)
    rig.obey("h2")
    assert binds(rig) == [("h3", MoveKind.DRAIN, 3)]
    rig.obey("h1")
    rig.settle("h3")
    assert (rig.host("r1"), rig.state("r1")) == ("h3", "active")


def test_a_first_that_is_not_heard_is_asked_about_and_the_second_gets_the_drain() -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5")
    rig.pass_time(80, heard=("h1", "h3", "h4", "h5"))
    assert rig.standbys_of("r1") == [("h2", "silent"), ("h3", "ready")]
    assert prospect(rig) == ("switchover", "h3", f"h3 has it built, {UNSAID}")
    rig.forget()
    rig.set_admin_up("h1", admin_up=False)
    assert rig.reason("r1") == "waits until h2 says that it will not succeed h1 any more"
    rig.bury("h1", "h3", "h4", subject=tenure("h2"))
    assert binds(rig) == [("h3", MoveKind.DRAIN, 3)]


def test_where_nobody_can_take_it_now_the_first_that_suits_is_waited_for() -> None:
    rig = StandbyRig("h1", "h2", "h3", standbys=2)
    rig.protect("r1")
    rig.settle("h1")
    assert prospect(rig) == ("build", "h2", "h2 stands by for it, and builds it")
    rig.set_admin_up("h1", admin_up=False)
    assert rig.reason("r1").endswith("as soon as h2 has it built")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2", "h3"]


def test_only_the_last_of_several_standbys_is_left_and_that_one_is_fenced() -> None:
    rig = fenced()
    rig.fence("h3")
    rig.set_admin_up("h1", admin_up=False)
    assert rig.reason("r1").endswith("as soon as h2 has it built"), "either is back in a moment"
    rig.hold("h2")
    rig.settle("h1", "h2", "h3")
    assert (rig.host("r1"), rig.state("r1")) == ("h2", "active")
