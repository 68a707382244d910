"""When everything that is open is announced once more: a partition healed, a host or a guard is back."""

from gapless.core.edge.arbiter import HINTS_FOR_S
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DRIFT, Datagram, DatagramKind, PanelVersion, Tenure
from gapless.sentinel.beat.healed import ABSENT_LEASES, APART_S, Healed

A, B, C = HostName("a"), HostName("b"), HostName("c")
LEASE_S = 0.2
ABSENT_S = ABSENT_LEASES * LEASE_S


def tenure(host: HostName, incarnation: int) -> Tenure:
    return Tenure(host, Incarnation(incarnation))


def word(host: HostName, incarnation: int) -> Datagram:
    me = tenure(host, incarnation)
    return Datagram(kind=DatagramKind.RENEW, sender=me, panel=PanelVersion(1), lease_s=LEASE_S, subject=me)


def silent(of: Tenure, silent_s: float, *, by: HostName = C) -> Datagram:
    return Datagram(
        kind=DatagramKind.SILENT,
        sender=tenure(by, 1),
        panel=PanelVersion(1),
        lease_s=LEASE_S,
        subject=of,
        silent_for_s=silent_s,
    )


def is_due(healed: Healed, now: float) -> bool:
    return healed.is_due(now, is_anything_open=True)


def test_a_long_absence_counts_and_once() -> None:
    healed = Healed(LEASE_S)
    healed.lost([A, B], 10.0)
    healed.lost([A], 10.5)
    healed.back([A], 10.0 + ABSENT_S)
    assert is_due(healed, 10.0 + ABSENT_S)
    assert not is_due(healed, 100.0)


def test_a_short_absence_does_not_count() -> None:
    healed = Healed(LEASE_S)
    healed.lost([A], 10.0)
    healed.back([A], 10.0 + ABSENT_S - 0.01)
    assert not is_due(healed, 100.0)


def test_who_grants_for_the_first_time_was_not_lost() -> None:
    healed = Healed(LEASE_S)
    healed.back([A], 10.0)
    assert not is_due(healed, 100.0)


def test_what_comes_too_soon_waits_for_its_time() -> None:
    healed = Healed(LEASE_S)
    for lost in (10.0, 12.0, 14.0):
        healed.lost([A], lost)
        healed.back([A], lost + ABSENT_S)
        assert is_due(healed, lost + ABSENT_S) == (lost == 10.0)
    first = 10.0 + ABSENT_S
    assert not is_due(healed, first + APART_S - 0.01)
    assert is_due(healed, first + APART_S)
    assert not is_due(healed, 100.0)


def test_a_host_that_was_taken_over_from_counts_when_it_is_heard_at_a_higher_incarnation_and_once() -> None:
    healed = Healed(LEASE_S)
    healed.heard(word(A, 3), 9.0)
    healed.over(tenure(A, 3), 9.5)
    healed.heard(word(A, 3), 10.0)  # It has not withdrawn: what it announces may follow.
    healed.heard(word(B, 9), 10.0)
    assert not is_due(healed, 10.0)
    healed.heard(word(A, 4), 14.0)
    assert is_due(healed, 14.0)
    healed.heard(word(A, 5), 30.0)
    assert not is_due(healed, 30.0)


def test_a_silence_that_begins_long_after_the_takeover_says_that_the_host_is_back() -> None:
    healed = Healed(LEASE_S)
    healed.over(tenure(A, 3), 10.0)
    healed.heard(silent(tenure(B, 3), 0.0), 20.0)
    healed.heard(silent(tenure(A, 3), 10.0), 20.0)
    assert not is_due(healed, 20.0)
    healed.heard(silent(tenure(A, 3), 0.05), 20.1)
    assert is_due(healed, 20.1)
    for silent_s in (0.1, 0.2, 0.4, 0.8, 30.0, HINTS_FOR_S):
        healed.heard(silent(tenure(A, 3), silent_s), 20.05 + silent_s)
    assert not is_due(healed, 1000.0), "the same silence"


def test_also_if_that_arbiter_missed_the_last_incarnation_that_was_taken_over_from() -> None:
    healed = Healed(LEASE_S)
    healed.over(tenure(A, 3), 10.0)
    healed.heard(silent(tenure(A, 1), 0.0), 20.0)
    assert is_due(healed, 20.0)


def test_a_silence_that_began_earlier_does_not_count_however_long_it_is_and_however_clocks_differ() -> None:
    healed = Healed(LEASE_S)
    healed.over(tenure(A, 3), 10.0)
    healed.heard(silent(tenure(A, 3), 0.0), 10.0 + ABSENT_S - 0.01)
    for fast, slow in ((1 + DRIFT, 1 - DRIFT), (1 - DRIFT, 1 + DRIFT)):
        for passed_s in range(int(HINTS_FOR_S)):
            healed.heard(silent(tenure(A, 3), passed_s * slow), 10.0 + passed_s * fast)
    assert not is_due(healed, 1000.0)


def test_what_heals_bit_by_bit_counts_for_each_arbiter_and_no_more_often() -> None:
    healed = Healed(LEASE_S)
    healed.over(tenure(A, 3), 10.0)
    healed.heard(silent(tenure(A, 3), 0.0, by=B), 20.0)
    assert is_due(healed, 20.0)
    healed.heard(silent(tenure(A, 3), 0.0, by=C), 20.001)
    assert not is_due(healed, 30.0)
    healed.heard(silent(tenure(A, 3), 0.0, by=C), 40.0)
    assert is_due(healed, 40.0)
    for now in (50.0, 60.0):
        healed.heard(silent(tenure(A, 4), 0.0), now)
    assert not is_due(healed, 100.0), "what came after it comes and goes"


def test_another_arbiters_word_counts_soon_after_the_first_ones() -> None:
    """As where two cables are plugged in again one after the other."""
    healed = Healed(LEASE_S)
    healed.over(tenure(A, 3), 10.0)
    healed.heard(silent(tenure(A, 3), 0.0), 20.0)
    assert is_due(healed, 20.0)
    healed.heard(silent(tenure(A, 3), 0.6), 20.5)
    assert not is_due(healed, 100.0), "the same silence"
    healed.heard(silent(tenure(A, 3), 0.0, by=B), 20.5)
    assert is_due(healed, 20.5 + APART_S)


def test_of_two_incarnations_that_are_over_the_higher_one_is_watched() -> None:
    healed = Healed(LEASE_S)
    healed.over(tenure(A, 5), 10.0)
    healed.over(tenure(A, 3), 10.0)
    healed.heard(silent(tenure(A, 5), 0.0), 20.0)
    assert is_due(healed, 20.0)


def test_what_is_due_while_nothing_is_open_is_over_and_leaves_its_time_to_what_comes_next() -> None:
    healed = Healed(LEASE_S)
    healed.lost([A], 10.0)
    healed.back([A], 20.0)
    assert not healed.is_due(20.0, is_anything_open=False)
    assert not is_due(healed, 20.5), "what has been opened since is announced"
    healed.restored(21.0)
    assert is_due(healed, 21.0)


def test_a_guard_that_is_put_back_counts_and_one_that_is_removed_all_the_time_floods_nobody() -> None:
    healed = Healed(LEASE_S)
    assert healed.restored(10.0)
    assert is_due(healed, 10.0)
    assert healed.restored(11.0)
    assert not healed.restored(12.0), "it is announced for that already"
    assert not is_due(healed, 10.0 + APART_S - 0.01)
    assert is_due(healed, 10.0 + APART_S)
    assert not is_due(healed, 100.0)
