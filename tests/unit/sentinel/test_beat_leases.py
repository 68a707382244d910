"""Three beats on virtual time: how each comes to hold its lease, loses it, and holds one again."""

import pytest
from beat_fakes import X, router
from beat_net import NAMES, Net, active, panel, plan_part, tenure_of

from gapless.model.host import Incarnation
from gapless.model.lease import DEFAULT, Tenure
from gapless.model.way import WaysSaid
from gapless.wire import beat as wire


def test_every_host_begins_with_nothing_and_comes_to_hold_its_lease() -> None:
    net = Net()
    net.holds()
    for host in net.hosts.values():
        assert host.guard.until > net.now
        assert host.level == wire.Level(
            tenure=Incarnation(1), settled=0, panel=panel().panel, takeovers=0, reborn=Incarnation(1), ways=WaysSaid()
        )


def test_a_host_that_never_heard_of_arbiters_waits_until_a_plan_names_them(net: Net) -> None:
    host = net.hosts[NAMES[0]]
    net.begin(host)
    net.run()
    assert host.level == wire.Level(
        tenure=Incarnation(0), settled=0, panel=None, reborn=Incarnation(2), ways=WaysSaid()
    )
    net.tell(host, plan_part([], 1, 0, last=True, whole=True, panel=panel()))
    net.holds()


def test_a_beat_begins_once(net: Net) -> None:
    begin = wire.Begin(
        key="", cluster="", zone="", name=NAMES[0], incarnation=Incarnation(1), address="", interval_s=1, lease_s=4
    )
    with pytest.raises(ValueError, match="begins once"):
        net.tell(net.hosts[NAMES[0]], begin)


def test_a_host_that_was_paused_returns_fenced_and_higher(net: Net) -> None:
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: bool(second.heard(wire.TookOver)))
    first.is_up, first.gives_incarnations = True, False
    net.run()
    assert (first.told_open, tenure_of(first), first.guard.active) == ({}, 0, set())
    assert first.heard(wire.IncarnationNeeded) == [wire.IncarnationNeeded(after=Incarnation(1))]
    first.gives_incarnations = True
    net.run()
    assert (tenure_of(first), first.told_open) == (2, {})
    assert second.told_open == {X: 2}
    net.plan(first, router(X), revision=2)
    assert first.told_open == {}, "a plan for an incarnation that is over gives nothing"


def test_arbiters_tell_who_has_stopped_to_renew_and_no_more_when_that_is_back(net: Net) -> None:
    first, second = active(net, X)
    first.is_up = False
    net.run(2.0)
    assert [host.level.expired for host in net.hosts.values() if host.is_up] == 2 * [
        (Tenure(NAMES[0], Incarnation(1)),)
    ]
    first.is_up = True
    net.run(1.0)
    assert second.level.expired == ()


def test_without_its_arbiters_a_host_closes_by_itself_and_said_so(net: Net) -> None:
    first, _ = active(net, X)
    net.hosts[NAMES[1]].is_up = net.hosts[NAMES[2]].is_up = False
    net.run(until=lambda: tenure_of(first) == 0)
    assert (first.told_open, first.guard.active) == ({}, set())
    assert any("fenced" in line.event for line in first.heard(wire.Said))


def test_a_clock_that_is_slewed_too_fast_costs_the_lease_and_is_told_once(net: Net) -> None:
    first, second = active(net, X)
    first.clock_fault = "the clock is slewed by +8.3 %"
    net.run(until=lambda: X in second.told_open)
    first.clock_fault = "the clock is slewed by +4.1 %"
    net.run(5.0)
    assert not first.level.tenure
    lines = [each.event for each in first.heard(wire.Said)]
    assert lines.count("cannot hold or grant a lease; trying again") == 1
    first.clock_fault = ""
    net.run(until=lambda: bool(first.level.tenure))
    assert "can hold or grant a lease again" in [each.event for each in first.heard(wire.Said)]


def test_a_host_whose_disk_was_restored_from_an_old_copy_rises_above_what_was_heard(net: Net) -> None:
    """What it says is dropped, as what somebody replays would be; and it is told so."""
    host = net.hosts[NAMES[0]]
    host.is_up = False
    host.incarnation = 8
    net.begin(host, panel())
    net.run(2 * DEFAULT.quiet_s)
    assert tenure_of(host) == 9
    host.is_up = False
    host.incarnation = 3
    net.begin(host, panel())
    net.run(2 * DEFAULT.quiet_s)
    assert tenure_of(host) == 10
    assert host.level.reborn == 10
    for other in NAMES[1:]:
        assert tenure_of(net.hosts[other]) == 1, "and as an arbiter it is heard as well"
