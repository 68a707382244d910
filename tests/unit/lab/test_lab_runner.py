"""`gapless lab run`, inside: what was found is handed back while the lab still stands."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import msgspec
import pytest

from gapless.errors import Unavailable
from gapless.lab import runner
from gapless.lab.findings.result import Result
from gapless.lab.rounds import Round, Rounds
from gapless.lab.settings import LabSettings
from lab_results import measured


class TakenDown:
    """What comes of the lab's end: nothing."""

    async def happen(self) -> None:
        pass


class Interrupted(TakenDown):
    async def happen(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()


class Failing(TakenDown):
    async def happen(self) -> None:
        raise Unavailable("host-1 does not end")


class _Lab:
    """One that is built at once, and says what had been handed back when it was taken down."""

    result: Path
    handed_back = b""
    taken_down = TakenDown()

    def __init__(self, settings: LabSettings, listener: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        type(self).handed_back = self.result.read_bytes()
        await self.taken_down.happen()

    async def build(self) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, Rounds]]:
    """Run two rounds; the exit status, and what had been handed back when the lab was taken down."""
    _Lab.result, _Lab.handed_back = tmp_path / "result.json", b""
    monkeypatch.setattr(runner, "Lab", _Lab)

    def run() -> tuple[int, Rounds]:
        descriptor = os.open(_Lab.result, os.O_WRONLY | os.O_CREAT)
        request = runner.RunRequest(settings=LabSettings(), faults=("agent-kill",), rounds=2, result_fd=descriptor)
        status = runner.main(msgspec.to_builtins(request))
        return status, msgspec.json.decode(_Lab.handed_back, type=Rounds)

    return run


def test_rounds_are_handed_back_before_the_lab_is_taken_down(
    run: Callable[[], tuple[int, Rounds]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def carry_out(lab: Any, turns: Any, found: Rounds, **_: Any) -> None:
        found.rounds += [Round(number=number, fault=name, problem="cracked") for number, name in turns]

    monkeypatch.setattr(runner, "carry_out", carry_out)
    status, found = run()
    assert (status, len(found.rounds), found.broken) == (1, 2, "")


def test_those_of_a_run_that_is_ended_are_too_and_say_so(
    run: Callable[[], tuple[int, Rounds]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def carry_out(lab: Any, turns: Any, found: Rounds, **_: Any) -> None:
        found.rounds.append(Round(number=1, fault="agent-kill"))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr(runner, "carry_out", carry_out)
    status, found = run()
    assert (status, len(found.rounds)) == (runner.INTERRUPTED, 1)
    assert found.broken.startswith("interrupted (")
    assert "interrupted by SIGTERM (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("taken_down", "status", "words"),
    [
        (Interrupted(), runner.INTERRUPTED, "gapless lab: interrupted by SIGTERM ("),
        (Failing(), 1, "gapless lab: host-1 does not end [while: "),
    ],
)
def test_what_was_measured_is_shown_where_the_labs_end_goes_wrong(
    taken_down: TakenDown,
    status: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = measured(260, 270)

    async def experiment(*_: object) -> SimpleNamespace:
        return SimpleNamespace(result=found)

    async def choose(*_: object) -> None:
        return None

    monkeypatch.setattr(_Lab, "result", tmp_path / "result.json", raising=False)
    monkeypatch.setattr(_Lab, "taken_down", taken_down)
    monkeypatch.setattr(runner, "Lab", _Lab)
    monkeypatch.setattr(runner, "experiment", experiment)
    monkeypatch.setattr(runner.faults, "choose", choose)
    descriptor = os.open(_Lab.result, os.O_WRONLY | os.O_CREAT)
    request = runner.RunRequest(settings=LabSettings(), faults=("host-power",), result_fd=descriptor)
    assert runner.main(msgspec.to_builtins(request)) == status
    said = capsys.readouterr()
    assert said.err.startswith(words)
    assert "Double active frames: 0" in " ".join(said.out.split())
    assert msgspec.json.decode(_Lab.result.read_bytes(), type=Result) == found
