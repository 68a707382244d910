"""Where sysctls are found: /proc/sys/net, seen through procfs instances of the agent's own.

In one instance of procfs, the directories /proc/sys/net/ipv4 of all network namespaces are kept under one name, and the
kernel looks through them for that of the calling thread (`proc_sys_compare`, fs/proc/proc_sysctl.c). Among a thousand
that takes a quarter of a millisecond or more, for each directory: longer than to write all settings of a router. What
another instance was asked for does not matter, and a new one costs 0.06 ms (two cores). So a new one is taken now and
then. Nobody else sees it, since it is mounted nowhere (fsopen(2), fsmount(2)); a /proc/sys that is mounted read-only
does not bind it.

Kernels before 5.8 have one procfs for a PID namespace. Some containers let nobody have another one, or have it and not
write to it, for a profile of AppArmor goes by paths below /proc: then the files are opened there.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Final

USES: Final = 16
"""Namespaces that are looked at through one instance: the next one finds so many under the name that it looks for."""

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
"""Alike on nearly all architectures (asm-generic/unistd.h); on others the kernel says ENOSYS."""
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _CMD_CREATE = 1, 1, 6
_NEVER: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL, errno.EROFS})
"""Why a process gets no instance of its own, now or later."""
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


class SysNet:
    """Directories to find sysctls from, for the namespace of whoever uses one. Thread-safe."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        """Descriptors, and how often each was used."""
        self._is_refused = False

    @contextlib.contextmanager
    def one(self) -> Iterator[int]:
        """A descriptor of /proc/sys/net, to open others from, for as long as the block lasts. Raises OSError."""
        try:
            descriptor, uses = self._free.pop()
        except IndexError:
            descriptor, uses = self._opened(), 0
        try:
            yield descriptor
        finally:
            if uses + 1 < USES:
                self._free.append((descriptor, uses + 1))
            else:
                os.close(descriptor)

    def _opened(self) -> int:
        if not self._is_refused:
            try:
                return _writable(_instance())
            except OSError as error:
                self._is_refused = error.errno in _NEVER
        return os.open("/proc/sys/net", _DIRECTORY)


def _instance() -> int:
    """The directory in a new instance of procfs, which lasts as long as the descriptor. Raises OSError."""
    context = _check(_libc.syscall(_FSOPEN, b"proc", _FSOPEN_CLOEXEC))
    try:
        _check(_libc.syscall(_FSCONFIG, context, _CMD_CREATE, None, None, 0))
        mounted = _check(_libc.syscall(_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0))
    finally:
        os.close(context)
    try:
        return os.open("sys/net", _DIRECTORY, dir_fd=mounted)
    finally:
        os.close(mounted)


def _writable(instance: int) -> int:
    """The same, where settings can be written from there. Raises OSError otherwise, and closes it."""
    try:
        os.close(os.open("ipv4/ip_forward", os.O_RDWR | os.O_CLOEXEC, dir_fd=instance))
    except OSError:
        os.close(instance)
        raise
    return instance


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
