"""Three beats on virtual time: a plan is obeyed once it is whole, in parts where it is large, and then is settled."""

from uuid import UUID

from beat_fakes import X, Y, Z, router
from beat_net import TRAVEL_S, Net, active, plan_part

from gapless.core.edge.openings import RELEASED_AT_ONCE
from gapless.errors import Unavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, Tenure
from gapless.model.plan import Epoch, Role, Successor
from gapless.model.router import RouterId
from gapless.sentinel.beat.hands import ROUTERS_AT_ONCE
from gapless.wire import beat as wire


def test_a_plan_is_settled_once_all_that_it_takes_away_is_closed(net: Net) -> None:
    first, _ = active(net, X, Y)
    first.guard.fails("deactivate", Unavailable("no"), Unavailable("no"))
    net.plan(first, router(X), revision=2)
    assert (first.level.settled, first.told_open.keys()) == (1, {X, Y})
    net.run(2 * DEFAULT.interval_s)
    assert (first.level.settled, first.told_open) == (2, {X: 1})
    lines = [line.event for line in first.heard(wire.Said)]
    assert [line for line in lines if "close" in line] == [
        "cannot close routers; trying again",
        "can close routers again",
    ]


def test_a_thousand_are_closed_in_parts_and_the_lease_is_renewed_between_them(net: Net) -> None:
    many = [RouterId(f"{number:04}") for number in range(1000)]
    first, _ = active(net, *many)
    first.guard.calls.clear()
    net.plan(first, router(X), revision=2)
    assert (len(first.told_open), first.guard.calls) == (1000 - ROUTERS_AT_ONCE + 1, ["activate", "deactivate"])
    assert first.driver.has_more
    net.run(DEFAULT.interval_s)
    assert first.guard.calls.count("deactivate") == 1000 / ROUTERS_AT_ONCE
    assert (first.level.settled, first.told_open, first.driver.has_more) == (2, {X: 1}, False)


def test_a_higher_epoch_of_an_open_router_is_told(net: Net) -> None:
    first, _ = active(net, X)
    net.plan(first, router(X, epoch=3), revision=2)
    assert first.told_open == {X: 3}
    assert first.guard.calls.count("activate") == 1


def test_a_whole_plan_lets_go_of_what_it_does_not_name(net: Net) -> None:
    first, _ = active(net, X, Y)
    first.announcer.forgotten.clear()
    net.plan(first, router(Y), router(Z), revision=2)
    assert first.announcer.forgotten == [X]
    assert first.told_open == {Y: 1, Z: 1}


def test_a_part_of_a_plan_changes_nothing_yet(net: Net) -> None:
    first, _ = active(net, X)
    net.tell(first, plan_part([router(Y)], 2, 1, last=False, whole=True))
    net.run(0.1)
    assert first.told_open == {X: 1}
    net.tell(first, plan_part([router(Z)], 2, 1, last=True))
    assert first.told_open == {Y: 1, Z: 1}


def test_a_successor_knows_whom_it_succeeds_by_its_plan(net: Net) -> None:
    _, second = active(net, X)
    gone = Tenure(HostName("no longer among the addresses"), Incarnation(3))
    net.plan(second, router(Y, role=Role.STANDBY, epoch=2, after=(gone,)), revision=2)
    net.run()
    assert second.told_open == {}


# Routers that are released


def test_a_router_that_is_released_is_open_on_its_standby_within_a_moment(net: Net) -> None:
    """Without anybody's burial, and without a word of the controller's to the new host."""
    moving, staying = RouterId(str(UUID(int=1))), RouterId(str(UUID(int=2)))
    first, second = active(net, moving, staying)
    to = Successor(tenure=Tenure(second.name, Incarnation(second.incarnation)), epoch=Epoch(2))
    asked_at = net.now
    net.plan(
        first,
        router(moving, role=Role.STANDBY, epoch=3, incarnation=first.incarnation, release=to),
        router(staying, incarnation=first.incarnation),
        revision=2,
    )
    net.run(until=lambda: bool(second.told_open))
    assert net.now - asked_at < 2 * TRAVEL_S
    assert (first.told_open, second.told_open) == ({staying: 1}, {moving: 2})
    (opened,) = second.heard(wire.Opened)
    assert [each.is_released for each in opened.routers] == [True]
    net.run(until=lambda: len(second.heard(wire.TookOver)) == 2)
    told = second.heard(wire.TookOver)[1].takeovers[0]
    assert (told.router_id, told.epoch, told.of.host, told.is_released) == (moving, 2, "h1", True)
    assert (told.times.granted_ms, told.times.silent_ms) == (None, None)
    assert told.times.announced_ms is not None
    assert 0 == told.times.buried_ms < told.times.opened_ms <= told.times.announced_ms < 1
    assert not second.level.is_taking_over, "the agent has no reason to stand aside"
    net.run()
    assert (first.level.tenure, second.told_open) == (first.incarnation, {moving: 2})


def test_many_that_are_released_are_closed_a_few_at_a_time_and_said_before_the_next_are(net: Net) -> None:
    many = [RouterId(str(UUID(int=number))) for number in range(1, 2 * RELEASED_AT_ONCE + 2)]
    first, second = active(net, *many)
    to = Successor(tenure=Tenure(second.name, Incarnation(second.incarnation)), epoch=Epoch(2))
    leaving = [router(each, role=Role.STANDBY, epoch=3, incarnation=first.incarnation, release=to) for each in many]
    first.guard.calls.clear()

    def said() -> int:
        return sum(raw[3] == DatagramKind.RELEASED for raw in net.under_way())

    net.tell(first, plan_part(leaving, 2, first.incarnation, last=True, whole=True))
    assert first.guard.calls == ["deactivate"]
    assert len(first.told_open) == len(many) - RELEASED_AT_ONCE
    assert first.driver.has_more
    assert said() == RELEASED_AT_ONCE, "they wait for no other"
    first.driver.go_on()
    assert (first.guard.calls, said()) == (["deactivate"] * 2, 2 * RELEASED_AT_ONCE)
    net.run(until=lambda: len(second.told_open) == len(many))
    assert (first.told_open, first.level.settled) == ({}, 2)
    net.run()
    assert second.told_open == dict.fromkeys(many, 2)
