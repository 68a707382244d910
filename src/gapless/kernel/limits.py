"""What the kernel lets one process have."""

import resource
from contextlib import suppress


def allow_descriptors() -> None:
    """Let this process open as many files as it may: a thousand routers are more than the usual soft limit of 1,024.

    No library that still uses select(2) may be in the process: it ends at the first number above 1024.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
