"""When what is no longer a host's is removed: at once, or when no more is handed over from there."""

from dataclasses import replace

import pytest
from kernel_in_memory import planned

from gapless.agent.removals import LINGER_S, PUT_OFF_MOST_S, REMOVED_AT_ONCE, Removals
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Role, Successor
from gapless.model.router import RouterId

A, B, C = (RouterId(each) for each in "abc")
TO = Successor(tenure=Tenure(HostName("next"), Incarnation(7)), epoch=Epoch(2))
STAYS = Guarded(role=Role.ACTIVE, incarnation=Incarnation(2))
LEAVES = Guarded(role=Role.STANDBY, incarnation=Incarnation(2), release=TO)


def any_router(_: RouterId) -> bool:
    return True


class Host:
    """Its removals, a clock, and a plan that grows and shrinks."""

    def __init__(self) -> None:
        self.removals = Removals()
        self.now = 100.0
        self.planned: dict[RouterId, PlannedRouter] = {}

    def plan(self, **roles: Guarded | None) -> None:
        """These, and no others."""
        before = self.planned
        self.planned = {RouterId(each): replace(planned(each), guarded=role) for each, role in roles.items()}
        self.removals.take_plan(self.planned, self.now)
        for router_id, each in self.planned.items():
            if before.get(router_id) != each:
                self.removals.want(each)

    def ask(self, *routers: RouterId, is_dark: bool = True) -> None:
        for each in routers:
            self.removals.ask(each, is_dark=is_dark)

    def due(self, after_s: float = 0.0) -> tuple[RouterId, ...]:
        self.now += after_s
        self.removals.ripen(self.now)
        return self.removals.next(any_router)


def test_what_is_due_stays_until_it_was_tried() -> None:
    host = Host()
    host.ask(A, B)
    assert host.due() == host.due() == (A, B)
    assert host.removals.next(lambda each: each != A) == (B,)
    host.removals.was_tried(A)
    assert host.due() == (B,)
    host.removals.was_tried(B)
    assert not host.removals.are_due


def test_so_many_go_together() -> None:
    host = Host()
    host.ask(*(RouterId(f"r{number}") for number in range(REMOVED_AT_ONCE + 1)))
    assert len(host.due()) == REMOVED_AT_ONCE


def test_what_is_left_waits_while_others_are_handed_over() -> None:
    host = Host()
    host.plan(b=LEAVES, c=STAYS)
    host.ask(A)
    assert host.due(after_s=30.0) == ()
    assert not host.removals.are_due
    assert host.removals.are_put_off
    host.plan(c=LEAVES)
    host.ask(A, B)
    assert host.due(after_s=30.0) == ()
    host.now += 30.0  # in which nobody looks for work
    host.plan()
    host.ask(A, B, C)
    assert host.due(after_s=LINGER_S - 0.1) == (), "the next ones may follow"
    assert host.removals.next_deadline() == pytest.approx(host.now + 0.1)
    assert host.due(after_s=0.1) == (A, B, C)
    assert host.removals.next_deadline() is None


def test_a_router_that_stays_after_all_is_not_handed_over() -> None:
    host = Host()
    host.plan(b=LEAVES)
    host.ask(A)
    host.plan(b=STAYS)
    host.ask(A)
    assert host.due(after_s=LINGER_S) == (A,)


def test_what_was_to_forward_here_never_waits() -> None:
    host = Host()
    host.plan(b=LEAVES)
    host.ask(A, is_dark=False)
    assert host.due() == (A,)
    host.ask(C)
    host.ask(C, is_dark=False)
    assert host.due() == (A, C)


def test_nothing_is_put_off_for_longer_than_that() -> None:
    host = Host()
    host.plan(b=LEAVES)
    host.ask(A)
    host.now += 5.0
    host.plan(b=LEAVES, c=LEAVES)
    host.ask(A)
    assert host.removals.next_deadline() == pytest.approx(host.now + PUT_OFF_MOST_S - 5.0)
    assert host.due(after_s=PUT_OFF_MOST_S - 5.0) == (A,)
    host.plan(b=LEAVES, c=STAYS)
    host.ask(A)
    assert host.due() == (A,), "nor by the next plan"


def test_a_router_that_is_wanted_again_is_not_removed_and_may_wait_anew() -> None:
    host = Host()
    host.plan(b=LEAVES)
    host.ask(A)
    host.now += PUT_OFF_MOST_S
    host.plan(a=STAYS, b=LEAVES)
    assert host.due() == ()
    assert not host.removals.are_put_off
    host.plan(b=LEAVES)
    host.ask(A)
    assert host.removals.are_put_off


def test_while_something_is_to_be_built_nothing_waits() -> None:
    """It may need a place, an uplink say, that is taken by what is left."""
    host = Host()
    host.plan(b=LEAVES)
    host.ask(A)
    host.plan(b=LEAVES, c=STAYS)
    host.removals.put_nothing_off()
    host.ask(A)
    assert host.due() == (A,)
    host.plan(b=LEAVES, c=STAYS)
    host.ask(A)
    assert host.due() == ()


def test_what_may_have_changed_is_due_and_the_others_still_wait_their_time() -> None:
    host = Host()
    host.plan(c=LEAVES)
    host.ask(A)
    host.now += 5.0
    host.plan(c=LEAVES)
    host.ask(A, B)
    host.removals.hurry(A)
    host.removals.hurry(C)
    assert host.due() == (A,)
    host.removals.was_tried(A)
    assert host.due(after_s=PUT_OFF_MOST_S - 5.0) == ()
    assert host.removals.next_deadline() == pytest.approx(host.now + 5.0)
    assert host.due(after_s=5.0) == (B,)
