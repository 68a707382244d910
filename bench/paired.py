"""With something and without it, in turn and many times: what differs, and how sure that is.

The rule: values are compared only with their neighbours in time, since a machine is faster in one minute than in the
next. Each pair is one value without and one with, in an order that changes from pair to pair, so that whoever is first
has no advantage. Told is the median of the pairs' ratios, and where it lies with 95 % confidence, by bootstrap: the
medians of as many ratios, drawn from those found with replacement.

Source: Efron 1979.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

DRAWS = 2000
SEED = 1


@dataclass(slots=True)
class Paired:
    """Values without and with; the n-th of each are a pair."""

    without: list[float] = field(default_factory=list)
    present: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """With / without."""
        return [b / a for a, b in zip(self.without, self.present, strict=True)]

    @property
    def ratio(self) -> float:
        """In the median."""
        return statistics.median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the median ratio lies, with 95 % confidence."""
        draw, ratios = random.Random(SEED), self.ratios
        medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
        return medians[round(0.025 * DRAWS)], medians[round(0.975 * DRAWS) - 1]


def alternate(
    measure: Callable[[], Mapping[str, float]], having: Callable[[], AbstractContextManager[object]], pairs: int
) -> dict[str, Paired]:
    """What `measure` says by name, in pairs: without, and in the context of `having`."""
    found: dict[str, Paired] = {}
    for pair in range(pairs):
        values: dict[bool, Mapping[str, float]] = {}
        for present in order(pair):
            if present:
                with having():
                    values[present] = measure()
            else:
                values[present] = measure()
        for name, value in values[False].items():
            paired = found.setdefault(name, Paired())
            paired.without.append(value)
            paired.present.append(values[True][name])
    return found


def order(pair: int) -> tuple[bool, bool]:
    """Whether each of a pair's two values is the one with it; pairs count from 0."""
    return (False, True) if pair % 2 else (True, False)


def words(name: str, paired: Paired) -> str:
    """One line."""
    least, most = paired.interval
    without, present = statistics.median(paired.without), statistics.median(paired.present)
    return f"{name:58} {without:10,.1f} {present:10,.1f}   {paired.ratio:.3f} ({least:.3f} to {most:.3f})"


def as_json(found: Mapping[str, Paired]) -> dict[str, dict[str, float | Sequence[float]]]:
    """For the file."""
    return {
        name: {"without": paired.without, "with": paired.present, "ratio": paired.ratio, "interval": paired.interval}
        for name, paired in found.items()
    }
