"""Which tracked connections are worth copying to hosts that may succeed: a host's policy for those of its own routers.

Theory: a copy costs events, bytes and room in another kernel, and pays where the flow lives to see a takeover. The
kernel's own word for that is *assured*: TCP and SCTP after their handshakes, UDP that was answered and went on for two
seconds. What is not assured is never copied, as no ICMP flow is. A policy can ask for more, and not for less.

The rule: the source decides what it tells, and a follower takes whatever it is told. So hosts may differ, and what a
policy leaves out from now on is over for the follower with the next copy, which does not name it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from types import MappingProxyType

from gapless.errors import InvalidRequest


class FlowProtocol(StrEnum):
    """A protocol whose flows can be copied."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


NUMBERS: Mapping[FlowProtocol, int] = MappingProxyType(
    {FlowProtocol.TCP: 6, FlowProtocol.UDP: 17, FlowProtocol.SCTP: 132}
)
"""IANA's."""
UDP_ASSURED_S = 2.0
"""No UDP flow is assured that is younger (nf_conntrack_proto_udp.c)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPolicy:
    """What a host tells others of. Raises InvalidRequest for an age that cannot be."""

    protocols: tuple[FlowProtocol, ...] = tuple(FlowProtocol)
    udp_age_s: float = UDP_ASSURED_S
    """No UDP flow is told of before it has gone on for so long."""

    def __post_init__(self) -> None:
        if not (isfinite(self.udp_age_s) and self.udp_age_s >= UDP_ASSURED_S):
            raise InvalidRequest(
                f"UDP flows can be copied from {UDP_ASSURED_S:g} seconds on, when the kernel takes them for real, and "
                f"not from {self.udp_age_s:g} on"
            )

    @property
    def holds_s(self) -> Mapping[int, float]:
        """By protocol number: how long a flow is held that has just become assured. What is not here is not told."""
        held_s = {FlowProtocol.UDP: self.udp_age_s - UDP_ASSURED_S}
        return {NUMBERS[each]: held_s.get(each, 0.0) for each in self.protocols}
