"""Back-pressure of a flow stream, and its lag."""

import pytest

from gapless.core.flows.window import Window


def test_what_the_follower_has_not_dealt_with_takes_room() -> None:
    window = Window(room_bytes=100)
    window.sent(1, 60, since=0.0)
    assert window.has_room
    window.sent(2, 60, since=0.1)
    assert not window.has_room
    window.applied(1, now=0.2)
    assert window.has_room
    assert window.dealt_with == 1


def test_an_acknowledgement_of_what_was_not_sent_changes_nothing() -> None:
    window = Window(room_bytes=100)
    window.applied(99, now=1.0)
    assert window.dealt_with == 0
    window.sent(1, 100, since=0.0)
    assert not window.has_room
    window.applied(0, now=1.0)
    assert not window.has_room


def test_the_lag_is_the_worst_since_it_was_asked_last() -> None:
    window = Window()
    window.sent(1, 10, since=10.0)
    window.sent(2, 10, since=10.5)
    window.applied(1, now=10.3)
    window.applied(2, now=10.6)
    assert window.lag_s(11.0) == pytest.approx(0.3)
    assert window.lag_s(12.0) == 0.0


def test_what_is_under_way_or_waits_counts_as_long_as_it_does() -> None:
    window = Window()
    window.sent(1, 10, since=10.0)
    assert window.lag_s(10.4) == pytest.approx(0.4)
    assert window.lag_s(10.5, [9.0]) == pytest.approx(1.5)
