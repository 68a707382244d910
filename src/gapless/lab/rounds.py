"""Rounds: the same faults again and again in one lab, since building one of a thousand routers takes minutes.

A round: make the lab well and even again (`recovery`), then strike and measure (`experiment`). The fault takes the host
with the most routers each time, or whom it takes otherwise, so it is another host's turn from round to round.

The rule: what goes wrong in one round is told and ends no other; only a lab that does not get well again ends them all.
Invariant: what was found is kept, whatever ends the rounds.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

import msgspec

from gapless.errors import GaplessError
from gapless.lab import faults, recovery
from gapless.lab.experiment import experiment
from gapless.lab.faults import Fault
from gapless.lab.findings import events
from gapless.lab.findings.events import Phase
from gapless.lab.findings.expect import Bounds
from gapless.lab.findings.result import Result
from gapless.lab.groups import first_of
from gapless.lab.lab import Lab
from gapless.lab.measuring.probes import percentile


class Round(msgspec.Struct, kw_only=True):
    """One of them. `result`: None where there is none, and then `problem` says why."""

    number: int
    fault: str
    result: Result | None = None
    problem: str = ""
    spread: int = 0
    """Routers that were moved before it, so that hosts carry alike again."""
    recovered_s: float = 0.0
    """Seconds that it took before it until the lab was well and even again."""

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return self.result is not None and self.result.ok


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over the rounds of one fault, in milliseconds. None where nothing was measured."""

    least: float | None = None
    median: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, figures: Iterable[float | None]) -> "Over":
        """Nearest-rank percentiles, over the rounds in which the figure was measured."""
        values = [figure for figure in figures if figure is not None]
        return cls(least=min(values), median=percentile(values, 0.5), max=max(values)) if values else cls()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds of one fault. `median_ms`: of each round's median router; `worst_ms`: of its worst router."""

    rounds: int
    ok: int
    moved: int
    """Routers that moved, in all rounds together."""
    median_ms: Over
    worst_ms: Over
    lost: int
    double_active_frames: int
    unknown: int
    """Rounds of which nobody knows whether two were active."""


class Rounds(msgspec.Struct, kw_only=True):
    """What was found. `broken`: why there are fewer rounds than were asked for."""

    rounds: list[Round] = []
    summary: dict[str, Summary] = {}
    broken: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong in any."""
        return bool(self.rounds) and not self.broken and all(each.ok for each in self.rounds)

    def summed(self) -> "Rounds":
        """With a summary of each fault, of the rounds that there are by now."""
        named = dict.fromkeys(each.fault for each in self.rounds)
        self.summary = {name: _summary([each for each in self.rounds if each.fault == name]) for name in named}
        return self


def _summary(rounds: Sequence[Round]) -> Summary:
    results = [each.result for each in rounds if each.result is not None]
    counted = [frames for one in results if (frames := one.double_active_frames) != "unknown"]
    return Summary(
        rounds=len(rounds),
        ok=sum(each.ok for each in rounds),
        moved=sum(one.moved for one in results),
        median_ms=Over.of(one.gap_ms.median for one in results),
        worst_ms=Over.of(one.gap_ms.max for one in results),
        lost=sum(one.probes.lost for one in results),
        double_active_frames=sum(counted),
        unknown=len(rounds) - len(counted),
    )


Turns = Iterator[tuple[int, str]]


def turns_of(names: Sequence[str], count: int) -> Turns:
    """Each fault once a round."""
    return ((number, name) for number in range(1, count + 1) for name in names)


async def _nothing(number: int) -> None:
    del number


async def carry_out(
    lab: Lab,
    wanted: Turns,
    found: Rounds,
    *,
    hosts: Sequence[str] = (),
    bounds: Bounds,
    hold_s: float = 0.0,
    tell: Callable[[Round], None],
    before: Callable[[int], Awaitable[None]] = _nothing,
) -> None:
    """Carry out what is wanted on a lab that is built; `found` grows with each that is over, which `tell` is given.

    `before`: done with the lab when it is well, before the round of this number strikes it.

    A lab that does not get well ends it, and `found.broken` says why.
    """
    fault: Fault | None = None
    for number, name in wanted:
        one = Round(number=number, fault=name)
        try:
            if found.rounds:
                await _again(lab, fault, one)
        except (GaplessError, ExceptionGroup) as error:
            found.broken = f"the lab did not get well for round {number} ({name}): {first_of(error)}"
            return
        try:
            await before(number)
            fault = await faults.choose(lab, name, hosts)
            one.result = (await experiment(lab, fault, bounds, hold_s)).result
        except (GaplessError, ExceptionGroup) as error:
            one.problem = str(first_of(error))
        found.rounds.append(one)  # and not one that is broken off
        tell(one)


async def _again(lab: Lab, struck_by: Fault | None, one: Round) -> None:
    began = time.monotonic()
    lab.listen(events.PhaseBegan(at=began, phase=Phase.RECOVERY))
    await recovery.recover(lab)
    if struck_by is not None:
        await struck_by.clear(lab)
    one.spread = await recovery.spread(lab)
    await lab.one_host_each()
    one.recovered_s = round(time.monotonic() - began, 1)
