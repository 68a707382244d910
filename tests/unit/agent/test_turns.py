"""The order and pace of audits."""

from gapless.agent.turns import Turns
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


def test_slow_audits_take_a_tenth_of_the_time_at_most() -> None:
    turns = Turns(10)
    for number in range(1000):
        turns.looked_at(RouterId(str(number)), 0)
    turns.ended(began_at=100, now=102)
    assert turns.next_deadline() == 102 + 18


def test_one_that_leaves_is_not_audited() -> None:
    turns = Turns(10)
    turns.looked_at(A, 0)
    turns.leave(A)
    turns.leave(B)
    assert turns.next_deadline() is None
