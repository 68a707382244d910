"""The system calls that Python 3.11 has no names for, and doing something in another network namespace.

A thread that has entered a namespace is never used again: it ends with the call that it was made for, so no other code
can find itself in the wrong network.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move the calling thread (for users and pids: its children) into new namespaces; raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread into an existing namespace; raises OSError."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, fstype: str | None, flags: int = 0, options: str | None = None) -> None:
    """mount(2); raises OSError."""
    arguments = (text.encode() if text is not None else None for text in (source, target, fstype))
    data = options.encode() if options is not None else None
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data), f"mount {target}")


def unmount(target: str) -> None:
    """Detach a mount at once, whoever still uses it; raises OSError."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def die_with_parent() -> None:
    """The kernel sends SIGKILL to this process when its parent ends, however it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def in_netns(path: Path | str, action: Callable[[], T]) -> T:
    """Run `action` in the network namespace at `path` and hand back what it returned or raised. Blocks.

    Sockets opened and processes started by `action` stay in that namespace.
    """

    def enter() -> T:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(descriptor, CLONE_NEWNET)
        finally:
            os.close(descriptor)
        return action()

    return in_fresh_thread(enter)


def in_fresh_thread(action: Callable[[], T]) -> T:
    """Run `action` in a thread of its own, which ends with it."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 -- carried over to the caller's thread, not swallowed
            errors.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
