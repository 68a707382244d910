"""A virtual router as it should be: everything a host needs to build it, and nothing about where it runs."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NewType

from gapless.model.network import Network, PortId

RouterId = NewType("RouterId", str)
"""A router's UUID; its namespace is `qrouter-<id>`."""


class FailoverMode(StrEnum):
    """What happens to a router when its host dies."""

    STANDBY = "standby"
    """Another host has it built, and takes over by itself within a lease."""
    RESCHEDULE = "reschedule"
    """The controller rebinds it and the new host builds it: the classic way."""
    OFF = "off"
    """It stays where it is until somebody moves it or its host returns."""


DEFAULT_FAILOVER_MODE = FailoverMode.STANDBY
"""Of a router whose creator asked for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterPort:
    """One interface of a router. `mac` is six lower-case hex pairs; addresses carry their prefix length."""

    id: PortId
    network: Network
    mac: str
    addresses: tuple[IPv4Interface, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The way out: the port on the external network, and the subnet gateway to send to (None: no default route)."""

    port: RouterPort
    next_hop: IPv4Address | None
    snat: bool
    """Whether tenants without a floating IP leave with the gateway port's first address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatingIp:
    """An external address that stands for one address inside, in both directions (one-to-one NAT)."""

    id: str
    address: IPv4Address
    fixed_address: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An extra route of the router (Neutron's `extraroute`)."""

    destination: IPv4Network
    next_hop: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A router as it should run. With `admin_up` false its namespace exists and forwards nothing."""

    id: RouterId
    name: str
    admin_up: bool = True
    ports: tuple[RouterPort, ...] = ()
    gateway: Gateway | None = None
    floating_ips: tuple[FloatingIp, ...] = ()
    routes: tuple[Route, ...] = ()
