"""A small fleet of made-up hosts, a real controller: each benchmark of it from beginning to end."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)

FLEET = Path(__file__).parents[3] / "bench" / "fleet.py"
HOSTS, ROUTERS = 10, 100


def measured(out: Path, *words: str) -> dict[str, Any]:
    argv = [sys.executable, str(FLEET), "--fleets", f"{HOSTS}x{ROUTERS}", "--seconds", "1", *words, "--out", str(out)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = out.glob("*.json")
    (run,) = json.loads(written.read_text())
    assert run["problems"] == []
    assert run["rest"]["rss_mib"] > 10
    assert {file.suffix for file in out.iterdir()} == {".json", ".md"}
    found: dict[str, Any] = run
    return found


def test_guarded_routers_are_taken_over_and_get_standbys_again(tmp_path: Path) -> None:
    run = measured(tmp_path, "--modes", "standby")
    for start in (run["start"], run["restart"]):
        assert start["kept"] == ROUTERS, "a controller that starts changes nothing"
        assert 0 < start["listens_s"] <= start["planned_s"] <= start["ready_s"]
    assert (run["host"]["hosts"], run["host"]["routers"]) == (1, ROUTERS // HOSTS)
    assert run["zone"]["hosts"] == 3, "of four in the zone one is off already"
    for death in (run["host"], run["zone"]):
        assert 0 < death["told_ms"] < death["stored_ms"] <= death["confirmed_ms"] < death["protected_ms"]
        assert death["told_ms"] < death["planned_ms"]
        assert None not in (death["recorded_s"], death["renewed_s"])


def test_classic_routers_are_bound_anew(tmp_path: Path) -> None:
    run = measured(tmp_path, "--modes", "reschedule", "--dead-after", "8")
    assert (run["host"]["hosts"], run["host"]["routers"]) == (1, ROUTERS // HOSTS)
    for death in (run["host"], run["zone"]):
        assert 0 < death["stored_ms"] <= death["planned_ms"] <= death["confirmed_ms"]
        assert (death["told_ms"], death["protected_ms"], death["renewed_s"]) == (None, None, None)
