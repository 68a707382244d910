"""A network's further bridges on a host: a Linux bridge has 1,023 ports at most.

Why they are there, and which bridge a port is plugged into, is written in `core.dataplane.leaves`.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A further bridge of a network on a host, joined to the first one, the root, by a pair of links.

    Each of the two bridges sends what is for the address of the other one's end through the joint.
    """

    bridge: str
    root_end: str
    """The root's port that leads to the leaf."""
    root_end_mac: str
    leaf_end: str
    """The leaf's port that leads to the root."""
    leaf_end_mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much finds room on the bridges of one network."""

    ports: int = 1023
    """Of one bridge: they are numbered from 1 to BR_MAX_PORTS - 1 (net/bridge/br_private.h)."""
    leaves: int = 15
    """The root keeps as many ports for their joints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugged:
    """Which ports the bridges of one network have on a host, joints left out."""

    ports: Mapping[int, Set[str]] = field(default_factory=dict)
    """By a bridge's number: 0 is the root, whether it is there or not; of leaves those that are there."""
    foreign: frozenset[int] = frozenset()
    """Numbers of leaves whose names somebody else uses."""
