"""A seed that fails is told with the faults that it needs, and how to see it again with no others."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gapless.core.edge.claim import Claim
from gapless.core.planner.brake import Brake
from gapless.core.planner.rights import Rights
from gapless.sim import __main__ as command
from gapless.sim.__main__ import SIMULATIONS, main
from gapless.sim.outcome import Outcome
from gapless.sim.schedule import Scheduled
from gapless.sim.shrinking import shrink

Patch = pytest.MonkeyPatch


def no_brake(patch: Patch) -> None:
    """However many hosts look dead, they are dead."""
    patch.setattr(Brake, "judge", lambda self, census, now: False)


def given_before_acknowledged(patch: Patch) -> None:
    """A host is taken at its plan's word: what it was told to close counts as closed."""
    patch.setattr(Rights, "has_closed", lambda self, host, router, incarnation, version: True)


def minority_claims(patch: Patch) -> None:
    """One arbiter's answer is enough."""
    bury = Claim.bury

    def bury_at_once(self: Claim, *arguments: object) -> bool:
        bury(self, *arguments)  # type: ignore[arg-type]
        return True

    patch.setattr(Claim, "bury", bury_at_once)


MISTAKES = [
    ("planner", no_brake, "oracle 6", 300),
    ("standby", given_before_acknowledged, "oracle 1", 40),
    ("lease", minority_claims, "oracle 1", 40),
]


@pytest.mark.parametrize(("name", "mistake", "oracle", "seeds"), MISTAKES)
def test_a_violation_is_told_with_the_faults_it_needs_and_how_to_see_it_again(
    name: str,
    mistake: Callable[[Patch], None],
    oracle: str,
    seeds: int,
    monkeypatch: Patch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mistake(monkeypatch)
    assert main([name, "--seeds", str(seeds)]) == 1
    told = capsys.readouterr().out.rstrip().splitlines()
    *_, what, again = told
    assert f": {oracle}: " in what
    seed = int(what.removeprefix("seed ").partition(":")[0])

    whole = SIMULATIONS[name].run(seed, without=(), is_telling=False)
    begin = next(number for number, line in enumerate(told) if line.startswith("Of its "))
    schedule = told[begin + 1 : told.index("", begin)]
    assert told[begin] == f"Of its {len(whole.faults)} faults it needs {len(schedule)}:"
    left = {int(line.split()[0]) for line in schedule}
    assert 0 < len(left) < len(whole.faults)
    assert all(": " in line for line in schedule), "whom they struck"

    without = sorted({each.number for each in whole.faults} - left)
    of = "" if name == "planner" else f"{name} "
    assert again == f"again: python -m gapless.sim {of}--seed {seed} --without {','.join(map(str, without))} --story"
    assert main(again.split()[4:]) == 1
    retold = capsys.readouterr().out.rstrip().splitlines()
    assert retold[-2:] == [what, again]
    assert schedule == retold[-3 - len(schedule) : -3], "nothing more of it can be left out"
    story = told[told.index("", begin) + 2 : -3]
    assert "\n".join(story) in "\n".join(retold), "the story that was told is of that run"

    for number in left:
        assert SIMULATIONS[name].run(seed, without={*without, number}, is_telling=False).oracle != oracle


def test_faults_of_a_seed_have_the_same_numbers_whichever_are_left_out() -> None:
    for simulation in SIMULATIONS.values():
        whole = simulation.run(3, without=(), is_telling=False)
        some = simulation.run(3, without={1, 2}, is_telling=False)
        assert [(each.number, each.at, each.what) for each in some.faults] == [
            (each.number, each.at, each.what) for each in whole.faults
        ]
        assert some.without == {1, 2} == some.unused
        assert not whole.without
        assert not whole.unused


def outcome(without: frozenset[int], *, violation: str, last: int = 6) -> Outcome:
    """Of a seed with six faults, the `last` of which happens in the moment of the violation."""
    faults = [
        Scheduled(
            number=number,
            at=number,
            what="fault",
            is_left_out=number in without,
            has_happened=number not in without and number <= last,
        )
        for number in range(1, 7)
    ]
    return Outcome(seed=1, violation=violation, faults=faults, story=[], count=0, virtual_s=0.0)


def needs(*needed: int) -> Callable[[frozenset[int]], Outcome]:
    return lambda without: outcome(without, violation="" if without & set(needed) else "oracle 1: r1 is on two hosts")


def test_what_is_needed_is_left() -> None:
    for needed in ((), (1,), (6,), (2, 5), (1, 2, 3, 4, 5, 6)):
        run = needs(*needed)
        shrunk = shrink(run(frozenset()), run)
        assert shrunk.is_smallest
        assert shrunk.without == set(range(1, 7)) - set(needed)


def test_what_could_not_be_left_out_is_tried_again_once_another_is() -> None:
    def run(without: frozenset[int]) -> Outcome:
        """The last fault is needed as long as the first happens."""
        is_well = 3 in without or (6 in without and 1 not in without)
        return outcome(without, violation="" if is_well else "oracle 1: r1 is on two hosts")

    assert shrink(run(frozenset()), run).without == {1, 2, 4, 5, 6}


def test_another_oracle_is_another_violation() -> None:
    def run(without: frozenset[int]) -> Outcome:
        return outcome(without, violation=f"oracle {'13' if 2 in without else '1'}: r1 is wrong")

    assert shrink(run(frozenset()), run).without == {1, 3, 4, 5, 6}


def test_other_errors_are_told_from_each_other_by_their_words() -> None:
    said = outcome(frozenset(), violation="router r1 fell from epoch 3 to 2\nThe story so far:\n...")
    assert replace(said, violation="router r2 fell from epoch 9 to 7").oracle == said.oracle
    assert replace(said, violation="h1 counts router r1, which is not bound to it").oracle != said.oracle
    assert replace(said, violation="KeyError: 'r1'").oracle != replace(said, violation="ValueError: 'r1'").oracle


def test_what_comes_after_the_violation_is_not_tried() -> None:
    tried = []

    def run(without: frozenset[int]) -> Outcome:
        tried.append(without)
        return outcome(without, violation="" if 2 in without else "oracle 1: r1 is on two hosts", last=3)

    assert shrink(run(frozenset()), run).without == {1, 3, 4, 5, 6}
    assert tried[1] == {3, 4, 5, 6}


def test_it_is_given_up_when_it_takes_too_long() -> None:
    run = needs(2)
    shrunk = shrink(run(frozenset()), run, within_s=0.0)
    assert not shrunk.is_smallest
    assert not shrunk.without


def test_what_was_given_up_is_told_to_be_that(monkeypatch: Patch, capsys: pytest.CaptureFixture[str]) -> None:
    no_brake(monkeypatch)
    monkeypatch.setattr(command, "shrink", lambda *arguments, **_: shrink(*arguments, within_s=0.0))
    assert main(["--seeds", "40"]) == 1
    told = capsys.readouterr().out
    assert "perhaps not all of these, there was no time for more:" in told


@pytest.mark.parametrize("is_terminal", [True, False])
def test_somebody_who_waits_at_a_terminal_is_told_how_far_it_is(
    is_terminal: bool, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_brake(monkeypatch)
    monkeypatch.setattr(command, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    assert main(["--seeds", "40"]) == 1
    assert (" tries, " in capsys.readouterr().out) is is_terminal


@pytest.mark.parametrize(
    "arguments", [["--without", "3", "--seeds", "2"], ["all", "--without", "3"], ["--without", "3,x"]]
)
def test_numbers_that_say_nothing_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--without" in capsys.readouterr().err
