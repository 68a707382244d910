"""The guard is open for as long as the lease and no longer, whatever happens to its process and to the clocks."""

import os
import signal
import subprocess
import sys
import time

import pytest
from guard_yard import (
    Yard,
    guard,
    hold,
    until,
    yard,
)

from gapless.sentinel.beat import clock
from gapless.sentinel.beat.guard import Guard, Span, lease_element

__all__ = ["guard", "yard"]

pytestmark = pytest.mark.isolated


def test_without_a_lease_nothing_is_open(yard: Yard, guard: Guard) -> None:
    guard.activate(["tap0"])
    assert yard.is_mute()
    hold(guard)
    assert not yard.is_mute()
    guard.extend(clock.now() - 1)
    assert yard.is_mute()


HOLDER = """
import sys
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.guard import Guard
guard = Guard()
guard.install()
guard.activate(["tap0"])
while True:
    guard.extend(clock.now() + 0.5)
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_stopped_process_lets_its_lease_end(yard: Yard) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None

    def is_heard_after_renewal() -> bool:
        assert holder.stdin is not None
        assert holder.stdout is not None
        print(file=holder.stdin, flush=True)
        holder.stdout.readline()
        return not yard.is_mute()

    holder.stdout.readline()
    until(is_heard_after_renewal, "the router is heard while the lease is renewed")
    os.kill(holder.pid, signal.SIGSTOP)
    until(yard.is_mute, "the lease ends by itself")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert yard.is_mute()
    with Guard() as heir:  # what the dead one left is adopted, withdrawn
        heir.install()
        hold(heir)
        assert heir.active == frozenset()
        assert yard.is_mute()
        heir.activate(["tap0"])
        assert not yard.is_mute()
    holder.stdin.close()
    holder.stdout.close()


def test_a_lease_computed_before_a_pause_revives_nothing_after_it(yard: Yard) -> None:
    pause_s = 5.0
    with Guard(wall_ns=lambda: time.time_ns() - int(pause_s * 1e9), now_s=lambda: clock.now() - pause_s) as paused:
        paused.install()
        paused.activate(["tap0"])
        paused.extend(clock.now() - 1)  # by its clocks there are 4 s left
        assert yard.is_mute()


def test_a_pause_between_the_clocks_shortens_the_lease(yard: Yard) -> None:
    with Guard(wall_ns=lambda: time.time_ns() - int(5e9)) as paused:
        paused.install()
        paused.activate(["tap0"])
        hold(paused, for_s=4.0)
        assert yard.is_mute()


def test_a_wall_clock_that_was_set_back_prolongs_nothing(yard: Yard, guard: Guard) -> None:
    """By the wall clock the lease lasts an hour; by its timeout, a moment."""
    guard.activate(["tap0"])
    now_ns = time.time_ns()
    lengthened = lease_element(Span(now_ns - int(1e9), now_ns + int(3.6e12), timeout_ms=300))
    guard._commit(lambda: lengthened, "a lease from before the clock was set back")
    until(yard.is_mute, "the timeout ends it")


def test_a_wall_clock_that_was_set_back_far_closes(yard: Yard) -> None:
    with Guard(wall_ns=lambda: time.time_ns() + int(3.6e12)) as guard:
        guard.install()
        guard.activate(["tap0"])
        hold(guard)
        assert yard.is_mute()
