"""What is known of successors by what they say."""

from collections.abc import Iterable

from gapless.core.edge.gateways import QUESTION_S
from gapless.core.edge.uplinks import CARRIER_S, TELL_INTERVALS, WaysOut, as_bits
from gapless.model.host import HostName

A, B = HostName("a"), HostName("b")
INTERVAL_S = 0.05
COUNTS_S = 3 * TELL_INTERVALS * INTERVAL_S


NET, OTHER = "external", "other"
GATEWAY, OLD = "external 203.0.113.1", "external 203.0.113.9"
GATEWAY_S = QUESTION_S + 2 * INTERVAL_S


def ways_out(*, carriers: Iterable[str] = (), gateways: Iterable[str] = ()) -> WaysOut:
    """Of a host that lost these at 100."""
    made = WaysOut(INTERVAL_S)
    see(made, 100.0, carriers=carriers, gateways=gateways)
    return made


def see(
    ways: WaysOut,
    now: float,
    *,
    carriers: Iterable[str] = (),
    gateways: Iterable[str] = (),
    unsure: Iterable[str] = (),
    used: Iterable[str] = (NET, OTHER, GATEWAY, OLD),
) -> bool:
    return ways.seen(
        "lost",
        carriers=frozenset(carriers),
        gateways=frozenset(gateways),
        unsure=frozenset(unsure),
        used=frozenset(used),
        now=now,
    )


def test_a_successor_that_never_heard_the_gateway_takes_nobody_from_it() -> None:
    """It began after the loss, which nobody told it of."""
    began = ways_out()
    assert see(began, 100.0, unsure=[GATEWAY])
    ways = ways_out(gateways=[GATEWAY])
    ways.tell(A, 1, began.lost, 103.0)
    ways.tell(A, 1, began.lost, 104.0)
    assert not ways.is_alone(1, 104.0)


def test_a_gateway_that_answers_nobody_keeps_nobody_from_moving() -> None:
    ways = ways_out()
    see(ways, 100.0, unsure=[OLD], carriers=[NET])
    ways.tell(A, 1, as_bits([OLD]), 100.0)
    assert ways.is_alone(1, 100.2)


def test_heirs_can_take_what_they_have_rights_to_together() -> None:
    ways = ways_out(carriers=[NET])
    ways.tell(A, 2, 0, 100.0)
    ways.tell(B, 1, 0, 100.0)
    assert [ways.is_alone(routers, 100.2) for routers in (0, 1, 3, 4)] == [False, True, True, False]


def test_the_last_word_of_an_heir_counts_for_a_while() -> None:
    ways = ways_out(carriers=[NET])
    ways.tell(A, 5, 0, 100.0)
    ways.tell(A, 1, 0, 100.0)
    assert not ways.is_alone(5, 100.2)
    assert ways.is_alone(1, 100.0 + COUNTS_S - 0.001)
    assert not ways.is_alone(1, 100.0 + COUNTS_S)


def test_a_carrier_may_be_lost_some_time_later_elsewhere() -> None:
    ways = ways_out(carriers=[NET])
    ways.tell(A, 1, 0, 99.9)
    ways.tell(A, 1, 0, 100.0)
    assert not ways.is_alone(1, 100.0 + CARRIER_S)
    assert ways.is_alone(1, 100.0 + CARRIER_S + INTERVAL_S)
    ways.tell(A, 1, as_bits([NET]), 100.07)
    assert not ways.is_alone(1, 101.0)


def test_of_a_gateway_counts_what_is_said_when_everybody_must_have_noticed() -> None:
    ways = ways_out(gateways=[GATEWAY])
    ways.tell(A, 1, 0, 99.5)
    ways.tell(A, 1, 0, 100.0 + GATEWAY_S - 0.001)
    assert not ways.is_alone(1, 100.0 + GATEWAY_S + 0.1)
    ways.tell(A, 1, 0, 100.0 + GATEWAY_S)
    assert ways.is_alone(1, 100.0 + GATEWAY_S)


