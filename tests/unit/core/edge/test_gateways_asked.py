"""What is known of a gateway by its answers, and which are asked."""

from ipaddress import IPv4Address

from gapless.core.edge.gateways import MISSES, QUESTION_S, Gateways, Reachability

ONE, OTHER = ("eth2", IPv4Address("203.0.113.1")), ("eth3", IPv4Address("198.51.100.1"))


def asked(gateway: Reachability, times: int) -> Reachability:
    for _ in range(times):
        gateway.asked()
    return gateway


def test_a_gateway_that_never_answered_is_not_judged() -> None:
    assert not asked(Reachability(), 1000).is_lost


def test_a_gateway_that_answered_is_lost_when_it_misses_too_many_in_a_row() -> None:
    gateway = asked(Reachability(), 1)
    gateway.answered()
    # The last question is on its way still: it is not a miss yet.
    assert not asked(gateway, MISSES).is_lost
    assert asked(gateway, 1).is_lost


def test_one_answer_brings_it_back_and_the_count_begins_anew() -> None:
    gateway = asked(Reachability(), 1)
    gateway.answered()
    assert asked(gateway, 10 * MISSES).is_lost
    gateway.answered()
    assert not gateway.is_lost
    assert not asked(gateway, MISSES).is_lost
    assert asked(gateway, 1).is_lost


def test_a_question_that_was_not_answered_before_the_next_one_makes_its_address_doubtful() -> None:
    gateway = asked(Reachability(), 1)
    assert not gateway.is_doubtful, "it has had no time to answer"
    assert asked(gateway, 1).is_doubtful
    gateway.answered()
    assert not gateway.is_doubtful


def gateways() -> Gateways:
    """Two, behind an uplink each, which were asked at 100 and have answered."""
    made = Gateways()
    made.watch([ONE, OTHER])
    assert made.unknown == {ONE, OTHER}
    assert made.is_due(100.0)
    assert made.ask(100.0) == [(ONE, False), (OTHER, False)]
    assert made.answered(ONE[1])
    assert made.are_awaited
    assert made.answered(OTHER[1])
    assert not made.answered(IPv4Address("203.0.113.9"))
    assert (made.are_awaited, made.unknown) == (False, frozenset())
    return made


def test_they_are_asked_again_after_a_while() -> None:
    made = gateways()
    assert not made.is_due(100.0 + QUESTION_S / 2)
    assert made.is_due(100.0 + QUESTION_S)
    assert made.ask(100.0 + QUESTION_S) == [(ONE, False), (OTHER, False)]
    assert made.ask(101.0) == [(ONE, True), (OTHER, True)], "the last question had no answer"


def test_behind_an_uplink_that_is_cut_nobody_is_asked_and_behind_the_others_all_are() -> None:
    made = gateways()
    made.cut({ONE[0]})
    for number in range(1, MISSES + 2):
        assert made.is_due(100.0 + number * QUESTION_S)
        assert [each for each, _ in made.ask(100.0 + number * QUESTION_S)] == [OTHER]
    assert made.silent == [OTHER], "a loss behind one is hidden by none"
    assert made.watched == {ONE, OTHER}


def test_what_is_known_of_a_gateway_stays_known_while_its_uplink_is_cut() -> None:
    made = gateways()
    made.cut({ONE[0], OTHER[0]})
    assert not made.is_due(200.0), "there is nobody to ask"
    made.cut({OTHER[0]})
    assert made.is_due(200.0)
    assert made.ask(200.0) == [(ONE, False)]
    assert (made.silent, made.unknown) == ([], frozenset())


def test_a_gateway_that_is_watched_anew_is_behind_a_cut_uplink_all_the_same() -> None:
    made = Gateways()
    made.cut({OTHER[0]})
    made.watch([ONE, OTHER])
    assert made.ask(100.0) == [(ONE, False)]
    assert made.unknown == {ONE, OTHER}
