"""How long work may be held, and how long it then may not be."""

from gapless.agent.hold import MOST_S, Hold
from gapless.model.router import RouterId

X = RouterId("x")


def test_it_lasts_from_word_to_word() -> None:
    hold = Hold()
    assert (hold.is_on(10.0), hold.next_deadline(), hold.end(10.0)) == (False, None, 0.0)
    hold.begin(10.0, [])
    hold.begin(10.1, [X])
    assert (hold.is_on(10.2), hold.next_deadline(), hold.unbuilt) == (True, 10.0 + MOST_S, {X})
    assert hold.end(10.5) == 0.5
    assert (hold.is_on(10.5), hold.next_deadline(), hold.unbuilt) == (False, None, frozenset())


def test_without_a_word_it_ends_by_itself_and_is_not_prolonged() -> None:
    hold = Hold()
    hold.begin(10.0, [])
    hold.begin(12.0, [X])
    assert hold.is_on(10.0 + MOST_S) is False
    assert hold.next_deadline() is None
    hold.begin(10.0 + 2 * MOST_S, [X])
    assert not hold.is_on(10.0 + 2 * MOST_S), "it is the same takeover still"
    assert hold.end(20.0) == MOST_S


def test_work_gets_half_of_the_time_whatever_is_said() -> None:
    hold = Hold()
    worked_s, now = 0.0, 10.0
    for _ in range(1000):
        hold.begin(now, [])
        now += 0.3
        worked_s += 0.0 if hold.is_on(now - 0.15) else 0.3
        hold.end(now)
        now += 0.001
    assert worked_s >= 1000 * 0.3 / 2 - 0.3


def test_the_next_takeover_holds_again() -> None:
    hold = Hold()
    hold.begin(10.0, [])
    hold.end(10.2)
    hold.begin(10.4, [])
    assert hold.is_on(10.4)
