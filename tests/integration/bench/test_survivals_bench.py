"""Connections through keepalived's routers, with a conntrackd beside each: one small case from beginning to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gapless.lab.measuring.connections import Kind
from measuring import why_missing

MISSING = why_missing("keepalived") or why_missing("conntrackd")
pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

SURVIVALS = Path(__file__).parents[3] / "bench" / "survivals.py"


@pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
def test_a_host_dies_and_what_conntrackd_was_told_goes_on(tmp_path: Path) -> None:
    words = ["--systems", "gapless,keepalived-100ms-conntrackd", "--routers", "2", "--flows", "4"]
    argv = [sys.executable, str(SURVIVALS), *words, "--out", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("*.json")
    whole = json.loads(written.read_text())
    for case in whole["cases"]:
        (run,) = case["runs"]
        assert run["problems"] == []
        struck = run["found"]["connections"]["struck"]
        assert [one["connections"] for one in struck.values()] == [1] * len(Kind)
        # That its conntrackd works shows in the download, which is lost without; else what a peer keeps is not ours to
        # promise: of UDP it may not have heard yet.
        kept = list(Kind) if case["system"] == "gapless" else [Kind.DOWNLOAD]
        assert [struck[kind]["survived"] for kind in kept] == [1] * len(kept), case["system"]
    assert "| keepalived-100ms-conntrackd | 2 | 1 | download | 1 | 1 | 0 | 0 |" in done.stdout
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".md"}
