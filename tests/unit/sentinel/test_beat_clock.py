"""The beat's clock goes on while its machine is suspended; what it tells others is told by the clock that all share.

A time namespace in which the machine has been up for longer than its monotonic clock says stands in for the
suspension (time_namespaces(7)).
"""

import subprocess
import sys
import time

import pytest

from gapless.sentinel.beat import clock

SUSPENDED_S = 3600
ROUNDING_S = 1e-6
SAID_THERE = """
import inspect, time
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.announcements import Announcements
from gapless.sentinel.beat.guard import Guard
from gapless.sentinel.beat.loop import Loop
for kind, name in ((Loop, "clock"), (Guard, "now_s"), (Announcements, "clock")):
    print(inspect.signature(kind).parameters[name].default() - time.monotonic())
print(clock.as_monotonic(clock.now()) - time.monotonic())
"""


def said_after_a_suspension() -> list[float]:
    suspended = ("unshare", "--user", "--map-root-user", "--time", "--boottime", str(SUSPENDED_S), "--monotonic", "0")
    told = subprocess.run(
        [*suspended, "--fork", sys.executable, "-c", SAID_THERE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if told.returncode:
        pytest.skip(f"no time namespace here: {told.stderr.strip()}")
    return [float(word) for word in told.stdout.split()]


def test_whatever_counts_leases_counts_the_time_of_a_suspension() -> None:
    *counted, told = said_after_a_suspension()
    assert len(counted) == 3
    assert all(each > SUSPENDED_S - 60 for each in counted)
    assert abs(told) < 60


def test_a_moment_is_told_as_others_count() -> None:
    before, moment = time.monotonic(), clock.now()
    told, after = clock.as_monotonic(moment), time.monotonic()
    assert before - ROUNDING_S <= told <= after + ROUNDING_S
    assert clock.now() >= moment
