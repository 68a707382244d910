"""Network namespaces of routers: where their names are, and how work is done inside.

Names live in /run/netns as iproute2 keeps them, so `ip netns exec qrouter-<id> ...` works.

The rule: a thread that entered a namespace does nothing else and ends: were the way back to fail, no later work could
land in the wrong one. Invariant: the threads of the rest of a program never leave the host's own namespace.
"""

import _thread
import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from gapless.errors import Unavailable
from gapless.kernel import refusals
from gapless.model.observed import NAMESPACE_PREFIX
from gapless.model.router import RouterId

T = TypeVar("T")

DIRECTORY: Final = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_NSFS_MAGIC = 0x6E736673
_TIMEOUT_S = 30.0

_libc = ctypes.CDLL(None, use_errno=True)


class _Statfs(ctypes.Structure):
    """struct statfs; only its first word is read, the rest is room (120 bytes on 64-bit Linux)."""

    _fields_ = (("f_type", ctypes.c_long), ("room", ctypes.c_byte * 248))


def path_of(router_id: RouterId) -> Path:
    """Where the name of a router's namespace is."""
    return DIRECTORY / f"{NAMESPACE_PREFIX}{router_id}"


def is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted at `path`."""
    found = _Statfs()
    if _libc.statfs(os.fsencode(path), ctypes.byref(found)) != 0:
        return False
    return bool(found.f_type == _NSFS_MAGIC)


def enter(path: Path, inside: Callable[[], T]) -> T:
    """What `inside` returns in the namespace at `path`. Raises FileNotFoundError where there is none, and Unavailable
    where it cannot be entered: this process may have no more descriptors, say.
    """
    with opened(path) as descriptor:

        def visit() -> T:
            go_to(descriptor)
            return inside()

        return in_own_thread(visit, f"enter namespace {path.name}")


def go_into(path: Path) -> None:
    """Take the calling thread, which is used for nothing else, into the namespace at `path`. Raises what `opened`
    raises, and OSError.
    """
    with opened(path) as descriptor:
        go_to(descriptor)


def go_to(descriptor: int) -> None:
    """The same, into the namespace that is open as `descriptor`. Raises OSError."""
    check(_libc.setns(descriptor, _CLONE_NEWNET))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of the namespace at `path`. Raises FileNotFoundError where there is none, and Unavailable where it
    cannot be opened.
    """
    if not is_namespace(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unavailable(f"enter namespace {path.name}: {refusals.why(error)}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def in_own_thread(work: Callable[[], T], about: str) -> T:
    """What `work` returns in a thread that is used for nothing else. Raises what it raises; OSError as Unavailable.

    The thread ends a moment later, some milliseconds beside threads at work, and with it its hold on the namespace. As
    `threading` does not know of it, `work` asks nothing of that, and does not log.
    """
    results: list[T] = []
    failures: list[BaseException] = []
    at_work = _thread.allocate_lock()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller below, unchanged
            failures.append(error)
        finally:
            at_work.release()

    # A `threading.Thread` is waited for twice, until it has begun and until it ends: one more change of threads a look.
    at_work.acquire()
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as refused:  # all that Python says of a thread that cannot be started
        raise refusals.no_thread(about) from refused
    if not at_work.acquire(timeout=_TIMEOUT_S):
        raise Unavailable(f"{about}: the kernel did not let go within {_TIMEOUT_S:g} s")
    if failures:
        error = failures[0]
        if isinstance(error, OSError):
            raise Unavailable(f"{about}: {refusals.why(error)}") from error
        raise error
    return results[0]


def check(result: int) -> None:
    """Raise the OSError of a C call that did not return 0."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
