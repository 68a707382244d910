"""The whole sentinel in one process: a controller that runs, agents that are processes, a state directory on disk."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fake_controller import CLUSTER, KEY, FakeController, controller, eventually, planned
from stand_in_keeper import StandInKeeper

from gapless.config import HostSettings
from gapless.core.backoff import Pace
from gapless.core.hostplan import HostPlan
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure
from gapless.model.plan import (
    Epoch,
    Forwarding,
    Guarded,
    LeaseAddress,
    PanelPlan,
    PlannedRouter,
    Revision,
    Role,
    RouterState,
    Successor,
)
from gapless.model.router import RouterId
from gapless.sentinel.commands import Commands, beat_command
from gapless.sentinel.desired import load_plan
from gapless.sentinel.driver import Knobs, Sentinel
from gapless.sentinel.durable import KeptFile
from gapless.sentinel.identity import StateDirectory
from gapless.sentinel.link import Tempo
from gapless.sentinel.supervise import Patience
from gapless.wire import messages
from gapless.wire.messages import AgentPlan, Report, encode_plan

STAND_IN = Path(__file__).with_name("stand_in_agent.py")
QUICK = Pace(first_s=0.01, most_s=0.1)
KNOBS = Knobs(
    tempo=Tempo(retry=QUICK, refused=QUICK, handshake_s=2.0),
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


async def test_from_plan_to_report(tmp_path: Path) -> None:
    async with controller(FakeController(snapshot=(planned("a"),))) as fake, host(fake, tmp_path) as it:
        session = await fake.session()
        full = await session.heard(lambda report: report.full and report.revision == 1)
        assert is_active(full, "a")
        assert full.agent is AgentState.RUNNING
        await session.change(planned("b", 4))
        report = await session.heard(lambda report: is_active(report, "b"))
        assert (report.revision, report.full, len(report.routers)) == (2, False, 1)
        await it.plan_on_disk("a", "b")
        assert session.hello.incarnation == 1


async def test_reports_come_each_interval(tmp_path: Path) -> None:
    async with controller(FakeController(report_interval_s=0.05)) as fake, host(fake, tmp_path):
        session = await fake.session()
        await session.heard(lambda _: len(session.reports) > 5)


async def test_how_many_connections_are_tracked_is_told_and_said_once_it_is_known(
    tmp_path: Path, log_lines: list[str]
) -> None:
    limit = tmp_path / "nf_conntrack_max"
    async with controller(FakeController(report_interval_s=0.05)) as fake, host(fake, tmp_path, tracked=limit):
        session = await fake.session()
        assert session.hello.facts.tracked_most is None
        await session.heard(lambda report: report.tracked_most is None)
        for number in (1000, 2_000_000):
            limit.write_text(f"{number}\n")  # the kernel has the file with its first connection
            await session.heard(lambda report, number=number: report.tracked_most == number)
    assert len([line for line in log_lines if "tracks 1000 of one at most" in line]) == 1
    assert not [line for line in log_lines if "tracks 2000000" in line]


async def test_an_agents_death_moves_nothing_and_is_told(tmp_path: Path) -> None:
    async with controller(FakeController(snapshot=(planned("a"),))) as fake, host(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: report.full and is_active(report, "a"))
        before = len(session.reports)
        os.kill(it.agent_pids()[0], signal.SIGKILL)
        told = await session.heard(lambda report: report.agent is AgentState.RESTARTING)
        assert (told.agent_reason, told.routers) == ("killed by SIGKILL", ())
        await session.heard(
            lambda report: report in session.reports[before + 1 :] and report.agent is AgentState.RUNNING
        )
        assert not any(
            each.state is not RouterState.ACTIVE for report in session.reports[before:] for each in report.routers
        )


async def test_a_restart_with_the_controller_away_keeps_what_runs_and_trusts_it_little(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(planned("a"), planned("b")))
    async with controller(fake), host(fake, tmp_path) as it:
        await fake.session()
        await it.plan_on_disk("a", "b")
    async with host(fake, tmp_path) as it:
        await it.diary_has("confirmed=False a b")
        lines = len(it.diary())
        fake.snapshot = (planned("b"),)
        async with controller(fake):
            session = await fake.session()
            assert session.hello.incarnation == 2
            await it.diary_has("confirmed=True b", after=lines)
            await it.plan_on_disk("b")


async def test_a_controller_that_stays_away_leaves_the_plan_in_doubt(tmp_path: Path, log_lines: list[str]) -> None:
    fake = FakeController(snapshot=(planned("a"),), report_interval_s=0.1)
    async with controller(fake):
        starting = host(fake, tmp_path)
        it = await starting.__aenter__()
        await fake.session()
        await it.diary_has("confirmed=True a")
    try:
        lines = len(it.diary())
        await it.diary_has("confirmed=False a", after=lines)
        assert any("until it speaks" in line for line in log_lines)
        async with controller(fake):
            lines = len(it.diary())
            await fake.session()
            await it.diary_has("confirmed=True a", after=lines)
    finally:
        await starting.__aexit__(None, None, None)


async def test_a_short_absence_of_the_controller_is_no_doubt(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(planned("a"),), report_interval_s=3600)
    async with controller(fake):
        starting = host(fake, tmp_path)
        it = await starting.__aenter__()
        await fake.session()
        await it.diary_has("confirmed=True a")
    try:
        async with controller(fake):
            session = await fake.session()
            await session.heard(lambda report: report.full and report.revision == 1 and is_active(report, "a"))
    finally:
        await starting.__aexit__(None, None, None)
    assert not any("confirmed=False a" in line for line in it.diary())


async def test_a_refused_host_keeps_its_hands_off(tmp_path: Path) -> None:
    """Refused from the start, with a plan on disk: what runs goes on; nothing is built, removed or overwritten."""
    old = AgentPlan(confirmed=False, revision=Revision(9), routers=(planned("mine"),))
    (tmp_path / "plan.json").write_bytes(encode_plan(old))
    refusal = messages.Refused(code="name-taken", reason="the name net1 belongs to another machine")
    async with controller(FakeController(refuse_with=refusal)) as fake, host(fake, tmp_path) as it:
        await it.diary_has("confirmed=False mine")
        await fake.knocked(4)
        plans = [line for line in it.diary() if not line.startswith("pid ")]
        assert plans == ["plan 1 confirmed=False mine"]
    assert it.plan_kept() == HostPlan.of(Revision(9), [planned("mine")])


async def test_a_refusal_after_a_session_puts_the_plan_in_doubt_at_once(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(planned("a"),), report_interval_s=3600)
    async with controller(fake), host(fake, tmp_path) as it:
        session = await fake.session()
        await it.diary_has("confirmed=True a")
        lines = len(it.diary())
        fake.refuse_with = messages.Refused(code="name-taken", reason="somebody else has the name now")
        await session.connection.close()
        await it.diary_has("confirmed=False a", after=lines)


async def test_a_host_belongs_to_one_cluster_for_ever(tmp_path: Path, log_lines: list[str]) -> None:
    fake = FakeController(snapshot=(planned("a"),))
    async with controller(fake), host(fake, tmp_path) as it:
        await fake.session()
        await it.plan_on_disk("a")
    before = len(it.diary())
    other = FakeController(cluster="another", snapshot=())
    async with controller(other), host(other, tmp_path) as it:
        await other.knocked(3)
        await it.diary_has("confirmed=False a", after=before)
        assert not any("confirmed=True" in line for line in it.diary()[before:])
        assert set(it.plan_kept().routers) == {"a"}
    assert other.hellos == []
    assert any(f"this host belongs to cluster {CLUSTER}" in line for line in log_lines)


async def test_a_damaged_plan_is_set_aside_and_the_next_one_kept(tmp_path: Path, log_lines: list[str]) -> None:
    (tmp_path / "plan.json").write_bytes(b'{"type": "plan", "confirmed": fal')
    async with controller(FakeController(snapshot=(planned("a"),))) as fake, host(fake, tmp_path) as it:
        await it.plan_on_disk("a")
    assert any("set aside" in line for line in log_lines)


async def test_two_hosts_never_share_a_state_directory(tmp_path: Path) -> None:
    async with controller() as fake, host(fake, tmp_path):
        with pytest.raises(Exception, match="another sentinel"):
            async with host(fake, tmp_path):
                pass


# --- with a beat

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


async def test_guarded_routers_are_built_once_there_is_a_guard(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(planned("classic"), guarded("guarded")))
    async with controller(fake), with_beat(fake, tmp_path, "mute") as it:
        session = await fake.session()
        report = await session.heard(lambda report: is_active(report, "classic"))
        assert report.revision == 0, "it proves nothing about what is not built yet"
        assert not any(line.endswith("guarded") for line in it.diary())


@pytest.mark.parametrize("names", [(), ("a", "b")])
async def test_a_plan_that_came_before_the_guard_is_followed_once_it_stands(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Also when it is what the disk says already: nothing."""
    fake = FakeController(snapshot=tuple(map(guarded, names)))
    for _ in range(2):
        async with controller(fake), with_beat(fake, tmp_path) as it:
            session = await fake.session()
            report = await session.heard(lambda report: report.full and report.revision == 1)
            assert report.guard_revision in (0, 1)
            await it.plan_on_disk(*names)