def test_what_was_lost_before_delays_nothing_that_is_lost_later() -> None:
    ways = ways_out(gateways=[OLD])
    assert see(ways, 200.0, gateways=[OLD], carriers=[NET])
    assert not see(ways, 200.01, gateways=[OLD], carriers=[NET])
    ways.tell(A, 1, as_bits([OLD]), 200.0)
    assert not ways.is_alone(1, 200.0)
    assert ways.is_alone(1, 200.0 + CARRIER_S + INTERVAL_S)


def test_a_gateway_that_is_gone_for_everybody_moves_nothing_and_hides_no_other_loss() -> None:
    ways = ways_out(gateways=[OLD])
    ways.tell(A, 1, as_bits([OLD]), 103.0)
    ways.tell(A, 1, as_bits([OLD]), 104.0)
    assert not ways.is_alone(1, 104.0)
    see(ways, 104.0, gateways=[OLD, GATEWAY])
    ways.tell(A, 1, as_bits([OLD]), 104.0 + GATEWAY_S)
    assert ways.is_alone(1, 104.0 + GATEWAY_S)


def test_a_gateway_that_is_back_is_noticed_first_by_one_host() -> None:
    """Everybody had lost it; the successor hears it again before this host asks."""
    ways = ways_out(gateways=[GATEWAY])
    ways.tell(A, 1, as_bits([GATEWAY]), 105.0)
    ways.tell(A, 1, 0, 105.2)
    ways.tell(A, 1, 0, 105.2 + GATEWAY_S - 0.01)
    assert not ways.is_alone(1, 105.2 + GATEWAY_S)
    ways.tell(A, 1, 0, 105.2 + GATEWAY_S)
    assert ways.is_alone(1, 105.2 + GATEWAY_S), "it is back for the successor, and not here"


def test_nobody_moves_to_a_host_that_has_lost_what_this_one_uses_and_has() -> None:
    ways = ways_out(carriers=[NET])
    ways.tell(A, 1, as_bits([OTHER]), 100.0)
    assert not ways.is_alone(1, 100.2)
    ways.tell(A, 1, as_bits(["a network that is not here"]), 100.0)
    assert ways.is_alone(1, 100.2)


def test_a_way_out_that_nothing_active_here_uses_is_no_reason_and_is_said() -> None:
    ways = ways_out()
    assert see(ways, 100.0, carriers=[OTHER], used=[NET, GATEWAY])
    assert ways.lost == as_bits([OTHER])
    ways.tell(A, 1, 0, 100.0)
    assert not ways.is_alone(1, 100.2)
    see(ways, 100.3, carriers=[OTHER, NET], used=[NET, GATEWAY])
    assert ways.is_alone(1, 100.3 + CARRIER_S + INTERVAL_S), "this one is used"


def test_what_was_lost_unused_counts_once_a_router_that_uses_it_is_active() -> None:
    """It was taken over from a host that died. The successors of this one have said long since that they have it."""
    ways = ways_out()
    see(ways, 100.0, carriers=[OTHER], used=[NET])
    ways.tell(A, 2, 0, 100.4)
    assert not ways.is_alone(2, 100.5)
    assert not see(ways, 100.5, carriers=[OTHER], used=[NET, OTHER]), "nobody has to hear anything new"
    assert ways.is_alone(2, 100.5)


def test_a_successor_may_have_lost_what_nothing_active_here_uses() -> None:
    ways = ways_out()
    see(ways, 100.0, carriers=[NET], used=[NET, GATEWAY])
    ways.tell(A, 1, as_bits([OTHER]), 100.0)
    assert ways.is_alone(1, 100.2)


def test_what_came_back_is_no_reason_any_more() -> None:
    ways = ways_out(carriers=[NET])
    ways.tell(A, 1, 0, 100.0)
    assert see(ways, 100.01)
    assert not ways.is_alone(1, 100.2)
    assert ways.lost == 0
