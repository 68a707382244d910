"""The granting side: its two promises, and what it says unasked."""

import pytest

from gapless.core.edge.arbiter import EXPIRED_MOST, EXPIRED_S, HINTS_FOR_S, SELDOM_INTERVALS, Arbiter
from gapless.core.edge.beatevents import Counters
from gapless.model.host import MACHINE_STEP, HostName, Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, PanelVersion, Tenure

H, S = HostName("h"), HostName("s")
V = PanelVersion(3)
SOON = 0.001


def tenure(incarnation: int, host: HostName = H) -> Tenure:
    return Tenure(host, Incarnation(incarnation))


@pytest.fixture
def arbiter() -> Arbiter:
    """One that has been awake since 0."""
    made = Arbiter(DEFAULT, -DEFAULT.quiet_s, Counters())
    made.floor = V
    return made


def test_it_says_nothing_in_its_quiet_time_nor_without_a_panel() -> None:
    counters = Counters()
    arbiter = Arbiter(DEFAULT, 0.0, counters)
    assert arbiter.renew(tenure(1), 1, V, 100.0) is None
    arbiter = Arbiter(DEFAULT, 0.0, counters)
    arbiter.floor = V
    almost = DEFAULT.quiet_s - SOON
    assert arbiter.renew(tenure(1), 1, V, almost) is None
    assert arbiter.claim(tenure(1), V, almost) is None
    assert counters.quiet_drops == 3
    assert arbiter.renew(tenure(1), 1, V, DEFAULT.quiet_s) == (DatagramKind.GRANT, 1)


def test_a_grant_lasts_from_receipt_and_a_little_longer_than_for_its_holder(arbiter: Arbiter) -> None:
    arbiter.renew(tenure(1), 1, V, 1.0)
    assert DEFAULT.arbiter_s > DEFAULT.lease_s
    assert arbiter.claim(tenure(1), V, 1.0 + DEFAULT.arbiter_s - SOON) is DatagramKind.ALIVE
    arbiter.listened(1.0 + DEFAULT.arbiter_s)
    assert arbiter.claim(tenure(1), V, 1.0 + DEFAULT.arbiter_s) is DatagramKind.BURIED
    arbiter.check(2.0)


def test_nobody_is_buried_before_what_waits_was_read(arbiter: Arbiter) -> None:
    """It stood still until long after the grant's end; the renewals that came meanwhile are not read yet."""
    arbiter.renew(tenure(1), 1, V, 1.0)
    arbiter.renew(tenure(1, S), 1, V, 1.0)
    late = 1.0 + 2 * DEFAULT.arbiter_s
    assert arbiter.next_deadline() < late
    assert arbiter.hint() == []
    assert arbiter.is_undecided(tenure(1), late)
    assert arbiter.claim(tenure(1), V, late) is DatagramKind.ALIVE
    assert arbiter.silence_of(tenure(1), V, late) is None
    arbiter.renew(tenure(1), 5, V, late)
    arbiter.listened(late)
    assert not arbiter.is_undecided(tenure(1), late)
    assert arbiter.hint() == [(H, tenure(1, S), pytest.approx(DEFAULT.arbiter_s))]
    assert arbiter.claim(tenure(1), V, late) is DatagramKind.ALIVE
    assert arbiter.claim(tenure(1, S), V, late) is DatagramKind.BURIED


def test_what_is_buried_is_refused_with_all_below_it(arbiter: Arbiter) -> None:
    arbiter.claim(tenure(3), V, 1.0)
    assert arbiter.renew(tenure(3), 9, V, 1.1) == (DatagramKind.REFUSE, 3)
    assert arbiter.renew(tenure(2), 9, V, 1.1) == (DatagramKind.REFUSE, 3)
    arbiter.claim(tenure(1), V, 1.2)
    assert arbiter.renew(tenure(3), 10, V, 1.3) == (DatagramKind.REFUSE, 3), "burying never takes back"
    assert arbiter.renew(tenure(4), 1, V, 1.4) == (DatagramKind.GRANT, 4)


