"""The keeper of beats, with beats that are processes: what they are told, what is on the disk before, how they end."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from fake_controller import KEY, PATIENCE_S, eventually
from oom_scores import score
from stand_in_keeper import StandInKeeper
from structlog.testing import capture_logs

from gapless.config import HostSettings
from gapless.core.backoff import Backoff, Pace
from gapless.core.hostplan import HostPlan
from gapless.errors import Unavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, FAST, NOBODY, LeaseTiming, Panel, PanelVersion, Tenure
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.plan import Burial, Epoch, Guarded, LeaseAddress, PanelPlan, PlannedRouter, Revision, Role
from gapless.model.router import Router, RouterId, RouterPort
from gapless.sentinel.firstpacket import Count, Counting
from gapless.sentinel.identity import StateDirectory
from gapless.sentinel.levels import Done
from gapless.sentinel.pulse import Pulse
from gapless.wire.messages import Bury

STAND_IN = Path(__file__).with_name("stand_in_beat.py")
PACE = Pace(first_s=0.01, most_s=0.05)
OF = Tenure(HostName("net9"), Incarnation(4))


def panel(version: int, address: str = "10.0.0.1:9698", timing: LeaseTiming = DEFAULT) -> PanelPlan:
    return PanelPlan(
        timing=timing,
        panel=Panel(version=PanelVersion(version), floor=PanelVersion(version), sets=(frozenset({HostName("net1")}),)),
        addresses=(LeaseAddress(host=HostName("net1"), address=address),),
    )


def plan(revision: int, *names: str, incarnation: int = 2) -> HostPlan:
    guarded = Guarded(role=Role.ACTIVE, incarnation=Incarnation(incarnation))
    return HostPlan.of(
        Revision(revision),
        [PlannedRouter(router=Router(id=RouterId(name), name=name), epoch=Epoch(1), guarded=guarded) for name in names],
    )


@dataclass
class Disk:
    """The state directory, which may be full."""

    state: StateDirectory
    is_full: bool = False
    refused: int = 0
    panels: list[int] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    """When a beat was to begin, or began anew."""

    def next_incarnation(self, after: Incarnation = NOBODY) -> Incarnation:
        self.asked_at.append(time.monotonic())
        self._write()
        return self.state.next_incarnation(after)

    def keep_panel(self, panel: PanelPlan) -> None:
        self._write()
        self.panels.append(panel.panel.version)
        self.state.keep_panel(panel)

    def _write(self) -> None:
        if self.is_full:
            self.refused += 1
            raise Unavailable("No space left on device")


@dataclass
class Bench:
    """A pulse that runs, what it told, and the diary of its beats."""

    disk: Disk
    pulse: Pulse = None  # type: ignore[assignment] # made below
    burials: list[Burial] = field(default_factory=list)
    keeper: StandInKeeper = field(default_factory=StandInKeeper)
    changes: int = 0
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def guard_changed(self) -> None:
        self.changes += 1
        self.happened.set()

    def buried(self, burial: Burial) -> None:
        self.burials.append(burial)
        self.happened.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self.happened.clear()
                await self.happened.wait()

    async def holds(self, tenure: int) -> None:
        await self.until(lambda: self.pulse.levels.tenure == tenure)

    async def obeys(self, *orders: str) -> None:
        self.pulse.built([RouterId(order) for order in orders])

    def diary(self) -> list[str]:
        file = self.disk.state.path / "diary"
        return file.read_text().splitlines() if file.exists() else []

    async def noted(self, line: str) -> None:
        await eventually(lambda: any(each.startswith(line) for each in self.diary()))


@contextlib.asynccontextmanager
async def pulse(
    tmp_path: Path,
    *behaviours: str,
    panel: PanelPlan | None = None,
    ready_within_s: float = 60.0,
    rhythm_within_s: float = 60.0,
    counting: Counting = lambda _: {},
) -> AsyncIterator[Bench]:
    """Beats that behave as named, one after another; the last one for ever."""
    left = list(behaviours or ["good"])

    def command(fd: int) -> list[str]:
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        return [sys.executable, str(STAND_IN), behaviour, str(fd), str(tmp_path / "diary"), str(tmp_path)]

    with StateDirectory(tmp_path) as state:
        state.begin_incarnation()
        bench = Bench(Disk(state))
        bench.pulse = Pulse(
            command,
            HostSettings(name="net1", state_dir=tmp_path, key_file=tmp_path),
            bench.disk,
            bench,
            name=HostName("net1"),
            address="10.0.0.1:9698",
            key=KEY,
            keeper=bench.keeper,
            panel=panel,
            pace=PACE,
            retry_s=0.01,
            ready_within_s=ready_within_s,
            rhythm_within_s=rhythm_within_s,
            counting=counting,
        )
        running = asyncio.create_task(bench.pulse.run("cloud"))
        try:
            yield bench
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            bench.keeper.close()
    pids = [int(line.split()[-1]) for line in bench.diary() if " pid " in line]
    assert not any(is_alive(pid) for pid in pids), "a beat outlived its pulse"


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_taps_that_cannot_be_shut_are_told_and_nothing_else(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        bench.keeper.refuses = "Operation not permitted"
    with capture_logs() as lines:
        await bench.pulse.shut()
    (line,) = lines
    assert "guarded taps cannot be set down" in line["event"]
    assert line["reason"] == "Operation not permitted"


def wired(router_id: str, tap: str, role: Role) -> PlannedRouter:
    network = Network(id=NetworkId("n"), type=NetworkType.VXLAN, mtu=1450, segmentation_id=1)
    port = RouterPort(id=PortId(tap.removeprefix("tap")), network=network, mac="fa:16:3e:00:00:01", addresses=())
    return PlannedRouter(
        router=Router(id=RouterId(router_id), name=router_id, ports=(port,)),
        epoch=Epoch(1),
        guarded=Guarded(role=role, incarnation=Incarnation(2), after=() if role is Role.ACTIVE else (OF,)),
    )


@contextlib.asynccontextmanager
async def open_and_standby(tmp_path: Path) -> AsyncIterator[Bench]:
    """A router that is open and one that stands by, and a tap of a router that is planned no more."""
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        routers = [wired("open", "tapopen", Role.ACTIVE), wired("standby", "tapstandby", Role.STANDBY)]
        bench.pulse.plan(HostPlan.of(Revision(1), routers), heard=0, panel=None)
        bench.keeper.up = ("tapopen", "tapstandby", "tapgone")
        await bench.obeys("open:open")
        await bench.until(lambda: "open" in bench.pulse.levels.open)
        yield bench


async def test_without_a_guard_what_is_not_open_is_shut_and_with_one_nothing_is(tmp_path: Path) -> None:
    async with open_and_standby(tmp_path) as bench:
        assert len(bench.keeper.up) == 3
        with capture_logs() as lines:
            await bench.obeys("unguarded:on")
            await eventually(lambda: bench.keeper.up == ("tapopen",))
        assert ("there is no guard, so taps that it would hold back are set down", 2) in [
            (line["event"], line.get("taps")) for line in lines
        ]
        bench.keeper.up = ("tapopen", "tapstandby")  # An agent had looked before the guard went.
        await eventually(lambda: bench.keeper.up == ("tapopen",))
        await bench.obeys("unguarded:off")
        await bench.until(lambda: not bench.pulse.levels.is_unguarded)
        assert not bench.pulse._unguarded_taps()("tapstandby")


@pytest.mark.parametrize("end", ["fence", "die"])
async def test_without_a_guard_a_lease_that_is_over_shuts_what_is_open_too(tmp_path: Path, end: str) -> None:
    async with open_and_standby(tmp_path) as bench:
        bench.pulse._backoff = Backoff(Pace(first_s=3600.0, most_s=3600.0))  # No next beat makes a guard,
        bench.disk.is_full = True  # and no next incarnation gets a lease.
        await bench.obeys("unguarded:on")
        await eventually(lambda: bench.keeper.up == ("tapopen",))
        await bench.obeys(end)
        await eventually(lambda: bench.keeper.up == ())


async def test_taps_that_cannot_be_shut_without_a_guard_are_told_and_tried_again(tmp_path: Path) -> None:
    async with open_and_standby(tmp_path) as bench:
        bench.keeper.refuses = "Cannot allocate memory"
        with capture_logs() as lines:
            await bench.obeys("unguarded:on")
            await eventually(lambda: any("standbys may pass frames" in line["event"] for line in lines))
            bench.keeper.refuses = ""
            await eventually(lambda: bench.keeper.up == ("tapopen",))
            await eventually(lambda: any("can be set down again" in line["event"] for line in lines))


async def test_a_beat_gets_the_plan_and_then_differences_in_parts(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        names = [f"r{number:03}" for number in range(60)]
        bench.pulse.plan(plan(1, *names), heard=0, panel=None)
        await bench.until(lambda: bench.pulse.levels.settled == 1)
        bench.pulse.plan(plan(2, *names[1:], "new"), heard=3, panel=None)
        await bench.until(lambda: bench.pulse.levels.settled == 2)
    parts = [line.split("+")[0] for line in bench.diary() if line.startswith(("whole", "part"))]
    assert parts == ["whole 1@2 heard 0 ", *["part 1@2 heard 0 "] * 2, *["part 2@2 heard 3 "] * 2]
    assert [line for line in bench.diary() if "new" in line] == ["part 2@2 heard 3 +new -0"]


async def test_only_the_newest_of_several_plans_is_sent(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        for revision in range(1, 50):
            version = bench.pulse.plan(plan(revision, "a", f"r{revision}"), heard=0, panel=None)
        await bench.until(lambda: bench.pulse.levels.settled == version)
    assert [line for line in bench.diary() if line.startswith("last")] == ["last 49"]


async def test_the_incarnation_is_on_the_disk_before_a_beat_hears_of_it(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        await bench.obeys("fence:")
        await bench.holds(3)
        await bench.obeys("fence:40")
        await bench.holds(41)
        await bench.obeys("die:")
        await bench.holds(42)
    told = [line for line in bench.diary() if " on disk " in line and "panel" not in line]
    assert told == [
        "begin 2 on disk 2",
        "incarnation 3 on disk 3",
        "incarnation 41 on disk 41",
        "begin 42 on disk 42",
    ]


async def test_a_beat_that_runs_is_told_of_the_machines_before_and_so_is_the_next(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        bench.pulse.outlive(Incarnation(100))
        await bench.holds(101)
        bench.pulse.outlive(Incarnation(100))  # Each session says so.
        await bench.obeys("die:")
        await bench.holds(102)
    assert [line for line in bench.diary() if line.startswith("outlived")] == ["outlived 100"]


async def test_what_is_known_before_a_beat_starts_it_begins_above(tmp_path: Path) -> None:
    async with pulse(tmp_path, "patient") as bench:
        bench.pulse.outlive(Incarnation(100))
        (tmp_path / "go").touch()
        await bench.until(lambda: bench.pulse.levels.tenure > 100)


async def test_a_beat_is_as_well_protected_as_its_sentinel_when_memory_runs_out(tmp_path: Path, own_score: int) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        (pid,) = [line.split()[-1] for line in bench.diary() if " pid " in line]
        assert score(pid) == own_score


async def test_a_full_disk_delays_a_new_incarnation_and_not_the_arbiter(tmp_path: Path, log_lines: list[str]) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        bench.disk.is_full = True
        await bench.obeys("fence:")
        await eventually(lambda: bench.disk.refused > 3)
        bench.pulse.bury(Bury(tenure=OF, seq=5, panel=PanelVersion(1)))
        await bench.until(lambda: bool(bench.burials))
        assert bench.pulse.levels.tenure == 0
        bench.disk.is_full = False
        await bench.holds(3)
    assert len([line for line in log_lines if "no new incarnation can be kept" in line]) == 1
    assert len([line for line in bench.diary() if line.startswith("begin panel")]) == 1, "it is the same beat"


async def test_a_beat_that_cannot_have_an_incarnation_is_not_started(tmp_path: Path, log_lines: list[str]) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        bench.disk.is_full = True
        await bench.obeys("die:")
        await eventually(lambda: bench.disk.refused > 3)
        bench.disk.is_full = False
        await bench.holds(3)
    (said,) = [line for line in log_lines if "no new incarnation can be kept on disk" in line]
    assert "No space left on device" in said
    assert len([line for line in log_lines if "the disk takes what it did not" in line]) == 1
    assert len([line for line in bench.diary() if line.startswith("begin panel")]) == 2


async def test_the_panel_is_on_the_disk_before_a_beat_hears_of_it(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        bench.pulse.plan(plan(1), heard=0, panel=panel(1))  # before the first beat begins
        await bench.noted("panel 1")
        bench.pulse.plan(plan(2), heard=0, panel=panel(2))
        await bench.noted("panel 2")
        await bench.holds(2)
        await bench.obeys("die:")
        await bench.holds(3)
    about = list(dict.fromkeys(line.split(" pid")[0] for line in bench.diary() if "panel" in line))
    assert about[:3] == ["begin panel None on disk None", "panel 1 on disk 1", "panel 2 on disk 2"]
    assert "begin panel 2 on disk 2" in about
    assert bench.disk.panels == [1, 2], "it is written when it is new"


async def test_the_first_beat_waits_until_promises_of_any_timing_are_over(tmp_path: Path) -> None:
    """The sentinel before was killed after it had stored the shorter timing, and before its arbiter's quiet time."""
    began_at = time.monotonic()
    async with pulse(tmp_path, panel=panel(1, timing=FAST)) as bench:
        await bench.holds(2)
    assert bench.disk.asked_at[0] - began_at + FAST.quiet_s >= DEFAULT.quiet_s


