"""What is broken on purpose, by name. `gapless lab run --fault NAME`; a new one is a class and a line here."""

from collections.abc import Iterable

from gapless.errors import InvalidRequest, Unavailable
from gapless.lab.faults.base import Fault, Reach
from gapless.lab.faults.conflicts import AddressConflict
from gapless.lab.faults.control import (
    ControllerKill,
    ControllerStop,
    ControllerThenPower,
    ControllerThenTwoHosts,
    DatabaseGone,
    DatabaseThenPower,
)
from gapless.lab.faults.drains import Drain, HostStop
from gapless.lab.faults.leases import OldDisk, StandbyCutThenPower
from gapless.lab.faults.links import (
    DataLink,
    DataLinkIn,
    DataLinkOut,
    GatewayLost,
    GatewaySilent,
    HalfHosts,
    HostFlap,
    MgmtLink,
    Partition,
    UplinkLost,
    UplinksLost,
)
from gapless.lab.faults.load import BusyThenPower, CpuHogs
from gapless.lab.faults.machines import AgentThenPower, HostPower, HostReturn, RebootAll, TwoHostsPower
from gapless.lab.faults.namespaces import (
    AddressRemoved,
    ForwardingOff,
    LinkDeleted,
    LinkDown,
    NamespaceBroken,
    NamespaceDeleted,
    OneUnrepairable,
    RouteRemoved,
    RoutingRulesFlushed,
    RulesAltered,
    RulesAsleep,
    RulesFlushed,
    TapUnplugged,
    Unrepairable,
)
from gapless.lab.faults.processes import (
    AgentKill,
    AgentStop,
    AgentUnable,
    ArbiterKill,
    HostReload,
    RestartAll,
    SentinelKill,
    SentinelStop,
    StateGone,
    TwoArbitersKill,
)
from gapless.lab.faults.successor import SuccessorDies
from gapless.lab.findings.expect import Moves
from gapless.lab.lab import Lab
from gapless.lab.machines.layout import Place
from gapless.lab.machines.nodes import Host
from gapless.lab.settings import LabSettings

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        HostPower,
        TwoHostsPower,
        AgentThenPower,
        ControllerThenPower,
        ControllerThenTwoHosts,
        DatabaseThenPower,
        BusyThenPower,
        SuccessorDies,
        StandbyCutThenPower,
        OldDisk,
        HostReturn,
        RebootAll,
        Drain,
        HostStop,
        AgentKill,
        HostReload,
        AgentStop,
        AgentUnable,
        StateGone,
        SentinelKill,
        SentinelStop,
        ArbiterKill,
        TwoArbitersKill,
        RestartAll,
        ControllerKill,
        ControllerStop,
        DatabaseGone,
        MgmtLink,
        CpuHogs,
        HalfHosts,
        DataLink,
        DataLinkOut,
        DataLinkIn,
        HostFlap,
        Partition,
        UplinkLost,
        UplinksLost,
        AddressConflict,
        GatewayLost,
        GatewaySilent,
        NamespaceBroken,
        NamespaceDeleted,
        LinkDown,
        AddressRemoved,
        RulesFlushed,
        RulesAsleep,
        RulesAltered,
        RoutingRulesFlushed,
        RouteRemoved,
        ForwardingOff,
        LinkDeleted,
        TapUnplugged,
        Unrepairable,
        OneUnrepairable,
    )
}

__all__ = ["FAULTS", "Fault", "check", "choose", "kind_of"]


def kind_of(name: str) -> type[Fault]:
    """The class of a fault by name. Raises InvalidRequest that names them all."""
    if name not in FAULTS:
        raise InvalidRequest(f"there is no fault '{name}': {', '.join(FAULTS)}")
    return FAULTS[name]


_FEWEST = {Reach.ANOTHER: 2, Reach.TWO_OTHERS: 3, Reach.FEWER_HOSTS: 2}
"""How many hosts there must be, where one is not enough."""


def check(settings: LabSettings, name: str, hosts: Iterable[str] = ()) -> None:
    """Raise InvalidRequest for what a lab with these settings could never carry out, before it is built."""
    kind = kind_of(name)
    known = [Place(number + 1).name for number in range(settings.hosts)]
    for each in hosts:
        if each not in known:
            raise InvalidRequest(f"there is no host '{each}': {', '.join(known)}")
    if not settings.routers:
        raise InvalidRequest("without a router there is nothing to measure: --routers 1 at least")
    moves = kind.expects(settings.mode).moves is Moves.STRUCK
    fewest = max(_FEWEST.get(kind.reach, 1), 2 if moves else 1)
    if settings.hosts < fewest:
        why = "another is to take its routers over" if moves else "it strikes others than the one with the routers"
        raise InvalidRequest(f"{name} needs {fewest} hosts, since {why}: --hosts {fewest} at least")


async def choose(lab: Lab, name: str, hosts: Iterable[str] = ()) -> Fault:
    """A fault by name on the hosts named, or on those that it would take.

    Raises InvalidRequest for unknown names and too few hosts, Unavailable for a host that has no power.
    """
    kind = kind_of(name)
    struck = [lab.host(each) for each in hosts]
    if kind.reach is Reach.CONTROLLER:
        return kind()
    is_aimed = not struck and kind.reach in (Reach.HOST, Reach.FATAL_PAIR)
    struck = struck or await _usual(lab, kind)
    off = [host.name for host in struck if not host.machine.is_on]
    if off and kind is not HostReturn:
        raise Unavailable(f"{', '.join(off)} has no power")
    fault = kind(struck)
    fault.is_aimed = is_aimed
    return fault


async def _usual(lab: Lab, kind: type[Fault]) -> list[Host]:
    """The hosts that a fault takes when nobody names any."""
    hosts = list(lab.hosts.values())
    match kind.reach:
        case Reach.MOST_HOSTS:
            return hosts[: len(hosts) // 2 + 1]
        case Reach.ALL_HOSTS:
            return [host for host in hosts if host.machine.is_on]
        case Reach.HOST:
            return [await lab.busiest_host()]
        case Reach.FATAL_PAIR:
            return await lab.fatal_pair()
    busiest = await lab.busiest_host()
    others = [host for host in hosts if host is not busiest and host.machine.is_on]
    wanted, chosen = {
        Reach.ANOTHER: (1, others[:1]),
        Reach.TWO_OTHERS: (2, others[:2]),
        Reach.FEWER_HOSTS: (1, hosts[len(hosts) - len(hosts) // 2 :]),
    }[kind.reach]
    if len(chosen) < wanted:
        raise InvalidRequest(f"{kind.name} needs more hosts than these: {', '.join(lab.hosts)}")
    return chosen
