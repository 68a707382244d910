"""What it costs to copy connections: one low rate from beginning to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

FLOW_SYNC = Path(__file__).parents[3] / "bench" / "flow_sync.py"


def test_a_follower_has_what_is_open_at_the_source_and_nothing_else(tmp_path: Path) -> None:
    argv = [sys.executable, str(FLOW_SYNC), "--rates", "200", "--seconds", "3", "--out", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("flow-sync-*.json")
    (found,) = json.loads(written.read_text())["rates"]
    assert (found["not_made"], found["missing"], found["left_over"]) == (0, 0, 0)
    assert found["asked"] == 200
    assert found["source_us"] > 0
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".md"}
    assert "| 200 | " in done.stdout
    assert "Gapless at " in done.stdout
