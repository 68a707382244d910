"""Goals: what misses one is bold, and fails a benchmark that is to be strict."""

import sys
from pathlib import Path
from typing import Any

import pytest

import broadcasts
import fleet
import repair
from fleet_table import table
from fleet_trial import RECORDED_WITHIN_MS, Death, Run
from gapless.model.router import FailoverMode


def death(stored_ms: float) -> Death:
    return Death(
        hosts=1,
        routers=100,
        told_ms=9.0,
        stored_ms=stored_ms,
        planned_ms=54.0,
        confirmed_ms=111.0,
        protected_ms=10_664.0,
        recorded_s=0.2,
        renewed_s=0.3,
        decide_most_ms=50.0,
    )


def fleet_of(host_ms: float, mode: FailoverMode = FailoverMode.STANDBY) -> Run:
    return Run(hosts=30, routers=3000, mode=mode, host=death(host_ms), zone=death(5000.0))


def test_of_a_fleet_the_takeovers_of_one_host_have_a_goal() -> None:
    assert not fleet_of(RECORDED_WITHIN_MS).misses
    late = fleet_of(RECORDED_WITHIN_MS + 1)
    assert late.misses
    assert not fleet_of(2000.0, FailoverMode.RESCHEDULE).misses
    said = table([late], 20)
    assert "| 9 | **1,001** | 54 |" in said
    assert "| 9 | 5,000 | 54 |" in said, "a zone's death has none"


@pytest.mark.parametrize(("words", "status"), [([], 0), (["--strict"], 1)])
def test_a_fleet_that_misses_it_fails_who_is_strict(
    words: list[str], status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def measured(*_: object) -> Run:
        return fleet_of(2000.0)

    argv = ["fleet.py", "--fleets", "30x3000", "--modes", "standby", "--out", str(tmp_path), *words]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(fleet, "_measured", measured)
    monkeypatch.setattr(fleet, "configure", lambda *_, **__: None)
    assert fleet.main() == status


def host_of(alone: list[float], at_once: list[float], shared: list[float]) -> dict[str, Any]:
    return {
        "routers": 10,
        "mode": "standby",
        "struck": 10,
        "steady": {"core_percent": 0.2},
        "rss_mb": 40,
        "alone": {"link-down": alone},
        "at_once": {"link-down": at_once},
        "shared": {"uplink-down": shared},
    }


@pytest.mark.parametrize(
    ("alone", "at_once", "shared", "words", "status"),
    [
        ([20.0, 250.0, 20.0], [50.0], [50.0], ["--strict"], 0),
        ([20.0, 251.0, 20.0], [50.0], [50.0], ["--strict"], 1),
        ([20.0], [51.0], [50.0], ["--strict"], 1),
        ([20.0], [50.0], [51.0], ["--strict"], 1),
        ([20.0, 251.0, 20.0], [51.0], [51.0], [], 0),
    ],
)
def test_repairs_that_miss_theirs_fail_who_is_strict(
    alone: list[float],
    at_once: list[float],
    shared: list[float],
    words: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sys, "argv", ["repair.py", "--routers", "10", "--out", str(tmp_path), *words])
    monkeypatch.setattr(repair, "measured", lambda _: host_of(alone, at_once, shared))
    assert repair.main() == status


@pytest.mark.parametrize(
    ("share", "words", "status"), [(10.0, ["--strict"], 0), (10.1, ["--strict"], 1), (10.1, [], 0)]
)
def test_broadcasts_that_take_too_much_fail_who_is_strict(
    share: float,
    words: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frames = {kind: {"plain": [16.0], "steered": [17.0]} for kind in broadcasts.KINDS}
    lasting = {"plain": [(700.0, 99.0)], "steered": [(999.0, 2.0), (999.0, share), (999.0, share)]}
    monkeypatch.setattr(sys, "argv", ["broadcasts.py", "--routers", "1000", *words])
    monkeypatch.setenv(broadcasts.INSIDE, "1")
    monkeypatch.setattr(broadcasts, "measured", lambda _: {"1000": {**frames, "lasting": lasting}})
    assert broadcasts.main() == status
    said = capsys.readouterr().out
    assert "| 1,000 | request to a router here | 16 | 17 | 0.941176 |" in said
    assert ("| **999, 10.1 (2.0 to 10.1) %** |" in said) is (share > broadcasts.GOAL_PERCENT)
