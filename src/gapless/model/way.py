"""Ways out: by which the routers of a host reach the outside, and what a host says of its own."""

from dataclasses import dataclass
from ipaddress import IPv4Address


@dataclass(frozen=True, slots=True)
class WayOut:
    """A physical network, that is, the carrier of a host's uplink to it; or a gateway in one. Every host calls the same
    one alike.
    """

    network: str
    gateway: IPv4Address | None = None
    """None: the carrier."""

    def __str__(self) -> str:
        return self.network if self.gateway is None else f"{self.network} (gateway {self.gateway})"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaysSaid:
    """What a host says of the ways out that it looks at: those of its uplinks, and of the guarded routers in its plan.
    A carrier that it does not name is there. Of a gateway that it does not name nothing is known: it looks at none that
    no router of its own uses.
    """

    lost: tuple[WayOut, ...] = ()
    """There once, and not any more. A carrier's loss takes the gateways behind it, which need not be named."""
    unsure: tuple[WayOut, ...] = ()
    """Never seen so far, in this life of its beat: a gateway that did not answer, an interface that nobody set up."""
    there: tuple[WayOut, ...] = ()
    """Gateways that answer."""
