"""What happens in a lab, as a stream for whoever shows it: a live view, a report, a test.

All times are CLOCK_MONOTONIC seconds. A listener is called at once, in the lab's event loop; it must not block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What the lab is doing; in this order."""

    NODES = "nodes"
    """Switches, cables, machines, outside world."""
    CONTROLLER = "controller"
    HOSTS = "hosts"
    TENANTS = "tenants"
    """Networks, routers, ports and floating IPs through the API, and VMs for them."""
    ROUTERS = "routers"
    """Waiting until every router is active."""
    STANDBYS = "standbys"
    """Waiting until every router has a standby that is ready."""
    TRAFFIC = "traffic"
    """Waiting until every probe is answered."""
    STEADY = "steady"
    """Measuring while nothing is broken."""
    FAULT = "fault"
    """Struck; waiting for the traffic."""
    BACK = "back"
    """Every probe is answered again."""
    HEALED = "healed"
    RECOVERY = "recovery"
    """Between two rounds: making the lab well again, and hosts carry alike."""
    CHECK = "check"
    """Looking into the hosts: is every router on exactly one?"""
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBegan:
    """The lab goes on to something else. `detail`: a few words for people."""

    at: float
    phase: Phase
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """Part of the present phase is over: `done` of `total`."""

    at: float
    phase: Phase
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultStruck:
    """Something was broken on purpose. It took from `began` to `at`."""

    at: float
    began: float
    name: str
    description: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultHealed:
    """What was broken is whole again; what Gapless makes of it comes next."""

    at: float
    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSeen:
    """A pulse of the prober, several times a second: which routers answer now, in both directions."""

    at: float
    silent_ms: dict[str, float]
    """Router id -> milliseconds since the later answered direction last got a reply; -1: never yet."""
    answered: frozenset[str]
    sent: int
    lost: int
    """Unanswered until now, those under way included."""
    lateness_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The controller's picture of routers and hosts changed; asked for about once a second."""

    at: float
    host_of: dict[str, str | None]
    state_of: dict[str, str]
    reason_of: dict[str, str]
    standing_of: dict[str, str]
    """Host -> alive, silent, dead, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterMoved:
    """The controller bound a router to another host."""

    at: float
    router_id: str
    from_host: str | None
    to_host: str | None


LabEvent = PhaseBegan | Progressed | FaultStruck | FaultHealed | TrafficSeen | Placed | RouterMoved
Listener = Callable[[LabEvent], None]


def nobody(_: LabEvent) -> None:
    """A listener that does not listen."""
