"""The `gapless` command in this process."""

import signal
import sys
from collections.abc import Iterator

import pytest
from verb_rig import Run, Said

from gapless.cli import main
from gapless.cli.front import ENDING


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("status", "--json")`."""

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gapless", *arguments])
        try:
            status = main.main()
        except SystemExit as end:
            status = int(end.code or 0)
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def unignored() -> Iterator[None]:
    """Signals that end something do so. Whoever runs these tests may ignore them: under `nohup`, or in the background
    of a shell without job control. They do what they did when the test is over.
    """
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    yield
    left = {number: signal.signal(number, handler) for number, handler in before.items()}
    assert set(left.values()) == {signal.SIG_DFL}
