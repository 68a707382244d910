"""Of several standbys one takes over, heard or not, or is made active: the others follow, and nothing is undone."""

from planner_rig import facts
from ranked_rig import R1, binds, four, rig_of, stored, three
from standby_rig import TIMES, StandbyRig, tenure

from gapless.core.effects import Bind, ReportHost
from gapless.core.planner.restarts import NEWS_S
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, Takeover


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
