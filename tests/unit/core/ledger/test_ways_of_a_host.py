"""What is known of one host's ways out: since when they are lost, and when they are there for long enough."""

from ipaddress import IPv4Address

from gapless.core.events import RouterNeeds
from gapless.core.ledger.ways import FORGOTTEN_S, MOST_S, SETTLED_S, WaysRecord
from gapless.model.router import FailoverMode, RouterId
from gapless.model.way import WayOut, WaysSaid

OUT = WayOut("external")
GATEWAY = WayOut("external", IPv4Address("203.0.113.1"))
LOST, UNSURE, WELL = WaysSaid(lost=(OUT,)), WaysSaid(unsure=(OUT,)), WaysSaid()


def needs(*networks: str, gateway: WayOut | None = None) -> RouterNeeds:
    return RouterNeeds(
        router_id=RouterId("r1"), mode=FailoverMode.STANDBY, physical_networks=frozenset(networks), gateway=gateway
    )


USES = needs("external")
LACKING = frozenset({GATEWAY})
"""What the host that asks has lost, with a carrier that is there."""


def test_a_loss_is_known_at_once_and_counts_when_it_has_stood() -> None:
    ways = WaysRecord()
    assert ways.heard(LOST, 10.0)
    assert ways.lost_of(USES) == [OUT]
    assert ways.lost_for_long(USES, 10.0 + SETTLED_S - 0.1) == []
    assert not ways.heard(LOST, 12.0), "the same is no news"
    assert ways.lost_for_long(USES, 10.0 + SETTLED_S) == [OUT]
    assert not ways.has(USES.ways, LACKING, 100.0)


def test_what_is_back_in_between_begins_anew() -> None:
    ways = WaysRecord()
    ways.heard(LOST, 10.0)
    ways.heard(WELL, 14.0)
    ways.heard(LOST, 14.1)
    assert ways.lost_for_long(USES, 10.0 + SETTLED_S) == []
    assert ways.lost_for_long(USES, 14.1 + SETTLED_S) == [OUT]


def test_a_router_cares_for_the_ways_that_it_uses() -> None:
    ways = WaysRecord()
    ways.heard(WaysSaid(lost=(GATEWAY,)), 0.0)
    assert ways.lost_of(needs("external", gateway=GATEWAY)) == [GATEWAY]
    assert ways.lost_of(needs("external", gateway=WayOut("external", IPv4Address("203.0.113.129")))) == []
    assert ways.lost_of(needs("other")) == []
    assert ways.has(needs("external").ways, LACKING, SETTLED_S), (
        "its carrier is there, and this router asks for no gateway"
    )


def test_a_host_that_says_nothing_has_lost_nothing_and_has_nothing() -> None:
    ways = WaysRecord()
    assert not ways.heard(None, 0.0)
    assert ways.lost_of(USES) == []
    assert not ways.has(USES.ways, LACKING, 1000.0)


def test_a_host_that_begins_to_say_how_its_ways_are_is_believed_after_a_while() -> None:
    ways = WaysRecord()
    ways.heard(WELL, 10.0)
    assert not ways.has(USES.ways, LACKING, 10.0 + SETTLED_S - 0.1)
    assert ways.has(USES.ways, LACKING, 10.0 + SETTLED_S)


def test_what_cannot_be_vouched_for_is_neither_lost_nor_there() -> None:
    ways = WaysRecord()
    ways.heard(UNSURE, 0.0)
    assert ways.lost_of(USES) == []
    assert not ways.has(USES.ways, LACKING, 100.0)
    ways.heard(WELL, 100.0)
    assert not ways.has(USES.ways, LACKING, 100.0 + SETTLED_S - 0.1)
    assert ways.has(USES.ways, LACKING, 100.0 + SETTLED_S)


THROUGH_GATEWAY = needs("external", gateway=GATEWAY)


def test_a_gateway_that_nobody_speaks_of_is_not_there_and_one_that_answers_is_after_a_while() -> None:
    ways = WaysRecord()
    ways.heard(WELL, 0.0)
    assert not ways.has(THROUGH_GATEWAY.ways, LACKING, 1000.0)
    ways.heard(WaysSaid(there=(GATEWAY,)), 1000.0)
    assert not ways.has(THROUGH_GATEWAY.ways, LACKING, 1000.0 + SETTLED_S - 0.1)
    assert ways.has(THROUGH_GATEWAY.ways, LACKING, 1000.0 + SETTLED_S)
    ways.heard(WELL, 2000.0)
    assert not ways.has(THROUGH_GATEWAY.ways, LACKING, 3000.0), "it is not looked at any more"
    ways.heard(WaysSaid(there=(GATEWAY,)), 3000.0)
    assert not ways.has(THROUGH_GATEWAY.ways, LACKING, 3000.0 + SETTLED_S - 0.1)


