"""What the kernel lets one process have."""

import resource
import socket
from contextlib import suppress

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
SELECT_MOST = 1024
"""Descriptors that select(2) can wait for (FD_SETSIZE)."""


def allow_descriptors() -> None:
    """Let this process open as many files as it may: a thousand routers are more than the usual soft limit of 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def allow_unread(opened: socket.socket, most_bytes: int) -> None:
    """Let so many bytes wait in a socket until they are read. By force where that is allowed, as it is to the machine's
    root: asked politely, the kernel gives `net.core.rmem_max` at most, in silence.
    """
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, most_bytes)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, most_bytes)
