"""How a machine's clock is steered, as the kernel tells it."""

import pytest

from gapless.errors import Unavailable
from gapless.sentinel.beat import clockrate

PPM = 65536


@pytest.mark.parametrize("reading", [(10_000, 0), (10_000, 500 * PPM), (9_950, -500 * PPM), (10_085, 400 * PPM)])
def test_a_clock_within_the_bound_is_trusted(reading: tuple[int, int]) -> None:
    assert clockrate.fault(lambda: reading) == ""


@pytest.mark.parametrize(
    ("reading", "rate"), [((10_833, 0), "+8.3 %"), ((9_167, 0), "-8.3 %"), ((10_090, 100 * PPM), "+0.9 %")]
)
def test_a_clock_that_is_slewed_faster_is_not_and_why(reading: tuple[int, int], rate: str) -> None:
    told = clockrate.fault(lambda: reading)
    assert rate in told
    assert "maxslewrate" in told


def test_one_that_cannot_be_read_is_trusted() -> None:
    def forbidden() -> tuple[int, int]:
        raise Unavailable("adjtimex: Operation not permitted")

    assert clockrate.fault(forbidden) == ""


def test_the_kernel_tells_without_being_changed() -> None:
    tick_us, frequency = clockrate.read()
    assert 9_000 <= tick_us <= 11_000
    assert abs(frequency) <= 500 * PPM
