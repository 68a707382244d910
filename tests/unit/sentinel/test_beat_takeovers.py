"""Three beats on virtual time: a host dies, its successor opens, announces and tells that, and nothing undoes it."""

from beat_fakes import X, Y, Z, router
from beat_net import NAMES, Host, Net, active, panel, tenure_of

from gapless.model.host import Incarnation
from gapless.model.lease import DEFAULT, DRIFT, Tenure
from gapless.model.plan import Role
from gapless.model.router import RouterId
from gapless.sentinel.beat.driver import ROUTERS_PER_MESSAGE
from gapless.sentinel.beat.haste import ANNOUNCED_WITHIN_S, CLAIM_LEASES
from gapless.sentinel.beat.healed import ABSENT_LEASES, APART_S
from gapless.wire import beat as wire

ELSEWHERE = panel(arbiters=NAMES[2:])
"""Neither the active host nor its successor is an arbiter."""


def test_a_dead_host_is_succeeded_and_the_sentinel_hears_of_each_step(net: Net) -> None:
    first, second = active(net, X, Y)
    first.is_up = False
    second.said.clear()
    net.run(until=lambda: len(second.heard(wire.TookOver)) == 2)
    kinds = [type(each) for each in second.said if not isinstance(each, wire.Said | wire.Rhythm)]
    claimed, *steps, done = kinds
    assert steps == [wire.Opened, wire.TookOver, wire.Level, wire.TookOver], "told before it opened, and once announced"
    assert (claimed, done) == (wire.Level, wire.Level)
    assert [each.is_taking_over for each in second.heard(wire.Level)] == [True, True, False], "the agent stands aside"
    opened, announced = second.heard(wire.TookOver)
    for told in (opened, announced):
        assert [(each.router_id, each.epoch, each.of.host) for each in told.takeovers] == [(X, 2, "h1"), (Y, 2, "h1")]
    assert opened.takeovers[0].times.announced_ms is None
    times = announced.takeovers[0].times
    assert times.granted_ms == -DEFAULT.interval_s * 1000
    assert times.silent_ms is not None
    assert times.claimed_ms is not None
    assert times.announced_ms is not None
    assert DEFAULT.lease_s * 1000 * (1 - DRIFT) - 60 < times.silent_ms <= times.claimed_ms
    assert times.claimed_ms <= times.buried_ms <= times.opened_ms
    assert times.opened_ms <= times.announced_ms == times.told_ms < 300
    assert second.announcer.sent == [X, Y]
    assert second.level.takeovers == 1
    assert second.guard.passes(net.now) == {"tap-x", "tap-y"}
    assert not first.guard.passes(net.now)


def test_what_was_not_ready_is_told_as_announced_once_it_is(net: Net) -> None:
    first, second = active(net, X, Y)
    second.announcer.unready = {Y}
    first.is_up = False
    net.run(until=lambda: len(second.heard(wire.TookOver)) == 2)
    assert [each.router_id for each in second.heard(wire.TookOver)[1].takeovers] == [X]
    assert second.level.is_taking_over
    net.run(ANNOUNCED_WITHIN_S + DEFAULT.interval_s)
    assert not second.level.is_taking_over, "one router that cannot be announced holds up the agent no longer"
    assert len(second.heard(wire.TookOver)) == 2
    second.announcer.become_whole(Y)
    net.run(DEFAULT.interval_s)
    assert [each.router_id for each in second.heard(wire.TookOver)[2].takeovers] == [Y]
    assert second.announcer.sent[-1] == Y


def test_a_claim_that_leads_to_nothing_is_no_haste_for_long(net: Net) -> None:
    """One arbiter of the three is gone as well, so nobody can be buried."""
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: second.level.is_taking_over)
    net.hosts[NAMES[2]].is_up = False
    net.run(CLAIM_LEASES * DEFAULT.lease_s + 2 * DEFAULT.interval_s, until=lambda: not second.level.is_taking_over)
    assert not second.level.is_taking_over


def test_a_thousand_are_told_in_parts_and_counted_when_they_are_whole(net: Net) -> None:
    many = [RouterId(f"{number:04}") for number in range(1000)]
    first, second = active(net, *many)
    first.is_up = False
    second.said.clear()
    net.run(until=lambda: any(level.takeovers for level in second.heard(wire.Level)))
    assert len(second.told_open) == 1000, "all open at once, whatever is announced when"
    told = [type(each) for each in second.said if not isinstance(each, wire.Said | wire.Rhythm)]
    assert told[1:10] == [wire.Opened] * 4 + [wire.TookOver] * 4 + [wire.Level], "the level comes after all of it"
    assert sum(len(each.takeovers) for each in second.heard(wire.TookOver)[:4]) == 1000
    assert all(len(each.routers) <= ROUTERS_PER_MESSAGE for each in second.heard(wire.Opened))
    assert second.level.takeovers == 1
    assert len(second.announcer.sent) < 1000
    net.run()
    assert len(second.announcer.sent) >= 1000


def test_a_plan_that_had_not_heard_of_a_takeover_does_not_undo_it(net: Net) -> None:
    first, second = active(net, X, Y)
    first.is_up = False
    net.run(until=lambda: bool(second.heard(wire.TookOver)))
    net.plan(second, router(Z), revision=2)
    assert second.told_open == {X: 2, Y: 2, Z: 1}
    assert second.level.settled == 2
    assert not second.announcer.forgotten, "what is open is announced until it is closed"
    net.plan(second, router(Z), revision=3, heard=1)
    assert second.told_open == {Z: 1}
    assert set(second.announcer.forgotten) == {X, Y}


