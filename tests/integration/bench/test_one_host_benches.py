"""Benchmarks of one host, each from beginning to end with a few routers, which are guarded and behind an open guard."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from breakages import GUARD_ALTERED

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

BENCH = Path(__file__).parents[3] / "bench"
GUARDED = "Routers of mode standby: behind an open guard."


def bench(name: str, out: Path, *words: str) -> tuple[Any, str]:
    """What a benchmark wrote, and what it said."""
    argv = [sys.executable, str(BENCH / name), *words, "--out", str(out)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = out.glob("*.json")
    return json.loads(written.read_text()), done.stdout


def test_routers_are_broken_at_the_gateway_and_at_the_guard(tmp_path: Path) -> None:
    kinds = f"gateway-link-down,{GUARD_ALTERED},uplink-unplugged"
    words = ["--routers", "2", "--times", "1", "--at-once", "0", "--seconds", "0", "--kinds", kinds]
    words += ["--shared-times", "1"]
    (found,), said = bench("repair.py", tmp_path, *words)
    assert {kind: len(gaps) for kind, gaps in found["alone"].items()} == {"gateway-link-down": 1, GUARD_ALTERED: 1}
    assert all(gap > 0 for gaps in found["alone"].values() for gap in gaps)
    assert [gap > 0 for gap in found["shared"]["uplink-unplugged"]] == [True, True]
    assert "| uplink-unplugged |" in said
    assert GUARDED in said


def test_broadcasts_are_plain_and_steered(tmp_path: Path) -> None:
    words = ["--routers", "1,3", "--room", "3", "--frames", "3", "--rounds", "1", "--seconds", "0.2"]
    found, said = bench("broadcasts.py", tmp_path, *words)
    assert set(found) == {"1", "3"}
    for of_size in found.values():
        assert {way: len(held) for way, held in of_size["lasting"].items()} == {"plain": 1, "steered": 1}
    assert "| 3 | request to a router here |" in said


@pytest.mark.thorough
def test_an_agent_ends_and_the_next_one_leaves_routers_as_they_are(tmp_path: Path) -> None:
    """It lives for more than ten seconds before each end, so that it is started again at once."""
    found, said = bench("adopt.py", tmp_path, "--routers", "2", "--rounds", "1")
    ends = found["rounds"]["2"]
    assert [(end["way"], end["lost"], end["changed"]) for end in ends] == [("kill", 0, 0), ("order", 0, 0)]
    assert all(end["peak_mb"] > 10 for end in ends)
    assert GUARDED in said
