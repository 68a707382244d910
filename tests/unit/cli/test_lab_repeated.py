"""`gapless lab run --repeat`: what was found is kept, whatever ends the runs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.cli import lab, main
from gapless.lab.findings.result import Result
from gapless.lab.runner import INTERRUPTED, RunRequest
from lab_results import measured

Run = tuple[int, Result | None]
GOOD: Run = (0, measured(260, 270))
BAD: Run = (1, measured(260, 900, ok=False))
NO_RESULT: Run = (INTERRUPTED, None)
AT_LAST: Run = (INTERRUPTED, measured(260, 270))
"""Interrupted when there was a result, and the lab was being taken away."""


def status_of(runs: list[Run], file: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit status of three runs that end like these; each that is begun is taken from `runs`."""
    coming: Iterator[Run] = iter(runs)

    def ended(_: RunRequest) -> Run:
        return next(coming)

    monkeypatch.setattr(lab, "_run_once", ended)
    monkeypatch.setattr(sys, "argv", ["gapless", "lab", "run", "--repeat", "3", "--json", str(file)])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert next(coming, None) is None
    return end.value.code


@pytest.mark.parametrize(
    ("runs", "status", "kept"),
    [
        ([GOOD, GOOD, GOOD], 0, 3),
        ([GOOD, BAD, GOOD], 1, 3),
        ([GOOD, BAD, NO_RESULT], INTERRUPTED, 2),
        ([GOOD, AT_LAST], INTERRUPTED, 2),
        ([GOOD, GOOD, AT_LAST], 0, 3),
    ],
)
def test_runs_that_are_over_are_kept(
    runs: list[Run],
    status: int,
    kept: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "found.json"
    assert status_of(runs, file, monkeypatch) == status
    found = json.loads(file.read_text())
    shown = capsys.readouterr()
    said = f"broken off: {kept} of 3 runs are over" if kept < 3 else ""
    assert (len(found["runs"]), found["broken"]) == (kept, said)
    assert shown.err == (f"gapless lab: {said}\n" if said else "")
    assert f"{kept} runs" in shown.out


def test_where_none_is_over_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status_of([NO_RESULT], tmp_path / "found.json", monkeypatch) == INTERRUPTED
    assert list(tmp_path.iterdir()) == []
