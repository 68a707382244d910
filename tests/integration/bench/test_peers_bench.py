"""Gapless and keepalived side by side: one small case of each from beginning to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from measuring import why_missing
from real_time import BY_ITSELF, FROM_OUTSIDE, NONE, labs_take_it, why_not_from_outside

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

PEERS = Path(__file__).parents[3] / "bench" / "peers.py"


def peers(out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, str(PEERS), *words, "--out", str(out)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=500, check=False)


def priority() -> str:
    if labs_take_it():
        return BY_ITSELF
    return NONE if why_not_from_outside() else FROM_OUTSIDE


@pytest.mark.skipif(why_missing("keepalived") is not None, reason=why_missing("keepalived") or "")
def test_a_host_dies_and_both_are_measured_alike(tmp_path: Path) -> None:
    done = peers(tmp_path, "--systems", "gapless,keepalived-100ms", "--routers", "2", "--runs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("*.json")
    whole = json.loads(written.read_text())
    own, peer = whole["cases"]
    assert [(case["system"], case["routers"]) for case in (own, peer)] == [("gapless", 2), ("keepalived-100ms", 2)]
    for case in (own, peer):
        (run,) = case["runs"]
        assert run["problems"] == []
        assert run["found"]["probes"]["interval_ms"] == 10
        assert len(run["found"]["gap_ms"]["per_router"]) == 2
    found = own["runs"][0]["found"]
    assert (found["affected"], found["moved"], found["hosts"]) == (2, 2, 2)
    assert "host-1" in found["description"]
    # Three adverts and a skew that a backup of priority 50 waits, from the last one that it heard.
    assert peer["gap_ms"]["median"] >= 200
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".md", ".svg"}
    assert "| keepalived-100ms | 2 | 1 |" in done.stdout
    assert whole["real_time"] == f"real-time priority: {priority()}"
    assert (tmp_path / written.name).with_suffix(".md").read_text().strip().endswith(f"priority: {priority()}.")
