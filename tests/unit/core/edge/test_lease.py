"""The holder's side: what a lease rests on, and that it never comes back."""

from gapless.core.edge.lease import Lease
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure

A, B, C, D, E = (HostName(name) for name in "abcde")
PANEL = Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset({A, B, C}),))
JOINT = Panel(version=PanelVersion(2), floor=PanelVersion(1), sets=(frozenset({A, B, C}), frozenset({C, D, E})))
L = DEFAULT.lease_s


def lease() -> Lease:
    return Lease(Tenure(HostName("h"), Incarnation(1)), DEFAULT)


def test_a_majority_of_grants_is_a_lease_from_the_sending_of_the_question() -> None:
    held = lease()
    seq = held.ask(10.0)
    assert held.grant(A, seq, PANEL, 10.10) is False
    assert held.until is None
    assert held.grant(B, seq, PANEL, 10.15) is True
    assert held.until == 10.0 + L
    assert held.grant(C, seq, PANEL, 10.16) is False, "the third adds nothing"


def test_it_ends_with_the_last_quorum_of_grants() -> None:
    held = lease()
    first, second = held.ask(10.0), held.ask(10.05)
    held.grant(A, first, PANEL, 10.06)
    held.grant(B, second, PANEL, 10.06)
    assert held.until == 10.0 + L, "one arbiter's grant lasts longer, and one is no majority"
    assert held.grant(C, second, PANEL, 10.06) is True
    assert held.until == 10.05 + L


def test_an_answer_in_the_wrong_order_takes_nothing_away() -> None:
    held = lease()
    first, second = held.ask(10.0), held.ask(10.05)
    for arbiter in (A, B):
        held.grant(arbiter, second, PANEL, 10.06)
    assert held.grant(A, first, PANEL, 10.07) is False
    assert held.until == 10.05 + L


def test_a_grant_that_comes_after_a_lease_is_worth_nothing() -> None:
    held = lease()
    seq = held.ask(10.0)
    assert held.grant(A, seq, PANEL, 10.0 + L) is None
    assert held.grant(A, 77, PANEL, 10.1) is None, "nobody asked that"


def test_a_lapsed_lease_stays_lapsed() -> None:
    held = lease()
    first, second = held.ask(10.0), held.ask(10.15)
    for arbiter in (A, B):
        held.grant(arbiter, first, PANEL, 10.1)
    assert not held.is_lapsed(10.199)
    assert held.is_lapsed(10.2)
    for arbiter in (A, B, C):
        assert held.grant(arbiter, second, PANEL, 10.21) is None
    assert held.until == 10.0 + L


def test_while_one_set_replaces_another_both_must_grant() -> None:
    held = lease()
    seq = held.ask(10.0)
    for arbiter in (A, B, C):
        held.grant(arbiter, seq, JOINT, 10.01)
    assert held.until is None
    assert held.grant(D, seq, JOINT, 10.02) is True


def test_a_lease_of_the_old_panel_lasts_while_the_joint_one_is_asked() -> None:
    held = lease()
    seq = held.ask(10.0)
    for arbiter in (A, B):
        held.grant(arbiter, seq, PANEL, 10.01)
    assert held.look(JOINT, 10.02) is False
    assert held.until == 10.0 + L


def test_a_refusal_ends_it_only_when_no_quorum_is_left() -> None:
    held = lease()
    seq = held.ask(10.0)
    for arbiter in (A, B):
        held.grant(arbiter, seq, PANEL, 10.01)
    assert not held.refuse(C, PANEL)
    assert held.refuse(B, PANEL)
    assert lease().refuse(A, PANEL), "before the first lease, a higher incarnation costs nothing"
