"""The `gapless` command in this process."""

import sys

import pytest
from verb_rig import Run, Said

from gapless.cli import main


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
