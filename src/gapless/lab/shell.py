"""Running small commands to their end: `ip`, `nft`, `nsenter`. Bounded; a failure says what was asked and answered."""

import asyncio
import os
from collections.abc import Iterable, Sequence

from gapless.errors import Unavailable
from gapless.lab import enter

COMMAND_TIMEOUT_S = 60.0
SBIN = "/usr/sbin:/sbin"
"""Where `ip` and `nft` live on Debian; not on an ordinary user's PATH."""


def environment(**more: str) -> dict[str, str]:
    """The environment of the lab's processes: the caller's, without its Gapless and OpenStack settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GAPLESS_", "OS_"))}
    return {**kept, "PATH": f"{kept.get('PATH', '/usr/bin:/bin')}:{SBIN}", **more}


async def run(*argv: str, given: str = "") -> str:
    """Run a command with `given` on its standard input; what it printed. Raises Unavailable when it fails.

    Inside a lab only; raises InvariantError elsewhere.
    """
    enter.require_inside()
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            printed, complained = await process.communicate(given.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Unavailable(f"`{' '.join(argv)}` did not end within {COMMAND_TIMEOUT_S:g} s") from None
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