async def test_a_full_disk_delays_the_plan_that_names_the_arbiters(tmp_path: Path, log_lines: list[str]) -> None:
    async with pulse(tmp_path, panel=panel(1)) as bench:
        await bench.holds(2)
        bench.disk.is_full = True
        bench.pulse.plan(plan(1, "a"), heard=0, panel=panel(2))
        await eventually(lambda: bench.disk.refused > 3)
        assert not any(line.startswith("whole") for line in bench.diary())
        bench.disk.is_full = False
        await bench.until(lambda: bench.pulse.levels.settled == 1)
    assert len([line for line in log_lines if "arbiters cannot be kept" in line]) == 1
    assert any("the disk takes what it did not" in line for line in log_lines)


async def test_an_earlier_panel_replaces_none_but_its_addresses_count(tmp_path: Path, log_lines: list[str]) -> None:
    async with pulse(tmp_path, panel=panel(7)) as bench:
        await bench.holds(2)
        bench.pulse.plan(plan(1), heard=0, panel=panel(3, "10.0.0.9:9698"))
        await bench.until(lambda: bench.pulse.levels.settled == 1)
        kept = bench.disk.state.load_panel()
    assert kept is not None
    assert (kept.panel.version, kept.addresses[0].address) == (7, "10.0.0.9:9698")
    assert any("earlier version" in line for line in log_lines)


