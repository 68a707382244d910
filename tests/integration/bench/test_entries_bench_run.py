"""Takeovers with copied connections and with none: one small pair from beginning to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from entries_lab import OTHERS

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

ENTRIES = Path(__file__).parents[3] / "bench" / "entries.py"


def test_a_host_dies_with_connections_in_its_successors_kernel_and_with_none(tmp_path: Path) -> None:
    words = ["--entries", "500", "--routers", "2", "--pairs", "1"]
    argv = [sys.executable, str(ENTRIES), *words, "--out", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=500, check=False)
    (written,) = tmp_path.glob("*.json")
    whole = json.loads(written.read_text())
    assert whole["broken"] == "", done.stdout
    with_them, without = whole["turns"]
    assert (with_them["wanted"], without["wanted"]) == (500, 0)
    assert with_them["copied"] >= 500
    assert with_them["kept"] >= 500, "they are in the kernel of the host that took over"
    assert without["copied"] <= 2 * OTHERS, "nothing is left of the round before"
    for one in whole["rounds"]:
        assert one["result"]["problems"] == []
        assert one["result"]["moved"] == 2
    assert [len(whole["paired"][name]["with"]) for name in ("gap, median router", "gap, worst router")] == [1, 1]
    assert "turn 1 of 2: " in done.stdout
    assert "| gap, median router | 1 |" in done.stdout
