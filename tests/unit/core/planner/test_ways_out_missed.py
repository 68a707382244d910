"""A host has lost a way out, and a standby that has it is not there any more, as the arbiters say."""

from standby_rig import StandbyRig, tenure
from ways_rig import OUTSIDE, fleet, moves, plugged, settle

from gapless.core.effects import AskArbiters
from gapless.core.ledger.ways import SETTLED_S


def with_a_third(standbys: int = 1) -> StandbyRig:
    """r1 on h1, and the last to join is idle, in service, and has the way as the others have."""
    rig = fleet("h1", standbys=standbys)
    rig.protect("r1", physical_networks=OUTSIDE)
    rig.settle("h1")
    for number in range(standbys + 1):
        rig.join(plugged(f"h{number + 2}"))
        rig.say_ways(f"h{number + 2}")
        settle(rig, 10)
    assert rig.standbys_of("r1") == [(f"h{number + 2}", "ready") for number in range(standbys)]
    rig.forget()
    return rig


def lose(rig: StandbyRig, host: str) -> None:
    """It has no power any more, and the arbiters say that nobody renews its lease."""
    del rig.incarnations[host]
    rig.miss(*rig.incarnations, subjects=[tenure(host)])


def test_a_standby_that_has_the_way_and_is_missed_is_not_waited_for() -> None:
    rig = with_a_third()
    lose(rig, "h2")
    rig.say_ways("h1", lost="external")
    settle(rig, SETTLED_S + 3)
    assert {each.tenure for each in rig.all_said(AskArbiters)} == {tenure("h2")}
    rig.bury("h1", "h3", subject=tenure("h2"))
    settle(rig, 3)
    assert moves(rig) == [("r1", "h1", "h3")]


def test_of_two_standbys_the_one_that_is_missed_gives_place_and_not_the_last() -> None:
    """The last does not say how its ways are."""
    rig = with_a_third(standbys=2)
    del rig.ways["h3"]
    settle(rig, 1)
    lose(rig, "h2")
    rig.say_ways("h1", lost="external")
    settle(rig, SETTLED_S + 2)
    assert rig.role("h2", "r1") == "built"
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1"
    rig.bury("h1", "h3", subject=tenure("h2"))
    settle(rig, 4)
    assert moves(rig) == [("r1", "h1", "h4")]


def test_where_nobody_else_has_the_way_the_standby_that_is_missed_keeps_its_right() -> None:
    rig = with_a_third()
    rig.say_ways("h3", lost="external")
    settle(rig, 1)
    lose(rig, "h2")
    rig.say_ways("h1", lost="external")
    settle(rig, 3 * SETTLED_S)
    assert rig.role("h2", "r1") == "may succeed h1@1"
    rig.miss("h1", "h3")
    rig.incarnations["h2"] = 1
    settle(rig, 12)
    assert moves(rig) == [("r1", "h1", "h2")]
