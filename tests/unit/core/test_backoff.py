"""The delays between attempts."""

from random import Random

from gapless.core.backoff import Backoff, Pace


def test_doubles_up_to_the_bound() -> None:
    backoff = Backoff(Pace(first_s=0.05, most_s=0.3))
    assert [backoff.after() for _ in range(5)] == [0.05, 0.1, 0.2, 0.3, 0.3]


def test_begins_anew_after_an_attempt_that_held() -> None:
    backoff = Backoff(Pace(first_s=1, most_s=60, settled_s=10))
    assert [backoff.after(held_s=9.9) for _ in range(3)] == [1, 2, 4]
    assert backoff.after(held_s=10) == 1
    assert backoff.after(held_s=0) == 2


def test_without_a_settling_time_only_a_reset_begins_anew() -> None:
    backoff = Backoff(Pace(first_s=1, most_s=60))
    assert [backoff.after(held_s=1e6) for _ in range(2)] == [1, 2]
    backoff.reset()
    assert backoff.after() == 1


def test_jitter_only_shortens_and_differs_between_hosts() -> None:
    pace = Pace(first_s=1, most_s=8, jitter=0.5)
    assert Backoff(pace, Random(1)).after() != Backoff(pace, Random(2)).after()
    backoff = Backoff(pace, Random(3))
    for full in (1, 2, 4, 8, 8):
        assert full / 2 <= backoff.after() <= full
