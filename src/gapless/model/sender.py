"""Who has an address of an external network: a router, by the plan, and who was heard to say so in ARP."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from gapless.model.network import NetworkId
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The router that has an address by the plan, and the MAC address of its gateway port: its frames' only one."""

    router_id: RouterId
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Whom ARP frames name as their sender (RFC 826): an address, and the MAC address that it should be at."""

    network_id: NetworkId
    address: IPv4Address
    mac: str
    frames: int = 1
    """How many said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """News of an address of a router that another machine uses: that it does, or that it was not heard to any more."""

    router_id: RouterId
    address: IPv4Address
    mac: str
    is_over: bool = False
    frames: int
    """How many have said so until now, with `mac` and with any other MAC address that is not the router's."""
    by_others: int
    """How many of them with another one than `mac`."""
