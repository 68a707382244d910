"""`gapless demo`, around its lab: what it cannot show is refused, and its report is whole or not there."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gapless.cli import main
from gapless.lab.machines import enter, room


def refused(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of a demo that must not begin."""

    def began(*_: object, **__: object) -> None:
        pytest.fail("a lab was begun")

    monkeypatch.setattr(enter, "command", began)
    monkeypatch.setattr(sys, "argv", ["gapless", "demo", *words])
    assert main.main() == 1
    return capsys.readouterr().err


def test_a_demo_in_which_nobody_takes_over_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(["--mode", "off"], monkeypatch, capsys) == (
        "gapless demo: with --mode off nobody takes a dead host's routers over: --mode standby or reschedule\n"
    )


def test_a_demo_that_this_machine_has_no_room_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "needed", lambda settings, rounds: sys.maxsize)
    said = refused(["--routers", "300"], monkeypatch, capsys)
    assert said.startswith("gapless demo: 300 routers would need a neighbour table of ")
    assert "sysctl -w" in said


def status_of(lab: str, report: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit status of a demo whose lab is this program, which has the report as `page`."""

    def command(argv: Sequence[str], **_: object) -> list[str]:
        page = json.loads(argv[-1])["page"]["file"]
        return [sys.executable, "-c", f"import os, signal; page = {page}; {lab}"]

    monkeypatch.setattr(enter, "command", command)
    monkeypatch.setattr(sys, "argv", ["gapless", "demo", "--report", str(report)])
    with pytest.raises(SystemExit) as end:
        main.main()
    return end.value.code


@pytest.mark.parametrize(
    ("lab", "status"),
    [
        (f"os._exit({enter.FORBIDDEN})", enter.FORBIDDEN),
        ("os.kill(os.getpid(), signal.SIGKILL)", 128 + 9),
        ("os.kill(os.getppid(), signal.SIGTERM); signal.pause()", 128 + 15),
        ("os.kill(os.getppid(), signal.SIGINT); os._exit(130)", 130),
    ],
)
def test_a_lab_that_writes_no_report_leaves_no_file(
    lab: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status_of(lab, tmp_path / "story.html", monkeypatch) == status
    assert list(tmp_path.iterdir()) == []


def test_what_the_lab_writes_stays_with_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "story.html"
    assert status_of("os.write(page, b'story'); os._exit(1)", report, monkeypatch) == 1
    assert report.read_text() == "story"


def test_a_report_that_was_there_stays_where_none_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "story.html"
    report.write_text("of last time")
    assert status_of("os._exit(1)", report, monkeypatch) == 1
    assert report.read_text() == "of last time"


def test_a_lab_that_cannot_be_started_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enter, "command", lambda *_, **__: ["/no/such/program"])
    monkeypatch.setattr(sys, "argv", ["gapless", "demo", "--report", str(tmp_path / "story.html")])
    with pytest.raises(FileNotFoundError):
        main.main()
    assert list(tmp_path.iterdir()) == []
