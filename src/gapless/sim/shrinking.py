"""Which faults a seed needs to fail: the others are left out one by one, as long as it does.

A fault that is left out takes what it drew along, so those that are left may strike others, or for longer, than before.
What is told is therefore the story of the shrunk run, and not a part of the first one's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from gapless.sim.outcome import Outcome

WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What is left out, and whether no other fault can be."""

    without: frozenset[int]
    is_smallest: bool


def shrink(
    failed: Outcome,
    run: Callable[[frozenset[int]], Outcome],
    *,
    within_s: float = WITHIN_S,
    tell: Callable[[str], None] = lambda _: None,
) -> Shrunk:
    """Leave out one fault after another, the last first, as long as the same oracle is violated still; again, until
    there is none without which it is, or `within_s` are over. `run` runs the seed without some.
    """
    ends, tries = monotonic() + within_s, 0
    without, is_smallest = failed.unused, False
    while not is_smallest:
        is_smallest = True
        for fault in reversed(failed.faults):
            if fault.number in without:
                continue
            if monotonic() >= ends:
                return Shrunk(without, is_smallest=False)
            outcome, tries = run(without | {fault.number}), tries + 1
            if outcome.oracle == failed.oracle:
                without, is_smallest = outcome.unused, False
            tell(f"{tries} tries, {len(failed.faults) - len(without)} of {len(failed.faults)} faults left")
    return Shrunk(without, is_smallest=True)
