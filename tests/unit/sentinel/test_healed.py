"""When everything that is open is announced once more: a partition healed, a host or a guard is back."""

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.sentinel.beat.healed import ABSENT_LEASES, APART_S, Healed

A, B = HostName("a"), HostName("b")
LEASE_S = 0.2
ABSENT_S = ABSENT_LEASES * LEASE_S


def test_a_long_absence_counts_and_once() -> None:
    healed = Healed(LEASE_S)
    healed.lost([A, B], 10.0)
    healed.lost([A], 10.5)
    healed.back([A], 10.0 + ABSENT_S)
    assert healed.is_due(10.0 + ABSENT_S)
    assert not healed.is_due(100.0)


def test_a_short_absence_does_not_count() -> None:
    healed = Healed(LEASE_S)
    healed.lost([A], 10.0)
    healed.back([A], 10.0 + ABSENT_S - 0.01)
    assert not healed.is_due(100.0)


def test_who_grants_for_the_first_time_was_not_lost() -> None:
    healed = Healed(LEASE_S)
    healed.back([A], 10.0)
    assert not healed.is_due(100.0)


def test_what_comes_too_soon_waits_for_its_time() -> None:
    healed = Healed(LEASE_S)
    for lost in (10.0, 12.0, 14.0):
        healed.lost([A], lost)
        healed.back([A], lost + ABSENT_S)
        assert healed.is_due(lost + ABSENT_S) == (lost == 10.0)
    first = 10.0 + ABSENT_S
    assert not healed.is_due(first + APART_S - 0.01)
    assert healed.is_due(first + APART_S)
    assert not healed.is_due(100.0)


def test_a_host_that_was_taken_over_from_counts_when_it_is_heard_at_a_higher_incarnation_and_once() -> None:
    healed = Healed(LEASE_S)
    healed.heard(Tenure(A, Incarnation(3)), 9.0)
    healed.over(Tenure(A, Incarnation(3)))
    healed.heard(Tenure(A, Incarnation(3)), 10.0)  # It has not withdrawn: what it announces may follow.
    healed.heard(Tenure(B, Incarnation(9)), 10.0)
    assert not healed.is_due(10.0)
    healed.heard(Tenure(A, Incarnation(4)), 14.0)
    assert healed.is_due(14.0)
    healed.heard(Tenure(A, Incarnation(5)), 30.0)
    assert not healed.is_due(30.0)


def test_a_guard_that_is_put_back_counts_and_one_that_is_removed_all_the_time_floods_nobody() -> None:
    healed = Healed(LEASE_S)
    assert healed.restored(10.0)
    assert healed.is_due(10.0)
    assert healed.restored(11.0)
    assert not healed.restored(12.0), "it is announced for that already"
    assert not healed.is_due(10.0 + APART_S - 0.01)
    assert healed.is_due(10.0 + APART_S)
    assert not healed.is_due(100.0)
