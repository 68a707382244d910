"""What is known of a gateway by its answers, and of successors by what they say."""

from gapless.core.uplinks import MISSES, TELL_INTERVALS, Heirs, Reachability
from gapless.model.host import HostName

A, B = HostName("a"), HostName("b")
INTERVAL_S = 0.05
COUNTS_S = 3 * TELL_INTERVALS * INTERVAL_S


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


def test_heirs_can_take_what_they_have_rights_to_together() -> None:
    heirs = Heirs(INTERVAL_S)
    heirs.tell(A, 2, 100.0)
    heirs.tell(B, 1, 100.0)
    assert [heirs.can_take(routers, 100.0) for routers in (1, 3, 4)] == [True, True, False]


def test_a_host_with_nothing_has_nothing_to_give() -> None:
    heirs = Heirs(INTERVAL_S)
    assert not heirs.can_take(0, 100.0)
    heirs.tell(A, 5, 100.0)
    assert not heirs.can_take(0, 100.0)


def test_the_last_word_of_an_heir_counts() -> None:
    heirs = Heirs(INTERVAL_S)
    heirs.tell(A, 5, 100.0)
    heirs.tell(A, 1, 100.0)
    assert not heirs.can_take(5, 100.0)
    assert heirs.can_take(1, 100.0)


def test_an_heir_that_says_nothing_any_more_does_not_count() -> None:
    heirs = Heirs(INTERVAL_S)
    heirs.tell(A, 2, 100.0)
    heirs.tell(B, 2, 101.0)
    assert heirs.can_take(4, 100.0 + COUNTS_S - 0.001)
    assert not heirs.can_take(4, 100.0 + COUNTS_S)
    assert heirs.can_take(2, 100.0 + COUNTS_S)
    assert not heirs.can_take(1, 101.0 + COUNTS_S)