async def test_levels_are_what_was_said_last(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        await bench.obeys("open:a", "open:b", "pass:b", "pass:a", "take:a", "close:b")
        await bench.until(lambda: bench.pulse.levels.told_whole == 1 and "b" not in bench.pulse.levels.open)
        assert bench.pulse.levels.open == {"a": 2}
        assert bench.pulse.levels.passing == {"a"}
        assert [done.takeover.router_id for done in bench.pulse.levels.takeovers.values()] == ["a"]


async def test_the_first_packet_after_a_takeover_is_told_and_a_later_word_of_the_beat_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapless.sentinel.firstpacket.WATCH_S", 2 * PATIENCE_S)  # it takes two looks
    packets = count()

    def counting(routers: Iterable[RouterId]) -> dict[RouterId, Count]:
        return {each: Count(next(packets), time.monotonic()) for each in routers}

    async with pulse(tmp_path, counting=counting) as bench:
        await bench.holds(2)
        before = time.monotonic()
        await bench.obeys("take:a")

        def taken() -> Done:
            return bench.pulse.levels.takeovers[RouterId("a")]

        await bench.until(lambda: "a" in bench.pulse.levels.takeovers and taken().takeover.times.forwarded_ms)
        first = taken()
        assert before < first.told_at < time.monotonic(), "the beat's own moment, by the clock that all share"
        times = first.takeover.times
        assert times.forwarded_ms is not None
        assert times.told_ms < times.forwarded_ms < first.ms(time.monotonic())
        await bench.obeys("take:a")
        await bench.until(lambda: taken().told_at > first.told_at)
        assert taken().takeover.times.forwarded_ms == times.forwarded_ms


async def test_a_new_tenure_is_told_the_whole_plan_and_nothing_of_what_was_heard(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        await bench.obeys("take:a")
        await bench.until(lambda: bench.pulse.levels.told_whole == 1)
        bench.pulse.plan(plan(1, "a"), heard=1, panel=None)
        await bench.until(lambda: bench.pulse.levels.settled == 1)
        await bench.obeys("fence:")
        await bench.noted("whole 1@3")
        assert (bench.pulse.levels.takeovers, bench.pulse.levels.told_whole) == ({}, 0)
    parts = [line for line in bench.diary() if line.startswith(("whole", "part"))]
    assert parts == ["whole 1@2 heard 1 +a -0", "whole 1@3 heard 0 +a -0"]


async def test_what_a_dead_beat_had_open_counts_until_the_next_one_stands(tmp_path: Path, log_lines: list[str]) -> None:
    async with pulse(tmp_path, "good", "mute") as bench:
        await bench.holds(2)
        await bench.obeys("open:a")
        await bench.until(lambda: "a" in bench.pulse.levels.open)
        await bench.obeys("die:")
        await bench.holds(0)
        assert bench.pulse.levels.open == {"a": 2}
        assert (bench.pulse.levels.leased, bench.pulse.has_been_ready) == (2, True)
    assert any("killed by SIGKILL" in line for line in log_lines)


async def test_nothing_is_open_when_the_next_guard_stands(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        await bench.obeys("open:a", "die:")
        await bench.holds(3)
        assert bench.pulse.levels.open == {}


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("crash", "exit status 3"),
        ("unable", "no nftables here"),
        ("mute", "it was not ready within 0.5 s"),
    ],
)
async def test_a_beat_that_does_not_come_up_is_started_again_and_why_is_said(
    tmp_path: Path, log_lines: list[str], behaviour: str, said: str
) -> None:
    async with pulse(tmp_path, behaviour, ready_within_s=0.5 if behaviour == "mute" else 60.0) as bench:
        await eventually(lambda: len([line for line in log_lines if f"the beat ended ({said})" in line]) > 1)
        assert not bench.pulse.has_been_ready


async def test_a_beat_that_hangs_is_ended_and_replaced_and_that_is_said_in_one_line(
    tmp_path: Path, log_lines: list[str]
) -> None:
    async with pulse(tmp_path, rhythm_within_s=3.0) as bench:
        await bench.holds(2)
        await bench.obeys("stop:")
        await bench.holds(3)
    assert len([line for line in log_lines if "it said nothing of its rhythm for 3 s" in line]) == 1


@pytest.mark.parametrize(("order", "said"), [("garble:", "is no message"), ("unable:", "the guard is gone")])
async def test_a_beat_that_errs_is_replaced(tmp_path: Path, log_lines: list[str], order: str, said: str) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        await bench.obeys(order)
        await bench.holds(3)
    assert any(said in line for line in log_lines)


async def test_the_story_of_a_beat_that_erred_is_told_below_its_line(tmp_path: Path, log_lines: list[str]) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        await bench.obeys("err:")
        await bench.holds(3)
    told = "\n".join(log_lines)
    assert "the beat ended (time fell)" in told
    assert "1.0 <- a deadline" in told
    assert "1.1 -> Withdraw()" in told


async def test_a_beat_that_does_not_read_costs_no_memory(tmp_path: Path) -> None:
    async with pulse(tmp_path, "deaf") as bench:
        await bench.until(lambda: bench.pulse.has_been_ready)
        for seq in range(20_000):
            bench.pulse.bury(Bury(tenure=OF, seq=seq, panel=PanelVersion(1)))
            bench.pulse.built([RouterId("a")])
            assert len(bench.pulse._outbox) <= 2, "one question about one tenure, one router"
            if not seq % 100:
                await asyncio.sleep(0)


async def test_thousands_that_were_built_at_once_arrive_in_handfuls(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        bench.pulse.built([RouterId(f"{number:036}") for number in range(4000)])
        await eventually(lambda: bench.diary().count("built 50") == 80)


async def test_a_late_beat_is_said_but_not_each_time(tmp_path: Path, log_lines: list[str]) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        await bench.obeys("late:1", "late:2", "open:a")
        await bench.until(lambda: "a" in bench.pulse.levels.open)
        assert bench.pulse.figures.latest_s == 0.15
    assert len([line for line in log_lines if "the beat was 150 ms late" in line]) == 1


async def test_what_is_counted_goes_on_over_beats(tmp_path: Path) -> None:
    async with pulse(tmp_path) as bench:
        await bench.holds(2)
        bench.pulse.plan(plan(1, "a"), heard=0, panel=None)
        await bench.obeys("take:a")
        await bench.until(lambda: "a" in bench.pulse.levels.takeovers)
        await bench.obeys("fence:")
        await bench.holds(3)
        await bench.obeys("die:")
        await bench.holds(4)
        figures = bench.pulse.figures
        assert (figures.incarnation, figures.beats, figures.fenced, figures.taken_over) == (4, 2, 2, 1)


async def test_a_host_without_a_lease_settles_nothing_and_is_not_told_twice(tmp_path: Path) -> None:
    async with pulse(tmp_path, "unleased") as bench:
        await bench.until(lambda: bench.pulse.has_been_ready)
        bench.pulse.plan(plan(1, "a"), heard=0, panel=None)
        await bench.noted("last 1")
    assert [line for line in bench.diary() if line.startswith("whole")] == ["whole 1@0 heard 0 +a -0"]
