"""`gapless demo`, before its lab: what it cannot show is refused."""

import sys

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
