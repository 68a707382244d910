"""The order and pace of audits."""

import pytest

from gapless.agent.turns import MOST_A_PERIOD, Turns
from gapless.model.router import RouterId

A, B, C = (RouterId(name) for name in "abc")


def test_nothing_to_audit() -> None:
    turns = Turns(10)
    assert turns.next_deadline() is None
    assert turns.due(1e9) is None


def test_a_period_after_it_was_last_looked_at() -> None:
    turns = Turns(10)
    turns.looked_at(A, 100)
    turns.looked_at(B, 103)
    assert turns.due(109.9) is None
    assert turns.due(110) == A
    turns.looked_at(A, 111)
    assert turns.next_deadline() == 113
    assert turns.due(113) == B


def test_routers_built_in_one_moment_are_not_audited_in_one_moment() -> None:
    turns = Turns(9)
    for router_id in (A, B, C):
        turns.looked_at(router_id, 0)
    assert turns.due(9) == A
    turns.looked_at(A, 9)
    turns.ended(began_at=9, now=9)
    assert turns.next_deadline() == 12


def test_slow_audits_take_a_hundredth_of_the_time_at_most() -> None:
    turns = Turns(10)
    for number in range(1000):
        turns.looked_at(RouterId(str(number)), 0)
    turns.ended(began_at=100, now=102)
    assert turns.next_deadline() == 102 + 198


def test_quick_audits_of_many_are_a_third_of_a_second_apart_so_that_a_thousand_take_five_minutes() -> None:
    turns, audits, now = Turns(10), 0, 10.0
    for number in range(1000):
        turns.looked_at(RouterId(str(number)), 0)
    while (deadline := turns.next_deadline()) is not None and deadline < 310:
        now = max(now, deadline)
        router_id = turns.due(now)
        assert router_id is not None
        turns.looked_at(router_id, now)
        turns.ended(began_at=now, now=now)
        audits += 1
    assert audits == pytest.approx(300 * MOST_A_PERIOD / 10, abs=1)


def test_one_that_leaves_is_not_audited() -> None:
    turns = Turns(10)
    turns.looked_at(A, 0)
    turns.leave(A)
    turns.leave(B)
    assert turns.next_deadline() is None


def test_in_haste_half_of_the_time_is_taken_until_all_were_looked_at() -> None:
    turns = Turns(10)
    for router_id in (A, B, C):
        turns.looked_at(router_id, 0)
    turns.ended(began_at=0, now=1)
    assert turns.due(1) is None
    turns.hasten([B, C, RouterId("failed: it is tried again anyway")], 1)
    assert turns.due(1) == B
    turns.looked_at(B, 2)
    turns.ended(began_at=1, now=2)
    assert (turns.due(2.9), turns.due(3)) == (None, C)
    turns.leave(C)
    turns.ended(began_at=3, now=4)
    assert turns.next_deadline() == 4 + 99, "in peace again"
