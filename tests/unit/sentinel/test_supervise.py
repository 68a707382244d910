"""The agent's supervisor with real processes: kill -9, SIGSTOP, crash loops, and agents that break the local link."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from fake_controller import PATIENCE_S, eventually, planned
from oom_scores import score

from gapless.core.backoff import Pace
from gapless.core.hostplan import HostPlan
from gapless.model.host import AgentState
from gapless.model.plan import Revision
from gapless.model.router import RouterId
from gapless.sentinel.desired import Desired
from gapless.sentinel.supervise import Patience, Supervisor, _Life
from gapless.wire.messages import AgentReport, TakingOver

STAND_IN = Path(__file__).with_name("stand_in_agent.py")
PACE = Pace(first_s=0.01, most_s=0.05)
PATIENT = Patience(tick_s=0.05, start_ticks=400, silent_ticks=400, farewell_s=10)
"""Nothing that a slow machine does to a healthy agent takes this long."""


@dataclass
class Bench:
    """A supervisor that runs, what it told, and the diary of its agents."""

    desired: Desired
    diary_file: Path
    supervisor: Supervisor = field(init=False)
    running: asyncio.Task[None] = field(init=False)
    states: list[tuple[AgentState, str]] = field(default_factory=list)
    reports: list[AgentReport] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def agent_is(self, state: AgentState, reason: str) -> None:
        self.states.append((state, reason))
        self.happened.set()

    def agent_said(self, report: AgentReport) -> None:
        self.reports.append(report)
        self.happened.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self.happened.clear()
                await self.happened.wait()

    async def works(self, times: int = 1) -> int:
        """Return the pid of the agent once agents came to work so many times."""
        await self.until(lambda: [state for state, _ in self.states].count(AgentState.RUNNING) >= times)
        return self.pids()[-1]

    def diary(self) -> list[str]:
        return self.diary_file.read_text().splitlines() if self.diary_file.exists() else []

    def pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.diary() if line.startswith("pid ")]

    async def diary_has(self, line: str) -> None:
        await eventually(lambda: line in self.diary())

    def endings(self) -> list[str]:
        return [reason for state, reason in self.states if state is AgentState.RESTARTING]


@contextlib.asynccontextmanager
async def supervised(
    tmp_path: Path,
    *behaviours: str,
    patience: Patience = PATIENT,
    command: Callable[[int], list[str]] | None = None,
    kind: type[Supervisor] = Supervisor,
    pace: Pace = PACE,
) -> AsyncIterator[Bench]:
    """Agents that behave as named, one after another; the last one for ever."""
    diary = tmp_path / "diary"
    left = list(behaviours)

    def stand_in(fd: int) -> list[str]:
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        return [sys.executable, str(STAND_IN), behaviour, str(fd), str(diary)]

    desired = Desired()
    bench = Bench(desired=desired, diary_file=diary)
    bench.supervisor = kind(command or stand_in, desired, bench, pace=pace, patience=patience)
    bench.running = asyncio.create_task(bench.supervisor.run())
    try:
        yield bench
    finally:
        bench.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await bench.running
    assert not any(is_alive(pid) for pid in bench.pids()), "an agent outlived its supervisor"


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def plan(revision: int, *names: str) -> HostPlan:
    return HostPlan.of(Revision(revision), [planned(name) for name in names])


async def test_an_agent_gets_the_plan_and_then_differences(tmp_path: Path) -> None:
    async with supervised(tmp_path, "good") as bench:
        await bench.works()
        bench.desired.follow(plan(1, "a", "b"))
        await bench.diary_has("plan 2 confirmed=True a b")
        bench.desired.follow(plan(2, "b", "c"))
        await bench.diary_has("change 3 +['c'] -['a']")
        bench.desired.doubt()
        await bench.diary_has("plan 4 confirmed=False b c")
        await bench.until(lambda: bench.reports[-1].revision == 4)
    assert bench.diary()[1] == "plan 1 confirmed=False"
    assert bench.diary()[-1] == "end", "it was asked to end, and ended by itself"


async def test_an_agent_goes_first_when_memory_runs_out(tmp_path: Path, own_score: int) -> None:
    async with supervised(tmp_path, "good") as bench:
        assert score(await bench.works()) == own_score + 1


async def test_an_agent_hears_that_its_host_takes_over_and_the_next_one_as_well(tmp_path: Path) -> None:
    async with supervised(tmp_path, "good") as bench:
        pid = await bench.works()
        bench.supervisor.hold(TakingOver(is_on=True))
        await bench.diary_has("taking over True")
        bench.supervisor.hold(TakingOver(is_on=True, unbuilt=(RouterId("a"),)))
        await bench.diary_has("taking over True a")
        os.kill(pid, signal.SIGKILL)
        await bench.works(2)
        await eventually(lambda: bench.diary().count("taking over True a") == 2)
        bench.supervisor.hold(TakingOver(is_on=False))
        await bench.diary_has("taking over False")


async def test_a_killed_agent_is_started_again_and_told_everything(tmp_path: Path, log_lines: list[str]) -> None:
    """At once: what a dead agent had said is read as soon as it is dead, and there is nothing more to wait for."""
    async with supervised(tmp_path, "good", patience=replace(PATIENT, last_words_s=3600)) as bench:
        bench.desired.follow(plan(1, "a"))
        first = await bench.works()
        os.kill(first, signal.SIGKILL)
        second = await bench.works(times=2)
        assert first != second
    assert bench.endings() == ["killed by SIGKILL"]
    assert bench.diary().count("plan 2 confirmed=True a") == 2
    assert any(
        "agent ended (killed by SIGKILL) after" in line and "routers go on forwarding" in line for line in log_lines
    )
    assert any("agent works again" in line for line in log_lines)


NEVER = Pace(first_s=3600, most_s=3600)


async def test_an_agent_is_renewed_in_order_and_at_once(tmp_path: Path, log_lines: list[str]) -> None:
    async with supervised(tmp_path, "good", pace=NEVER) as bench:
        bench.desired.follow(plan(1, "a"))
        first = await bench.works()
        bench.supervisor.renew()
        second = await bench.works(times=2)
        assert (first != second, is_alive(first)) == (True, False)
        assert bench.diary().count("plan 2 confirmed=True a") == 2
        assert bench.diary().count("end") == 1, "it was asked to end, and ended by itself"
        assert bench.endings() == ["it is started anew, as it was asked for"]
    assert not [line for line in log_lines if "agent ended" in line]


async def test_an_agent_that_is_waited_for_is_started_at_once_when_it_is_renewed(tmp_path: Path) -> None:
    async with supervised(tmp_path, "crash", "good", pace=NEVER) as bench:
        await bench.until(lambda: bench.endings() == ["exit status 3"])
        bench.supervisor.renew()
        await bench.works()
        bench.supervisor.renew()
        await bench.works(times=2)
        assert len(bench.pids()) == 3, "each time one"


async def test_an_agent_that_does_not_end_when_it_is_renewed_is_killed(tmp_path: Path) -> None:
    async with supervised(tmp_path, "stubborn", "good", patience=replace(PATIENT, farewell_s=0.1)) as bench:
        first = await bench.works()
        bench.supervisor.renew()
        await bench.works(times=2)
        assert not is_alive(first)
    assert bench.endings() == ["it did not end when asked to"]


async def test_whoever_is_told_to_end_while_it_renews_its_agent_ends_and_starts_none(tmp_path: Path) -> None:
    async with supervised(tmp_path, "stubborn") as bench:
        pid = await bench.works()
        bench.supervisor.renew()
        await bench.diary_has("end")
        bench.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bench.running
        assert (bench.pids(), is_alive(pid)) == ([pid], False)


async def test_an_agent_that_leaves_somebody_with_its_end_of_the_link_is_replaced_as_well(tmp_path: Path) -> None:
    heirs = tmp_path / "heirs"

    def leaves_an_heir(_: int) -> list[str]:
        return ["sh", "-c", 'sleep 600 & echo $! >> "$0"; exit 3', str(heirs)]

    try:
        async with supervised(tmp_path, command=leaves_an_heir, patience=replace(PATIENT, last_words_s=0.05)) as bench:
            await bench.until(lambda: len(bench.endings()) >= 2)
        assert set(bench.endings()) == {"exit status 3"}
    finally:
        for heir in heirs.read_text().split():
            os.kill(int(heir), signal.SIGKILL)


async def test_a_stopped_agent_is_noticed_killed_and_replaced(tmp_path: Path) -> None:
    async with supervised(
        tmp_path, "good", patience=Patience(tick_s=0.02, start_ticks=1000, silent_ticks=100)
    ) as bench:
        first = await bench.works()
        os.kill(first, signal.SIGSTOP)
        await bench.works(times=2)
        assert not is_alive(first)
    assert "it said nothing for 2 s" in bench.endings()[0]


async def test_an_agent_that_never_says_a_word(tmp_path: Path) -> None:
    async with supervised(tmp_path, "mute", "good", patience=Patience(tick_s=0.02, start_ticks=50)) as bench:
        await bench.until(lambda: bool(bench.endings()))
        assert bench.endings() == ["it hung: it said nothing for 1 s"]


async def test_a_sentinel_that_was_suspended_does_not_kill_a_healthy_agent(tmp_path: Path) -> None:
    """Blocking the loop is what SIGSTOP does to it: on waking up, the agent's words are there to be read."""
    patience = Patience(tick_s=0.05, silent_ticks=80, start_ticks=1000)
    async with supervised(tmp_path, "good", patience=patience) as bench:
        first = await bench.works()
        time.sleep(1.25 * patience.tick_s * patience.silent_ticks)  # noqa: ASYNC251 - the point
        bench.desired.follow(plan(1, "a"))
        await bench.diary_has("plan 2 confirmed=True a")
        # Sent after it was decided whether this agent lives; a new one would be sent the whole plan.
        bench.desired.follow(plan(2, "b"))
        await bench.diary_has("change 3 +['b'] -['a']")
        assert bench.pids() == [first]
        assert bench.endings() == []


