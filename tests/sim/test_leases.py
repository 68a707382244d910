"""Hosts and their leases on virtual time. `make sim` runs many more."""

import os
import subprocess
import sys
from random import Random

import pytest

from gapless.core.edge import openings
from gapless.sim.__main__ import main
from gapless.sim.lease.run import run
from gapless.sim.lease.world import fleet

SEEDS = 120


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 40))
def test_every_oracle_holds(first: int) -> None:
    for seed in range(first, first + 40):
        violation = run(seed).violation
        assert not violation, f"again: python -m gapless.sim lease --seed {seed} --story"


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 40))
def test_every_oracle_holds_where_each_router_is_closed_by_itself(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fleets are small: what is released together would be closed in one part."""
    monkeypatch.setattr(openings, "RELEASED_AT_ONCE", 1)
    for seed in range(first, first + 40):
        assert not (violation := run(seed).violation), f"with RELEASED_AT_ONCE 1, seed {seed}: {violation}"


def test_fleets_are_worth_running() -> None:
    """Faults that never lead to a takeover would prove nothing."""
    outcomes = [run(seed, is_telling=True) for seed in range(1, 31)]
    assert sum(outcome.count for outcome in outcomes) > 20
    of_five = [each for each in outcomes if len(fleet(Random(each.seed), each.seed).arbiters) == 5]
    assert any(each.count for each in of_five), "a fleet of five arbiters took over"
    stories = "\n".join("\n".join(outcome.story) for outcome in outcomes)
    for sign in (
        "lease lapsed",
        "is buried",
        "is_buried=False",
        "Deactivate",
        "ArbitersBack",
        "it resigns",
        "does not take its lease",
        "the answer is lost",
    ):
        assert sign in stories, sign


def test_a_seed_tells_the_same_story_each_time() -> None:
    """In another process, too, where sets of names have another order."""
    stories = {
        subprocess.run(
            [sys.executable, "-m", "gapless.sim", "lease", "--seed", "20", "--story"],
            env=os.environ | {"PYTHONHASHSEED": order},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.partition(" virtual hours in ")[0]
        for order in ("1", "2")
    }
    assert len(stories) == 1
    assert "replace panel" in stories.pop()


def test_the_command_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["all", "--seed", "5", "--seeds", "2", "--story"]) == 0
    told = capsys.readouterr().out
    assert "the controller starts" in told
    assert "the sentinel starts" in told
    assert told.count("every oracle held") == 3
