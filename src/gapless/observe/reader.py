"""Standard output whose reader has gone, as `head` has when it has seen enough: no more is said, and nothing is wrong.

Python ignores SIGPIPE, so a write raises BrokenPipeError; and what is buffered is written when the interpreter ends,
where nobody can catch that. So it is written before, and then standard output leads nowhere (signal, "Note on SIGPIPE",
in Python's library reference). Any other pipe that breaks is an error like others.
"""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def may_go() -> Iterator[None]:
    """Around a whole program. Raises SystemExit(1) where its reader is gone."""
    try:
        try:
            yield
        except SystemExit:
            _write_buffered()
            raise
        _write_buffered()
    except BrokenPipeError:
        gone = [stream.fileno() for stream in (sys.stdout, sys.stderr) if _is_gone(stream.fileno())]
        if not gone:
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in gone:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        raise SystemExit(1) from None


def _write_buffered() -> None:
    if sys.stdout is not None:  # closed by who started this
        sys.stdout.flush()


def _is_gone(descriptor: int) -> bool:
    """Whether nobody reads what is written there."""
    looked = select.poll()
    looked.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in looked.poll(0))
