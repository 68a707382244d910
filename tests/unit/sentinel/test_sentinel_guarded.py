"""The whole sentinel with a beat: what the guard lets pass, its connections, and one incarnation after another."""

import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_controller import KEY, PATIENCE_S, FakeController, controller, eventually, planned
from sentinel_host import FLOWS, begun, begun_at, guarded, is_active, panel_of, told_to_flows, with_beat

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import (
    Epoch,
    Forwarding,
    Guarded,
    Revision,
    Role,
    RouterReport,
    RouterState,
)
from gapless.model.router import RouterId
from gapless.sentinel.identity import StateDirectory
from gapless.wire.messages import AgentPlan, AgentReport, encode_plan


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat may take long to come up; that its host waits no longer for it is a test of its own."""
    monkeypatch.setattr("gapless.sentinel.driver.GUARD_WITHIN_S", 3 * PATIENCE_S)


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


async def test_the_beat_is_told_of_what_is_new_whatever_else_is_said_of_it(tmp_path: Path) -> None:
    fake = FakeController(snapshot=(guarded("x"), guarded("y"), guarded("z")))
    async with controller(fake), with_beat(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: is_active(report, "z"))
        known = RouterReport(router_id=RouterId("x"), epoch=Epoch(1), state=RouterState.ACTIVE, guarded=True)
        new = (RouterId("x"), RouterId("y"))
        beats = tmp_path / "beats"
        before = beats.read_text().splitlines()
        it.sentinel.agent_said(AgentReport(revision=Revision(1), routers=(known,), unannounced=new))
        await eventually(lambda: "built 2" in beats.read_text().splitlines()[len(before) :])


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
        await session.heard(lambda report: report.copied == {"y": True})
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
        trusted = next(line for line in it.diary()[before:] if "confirmed=True" in line)
        assert trusted.endswith("confirmed=True open:x x"), "none before it"


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
