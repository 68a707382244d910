"""A router's way to its gateway, and what its kernel knows of that neighbour."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from gapless.model.network import NetworkId
from gapless.model.plan import Epoch
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """Of an active router: by which link it reaches which gateway."""

    router_id: RouterId
    epoch: Epoch
    link: str
    gateway: IPv4Address
    network_id: NetworkId
    guarded: bool


class Reach(StrEnum):
    """What a kernel's neighbour entry says, in as many words as are needed here."""

    HEARD = "heard"
    """The neighbour answered a short while ago."""
    ASKED = "asked"
    """It did some time ago; the kernel asks again when there is something to send, or is doing so."""
    SILENT = "silent"
    """It was asked, and did not answer."""
    PINNED = "pinned"
    """Somebody entered its address by hand: the kernel does not ask."""
    UNKNOWN = "unknown"
    """There is no entry: nothing was sent there lately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One look at one entry."""

    reach: Reach
    mac: str = ""
    confirmed_ago_s: float | None = None
    """How long ago the neighbour answered last; None: that is not known."""
