"""The front of labs: signals are passed on or noted, whenever they come, and lose nothing."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from gapless.cli.front import ENDING, Front
from gapless.lab.machines import enter
from gapless.lab.runner import INTERRUPTED

SIGNALS = pytest.mark.parametrize("number", ENDING)
Labs = Callable[[str], list[str]]


pytestmark = pytest.mark.usefixtures("unignored")


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ran; a lab here is a shell's words."""
    begun: list[str] = []

    def command(argv: list[str], *, outlives_us: bool) -> list[str]:
        assert not outlives_us
        begun.extend(argv)
        return ["sh", "-c", *argv]

    monkeypatch.setattr(enter, "command", command)
    return begun


def test_the_status_is_the_labs() -> None:
    with Front() as front:
        assert front.run(["exit 7"]) == 7
        assert front.run(["kill -KILL $$"]) == 128 + signal.SIGKILL


@pytest.mark.parametrize("name", ["TERM", "HUP"])
def test_a_signal_is_passed_on_to_the_lab_that_runs(name: str) -> None:
    with Front() as front:
        assert front.run(["exit 3"]) == 3, "one that is over, and is not the one that is told"
        assert front.run([f"kill -{name} $PPID; exec sleep 1000"]) == 128 + signal.SIGTERM


def test_a_ctrl_c_reaches_the_lab_from_the_terminal_and_is_waited_for(tmp_path: Path) -> None:
    """Who presses it sees a lab that runs."""
    is_over = tmp_path / "over"

    def press() -> None:
        while front._lab is None:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
        is_over.touch()

    with Front() as front:
        pressing = Thread(target=press)
        pressing.start()
        assert front.run([f"trap 'exit 7' TERM; until [ -e {is_over} ]; do sleep 0.01; done; exit 3"]) == 3
        pressing.join()
        assert front.run(["exit 0"]) == INTERRUPTED


@SIGNALS
def test_after_a_signal_between_two_labs_no_other_is_begun(number: signal.Signals, begun: list[str]) -> None:
    with Front() as front:
        assert front.run(["exit 0"]) == 0
        os.kill(os.getpid(), number)
        assert front.run(["exit 1"]) == INTERRUPTED
    assert begun == ["exit 0"]


@SIGNALS
def test_a_lab_that_begins_just_then_is_ended(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(argv: list[str], **_: object) -> list[str]:
        os.kill(os.getpid(), number)
        return argv

    monkeypatch.setattr(enter, "command", command)
    with Front() as front:
        assert front.run(["sleep", "1000"]) == 128 + signal.SIGTERM


def test_what_was_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Front() as front:
            os.kill(os.getpid(), signal.SIGHUP)
            assert front.run(["kill -HUP $PPID; exit 7"]) == 7
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
