"""How a lease becomes what the kernel keeps: never longer than it is."""

from hypothesis import given
from hypothesis import strategies as st

from gapless.sentinel.beat.guard import Span, span

WALL_NS = 1_700_000_000_000_000_000
ROUNDING_NS = 1000
"""Of floating-point seconds."""


def test_a_lease_is_a_range_of_the_wall_clock_and_a_timeout() -> None:
    assert span(100.25, WALL_NS, 100.0) == Span(WALL_NS, WALL_NS + 250_000_000, 250)


def test_a_lease_that_is_over_is_none() -> None:
    assert span(100.0, WALL_NS, 100.0) is None
    assert span(99.0, WALL_NS, 100.0) is None
    assert span(float("-inf"), WALL_NS, 100.0) is None


def test_less_than_the_kernel_can_count_is_none() -> None:
    assert span(100.0009, WALL_NS, 100.0) is None


@given(st.floats(-1, 10), st.floats(0, 1e6), st.floats(0, 5))
def test_it_ends_no_later_than_the_lease_whatever_passes_between_the_clocks(
    left_s: float, now_s: float, pause_s: float
) -> None:
    """`pause_s` passes after the wall clock was read, before the monotonic one was."""
    until_s = now_s + left_s
    held = span(until_s, WALL_NS, now_s + pause_s)
    if held is not None:
        end_of_lease_ns = WALL_NS + (until_s - now_s) * 1e9
        assert held.end_ns <= end_of_lease_ns + ROUNDING_NS
        assert held.timeout_ms <= (until_s - now_s - pause_s) * 1e3 + ROUNDING_NS / 1e6
