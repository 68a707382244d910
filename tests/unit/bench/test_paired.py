"""With and without in turn: the order, the ratio, and how sure it is."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from paired import Paired, alternate, as_json, words


def test_whoever_is_first_changes_from_pair_to_pair() -> None:
    seen: list[bool] = []
    present = False

    @contextmanager
    def having() -> Iterator[None]:
        nonlocal present
        present = True
        yield
        present = False

    def measure() -> dict[str, float]:
        seen.append(present)
        return {"cost": 12.0 if present else 10.0, "gain": 5.0}

    found = alternate(measure, having, 3)
    assert seen == [True, False, False, True, True, False]
    assert found["cost"] == Paired(without=[10.0] * 3, present=[12.0] * 3)
    assert (found["cost"].ratio, found["gain"].ratio) == (1.2, 1.0)
    assert found["cost"].interval == (1.2, 1.2)
    assert "1.200 (1.200 to 1.200)" in words("cost", found["cost"])
    assert as_json(found)["cost"]["ratio"] == 1.2


def drifting(pairs: int, factor: float) -> Paired:
    """A machine that gets slower by half, and whose moments differ by a tenth."""
    chance, paired = random.Random(7), Paired()
    for pair in range(pairs):
        base = 1000 * (1 + pair / pairs / 2)
        paired.without.append(base * chance.uniform(0.95, 1.05))
        paired.present.append(base * factor * chance.uniform(0.95, 1.05))
    return paired


def test_three_percent_are_seen_on_a_machine_that_drifts_by_half() -> None:
    least, most = drifting(100, 1.03).interval
    assert 1.0 < least < 1.03 < most < 1.05
    least, most = drifting(100, 1.0).interval
    assert least < 1.0 < most
