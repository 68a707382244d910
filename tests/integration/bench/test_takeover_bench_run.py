"""Takeovers in rounds and idle hosts, each benchmark from beginning to end in one small case."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

BENCH = Path(__file__).parents[3] / "bench"


def bench(name: str, out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, str(BENCH / name), *words, "--out", str(out)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=500, check=False)


def test_a_case_is_struck_in_rounds_and_says_how_each_went(tmp_path: Path) -> None:
    done = bench("takeover.py", tmp_path, "power-1", "--rounds", "2")
    (written,) = tmp_path.glob("*.json")
    (case,) = json.loads(written.read_text())
    assert (case["case"], case["broken"]) == ("power-1", "")
    assert [one["result"]["moved"] for one in case["rounds"]] == [1, 1]
    assert [one["result"]["double_active_frames"] for one in case["rounds"]] == [0, 0]
    taken = [one["result"]["timeline"]["takeover"] for one in case["rounds"]]
    assert all(each["forward"]["max"] > 0 for each in taken), "the first packet was seen"
    assert "round 2: host-power: 1 of 1 routers moved" in done.stdout
    assert "| power-1 | host-power | default | 1 | 2 of 2 | 1 |" in done.stdout


def test_idle_hosts_are_looked_at_in_a_lab_that_is_gone_afterwards(tmp_path: Path) -> None:
    done = bench("idle.py", tmp_path, "--routers", "2", "--timings", "default", "--seconds", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("*.json")
    rows = json.loads(written.read_text())
    assert [row["host"] for row in rows] == ["host-1", "host-2"]
    for row in rows:
        assert set(row["costs"]) == {"sentinel", "beat", "agent", "flows"}
        assert all(cost["rss_mib"] > 10 for cost in row["costs"].values())
        assert row["costs"]["beat"]["percent"] > 0
