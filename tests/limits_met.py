"""Limits of this process that a test meets for real, in a `with`: pytest itself needs descriptors."""

import contextlib
import resource
import threading
from collections.abc import Iterator


def no_descriptor_left() -> contextlib.AbstractContextManager[None]:
    """None is given out."""
    return descriptors(0)


@contextlib.contextmanager
def descriptors(most: int) -> Iterator[None]:
    """No number from `most` on is given out."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def no_thread_more() -> Iterator[None]:
    """Each wants a stack for which the address space has no room: pthread_create(3) says EAGAIN, as for too many."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)
