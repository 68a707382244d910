"""The whole sentinel in one process: a controller that runs, agents that are processes, a state directory on disk."""

import os
import signal
from pathlib import Path

import pytest
from fake_controller import CLUSTER, FakeController, controller, planned
from sentinel_host import host, is_active

from gapless.core.hostplan import HostPlan
from gapless.errors import Unavailable
from gapless.model.host import AgentState
from gapless.model.plan import (
    Revision,
    RouterState,
)
from gapless.wire import messages
from gapless.wire.messages import AgentPlan, encode_plan
from limits_met import no_thread_more
from sizes import sizes


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


async def test_what_a_plan_brings_back_is_reported_again_though_it_is_as_it_was(tmp_path: Path) -> None:
    """As a controller that was started anew does it with standbys: what it heard of them before, it did not believe."""
    async with controller(FakeController(snapshot=(planned("a"),))) as fake, host(fake, tmp_path):
        session = await fake.session()
        await session.heard(lambda report: report.full and report.revision == 1)
        await session.change(removed=("a",))
        told = await session.heard(lambda report: report.revision == 2)
        before = session.reports.index(told) + 1
        await session.change(planned("a"))
        await session.heard(lambda report: report in session.reports[before:] and is_active(report, "a"))


async def test_a_host_that_may_start_no_threads_says_so_at_once(tmp_path: Path) -> None:
    with no_thread_more(), pytest.raises(Unavailable, match=r"^start the sentinel's workers: .*TasksMax="):
        async with controller(FakeController()) as fake, host(fake, tmp_path) as it:
            await it.running


async def test_what_left_unguarded_is_to_be_proven_as_long_as_the_disk_does_not_have_that(tmp_path: Path) -> None:
    """It may come back guarded."""
    (tmp_path / "plan.json").mkdir()  # nothing can be written there
    async with controller(FakeController(snapshot=(planned("a"),))) as fake, host(fake, tmp_path) as it:
        session = await fake.session()
        await session.heard(lambda report: is_active(report, "a"))
        await session.change(removed=("a",))
        await session.heard(lambda report: report.revision == 2)
        assert sizes(it.sentinel._reporting._proofs) == {"Proofs._since": 1, "Proofs._departed": 1}


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
        lines = len(it.diary())  # while nothing is in doubt yet
    try:
        await it.diary_has("confirmed=False a", after=lines)
        assert any("until it speaks" in line for line in log_lines)
        lines = len(it.diary())
        async with controller(fake):
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