async def test_an_agent_stuck_in_the_kernel(tmp_path: Path) -> None:
    async with supervised(tmp_path, "busy", "good") as bench:
        await bench.works()
        await bench.until(lambda: bool(bench.endings()))
    assert "one piece of kernel work has taken 1000 s" in bench.endings()[0]


class Kept:
    """A process in the kernel's hands: no signal ends it before they let it go."""

    def __init__(self, process: Process, is_let_go: asyncio.Event) -> None:
        self.pid = process.pid
        self.kill = lambda: None
        self._process = process
        self._is_let_go = is_let_go

    async def wait(self) -> int:
        await self._is_let_go.wait()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()


async def test_an_agent_that_cannot_even_be_killed_is_told_at_once_and_replaced_when_it_ended(tmp_path: Path) -> None:
    is_let_go = asyncio.Event()

    class Keeping(Supervisor):
        async def _start(self) -> _Life:
            life = await super()._start()
            if self._lives == 1:
                life.process = cast("Process", Kept(life.process, is_let_go))
            return life

    async with supervised(tmp_path, "busy", "good", kind=Keeping) as bench:
        await bench.until(lambda: bool(bench.endings()))
        assert "one piece of kernel work has taken 1000 s" in bench.endings()[0]
        (first,) = bench.pids()
        assert is_alive(first), "and there are never two agents"
        is_let_go.set()
        await bench.until(lambda: bench.states[-1][0] is AgentState.RUNNING)
        assert bench.pids()[0] == first
        assert len(bench.pids()) == 2
    assert len(bench.endings()) == 1, "told once"


