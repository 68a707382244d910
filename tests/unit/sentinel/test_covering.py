"""A router that forwards unguarded becomes a guarded one: what its agent has at each step, and when it is said."""

from dataclasses import replace

import pytest
from fake_controller import planned

from gapless.core.hostplan import HostPlan
from gapless.model.host import Incarnation
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Revision, Role, RouterReport, RouterState
from gapless.model.router import RouterId
from gapless.sentinel.covering import Proofs, arrived, as_the_agent_may_have_it, departed, regrouped
from sizes import sizes

A, B, C = RouterId("a"), RouterId("b"), RouterId("c")
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


def test_who_arrives_and_who_departs() -> None:
    before = HostPlan.of(Revision(1), [planned("a"), planned("b")])
    after = HostPlan.of(Revision(2), [planned("b", 2), planned("c")])
    assert (arrived(before, after), departed(before, after)) == ({C}, {A})


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


REMOVED = replace(WORD, state=RouterState.REMOVED, guarded=False)


def test_of_what_comes_back_before_the_disk_has_its_guard_the_proof_is_waited_for() -> None:
    """A restart would begin with version 3, in which it forwards without a lease."""
    proofs = Proofs()
    proofs.kept(3, {})
    proofs.regroup([A], 4)
    proofs.depart([A])  # by version 5
    assert proofs.word(REMOVED, 5) == REMOVED
    proofs.heard(5)
    assert not proofs.word(WORD, 6).guarded
    assert proofs.kept(6, {A: replace(WORD, guarded=False)}) == [WORD]
    assert sizes(proofs) == {}


def test_what_leaves_unguarded_and_comes_back_guarded_has_changed_groups() -> None:
    unguarded = HostPlan.of(Revision(1), [planned("a"), guarded("b"), guarded("c")])
    without, back = HostPlan.of(Revision(2), [guarded("c")]), HostPlan.of(Revision(3), [guarded("a"), guarded("b")])
    assert (regrouped(unguarded, without), departed(unguarded, without)) == ([A], {A, B})
    assert regrouped(without, back) == []
    proofs = Proofs()
    proofs.regroup(regrouped(unguarded, without), 4)
    proofs.depart(departed(unguarded, without))
    assert not proofs.word(WORD, 5).guarded, "the agent may never have seen that it left, nor has the disk"


@pytest.mark.parametrize("is_kept_first", [False, True])
def test_of_what_is_gone_nothing_is_kept_once_the_agent_and_the_disk_have_that(is_kept_first: bool) -> None:
    """Also where the agent says no word of it: it came and went between two plans that the agent saw."""
    proofs = Proofs()
    for number in range(5):
        since = 2 * number + 1
        proofs.regroup([RouterId(f"r{number}")], since)
        proofs.depart([RouterId(f"r{number}"), RouterId("of no account")])
        proofs.heard(since - 1)
        proofs.kept(since - 1, {})
        assert sizes(proofs) == {"Proofs._since": 1, "Proofs._departed": 1}, "they may be of the time before"
        proofs.kept(since, {}) if is_kept_first else proofs.heard(since)
        assert sizes(proofs) == {"Proofs._since": 1, "Proofs._departed": 1}
        proofs.heard(since) if is_kept_first else proofs.kept(since, {})
        assert sizes(proofs) == {}


def test_what_changes_no_group_needs_no_proof() -> None:
    assert Proofs().word(WORD, 1) is WORD
