"""The processes that the sentinel starts: which of them goes first when memory runs out, and how one ended."""

import contextlib
import signal
from pathlib import Path

ORDINARY = 0
"""Of a process that nobody protects, `oom_score_adj` (proc(5)): -1000 is never ended for want of memory, 1000 first."""


def give_up_first(pid: int) -> None:
    """Where memory runs out, have the kernel end this process before those without which a host holds no lease.

    A child inherits how well its parent is protected (`OOMScoreAdjust=` of the unit), and what is disposable must not
    be. Raising the figure needs no privilege. A process that has ended needs nothing.
    """
    file = Path(f"/proc/{pid}/oom_score_adj")
    with contextlib.suppress(OSError):
        if int(file.read_text()) < ORDINARY:
            file.write_text(str(ORDINARY))


def how_it_ended(status: int) -> str:
    """How a process ended, from its exit status as `subprocess` tells it."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
