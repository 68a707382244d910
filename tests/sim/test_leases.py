"""Hosts and their leases on virtual time. `make sim` runs many more."""

import pytest

from gapless.core.edge import openings
from gapless.core.edge.claim import Claim
from gapless.sim.__main__ import main
from gapless.sim.lease.run import run, shrink

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
    assert sum(outcome.takeovers for outcome in outcomes) > 20
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
    assert run(7, is_telling=True).story == run(7, is_telling=True).story


def test_a_violation_is_told_with_the_faults_it_needs_and_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bury = Claim.bury

    def bury_at_once(self: Claim, *arguments: object) -> bool:
        bury(self, *arguments)  # type: ignore[arg-type]
        return True

    monkeypatch.setattr(Claim, "bury", bury_at_once)
    assert main(["lease", "--seeds", "40"]) == 1
    told = capsys.readouterr().out
    *_, what, again = told.strip().splitlines()
    assert "oracle 1" in what
    seed = int(what.removeprefix("seed ").partition(":")[0])
    assert again == f"again: python -m gapless.sim lease --seed {seed} --story"
    failed = run(seed)
    short = shrink(failed)
    assert short.violation.startswith("oracle 1")
    assert len(short.faults) < len(failed.faults)


def test_the_command_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["all", "--seed", "5", "--seeds", "2", "--story"]) == 0
    told = capsys.readouterr().out
    assert "the controller starts" in told
    assert "the sentinel starts" in told
    assert told.count("every oracle held") == 3