async def test_what_the_guard_lets_pass_is_reported_and_not_torn_down(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("y")))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        told = await session.heard(lambda report: bool(report.forwarding))
        assert told.forwarding == (Forwarding(router_id=RouterId("x"), epoch=Epoch(2)),)
        # The stand-in opens what it is told was built; "x" is planned, taken over, and then not planned any more.
        await session.change(guarded("x"))
        await it.diary_has("['x'] -[]")
        await session.change(removed=("x", "open:x"))
        await it.diary_has("-['open:x']")
        assert not any("'x'" in line.partition(" -")[2] for line in it.diary()), "it is open"
        await session.change(guarded("close:x"))
        await it.diary_has("-['x']")


async def test_a_router_that_forwards_is_opened_before_its_agent_puts_it_under_the_guard(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(planned("x"),))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: is_active(report, "x"))
        await it.plan_on_disk("x")
        await session.change(guarded("x"), guarded("y"))
        await it.diary_has("+['y'] -[]")
        assert not any("'x'" in line for line in it.diary()), "nothing has changed for it"
        await session.change(guarded("open:x"))
        await session.heard(lambda report: bool(report.forwarding))
        assert not any("+['x']" in line for line in it.diary()), "about to be opened is not open"
        await session.change(guarded("pass:x"))
        await it.diary_has("+['x'] -[]")
        report = await session.heard(lambda report: any(each.guarded for each in report.routers))
        assert [each.router_id for each in report.routers if each.guarded]
        await eventually(lambda: it.plan_kept().routers[RouterId("x")].guarded is not None)


