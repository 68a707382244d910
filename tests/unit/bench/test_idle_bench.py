"""What idle hosts cost: read from the kernel, of the right processes, in one table."""

import os
import subprocess
import sys
import time

import pytest

import idle
from gapless.errors import InvalidRequest


def test_processor_time_is_that_of_the_process() -> None:
    before, began = idle.used_s(os.getpid()), time.process_time()
    while time.process_time() - began < 0.1:
        pass
    assert idle.used_s(os.getpid()) - before >= 0.05


def test_memory_is_resident_and_shared_out() -> None:
    cost = idle._cost(os.getpid(), 0.0, 1.0)
    assert cost.rss_mib >= cost.pss_mib > 1


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidRequest, match="host-1 runs no agent and no beat and no flows and no sentinel"):
        idle.of_host(os.getpid(), "host-1")


def test_a_process_that_ended_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with pytest.raises(InvalidRequest, match=f"process {ended.pid} ended meanwhile"):
        idle._cost(ended.pid, 0.0, 1.0)


def test_the_table_has_a_line_a_host_and_says_what_was_not_measured() -> None:
    cost = idle.Cost(percent=1.25, rss_mib=45, pss_mib=30)
    row = idle.Row(routers=1000, timing="fast", host="host-1", costs=dict.fromkeys(idle.ROLES, cost))
    said = idle.table([row], ["0 routers, timing fast: it was not up"], 60, "real-time priority: none", classic=False)
    percents, memory = " | ".join([*["1.25 %"] * 4, "5.00 %"]), " | ".join(["45 (30)"] * 4)
    assert f"| 1000 | fast | host-1 | {percents} | {memory} |" in said
    assert "Not measured: 0 routers, timing fast: it was not up" in said
    assert "Real-time priority: none." in said
