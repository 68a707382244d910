"""Three beats on virtual time: a way out that is lost is told, and its routers go to a host that has it."""

from ipaddress import IPv4Address

import msgspec
from beat_fakes import X, router
from beat_net import NAMES, NO_CARRIER, Net, active, panel, tenure_of

from gapless.model.host import Incarnation
from gapless.model.lease import DEFAULT, Tenure
from gapless.model.plan import Role
from gapless.model.way import WayOut, WaysSaid
from gapless.wire import beat as wire


def test_an_uplink_that_is_lost_is_told_and_gateways_are_watched(net: Net) -> None:
    first, _ = active(net, X)
    gateway = ("eth2", IPv4Address("203.0.113.1"))
    net.plan(first, msgspec.structs.replace(router(X), gateway=gateway), revision=2)
    assert first.uplinks.watched == {gateway}
    first.uplinks.missing = frozenset({gateway})
    net.run(0.2)
    assert first.level.trouble == "eth2 203.0.113.1"
    assert first.level.ways == WaysSaid(lost=(WayOut("external", gateway[1]),))
    first.uplinks.missing = frozenset()
    net.run(0.2)
    assert (first.level.trouble, first.level.ways) == ("", WaysSaid())


def test_a_beat_that_starts_while_its_uplink_is_down_says_so_and_holds_its_lease(net: Net) -> None:
    host = net.hosts[NAMES[0]]
    host.uplinks.missing = NO_CARRIER
    net.begin(host, panel())
    net.holds()
    assert (tenure_of(host), host.level.trouble) == (2, "eth2 None")


def test_a_turn_that_fences_may_see_a_lost_uplink(net: Net) -> None:
    first, _ = active(net, X)
    first.is_up = False
    net.run(2 * DEFAULT.lease_s)
    first.is_up, first.uplinks.missing = True, NO_CARRIER
    first.driver.on_deadline(net.now)
    assert (first.told_open, first.level.trouble) == ({}, "eth2 None")


def test_a_router_goes_to_the_successor_when_its_host_alone_lost_the_way_out(net: Net) -> None:
    """Both hosts call the network by one name, whatever their interfaces are called; what both lost moves nothing."""
    gateway = IPv4Address("203.0.113.1")
    first, second = active(net, X, gateway=gateway)
    second.uplinks.missing = frozenset({("eth3", gateway)})
    net.run(2.0)
    first.uplinks.missing = frozenset({("eth2", gateway)})
    net.run(3.0)
    assert X in first.told_open
    first.uplinks.missing |= {("eth2", None)}
    net.run(until=lambda: X in second.told_open)
    assert X not in first.told_open


def test_an_uplink_of_another_network_than_its_routers_leave_by_moves_none(net: Net) -> None:
    """Its standbys may need it, so that is said."""
    first, _ = active(net, X, gateway=IPv4Address("203.0.113.1"))
    first.uplinks.missing = frozenset({("eth9", None)})
    net.run(5.0)
    assert (first.told_open, tenure_of(first), first.level.trouble) == ({X: 1}, 1, "eth9 None")


def test_what_a_host_has_lost_counts_once_it_has_taken_over_what_needs_it(net: Net) -> None:
    first, second = active(net, X, gateway=IPv4Address("203.0.113.1"))
    second.uplinks.missing = frozenset({("eth3", None)})
    first.is_up = False
    net.run(until=lambda: bool(second.told_open))
    third = net.hosts[NAMES[2]]
    of = Tenure(second.name, Incarnation(second.incarnation))
    net.plan(
        third, router(X, role=Role.STANDBY, epoch=3, incarnation=third.incarnation, after=(of,)), revision=2, whole=True
    )
    net.run(until=lambda: bool(third.told_open))
    assert (third.told_open, second.told_open) == ({X: 3}, {})
    assert any("it resigns" in line.event for line in second.heard(wire.Said))
