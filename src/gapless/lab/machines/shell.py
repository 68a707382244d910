"""Running small commands to their end: `ip`, `nft`, `nsenter`. Bounded; a failure says what was asked and answered."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable, Sequence
from typing import IO

from gapless.errors import Unavailable
from gapless.lab.machines import enter

COMMAND_TIMEOUT_S = 60.0
LINE_LIMIT = 2**24
"""Bytes of the longest line that a process may say."""
Stream = int | IO[bytes] | None
SBIN = "/usr/sbin:/sbin"
"""Where `ip` and `nft` live on Debian; not on an ordinary user's PATH."""


def environment(**more: str) -> dict[str, str]:
    """The environment of the lab's processes: the caller's, without its Gapless and OpenStack settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GAPLESS_", "OS_"))}
    return {**kept, "PATH": f"{kept.get('PATH', '/usr/bin:/bin')}:{SBIN}", **more}


async def spawn(*argv: str, stdin: Stream = DEVNULL, stdout: Stream = DEVNULL, stderr: Stream = None) -> Process:
    """Start a process in a session of its own: Ctrl-C is the lab's to answer.

    A cancellation meanwhile is answered when the process is there, and ended again with all that it has started:
    asyncio itself would lose sight of it half-way. `stderr` None: the caller's own.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment(),
            limit=LINE_LIMIT,
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await end(await starting)
        raise


async def end(process: Process) -> None:
    """End a process of `spawn`, and what it has started in its session; returns when it is gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def run(*argv: str, given: str = "") -> str:
    """Run a command with `given` on its standard input; what it printed. Raises Unavailable when it fails.

    Inside a lab only; raises InvariantError elsewhere.
    """
    enter.require_inside()
    process = await spawn(*argv, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            printed, complained = await process.communicate(given.encode())
    except TimeoutError:
        raise Unavailable(f"`{' '.join(argv)}` did not end within {COMMAND_TIMEOUT_S:g} s") from None
    finally:
        await end(process)
    if process.returncode != 0:
        words = complained.decode(errors="replace").strip()
        raise Unavailable(f"`{' '.join(argv)}` failed with status {process.returncode}: {words}{_quoted(given, words)}")
    return printed.decode(errors="replace")


def _quoted(given: str, words: str) -> str:
    """`ip -batch` names the line it stopped at ("Command failed -:3"); quote that line."""
    _, found, number = words.rpartition("Command failed -:")
    lines = given.splitlines()
    if found and number.strip().isdecimal() and 0 < int(number) <= len(lines):
        return f" (`ip {lines[int(number) - 1]}`)"
    return ""


async def ip(lines: Iterable[str], *, inside: Sequence[str] = ()) -> None:
    """Many `ip` commands in one process, in order; stops at the first that fails. `inside`: an nsenter command line."""
    text = "".join(f"{line}\n" for line in lines)
    if text:
        await run(*inside, "ip", "-batch", "-", given=text)
