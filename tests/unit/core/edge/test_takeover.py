"""The successor's side: from a hint to a proof to what it has the right to."""

import pytest

from gapless.core.edge.beatevents import Counters, Right
from gapless.core.edge.takeover import Takeover
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

A, B, C = (HostName(name) for name in "abc")
PANEL = Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset({A, B, C}),))
DEAD, NEXT = Tenure(HostName("h"), Incarnation(4)), Tenure(HostName("n"), Incarnation(2))
R1, R2 = RouterId("r1"), RouterId("r2")


def right(epoch: int, *after: Tenure) -> Right:
    return Right(epoch=Epoch(epoch), after=after)


@pytest.fixture
def takeover() -> Takeover:
    """A first successor for r1, a second one for r2."""
    made = Takeover(DEFAULT, Counters())
    made.give({R1: right(5, DEAD), R2: right(8, DEAD, NEXT)})
    return made


def bury(takeover: Takeover, tenure: Tenure, now: float) -> None:
    """From the hints of two arbiters to their answers."""
    for arbiter in (A, B):
        takeover.hint(arbiter, tenure, 0.0, PANEL, now)
    ((_, seq),) = takeover.due(PANEL, now)
    assert not takeover.bury(A, tenure, seq, PANEL, now)
    assert takeover.bury(B, tenure, seq, PANEL, now)


def test_one_hint_claims_nothing_and_a_quorum_of_them_claims_at_once(takeover: Takeover) -> None:
    assert takeover.hint(A, DEAD, 0.0, PANEL, 1.0) == []
    assert takeover.due(PANEL, 1.0) == []
    (silent,) = takeover.hint(B, DEAD, 0.02, PANEL, 1.01)
    assert (silent.tenure, silent.silent_for_s) == (DEAD, 0.02)
    assert takeover.next_deadline() == 1.01
    assert takeover.due(PANEL, 1.01) == [(DEAD, 1)]
    assert takeover.due(PANEL, 1.02) == [], "again after an interval"
    assert takeover.due(PANEL, 1.01 + DEFAULT.interval_s) == [(DEAD, 2)]


def test_who_hears_one_hint_asks_the_others(takeover: Takeover) -> None:
    takeover.hint(A, DEAD, 0.0, PANEL, 1.0)
    assert takeover.unsure(DEAD, PANEL, 1.0) == [(DEAD, [B, C])]
    takeover.hint(C, DEAD, 0.0, PANEL, 1.01)
    assert takeover.unsure(DEAD, PANEL, 1.01) == [], "a quorum hints, so it is claimed"


def test_hints_of_what_it_has_no_right_to_are_nothing_to_it(takeover: Takeover) -> None:
    for arbiter in (A, B, C):
        assert takeover.hint(arbiter, Tenure(DEAD.host, Incarnation(3)), 0.0, PANEL, 1.0) == []
        assert takeover.hint(arbiter, Tenure(A, Incarnation(1)), 0.0, PANEL, 1.0) == []


def test_that_a_higher_incarnation_is_over_says_the_same_of_a_lower(takeover: Takeover) -> None:
    for arbiter in (A, B):
        takeover.hint(arbiter, Tenure(DEAD.host, Incarnation(9)), 0.0, PANEL, 1.0)
    assert takeover.due(PANEL, 1.0) == [(DEAD, 1)]


def test_claiming_ends_when_arbiters_take_their_hints_back(takeover: Takeover) -> None:
    for arbiter in (A, B):
        takeover.hint(arbiter, DEAD, 0.0, PANEL, 1.0)
    takeover.due(PANEL, 1.0)
    takeover.deny(A, DEAD, 1, 1.01)
    assert takeover.due(PANEL, 1.05) == []
    takeover.hint(A, DEAD, 0.0, PANEL, 1.1)
    assert takeover.due(PANEL, 1.1) == [(DEAD, 2)]


def test_a_hint_counts_until_two_more_should_have_come(takeover: Takeover) -> None:
    """A first one, which a moment's delay brings about, for three intervals; a late one for longer."""
    interval_s = DEFAULT.interval_s
    takeover.hint(A, DEAD, 0.0, PANEL, 1.0)
    assert takeover.hint(B, DEAD, 0.0, PANEL, 1.0 + 3.1 * interval_s) == []
    assert takeover.unsure(DEAD, PANEL, 1.0 + 3.1 * interval_s) == [(DEAD, [A, C])]
    takeover.hint(A, DEAD, 16 * interval_s, PANEL, 2.0)
    assert takeover.hint(B, DEAD, 16 * interval_s, PANEL, 2.0 + 32 * interval_s) != []


def test_one_arbiter_that_grants_still_does_not_keep_a_quorum_from_burying(takeover: Takeover) -> None:
    for arbiter in (A, B):
        takeover.hint(arbiter, DEAD, 0.0, PANEL, 1.0)
    takeover.due(PANEL, 1.0)
    takeover.deny(C, DEAD, 1, 1.01)
    takeover.bury(A, DEAD, 1, PANEL, 1.02)
    assert takeover.bury(B, DEAD, 1, PANEL, 1.02)


def test_what_is_ripe_is_taken_once(takeover: Takeover) -> None:
    bury(takeover, DEAD, 1.0)
    assert takeover.take_ripe() == {DEAD: {R1: 5}}
    assert takeover.take_ripe() == {}
    bury(takeover, NEXT, 2.0)
    assert takeover.take_ripe() == {NEXT: {R2: 8}}


def test_what_was_buried_stays_so_for_rights_that_come_later(takeover: Takeover) -> None:
    bury(takeover, DEAD, 1.0)
    takeover.give({})
    takeover.give({R1: right(9, DEAD, Tenure(DEAD.host, Incarnation(2)))})
    assert takeover.take_ripe() == {DEAD: {R1: 9}}


def test_when_it_was_hinted_claimed_and_buried_is_told(takeover: Takeover) -> None:
    for arbiter in (A, B):
        takeover.hint(arbiter, DEAD, 0.01, PANEL, 1.0)
    takeover.due(PANEL, 1.02)
    takeover.due(PANEL, 1.02 + DEFAULT.interval_s)
    for arbiter in (A, B):
        takeover.bury(arbiter, DEAD, 2, PANEL, 1.08)
    burial = takeover.burial_of(DEAD)
    assert (burial.silent, burial.claimed, burial.buried) == (1.0, 1.02, 1.08)
    assert burial.last_grant == pytest.approx(0.99)


def test_a_right_that_was_taken_is_gone(takeover: Takeover) -> None:
    takeover.give({R2: right(8, DEAD, NEXT)})
    bury(takeover, DEAD, 1.0)
    assert takeover.take_ripe() == {}


def test_a_right_after_nobody_is_no_right() -> None:
    takeover = Takeover(DEFAULT, Counters())
    takeover.give({R1: right(5)})
    assert takeover.take_ripe() == {}


def test_a_plan_that_keeps_a_right_does_not_begin_its_claim_anew(takeover: Takeover) -> None:
    for arbiter in (A, B):
        takeover.hint(arbiter, DEAD, 0.0, PANEL, 1.0)
    takeover.due(PANEL, 1.0)
    takeover.bury(A, DEAD, 1, PANEL, 1.02)
    takeover.give({R1: right(5, DEAD)})
    assert takeover.bury(B, DEAD, 1, PANEL, 1.03)
