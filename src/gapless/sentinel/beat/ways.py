"""This host's ways out, as they were found: what the beat decides on, and what people are told."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from gapless.wire.beat import BeatRouter

Way = tuple[str, IPv4Address | None]
"""A way out: (interface, None) is its carrier, (interface, address) a gateway behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """At one look."""

    trouble: str = ""
    """What is lost, in words; "" if nothing is."""
    watched: frozenset[Way] = frozenset()
    """All that is looked at."""
    lost: frozenset[Way] = frozenset()
    """What of that is lost; without a carrier, its gateways as well."""
    unsure: frozenset[Way] = frozenset()
    """Gateways that never answered, and carriers of interfaces that were never up."""


def used_by(router: BeatRouter) -> Iterator[Way]:
    """Whatever the ports of a router lead away by (a VXLAN device, too), and its next hop."""
    for port in router.ports:
        yield port.way_out, None
    if router.gateway is not None:
        yield router.gateway[0], None
        yield router.gateway