async def test_its_agent_hears_that_it_takes_over_and_what_it_opened_unbuilt(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("haste:on"), guarded("open:x"), guarded("y")))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await it.diary_has("taking over True x")
        await session.change(guarded("x"))
        await it.diary_has("taking over True")
        await session.change(guarded("haste:off"))
        await it.diary_has("taking over False")


async def test_the_flows_process_is_told_what_is_open_and_whom_to_follow_where(tmp_path: Path) -> None:
    after = (Tenure(HostName("net2"), Incarnation(3)),)
    standby = replace(planned("y"), guarded=Guarded(role=Role.STANDBY, incarnation=Incarnation(2), after=after))
    with StateDirectory(tmp_path) as state:
        state.keep_panel(panel_of("net1", "net2"))
    fake = FakeController(snapshot=(guarded("open:x"), standby))
    stand_in = [sys.executable, str(FLOWS), "good", "FD", str(tmp_path / "flows")]
    async with controller(fake), with_beat(fake, tmp_path, flows=stand_in):
        await eventually(lambda: "duties x | y -> net2 at 10.0.0.2" in told_to_flows(tmp_path))
        assert any(line.endswith(f" begins net1 {fake.cluster} {KEY.hex()}") for line in told_to_flows(tmp_path))
        session = await fake.session()
        await session.change(guarded("close:x"))
        await eventually(lambda: told_to_flows(tmp_path)[-1] == "duties  | y -> net2 at 10.0.0.2")


async def test_a_host_whose_beat_ended_tells_no_flows(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("open:x"),))
    stand_in = [sys.executable, str(FLOWS), "good", "FD", str(tmp_path / "flows")]
    async with controller(fake), with_beat(fake, tmp_path, flows=stand_in):
        await eventually(lambda: "duties x | " in told_to_flows(tmp_path))
        session = await fake.session()
        await session.change(guarded("die:"))
        await eventually(
            lambda: "duties  | " in told_to_flows(tmp_path)[told_to_flows(tmp_path).index("duties x | ") :]
        )


def released(name: str) -> PlannedRouter:
    """It is to leave for net2."""
    to = Successor(tenure=Tenure(HostName("net2"), Incarnation(7)), epoch=Epoch(3))
    guarded = Guarded(role=Role.STANDBY, incarnation=Incarnation(2), release=to)
    return replace(planned(name, 4), guarded=guarded)


