"""`gapless lab run`, inside: build a lab, carry out one experiment or many rounds, say what was found, hand it back."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from rich.console import Console

from gapless.errors import GaplessError
from gapless.lab import faults
from gapless.lab.experiment import experiment
from gapless.lab.findings import rounds_table, table
from gapless.lab.findings.expect import Bounds, Gap
from gapless.lab.findings.result import Result
from gapless.lab.groups import first_of
from gapless.lab.lab import Lab
from gapless.lab.rounds import Rounds, carry_out, turns_of
from gapless.lab.settings import LabSettings
from gapless.observe.console import console

T = TypeVar("T")
INTERRUPTED = 130


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for.

    `hold_s`: as in `experiment`. `gap_ms`, `bystanders_ms`: how long gaps of routers struck and not struck may be; 0
    judges neither. `result_fd`: a descriptor that the result is written to as JSON: a `Result`, or `Rounds`.
    """

    settings: LabSettings
    faults: tuple[str, ...]
    rounds: int = 1
    hosts: tuple[str, ...] = ()
    hold_s: float = 0.0
    gap_ms: float = 0.0
    bystanders_ms: float = 0.0
    result_fd: int = -1

    @property
    def has_rounds(self) -> bool:
        """Whether there is more than one experiment."""
        return self.rounds > 1 or len(self.faults) > 1

    @property
    def bounds(self) -> Bounds:
        """The caller's, whatever kind of gap the fault is expected to make."""
        gap_ms = dict.fromkeys(Gap, self.gap_ms) if self.gap_ms else {}
        return Bounds(gap_ms=gap_ms, bystanders_ms=self.bystanders_ms or None)


def run_until_signalled(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` that SIGTERM cancels as Ctrl-C does; raises KeyboardInterrupt for either.

    So whatever ends a lab from outside, its last words say what was going on, and by what it was ended: the exception's
    only argument.
    """

    signalled = False

    async def body() -> T:
        task = asyncio.ensure_future(work)

        def end() -> None:
            nonlocal signalled
            signalled = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        return await task

    try:
        return asyncio.run(body())
    except asyncio.CancelledError:
        if signalled:
            raise KeyboardInterrupt("SIGTERM") from None
        raise  # nobody asked for it: a bug, to be seen with its trace
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Ctrl-C") from None


def main(argument: dict[str, Any]) -> int:
    """Entry for `enter.call`; returns the exit status."""
    request = msgspec.convert(argument, RunRequest)
    out = console()
    narrator = table.Narrator(out)
    rounds = Rounds()
    results: list[Result] = []
    try:
        found = run_until_signalled(_run(request, narrator, rounds, results))
    except KeyboardInterrupt as interrupt:
        words, status = (
            f"interrupted by {interrupt} ({narrator.said()}); nothing is left behind",
            INTERRUPTED,
        )
    except (GaplessError, ExceptionGroup) as error:
        words, status = f"{first_of(error)} [while: {narrator.said()}]", 1
    else:
        narrator.stop()
        _show(out, found)
        return 0 if found.ok else 1
    narrator.stop()
    if rounds.rounds:
        rounds.broken = words
        _show(out, rounds)
    for result in results:
        _show(out, result)
    print(f"gapless lab: {words}", file=sys.stderr)
    return status


def _show(out: Console, found: Result | Rounds) -> None:
    for part in table.tables(found) if isinstance(found, Result) else rounds_table.tables(found):
        out.print(part)


def _hand_back(request: RunRequest, found: Result | Rounds) -> None:
    """To whoever started this: while the lab still stands, since one of a thousand routers may be ended before it has
    been taken down.
    """
    if request.result_fd >= 0:
        with os.fdopen(request.result_fd, "wb") as file:
            file.write(msgspec.json.encode(found))


async def _run(request: RunRequest, narrator: table.Narrator, rounds: Rounds, results: list[Result]) -> Result | Rounds:
    """What was found; it is in `rounds` or `results` too, where the lab's end is interrupted or fails."""
    async with Lab(request.settings, narrator) as lab:
        await lab.build()
        if request.has_rounds:
            return await _run_rounds(lab, request, narrator, rounds)
        fault = await faults.choose(lab, request.faults[0], request.hosts)
        result = (await experiment(lab, fault, request.bounds, request.hold_s)).result
        results.append(result)
        _hand_back(request, result)
        return result


async def _run_rounds(lab: Lab, request: RunRequest, narrator: table.Narrator, rounds: Rounds) -> Rounds:
    turns, bounds, hold_s = turns_of(request.faults, request.rounds), request.bounds, request.hold_s
    try:
        await carry_out(lab, turns, rounds, hosts=request.hosts, bounds=bounds, hold_s=hold_s, tell=narrator.told)
    except asyncio.CancelledError:
        rounds.broken = f"interrupted ({narrator.said()})"
        raise
    finally:
        if rounds.rounds:
            _hand_back(request, rounds.summed())
    return rounds
