"""What the sentinel says of the processes that it started."""

import signal


def how_it_ended(status: int) -> str:
    """How a process ended, from its exit status as `subprocess` tells it."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
