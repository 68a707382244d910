"""What is broken on purpose, by name. `gapless lab run --fault NAME`; a new one is a class and a line here."""

from collections.abc import Iterable

from gapless.errors import InvalidRequest, Unavailable
from gapless.lab.faults.base import Fault, Reach
from gapless.lab.faults.links import DataLink, ExtLink, HalfHosts, MgmtLink
from gapless.lab.faults.machines import AgentThenPower, HostPower, HostReturn
from gapless.lab.faults.namespaces import (
    AddressRemoved,
    LinkDown,
    NamespaceBroken,
    NamespaceDeleted,
    RouteRemoved,
    RulesFlushed,
)
from gapless.lab.faults.processes import AgentKill, ControllerKill, ControllerStop, SentinelKill, SentinelStop
from gapless.lab.lab import Lab

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        HostPower,
        AgentThenPower,
        HostReturn,
        AgentKill,
        SentinelKill,
        SentinelStop,
        ControllerKill,
        ControllerStop,
        MgmtLink,
        DataLink,
        ExtLink,
        HalfHosts,
        NamespaceBroken,
        NamespaceDeleted,
        LinkDown,
        AddressRemoved,
        RulesFlushed,
        RouteRemoved,
    )
}

__all__ = ["FAULTS", "Fault", "choose", "kind_of"]


def kind_of(name: str) -> type[Fault]:
    """The class of a fault by name. Raises InvalidRequest that names them all."""
    if name not in FAULTS:
        raise InvalidRequest(f"there is no fault '{name}': {', '.join(FAULTS)}")
    return FAULTS[name]


async def choose(lab: Lab, name: str, hosts: Iterable[str] = ()) -> Fault:
    """A fault by name on the hosts named, or on those that it would take: the busiest one, or more than half.

    Raises InvalidRequest for unknown names, Unavailable for a host that has no power.
    """
    kind = kind_of(name)
    struck = [lab.host(each) for each in hosts]
    if kind.reach is Reach.CONTROLLER:
        return kind()
    if not struck:
        struck = (
            list(lab.hosts.values())[: len(lab.hosts) // 2 + 1]
            if kind.reach is Reach.MOST_HOSTS
            else [await lab.busiest_host()]
        )
    off = [host.name for host in struck if not host.machine.is_on]
    if off and kind is not HostReturn:
        raise Unavailable(f"{', '.join(off)} has no power")
    return kind(struck)
