"""Rounds in one lab: what ends one, what ends all, and what they say together."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import pytest

from gapless.errors import InvalidRequest, Unavailable
from gapless.lab import rounds
from gapless.lab.experiment import Outcome
from gapless.lab.faults.machines import HostPower
from gapless.lab.findings import rounds_table
from gapless.lab.findings.expect import Bounds
from gapless.lab.findings.result import Result
from gapless.lab.lab import Lab
from gapless.lab.rounds import Over, Round, Rounds, carry_out, turns_of
from gapless.lab.settings import LabSettings
from gapless.observe.console import console
from lab_results import measured


class Cleared(HostPower):
    """Writes down that it was asked to take away what it made."""

    def __init__(self, cleared: list[str]) -> None:
        super().__init__()
        self._cleared = cleared

    async def clear(self, lab: Lab) -> None:
        self._cleared.append("cleared")


class Stage:
    """A lab that gets well a number of times, and finds what it is told to."""

    well: ClassVar[int] = 99

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: Result | BaseException, well: int = 99) -> None:
        self.lab = Lab(LabSettings(hosts=1, routers=0))
        self.well = well
        self.told: list[Round] = []
        self.cleared: list[str] = []
        self.found = Rounds()
        left = list(found)

        async def experiment(*_: object) -> Outcome:
            one = left.pop(0)
            if isinstance(one, BaseException):
                raise one
            return Outcome(result=one, recording=None, struck_ns=0, moves=())  # type: ignore[arg-type]

        async def choose(*_: object) -> Cleared:
            return Cleared(self.cleared)

        async def recover(_: Lab) -> None:
            self.well -= 1
            if self.well < 0:
                raise ExceptionGroup("hosts", [Unavailable("host-2 does not start")])

        async def spread(_: Lab) -> int:
            return 7

        async def one_host_each(timeout_s: float = 0) -> None: ...

        monkeypatch.setattr(rounds, "experiment", experiment)
        monkeypatch.setattr(rounds.faults, "choose", choose)
        monkeypatch.setattr(rounds.recovery, "recover", recover)
        monkeypatch.setattr(rounds.recovery, "spread", spread)
        monkeypatch.setattr(self.lab, "one_host_each", one_host_each)

    async def carry_out(self, names: Sequence[str], count: int) -> Rounds:
        await carry_out(self.lab, turns_of(names, count), self.found, bounds=Bounds(), tell=self.told.append)
        return self.found.summed()


def test_each_fault_has_its_turn_in_each_round() -> None:
    assert list(turns_of(["x", "y"], 2)) == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


async def test_a_lab_is_made_well_and_even_between_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, measured(200, 210), measured(180, 190))
    found = await stage.carry_out(["host-power"], 2)
    assert found.ok
    assert [(one.number, one.spread) for one in found.rounds] == [(1, 0), (2, 7)]
    assert stage.told == found.rounds
    assert stage.well == 98
    assert stage.cleared == ["cleared"]


async def test_what_goes_wrong_in_one_round_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ExceptionGroup("tasks", [InvalidRequest("needs more hosts")])
    stage = Stage(monkeypatch, Unavailable("nobody answers"), broken, measured(200, 600, ok=False), measured(180, 190))
    found = await stage.carry_out(["host-power"], 4)
    assert [one.problem for one in found.rounds] == ["nobody answers", "needs more hosts", "", ""]
    assert [one.ok for one in found.rounds] == [False, False, False, True]
    assert (found.broken, found.ok) == ("", False)
    (summary,) = found.summary.values()
    assert (summary.rounds, summary.ok, summary.unknown) == (4, 1, 2)
    assert summary.median_ms == Over(least=180, median=180, max=200)
    assert summary.worst_ms == Over(least=190, median=190, max=600)


async def test_what_is_to_be_done_before_a_round_is_done_when_the_lab_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, measured(200, 210), measured(180, 190))
    done: list[tuple[int, int]] = []

    async def before(number: int) -> None:
        done.append((number, stage.well))
        if number == 2:
            raise Unavailable("there is no room")

    turns = turns_of(["host-power"], 3)
    await carry_out(stage.lab, turns, stage.found, bounds=Bounds(), tell=stage.told.append, before=before)
    assert done == [(1, 99), (2, 98), (3, 97)]
    assert [one.problem for one in stage.found.rounds] == ["", "there is no room", ""]


async def test_a_lab_that_does_not_get_well_ends_them_and_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, measured(200, 210), measured(180, 190), well=1)
    found = await stage.carry_out(["host-power"], 9)
    assert len(found.rounds) == 2
    assert found.broken == "the lab did not get well for round 3 (host-power): host-2 does not start"
    assert not found.ok


async def test_a_round_that_is_broken_off_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, measured(200, 210), asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await stage.carry_out(["host-power"], 3)
    assert [one.number for one in stage.found.rounds] == [1]


async def test_a_bug_is_not_taken_for_a_bad_round(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await stage.carry_out(["host-power"], 2)


def test_frames_of_which_nobody_knows_are_not_none() -> None:
    each = [Round(number=n, fault="x", result=measured(1, 1, frames=frames)) for n, frames in enumerate([2, None, 3])]
    summary = Rounds(rounds=each).summed().summary["x"]
    assert (summary.double_active_frames, summary.unknown) == (5, 1)


def test_rounds_are_told_a_line_each_and_all_together() -> None:
    found = Rounds(
        rounds=[
            Round(number=1, fault="host-power", result=measured(200, 210)),
            Round(number=2, fault="host-power", problem="nobody answers", spread=3),
        ],
        broken="the lab did not get well for round 3",
    ).summed()
    out = console(width=200)
    with out.capture() as captured:
        for part in rounds_table.tables(found):
            out.print(part)
        for one in found.rounds:
            out.print(rounds_table.in_short(one))
    said = captured.get()
    for words in (
        "gap median 200.0 ms (200.0 to 200.0), worst router 210.0 ms (210.0 to 210.0)",
        "double active frames 0 (and unknown in 1 rounds); 1 of 2 ok",
        "problem: the lab did not get well for round 3",
        "nothing was measured: nobody answers",
        "2 of 6 routers moved, gap 200 ms (worst router 210), 30 probes lost, double active frames 0: ok",
    ):
        assert words in said
