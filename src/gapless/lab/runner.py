"""`gapless lab run`, inside: build a lab, carry out one experiment, say what was found, hand the result back."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from rich.console import Console

from gapless.errors import GaplessError
from gapless.lab import faults, table
from gapless.lab.expect import Bounds, Gap
from gapless.lab.experiment import experiment
from gapless.lab.lab import Lab
from gapless.lab.result import Result
from gapless.lab.settings import LabSettings

T = TypeVar("T")
INTERRUPTED = 130


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for.

    `hold_s`: as in `experiment`. `gap_ms`, `bystanders_ms`: how long gaps of routers struck and not struck may be; 0
    judges neither. `result_fd`: a descriptor that the result is written to as JSON.
    """

    settings: LabSettings
    fault: str
    hosts: tuple[str, ...] = ()
    hold_s: float = 0.0
    gap_ms: float = 0.0
    bystanders_ms: float = 0.0
    result_fd: int = -1

    @property
    def bounds(self) -> Bounds:
        """The caller's, whatever kind of gap the fault is expected to make."""
        gap_ms = dict.fromkeys(Gap, self.gap_ms) if self.gap_ms else {}
        return Bounds(gap_ms=gap_ms, bystanders_ms=self.bystanders_ms or None)


def run_until_signalled(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` that SIGTERM cancels as Ctrl-C does; raises KeyboardInterrupt for either.

    So whatever ends a lab from outside, its last words say what was going on.
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


def main(argument: dict[str, Any]) -> int:
    """Entry for `enter.call`; returns the exit status."""
    request = msgspec.convert(argument, RunRequest)
    console = Console()
    narrator = table.Narrator(console)
    try:
        result = run_until_signalled(_run(request, narrator))
    except KeyboardInterrupt as interrupt:
        narrator.stop()
        print(
            f"gapless lab: interrupted by {interrupt or 'Ctrl-C'} ({narrator.said()}); nothing is left behind",
            file=sys.stderr,
        )
        return INTERRUPTED
    except (GaplessError, ExceptionGroup) as error:
        narrator.stop()
        print(f"gapless lab: {first_of(error)} [while: {narrator.said()}]", file=sys.stderr)
        return 1
    narrator.stop()
    for part in table.tables(result):
        console.print(part)
    if request.result_fd >= 0:
        with os.fdopen(request.result_fd, "wb") as file:
            file.write(msgspec.json.encode(result))
    return 0 if result.ok else 1


async def _run(request: RunRequest, narrator: table.Narrator) -> Result:
    async with Lab(request.settings, narrator) as lab:
        await lab.build()
        fault = await faults.choose(lab, request.fault, request.hosts)
        outcome = await experiment(lab, fault, request.bounds, request.hold_s)
        return outcome.result


def first_of(error: BaseException) -> BaseException:
    """The first error of a task group that is not a group; re-raised when it is not one that was raised on purpose."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, GaplessError):
        raise error
    return error
