"""What the kernel lets one process have."""

import resource
from contextlib import suppress

SELECT_MOST = 1024
"""Descriptors that select(2) can wait for (FD_SETSIZE)."""


def allow_descriptors(most: int | None = None) -> None:
    """Let this process open as many files as it may, or `most` of them: a thousand routers are more than the usual soft
    limit of 1,024.

    A process with a library that still uses select(2) takes `SELECT_MOST`: it ends at the first number above.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = hard if most is None else most if hard == resource.RLIM_INFINITY else min(most, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