async def test_what_an_earlier_session_said_is_no_revision_of_this_one(tmp_path: Path) -> None:
    """A router waits for its connections when the link breaks, and is given to the beat when that is over."""
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")), report_interval_s=4.0)
    stand_in = [sys.executable, str(FLOWS), "good", "FD", str(tmp_path / "flows")]

    def told_to_beat() -> list[str]:
        return [line for line in (tmp_path / "beats").read_text().splitlines() if line.startswith("part ")]

    async with controller(fake), with_beat(fake, tmp_path, flows=stand_in):
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        await session.heard(lambda report: is_active(report, "x"))
        await session.change(released("x"))
        await eventually(lambda: "flush x -> net2" in told_to_flows(tmp_path))
        before, fake.says_no_plan = len(told_to_beat()), True
        await session.connection.close()
        again = await fake.session()
        await eventually(lambda: any(line.endswith(" +x -0") for line in told_to_beat()[before:]))
        count = len(again.reports)
        await eventually(lambda: len(again.reports) > count)
        assert {(each.revision, each.guard_revision) for each in again.reports} == {(0, 0)}


@pytest.mark.parametrize("behaviour", ["flushes", "good"])
async def test_a_router_that_leaves_waits_for_its_connections_and_not_for_ever(tmp_path: Path, behaviour: str) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    stand_in = [sys.executable, str(FLOWS), behaviour, "FD", str(tmp_path / "flows")]

    def told_to_beat() -> list[str]:
        return [line for line in (tmp_path / "beats").read_text().splitlines() if line.startswith("part ")]

    async with controller(fake), with_beat(fake, tmp_path, flows=stand_in):
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        await session.heard(lambda report: is_active(report, "x"))
        before = len(told_to_beat())
        await session.change(released("x"))
        await eventually(lambda: "flush x -> net2" in told_to_flows(tmp_path))
        await session.heard(lambda report: report.guard_revision == 2)
        await eventually(lambda: len(told_to_beat()) == before + 2)
        held, given = told_to_beat()[before:]
        assert held.endswith(" + -0"), "as it was"
        assert given.endswith(" +x -0")


async def test_a_host_that_stops_says_so_and_waits_until_nothing_is_open(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        await it.sentinel.leave(0.0)
        leaving = asyncio.create_task(it.sentinel.leave(60.0))
        await session.heard(lambda report: report.is_stopping)
        assert not leaving.done()
        await session.change(guarded("close:x"))
        await leaving


async def test_a_host_that_stops_waits_until_what_it_released_has_arrived(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        leaving = asyncio.create_task(it.sentinel.leave(60.0))
        await session.heard(lambda report: report.is_stopping)
        await session.change(guarded("close:x"), released("x"))
        await session.heard(lambda report: report.forwarding == ())
        assert not leaving.done(), "the word that it is closed may have been lost"
        await session.change(guarded("x"))
        await leaving


@contextlib.asynccontextmanager
async def leaving_while_served(
    fake: FakeController, serving: contextlib.AsyncExitStack, tmp_path: Path
) -> AsyncIterator[tuple[Sentinel, "asyncio.Task[None]"]]:
    """A host that has told its controller that it is about to stop; `serving` is that one's life."""
    await serving.enter_async_context(controller(fake))
    async with with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: bool(report.forwarding))
        leaving = asyncio.create_task(it.sentinel.leave(60.0))
        await session.heard(lambda report: report.is_stopping)
        yield it.sentinel, leaving


async def test_a_host_that_stops_waits_for_a_controller_that_is_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapless.sentinel.leaving.LOOK_S", 0.001)
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with (
        contextlib.AsyncExitStack() as serving,
        leaving_while_served(fake, serving, tmp_path) as (sentinel, leaving),
    ):
        await serving.aclose()
        await eventually(lambda: "controller not reached" in sentinel.condition().status)
        assert not (await asyncio.wait([leaving], timeout=0.1))[0]
        async with controller(fake):
            again = await fake.session()
            await again.heard(lambda report: report.is_stopping)
            await again.change(guarded("close:x"))
            await leaving


async def test_a_host_that_cannot_tell_its_controller_soon_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapless.sentinel.contact.BACK_S", 0.1)
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")))
    async with (
        contextlib.AsyncExitStack() as serving,
        leaving_while_served(fake, serving, tmp_path) as (sentinel, leaving),
    ):
        await serving.aclose()
        await leaving
        await sentinel.leave(60.0)


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


async def test_in_doubt_a_change_of_the_guard_makes_no_plan_trusted(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("open:x"), guarded("x")), report_interval_s=0.1)
    async with contextlib.AsyncExitStack() as stack:
        async with controller(fake):
            it = await stack.enter_async_context(with_beat(fake, tmp_path))
            session = await fake.session()
            await session.heard(lambda report: bool(report.forwarding))
            await session.change(removed=("x",))
            await session.heard(lambda report: report.guard_revision == 2)
        await eventually(lambda: any("confirmed=False" in line for line in it.diary()[2:]))
        before = len(it.diary())
        os.kill(int((tmp_path / "beats").read_text().split("pid ")[1].split()[0]), signal.SIGKILL)
        await eventually(lambda: (tmp_path / "beats").read_text().count("pid ") > 1)
        async with controller(fake):
            await fake.session()
            await it.diary_has("confirmed=True open:x x", after=before)
        assert not any("confirmed=True" in line for line in it.diary()[before:-1])


