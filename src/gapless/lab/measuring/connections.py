"""What a connection of the lab is, and how often it speaks. Pure: no clock, no sockets.

Each goes through one router: from a VM without a floating IP to the world outside, by SNAT, or from outside to a VM's
floating IP. Who opens it, who speaks when and what counts as heard is its kind's (`conversations`); what became of it,
and whether that is well, is told in `survival`.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from gapless.errors import InvalidRequest

MOST_LINES_PER_S = 2000
"""Of all connections together."""
SHORTEST_INTERVAL_MS = 100.0
PORT = 7000
"""Where the side listens that does not open, by TCP and by UDP."""


class Kind(StrEnum):
    """What is done with it."""

    DOWNLOAD = "download"
    """TCP through SNAT: the outside speaks."""
    UPLOAD = "upload"
    """TCP through SNAT: the VM speaks."""
    IDLE = "idle"
    """TCP through SNAT: the outside speaks, seldom."""
    REQUEST = "request"
    """TCP through SNAT: the VM asks, and the outside answers."""
    UDP = "udp"
    """UDP through SNAT: the outside answers each of the VM's datagrams."""
    UDP_DOWNLOAD = "udp-download"
    """UDP through SNAT: the outside speaks, and the VM seldom, to keep the mapping."""
    FLOATING_DOWNLOAD = "floating-download"
    """TCP from outside to a floating IP: the outside speaks."""
    FLOATING_UPLOAD = "floating-upload"
    """TCP from outside to a floating IP: the VM speaks."""


Kinds = tuple[Kind, ...]
"""What connections are of, by turns: a kind that is named twice comes twice as often."""
MIX: Kinds = tuple(Kind)
OTHER_TCP = (Kind.UPLOAD, Kind.REQUEST, Kind.IDLE, Kind.FLOATING_DOWNLOAD, Kind.FLOATING_UPLOAD)
MIXES: Mapping[str, Kinds] = {
    "all": MIX,
    "tcp-half-downloads": tuple(kind for other in OTHER_TCP for kind in (Kind.DOWNLOAD, other)),
}
"""Those that have a name."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where one side of connections is."""

    netns: str
    address: str


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One connection: through which router, and the VM at its one end."""

    router_id: str
    kind: Kind
    vm: Endpoint
    target: str
    """The address that it is opened to: the outside's, or the VM's floating IP."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the talker is told when it starts."""

    connections: tuple[Connection, ...]
    outside: Endpoint
    """The other end of each."""
    interval_ms: float
    port: int = PORT


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What the talker says first: from which ports, in the orders' order."""

    ports: tuple[int, ...]


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """What the talker says then, several times a second: how many connections were heard at least once."""

    heard: int


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one connection."""

    connection: Connection
    broken: str = ""
    """Why it is over; "" if it is not."""
    is_heard: bool = False
    """Its listener heard something new after it was asked for the end."""
    stall_ms: float = 0.0
    datagrams: int = 0
    """Of UDP: those that were to be heard."""
    datagrams_lost: int = 0
    """And were not."""


class Courses(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all."""

    courses: tuple[Course, ...]


def kinds_of(words: str) -> Kinds:
    """A mix by its name, or kinds by theirs, separated by commas. Raises InvalidRequest that names those there are."""
    if words in MIXES:
        return MIXES[words]
    try:
        return tuple(Kind(word) for word in words.split(","))
    except ValueError:
        known = f"{', '.join(MIXES)}; or, separated by commas, {', '.join(Kind)}"
        raise InvalidRequest(f"connections cannot be of '{words}': {known}") from None


def interval_ms_for(connections: int) -> float:
    """Between two lines of one connection, so that all together are bearable."""
    return max(SHORTEST_INTERVAL_MS, 1000 * connections / MOST_LINES_PER_S)