async def test_a_crash_loop_backs_off_and_ends_when_the_agent_is_mended(tmp_path: Path, log_lines: list[str]) -> None:
    async with supervised(tmp_path, *["crash"] * 4, "good") as bench:
        await bench.works()
        assert bench.endings() == ["exit status 3"] * 4
    waits = [line.split("starting it again in ")[1].split(";")[0] for line in log_lines if "starting it again" in line]
    assert waits == ["10 ms", "20 ms", "40 ms", "50 ms"]


async def test_an_agent_that_cannot_do_its_work_says_why(tmp_path: Path) -> None:
    async with supervised(tmp_path, "unable", "good") as bench:
        await bench.works()
    assert bench.endings() == ["no nftables here"]


@pytest.mark.parametrize(("behaviour", "complaint"), [("garble", "announces a frame"), ("hang-up", "closed its end")])
async def test_an_agent_that_breaks_the_link_is_replaced(tmp_path: Path, behaviour: str, complaint: str) -> None:
    patience = Patience(tick_s=0.05, start_ticks=400, silent_ticks=400, farewell_s=0.1)
    async with supervised(tmp_path, behaviour, "good", patience=patience) as bench:
        await bench.works()
        assert not is_alive(bench.pids()[0])
    assert complaint in bench.endings()[0]


async def test_an_agent_that_cannot_be_started_is_tried_again(tmp_path: Path, log_lines: list[str]) -> None:
    async with supervised(tmp_path, "good", command=lambda fd: ["/nonexistent/python"]) as bench:
        await bench.until(lambda: len(bench.endings()) >= 3)
    assert bench.endings()[0] == "it cannot be started: No such file or directory"


async def test_an_agent_that_does_not_end_when_asked_to_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervised(tmp_path, "stubborn") as bench:
        pid = await bench.works()
        bench.running.cancel()
        await bench.diary_has("end")
        # It has heard that it is asked to; from now on its time for that is over.
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: time.monotonic() + PATIENT.farewell_s)
        with contextlib.suppress(asyncio.CancelledError):
            await bench.running
        assert not is_alive(pid)


async def test_an_agent_that_does_not_read_delays_nobody(tmp_path: Path) -> None:
    """Plans pile up behind a stopped agent as one level; when it goes on, it gets the newest."""
    async with supervised(tmp_path, "good") as bench:
        pid = await bench.works()
        os.kill(pid, signal.SIGSTOP)
        try:
            for number in range(1, 400):
                bench.desired.follow(plan(number, *(f"{'x' * 900}{router}" for router in range(number % 3, 3))))
                await asyncio.sleep(0)
            bench.desired.follow(plan(400, "last"))
        finally:
            os.kill(pid, signal.SIGCONT)
        await bench.until(lambda: bool(bench.reports) and bench.reports[-1].revision == 401)
        assert bench.pids() == [pid]
    assert len(bench.diary()) < 400


async def test_an_agent_dies_with_a_killed_sentinel(tmp_path: Path) -> None:
    """The stand-in sees the end of its link; the real agent asks the kernel for a signal besides."""
    sentinel = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("stand_in_sentinel.py")), str(STAND_IN), str(tmp_path / "diary")
    )
    diary = tmp_path / "diary"
    await eventually(lambda: diary.exists() and "plan" in diary.read_text())
    sentinel.kill()
    await sentinel.wait()
    await eventually(lambda: "end" in diary.read_text())
    pid = int(diary.read_text().split()[1])
    await eventually(lambda: not is_alive(pid))
