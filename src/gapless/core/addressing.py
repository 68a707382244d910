"""Rules of addresses: what a subnet offers, which ranges collide, which number is free. IPv4 (RFC 791, 919, 3021).

The rule: numbers are handed out by looking at small windows of a space, never at the whole of it. Windows start at a
random place, so that two that look at the same time rarely want the same number; who loses looks again.

The invariant: the windows of a space cover every number of it exactly once, so a space that has a free number always
yields one.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from typing import NamedTuple, Self

FIRST_WINDOW = 64
"""Numbers in the first window: mostly enough, and cheap to look up."""
LARGEST_WINDOW = 65_536
"""Numbers in a window at most: what a search of a nearly full /8 holds in memory."""
MAC_PREFIX = "fa:16:3e"
"""OpenStack's; the second-lowest bit of the first octet says that it is locally administered."""
MAC_NUMBERS = 1 << 24
"""How many MAC addresses begin with the prefix."""


class Span(NamedTuple):
    """Whole numbers from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, order=True)
class AddressRange:
    """Addresses from `first` to `last`, both included. Reads `10.0.0.2-10.0.0.254`."""

    first: IPv4Address
    last: IPv4Address

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"{self.first} comes after {self.last}")

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @classmethod
    def parse(cls, first: str, last: str) -> Self:
        """Raises ValueError for what is no IPv4 address, or a range that ends before it begins."""
        return cls(IPv4Address(first), IPv4Address(last))

    @property
    def span(self) -> Span:
        """The same as numbers."""
        return Span(int(self.first), int(self.last))


# What a subnet offers


def usable(cidr: IPv4Network) -> AddressRange:
    """Every address of a subnet that an interface may have: not its network and broadcast address, if it has them."""
    if cidr.prefixlen >= 31:  # point to point (RFC 3021), or a single address
        return AddressRange(cidr[0], cidr[-1])
    return AddressRange(cidr[1], cidr[-2])


def default_gateway(cidr: IPv4Network) -> IPv4Address | None:
    """The first address after the network's own, as in Neutron; None where the network has no second address."""
    return None if cidr.prefixlen == 32 else cidr.network_address + 1


def default_pools(cidr: IPv4Network, gateway: IPv4Address | None) -> tuple[AddressRange, ...]:
    """All usable addresses but the gateway's, in order. A single address is its own pool, gateway or not."""
    whole = usable(cidr)
    if gateway is None or gateway not in whole or cidr.prefixlen == 32:
        return (whole,)
    below = (AddressRange(whole.first, gateway - 1),) if gateway > whole.first else ()
    above = (AddressRange(gateway + 1, whole.last),) if gateway < whole.last else ()
    return below + above


# Which ranges collide


def beyond(pools: Sequence[AddressRange], cidr: IPv4Network) -> AddressRange | None:
    """The first pool that reaches outside of what the subnet offers."""
    whole = usable(cidr)
    return next((pool for pool in pools if pool.first not in whole or pool.last not in whole), None)


def colliding(pools: Sequence[AddressRange]) -> tuple[AddressRange, AddressRange] | None:
    """Two pools that share an address."""
    ordered = sorted(pools)
    # Where no neighbours share an address, each pool ends before the next begins, so no others share one either.
    return next(((a, b) for a, b in pairwise(ordered) if b.first in a), None)


def holding(pools: Sequence[AddressRange], address: IPv4Address) -> AddressRange | None:
    """The pool that holds an address."""
    return next((pool for pool in pools if address in pool), None)


# Which number is free


def windows(spans: Sequence[Span], start: int) -> Iterator[Span]:
    """Cut `spans` (apart from each other) into windows that grow, beginning `start` numbers in, and going round once.

    `start` may be any whole number: it counts modulo the numbers that there are.
    """
    total = sum(span.size for span in spans)
    if total == 0:
        return
    size = FIRST_WINDOW
    for span in _turned(spans, start % total):
        first = span.first
        while first <= span.last:
            last = min(first + size - 1, span.last)
            yield Span(first, last)
            first = last + 1
            size = min(size * 4, LARGEST_WINDOW)


def first_free(window: Span, used: Collection[int]) -> int | None:
    """The lowest number of a window that is not used."""
    if len(used) < window.size:
        taken = used if isinstance(used, set | frozenset) else set(used)
        return next((number for number in range(window.first, window.last + 1) if number not in taken), None)
    return None


def _turned(spans: Sequence[Span], start: int) -> Iterator[Span]:
    """The spans from `start` numbers in to their end, then from their beginning to `start`."""
    before: list[Span] = []
    for span in spans:
        if start >= span.size:
            before.append(span)
        elif start > 0:
            before.append(Span(span.first, span.first + start - 1))
            yield Span(span.first + start, span.last)
        else:
            yield span
        start = max(start - span.size, 0)
    yield from before


# MAC addresses


def mac(number: int) -> str:
    """The MAC address with this number below MAC_NUMBERS, under OpenStack's prefix."""
    tail = number.to_bytes(3, "big")
    return ":".join((MAC_PREFIX, *(f"{octet:02x}" for octet in tail)))
