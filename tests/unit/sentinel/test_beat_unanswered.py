"""A kernel that does what a beat asks, whose answer is lost: what may be open counts as open until that is known."""

from collections.abc import Callable
from uuid import UUID

import pytest
from beat_fakes import X, Y, router
from beat_net import NAMES, Host, Net, tenure_of
from hands_bench import WITHDRAW, Bench, activate, deactivate

from gapless.core.edge.beatevents import Activated, Deactivated, HoldLease, Withdrawn
from gapless.errors import GaplessError, Unavailable
from gapless.model.host import Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, Tenure
from gapless.model.plan import Epoch, Role, Successor
from gapless.model.router import RouterId

NEW = "tap-new"
MOVING = RouterId(str(UUID(int=1)))


def no_memory(count: int = 10_000) -> list[GaplessError]:
    return [Unavailable("Cannot allocate memory")] * count


def unsure(*routers: RouterId) -> Activated:
    return Activated(routers=routers, reason="Cannot allocate memory", is_unsure=True, is_refused=True)


@pytest.fixture
def bench() -> Bench:
    """Hands whose opening of X the kernel has carried out unheard; then it refuses to have the guard put back."""
    made = Bench()
    made.do(HoldLease(until=1.0))
    made.guard.loses_answers("activate")
    made.guard.fails("restore", *no_memory())
    assert made.do(activate(X)) == [unsure(X)]
    assert made.guard.passes(0.0) == {"tap-x"}
    return made


# A beat's hands


def test_what_may_be_open_is_not_said_to_be_closed_and_not_announced(bench: Bench) -> None:
    bench.hands.built([X])
    assert (bench.told, bench.done, bench.announced()) == ({X}, [], [])
    assert "closed x" not in bench.diary


def test_it_is_closed_when_the_guard_is_put_back_without_it(bench: Bench) -> None:
    assert bench.do(deactivate(X)) == []
    assert bench.do() == []
    assert (bench.told, bench.guard.active) == ({X}, {"tap-x"})
    bench.guard.fail_next.clear()
    assert bench.do() == [Deactivated(routers=(X,))]
    assert (bench.told, bench.guard.active) == (set(), set())


def test_it_may_be_open_as_often_as_the_guard_is_not_put_back_before_it_is_opened_again(bench: Bench) -> None:
    for _ in range(3):
        assert bench.do(activate(X)) == [unsure(X)]
    bench.guard.fail_next.clear()
    assert bench.do(activate(X)) == [Activated(routers=(X,))]
    assert (bench.hands.open_routers, bench.done, bench.guard.active) == ({X}, [X], {"tap-x"})
    assert bench.do(deactivate(X)) == [Deactivated(routers=(X,))]
    assert (bench.told, bench.guard.active) == (set(), set())


def test_it_is_closed_for_certain_where_the_guard_was_put_back_and_it_is_refused_then(bench: Bench) -> None:
    bench.guard.fail_next = {"activate": no_memory(1)}
    refused = Activated(routers=(X,), reason="Cannot allocate memory", is_refused=True)
    assert bench.do(activate(X)) == [refused]
    assert (bench.told, bench.guard.active) == (set(), set())
    bench.guard.loses_answers("activate")
    bench.guard.fails("restore", *no_memory())
    assert bench.do(activate(Y)) == [unsure(Y)]
    assert bench.do(activate(X)) == [refused], "what is not known of another one says nothing of this one"


def test_what_was_never_asked_of_the_kernel_is_closed_for_certain(bench: Bench) -> None:
    assert bench.do(activate(Y)) == [Activated(routers=(Y,), reason="Cannot allocate memory", is_refused=True)]
    assert bench.told == {X}


def test_it_may_be_open_by_ports_that_it_has_no_more(bench: Bench) -> None:
    bench.hands.plan([router(X, NEW)], [])
    assert bench.do(activate(X)) == [unsure(X)]
    assert bench.told == {X}
    bench.guard.fail_next.clear()
    assert bench.do(deactivate(X)) == [Deactivated(routers=(X,))]
    assert (bench.told, bench.guard.active) == (set(), set())


def test_it_is_withdrawn_with_all_else(bench: Bench) -> None:
    assert bench.do(WITHDRAW) == []
    assert bench.told == {X}
    bench.guard.fail_next.clear()
    assert bench.do(WITHDRAW) == [Withdrawn()]
    assert (bench.told, bench.guard.active) == (set(), set())


