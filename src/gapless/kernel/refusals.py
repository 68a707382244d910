"""Why the kernel refused something, in an operator's words: which limit was met, and where it is set.

The rule: who meets an OSError translates it here, once, and says what was tried, for one number means different limits:
ENOSPC of unshare(2) is another one than that of mount(2). What is no limit keeps the kernel's own words.

Sources: unshare(2), mount(2), inotify(7), getrlimit(2), clone(2); net/bridge/br_if.c for EXFULL.
"""

import errno
import os
import resource
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

from gapless.errors import Unavailable


class Trying(Enum):
    """What was asked of the kernel, where the number of the error does not tell which limit was met."""

    ANYTHING = auto()
    NAMESPACE = auto()
    """To make a network namespace."""
    MOUNT = auto()
    WATCH = auto()
    """To watch files (inotify)."""
    START = auto()
    """A thread or a process."""


_NO_MEMORY: Final = "neither the machine nor its cgroup (MemoryMax= of its unit) has memory left for it"
_LIMITS: Final[Mapping[tuple[Trying, int], str]] = {
    (Trying.ANYTHING, errno.ENFILE): "the machine has as many files open as fs.file-max allows; raise it (sysctl)",
    (Trying.ANYTHING, errno.ENOMEM): _NO_MEMORY,
    (Trying.ANYTHING, errno.ENOBUFS): _NO_MEMORY,
    (Trying.ANYTHING, errno.EXFULL): (
        "a Linux bridge has 1,023 ports at most, and somebody plugged others into this one; another one is used soon"
    ),
    (Trying.NAMESPACE, errno.ENOSPC): "user.max_net_namespaces allows no more network namespaces; raise it (sysctl)",
    (Trying.MOUNT, errno.ENOSPC): "fs.mount-max allows no more mounts; raise it (sysctl)",
    (Trying.WATCH, errno.ENOSPC): "fs.inotify.max_user_watches allows no more; raise it (sysctl)",
    (Trying.WATCH, errno.EMFILE): (
        "fs.inotify.max_user_instances, or RLIMIT_NOFILE (LimitNOFILE= of its unit), allows no more; raise it"
    ),
    (Trying.START, errno.EAGAIN): (
        "no more threads or processes are allowed; raise TasksMax= of its unit (pids.max of its cgroup), `ulimit -u`, "
        "or kernel.threads-max (sysctl)"
    ),
}


def words(number: int, trying: Trying = Trying.ANYTHING, *, text: str = "") -> str:
    """What an error number means: the kernel's words, what it said beside them (`text`), and the limit if it is one."""
    said = os.strerror(number) + (f" ({text})" if text else "")
    limit = _LIMITS.get((trying, number)) or _LIMITS.get((Trying.ANYTHING, number))
    if limit is None and number == errno.EMFILE:
        limit = _descriptors()
    return f"{said}: {limit}" if limit else said


def why(error: OSError, trying: Trying = Trying.ANYTHING) -> str:
    """The same, of an error that Python raised."""
    return words(error.errno, trying) if error.errno else str(error)


@contextmanager
def told(about: str, trying: Trying = Trying.ANYTHING) -> Iterator[None]:
    """Where the kernel refuses what is done here, Unavailable is raised with the reason. `about`: what was tried."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{about}: {why(error, trying)}") from error


def start(thread: threading.Thread, about: str) -> None:
    """Start a thread. Raises Unavailable where there may be no more."""
    try:
        thread.start()
    except RuntimeError as error:  # all that Python says of it
        raise no_thread(about) from error


def no_thread(about: str) -> Unavailable:
    """A thread could not be started."""
    return Unavailable(f"{about}: {words(errno.EAGAIN, Trying.START)}")


def _descriptors() -> str:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"this process may have {most:,} at once (RLIMIT_NOFILE; LimitNOFILE= of its unit)"
