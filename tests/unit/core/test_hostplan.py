"""A host's plan, followed by revisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.hostplan import EMPTY_PLAN, Difference, HostPlan
from gapless.errors import Conflict
from gapless.model.plan import Epoch, PlannedRouter, Revision
from gapless.model.router import Router, RouterId


def planned(router_id: str, epoch: int = 1) -> PlannedRouter:
    return PlannedRouter(router=Router(id=RouterId(router_id), name=""), epoch=Epoch(epoch))


def test_a_change_replaces_adds_and_removes() -> None:
    plan = HostPlan.of(Revision(1), [planned("a"), planned("b"), planned("c")])
    plan = plan.followed_by(Revision(2), Difference(routers=(planned("b", 2), planned("d")), removed=(RouterId("a"),)))
    assert plan.revision == 2
    assert {each.router.id: each.epoch for each in plan.routers.values()} == {"b": 2, "c": 1, "d": 1}


@pytest.mark.parametrize("revision", [0, 1, 3, 4])
def test_a_change_fits_only_on_the_revision_before_it(revision: int) -> None:
    plan = HostPlan.of(Revision(1), [planned("a")])
    with pytest.raises(Conflict, match="at revision 1"):
        plan.followed_by(Revision(revision), Difference())


def test_the_difference_to_an_equal_plan_is_empty() -> None:
    plan = HostPlan.of(Revision(4), [planned("a")])
    assert plan.difference_to(HostPlan.of(Revision(9), [planned("a")])) == Difference()
    assert EMPTY_PLAN.difference_to(EMPTY_PLAN) == Difference()


plans = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3)).map(
    lambda epochs: HostPlan.of(Revision(1), [planned(name, epoch) for name, epoch in epochs.items()])
)


@given(old=plans, new=plans)
def test_the_difference_leads_from_any_plan_to_any_other(old: HostPlan, new: HostPlan) -> None:
    step = old.difference_to(new)
    assert dict(old.brought_to(Revision(7), step).routers) == dict(new.routers)
    assert not set(step.removed) & {each.router.id for each in step.routers}
