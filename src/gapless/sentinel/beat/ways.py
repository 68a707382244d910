"""This host's ways out, as they were found: what the beat decides on, and what people are told."""

from dataclasses import dataclass
from ipaddress import IPv4Address

Way = tuple[str, IPv4Address | None]
"""A way out: (interface, None) is its carrier, (interface, address) a gateway behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """At one look."""

    trouble: str = ""
    """What is lost, in words; "" if nothing is."""
    used: frozenset[Way] = frozenset()
    """All that is looked at."""
    lost: frozenset[Way] = frozenset()
    """What of that is lost; without a carrier, its gateways as well."""
    unsure: frozenset[Way] = frozenset()
    """Gateways that never answered, and carriers of interfaces that were never up."""