def test_an_opening_whose_answer_is_lost_is_repeated_on_a_guard_that_was_put_back() -> None:
    bench = Bench()
    bench.guard.loses_answers("activate")
    assert bench.do(activate(X)) == [Activated(routers=(X,))]
    assert bench.guard.calls == ["activate", "restore", "activate"]
    bench.guard.loses_answers("activate", "activate")
    assert bench.do(activate(Y))[0] == Activated(
        routers=(Y,), reason="nobody knows whether that was done", is_unsure=True, is_refused=True
    )
    assert bench.do() == [], "the guard is put back in the next turn"
    assert bench.guard.active == {"tap-x"}
    assert bench.do(activate(Y)) == [Activated(routers=(Y,))]


def test_a_closing_whose_answer_is_lost_is_answered_when_it_is_known() -> None:
    bench = Bench()
    bench.do(activate(X))
    bench.guard.loses_answers("deactivate")
    bench.guard.fails("restore", *no_memory(3))
    assert bench.do(deactivate(X)) == []
    assert (bench.told, bench.guard.active) == ({X}, set())
    assert bench.do() == [], "as it is, it would come back with the guard"
    assert bench.do() == [Deactivated(routers=(X,))]
    assert (bench.told, bench.guard.active) == (set(), set())


# Three beats


def opens_unheard(net: Net) -> tuple[Host, Host]:
    """A router is open on the first host by its plan, and no answer of the kernel says so; the second host may succeed
    it.
    """
    first, second = net.hosts[NAMES[0]], net.hosts[NAMES[1]]
    of = Tenure(first.name, Incarnation(first.incarnation))
    net.plan(
        second, router(MOVING, role=Role.STANDBY, epoch=2, incarnation=second.incarnation, after=(of,)), revision=1
    )
    first.guard.loses_answers("activate")
    first.guard.fails("restore", *no_memory())
    net.plan(first, router(MOVING, incarnation=first.incarnation), revision=1)
    assert (first.guard.passes(net.now), first.level.settled) == ({f"tap-{MOVING}"}, 1)
    return first, second


def released(net: Net) -> bool:
    return any(raw[3] == DatagramKind.RELEASED for raw in net.under_way())


def takes_it_away(net: Net, first: Host) -> None:
    net.plan(first, revision=2)


def releases_it(net: Net, first: Host) -> None:
    second = net.hosts[NAMES[1]]
    to = Successor(tenure=Tenure(second.name, Incarnation(second.incarnation)), epoch=Epoch(2))
    leaving = router(MOVING, role=Role.STANDBY, epoch=3, incarnation=first.incarnation, release=to)
    net.plan(first, leaving, revision=2)


@pytest.mark.parametrize("next_plan", [takes_it_away, releases_it])
def test_a_plan_that_takes_what_may_be_open_is_not_settled_before_the_guard_is_put_back(
    net: Net, next_plan: Callable[[Net, Host], None]
) -> None:
    first, second = opens_unheard(net)
    next_plan(net, first)
    began, is_released = net.now, released(net)
    net.run(DEFAULT.lease_s / 2, until=lambda: released(net))
    assert first.guard.passes(net.now), "the lease that it came with is not over"
    assert (net.now - began >= DEFAULT.lease_s / 2, is_released, first.level.settled) == (True, False, 1)
    assert (first.told_open, second.told_open) == ({MOVING: 1}, {})
    first.guard.fail_next.clear()
    net.run(2 * DEFAULT.interval_s)
    assert (first.told_open, first.guard.active, first.level.settled) == ({}, set(), 2)
    assert second.told_open == ({MOVING: 2} if next_plan is releases_it else {})


def test_a_host_that_cannot_know_what_is_open_is_succeeded_when_its_lease_is_over(net: Net) -> None:
    first, second = opens_unheard(net)
    net.run(until=lambda: bool(second.guard.passes(net.now)))
    assert (second.told_open, first.guard.passes(net.now), tenure_of(first)) == ({MOVING: 2}, set(), 0)
    assert (first.told_open, first.level.reborn) == ({MOVING: 1}, first.incarnation), "it is not withdrawn yet"
    first.guard.fail_next.clear()
    net.holds()
    assert (first.told_open, first.guard.active, tenure_of(first)) == ({}, set(), 2)
