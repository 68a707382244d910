"""What is over is known only from a quorum of arbiters, whose answers lie close together."""

from gapless.core.ledger.burials import Burials
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure
from gapless.model.plan import Burial
from gapless.model.router import RouterId

H1, H2, H3 = (HostName(name) for name in ("h1", "h2", "h3"))
PANEL = Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset({H1, H2, H3}),))
DEAD = Tenure(HostName("h9"), Incarnation(4))
R = RouterId("r")


def answer(seq: int, *, is_buried: bool = True, tenure: Tenure = DEAD) -> Burial:
    return Burial(tenure=tenure, seq=seq, is_buried=is_buried)


def claimed(now: float = 0.0) -> Burials:
    burials = Burials()
    burials.want(DEAD, R)
    (question,) = burials.questions(PANEL, [H1, H2, H3], now)
    assert (question.tenure, question.seq, question.arbiters) == (DEAD, 1, (H1, H2, H3))
    return burials


def test_a_majority_buries() -> None:
    burials = claimed()
    assert not burials.answered(H1, answer(1), 0.01)
    assert not burials.answered(H1, answer(1), 0.02), "the same arbiter twice is one"
    assert burials.answered(H2, answer(1), 0.02)
    assert burials.bury(DEAD) == {R}
    assert burials.is_over(DEAD)
    assert burials.is_over(Tenure(DEAD.host, Incarnation(3)))
    assert not burials.is_over(Tenure(DEAD.host, Incarnation(5)))
    assert burials.questions(PANEL, [H1], 5.0) == []


def test_answers_that_lie_further_apart_than_a_window_do_not_count_together() -> None:
    burials = claimed()
    assert not burials.answered(H1, answer(1), 0.01)
    burials.questions(PANEL, [H1, H2, H3], 1.0)
    assert not burials.answered(H2, answer(2), 1.0 + DEFAULT.window_s / 2), "the first may have restarted since"
    assert burials.answered(H1, answer(2), 1.0 + DEFAULT.window_s)


def test_an_answer_counts_from_its_question_however_late_it_comes() -> None:
    burials = claimed()
    late = DEFAULT.window_s + 0.01
    assert not burials.answered(H1, answer(1), late)
    assert not burials.answered(H2, answer(1), late)


def test_an_arbiter_with_an_unexpired_grant_takes_its_burial_back() -> None:
    burials = claimed()
    assert not burials.answered(H1, answer(1), 0.01)
    assert not burials.answered(H1, answer(1, is_buried=False), 0.02)
    assert not burials.answered(H2, answer(1), 0.03)


def test_answers_that_nobody_asked_for_say_nothing() -> None:
    burials = claimed()
    for arbiter in (H1, H2):
        assert not burials.answered(arbiter, answer(7), 0.01)
        assert not burials.answered(arbiter, answer(1, tenure=Tenure(H3, Incarnation(1))), 0.01)


def test_another_panel_begins_to_count_anew() -> None:
    burials = claimed()
    assert not burials.answered(H1, answer(1), 0.01)
    other = Panel(version=PanelVersion(2), floor=PanelVersion(1), sets=(*PANEL.sets, frozenset({H1})))
    burials.questions(other, [H1, H2, H3], 0.02)
    assert not burials.answered(H2, answer(1), 0.03)


def test_questions_become_rarer_and_end_when_nobody_wants_to_know() -> None:
    burials = claimed()
    asked_at = [now for now in range(1, 200) if burials.questions(PANEL, [H1], float(now))]
    assert asked_at[:4] == [1, 3, 7, 15]
    assert asked_at[-1] - asked_at[-2] == 30
    burials.forget(DEAD)
    assert burials.questions(PANEL, [H1], 1000.0) == []


def test_without_a_panel_nobody_is_asked() -> None:
    burials = Burials()
    burials.want(DEAD, R)
    assert burials.questions(None, [H1], 0.0) == []
