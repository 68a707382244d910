"""Whole fleets on virtual time. `make sim` runs many more."""

import subprocess
import sys

import pytest

from gapless.core.brake import Brake
from gapless.sim.__main__ import main
from gapless.sim.run import run

SEEDS = 200
STANDBY_SEEDS = 100


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 50))
def test_every_oracle_holds(first: int) -> None:
    for seed in range(first, first + 50):
        violation = run(seed).violation
        assert not violation, f"again: python -m gapless.sim --seed {seed} --story"


@pytest.mark.parametrize("first", range(1, STANDBY_SEEDS + 1, 25))
def test_every_oracle_holds_with_standbys(first: int) -> None:
    for seed in range(first, first + 25):
        violation = run(seed, has_leases=True).violation
        assert not violation, f"again: python -m gapless.sim standby --seed {seed} --story"


def test_fleets_with_standbys_are_worth_running() -> None:
    stories = ["\n".join(run(seed, has_leases=True).story) for seed in range(1, 46)]
    for sign in (
        "took over router",
        "is made active anew",
        "will not succeed",
        "guards it now",
        "no standby",
        "ask h",
        "the one before is still on",
    ):
        assert any(sign in story for story in stories), sign


def test_fleets_are_worth_running() -> None:
    """Faults that never lead to a move would prove nothing."""
    stories = ["\n".join(run(seed).story) for seed in range(1, 31)]
    for sign in ("Rescheduling router", "brake engaged", "which cannot run it", "taken out of service", "was stopped"):
        assert any(sign in story for story in stories), sign


def test_a_seed_tells_the_same_story_each_time() -> None:
    """In another process, too, where sets of names have another order."""
    stories = {
        subprocess.run(
            [sys.executable, "-m", "gapless.sim", "--seed", "7", "--story"],
            env={"PYTHONHASHSEED": order},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.partition(" virtual hours in ")[0]
        for order in ("1", "2")
    }
    assert len(stories) == 1


def test_a_violation_is_told_with_its_seed_and_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Brake, "judge", lambda self, census, now: False)
    assert main(["--seeds", "300"]) == 1
    told = capsys.readouterr().out
    *_, what, again = told.strip().splitlines()
    assert "oracle 6" in what
    seed = what.removeprefix("seed ").partition(":")[0]
    assert again == f"again: python -m gapless.sim --seed {seed} --story"
    assert "brake" in told or "Rescheduling" in told, "the story comes with it"


def test_the_command_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "5", "--seeds", "2", "--story"]) == 0
    told = capsys.readouterr().out
    assert "the controller starts" in told
    assert told.strip().endswith("every oracle held")