async def test_a_host_says_hello_at_its_new_incarnation_once_the_guard_was_made_anew(tmp_path: Path) -> None:
    """What an earlier life left open is closed by then: nobody may hear that it is over before."""
    fake = FakeController(snapshot=(guarded("a"),))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: is_active(report, "a"))
        await it.plan_on_disk("a")
    fake.hellos.clear()
    assert it.keeper.shut_times == 1, "nobody would keep the guard"
    before = len(it.diary())
    async with controller(fake), with_beat(fake, tmp_path, "patient") as it:
        await eventually(lambda: len(begun(tmp_path)) == 2)
        assert fake.hellos == [], "the guard does not stand yet"
        assert len(it.diary()) == before, "an agent would set guarded taps up"
        (tmp_path / "go").touch()
        session = await fake.session()
        assert session.hello.incarnation > 1
        await it.diary_has("a", after=before)


async def test_a_host_whose_guard_cannot_be_made_says_hello_after_the_longest_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapless.sentinel.driver.GUARD_WITHIN_S", 0.05)
    fake = FakeController()
    for behaviour in ("good", "mute", "unable", "crash"):
        async with controller(fake), with_beat(fake, tmp_path, behaviour) as it:
            await fake.session()
            before = len(it.diary())
    (tmp_path / "plan.json").write_bytes(
        encode_plan(AgentPlan(revision=Revision(7), confirmed=True, routers=(guarded("a"),)))
    )
    async with controller(fake), with_beat(fake, tmp_path, "mute") as it:
        await it.diary_has("a", after=before)  # Its classic routers need the agent.


async def test_a_host_that_belongs_to_no_cluster_yet_waits_for_no_guard(tmp_path: Path) -> None:
    """It never held a lease, and it learns by the link where it belongs."""
    fake = FakeController()
    async with controller(fake), with_beat(fake, tmp_path, "mute"):
        await fake.session()


def begun(state_dir: Path) -> list[str]:
    """The beats that were told to begin."""
    file = state_dir / "beats"
    return [line for line in file.read_text().splitlines() if line.startswith("begin panel")] if file.exists() else []


def begun_at(state_dir: Path) -> list[int]:
    """The incarnations of the beats that were told to begin."""
    lines = (state_dir / "beats").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("begin ") and "panel" not in line]


async def test_a_machine_that_gets_the_name_of_another_never_beats_below_it(tmp_path: Path) -> None:
    """Its state directory is new, so it counts from 1: the controller says what the name stands for."""
    async with controller(FakeController(outlived=40)) as fake:
        async with with_beat(fake, tmp_path):
            session = await fake.session()
            report = await session.heard(lambda report: report.leased > 0)
            assert (session.hello.incarnation, report.leased) == (1, 41)
        async with with_beat(fake, tmp_path):
            session = await fake.session()
            report = await session.heard(lambda report: report.leased > 0)
            assert (session.hello.incarnation, report.leased) == (42, 43)
    assert "outlived" not in (tmp_path / "beats").read_text()
    assert begun_at(tmp_path) == [41, 43]


async def test_a_machine_whose_beat_runs_below_goes_above(tmp_path: Path) -> None:
    """Its disk was restored from a backup."""
    async with controller() as fake, with_beat(fake, tmp_path):
        await (await fake.session()).heard(lambda report: report.leased > 0)
    async with controller(FakeController(outlived=40)) as fake, with_beat(fake, tmp_path):
        report = await (await fake.session()).heard(lambda report: report.leased > 40)
        assert report.leased == 41