def test_a_higher_incarnation_says_itself_that_the_lower_is_over(arbiter: Arbiter) -> None:
    arbiter.renew(tenure(1), 5, V, 1.0)
    arbiter.renew(tenure(1, S), 1, V, 1.0)
    arbiter.renew(tenure(2), 1, V, 1.01)
    assert arbiter.claim(tenure(1), V, 1.02) is DatagramKind.BURIED
    assert arbiter.renew(tenure(1), 6, V, 1.03) == (DatagramKind.REFUSE, 1)
    assert arbiter.claim(tenure(2), V, 1.04) is DatagramKind.ALIVE
    arbiter.listened(1.04)
    assert arbiter.hint() == [(S, tenure(1), pytest.approx(0.03))], "whoever may succeed the lower need not wait"


def test_of_a_host_that_is_back_it_hints_at_a_silence_that_has_just_begun_however_long_it_was_away(
    arbiter: Arbiter,
) -> None:
    arbiter.renew(tenure(1), 5, V, 1.0)
    arbiter.claim(tenure(1), V, 1.0 + DEFAULT.arbiter_s)
    for now in (100.0, 1.0 + HINTS_FOR_S, 5000.0):
        arbiter.renew(tenure(1, S), int(now), V, now)
        arbiter.listened(now)
        arbiter.hint()
    assert arbiter.hint() == [], "it has hinted for long enough"
    arbiter.renew(tenure(2), 1, V, 5000.01)
    arbiter.listened(5000.02)
    assert arbiter.hint() == [(S, tenure(1), pytest.approx(0.01))], "who took over hears that it is back"


def test_a_renewal_that_comes_late_or_twice_grants_nothing(arbiter: Arbiter) -> None:
    arbiter.renew(tenure(1), 5, V, 1.0)
    assert arbiter.renew(tenure(1), 5, V, 1.1) is None
    assert arbiter.renew(tenure(1), 4, V, 1.1) is None
    arbiter.listened(1.0 + DEFAULT.arbiter_s)
    assert arbiter.claim(tenure(1), V, 1.0 + DEFAULT.arbiter_s) is DatagramKind.BURIED


def test_who_follows_a_panel_below_the_floor_is_told_so_and_nothing_else(arbiter: Arbiter) -> None:
    old = PanelVersion(V - 1)
    assert arbiter.renew(tenure(1), 1, old, 1.0) == (DatagramKind.STALE, 1)
    assert arbiter.claim(tenure(1), old, 1.0) is DatagramKind.STALE
    assert arbiter.renew(tenure(1), 1, V, 1.1) == (DatagramKind.GRANT, 1), "it was not buried"


def test_an_expired_grant_is_told_to_every_other_holder_at_once_then_seldom_then_not(arbiter: Arbiter) -> None:
    arbiter.renew(tenure(1), 1, V, 1.0)
    expires = 1.0 + DEFAULT.arbiter_s
    assert arbiter.next_deadline() == expires
    seq, now, said, early = 0, expires, 0, 0
    while now < expires + HINTS_FOR_S + 2:
        seq += 1
        arbiter.renew(tenure(1, S), seq, V, now)
        arbiter.listened(now)
        hints = arbiter.hint()
        assert {to for to, _, _ in hints} <= {S}
        said += len(hints)
        early += len(hints) if now < expires + SELDOM_INTERVALS * DEFAULT.interval_s else 0
        now += DEFAULT.interval_s if now < expires + 2 else 1.0
    assert 4 < early < 8
    assert 300 < said < HINTS_FOR_S + 2 + early


def test_a_host_that_is_heard_again_is_not_hinted_at(arbiter: Arbiter) -> None:
    arbiter.renew(tenure(1), 1, V, 1.0)
    arbiter.renew(tenure(1, S), 1, V, 1.2)
    arbiter.listened(1.25)
    assert arbiter.hint()
    arbiter.renew(tenure(1), 2, V, 1.26)
    arbiter.listened(1.35)
    assert arbiter.hint() == []


def listen(arbiter: Arbiter, now: float) -> None:
    """Everything is read."""
    arbiter.listened(now)
    arbiter.hint()


def test_the_controller_is_told_of_a_grant_that_has_been_over_for_a_while_and_for_as_long_as_it_is(
    arbiter: Arbiter,
) -> None:
    arbiter.renew(tenure(1), 1, V, 1.0)
    over = 1.0 + DEFAULT.arbiter_s
    listen(arbiter, over)
    assert arbiter.expired(over + EXPIRED_S - SOON) == ()
    for now in (over + EXPIRED_S + SOON, over + 2 * HINTS_FOR_S):
        listen(arbiter, now)
        assert arbiter.expired(now) == (tenure(1),)
    arbiter.claim(tenure(1), V, now)
    assert arbiter.expired(now) == (tenure(1),), "a controller that has forgotten has to hear of it"
    arbiter.renew(tenure(2), 1, V, now)
    assert arbiter.expired(now) == ()
    listen(arbiter, now + 9.0)
    assert arbiter.expired(now + 9.0) == (tenure(2),)