def test_each_tenure_counts_its_takeovers_anew(net: Net) -> None:
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: bool(second.heard(wire.TookOver)))
    second.is_up = False
    net.run()
    net.begin(first, panel())
    second.is_up = True
    net.run()
    assert (tenure_of(second), second.level.takeovers) == (2, 0)
    of = Tenure(first.name, Incarnation(first.incarnation))
    standby = router(X, role=Role.STANDBY, epoch=4, incarnation=2, after=(of,))
    net.plan(second, standby, revision=5)
    second.said.clear()
    first.is_up = False
    net.run(until=lambda: bool(second.heard(wire.TookOver)))
    assert (second.heard(wire.TookOver)[0].number, second.level.takeovers) == (1, 1)


# What is announced once more


def test_an_arbiter_that_comes_back_after_long_has_what_is_open_announced_anew(net: Net) -> None:
    first, _ = active(net, X)
    net.run(2.0)
    net.hosts[NAMES[2]].is_up = False
    net.run((ABSENT_LEASES + 2) * DEFAULT.lease_s)
    first.announcer.sent.clear()
    net.begin(net.hosts[NAMES[2]], panel())
    net.run(until=lambda: bool(first.announcer.sent))
    assert first.announcer.sent == [X]


def test_a_guard_that_was_put_back_has_what_is_open_announced_anew(net: Net) -> None:
    first, _ = active(net, X)
    net.run(2.0)
    first.announcer.sent.clear()
    first.guard.is_taken_away()
    net.run(until=lambda: bool(first.announcer.sent))
    assert (first.guard.is_there, first.announcer.sent) == (True, [X])


def test_a_standby_whose_guard_was_put_back_has_what_it_stands_by_for_announced_anew_by_who_has_it_open(
    net: Net,
) -> None:
    first, second = active(net, X)
    net.run(2.0)
    first.announcer.sent.clear()
    second.guard.is_taken_away()
    net.run(until=lambda: bool(first.announcer.sent))
    assert (second.guard.is_there, first.announcer.sent, second.announcer.sent) == (True, [X], [])
    net.run(APART_S + 1.0)
    lines = [each.event for each in first.heard(wire.Said) if "had no guard" in each.event]
    assert (len(lines), first.announcer.sent) == (1, [X]), "it was said twice, since a datagram may be lost"


def test_a_host_that_comes_back_has_what_was_taken_from_it_announced_once_more(net: Net) -> None:
    """It may have been stopped in the middle of announcing, and have sent the rest when it went on."""
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: second.announcer.sent == [X])
    net.run(0.3)
    second.announcer.sent.clear()
    second.announcer.turns.clear()
    net.begin(first, panel())
    net.run(3.0)
    assert second.announcer.turns == [0, 2], "and the last repeat of the takeover"


def taken_over_where_only_the_third_is_an_arbiter() -> tuple[Net, Host, Host]:
    """As among many hosts: the first never says a word to the second. What was taken over is announced."""
    net = Net(ELSEWHERE)
    net.holds()
    first, second = active(net, X)
    first.is_up = False
    net.run(until=lambda: second.announcer.turns == [0, 1, 2])
    net.run(ABSENT_LEASES * DEFAULT.lease_s)
    second.announcer.sent.clear()
    return net, first, second


def test_a_host_that_is_heard_by_an_arbiter_alone_has_what_was_taken_from_it_announced_once_more() -> None:
    net, first, second = taken_over_where_only_the_third_is_an_arbiter()
    net.begin(first, ELSEWHERE)
    net.run(until=lambda: bool(tenure_of(first)))
    net.run(DEFAULT.interval_s)
    assert second.announcer.sent == [X]
    net.run(2 * APART_S)
    assert second.announcer.sent == [X], "the arbiter goes on saying that it was silent, and means before that"


def test_a_host_that_stays_dead_has_nothing_announced_once_more() -> None:
    net, _, second = taken_over_where_only_the_third_is_an_arbiter()
    useless = second.heard(wire.Rhythm)[-1].counts["useless_hints"]
    net.run(4 * APART_S)
    assert second.heard(wire.Rhythm)[-1].counts["useless_hints"] > useless, "its silence is told of"
    assert second.announcer.sent == []


def test_arbiters_that_a_fenced_host_lost_and_that_come_back_leave_their_time_to_what_comes_next(net: Net) -> None:
    first, *others = net.hosts.values()
    for each in others:
        each.is_up = False
        net.run(ABSENT_LEASES * DEFAULT.lease_s)
    assert not tenure_of(first)
    for each in others:
        each.is_up = True
    net.holds()
    net.run(2 * DEFAULT.interval_s)  # The last of them grants again.
    net.plan(first, router(X, incarnation=first.incarnation), revision=1)
    net.run(until=lambda: first.announcer.turns == [0, 1, 2])
    first.announcer.sent.clear()
    first.guard.is_taken_away()
    net.run(until=lambda: bool(first.announcer.sent))
    assert first.announcer.sent == [X]


def test_an_arbiter_that_flaps_has_nothing_announced(net: Net) -> None:
    first, _ = active(net, X)
    net.run(2.0)
    first.announcer.sent.clear()
    returns = len([line for line in first.heard(wire.Said) if "arbiters grant" in line.event])
    for _ in range(5):
        net.hosts[NAMES[2]].is_up = False
        net.run(2 * DEFAULT.lease_s)
        net.hosts[NAMES[2]].is_up = True
        net.run(2 * DEFAULT.lease_s)
    assert len([line for line in first.heard(wire.Said) if "arbiters grant" in line.event]) == returns + 5
    assert first.announcer.sent == []
