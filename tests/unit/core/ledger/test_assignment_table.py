"""The table of one router's assignment: what it allows, and above all what it does not."""

from itertools import product

import pytest

from gapless.core.ledger.moves import IN_PLAN, LEAVING, TABLE, AssignmentState, Trigger, after
from gapless.errors import InvariantError

STATES = set(AssignmentState)


def test_every_state_is_of_one_kind() -> None:
    assert {AssignmentState.UNBOUND} | IN_PLAN | LEAVING == STATES
    assert not IN_PLAN & LEAVING


def test_a_bound_router_is_never_unbound_again() -> None:
    assert AssignmentState.UNBOUND not in TABLE.values()


def test_from_a_living_host_no_way_leads_into_a_plan_but_through_the_store() -> None:
    into_a_plan = {
        trigger for (state, trigger), following in TABLE.items() if state not in IN_PLAN and following in IN_PLAN
    }
    assert into_a_plan == {Trigger.BOUND, Trigger.WITHDRAWAL_STORED}
    assert {state for state, trigger in TABLE if trigger is Trigger.WITHDRAWAL_STORED} == {AssignmentState.WITHDRAWN}


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TABLE} == STATES
    assert set(TABLE.values()) | {AssignmentState.UNBOUND} == STATES


@pytest.mark.parametrize(("state", "trigger"), sorted(set(product(AssignmentState, Trigger)) - set(TABLE)))
def test_what_cannot_happen_is_a_bug(state: AssignmentState, trigger: Trigger) -> None:
    with pytest.raises(InvariantError, match="cannot be"):
        after(state, trigger)
