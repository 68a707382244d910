"""A sentinel in one process, with agents, a beat and a flows process that are stand-ins, and a directory on disk."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fake_controller import KEY, PATIENCE_S, FakeController, eventually, planned
from stand_in_keeper import StandInKeeper

from gapless.config import HostSettings
from gapless.core.backoff import Pace
from gapless.core.hostplan import HostPlan
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure
from gapless.model.plan import (
    Epoch,
    Guarded,
    LeaseAddress,
    PanelPlan,
    PlannedRouter,
    Role,
    RouterState,
    Successor,
)
from gapless.sentinel.commands import Commands, beat_command
from gapless.sentinel.desired import load_plan
from gapless.sentinel.driver import Knobs, Sentinel
from gapless.sentinel.durable import KeptFile
from gapless.sentinel.identity import StateDirectory
from gapless.sentinel.link import Tempo
from gapless.sentinel.supervise import Patience
from gapless.wire.messages import Report

STAND_IN = Path(__file__).with_name("stand_in_agent.py")
QUICK = Pace(first_s=0.01, most_s=0.1)
KNOBS = Knobs(
    tempo=Tempo(retry=QUICK, refused=QUICK, handshake_s=PATIENCE_S),
    patience=Patience(tick_s=0.05, start_ticks=400, silent_ticks=400),
)


@dataclass
class Host:
    """A sentinel that runs, and its agents' diary."""

    state_dir: Path
    running: asyncio.Task[None]
    keeper: StandInKeeper
    sentinel: Sentinel

    def plan_kept(self) -> HostPlan:
        return load_plan(KeptFile(self.state_dir / "plan.json"))

    def diary(self) -> list[str]:
        file = self.state_dir / "diary"
        return file.read_text().splitlines() if file.exists() else []

    def agent_pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.diary() if line.startswith("pid ")]

    async def diary_has(self, ending: str, *, after: int = 0) -> None:
        await eventually(lambda: any(line.endswith(ending) for line in self.diary()[after:]))

    async def plan_on_disk(self, *names: str) -> None:
        await eventually(lambda: set(self.plan_kept().routers) == set(names))


@contextlib.asynccontextmanager
async def host(
    fake: FakeController,
    state_dir: Path,
    name: str = "net1",
    beat: Callable[[int], Sequence[str]] | None = None,
    flows: Callable[[int], Sequence[str]] | None = None,
    tracked: Path = Path("nowhere"),
) -> AsyncIterator[Host]:
    settings = HostSettings(name=name, state_dir=state_dir, key_file=state_dir / "key", server=fake.address)
    keeper = StandInKeeper()
    diary = str(state_dir / "diary")
    with StateDirectory(state_dir) as state:
        identity = state.begin_incarnation()
        sentinel = Sentinel(
            settings,
            state,
            identity,
            HostFacts(
                name=HostName(name),
                instance=identity.instance,
                data_address=None if beat is None else "10.0.0.1",
                lease_address=None if beat is None else "10.0.0.1:9698",
            ),
            KEY,
            commands=Commands(
                agent=lambda fd: [sys.executable, str(STAND_IN), "good", str(fd), diary],
                beat=beat or beat_command,
                flows=flows,
            ),
            knobs=replace(KNOBS, keeper=lambda: keeper, tracked=tracked),
        )
        running = asyncio.create_task(sentinel.run())
        try:
            yield Host(state_dir=state_dir, running=running, keeper=keeper, sentinel=sentinel)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            keeper.close()


def is_active(report: Report, name: str) -> bool:
    return any(each.router_id == name and each.state is RouterState.ACTIVE for each in report.routers)


BEAT = Path(__file__).with_name("stand_in_beat.py")
FLOWS = Path(__file__).with_name("stand_in_flows.py")


def guarded(name: str, incarnation: int = 2) -> PlannedRouter:
    return replace(planned(name), guarded=Guarded(role=Role.ACTIVE, incarnation=Incarnation(incarnation)))


def with_beat(
    fake: FakeController, state_dir: Path, behaviour: str = "good", flows: Sequence[str] = ()
) -> contextlib.AbstractAsyncContextManager[Host]:
    beat = [sys.executable, str(BEAT), behaviour, "FD", str(state_dir / "beats"), str(state_dir)]

    def given(fd: int, command: Sequence[str]) -> list[str]:
        return [str(fd) if word == "FD" else word for word in command]

    copier = (lambda fd: given(fd, flows)) if flows else None
    return host(fake, state_dir, beat=lambda fd: given(fd, beat), flows=copier)


def released(name: str) -> PlannedRouter:
    """It is to leave for net2."""
    to = Successor(tenure=Tenure(HostName("net2"), Incarnation(7)), epoch=Epoch(3))
    guarded = Guarded(role=Role.STANDBY, incarnation=Incarnation(2), release=to)
    return replace(planned(name, 4), guarded=guarded)


def panel_of(*hosts: str) -> PanelPlan:
    names = tuple(map(HostName, hosts))
    return PanelPlan(
        panel=Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset(names),)),
        timing=DEFAULT,
        addresses=tuple(
            LeaseAddress(host=name, address=f"10.0.0.{number}:9698") for number, name in enumerate(names, 1)
        ),
    )


def told_to_flows(state_dir: Path) -> list[str]:
    """What its stand-in was told."""
    file = state_dir / "flows"
    return file.read_text().splitlines() if file.exists() else []


def told_to_beat(state_dir: Path) -> list[str]:
    """The parts of plans that it was told."""
    return [line for line in (state_dir / "beats").read_text().splitlines() if line.startswith("part ")]


def begun(state_dir: Path) -> list[str]:
    """The beats that were told to begin."""
    file = state_dir / "beats"
    return [line for line in file.read_text().splitlines() if line.startswith("begin panel")] if file.exists() else []


def begun_at(state_dir: Path) -> list[int]:
    """The incarnations of the beats that were told to begin."""
    lines = (state_dir / "beats").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("begin ") and "panel" not in line]
