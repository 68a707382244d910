"""Hosts: the machines that carry routers, and what each says of itself."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

HostName = NewType("HostName", str)
"""The name operators know; unique in a cluster."""
InstanceId = NewType("InstanceId", str)
"""UUID made by a host at its first start and kept on its disk: tells two machines with one name apart.
It is also the id of the host's agent in the Neutron API."""
Incarnation = NewType("Incarnation", int)
"""Grows with each start of a host's sentinel, of its beat, and each fencing; never falls; kept on the host's disk."""

MACHINE_STEP = 1_000_000
"""Each machine that ever has a host's name counts its incarnations in a range of its own, so many long. Who is at one
of a later range was told so by the controller, and says nothing of the machines before it."""


def machine_of(incarnation: Incarnation) -> int:
    """Which machine of its name counts so: 0 for the first, 1 for the next."""
    return incarnation // MACHINE_STEP


def others_up_to(incarnation: Incarnation) -> Incarnation:
    """Where the range of an incarnation ends: another machine that gets the name begins above."""
    return Incarnation((machine_of(incarnation) + 1) * MACHINE_STEP)


class AgentState(StrEnum):
    """What the sentinel says of the agent that it supervises."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    """It ended, or hangs and was killed; it is started again, with back-off. Its routers go on forwarding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host says of itself when it connects."""

    name: HostName
    instance: InstanceId
    availability_zone: str = "nova"
    capacity: int = 1000
    """The most routers it wants to carry."""
    physical_networks: tuple[str, ...] = ()
    """Flat networks it is plugged into; a router goes only where all of its flat networks are."""
    data_address: str | None = None
    """VXLAN endpoint; None: it cannot carry tenant networks."""
    version: str = ""
    """Gapless's version on that host."""
    lease_address: str | None = None
    """"ADDRESS:PORT" of its lease datagrams; None: it takes no part in leases, and carries no guarded router."""
    tracked_most: int | None = None
    """The most connections that its kernel tracks of a router (nf_conntrack_max); None: it tracks none yet, or
    copies none.
    """
    copies_flows: bool | None = None
    """Whether connections are copied from here, and to here; None: it does not say."""
