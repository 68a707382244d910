"""The states of one router's assignment, as one table.

    UNBOUND ──bound──► PLANNED ◄──────────────► BUILDING, ACTIVE, FAILED     (what its host says of it)
                          ▲                              │
      withdrawal stored   │                              │ bound away from a living host
                      WITHDRAWN ◄──let go── WITHDRAWING ◄┘

The rule: a router is in exactly one host's plan in PLANNED, BUILDING, ACTIVE and FAILED, and in nobody's in the other
states. So the way from one living host to another leads through WITHDRAWING, and two plans never hold it at once. From
a host that is dead there is nothing to wait for, and `BOUND` leads straight to PLANNED.

A pair without a row is a bug, and ends the planner with an InvariantError.
"""

from enum import StrEnum

from gapless.errors import InvariantError


class AssignmentState(StrEnum):
    """How far a router has come on the host that it is bound to."""

    UNBOUND = "unbound"
    """It was never bound. Once it is, it never gets back here."""
    WITHDRAWING = "withdrawing"
    """Bound to a new host; the living one that it leaves has not said yet that nothing is left there."""
    WITHDRAWN = "withdrawn"
    """The host that it leaves has let go (or is dead); that is being stored, and then the new host hears of it."""
    PLANNED = "planned"
    """In its host's plan; the host has not said anything of it yet, or said that it is not there."""
    BUILDING = "building"
    ACTIVE = "active"
    FAILED = "failed"


class Trigger(StrEnum):
    """What moves an assignment from state to state."""

    BOUND = "bound"
    """A new binding is stored, and nothing is to be waited for."""
    BOUND_AWAY = "bound away"
    """A new binding is stored, and a living host has to let go first."""
    LET_GO = "let go"
    WITHDRAWAL_STORED = "withdrawal stored"
    SEEN_ABSENT = "seen absent"
    SEEN_BUILDING = "seen building"
    SEEN_ACTIVE = "seen active"
    SEEN_FAILED = "seen failed"


_S, _T = AssignmentState, Trigger

IN_PLAN = frozenset({_S.PLANNED, _S.BUILDING, _S.ACTIVE, _S.FAILED})
"""States in which its host's plan holds the router."""

LEAVING = frozenset({_S.WITHDRAWING, _S.WITHDRAWN})
"""States in which another host may still have it."""

TABLE: dict[tuple[AssignmentState, Trigger], AssignmentState] = {
    (_S.UNBOUND, _T.BOUND): _S.PLANNED,
    # The new host died before the old one let go: bound anew, and the old one still has to let go, ...
    (_S.WITHDRAWING, _T.BOUND_AWAY): _S.WITHDRAWING,
    # ... unless the old one is the best choice again: it may keep what it has.
    (_S.WITHDRAWING, _T.BOUND): _S.PLANNED,
    (_S.WITHDRAWING, _T.LET_GO): _S.WITHDRAWN,
    (_S.WITHDRAWN, _T.WITHDRAWAL_STORED): _S.PLANNED,
    # The old one let go while the next binding was being stored: that still counts.
    (_S.WITHDRAWN, _T.BOUND_AWAY): _S.WITHDRAWN,
    (_S.WITHDRAWN, _T.BOUND): _S.PLANNED,
    **{(state, _T.BOUND): _S.PLANNED for state in IN_PLAN},
    **{(state, _T.BOUND_AWAY): _S.WITHDRAWING for state in IN_PLAN},
    **{(state, _T.SEEN_ABSENT): _S.PLANNED for state in IN_PLAN},
    **{(state, _T.SEEN_BUILDING): _S.BUILDING for state in IN_PLAN},
    (_S.FAILED, _T.SEEN_BUILDING): _S.FAILED,  # It goes on trying; what failed has failed until it is active.
    **{(state, _T.SEEN_ACTIVE): _S.ACTIVE for state in IN_PLAN},
    **{(state, _T.SEEN_FAILED): _S.FAILED for state in IN_PLAN},
}


def after(state: AssignmentState, trigger: Trigger) -> AssignmentState:
    """The state that follows. Raises InvariantError for a pair that cannot happen."""
    try:
        return TABLE[state, trigger]
    except KeyError:
        raise InvariantError(f"an assignment that is {state} cannot be {trigger}") from None
