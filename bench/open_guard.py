"""A guard that stands open, as on a host that holds its lease: what a beat does for its routers' taps, without one.

The guard is the real one, in the namespace of whoever makes this. A thread renews its lease as often as a beat does,
and under a beat's name: the kernel tells an agent of everybody else's transactions, and each would wake it. The lease
itself is long, so that a busy machine does not end it: what is measured through the guard is not to depend on how fast
this thread is.
"""

import time
from collections.abc import Iterable
from threading import Event, Lock, Thread
from typing import Self

from gapless.errors import GaplessError
from gapless.kernel import comm
from gapless.model.lease import DEFAULT
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.guard import Guard

LEASE_S = 60.0


class OpenGuard:
    """Made and installed when the block begins, and left to close by itself after it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._guard = Guard()
        self._ends = Event()
        self._failure: GaplessError | None = None
        self._renewing = Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        with self._lock:
            self._guard.install()
            self._guard.extend(clock.now() + LEASE_S)
        self._renewing.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._ends.set()
        self._renewing.join()
        try:
            if kind is None:
                self.check()
        finally:
            self._guard.close()

    def open_only(self, taps: Iterable[str]) -> None:
        """These pass frames from now on, whether they exist yet or not, and no others do."""
        wanted = frozenset(taps)
        with self._lock:
            self._guard.deactivate(self._guard.active - wanted)
            self._guard.activate(wanted)

    def check(self) -> None:
        """Raise what ended the renewals, or Conflict where the guard is not what it was: what was measured then was not
        measured through an open guard.
        """
        if self._failure is not None:
            raise self._failure
        with self._lock:
            self._guard.check()

    def _renew(self) -> None:
        comm.take(comm.BEAT)
        due = time.monotonic()
        try:
            while not self._ends.wait(max(0.0, due - time.monotonic())):
                due = max(due + DEFAULT.interval_s, time.monotonic())
                with self._lock:
                    self._guard.extend(clock.now() + LEASE_S)
        except GaplessError as error:
            self._failure = error
