"""A zone that dies is not to take routers with their only standbys."""

from planner_rig import facts
from standby_rig import StandbyRig

from gapless.core.planner.placement import LEAST_ELSEWHERE, STANDBYS_AT_ONCE

ROUTERS = [f"r{number}" for number in range(10, 34)]


def protected(zones: dict[str, str]) -> StandbyRig:
    """Hosts in these zones, when each router has a standby that is ready: far more at once than one host builds."""
    rig = StandbyRig(*(facts(name, availability_zone=zone, lease_address=f"{name}:1") for name, zone in zones.items()))
    rig.protect(*ROUTERS)
    for _ in range(len(ROUTERS) // STANDBYS_AT_ONCE * 2):
        rig.settle(*zones)
        rig.pass_time(1, heard=zones)
    assert all(rig.standby(each)[1] == "ready" for each in ROUTERS)
    return rig


def in_one_zone(rig: StandbyRig, zones: dict[str, str]) -> list[str]:
    return [each for each in ROUTERS if zones[rig.host(each)] == zones[rig.standby(each)[0]]]


def test_a_first_standby_waits_for_a_host_of_another_zone_that_builds_others() -> None:
    zones = {"h1": "a", "h2": "a", "h3": "b"}
    assert in_one_zone(protected(zones), zones) == []


def test_a_first_standby_does_not_wait_where_few_hosts_are_in_another_zone() -> None:
    zones = {f"h{number}": "a" for number in range(1, 2 * LEAST_ELSEWHERE)} | {"h9": "b"}
    assert in_one_zone(protected(zones), zones)
