"""Hosts that say how their ways out are: what tests of them begin with, and look at."""

from planner_rig import facts
from standby_rig import StandbyRig

from gapless.core.effects import Bind
from gapless.model.host import HostFacts

NETWORKS = ("external", "other")
OUTSIDE = frozenset({"external"})


def plugged(name: str) -> HostFacts:
    return facts(name, lease_address=f"{name}:9698", physical_networks=NETWORKS)


def fleet(*hosts: str, standbys: int = 1) -> StandbyRig:
    """Hosts that say that they have all their ways, and have said so for long."""
    rig = StandbyRig(*map(plugged, hosts), standbys=standbys)
    rig.say_ways(*hosts)
    rig.pass_time(20, heard=hosts)
    return rig


def settle(rig: StandbyRig, seconds: float) -> None:
    """Everybody obeys each second."""
    end = rig.now + seconds
    while rig.now < end:
        rig.pass_time(min(1.0, end - rig.now), heard=rig.incarnations)
        rig.settle(*rig.incarnations)


def moves(rig: StandbyRig) -> list[tuple[str, str | None, str]]:
    return [(each.router_id, each.previous_host, each.host) for each in rig.all_said(Bind)]
