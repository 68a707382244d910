"""Rescheduling: the lab that is asked for, the goal of building, and what is told."""

import sys
from pathlib import Path
from typing import Any

import pytest

import reschedule
from gapless.cli import lab, main
from gapless.lab.runner import RunRequest
from gapless.lab.settings import LabSettings
from gapless.model.router import FailoverMode


def run_of(routers: int, build_ms: float | None, dead_after_s: float = 4.0) -> dict[str, Any]:
    step = {"median": 1.0}
    return {
        "ok": True,
        "routers": routers,
        "moved": routers,
        "gap_ms": {"median": 1000.0, "max": 1100.0, "bystanders": {"max": None}},
        "timeline": {"detection": step, "bind": step, "send": step, "build": step, "build_ms_per_router": build_ms},
        "versions": {"gapless": "0", "python": "3", "kernel": "6", "cores": 2, "processor": "one"},
        "liveness": {"dead_after_s": dead_after_s},
    }


def settings_of(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """What `gapless` makes of a command line: the lab that it would build."""
    asked: list[RunRequest] = []

    def begun(_: object, request: RunRequest) -> tuple[int, None]:
        asked.append(request)
        return 1, None

    monkeypatch.setattr(lab, "_run_once", begun)
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit):
        main.main()
    return asked[0].settings


@pytest.mark.parametrize(
    ("classic", "patience_s"), [(False, (0.5, 2.0, 4.0)), (True, (30.0, 75.0, 150.0))], ids=["quick", "classic"]
)
def test_the_lab_is_as_patient_as_it_was_asked_for(
    classic: bool, patience_s: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 s, 75 s and so 150 s are Neutron's."""
    python, *rest = reschedule.lab_run(20, classic=classic)
    assert (python, rest[:2]) == (sys.executable, ["-m", "gapless"])
    found = settings_of(["gapless", *rest[2:], str(tmp_path / "found.json")], monkeypatch)
    liveness = found.liveness
    assert (liveness.report_interval_s, liveness.agent_down_time_s, liveness.dead_after_s) == patience_s
    assert (found.mode, found.hosts, found.routers) == (FailoverMode.RESCHEDULE, reschedule.HOSTS, 20)


@pytest.mark.parametrize(
    ("routers", "build_ms", "missed"),
    [(100, 30.0, False), (100, 30.1, True), (100, None, True), (1, 60.0, False)],
)
def test_building_many_has_a_goal(routers: int, build_ms: float | None, missed: bool) -> None:
    run = run_of(routers, build_ms)
    assert reschedule.misses(run) == missed
    said = reschedule.table({routers: [run]}, [])
    assert "30 at most" in said
    (row,) = (line for line in said.splitlines() if line.startswith(f"| {routers} |"))
    assert ("**" in row) == missed


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The labs that are asked for; each takes 31 ms a router to build."""
    commands: list[list[str]] = []

    def found(argv: list[str]) -> dict[str, Any]:
        commands.append(argv)
        return run_of(int(argv[argv.index("--routers") + 1]), 31.0)

    monkeypatch.setattr(reschedule, "measured", found)
    monkeypatch.setattr(reschedule, "measured_apart", lambda *_: [{"build_gapless_ms": 9.0, "build_floor_ms": 4.0}])
    return commands


def begin(monkeypatch: pytest.MonkeyPatch, out: Path, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["reschedule.py", "--out", str(out), *words])
    return reschedule.main()


@pytest.mark.parametrize(("words", "status"), [([], 0), (["--strict"], 1), (["--strict", "--routers", "1"], 0)])
def test_who_is_strict_fails_by_the_goal(
    words: list[str], status: int, asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begin(monkeypatch, tmp_path, "--runs", "1", *words) == status
    assert asked


def test_the_classic_patience_is_measured_once_a_size_and_kept_apart(
    asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begin(monkeypatch, tmp_path, "--classic") == 0
    assert asked == [reschedule.lab_run(size, classic=True) for size in (1, 20)]
    assert sorted(file.suffix for file in tmp_path.glob("reschedule-classic-*")) == [".json", ".md"]
    (told,) = tmp_path.glob("*.md")
    assert "Building alone" not in told.read_text(), "no patience changes that"