def test_a_host_that_renews_again_has_not_expired(arbiter: Arbiter) -> None:
    arbiter.renew(tenure(1), 1, V, 1.0)
    listen(arbiter, 3.0)
    assert arbiter.expired(3.0) == (tenure(1),)
    arbiter.renew(tenure(1), 2, V, 3.0)
    listen(arbiter, 3.01)
    assert arbiter.expired(3.01) == ()


def test_an_arbiter_that_stood_still_calls_nobody_expired_before_it_has_read_what_waits(arbiter: Arbiter) -> None:
    arbiter.renew(tenure(1), 1, V, 1.0)
    assert arbiter.expired(60.0) == ()
    arbiter.renew(tenure(1), 2, V, 60.0)
    listen(arbiter, 60.0)
    assert arbiter.expired(60.0) == ()


def test_in_its_quiet_time_nobody_has_expired(arbiter: Arbiter) -> None:
    arbiter.renew(tenure(1), 1, V, 1.0)
    listen(arbiter, 3.0)
    arbiter.trust(3.0, is_true=False)
    assert arbiter.expired(4.0) == ()
    arbiter.trust(5.0, is_true=True)
    assert arbiter.expired(5.0 + DEFAULT.quiet_s - SOON) == ()
    assert arbiter.expired(5.0 + DEFAULT.quiet_s) == (tenure(1),)


def test_of_many_that_have_expired_the_last_are_told(arbiter: Arbiter) -> None:
    for number in range(EXPIRED_MOST + 2):
        arbiter.renew(tenure(1, HostName(f"h{number}")), 1, V, 1.0 + number / 1000)
    listen(arbiter, 9.0)
    told = arbiter.expired(9.0)
    assert len(told) == EXPIRED_MOST
    assert told[-1] == tenure(1, HostName(f"h{EXPIRED_MOST + 1}"))
    again = told[0]
    arbiter.renew(again, 2, V, 9.0)
    listen(arbiter, 18.0)
    assert arbiter.expired(18.0)[-1] == again


def test_asked_it_hints_at_what_it_never_granted_but_not_at_what_is_alive(arbiter: Arbiter) -> None:
    assert arbiter.silence_of(tenure(4), V, 1.0) == 0.0
    arbiter.renew(tenure(4), 1, V, 1.0)
    assert arbiter.silence_of(tenure(4), V, 1.0) is None
    assert arbiter.silence_of(tenure(3), V, 1.0) == 0.0, "a higher one says that it is over"
    arbiter.listened(1.5 + DEFAULT.arbiter_s)
    assert arbiter.silence_of(tenure(4), V, 1.5 + DEFAULT.arbiter_s) == pytest.approx(0.5)
    assert arbiter.renew(tenure(4), 2, V, 3.0) == (DatagramKind.GRANT, 4), "asking buries nothing"


def test_asked_in_its_quiet_time_it_says_nothing() -> None:
    arbiter = Arbiter(DEFAULT, 0.0, Counters())
    arbiter.floor = V
    assert arbiter.silence_of(tenure(1), V, DEFAULT.quiet_s - SOON) is None


def test_another_machine_is_granted_nothing_while_the_one_before_has_a_grant(arbiter: Arbiter) -> None:
    """It cannot say that the other one is over: the other one may be forwarding."""
    other = MACHINE_STEP + 1
    arbiter.renew(tenure(9), 1, V, 1.0)
    almost = 1.0 + DEFAULT.arbiter_s - SOON
    assert arbiter.renew(tenure(other), 1, V, almost) is None
    assert arbiter.claim(tenure(9), V, almost) is DatagramKind.ALIVE
    assert arbiter._counters.namesakes == 1
    assert arbiter.renew(tenure(other), 2, V, 1.0 + DEFAULT.arbiter_s) == (DatagramKind.GRANT, other)
    assert arbiter.renew(tenure(9), 2, V, 1.0 + DEFAULT.arbiter_s) == (DatagramKind.REFUSE, MACHINE_STEP)
    arbiter.check(1.0 + DEFAULT.arbiter_s)
