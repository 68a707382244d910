"""Three beats on virtual time, and a kernel that refuses the guard of one: others take over, and it comes back."""

from typing import Any

import pytest
from beat_fakes import X, Y, router
from beat_net import NAMES, Net, active, tenure_of

from gapless.core.edge.refusals import PACE
from gapless.errors import Conflict, GaplessError, Unavailable
from gapless.model.host import Incarnation
from gapless.model.lease import DEFAULT, Tenure
from gapless.model.plan import Role
from gapless.wire import beat as wire

FOR_EVER = 10_000


def no_memory(count: int = FOR_EVER) -> list[GaplessError]:
    return [Unavailable("Cannot allocate memory")] * count


def lines(said: list[wire.Said]) -> str:
    return "\n".join(f"{each.event} {each.details.get('reason', '')}" for each in said)


def test_a_host_whose_kernel_takes_no_lease_any_more_is_succeeded(net: Net) -> None:
    first, second = active(net, X, Y)
    first.guard.fails("extend", *no_memory())
    net.run(until=lambda: second.guard.passes(net.now) == {"tap-x", "tap-y"})
    assert second.guard.passes(net.now) == {"tap-x", "tap-y"}
    assert (first.told_open, first.guard.active, tenure_of(first)) == ({}, set(), 0)
    told = lines(first.heard(wire.Said))
    assert "cannot renew the lease in the kernel; trying again Cannot allocate memory" in told
    assert "this host is fenced: the kernel does not take its lease (Cannot allocate memory); it asks for no" in told


def test_what_the_kernel_does_not_take_for_a_moment_ends_nothing(net: Net) -> None:
    first, _ = active(net, X)
    first.guard.fails("extend", *no_memory(3))
    net.run()
    assert first.guard.fail_next["extend"] == []
    assert (first.guard.passes(net.now), tenure_of(first)) == ({"tap-x"}, 1)


def test_a_host_that_can_neither_renew_nor_withdraw_is_succeeded_and_asks_for_nothing_until_it_can(net: Net) -> None:
    first, second = active(net, X)
    for each in ("extend", "withdraw"):
        first.guard.fails(each, *no_memory())
    net.run(until=lambda: bool(second.told_open))
    net.run(PACE.first_s + DEFAULT.lease_s)
    assert (second.guard.passes(net.now), first.incarnation) == ({"tap-x"}, 1)
    first.guard.fail_next.clear()
    net.holds()
    assert (first.guard.active, tenure_of(first)) == (set(), 2)


def test_what_a_kernel_refuses_is_tried_each_interval_however_much_others_ask(net: Net) -> None:
    first, second = active(net, X)
    for each in ("extend", "withdraw"):
        first.guard.fails(each, *no_memory())
    net.run(until=lambda: bool(second.told_open))
    first.guard.calls.clear()
    intervals = 20
    net.run(intervals * DEFAULT.interval_s)
    assert second.guard.passes(net.now) == {"tap-x"}, "it grants, as an arbiter"
    assert intervals / 2 < first.guard.calls.count("withdraw") < 2 * intervals, "and no more with each datagram"


def test_a_host_that_opens_nothing_is_succeeded_and_stands_back_for_longer_each_time(net: Net) -> None:
    first, second = net.hosts[NAMES[0]], net.hosts[NAMES[1]]
    first.guard.fails("activate", *no_memory())
    of = Tenure(first.name, Incarnation(first.incarnation))
    standby: dict[str, Any] = {"role": Role.STANDBY, "epoch": 2, "incarnation": second.incarnation, "after": (of,)}
    net.plan(second, router(X, **standby), revision=1)
    net.plan(first, router(X, incarnation=first.incarnation), revision=1)
    net.run(until=lambda: second.guard.passes(net.now) == {"tap-x"})
    assert (second.told_open, first.told_open) == ({X: 2}, {})
    assert "the kernel does not take the routers that are to be opened" in lines(first.heard(wire.Said))
    net.run(PACE.first_s / 2)
    assert tenure_of(first) == 0
    net.holds()
    net.plan(first, router(Y, incarnation=first.incarnation), revision=2)
    net.run(until=lambda: tenure_of(first) == 0)
    net.run(PACE.first_s + DEFAULT.lease_s)
    assert tenure_of(first) == 0, "twice as long"
    first.guard.fail_next.clear()
    net.holds()


def test_a_standby_that_cannot_open_what_it_took_over_keeps_what_it_has(net: Net) -> None:
    first, second = active(net, X)
    of = Tenure(first.name, Incarnation(first.incarnation))
    standby: dict[str, Any] = {"role": Role.STANDBY, "epoch": 2, "incarnation": second.incarnation, "after": (of,)}
    net.plan(second, router(X, **standby), router(Y, incarnation=second.incarnation), revision=2)
    second.guard.fails("activate", *no_memory())
    first.is_up = False
    net.run(5.0)
    assert (second.guard.passes(net.now), tenure_of(second)) == ({"tap-y"}, 1)
    second.guard.fail_next.clear()
    net.run(2 * DEFAULT.interval_s)
    assert second.guard.passes(net.now) == {"tap-x", "tap-y"}


def test_when_what_it_has_is_gone_it_gives_up_what_it_cannot_open(net: Net) -> None:
    """As in a drain. The third host may succeed it, and has waited for that."""
    first, second, third = (net.hosts[name] for name in NAMES)
    active(net, X)
    of, then = (Tenure(each.name, Incarnation(each.incarnation)) for each in (first, second))
    standby = router(X, role=Role.STANDBY, epoch=2, incarnation=second.incarnation, after=(of,))
    net.plan(second, standby, router(Y, incarnation=second.incarnation), revision=2)
    net.plan(third, router(X, role=Role.STANDBY, epoch=3, incarnation=third.incarnation, after=(of, then)), revision=1)
    second.guard.fails("activate", *no_memory())
    first.is_up = False
    net.run(2.0)
    assert (tenure_of(second), third.told_open) == (1, {})
    net.plan(second, standby, revision=3)
    net.run()
    assert third.guard.passes(net.now) == {"tap-x"}


@pytest.mark.parametrize("is_exclusive", [True, False])
def test_whoever_may_forward_without_a_guard_keeps_the_lease(net: Net, *, is_exclusive: bool) -> None:
    """Where others can remove the guard, nobody knows what passes while it is not put back: nobody may succeed."""
    first, second = active(net, X)
    first.guard.is_exclusive = is_exclusive
    for call in ("extend", "restore"):
        first.guard.fails(call, *[Conflict("nobody knows whether that was done")] * FOR_EVER)
    net.run(5 * DEFAULT.lease_s)
    assert bool(second.told_open) is is_exclusive
    assert (tenure_of(first) == 0) is is_exclusive
