"""A router that forwards unguarded becomes a guarded one: what its agent has at each step, and when it is said."""

from dataclasses import replace

import pytest
from fake_controller import planned

from gapless.core.hostplan import HostPlan
from gapless.model.host import Incarnation
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Revision, Role, RouterReport, RouterState
from gapless.model.router import RouterId
from gapless.sentinel.covering import Proofs, as_the_agent_may_have_it, regrouped
from sizes import sizes

A, B = RouterId("a"), RouterId("b")
WORD = RouterReport(router_id=A, epoch=Epoch(1), state=RouterState.ACTIVE, guarded=True)


def guarded(name: str, role: Role = Role.ACTIVE, epoch: int = 1) -> PlannedRouter:
    return replace(planned(name, epoch), guarded=Guarded(role=role, incarnation=Incarnation(2)))


def test_it_goes_on_unguarded_until_the_guard_lets_it_pass() -> None:
    assert as_the_agent_may_have_it(guarded("a"), planned("a"), ()) == planned("a")
    assert as_the_agent_may_have_it(guarded("a"), planned("a"), {A}) == guarded("a")


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        (guarded("a"), None),
        (guarded("a"), guarded("a")),
        (guarded("a", epoch=2), planned("a", 1)),
        (guarded("a", Role.STANDBY), planned("a")),
        (planned("a"), guarded("a")),
    ],
)
def test_whatever_else_is_planned_is_had_at_once(wanted: PlannedRouter, known: PlannedRouter | None) -> None:
    assert as_the_agent_may_have_it(wanted, known, ()) is wanted


def test_who_changes_groups() -> None:
    before = HostPlan.of(Revision(1), [planned("a"), guarded("b"), planned("c")])
    after = HostPlan.of(Revision(2), [guarded("a"), planned("b"), planned("c"), guarded("d")])
    assert regrouped(before, after) == [A, B]


def test_a_word_counts_that_was_made_from_the_plan_and_once_the_disk_has_that() -> None:
    proofs = Proofs()
    proofs.regroup([A], 5)
    assert not proofs.word(WORD, 4).guarded, "of another time"
    proofs.kept(4, {})
    assert not proofs.word(WORD, 6).guarded
    assert proofs.kept(5, {A: replace(WORD, guarded=False)}) == [WORD]
    assert proofs.word(WORD, 6).guarded
    assert proofs.kept(6, {A: WORD}) == [], "said once"


def test_the_disk_may_have_it_first() -> None:
    proofs = Proofs()
    proofs.regroup([A], 5)
    assert proofs.kept(7, {}) == []
    assert proofs.word(WORD, 5).guarded


def test_a_word_that_was_taken_back_is_not_passed_on_later() -> None:
    proofs = Proofs()
    proofs.regroup([A], 5)
    proofs.word(WORD, 5)
    proofs.word(replace(WORD, guarded=False), 5)
    assert proofs.kept(5, {A: WORD}) == []
    proofs.word(WORD, 5)
    proofs.regroup([A], 8)
    assert proofs.kept(7, {A: WORD}) == []


def test_of_what_was_removed_no_proof_is_waited_for() -> None:
    proofs = Proofs()
    for number in range(5):
        gone = replace(WORD, router_id=RouterId(f"r{number}"))
        removed = replace(gone, state=RouterState.REMOVED, guarded=False)
        proofs.regroup([gone.router_id], 5)
        assert proofs.word(removed, 4) == removed
        assert sizes(proofs) == {"Proofs._since": 1}, "it may be of the time before"
        proofs.word(gone, 5)
        assert proofs.word(removed, 5) == removed
        assert sizes(proofs) == {}
    assert proofs.kept(5, {}) == []


def test_what_changes_no_group_needs_no_proof() -> None:
    assert Proofs().word(WORD, 1) is WORD
