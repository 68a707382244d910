"""Networks as a host sees them: which segment carries the frames, and how large they may be.

Only IPv4 is carried today; the API refuses IPv6 subnets with a clear error.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

NetworkId = NewType("NetworkId", str)
"""A network's UUID, in canonical lower-case form."""
SubnetId = NewType("SubnetId", str)
PortId = NewType("PortId", str)
"""A port's UUID; interface names carry its first eleven characters, as Neutron's do."""

VXLAN_OVERHEAD = 50
"""Bytes that encapsulation takes from the data network's MTU: Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348)."""


class NetworkType(StrEnum):
    """`provider:network_type`: how frames of a network travel between hosts."""

    VXLAN = "vxlan"
    """Encapsulated over the hosts' data network (RFC 7348); `segmentation_id` is the VNI."""
    FLAT = "flat"
    """Untagged on an existing interface of the host, found by `physical_network`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The layer-2 segment that a router port is plugged into.

    `mtu` is the largest IP packet in bytes that the segment carries, encapsulation already taken off.
    """

    id: NetworkId
    type: NetworkType
    mtu: int
    segmentation_id: int | None = None
    physical_network: str | None = None
