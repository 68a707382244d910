"""The flows process's keeper with real processes: its duties as a level, deaths, hangs, and what cannot work."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fake_controller import eventually
from oom_scores import score

from gapless.core.backoff import Pace
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.sentinel.flows import FlowKeeper
from gapless.wire.flowlink import FlowsBegin, FlowsDuties

STAND_IN = Path(__file__).with_name("stand_in_flows.py")
BEGIN = FlowsBegin(key="00", cluster="", name=HostName("net1"), address="127.0.0.1", port=1, most=1)
PACE = Pace(first_s=0.01, most_s=0.05)


@dataclass
class Bench:
    """A keeper that runs, and the diary of its processes."""

    diary_file: Path
    duties: FlowsDuties = field(default_factory=FlowsDuties)

    copied: list[Mapping[RouterId, bool]] = field(default_factory=list)
    """What was told of copies."""
    error: Exception | None = None
    """Why duties cannot be worked out."""

    def worked_out(self) -> FlowsDuties:
        if self.error is not None:
            raise self.error
        return self.duties

    def lines(self) -> list[str]:
        return self.diary_file.read_text().splitlines() if self.diary_file.exists() else []

    def pids(self) -> list[int]:
        return [int(line.split()[0]) for line in self.lines() if " begins " in line]

    async def said(self, line: str) -> None:
        await eventually(lambda: line in self.lines())


@asynccontextmanager
async def keeping(
    tmp_path: Path, behaviour: str = "good", silent_s: float = 60.0
) -> AsyncIterator[tuple[FlowKeeper, Bench]]:
    bench = Bench(tmp_path / "diary")
    keeper = FlowKeeper(
        lambda fd: [sys.executable, str(STAND_IN), behaviour, str(fd), str(bench.diary_file)],
        BEGIN,
        bench.worked_out,
        copied=bench.copied.append,
        pace=PACE,
        silent_s=silent_s,
    )
    running = asyncio.create_task(keeper.run("lab"))
    try:
        yield keeper, bench
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def told(*routers: str) -> FlowsDuties:
    return FlowsDuties(told=tuple(map(RouterId, routers)))


async def test_it_begins_with_the_key_and_has_its_newest_duties(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (keeper, bench):
        await bench.said("duties  | ")
        assert bench.lines()[0].endswith("begins net1 lab 00")
        bench.duties = told("a")
        keeper.look()
        await bench.said("duties a | ")
        await eventually(lambda: keeper.figures.heard == 7)


async def test_it_goes_first_when_memory_runs_out(tmp_path: Path, own_score: int) -> None:
    async with keeping(tmp_path) as (_, bench):
        await bench.said("duties  | ")
        assert score(bench.pids()[0]) == own_score + 1


async def test_duties_that_did_not_change_are_not_said_again(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (keeper, bench):
        await bench.said("duties  | ")
        keeper.look()
        bench.duties = told("a")
        keeper.look()
        await bench.said("duties a | ")
        assert bench.lines()[1:] == ["duties  | ", "duties a | "]


async def test_one_that_is_killed_is_started_again_with_its_duties(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (keeper, bench):
        bench.duties = told("a")
        await eventually(
            lambda: keeper.figures.heard == 7 and len(bench.pids()) == 1 and bench.lines()[-1].startswith("duties")
        )
        os.kill(bench.pids()[0], signal.SIGKILL)
        await eventually(lambda: len(bench.pids()) == 2 and bench.lines()[-1] == "duties a | ")
        await eventually(lambda: keeper.figures.heard == 14)
        assert keeper.figures.streams == 1, "counts are added, levels are the last one's"


async def test_what_is_copied_is_known_until_it_ends_and_from_the_next_one_again(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (keeper, bench):
        x, y = RouterId("x"), RouterId("y")
        bench.duties = FlowsDuties(followed={x: (HostName("net2"),), y: (HostName("net3"),)})
        keeper.look()
        await eventually(lambda: bench.copied == [{x: True, y: False}])
        bench.duties = FlowsDuties(followed={y: (HostName("net2"),)})
        os.kill(bench.pids()[0], signal.SIGKILL)
        await eventually(lambda: bench.copied[-1] == {y: True})
        assert {x: False, y: False} in bench.copied, "nobody copies anything meanwhile"


async def test_one_that_says_nothing_is_ended_and_another_started(tmp_path: Path) -> None:
    async with keeping(tmp_path, "mute", silent_s=0.2) as (_, bench):
        await eventually(lambda: len(bench.pids()) >= 2)


async def test_one_that_cannot_work_is_tried_again(tmp_path: Path) -> None:
    async with keeping(tmp_path, "unable") as (_, bench):
        await eventually(lambda: len(bench.pids()) >= 2)


async def test_one_that_dies_of_its_duties_is_tried_again(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (_, bench):
        bench.duties = told("die")
        await eventually(lambda: len(bench.pids()) >= 3)


async def test_one_whose_duties_cannot_be_worked_out_is_ended_and_that_is_said(
    tmp_path: Path, log_lines: list[str]
) -> None:
    async with keeping(tmp_path) as (keeper, bench):
        await bench.said("duties  | ")
        bench.error = RuntimeError("no duties")
        keeper.look()
        await eventually(lambda: any("the flows process ended" in line and "no duties" in line for line in log_lines))
        await eventually(lambda: not is_there(bench.pids()[0]))
        bench.error, bench.duties = None, told("a")
        await bench.said("duties a | ")


async def test_a_sentinel_without_descriptors_goes_on_and_starts_it_when_there_are_some(
    tmp_path: Path, log_lines: list[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        async with keeping(tmp_path) as (_, bench):
            await eventually(lambda: any("cannot be started: Too many open files" in line for line in log_lines))
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            await bench.said("duties  | ")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_it_ends_with_its_keeper(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (_, bench):
        await bench.said("duties  | ")
    assert not is_there(bench.pids()[0])
