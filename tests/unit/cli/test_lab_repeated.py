"""`gapless lab run --repeat`: what was found is kept, whatever ends the runs."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gapless.cli import lab, main
from gapless.lab.findings.result import Result
from gapless.lab.machines import enter
from gapless.lab.runner import INTERRUPTED
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

    def ended(*_: object) -> Run:
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


@pytest.mark.usefixtures("unignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["result is read", "lab is begun"])
def test_a_signal_around_a_lab_ends_the_runs_and_keeps_those_that_are_over(
    when: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three: when the first one's result is read, or when the second one is begun."""
    file, begun = tmp_path / "found.json", []
    decode = msgspec.json.decode

    def command(argv: list[str], **_: object) -> list[str]:
        begun.append(argv)
        if when == "lab is begun" and len(begun) == 2:
            os.kill(os.getpid(), number)
            return ["sleep", "1000"]
        result = json.loads(argv[-1])["result_fd"]
        return [sys.executable, "-c", f"import os; os.write({result}, {msgspec.json.encode(GOOD[1])!r})"]

    def read(written: bytes, **how: Any) -> Any:
        if when == "result is read":
            os.kill(os.getpid(), number)
        return decode(written, **how)

    monkeypatch.setattr(enter, "command", command)
    monkeypatch.setattr(msgspec.json, "decode", read)
    monkeypatch.setattr(sys, "argv", ["gapless", "lab", "run", "--repeat", "3", "--json", str(file)])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code in (INTERRUPTED, 128 + signal.SIGTERM)
    assert len(begun) == (1 if when == "result is read" else 2)
    assert len(json.loads(file.read_text())["runs"]) == 1


def test_what_is_over_is_kept_where_the_next_lab_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, runs = tmp_path / "found.json", iter([GOOD])

    def ended(*_: object) -> Run:
        for run in runs:
            return run
        raise OSError("too many open files")

    monkeypatch.setattr(lab, "_run_once", ended)
    monkeypatch.setattr(sys, "argv", ["gapless", "lab", "run", "--repeat", "3", "--json", str(file)])
    with pytest.raises(OSError, match="too many"):
        main.main()
    assert len(json.loads(file.read_text())["runs"]) == 1
