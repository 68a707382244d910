"""What a host's steering table knows: which broadcasts of an external network concern a router, and which router.

How the table is used is written in `agent.kernel.steering`; what belongs into it, in `core.dataplane.steering`.
"""

from dataclasses import dataclass
from enum import StrEnum

from gapless.model.leaf import Leaf


class Kind(StrEnum):
    """The table's sets, by name."""

    ASKED = "asked"
    """(uplink, address) -> steering MAC: who is asked by ARP requests that come in there."""
    ADDRESSES = "addresses"
    """(address,): routers' addresses on external networks."""
    ANNOUNCED = "announced"
    """(address, address): gratuitous ARP of routers themselves, as sender and target."""
    NEXT_HOPS = "next_hops"
    """(address, address): gratuitous ARP of routers' next hops."""
    INLETS = "inlets"
    """(bridge port,): where broadcasts come in that are to be steered."""
    ONLY_ARP = "only_arp"
    """(bridge port,): those of them where no broadcasts but ARP are."""
    STEERED = "steered"
    """(steering MAC,): what is written into frames in place of the broadcast address."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One element of a set. `key` is in nft's words; interface names without quotes."""

    kind: Kind
    key: tuple[str, ...]
    mac: str = ""
    """What an element of ASKED leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """How frames of an external network come to its bridge on a host."""

    uplink: str | None
    """The one port that leads away from the host; None: there may be several."""
    inlets: frozenset[str]
    """Ports that are no taps of ours, as far as they are known, the uplink among them."""
    only_arp: bool = False
    """The bridge is the operator's own, which may look into multicasts (snooping)."""
    leaf: Leaf | None = None
    """Which one the router's tap is plugged into; None: into the bridge that the uplink is a port of."""
