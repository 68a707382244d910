"""keepalived in the lab, measured: one small case from beginning to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vrrp_lab import why_missing

pytestmark = [pytest.mark.netns, pytest.mark.skipif(why_missing() is not None, reason=why_missing() or "")]

VRRP = Path(__file__).parents[3] / "bench" / "vrrp.py"


def test_a_host_dies_and_keepalived_takes_over(tmp_path: Path) -> None:
    argv = [sys.executable, str(VRRP), "--routers", "2", "--runs", "1", "--timings", "vrrp3-100ms"]
    done = subprocess.run([*argv, "--out", str(tmp_path)], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("*.json")
    (case,) = json.loads(written.read_text())["cases"]
    assert (case["timing"], case["routers"]) == ("vrrp3-100ms", 2)
    # Three adverts and a skew that a backup of priority 50 waits, from the last one that it heard.
    assert case["gap_ms"]["median"] >= 200
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".md", ".svg"}
    assert "| vrrp3-100ms | 3 | 100 ms | 2 | 1 |" in done.stdout
