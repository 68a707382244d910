"""How long a process rests after a step that keeps the kernel's soft interrupts off."""

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.flows.rest import Rest


def test_the_first_step_waits_for_nothing() -> None:
    assert Rest().wait_s(5.0) == 0.0


def test_it_rests_nine_times_as_long_as_it_worked() -> None:
    rest = Rest()
    rest.worked(0.5, 10.0)
    assert (rest.wait_s(10.0), rest.wait_s(12.0), rest.wait_s(14.5), rest.wait_s(99.0)) == (4.5, 2.5, 0.0, 0.0)


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=50))
def test_no_more_than_a_tenth_of_the_time_is_worked(steps: list[float]) -> None:
    rest, now = Rest(), 0.0
    for took_s in steps:
        now += rest.wait_s(now) + took_s
        rest.worked(took_s, now)
    assert sum(steps) <= 0.1001 * (now + rest.wait_s(now))
