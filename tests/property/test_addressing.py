"""Rules of addresses, for every subnet and every set of ranges that hypothesis can think of."""

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from gapless.core import addressing
from gapless.core.addressing import AddressRange, Span

LARGEST = (1 << 32) - 1
numbers = st.integers(0, LARGEST)


@st.composite
def subnets(draw: st.DrawFn, shortest: int = 1) -> IPv4Network:
    """Any network but the whole of IPv4."""
    prefix = draw(st.integers(shortest, 32))
    return IPv4Network((draw(numbers) >> (32 - prefix) << (32 - prefix), prefix))


@st.composite
def ranges(draw: st.DrawFn) -> AddressRange:
    """Ranges in a small space, so that they meet often."""
    first = draw(st.integers(0, 120))
    return AddressRange(IPv4Address(first), IPv4Address(first + draw(st.integers(0, 15))))


@st.composite
def spaces(draw: st.DrawFn) -> list[Span]:
    """Spans apart from each other, some larger than a window."""
    spans, at = [], 0
    for gap, size in draw(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 700)), max_size=5)):
        spans.append(Span(at + gap, at + gap + size - 1))
        at += gap + size
    return spans


def all_of(spans: list[Span]) -> list[int]:
    return [number for span in spans for number in range(span.first, span.last + 1)]


@given(spaces(), numbers)
def test_windows_cover_every_number_once(spans: list[Span], start: int) -> None:
    assert sorted(all_of(list(addressing.windows(spans, start)))) == all_of(spans)


@given(spaces().filter(bool), numbers)
def test_windows_begin_where_they_are_told(spans: list[Span], start: int) -> None:
    everything = all_of(spans)
    assert next(addressing.windows(spans, start)).first == everything[start % len(everything)]


@given(subnets(), numbers)
def test_windows_stay_small_in_the_largest_of_subnets(cidr: IPv4Network, start: int) -> None:
    pools = [pool.span for pool in addressing.default_pools(cidr, addressing.default_gateway(cidr))]
    for _, window in zip(range(20), addressing.windows(pools, start), strict=False):
        assert 1 <= window.size <= addressing.LARGEST_WINDOW


@given(spaces(), numbers, st.data())
def test_a_search_finds_a_free_number_if_and_only_if_there_is_one(
    spans: list[Span], start: int, data: st.DataObject
) -> None:
    everything = all_of(spans)
    free = data.draw(st.sets(st.sampled_from(everything), max_size=3)) if everything else set()
    used = set(everything) - free
    found = next(
        (
            number
            for window in addressing.windows(spans, start)
            if (number := addressing.first_free(window, {each for each in used if window.first <= each <= window.last}))
            is not None
        ),
        None,
    )
    assert found in free if free else found is None


@given(subnets(), st.one_of(st.none(), numbers.map(IPv4Address)))
def test_default_pools_are_all_usable_addresses_but_the_gateway(
    cidr: IPv4Network, elsewhere: IPv4Address | None
) -> None:
    whole = addressing.usable(cidr)
    for gateway in (elsewhere, addressing.default_gateway(cidr), whole.first, whole.last):
        pools = addressing.default_pools(cidr, gateway)
        assert addressing.beyond(pools, cidr) is None
        assert addressing.colliding(pools) is None
        taken = 1 if gateway is not None and gateway in whole and cidr.prefixlen < 32 else 0
        assert sum(pool.span.size for pool in pools) == whole.span.size - taken
        if gateway is not None and cidr.prefixlen < 32:
            assert addressing.holding(pools, gateway) is None


@given(subnets())
def test_usable_addresses_are_those_between_network_and_broadcast(cidr: IPv4Network) -> None:
    whole = addressing.usable(cidr)
    assert whole.first in cidr
    assert whole.last in cidr
    if cidr.prefixlen <= 30:
        assert cidr.network_address not in whole
        assert cidr.broadcast_address not in whole
        assert whole.span.size == cidr.num_addresses - 2
    else:
        assert whole.span.size == cidr.num_addresses


@given(subnets())
def test_the_default_gateway_is_a_usable_address(cidr: IPv4Network) -> None:
    gateway = addressing.default_gateway(cidr)
    assert (gateway is None) == (cidr.prefixlen == 32)
    if gateway is not None and cidr.prefixlen <= 30:
        assert gateway == addressing.usable(cidr).first


@given(st.lists(ranges(), max_size=6))
def test_collisions_are_found_if_and_only_if_there_are_some(pools: list[AddressRange]) -> None:
    every_pair = [(a, b) for at, a in enumerate(pools) for b in pools[at + 1 :]]
    meet = [pair for pair in every_pair if set(all_of([pair[0].span])) & set(all_of([pair[1].span]))]
    found = addressing.colliding(pools)
    assert (found is not None) == bool(meet)
    if found is not None:
        assert found in meet or found[::-1] in meet


@given(st.lists(ranges(), max_size=4), ranges().map(lambda each: each.first))
def test_the_pool_that_holds_an_address_is_found(pools: list[AddressRange], address: IPv4Address) -> None:
    found = addressing.holding(pools, address)
    assert (found is not None) == (int(address) in all_of([pool.span for pool in pools]))


@given(st.lists(ranges(), max_size=4), subnets(shortest=24))
def test_a_pool_beyond_its_subnet_is_found(pools: list[AddressRange], cidr: IPv4Network) -> None:
    usable = set(all_of([addressing.usable(cidr).span]))
    outside = [pool for pool in pools if not set(all_of([pool.span])) <= usable]
    assert addressing.beyond(pools, cidr) == (outside[0] if outside else None)


@given(st.integers(0, addressing.MAC_NUMBERS - 1), st.integers(0, addressing.MAC_NUMBERS - 1))
def test_each_number_has_its_own_mac_address(one: int, other: int) -> None:
    first, second = addressing.mac(one), addressing.mac(other)
    assert (first == second) == (one == other)
    assert first.startswith("fa:16:3e:")
    assert len(first) == 17
    assert int(first.replace(":", ""), 16) & 0xFFFFFF == one
