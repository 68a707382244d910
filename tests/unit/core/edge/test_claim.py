"""Claims: a quorum, within a window that counts from the sending of the questions."""

from gapless.core.edge.claim import Claim
from gapless.model.host import HostName
from gapless.model.lease import DEFAULT, Panel, PanelVersion

A, B, C, D, E = (HostName(name) for name in "abcde")
PANEL = Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset({A, B, C}),))
JOINT = Panel(version=PanelVersion(2), floor=PanelVersion(1), sets=(frozenset({A, B, C}), frozenset({C, D, E})))
W = DEFAULT.window_s


def claim() -> Claim:
    made = Claim(DEFAULT)
    made.ask(1, 10.0)
    return made


def test_a_majority_of_answers_is_enough_and_a_minority_is_not() -> None:
    asked = claim()
    assert not asked.bury(A, 1, PANEL, 10.01)
    assert not asked.bury(A, 1, PANEL, 10.02), "twice the same"
    assert asked.bury(B, 1, PANEL, 10.03)


def test_of_two_sets_both_majorities_are_needed() -> None:
    asked = claim()
    assert not asked.bury(A, 1, JOINT, 10.01)
    assert not asked.bury(B, 1, JOINT, 10.01)
    assert not asked.bury(C, 1, JOINT, 10.01)
    assert asked.bury(D, 1, JOINT, 10.01)


def test_an_answer_counts_from_its_question_and_only_within_the_window() -> None:
    asked = claim()
    asked.bury(A, 1, PANEL, 10.39)
    asked.ask(2, 10.0 + W + 0.01)
    assert not asked.has_asked(1, 10.0 + W + 0.01)
    assert not asked.bury(B, 2, PANEL, 10.0 + W + 0.02), "the first answer is too old by now"
    assert asked.bury(A, 2, PANEL, 10.0 + W + 0.03)


def test_a_question_that_was_never_asked_has_no_answer() -> None:
    assert not claim().has_asked(7, 10.0)