def test_a_gateway_that_went_with_a_carrier_elsewhere_need_not_be_known_here_but_nothing_may_be_held_against_it() -> (
    None
):
    ways, gone = WaysRecord(), frozenset({OUT, GATEWAY})
    ways.heard(WELL, 0.0)
    assert ways.has(THROUGH_GATEWAY.ways, gone, 100.0)
    ways.heard(WaysSaid(unsure=(GATEWAY,)), 100.0)
    assert not ways.has(THROUGH_GATEWAY.ways, gone, 200.0)
    ways.heard(WELL, 200.0)
    assert not ways.has(THROUGH_GATEWAY.ways, gone, 1000.0), "it did not answer when it was looked at"


def test_a_gateway_that_answers_for_hours_is_there_and_one_that_is_not_looked_at_is_forgotten() -> None:
    ways = WaysRecord()
    ways.heard(WaysSaid(there=(GATEWAY,)), 0.0)
    another = WayOut("external", IPv4Address("203.0.113.129"))
    ways.heard(WaysSaid(there=(GATEWAY, another)), 3 * FORGOTTEN_S)
    assert ways.has(THROUGH_GATEWAY.ways, LACKING, 3 * FORGOTTEN_S + SETTLED_S)
    for hour in range(4, 1000):
        seen = WayOut("external", IPv4Address("203.0.113.0") + hour)
        ways.heard(WaysSaid(there=(seen,)), hour * 2 * FORGOTTEN_S)
    assert size_of(ways) < 20


def size_of(ways: WaysRecord) -> int:
    """How many ways out it holds, by any name."""
    return sum(len(getattr(ways, name)) for name in ("lost", "unsure", "there", "_ways"))


def test_nothing_of_an_earlier_connection_counts() -> None:
    ways = WaysRecord()
    ways.heard(LOST, 0.0)
    ways.forget()
    assert ways.lost_of(USES) == []
    ways.heard(LOST, 100.0)
    assert ways.lost_for_long(USES, 100.0 + SETTLED_S - 0.1) == []
    ways.heard(None, 103.0)
    assert ways.lost_of(USES) == []


def test_a_way_that_is_lost_again_and_again_has_to_be_there_for_longer() -> None:
    ways, now = WaysRecord(), 0.0
    ways.heard(WELL, now)
    waits = []
    for _ in range(12):
        ways.heard(LOST, now := now + 1.0)
        ways.heard(WELL, now := now + 1.0)
        waits.append(next(wait for wait in range(1, 1000) if ways.has(USES.ways, LACKING, now + wait)))
    assert waits[:4] == [SETTLED_S, 2 * SETTLED_S, 4 * SETTLED_S, 8 * SETTLED_S]
    assert waits[-1] == MOST_S


def test_what_is_only_said_again_in_another_connection_is_no_other_loss() -> None:
    ways = WaysRecord()
    for at in range(0, 100, 10):
        ways.forget()
        ways.heard(LOST, float(at))
    ways.heard(WELL, 100.0)
    assert ways.has(USES.ways, LACKING, 100.0 + SETTLED_S)


def test_losses_are_forgotten_when_the_way_was_there_for_long() -> None:
    ways = WaysRecord()
    for at in range(5):
        ways.heard(LOST, 2.0 * at)
        ways.heard(WELL, 2.0 * at + 1)
    later = 9.0 + FORGOTTEN_S
    ways.heard(LOST, later)
    ways.heard(WELL, later + 1)
    assert ways.has(USES.ways, LACKING, later + 1 + SETTLED_S)


def test_after_a_time_in_which_nobody_could_be_heard_everything_has_to_stand_anew() -> None:
    lost, there = WaysRecord(), WaysRecord()
    lost.heard(LOST, 0.0)
    there.heard(UNSURE, 0.0)
    there.heard(WELL, 1.0)
    for each in (lost, there):
        each.excuse(1000.0)
    assert lost.lost_for_long(USES, 1000.0 + SETTLED_S - 0.1) == []
    assert lost.lost_for_long(USES, 1000.0 + SETTLED_S) == [OUT]
    assert not there.has(USES.ways, LACKING, 1000.0 + SETTLED_S - 0.1)
    assert there.has(USES.ways, LACKING, 1000.0 + SETTLED_S)
    assert there.settled(1000.0 + SETTLED_S)


def test_each_word_settles_once() -> None:
    ways = WaysRecord()
    assert not ways.settled(100.0)
    ways.heard(WELL, 100.0)
    assert not ways.settled(100.0 + SETTLED_S - 0.1)
    assert ways.settled(100.0 + SETTLED_S)
    assert not ways.settled(1000.0)
    ways.heard(LOST, 1000.0)
    assert ways.settled(1000.0 + SETTLED_S)
    assert not ways.settled(2000.0)
