"""Several standbys: who they are, each waits for all before it, and there are as many as there should be."""

from planner_rig import facts
from ranked_rig import four, rig_of, stored, three
from standby_rig import StandbyRig, tenure

from gapless.core.effects import StoreSuccession
from gapless.core.planner.leaseless import CALM_S


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


def test_there_are_as_many_again_when_things_are_calm() -> None:
    rig = four()
    rig.take_over("h2", "r1", tenure("h1"))
    rig.pass_time(1, heard=("h2", "h3", "h4"))
    assert rig.standbys_of("r1") == [("h3", "ready")], "nothing is built right after a takeover"
    assert rig.reason("r1") == "no other standby: waits for h1 to hold its lease again"
    rig.pass_time(CALM_S, heard=("h2", "h3", "h4"))
    rig.settle("h2", "h3", "h4")
    assert [host for host, _ in rig.standbys_of("r1")][:1] == ["h3"]
    assert len(rig.standbys_of("r1")) == 2


def test_one_that_does_not_suit_any_more_stays_where_the_other_is_not_heard_by_the_arbiters() -> None:
    """It is the only one that could take over."""
    rig = three()
    rig.miss("h1", "h3", subjects=[tenure("h2")])
    rig.pass_time(1)
    rig.set_admin_up("h3", admin_up=False)
    rig.pass_time(5, heard=("h1", "h3"))
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1"
    assert rig.reason("r1") == "its standby h3 is taken out of service, and there is no other yet"
    rig.miss("h1", "h3")
    rig.pass_time(2, heard=("h1", "h2", "h3"))
    assert rig.role("h3", "r1") == "built"
