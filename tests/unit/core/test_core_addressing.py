"""Rules of addresses, by example."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from gapless.core import addressing
from gapless.core.addressing import AddressRange, Span


@pytest.mark.parametrize(
    ("cidr", "usable"),
    [
        ("10.0.0.0/24", "10.0.0.1-10.0.0.254"),
        ("10.0.0.0/30", "10.0.0.1-10.0.0.2"),
        ("10.0.0.0/31", "10.0.0.0-10.0.0.1"),
        ("10.0.0.7/32", "10.0.0.7-10.0.0.7"),
        ("255.255.255.255/32", "255.255.255.255-255.255.255.255"),
    ],
)
def test_what_a_subnet_offers(cidr: str, usable: str) -> None:
    assert str(addressing.usable(IPv4Network(cidr))) == usable


@pytest.mark.parametrize(
    ("cidr", "gateway"),
    [("10.0.0.0/24", "10.0.0.1"), ("10.0.0.0/31", "10.0.0.1"), ("255.255.255.255/32", "None")],
)
def test_the_default_gateway(cidr: str, gateway: str) -> None:
    assert str(addressing.default_gateway(IPv4Network(cidr))) == gateway


def test_a_range_ends_after_it_begins() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.2 comes after 10\.0\.0\.1"):
        AddressRange.parse("10.0.0.2", "10.0.0.1")


def test_windows_begin_in_the_middle_grow_and_go_round() -> None:
    sizes = [(window.first, window.last) for window in addressing.windows([Span(1, 100), Span(201, 1200)], 150)]
    assert sizes == [(251, 314), (315, 570), (571, 1200), (1, 100), (201, 250)]


def test_a_search_of_the_largest_subnet_looks_at_little() -> None:
    pools = [pool.span for pool in addressing.default_pools(IPv4Network("10.0.0.0/8"), IPv4Address("10.0.0.1"))]
    first = next(addressing.windows(pools, 12_345_678))
    assert first == Span(int(IPv4Address("10.0.0.2")) + 12_345_678, int(IPv4Address("10.0.0.2")) + 12_345_741)


def test_the_lowest_free_number_of_a_window() -> None:
    window = Span(10, 13)
    assert addressing.first_free(window, set()) == 10
    assert addressing.first_free(window, [10, 11]) == 12
    assert addressing.first_free(window, {10, 11, 12, 13}) is None


def test_no_space_has_no_windows() -> None:
    assert list(addressing.windows([], 7)) == []
