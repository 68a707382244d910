"""Pid 1 of a lab: starts the command, reaps what nobody else waits for, and ends with the command and its status.

The kernel hands a process whose parent ended to pid 1. One that is never reaped keeps its pid namespace alive: a
machine of the lab could then lose power and never be gone (pid_namespaces(7)). So the command itself is not pid 1.
"""

import os
import signal
import sys
from collections.abc import Sequence

ENDING = (signal.SIGTERM, signal.SIGHUP)


def run(argv: Sequence[str]) -> int:
    """Run the command; its exit status, 128 + n for a signal n. SIGTERM and SIGHUP reach it as SIGTERM, whenever they
    came: they are blocked when this begins, since those that pid 1 has no handler for are lost otherwise (signal(7)).

    A terminal sends its SIGINT to the command itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    defaults = (signal.SIGINT, *ENDING)
    command = os.posix_spawnp(argv[0], list(argv), os.environ, setsigdef=defaults, setsigmask=())
    for number in ENDING:
        signal.signal(number, lambda *_: os.kill(command, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    _let_terminal_go()
    while True:
        ended, status = os.wait()
        if ended == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _let_terminal_go() -> None:
    """The command's output ends when the command closes it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    try:
        raise SystemExit(run(sys.argv[1:]))
    except OSError as error:
        print(f"gapless lab: cannot run {sys.argv[1]}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
