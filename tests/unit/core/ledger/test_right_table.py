"""The table of a right to succeed: what leads where, and what cannot happen."""

import pytest

from gapless.core.ledger.succession import MAY_SUCCEED, TABLE, RightState, Trigger, after
from gapless.errors import InvariantError


@pytest.mark.parametrize("state", RightState)
@pytest.mark.parametrize("trigger", Trigger)
def test_a_pair_without_a_row_is_a_bug(state: RightState, trigger: Trigger) -> None:
    if (state, trigger) in TABLE:
        assert after(state, trigger) is TABLE[state, trigger]
    else:
        with pytest.raises(InvariantError, match="cannot be"):
            after(state, trigger)


def test_a_right_is_nobody_s_before_it_is_somebody_else_s() -> None:
    """From every state in which somebody may succeed, CHOSEN is reached only through NOBODY."""
    into_chosen = {state for (state, _), result in TABLE.items() if result is RightState.CHOSEN}
    assert into_chosen == {RightState.NOBODY}


def test_a_right_that_may_be_used_ends_only_by_ending_or_by_being_used() -> None:
    out = {trigger for (state, trigger), result in TABLE.items() if state in MAY_SUCCEED and result not in MAY_SUCCEED}
    assert out == {Trigger.ENDED, Trigger.PROMOTED}
